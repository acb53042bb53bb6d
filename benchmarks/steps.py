"""How long a training step takes: eager float32 in the default layout, and ours; against what the device can do."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from bench import BLOCKS, How, Table, paired, spread, timed, times_as_fast
from feeding import make_images
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from multiblock import config
from multiblock.data.imageset import ImageSet
from multiblock.data.sampler import Sampler
from multiblock.model.chain import Chain
from multiblock.networks.layers import conv
from multiblock.plan import Task
from multiblock.runtime import compilation
from multiblock.runtime.device import Device, choose, make_deterministic
from multiblock.training.step import Step


@dataclass(frozen=True)
class Case:
    """A block as a config has it, and how long and on what it is trained."""

    block: Mapping[str, Any]
    iterations: int
    batch: int
    patch: int

    def task(self) -> Task:
        """Phase 1 of a run of this block alone; a block that enlarges is at x2."""
        stage = {"iterations": self.iterations, "batch": self.batch, "patch": self.patch, "lr": 1e-4}
        runs = {"run": {"chain": ["block"], "plan": [{"span": 1, "start": "default", "stages": [stage]}]}}
        study = config.load({"blocks": {"block": dict(self.block)}, "runs": runs})
        return study.runs["run"].plan.task(1, seed=1)


CASES = {
    "MCAN": Case(BLOCKS["MCAN"], 15_000, 16, 48),
    "default": Case(BLOCKS["default"], 1_000, 16, 48),
}
# The CARN study's table of times: batches as in the study's short form, three patches of half the side.
CARN = {
    f"carn {name}": Case({"network": f"carn_full_v2_se_{name}"}, 1_000, 3, 64)
    for name in ("res_bilinear", *(f"res_bilinear_V2_group{groups}" for groups in (4, 2, 1)))
}


class Work:
    """An iteration as training does it (forward, loss, backward, Adam), on a batch that is there."""

    def __init__(self, task: Task, device: Device, layout: str, compile: str) -> None:
        make_deterministic(False)
        torch.manual_seed(0)
        stage = task.stages[0]
        self.device, self.span = device, Chain.build(task.blocks, stage.clamps(1)).train()
        self.how = compilation.choose(self.span, task, device, layout, compile)
        self.span.to(device.device, memory_format=self.how.layout)  # type: ignore[call-overload]
        forward = self.how.forward(self.span, device, stage)
        self.step = Step(self.span, stage, device, self.how, forward)
        batch, side = stage.batch, stage.patch
        self.inputs = self.how.to_layout(torch.rand(batch, 3, side, side, device=device.device))
        side *= task.blocks[0].scale
        self.targets = self.how.to_layout(torch.rand(batch, 3, side, side, device=device.device))
        batches = self.inputs, self.targets
        self.gradients = self.how.recorded(self.step.gradients, self.span, device, batches)

    def __call__(self) -> None:
        """Do it once."""
        self.gradients(self.inputs, self.targets)
        self.step.apply(1.0)

    def flops(self) -> float:
        """Floating-point operations of an iteration: twice the multiply-adds, forward and backward."""
        counter = FlopCounterMode(display=False)
        forward, self.step.forward = self.step.forward, self.span
        with counter:
            self.step.gradients(self.inputs, self.targets)
        self.step.forward = forward
        return counter.get_total_flops()


def ours(task: Task, how: How) -> Work:
    """An iteration as training would choose it."""
    return Work(task, choose(how.device, "auto", 1, how.threads), "auto", "auto")


def ways_of(case: Case, how: How) -> dict[str, Work]:
    """What others do, what lies between, and ours."""
    task, short = case.task(), replace(case, iterations=1).task()
    float32 = choose(how.device, "float32", 1, how.threads)
    fast = choose(how.device, "auto", 1, how.threads)
    eager = f"eager {_named(fast.dtype)}, channels last"
    ways = {
        "eager float32, default layout": Work(task, float32, "contiguous", "never"),
        "eager float32, channels last": Work(task, float32, "channels_last", "never"),
        eager: Work(task, fast, "channels_last", "never"),
    }
    if how.device == "cuda":
        ways[f"{eager}, one CUDA graph"] = Work(short, fast, "channels_last", "auto")
        ways["ours, compiled in any case"] = Work(task, fast, "auto", "always")
    return {**ways, "ours": ours(task, how)}


def _calls(how: How) -> int:
    """Steps in a row: in training a GPU works through what it was told while the host goes on."""
    return 10 if how.device == "cuda" else 1


def measure(how: How) -> Table:
    """The MCAN block at 16 x 3 x 48 x 48, and the default block."""
    cases = {name: Case(case.block, case.iterations, 2, 16) for name, case in CASES.items()} if how.quick else CASES
    make_images(how.work / "steps", 280, 400, 2)
    pixels = ImageSet(how.work / "steps" / "train.npy")
    ceilings: dict[torch.dtype, float] = {}
    rows, notes = [], []
    for name, case in cases.items():
        ways = ways_of(case, how)
        sampler = Sampler(pixels, pixels, 1, seed=1, phase=1, device=torch.device(how.device))
        works: dict[str, Callable[[], float]] = {way: timed(step, how, _calls(how)) for way, step in ways.items()}
        feed = partial(sampler.batch, 0, case.batch, case.patch)
        works["feeding"] = timed(feed, how, _calls(how))
        times = paired(works, how.repeats)
        feeding = times.pop("feeding")
        slow, flops = times[next(iter(ways))], ways["ours"].flops()
        for way, seconds in times.items():
            dtype = ways[way].device.dtype
            ceilings[dtype] = ceilings.get(dtype) or ceiling(dtype, how)
            reached = flops / statistics.median(seconds)
            rows.append(
                {
                    "block": name,
                    "way": way,
                    "ms a step": spread(seconds, digits=1),
                    "faster by": f"{times_as_fast(slow, seconds):.2f} x",
                    "GFLOP/s": f"{reached / 1e9:,.0f}",
                    "of the ceiling": f"{reached / ceilings[dtype]:.0%}",
                    "feeding's share": f"{_share(feeding, seconds):.2%}",
                }
            )
        fast = ways["ours"]
        notes.append(f"{name}: batch {case.batch}, patch {case.patch}; ours: {fast.device}; {fast.how}.")
    notes += [
        f"Ceiling, the best of matrix products and 3x3 convolutions of many shapes: {_named(dtype)} "
        f"{value / 1e9:,.0f} GFLOP/s."
        for dtype, value in ceilings.items()
    ]
    return Table("steps", "One training step: forward, loss, backward, Adam.", rows, notes, repeated=True)


def measure_carn(how: How) -> Table:
    """The four networks that the CARN study timed, in relation to the first."""
    cases = {name: Case(case.block, case.iterations, 1, 16) for name, case in CARN.items()} if how.quick else CARN
    steps = {name: ours(case.task(), how) for name, case in cases.items()}
    times = paired({name: timed(step, how, _calls(how)) for name, step in steps.items()}, how.repeats)
    first = times[next(iter(times))]
    fast = next(iter(steps.values()))
    rows = [
        {
            "network": name,
            "ms a step": spread(seconds, digits=1),
            "relative time": f"{1 / times_as_fast(first, seconds):.2f}",
        }
        for name, seconds in times.items()
    ]
    about = "One training step of the networks that the CARN study timed."
    return Table("carn", about, rows, [f"{fast.device}; {fast.how}."], repeated=True)


def measure_limits(how: How) -> Table:
    """What a step spends on its convolutions, each alone in the same number format; and what width does to those."""
    cases = {name: Case(case.block, case.iterations, 2, 16) for name, case in CASES.items()} if how.quick else CASES
    fast = choose(how.device, "auto", 1, how.threads)
    best, rows = ceiling(fast.dtype, how), []
    for name, case in cases.items():
        step = Work(case.task(), fast, "channels_last", "never")
        alone = _convolutions(step)
        works: dict[str, Callable[[], object]] = {"step": step, "alone": lambda alone=alone: [one() for one in alone]}
        times = paired({what: timed(work, how, _calls(how)) for what, work in works.items()}, how.repeats)
        rows.append(_limit(f"{name}: a step", times["step"], step.flops(), best))
        rows.append(_limit(f"{name}: its convolutions alone", times["alone"], step.flops(), best))
    side, batch = (16, 2) if how.quick else (48, 16)
    layers = {width: conv(width, width) for width in ((16,) if how.quick else (16, 32, 64, 128))}
    for width, layer in layers.items():
        x = torch.rand(batch, width, side, side, device=how.device)
        works = {"it": _there_and_back(layer.to(how.device), x, fast.dtype)}
        seconds = paired({"it": timed(works["it"], how, _calls(how))}, how.repeats)["it"]
        rows.append(
            _limit(f"one convolution of {width} channels", seconds, 3 * 2 * 9 * batch * (width * side) ** 2, best)
        )
    about = f"What limits a training step in {_named(fast.dtype)}, eager, channels last, without Adam's share of FLOPs."
    notes = [f"Ceiling, as in the table of steps: {_named(fast.dtype)} {best / 1e9:,.0f} GFLOP/s. {fast}."]
    return Table("limits", about, rows, notes, repeated=True)


def _limit(what: str, seconds: Sequence[float], flops: float, best: float) -> dict[str, Any]:
    reached = flops / statistics.median(seconds)
    return {
        "what": what,
        "ms": spread(seconds, digits=1),
        "GFLOP/s": f"{reached / 1e9:,.0f}",
        "of the ceiling": f"{reached / best:.0%}",
    }


def _convolutions(step: Work) -> list[Callable[[], object]]:
    """The convolutions of a step, each forward and backward, alone."""
    found: list[Callable[[], object]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], _: object) -> None:
        found.append(_there_and_back(layer, inputs[0], step.device.dtype))

    layers = [layer for layer in step.span.modules() if isinstance(layer, nn.Conv2d)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    with step.device.autocast():
        step.span(step.inputs)
    for hook in hooks:
        hook.remove()
    return found


def _there_and_back(layer: nn.Module, x: Tensor, dtype: torch.dtype) -> Callable[[], object]:
    """Output and gradients of a convolution whose input and weights are in a number format already."""
    layout = torch.channels_last
    given = [x.detach().to(dtype, memory_format=layout), layer.weight.detach().to(dtype, memory_format=layout)]
    given = [tensor.requires_grad_() for tensor in given]
    output = nn.functional.conv2d(*given, padding=layer.padding)
    gradient = torch.ones_like(output)
    return lambda: torch.autograd.grad(nn.functional.conv2d(*given, padding=layer.padding), given, gradient)


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _share(feeding: Sequence[float], step: Sequence[float]) -> float:
    fed = statistics.median(feeding)
    return fed / (fed + statistics.median(step))


def ceiling(dtype: torch.dtype, how: How) -> float:
    """FLOP/s of what the device computes fastest: products of matrices and convolutions of many shapes."""
    sides = (256,) if how.quick else (512, 1024, 2048, *((4096, 8192) if how.device == "cuda" else ()))
    shapes = (
        [(1, 16, 32)]
        if how.quick
        else [(batch, channels, side) for batch in (1, 16) for channels in (16, 64, 256) for side in (32, 96)]
    )
    works = [_product(side, dtype, how) for side in sides]
    works += [
        _convolution(*shape, dtype, layout, how)
        for shape in shapes
        for layout in (torch.contiguous_format, torch.channels_last)
    ]
    best = 0.0
    with torch.inference_mode():
        for work, flops in works:
            times = paired({"it": timed(work, how)}, how.repeats)["it"]
            best = max(best, flops / min(times))
    return best


def _product(side: int, dtype: torch.dtype, how: How) -> tuple[Callable[[], object], int]:
    """A matrix product, and its FLOPs."""
    a, b = (torch.randn(side, side, device=how.device).to(dtype) for _ in range(2))
    return lambda: a @ b, 2 * side**3


def _convolution(
    batch: int, channels: int, side: int, dtype: torch.dtype, layout: torch.memory_format, how: How
) -> tuple[Callable[[], object], int]:
    """A 3x3 convolution that keeps the size, and its FLOPs as if each product were computed."""
    x = torch.randn(batch, channels, side, side, device=how.device).to(dtype=dtype, memory_format=layout)
    layer = conv(channels, channels).to(device=how.device, dtype=dtype, memory_format=layout)  # type: ignore[call-overload]
    return lambda: layer(x), 2 * 9 * batch * channels**2 * side**2
