"""Batches computed in parts: the gradient of the whole batch, in less memory."""

from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from conftest import tiny_study
from multiblock import config
from multiblock.errors import UserError
from multiblock.model.chain import Chain
from multiblock.plan import Stage, Task
from multiblock.runtime import compilation, memory
from multiblock.runtime.device import choose
from multiblock.training.feasibility import Feasibility
from multiblock.training.step import Step
from multiblock.workflow.results import Outside, Results
from test_recompute import EAGER, NETWORKS, joint, own
from test_training import run, same


def in_parts(task: Task, parts: int) -> Task:
    return replace(task, stages=tuple(replace(one, accumulate=parts) for one in task.stages))


def step(span: Chain, task: Task, stage: Stage) -> Step:
    device = choose("cpu", "float32", 0, 1)
    return Step(span, stage, device, compilation.choose(span, task, device, "contiguous", "never"), span)


@pytest.fixture
def span() -> Chain:
    torch.manual_seed(3)
    task = joint(NETWORKS["mcan"])
    return Chain.build(task.blocks, task.stages[0].clamps(3)).double().train()


@pytest.mark.parametrize("loss", [{"l2": 1.0}, {"l1": 1.0}, {"ssim": 0.5, "l1": 1.0}, {"psnr": 1.0}])
@pytest.mark.parametrize("intermediate", [[], [0.5, 0.0]])
@pytest.mark.parametrize("parts", [2, 3, 5])
def test_the_gradient_is_that_of_the_whole_batch(span, loss, intermediate, parts):
    """Weights in float64, losses in float32; five images in parts of different sizes."""
    images = torch.rand(2, 5, 3, 16, 16, dtype=torch.float64)
    task = joint(NETWORKS["mcan"], loss=loss, intermediate=intermediate)
    found = []
    for one in (task, in_parts(task, parts)):
        lost = step(span, one, one.stages[0]).gradients(*images)
        found.append([lost, *(weight.grad.clone() for weight in span.parameters())])
    for plain, summed in zip(*found, strict=True):
        torch.testing.assert_close(summed, plain, rtol=1e-6, atol=1e-9)


def test_a_part_alone_is_kept_for_the_backward_pass(span):
    """The most that is held at once, of what the forward passes keep."""
    images, task = torch.rand(2, 4, 3, 16, 16, dtype=torch.float64), joint(NETWORKS["mcan"])

    def held(parts: int) -> int:
        one, now, most = in_parts(task, parts), 0, 0

        class Kept:
            def __init__(self, tensor):
                nonlocal now, most
                self.tensor, self.size = tensor, tensor.nbytes
                now += self.size
                most = max(most, now)

            def __del__(self):
                nonlocal now
                now -= self.size

        with saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            step(span, one, one.stages[0]).gradients(*images)
        return most

    assert held(4) < 0.3 * held(1)


def interrupt(arrays, folder, todo: Task, monkeypatch) -> None:
    """Train as far as the sixth gradient, and take back all that was patched."""
    real, calls = Step.gradients, []

    def stops(self, *images):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return real(self, *images)

    monkeypatch.setattr(Step, "gradients", stops)
    with pytest.raises(KeyboardInterrupt):
        run(arrays, folder, todo, EAGER, checkpoint_seconds=1e-9)
    monkeypatch.undo()


def test_a_training_goes_on_to_the_same_bytes(arrays, tmp_path, monkeypatch):
    todo = in_parts(joint(NETWORKS["mcan"], 2), 2)
    whole = run(arrays, tmp_path / "whole", todo, EAGER)
    interrupt(arrays, tmp_path / "again", todo, monkeypatch)
    assert same(whole, run(arrays, tmp_path / "again", todo, EAGER))
    plain = run(arrays, tmp_path / "plain", joint(NETWORKS["mcan"], 2), EAGER)
    assert not same(whole, plain), "another order of sums has other last digits"


def auto(task: Task) -> Task:
    return replace(task, stages=tuple(replace(one, accumulate="auto") for one in task.stages))


def test_auto_takes_as_few_parts_as_fit_and_leaves_all_as_it_was(span, monkeypatch, caplog):
    images, task = torch.rand(2, 6, 3, 16, 16, dtype=torch.float64), auto(joint(NETWORKS["mcan"]))
    one, two = (step(span, task, task.stages[0]) for _ in range(2))
    one.fit(*images)
    needs = memory.most(lambda: one.backward(*images))
    drawn, weights = torch.get_rng_state(), [weight.clone() for weight in span.parameters()]
    for room, parts in ((2.1, 1), (1.3, 2), (0.9, 3), (1e-3, 6)):
        monkeypatch.setattr(memory, "available", lambda device, room=room: room * needs)
        with caplog.at_level("INFO"):
            two.fit(*images)
        assert two.parts == parts and (f"takes {parts} parts" in caplog.text or parts == 1)
        largest = max(len(part) for part in images[0].tensor_split(parts))
        two.parts = parts
        held = memory.most(lambda: two.backward(*images))
        assert memory.GAPS * held <= 1.05 * room * needs or largest == 1
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(*pair) for pair in zip(weights, span.parameters(), strict=True))
    monkeypatch.setattr(memory, "available", lambda device: None)  # a system that does not say
    two.fit(*images)
    assert two.parts == 1


def test_auto_keeps_to_what_it_chose_when_a_training_goes_on(arrays, tmp_path, monkeypatch):
    todo = auto(joint(NETWORKS["mcan"], 2))
    monkeypatch.setattr(memory, "available", lambda device: 1.0)
    whole = run(arrays, tmp_path / "whole", todo, EAGER)
    assert same(
        whole, run(arrays, tmp_path / "each", in_parts(joint(NETWORKS["mcan"], 2), todo.stages[0].batch), EAGER)
    )
    interrupt(arrays, tmp_path / "again", todo, monkeypatch)
    monkeypatch.setattr(memory, "available", lambda device: 1e15)  # more by now
    assert same(whole, run(arrays, tmp_path / "again", todo, EAGER))


def study(**more) -> config.Study:
    plain = tiny_study()
    plain["recipes"]["joint"] = [{**one, **more} for one in plain["recipes"]["joint"]]
    return config.load({**plain, "compile": "never"})


def test_it_counts_and_left_out_it_does_not():
    plain, summed = (Results(one, Outside({}, lambda name: name)) for one in (study(), study(accumulate=2)))
    assert "accumulate" not in study().runs["phased"].plan.phases[2].stages[0].counts
    for phase, equal in ((1, True), (3, False)):
        assert (plain.train("phased", 1, phase).address == summed.train("phased", 1, phase).address) == equal


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"accumulate": 3}, "recipes.joint, stage 1, accumulate: found 3; allowed is at most the batch of 2"),
        ({"accumulate": 1}, "accumulate: found 1; allowed"),
        ({"accumulate": "all"}, "accumulate: found 'all'; allowed"),
    ],
)
def test_the_number_of_parts_has_bounds(changes, says):
    with pytest.raises(UserError, match=says):
        study(**changes)


@pytest.mark.parametrize("compile", ["auto", "always"])
def test_what_may_be_compiled_is_refused(compile):
    plain = tiny_study()
    plain["recipes"]["joint"][0]["accumulate"] = 2
    with pytest.raises(UserError, match=f"accumulate: found 2 beside compile: {compile}, .* is compile: never"):
        config.load({**plain, "compile": compile})


def test_norms_of_batches_are_refused(tmp_path):
    todo = joint(own(tmp_path, "nn.BatchNorm2d(8)"), 2)
    Feasibility().check([todo], ["a", "b"], "plan")
    with pytest.raises(UserError, match=r"stage 1, accumulate: found 2; blocks.a .* has norms that take their means"):
        Feasibility().check([in_parts(todo, 2)], ["a", "b"], "plan")
    Feasibility().check([in_parts(joint(own(tmp_path, "nn.Dropout(0.5)"), 2), 2)], ["a", "b"], "plan")
