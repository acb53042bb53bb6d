"""What the iterations of a stage compute, in floating-point operations; :mod:`multiblock.model.flops` says what counts.

PyTorch is imported when there is something to count, not before.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING

from multiblock.plan import Block, Stage

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
    """A stage from its first iteration to its last."""
    ends = sorted({min(part.get("freeze", 0), stage.iterations) for part in stage.parts.values()} | {stage.iterations})
    begin = 0
    for end in ends:
        if end > begin:
            yield Stretch(end - begin, tuple(frozen(stage, begin)))
        begin = end


def flops(stage: Stage, of_patch: Callable[[int, Sequence[str]], int]) -> int:
    """What all iterations of a stage take.

    Args:
        of_patch: what one patch of that side takes while those parts are frozen.
    """
    return sum(one.iterations * stage.batch * of_patch(stage.patch, one.frozen) for one in stretches(stage))


def of_patch(span: "Chain", patch: int, frozen: Sequence[str]) -> int:
    """What one patch takes, forward and backward, in the span as it stands, while some of its parts are frozen."""
    from multiblock.model.flops import forward_and_backward
    from multiblock.training.freezing import modules

    before = {parameter: parameter.requires_grad for parameter in span.parameters()}
    try:
        for module in [module for name in frozen for module in modules(span, name)]:
            module.requires_grad_(False)
        return forward_and_backward(span, patch)
    finally:
        for parameter, trained in before.items():
            parameter.requires_grad_(trained)


def planned(blocks: Sequence[Block], patch: int, frozen: Sequence[str]) -> int:
    """The same of blocks that are still to be built: nothing is calculated, unless one cannot do without.

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
