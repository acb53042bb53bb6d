"""The training loop: it learns, and it can be killed."""

import csv
import json
import signal
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import forked
from multiblock.data.convert import convert
from multiblock.errors import UserError
from multiblock.files import lock
from multiblock.inference.cache import generate
from multiblock.model import chain
from multiblock.plan import Block, Plan
from multiblock.runtime.device import choose
from multiblock.training import trainer
from multiblock.training.progress import against_jumps
from multiblock.training.record import check_phases
from multiblock.training.trainer import Settings, train
from test_plan import phase, stage
from test_sources import data

CPU = torch.device("cpu")
SPEC = Block(network="mcan", options={"channels": 8, "residual_blocks": 1})
SETTINGS = Settings(
    device="cpu",
    precision="float32",
    layout="auto",
    compile="auto",
    deterministic=False,
    keep="last",
    history_every=10,
    validate_every=20,
)


def task(iterations: int = 60, **changes):
    stages = (
        stage(iterations=iterations // 2, lr=5e-3, patch=16, clamp=False, **changes),
        stage(iterations=iterations - iterations // 2, lr=1e-3, patch=16, **changes),
    )
    return Plan(blocks=(SPEC,), phases=(replace(phase("1"), stages=stages),)).task(1, seed=5)


def run(
    arrays: Path,
    out: Path,
    todo=None,
    settings=SETTINGS,
    weights=None,
    checkpoint_seconds: float = 60,
    anew=None,
    **device,
) -> Path:
    out.mkdir(exist_ok=True)
    train(
        todo or task(),
        settings,
        choose(**{"device": "cpu", "precision": "float32", "gpus": 0, "threads": 1, **device}),
        inputs=arrays / "LR",
        targets=arrays / "HR",
        weights=weights or {},
        out=out,
        checkpoint_seconds=checkpoint_seconds,
        memory_gib=4,
        anew=anew,
    )
    return out


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_it_learns_and_leaves_what_it_says(arrays, tmp_path):
    out = run(arrays, tmp_path / "out", task(200))
    made = sorted(file.name for file in out.glob("[!.]*") if file.is_file())
    assert made == ["history.csv", "training.json", "weights.safetensors"]
    rows = history(out)
    assert [int(row["iteration"]) for row in rows] == list(range(10, 201, 10))
    assert [row["stage"] for row in rows] == ["1"] * 10 + ["2"] * 10
    assert [int(row["iteration"]) for row in rows if row["psnr_rgb_validation"]] == list(range(20, 201, 20))
    assert float(rows[-1]["loss"]) < 0.7 * float(rows[0]["loss"])
    record = json.loads((out / "training.json").read_text())
    assert (record["iterations"], record["span"], record["kept"]["iteration"]) == (200, [1, 1], 200)
    assert chain.load(out / "weights.safetensors").clamped == [True]


def same(one: Path, two: Path) -> bool:
    return all(
        (one / name).read_bytes() == (two / name).read_bytes() for name in ("weights.safetensors", "history.csv")
    )


def test_the_same_seed_gives_the_same_bytes_and_another_one_other_weights(arrays, tmp_path):
    one = run(arrays, tmp_path / "one")
    assert same(one, run(arrays, tmp_path / "two"))
    assert not same(one, run(arrays, tmp_path / "three", replace(task(), seed=6)))


SCRIPT = """
import sys, time
from pathlib import Path
from multiblock.training import checkpoint, trainer
trainer._SAVING_SHARE = 1  # a checkpoint after each iteration
save = checkpoint.save
def slow(file, state):
    save(file, state)
    print(state.step, flush=True)
checkpoint.save = slow
sys.path.insert(0, {tests!r})
from test_training import run, task
run(Path({arrays!r}), Path({out!r}), task({iterations}), checkpoint_seconds=1e-9)
"""


def killed(arrays: Path, out: Path, number: signal.Signals, iterations: int, after: int) -> int:
    """Train in another process, and send it a signal once ``after`` iterations are in a checkpoint."""
    code = SCRIPT.format(tests=str(Path(__file__).parent), arrays=str(arrays), out=str(out), iterations=iterations)
    with forked.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            if int(line) >= after:
                process.send_signal(number)
                break
        process.stdout.read()
    return process.returncode


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_and_gone_on_is_byte_for_byte_the_same(arrays, tmp_path, number):
    out = tmp_path / "killed"
    code = killed(arrays, out, number, 80, after=13)
    assert code == (-number if number == signal.SIGKILL else 1)
    assert not (out / "weights.safetensors").exists() and list(out.glob("working/*.pt"))
    resumed = run(arrays, out, task(80))
    assert same(resumed, run(arrays, tmp_path / "whole", task(80)))


def test_two_trainings_in_one_folder_are_refused(arrays, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_LOCK_SECONDS", 0)
    out = tmp_path / "out"
    with lock(out / "working", "something"), pytest.raises(UserError, match="another process is training there"):
        run(arrays, out)
    run(arrays, out)


def test_a_chain_whose_first_block_enlarges(pairs, tmp_path):
    file = tmp_path / "shuffle.py"
    file.write_text(
        "from torch import nn\n"
        "class Shuffle(nn.Module):\n"
        "    output_layer, receptive_field = 'c', 3\n"
        "    def __init__(self, *, scale: int = 2) -> None:\n"
        "        super().__init__()\n"
        "        self.c, self.s = nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale)\n"
        "    def forward(self, x):\n"
        "        return self.s(self.c(x))\n"
    )
    keys = {"scale": 2, "train": {"hr": "train/HR"}, "test": {"hr": "test/HR"}, "validation": 1}
    convert(data(pairs, **keys), pairs / "HR", pairs / "LR")
    stages = {"iterations": 5, "patch": 8}
    phases = (phase("1", **stages), phase("2", "orthogonal", **stages), phase("1-2", **stages))
    plan = Plan(blocks=(Block(network=str(file), options={"scale": 2}), SPEC), phases=phases)
    one = run(pairs, tmp_path / "one", plan.task(1, 1)) / "weights.safetensors"
    sets = {"inputs": pairs / "LR", "out": pairs / "LR_1"}
    generate(files={1: one}, **sets, cache="uint8", device=CPU, memory_gib=4, trusted=[file])
    (pairs / "second").mkdir()
    for name, target in (("LR", "LR_1"), ("HR", "HR")):
        (pairs / "second" / name).symlink_to(pairs / target)
    two = run(pairs / "second", tmp_path / "two", plan.task(2, 1), weights={1: one}) / "weights.safetensors"
    joint = run(pairs, tmp_path / "joint", plan.task(3, 1), weights={1: one, 2: two}) / "weights.safetensors"
    network = chain.load(joint, [file])
    assert (network.scale, network(torch.rand(1, 3, 9, 11)).shape) == (2, (1, 3, 18, 22))


def test_keep_best_keeps_the_best_on_validation(arrays, tmp_path):
    out = run(arrays, tmp_path / "out", task(120, optimiser="adam"), replace(SETTINGS, keep="best"))
    seen = {
        int(row["iteration"]): float(row["psnr_rgb_validation"])
        for row in history(out)
        if row["psnr_rgb_validation"] and row["stage"] == "2"
    }
    kept = json.loads((out / "training.json").read_text())["kept"]
    assert kept == {"keep": "best", "iteration": max(seen, key=seen.get)}


def test_a_loss_that_is_not_finite_stops_with_place_and_advice(arrays, tmp_path):
    stages = (stage(iterations=50, lr=1e30, patch=16, clamp=False),)
    with pytest.raises(UserError, match=r"phase 1, stage 1, iteration \d+: the loss is (nan|inf)"):
        run(arrays, tmp_path / "out", replace(task(), stages=stages))


@pytest.mark.parametrize(
    ("changes", "precision", "said"),
    [
        ({}, "bfloat16", "0.1, clipped gradients, a stage without clamp before this one or precision: float32"),
        ({"clamp": False, "clip": 0.1}, "bfloat16", "0.1 or precision: float32"),
        ({"clamp": False, "clip": 0.1}, "float32", "0.1"),
    ],
)
def test_against_jumps_what_is_set_already_is_not_advised(changes, precision, said):
    assert against_jumps(stage(lr=0.1, **changes), precision) == f"a learning rate below {said}"


@pytest.mark.parametrize(("loss", "ends"), [(0.09, False), (0.11, True), (-0.2, False)])
def test_a_phase_a_hair_below_no_network_is_no_failure(tmp_path, loss, ends):
    """A few validation images tell no less than a tenth of a decibel."""
    about = {"phase": 1, "psnr_rgb_validation": 30 - loss, "psnr_rgb_validation_input": 30.0}
    (tmp_path / "training.json").write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"phase 1 ended at 29\.890 dB") if ends else nullcontext():
        check_phases([tmp_path / "weights.safetensors"])
