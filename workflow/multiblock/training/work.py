"""What the iterations of a plan take: counted floating-point operations, and seconds as they were measured.

:mod:`multiblock.model.complexity` says which operations count. PyTorch is imported when there is something to count,
not before.
"""

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from multiblock.plan import Block, Stage, Task

if TYPE_CHECKING:
    from multiblock.model.chain import Chain


@dataclass(frozen=True)
class Stretch:
    """Iterations of a stage, one after another, in which the same parts are frozen."""

    iterations: int
    frozen: tuple[str, ...]


def frozen(stage: Stage, inside: int) -> list[str]:
    """The parts that are frozen in iteration ``inside`` of a stage, counted from 0."""
    return [name for name, part in stage.parts.items() if inside < part.get("freeze", 0)]


def stretches(stage: Stage) -> Iterator[Stretch]:
    """The stretches of a stage, from its first iteration to its last."""
    ends = sorted({min(part.get("freeze", 0), stage.iterations) for part in stage.parts.values()} | {stage.iterations})
    begin = 0
    for end in ends:
        if end > begin:
            yield Stretch(end - begin, tuple(frozen(stage, begin)))
        begin = end


def flops(stage: Stage, of_patch: Callable[[int, Sequence[str]], int]) -> int:
    """The operations of all iterations of a stage.

    Args:
        of_patch: from the side of a patch and the frozen parts to the operations that one patch takes.
    """
    return sum(one.iterations * stage.batch * of_patch(stage.patch, one.frozen) for one in stretches(stage))


def of_patch(span: "Chain", patch: int, frozen: Sequence[str]) -> int:
    """The operations of one patch, forward and backward, in the span as it is, while some of its parts are frozen."""
    from multiblock.model.complexity import forward_and_backward
    from multiblock.training.step import part_modules

    before = {parameter: parameter.requires_grad for parameter in span.parameters()}
    try:
        for module in [module for name in frozen for module in part_modules(span, name)]:
            module.requires_grad_(False)
        return forward_and_backward(span, patch)
    finally:
        for parameter, trained in before.items():
            parameter.requires_grad_(trained)


def planned(blocks: Sequence[Block], patch: int, frozen: Sequence[str]) -> int:
    """The same for blocks that are still to be built: nothing is calculated, unless a network needs values.

    Raises:
        Exception: whatever building and running the blocks leads to.
    """
    return _planned(json.dumps([asdict(block) for block in blocks]), patch, tuple(frozen))


@cache
def _planned(blocks: str, patch: int, frozen: Sequence[str]) -> int:
    from multiblock.model.chain import Chain
    from multiblock.model.complexity import without_values

    specs = [Block(**block) for block in json.loads(blocks)]
    with suppress(Exception), without_values():  # whatever networks do that need values
        return of_patch(Chain.build(specs, [True] * len(specs)), patch, frozen)
    return of_patch(Chain.build(specs, [True] * len(specs)), patch, frozen)


def kind_of(task: Task, stage: Stage) -> dict[str, Any]:
    """All of a stage that its speed depends on; rates change none, nor does how long a stage is."""
    kind = {**asdict(stage), "iterations": 1, "lr": 1e-9, "warmup": 0, "schedule": {}}
    return {"blocks": [asdict(block) for block in task.blocks[task.first - 1 : task.last]], "stage": kind}


@dataclass(frozen=True)
class Speeds:
    """Seconds that :mod:`multiblock.training.speed` measured for the phases of a run.

    Args:
        device: the device that they were measured on, in words.
        start: seconds from the beginning of a process to its first iteration.
        iterations: seconds of one iteration, a list a phase with a number a stage.
        pixels: seconds of one output pixel of a whole image through a phase's blocks, a number a phase.
    """

    device: str
    start: float
    iterations: list[list[float]]
    pixels: list[float]


def median(rounds: Sequence[Speeds]) -> Speeds:
    """The median of each number over rounds of measuring the same."""
    phases = list(zip(*(one.iterations for one in rounds), strict=True))
    return Speeds(
        device=rounds[0].device,
        start=statistics.median(one.start for one in rounds),
        iterations=[[statistics.median(times) for times in zip(*phase, strict=True)] for phase in phases],
        pixels=[statistics.median(times) for times in zip(*(one.pixels for one in rounds), strict=True)],
    )
