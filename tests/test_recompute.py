"""Blocks that are computed again for the backward pass: less memory, the same bytes."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

import forked
from conftest import ROOT, tiny_study
from multiblock import config
from multiblock.errors import UserError
from multiblock.model.chain import Chain
from multiblock.networks import zoo
from multiblock.plan import Block, Plan, Task
from multiblock.runtime import compilation, memory
from multiblock.runtime.device import choose
from multiblock.training.feasibility import Feasibility
from multiblock.training.step import Step
from multiblock.workflow.results import Outside, Results
from test_plan import phase, stage
from test_ranks import given  # noqa: F401  (the processes of a test take it from here)
from test_training import SETTINGS, run, same

EAGER = replace(SETTINGS, compile="never")

OWN = '''
import torch
from torch import nn

from multiblock.networks.layers import conv


class Own(nn.Module):
    """A block."""

    receptive_field = 7
    scale = 1
    output_layer = "last"

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = conv(3, 8), conv(8, 3)
        self.between = {between}

    def forward(self, x):
        """An image batch to an image batch."""
        {before}
        return x + self.last(self.between(self.first(x)))
'''


def own(folder: Path, between: str, before: str = "") -> Block:
    file = folder / "own.py"
    file.write_text(OWN.format(between=between, before=before or "pass"))
    return Block(network=str(file))


def joint(block: Block, blocks: int = 3, **changes) -> Task:
    """A joint phase of equal blocks, in two stages."""
    values = {"iterations": 4, "lr": 5e-3, "patch": 16, "batch": 3, **changes}
    stages = (stage(**{**values, "clamp": False}), stage(**values, ema=0.9, clip=0.5))
    return Plan(blocks=(block,) * blocks, phases=(replace(phase(f"1-{blocks}"), stages=stages),)).task(1, seed=5)


def recomputed(task: Task) -> Task:
    return replace(task, stages=tuple(replace(one, recompute="blocks") for one in task.stages))


NETWORKS = {
    "mcan": Block(network="mcan", options={"channels": 8, "residual_blocks": 1}),
    "toy": Block(network="toy"),
    "dropout": None,
}


class TestBytes:
    """Weights and histories, byte for byte."""

    @pytest.mark.parametrize(
        ("name", "settings", "precision"),
        [
            *((name, EAGER, "float32") for name in NETWORKS),
            ("toy", replace(EAGER, layout="contiguous"), "float32"),
            ("mcan", replace(EAGER, layout="channels_last"), "bfloat16"),
            ("dropout", replace(EAGER, layout="channels_last"), "bfloat16"),
        ],
    )
    def test_the_same_with_it_and_without(self, arrays, tmp_path, name, settings, precision):
        todo = joint(NETWORKS[name] or own(tmp_path, "nn.Sequential(nn.ReLU(), nn.Dropout(0.5))"))
        plain = run(arrays, tmp_path / "plain", todo, settings, precision=precision)
        again = run(arrays, tmp_path / "again", recomputed(todo), settings, precision=precision)
        assert same(plain, again)
        records = [json.loads((folder / "training.json").read_text()) for folder in (plain, again)]
        assert [record["stages"][0]["recompute"] for record in records] == [None, "blocks"]
        assert records[0]["training_flops"] == records[1]["training_flops"]  # of what has to be computed

    def test_with_losses_of_inner_blocks_and_frozen_parts(self, arrays, tmp_path):
        todo = joint(NETWORKS["mcan"], intermediate=[0.1, 0.2], parts={"head": {"freeze": 2}})
        runs = (run(arrays, tmp_path / name, one, EAGER) for name, one in (("a", todo), ("b", recomputed(todo))))
        assert same(*runs)

    def test_in_two_processes(self, arrays, tmp_path):
        driver = (
            f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
            "from pathlib import Path\n"
            "from multiblock.workflow import process, ranks\n"
            "from test_recompute import given, shared\n"
            "arrays, out, again = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == 'again'\n"
            "with process.logged(out / 'log'):\n"
            "    ranks.train(given(out, 2), asked=2, **shared(arrays, out, again))\n"
        )
        for name in ("plain", "again"):
            (tmp_path / name).mkdir()
            words = [sys.executable, "-c", driver, str(arrays), str(tmp_path / name), name]
            done = forked.run(words, timeout=120)
            assert done.returncode == 0, done.stderr
        assert same(tmp_path / "plain", tmp_path / "again")
        assert json.loads((tmp_path / "again" / "training.json").read_text())["segments"][0]["processes"] == 2


def shared(arrays: Path, out: Path, again: bool) -> dict:
    """What two processes train, in whose shares of a batch are two rows and one."""
    todo = joint(NETWORKS["mcan"])
    sets = {"inputs": arrays / "LR", "targets": arrays / "HR", "weights": {}, "out": out}
    return {"task": recomputed(todo) if again else todo, "settings": EAGER, "checkpoint_seconds": 60, **sets} | {
        "memory_gib": 4
    }


def kept_bytes(task: Task) -> int:
    """What an iteration keeps from its forward pass for the backward pass, weights left out."""
    only, device = task.stages[0], choose("cpu", "float32", 0, 1)
    span = Chain.build(task.blocks, only.clamps(len(task.blocks))).train()
    weights = {weight.data_ptr() for weight in span.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    Step(span, only, device, compilation.choose(span, task, device, "contiguous", "never"), span)
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        span(torch.rand(2, 3, 32, 32)).sum().backward()
    return sum(kept.values())


def test_only_pictures_are_kept_between_blocks():
    """Of four blocks that do not clamp: nothing of their insides, where one convolution alone keeps 64 maps."""
    task = joint(Block(network="mcan", options={"channels": 64, "residual_blocks": 2}), 4)
    picture = 2 * 3 * 32 * 32 * 4
    assert kept_bytes(recomputed(task)) <= 4 * picture
    assert kept_bytes(task) > 4 * 6 * picture * 64 / 3


class TestAddress:
    """What changes no byte is no part of what a result is made of."""

    @staticmethod
    def study(**more):
        plain, compile = tiny_study(), {"compile": "never"}
        plain["recipes"]["joint"] = [{**one, **more} for one in plain["recipes"]["joint"]]
        return config.load({**plain, **compile})

    def test_nothing_is_trained_again(self):
        addresses = [
            {made.address for made in Results(study, Outside({}, lambda name: name)).all()}
            for study in (self.study(), self.study(recompute="blocks"))
        ]
        assert addresses[0] == addresses[1] and len(addresses[0]) > 10

    def test_runs_that_differ_in_it_alone_share_their_phases(self):
        plain = {**tiny_study(), "compile": "never"}
        joint = [{**one, "recompute": "blocks"} for one in plain["recipes"]["joint"]]
        again = {"chain": ["tiny", "tiny"], "plan": [{"span": "1-2", "stages": joint}]}
        study = config.load({**plain, "runs": {**plain["runs"], "again": again}})
        assert study.runs["again"].plan.phases[0].stages[0].recompute == "blocks"
        assert study.equal_phases["again", 1] == ("one_go", "again")


class TestRefused:
    """What cannot be combined, in one line."""

    @pytest.mark.parametrize("compile", ["auto", "always"])
    def test_what_may_be_compiled(self, compile):
        study = {**tiny_study(), "compile": compile}
        study["recipes"]["joint"][0]["recompute"] = "blocks"
        says = rf"^recipes.joint, stage 1, recompute: found blocks beside compile: {compile}, .* is compile: never$"
        with pytest.raises(UserError, match=says):
            config.load(study)

    def test_one_block(self):
        study = {**tiny_study(), "compile": "never"}
        study["recipes"]["few"][1]["recompute"] = "blocks"
        with pytest.raises(UserError, match=r"recompute: found blocks for span 1, .* a span of several blocks"):
            config.load(study)

    @pytest.mark.parametrize(
        ("between", "before", "what"),
        [
            ("nn.BatchNorm2d(8)", "", "between.running_mean, between.running_var"),
            ("torch.nn.utils.parametrizations.spectral_norm(conv(8, 8))", "", "between.parametrizations"),
            ("nn.ReLU()", "x *= 2", "its input"),
        ],
        ids=["batch norm", "spectral norm", "in place"],
    )
    def test_blocks_that_would_find_something_else_the_second_time(self, tmp_path, between, before, what):
        todo = joint(own(tmp_path, between, before), 2)
        Feasibility().check([todo], ["a", "b"], "plan")
        with pytest.raises(UserError, match=rf"stage 1: blocks.a .*: recompute: found blocks, and it changes {what}"):
            Feasibility().check([recomputed(todo)], ["a", "b"], "plan")

    def test_a_network_of_the_zoo(self):
        blocks = (zoo.block("srresnet", {}, "", 2), NETWORKS["mcan"])
        todo = replace(joint(NETWORKS["mcan"], 2), blocks=blocks)
        with pytest.raises(UserError, match=r"stage 1: blocks.a \(srresnet\): recompute: .*running_mean"):
            Feasibility().check([recomputed(todo)], ["a", "b"], "plan")


class TestOutOfMemory:
    """The way out is named where there is one."""

    @pytest.mark.parametrize(("blocks", "named"), [(3, True), (1, False)])
    def test_a_joint_phase(self, arrays, tmp_path, monkeypatch, blocks, named):
        monkeypatch.setattr(Step, "gradients", lambda *_: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(UserError, match="a smaller batch or patch takes less") as error:
            run(arrays, tmp_path / "out", joint(NETWORKS["toy"], blocks), EAGER)
        assert ("recompute: blocks in this stage, with compile: never" in str(error.value)) == named

    def test_not_where_it_is_done_already(self, arrays, tmp_path, monkeypatch):
        monkeypatch.setattr(Step, "gradients", lambda *_: (_ for _ in ()).throw(MemoryError()))
        with pytest.raises(UserError) as error:
            run(arrays, tmp_path / "out", recomputed(joint(NETWORKS["toy"])), EAGER)
        assert "recompute" not in str(error.value)

    def test_other_errors_are_left(self):
        with pytest.raises(RuntimeError, match="shapes"), memory.enough("a", torch.device("cpu"), blocks=True):
            raise RuntimeError("shapes")
