"""What a stage can have beside optimiser, schedule and loss: an average of the weights, warm-up, clipping, clamps of
some blocks, losses of intermediate outputs."""

import json
import logging
from dataclasses import replace

import pytest
import torch
from torch import nn

from multiblock import config
from multiblock.data.imageset import ImageSet
from multiblock.data.sampler import Sampler
from multiblock.errors import UserError
from multiblock.model import chain
from multiblock.model.chain import Chain
from multiblock.plan import Block, Plan
from multiblock.runtime import compilation
from multiblock.runtime.device import choose
from multiblock.training import schedules
from multiblock.training.optimisers import build
from multiblock.training.schedules import Plateau
from multiblock.training.starts import starting_chain
from multiblock.training.step import Average, Step
from multiblock.training.validation import Validation
from test_checkpoint import interrupted
from test_config import changed
from test_plan import phase, stage
from test_training import SETTINGS, SPEC, history, run, same

BEST = replace(SETTINGS, keep="best")


def joint(*stages: dict, clamp: str = "all"):
    """A joint phase of two blocks, a stage for each mapping of changes."""
    values = {"iterations": 20, "lr": 5e-3, "patch": 12, "clamp": clamp}
    made = tuple(stage(**{**values, **changes}) for changes in stages)
    return Plan(blocks=(SPEC, SPEC), phases=(replace(phase("1-2"), stages=made),)).task(1, seed=5)


def weights(folder) -> dict[str, torch.Tensor]:
    return chain.load(folder / "weights.safetensors").blocks.state_dict()


def looked(arrays, folder) -> float:
    """PSNR of the validation images by the weights that a training has left."""
    sets = (ImageSet(arrays / kind / "validation.npy") for kind in ("LR", "HR"))
    kept = chain.load(folder / "weights.safetensors")
    return Validation(*sets, None, 4).psnr(kept, choose("cpu", "float32", gpus=0, threads=1))


def by_hand(arrays, todo, objective, after_backward=lambda span: None, factor=lambda i: 1.0, forward=None):
    """The loop of a training with Adam as a reader would write it down; yields the span after each iteration."""
    torch.manual_seed(0)
    whole = starting_chain(todo, {})
    span = whole.part(todo.first, todo.last).train().to(memory_format=torch.channels_last)
    (only,) = todo.stages
    span.clamped = [only.clamp == "all"] * (len(span.specs) - 1) + [only.clamp in ("all", "last")]
    sets = ImageSet(arrays / "LR" / "train.npy"), ImageSet(arrays / "HR" / "train.npy")
    sampler = Sampler(*sets, 1, todo.seed, todo.phase, torch.device("cpu"))
    optimiser = build("adam", span.parameters(), only.lr, {})
    for iteration in range(only.iterations):
        optimiser.zero_grad()
        pair = sampler.batch(iteration, only.batch, only.patch, only.augment)
        batch, target = (images.contiguous(memory_format=torch.channels_last) for images in pair)
        loss = objective((forward or (lambda span, x: span(x)))(span, batch), target)
        loss.backward()
        after_backward(span)
        optimiser.param_groups[0]["lr"] = only.lr * factor(iteration)
        optimiser.step()
        yield span, loss.item()


def l1(output, target):
    return (output - target).abs().mean()


def equal(one, two) -> bool:
    return all(torch.equal(value, two[name]) for name, value in one.items())


def close(one, two) -> bool:
    return all(torch.allclose(value, two[name], rtol=1e-4, atol=1e-6) for name, value in one.items())


def test_a_stage_without_them_is_the_plain_loop_to_the_last_bit(arrays, tmp_path):
    todo = joint({})
    out = run(arrays, tmp_path / "out", todo, replace(SETTINGS, history_every=1))
    *_, (span, _) = done = list(by_hand(arrays, todo, nn.functional.l1_loss))
    assert [row["loss"] for row in history(out)] == [f"{loss:.8g}" for _, loss in done]
    assert equal(weights(out), span.blocks.state_dict())


def test_average_clipping_warm_up_and_intermediate_losses_are_what_a_reader_would_write_down(arrays, tmp_path):
    """The average is kept and validated while training goes on without it; history has the norm before clipping."""
    todo, norms, most = joint({"ema": 0.8, "clip": 0.02, "warmup": 7, "intermediate": [0.5]}, clamp="last"), [], 0.02

    def forward(span, x):
        first = span.blocks["1"](x)
        return first, span.blocks["2"](first).clamp(0, 1)

    def objective(made, target):
        return l1(made[1], target) + 0.5 * l1(made[0], target)

    def scaled(span):
        gradients = [parameter.grad for parameter in span.parameters()]
        norms.append(torch.cat([one.flatten() for one in gradients]).norm().item())
        for one in gradients:
            one.mul_(min(1, most / norms[-1]))

    out = run(arrays, tmp_path / "out", todo, replace(SETTINGS, history_every=1))
    average, losses = dict(starting_chain(todo, {}).blocks.state_dict()), []
    loop = by_hand(arrays, todo, objective, scaled, lambda i: min(1, (i + 1) / 7), forward)
    for update, (span, loss) in enumerate(loop, 1):
        losses.append(loss)
        decay = min(0.8, (1 + update) / (10 + update))
        average = {n: decay * average[n] + (1 - decay) * value for n, value in span.blocks.state_dict().items()}
    assert max(norms) > most
    assert [float(row["gradient_norm"]) for row in history(out)] == pytest.approx(norms, rel=1e-3)
    assert [float(row["loss"]) for row in history(out)] == pytest.approx(losses, rel=1e-4)
    assert close(weights(out), average) and not close(span.blocks.state_dict(), average)
    assert history(out)[-1]["psnr_rgb_validation"] == f"{looked(arrays, out):.5f}"


@pytest.mark.parametrize("after", [8, 11])
def test_killed_and_gone_on_is_byte_for_byte_the_same(arrays, tmp_path, monkeypatch, after):
    keys = {"iterations": 8, "ema": 0.9, "clip": 0.01, "warmup": 7, "intermediate": [0.1]}
    todo = joint(keys, keys)
    interrupted(arrays, tmp_path / "out", monkeypatch, after, todo, BEST)
    assert same(run(arrays, tmp_path / "out", todo, BEST), run(arrays, tmp_path / "whole", todo, BEST))


@pytest.mark.parametrize("after", [8, 9])
@pytest.mark.parametrize("emas", [(0.9, None), (None, 0.9)])
def test_killed_where_an_average_begins_or_ends(arrays, tmp_path, monkeypatch, emas, after):
    todo = joint(*({"ema": ema, "iterations": 8} for ema in emas))
    interrupted(arrays, tmp_path / "out", monkeypatch, after, todo)
    assert same(run(arrays, tmp_path / "out", todo), run(arrays, tmp_path / "whole", todo))


@pytest.mark.parametrize("keep", ["last", "best"])
def test_a_last_stage_without_iterations_sets_the_clamps_of_what_is_measured(arrays, tmp_path, keep, caplog):
    """No iteration was seen with these clamps, so none of them is the best."""
    todo = joint({"ema": 0.9, "clamp": "none"}, {"iterations": 0})
    out = run(arrays, tmp_path / "out", todo, replace(SETTINGS, keep=keep))
    about, made = json.loads((out / "training.json").read_text()), chain.load(out / "weights.safetensors")
    assert made.clamped == [True, True] and about["kept"] == {"keep": keep, "iteration": 20}
    assert ("so the last iteration is kept, not the best" in caplog.text) == (keep == "best")
    found = looked(arrays, out)
    assert about["psnr_rgb_validation"] == pytest.approx(found, abs=1e-5)
    assert abs(found - float(history(out)[-1]["psnr_rgb_validation"])) > 1e-3, "the clamps change nothing here"


class Normed(nn.Module):
    """A block with two kinds of buffers."""

    output_layer, receptive_field, scale = "c", 3, 1

    def __init__(self) -> None:
        super().__init__()
        self.c, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.register_buffer("direction", torch.ones(2))

    def forward(self, x):
        return self.norm(self.c(x))


def test_statistics_of_batch_norms_are_averaged_and_other_buffers_are_not():
    span = Chain([Block(network="toy")], [False], [Normed()])
    average = Average(span)
    before = {name: value.clone() for name, value in span.blocks.state_dict().items()}
    span.blocks["1"].train()(torch.rand(2, 3, 8, 8))
    with torch.no_grad():
        span.blocks["1"].c.weight.add_(1)
        span.blocks["1"].direction.add_(1)
    now = {name: value.clone() for name, value in span.blocks.state_dict().items()}
    average.update(0.999)
    with average.in_place():
        inside = {name: value.clone() for name, value in span.blocks.state_dict().items()}
    for name, value in inside.items():
        averaged = name.endswith(("weight", "bias", "mean", "var"))
        mixed = (2 * before[name] + 9 * now[name]) / 11  # the first update's decay is 2 / 11
        assert torch.allclose(value, mixed) if averaged else torch.equal(value, now[name]), name
    assert equal(span.blocks.state_dict(), now)
    assert not equal(inside, now)


# -- Warm-up -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schedule", [{}, {"kind": "cosine", "to": 1e-5}, {"kind": "step", "every": 3}, {"kind": "plateau", "factor": 0.25}]
)
def test_warm_up_rises_in_a_line_and_multiplies_what_the_schedule_makes(schedule):
    seen = Plateau(factor=0.25)
    cold, warm = stage(iterations=12, schedule=schedule), stage(iterations=12, schedule=schedule, warmup=4)
    factors = [schedules.factor(warm, i, seen) / schedules.factor(cold, i, seen) for i in range(12)]
    assert factors == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 9)


# -- Clamps of some blocks ---------------------------------------------------------------------------------------------


def test_the_plan_knows_which_blocks_are_clamped():
    phases = (*(phase(str(k)) for k in (1, 2, 3)), phase("2-3", clamp="last"))
    made = Plan(blocks=(SPEC,) * 3, phases=phases)
    assert [[made.clamped(block, after) for block in (1, 2, 3)] for after in (3, 4)] == [
        [True] * 3,
        [True, False, True],
    ]


def of(spans: str = "1-2", **keys):
    plan = [{"span": span, "stages": [{"iterations": 10, **keys}]} for span in spans.split()]
    runs = {"default": {"chain": ["small"] * 3, "plan": [*plan, {"span": "1-3", "stages": "joint"}]}}
    return config.load({**changed("runs", runs), "shrink": {}}).runs["default"].plan.phase(1).stages[0]


def test_the_same_in_other_words_is_the_same_stage():
    assert of(clamp=True) == of(clamp="all") == of() and of(clamp=False) == of(clamp="none")
    assert of("1", clamp="last") == of("1") and of(clamp="last") != of()
    assert of("1-3", intermediate=0.1) == of("1-3", intermediate=[0.1, 0.1]) != of("1-3")
    assert of(options={"eps": 1e-8, "betas": [0.9, 0.999]}) == of() and of(loss={"l2": 1, "l1": 2}) == of(
        loss={"l1": 2, "l2": 1}
    )
    assert of(schedule={"to": 0, "kind": "cosine"}) == of(schedule={"kind": "cosine", "restarts": 0}) != of()
    assert of(intermediate=0) == of(intermediate=[0.0]) == of(warmup=0) == of() == of("1", intermediate=0)


@pytest.mark.parametrize(
    ("spans", "keys", "says"),
    [
        ("1", {"intermediate": 0.1}, "intermediate: found 0.1 for span 1, which has no block before its last"),
        ("1-3", {"intermediate": [0.1]}, "intermediate: found 1 weights for span 1-3; allowed are 2, one for each"),
        ("1-2", {"intermediate": -1}, "intermediate: found -1; allowed are a number from 0, or a list"),
        ("1", {"warmup": 11}, "warmup: found 11; allowed is at most the stage's 10 iterations"),
        ("1", {"clip": 0}, "clip: found 0; allowed is more than 0"),
        ("1", {"ema": 1}, "ema: found 1; allowed is below 1"),
        ("1-2", {"clamp": "first"}, "clamp: found 'first'; allowed are all, last, none, or true or false"),
    ],
)
def test_what_is_not_allowed(spans, keys, says):
    with pytest.raises(UserError, match="stage 1, " + says):
        of(spans, **keys)


# -- Intermediate losses -----------------------------------------------------------------------------------------------


def test_what_blocks_make_on_the_way_of_a_chain_that_enlarges():
    specs = [Block(network="carn", options={"scale": 2, "channels": 8}), SPEC, SPEC]
    torch.manual_seed(0)
    span, x = Chain.build(specs, [True, False, True]).eval(), torch.rand(1, 3, 8, 9)
    made = span.outputs(x)
    for last, one in enumerate(made, 1):
        assert torch.equal(one, span.part(1, last)(x)) and one.shape == (1, 3, 16, 18)
    assert torch.equal(made[-1], span(x))


def test_they_are_compiled_too(monkeypatch, caplog):
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda of, **_: compiled.append(of) or of)
    device, only = choose("cpu", "float32", gpus=0, threads=1), stage(intermediate=[0.5], clamp="none")
    span = Chain.build([SPEC, SPEC], [False, False])
    how = compilation.Execution(torch.channels_last, "configured", "always")
    with caplog.at_level(logging.INFO):
        step = Step(span, only, device, how, how.forward(span, device, only))
    assert compiled == [span.outputs] and how.ran[0].compiled
    batch, target = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    loss, norm = step.gradients(batch, target)
    first, last = span.outputs(batch)
    assert loss.item() == pytest.approx((l1(last, target) + 0.5 * l1(first, target)).item()) and norm > 0
