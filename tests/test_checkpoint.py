"""Checkpoints: whole or not there, and a training that goes on from one as if it had never stopped."""

import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import test_training
from multiblock.errors import UserError
from multiblock.files import digest_of, part_of
from multiblock.inference import tiles
from multiblock.networks import registry
from multiblock.plan import Block, Plan
from multiblock.training import checkpoint, step, trainer
from multiblock.training.checkpoint import State
from multiblock.training.objective import Loss
from test_losses import SHAPES
from test_plan import phase, stage
from test_training import SETTINGS, history, run, same, task


def states(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pt"))


def saved(folder: Path, *done: int) -> None:
    for number in done:
        checkpoint.save(folder, State(step=number, weights={"w": torch.full((100,), float(number))}))


def test_the_last_two_are_kept(tmp_path):
    saved(tmp_path, 5, 10, 1000, 999_999)
    assert [file.name[:9] for file in states(tmp_path)] == ["000001000", "000999999"]
    assert checkpoint.load(tmp_path).step == 999_999
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_one_falls_back_to_the_one_before(tmp_path, caplog, damage):
    saved(tmp_path, 5, 10)
    newest = states(tmp_path)[1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"flipped": content, "cut": content[:-40], "empty": b""}[damage])
    assert checkpoint.load(tmp_path).step == 5
    assert f"{newest}: is damaged and left out: its content does not fit its checksum" in caplog.text
    states(tmp_path)[0].write_bytes(b"")
    assert checkpoint.load(tmp_path).step == 0


def test_those_that_nothing_goes_on_from_make_room(tmp_path):
    """As after an update that can read neither of the two: what is done anew must last."""
    saved(tmp_path, 500, 600)
    for file in states(tmp_path):
        file.write_bytes(b"")
    assert checkpoint.load(tmp_path).step == 0
    saved(tmp_path, 10)
    assert checkpoint.load(tmp_path).step == 10 and len(states(tmp_path)) == 1
    saved(tmp_path, 20, 30)
    assert [file.name[:9] for file in states(tmp_path)] == ["000000020", "000000030"]


def test_one_that_was_being_written_does_not_count(tmp_path):
    saved(tmp_path, 5)
    part = part_of(tmp_path / "checkpoint.pt")
    part.write_bytes(b"half")
    assert checkpoint.load(tmp_path).step == 5
    saved(tmp_path, 6)
    assert not part.exists()


def test_code_in_a_checkpoint_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"done": Evil()}, tmp_path / "part")
    (tmp_path / "part").rename(tmp_path / f"000000005-{digest_of(tmp_path / 'part')}.pt")
    assert checkpoint.load(tmp_path).step == 0
    assert not (tmp_path / "ran").exists()


class Interrupted(Exception):
    """What ends a training in these tests."""


def interrupted(arrays: Path, out: Path, monkeypatch, after: int, todo=None, settings=SETTINGS) -> None:
    """Train with a checkpoint after each iteration, until the one after iteration ``after`` is written."""
    save = checkpoint.save

    def saving(folder, state):
        save(folder, state)
        if state.step >= after:
            raise Interrupted

    with monkeypatch.context() as patched, pytest.raises(Interrupted):
        patched.setattr(checkpoint, "save", saving)
        run(arrays, out, todo, settings, checkpoint_seconds=0)


@pytest.mark.parametrize("after", [1, 30, 60])
def test_a_damaged_checkpoint_costs_no_byte(arrays, tmp_path, monkeypatch, after, caplog):
    interrupted(arrays, tmp_path / "out", monkeypatch, after)
    newest = states(tmp_path / "out" / "working")[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    assert same(run(arrays, tmp_path / "out"), run(arrays, tmp_path / "whole"))
    assert "is damaged and left out" in caplog.text


@pytest.mark.parametrize(("at", "look"), [(20, 1), (30, 2)])  # looks: every 20, and at the end of a stage
def test_a_stop_does_not_wait_for_the_validation_images(arrays, tmp_path, monkeypatch, at, look):
    real, out = tiles.infer, tmp_path / "out"
    seen = []

    def asked(*arguments, **named):
        seen.append(1)
        if len(seen) == look:
            signal.raise_signal(signal.SIGTERM)
            pytest.fail("the signal was to end this")
        return real(*arguments, **named)

    with monkeypatch.context() as patched, pytest.raises(SystemExit) as left:
        patched.setattr(tiles, "infer", asked)
        run(arrays, out)
    assert left.value.code == 1 and len(seen) == look
    assert states(out / "working")[-1].name.startswith(f"{at:09d}")
    assert same(run(arrays, out), run(arrays, tmp_path / "whole"))
    assert [int(row["iteration"]) for row in history(out)] == [10, 20, 30, 40, 50, 60]


@pytest.mark.parametrize("loss", ["l1", "content"])
def test_a_network_with_dropout_goes_on_with_its_random_numbers(arrays, tmp_path, monkeypatch, loss):
    """VGG-16 draws weights before it reads them, and must not draw once more where a training goes on."""
    file = tmp_path / "dropping.py"
    file.write_text(
        "from torch import nn\n"
        "class Dropping(nn.Module):\n"
        "    output_layer, receptive_field = 'c', 3\n"
        "    def __init__(self) -> None:\n"
        "        super().__init__()\n"
        "        self.c, self.d = nn.Conv2d(3, 3, 3, padding=1), nn.Dropout(0.5)\n"
        "    def forward(self, x):\n"
        "        return x + self.d(self.c(x))\n"
    )
    vgg16 = tmp_path / "vgg16.pth"
    torch.save({name: torch.randn(shape) * 0.05 for name, shape in SHAPES.items()}, vgg16)
    named = {"loss": {"content": 1.0}, "vgg16": str(vgg16)} if loss == "content" else {}
    blocks = (Block(network=str(file)),)
    todo = Plan(blocks=blocks, phases=(phase("1", iterations=8, patch=16, **named),)).task(1, seed=5)
    interrupted(arrays, tmp_path / "out", monkeypatch, 3, todo)
    assert same(run(arrays, tmp_path / "out", todo), run(arrays, tmp_path / "whole", todo))


def test_it_goes_on_in_the_number_format_that_it_began_with(arrays, tmp_path, monkeypatch, caplog):
    interrupted(arrays, tmp_path / "out", monkeypatch, 13)
    choose, device = trainer._as_begun, []

    def begun_otherwise(given, about):
        device.append(choose(replace(given, dtype=torch.bfloat16), about))
        return device[-1]

    monkeypatch.setattr(trainer, "_as_begun", begun_otherwise)
    resumed = run(arrays, tmp_path / "out")
    assert (device[0].dtype, device[0].dtype_reason) == (torch.float32, "as it was begun")
    monkeypatch.undo()
    assert same(resumed, run(arrays, tmp_path / "whole"))


def test_what_changed_meanwhile_is_said(arrays, tmp_path, monkeypatch, caplog):
    interrupted(arrays, tmp_path / "out", monkeypatch, 13)
    monkeypatch.setattr(trainer, "versions", lambda: {"torch": "3.0"})
    with caplog.at_level(logging.WARNING):
        run(arrays, tmp_path / "out")
    assert "it began with versions" in caplog.text and "as with another seed" in caplog.text


def test_a_device_of_another_make_is_said_and_one_of_another_number_is_not(arrays, tmp_path, monkeypatch, caplog):
    choose = test_training.choose
    for number, (changes, said) in enumerate([({"device": torch.device("cpu:0")}, False), ({"name": "X"}, True)]):
        out = tmp_path / str(number)
        interrupted(arrays, out, monkeypatch, 13)
        caplog.clear()
        with monkeypatch.context() as patched:
            patched.setattr(test_training, "choose", lambda of=changes, **named: replace(choose(**named), **of))
            run(arrays, out)
        assert ("it began with device CPU and goes on with X" in caplog.text, "it began" in caplog.text) == (said, said)


class Exploding(nn.Module):
    """A block whose loss stays finite while its gradient does not, from a certain call on."""

    output_layer, receptive_field, scale = "c", 3, 1
    calls, at = 0, 8

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        if self.training:
            Exploding.calls += 1
        out = x + self.c(x)
        # The slope of a square root at zero is infinite, and times zero it is no number.
        return out + (out * 0).sqrt() if Exploding.calls >= Exploding.at and self.training else out


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_nothing_is_stepped_with_what_is_not_finite(arrays, tmp_path, monkeypatch, what):
    stages = (stage(iterations=5, patch=16, lr=0.01), stage(iterations=10, patch=16, lr=0.02))
    steps, todo = [], replace(task(), stages=stages)
    if what == "loss":
        values = iter([1.0] * 7 + [float("nan")])
        monkeypatch.setattr(Loss, "forward", lambda self, out, target: (out - target).abs().mean() * next(values))
        reason = "the loss is nan"
    else:
        Exploding.calls = 0
        monkeypatch.setattr(registry, "build", lambda *_: Exploding())
        reason = "the norm of the gradient is nan"
    make = step.make_optimiser

    def counting(*arguments):
        made = make(*arguments)
        made.register_step_post_hook(lambda *_: steps.append(1))
        return made

    monkeypatch.setattr(step, "make_optimiser", counting)
    with pytest.raises(UserError, match=f"phase 1, stage 2, iteration 8: {reason}; a learning rate below 0.02"):
        run(arrays, tmp_path / "out", todo, checkpoint_seconds=0)
    assert len(steps) == 7
    kept = checkpoint.load(tmp_path / "out" / "working")
    assert kept.step == 7 and all(value.isfinite().all() for value in kept.weights.values())
