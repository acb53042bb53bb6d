"""The same seed on the same machine with as many threads gives the same bytes, in whatever process."""

import os
import sys
from pathlib import Path

import pytest
import torch

import forked
from multiblock.networks import registry, zoo
from multiblock.runtime.device import make_deterministic, random_states, set_random_states
from test_training import same

TRAIN = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, {tests!r})
from multiblock.runtime.device import choose
from multiblock.training.trainer import train
from test_training import SETTINGS, task
train(
    task(6, optimiser={optimiser!r}),
    replace(SETTINGS, deterministic={strict}),
    choose("cpu", {precision!r}, gpus=0, threads={threads}),
    inputs=Path({arrays!r}) / "LR",
    targets=Path({arrays!r}) / "HR",
    weights={{}},
    out=Path({out!r}),
    checkpoint_seconds=60,
    memory_gib=4,
)
"""


def trained(arrays: Path, out: Path, **settings) -> Path:
    out.mkdir()
    settings = {"optimiser": "adam", "strict": False, "precision": "float32", "threads": 1, **settings}
    code = TRAIN.format(tests=str(Path(__file__).parent), arrays=str(arrays), out=str(out), **settings)
    assert forked.run([sys.executable, "-c", code]).returncode == 0
    return out


@pytest.mark.parametrize(
    "settings", [{"threads": 2, "precision": "bfloat16"}, {"threads": 2, "optimiser": "adadelta", "strict": True}]
)
def test_two_processes_give_the_same_bytes(arrays, tmp_path, settings):
    assert same(trained(arrays, tmp_path / "one", **settings), trained(arrays, tmp_path / "two", **settings))


@pytest.fixture
def anew(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    yield
    make_deterministic(False)


def test_strict_is_strict_and_can_be_left(anew):
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    make_deterministic(True)
    assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    make_deterministic(False)
    assert not torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.benchmark


@pytest.mark.parametrize(
    "name", ["mcan", "toy", "carn", "srresnet", "pan", "imdn", "drln_lite1", "rcan", "sr_resunet_1"]
)
def test_every_family_can_be_trained_so(anew, name):
    make_deterministic(True)
    spec = zoo.sample(name)
    network = registry.build(spec.network, spec.options).train()
    network(torch.rand(2, 3, 16, 16)).sum().backward()


def test_random_numbers_of_a_gpu_go_on_under_another_number(monkeypatch):
    """A job that goes on may get another GPU than it began on: the state is that of the one in use."""
    held = {0: torch.tensor([1], dtype=torch.uint8), 1: torch.tensor([2], dtype=torch.uint8)}
    current = 0
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: held[current])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state: held.__setitem__(current, state))
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: list(held.values()))
    states = random_states()
    current = 1
    set_random_states(states)
    assert held[1].item() == 1
