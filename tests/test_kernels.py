"""Memory layout and compilation: which, why, and with the same result."""

import json
import logging
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from multiblock.errors import UserError
from multiblock.model.chain import Chain
from multiblock.networks import zoo
from multiblock.plan import Block, Plan
from multiblock.runtime import compilation
from multiblock.runtime.compilation import Execution
from multiblock.runtime.device import choose
from multiblock.training.step import Average, Step
from test_checkpoint import interrupted
from test_plan import phase, stage
from test_training import SETTINGS, run, same, task

SMALL = Block(network="mcan", options={"channels": 8, "residual_blocks": 1})
MCAN = Block(network="mcan", options={})
CPU = choose("cpu", "float32", gpus=0, threads=1)


def picked(spec: Block, layout: str = "auto", compile: str = "auto", **changes) -> tuple[Execution, compilation.Ran]:
    long = Plan(blocks=(spec,), phases=(replace(phase("1"), stages=(stage(**changes),)),)).task(1, seed=1)
    with torch.device("meta"):
        span = Chain.build([spec], [True])
    how = compilation.choose(span, long, CPU, layout, compile)
    return how, how.plan(span, CPU, long.stages[0])


@pytest.mark.parametrize("name", ["mcan", "carn", "carn_m", "imdn_rtc", "pan", "srresnet", "drln_lite1", "rcan_6"])
def test_the_bound_that_needs_no_counting_is_a_bound(name):
    work = stage(iterations=100, batch=2, patch=24)
    span = Chain.build([zoo.sample(name)], [True])
    assert compilation.at_most(span, work, CPU) >= compilation.estimate(span, work, CPU)


def test_what_pays_is_compiled():
    _, short = picked(SMALL, iterations=1000, batch=8, patch=32)
    _, long = picked(MCAN, iterations=15000, batch=16, patch=48)
    assert not short.compiled and short.reason == "does not pay for a stage of less than 600 s"
    assert long.compiled and long.reason.startswith("pays for a stage of about")


def test_channels_last_unless_the_network_is_slower_with_it():
    assert picked(SMALL)[0].layout == torch.channels_last
    dense = zoo.sample("sr_resunet_2")
    assert picked(dense)[0].layout == torch.contiguous_format
    assert picked(dense)[0].layout_reason == "faster for sr_resunet"


def test_the_config_has_the_last_word():
    how, plan = picked(MCAN, "contiguous", "never", iterations=15000, batch=16, patch=48)
    assert (how.layout, plan.compiled) == (torch.contiguous_format, False)
    assert (str(how), str(plan)) == ("layout contiguous (configured), compile never", "not compiled (configured)")
    assert picked(SMALL, compile="always")[1].compiled


@pytest.mark.parametrize(
    ("name", "options"), [("imdn_rtc", {"scale": 4}), ("srresnet", {"scale": 4, "blocks": 2}), ("mcan", {})]
)
def test_the_expected_time_is_that_of_the_work(name, options):
    """As PyTorch counts forward and backward pass; in a network that enlarges most layers see the small image."""
    spec, work = zoo.block(name, options, "b"), stage(iterations=10, batch=2, patch=12)
    span = Chain.build([spec], [True])
    counter = FlopCounterMode(display=False)
    with counter:
        span(torch.rand(2, 3, 12, 12)).mean().backward()
    assert compilation.flops(span, work) == pytest.approx(counter.get_total_flops(), rel=0.1)
    two = choose("cpu", "float32", gpus=0, threads=2)
    seconds = [compilation.estimate(span, work, device) for device in (CPU, two)]
    assert seconds[0] == seconds[1], "how many threads there are must not decide what is compiled"
    launched = 10 * compilation._LAUNCH_SECONDS["cpu"]
    assert seconds[0] - launched == pytest.approx(10 * counter.get_total_flops() / 2e11, rel=0.1)
    torch.set_num_threads(1)


class NoMeta(torch.nn.Module):
    """A network that cannot be counted without values."""

    output_layer, receptive_field, scale = "c", 3, 1

    def __init__(self):
        super().__init__()
        self.c = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.c.weight.sum().item()

    def forward(self, x):
        return self.c(x)


def test_a_network_that_needs_values_is_counted_with_them(monkeypatch):
    monkeypatch.setattr(compilation.complexity.registry, "build", lambda *_: NoMeta())
    span = Chain([SMALL], [True], [NoMeta()])
    assert (
        compilation.flops(span, stage(batch=2, patch=10)) == 3 * 2 * 2 * 81 * 100
    )  # three passes, two images, multiply-adds


# -- The trial ---------------------------------------------------------------------------------------------------------


class Normed(torch.nn.Module):
    """A network with buffers that a forward pass changes, and random numbers that it takes."""

    output_layer, receptive_field, scale = "c", 3, 1

    def __init__(self):
        super().__init__()
        self.c, self.norm = torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.BatchNorm2d(3)

    def forward(self, x):
        return self.norm(self.c(x)) + torch.rand_like(x)


class Graph:
    """Stands for a CUDA graph: its gradients lie in its own memory, so that one that is there cannot be added to."""

    def __init__(self, span, fails_in: int = 0):
        self.span, self.fails_in, self.passes, self.seen = span, fails_in, 0, []

    def __call__(self, x):
        assert all(parameter.grad is None for parameter in self.span.parameters()), "a gradient of the pass before"
        self.passes += 1
        self.seen.append((tuple(self.span.clamped), self.span.blocks["1"].c.weight.requires_grad))
        result = self.span(x)
        if self.passes == self.fails_in:
            raise RuntimeError("no C++ compiler\nmore")
        return result


@pytest.fixture
def trial(monkeypatch):
    """A span, how it is run, the stage, and the graphs that were made of it."""
    made = []
    span = Chain([SMALL], [False], [Normed()]).train()
    span.blocks["1"].c.weight.requires_grad_(False)

    def prepared(compile: str = "always", fails_in: int = 0):
        monkeypatch.setattr(torch, "compile", lambda chain, **_: made.append(Graph(chain, fails_in)) or made[-1])
        how = Execution(torch.channels_last, "configured", compile)
        return how, lambda: how.forward(span, CPU, stage(iterations=10**6, batch=2, patch=8))

    return span, made, prepared


@pytest.mark.parametrize("fails_in", [0, 1, 2])
def test_a_trial_clears_gradients_and_leaves_the_rest_as_it_was(trial, fails_in):
    span, made, prepared = trial
    for parameter in span.parameters():
        parameter.grad = torch.ones_like(parameter)
    before, random = {name: tensor.clone() for name, tensor in span.state_dict().items()}, torch.get_rng_state()
    how, forward = prepared("always", fails_in)
    if fails_in:
        with pytest.raises(UserError, match="compile: found always, but .*: no C.. compiler; allowed are auto, never"):
            forward()
        assert how.ran == []
    else:
        forward()
        assert how.ran == [compilation.Ran(True, "configured")]
    assert made[0].passes == (fails_in or 2)
    assert all(torch.equal(tensor, before[name]) for name, tensor in span.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in span.parameters())


def test_a_trial_is_of_the_stage_as_it_will_run(trial):
    span, made, prepared = trial
    how, forward = prepared()
    forward()
    span.clamped = [True]
    span.blocks["1"].c.weight.requires_grad_(True)
    forward()
    assert made[0].seen == [((False,), False)] * 2
    assert made[1].seen == [((True,), True)] * 2
    assert len(how.ran) == 2


def test_what_ran_is_recorded(trial, caplog):
    span, _, prepared = trial
    how, forward = prepared("auto", fails_in=2)
    how = replace(how)
    with caplog.at_level(logging.INFO), pytest.MonkeyPatch.context() as patched:
        for bound in ("at_most", "estimate"):
            patched.setattr(compilation, bound, lambda *_: 1e4)
        assert forward() is span
    assert "not compiled after all: no C++ compiler" in caplog.text
    assert how.fields()["stages"] == [{"compiled": False, "reason": "it was tried: no C++ compiler", "recorded": False}]
    assert str(how).endswith("not compiled (it was tried: no C++ compiler)")


def losses(folder) -> list[float]:
    return [float(line.split(",")[3]) for line in (folder / "history.csv").read_text().splitlines()[1:]]


@pytest.mark.slow
def test_compiled_training_goes_the_same_way_and_is_resumed_to_the_same_bytes(arrays, tmp_path, monkeypatch):
    always = replace(SETTINGS, compile="always")
    eager, whole = run(arrays, tmp_path / "eager"), run(arrays, tmp_path / "whole", settings=always)
    assert losses(whole) == pytest.approx(losses(eager), rel=1e-3)
    compiled = [json.loads((out / "training.json").read_text())["segments"][0]["stages"] for out in (eager, whole)]
    assert [[stage["compiled"] for stage in stages] for stages in compiled] == [[False] * 2, [True] * 2]

    interrupted(arrays, tmp_path / "resumed", monkeypatch, 33, settings=always)
    assert same(run(arrays, tmp_path / "resumed", settings=always), whole)


def test_a_compiler_that_fails_leaves_the_training_as_it_was(arrays, tmp_path, monkeypatch, caplog):
    def failing(*_, **__):
        def compiled(_):
            raise RuntimeError("no C++ compiler\nmore")

        return compiled

    monkeypatch.setattr(torch, "compile", failing)
    for bound in ("at_most", "estimate"):
        monkeypatch.setattr(compilation, bound, lambda *_: 1e4)
    with caplog.at_level(logging.INFO):
        made = run(arrays, tmp_path / "fallen_back", settings=replace(SETTINGS, compile="auto"))
    assert "not compiled after all: no C++ compiler" in caplog.text
    with pytest.raises(UserError, match="compile: found always, but the network cannot be compiled"):
        run(arrays, tmp_path / "refused", settings=replace(SETTINGS, compile="always"))
    assert same(made, run(arrays, tmp_path / "eager"))


def test_each_stage_and_each_change_of_what_is_frozen_is_prepared_for_itself(arrays, tmp_path, monkeypatch):
    prepared, forward = [], Execution.forward

    def noted(how, span, device, stage):
        frozen = [name for name, parameter in span.blocks["1"].named_parameters() if not parameter.requires_grad]
        prepared.append((stage.clamp, sorted(frozen)))
        return forward(how, span, device, stage)

    monkeypatch.setattr(Execution, "forward", noted)
    made = run(arrays, tmp_path / "made", task(12, parts={"head": {"freeze": 3}}))
    head = ["head.bias", "head.weight"]
    assert prepared == [("none", head), ("none", []), ("all", head), ("all", [])]
    assert same(made, run(arrays, tmp_path / "again", task(12, parts={"head": {"freeze": 3}})))


@pytest.mark.parametrize("what", [(Execution, "to_layout"), (Step, "apply"), (Average, "update")])
def test_training_beyond_memory_ends_in_one_line_that_names_batch_and_patch(arrays, tmp_path, monkeypatch, what):
    """In the passes, in the first step, which makes the optimiser's moments, and after it."""

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr(*what, full)
    with pytest.raises(UserError, match="out of memory: this machine cannot train with batch 4 of patches of 16 x 16"):
        run(arrays, tmp_path / "full", task(12, batch=4, ema=0.9))


# -- One CUDA graph an iteration ---------------------------------------------------------------------------------------

GPU = replace(CPU, device=torch.device("cuda", 0))


@pytest.fixture
def prepared():
    """How a span is run, after its forward pass was prepared, and the span."""
    span = Chain([SMALL], [False], [Normed()])
    how = Execution(torch.channels_last, "configured", "auto")
    how.ran.append(compilation.Ran(False, "does not pay"))
    return how, span


def test_only_a_gpu_has_graphs_and_only_where_compilation_is_not_off(prepared, monkeypatch):
    how, span = prepared
    monkeypatch.setattr(compilation, "Recorded", lambda *_: 1 / 0)
    for device, one in ((CPU, how), (GPU, replace(how, compile="never"))):
        assert one.recorded(min, span, device, ()) is min
    assert how.fields()["stages"] == [{"compiled": False, "reason": "does not pay", "recorded": False}]


def test_what_is_recorded_says_so(prepared, monkeypatch):
    how, span = prepared
    monkeypatch.setattr(compilation, "Recorded", lambda *given: given)
    assert how.recorded(min, span, GPU, (1, 2)) == (min, span, (1, 2), torch.device("cuda", 0))
    assert how.fields()["stages"] == [{"compiled": False, "reason": "does not pay", "recorded": True}]
    assert str(how).endswith("not compiled (does not pay), one CUDA graph an iteration")


def test_what_cannot_be_recorded_runs_as_it_is(prepared, monkeypatch, caplog):
    how, span = prepared
    for parameter in span.parameters():
        parameter.grad = torch.ones_like(parameter)

    def refused(*_):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(compilation, "Recorded", refused)
    with caplog.at_level(logging.INFO):
        assert how.recorded(min, span, GPU, ()) is min
    assert "not recorded as a CUDA graph after all: operation not permitted when stream is capturing" in caplog.text
    assert all(parameter.grad is None for parameter in span.parameters())
    assert how.ran[-1].recorded is False


def test_memory_that_runs_out_while_recording_is_not_hidden(prepared, monkeypatch):
    how, span = prepared

    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(compilation, "Recorded", too_large)
    with pytest.raises(torch.OutOfMemoryError):
        how.recorded(min, span, GPU, ())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_recorded_function_is_the_function():
    device = torch.device("cuda", 0)
    span = Chain([SMALL], [False], [Normed()]).to(device).train()
    before = {name: buffer.clone() for name, buffer in span.named_buffers()}

    def loss(x):
        span.zero_grad(set_to_none=True)
        value = span.blocks["1"].c(x).square().mean()
        value.backward()
        return value.detach()

    made = compilation.Recorded(loss, span, [torch.zeros(2, 3, 8, 8)], device)
    assert all(torch.equal(buffer, before[name]) for name, buffer in span.named_buffers())
    for seed in (1, 2):
        x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        found = made(x), span.blocks["1"].c.weight.grad.clone()
        other = Chain(span.specs, [False], [span.blocks["1"]])
        other.zero_grad(set_to_none=False)
        expected = torch.autograd.grad(other.blocks["1"].c(x.to(device)).square().mean(), other.blocks["1"].c.weight)[0]
        assert torch.allclose(found[1], expected) and found[0].shape == ()
