"""A run that is sized by another: its iterations scaled by one factor, until both spend the same.

``equal_to`` of a run names the other one. What is compared is what really runs: the other run's stages as ``shrink``
leaves them, this run's with the batch and patch that it leaves.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from multiblock.errors import UserError, listed, nearest, one_line
from multiblock.plan import Phase, Plan, Stage, format_span
from multiblock.training import schedules, work

UNITS = {"block_pixels": "block-pixels", "flops": "training FLOPs", "seconds": "seconds"}
"""What runs can be equal in: the config's words for it, as people say them."""


@dataclass(frozen=True, kw_only=True)
class Reckoned:
    """What two runs take by measured speeds, in seconds of training, looks, LR_k and starts, for one seed.

    Args:
        here, there: what the run takes, and what the one takes that it is sized by: by the medians of all rounds.
        by_round: the least and the most share by which the first was above the second in a round.
        apart: the largest share by which what one of them takes by a round differs from its median.
        device: what it was measured on, in words.
    """

    here: float
    there: float
    by_round: tuple[float, float]
    apart: float
    device: str


@dataclass(frozen=True, kw_only=True)
class EqualTo:
    """The run that another one is sized by, and what they are equal in, one of :data:`UNITS`.

    Seconds are reckoned once speeds were measured; until then the iterations are as they are written.
    """

    run: str
    unit: str
    reckoned: Reckoned | None = None


def equal_to(name: str, runs: Mapping[str, Mapping[str, Any]]) -> EqualTo | None:
    """What run ``name`` of the config's ``runs`` is sized by; None where its iterations are its own.

    Raises:
        UserError: there is no such run, or its iterations are not its own.
    """
    given = runs[name].get("equal_to")
    if given is None:
        return None
    other, unit = (given, "block_pixels") if isinstance(given, str) else (given["run"], given.get("in", "block_pixels"))
    place = f"runs.{name}.equal_to"
    own = [run for run, about in runs.items() if isinstance(about, dict) and about.get("equal_to") is None]
    allowed = [run for run in own if run != name]
    known = f"allowed are {listed(allowed)}" if allowed else "a run with iterations of its own is needed"
    if other == name:
        raise UserError(f"{place}: found '{other}', the run itself; {known}")
    if other not in runs:
        raise UserError(f"{place}: unknown run '{other}'{nearest(other, allowed)}; {known}")
    if other not in allowed:
        raise UserError(f"{place}: found '{other}', which is itself sized by another run; {known}")
    return EqualTo(run=other, unit=unit)


def check_timed(plan: Plan, compile: str, run: str) -> None:
    """See that what a run takes in seconds can be known before it is trained.

    Raises:
        UserError: it cannot, or the run takes no iterations.
    """
    if not any(stage.iterations for phase in plan.phases for stage in phase.stages):
        raise UserError(f"runs.{run}: takes no iterations at all; in: seconds allows runs that take some")
    if compile != "never":
        raise UserError(
            f"compile: found {compile}, by which the length of a stage decides how fast it is; in: seconds allows never"
        )
    if (most := max(phase.gpus for phase in plan.phases)) > 1:
        raise UserError(f"runs.{run}: found gpus: {most}; in: seconds allows 1, as what several take is not measured")


def spent(plan: Plan, unit: str, run: str) -> int:
    """What the training of all phases of a run's plan spends, for one seed.

    Raises:
        UserError: a network cannot be counted.
    """
    return sum(_of_stage(plan, phase, unit, run)(stage) for phase in plan.phases for stage in phase.stages)


def sized(plan: Plan, target: int, unit: str, run: str) -> Plan:
    """The plan with its iterations scaled so that it spends ``target``, to half an iteration of one of its stages.

    Args:
        plan: with the iterations as they are written, of which only the proportions count.
        run: its name, for errors.

    Raises:
        UserError: ``target`` is less than an iteration of each stage takes, there is nothing to scale, or a network
            cannot be counted.
    """
    written = [stage.iterations for phase in plan.phases for stage in phase.stages]
    if not any(written) or not target:
        which = "the run that it names" if any(written) else "this run"
        raise UserError(f"runs.{run}.equal_to: {which} takes no iterations at all; allowed are runs that take some")
    works = [_of_iterations(plan, phase, stage, unit, run) for phase in plan.phases for stage in phase.stages]
    least = sum(of(1) for of, number in zip(works, written, strict=True) if number)
    if target < least:
        raise UserError(
            f"runs.{run}.equal_to: the run that it names takes {target:,} {UNITS[unit]}, one iteration of each stage "
            f"here {least:,}; allowed are runs that take more"
        )
    return with_iterations(plan, proportional(written, works, target))


def _of_stage(plan: Plan, phase: Phase, unit: str, run: str) -> Callable[[Stage], int]:
    """What a stage of a phase spends."""
    if unit == "block_pixels":
        return lambda stage: stage.iterations * plan.block_pixels_of(phase, stage)
    blocks = plan.blocks[phase.first - 1 : phase.last]

    def of_patch(side: int, frozen: Sequence[str]) -> int:
        try:
            return work.planned(blocks, side, frozen)
        except Exception as error:  # whatever networks of a user's own lead to
            raise UserError(
                f"runs.{run}: the FLOPs of block {format_span(phase.first, phase.last)} cannot be counted: "
                f"{one_line(error)}; allowed for equal_to is in: block_pixels"
            ) from error

    return lambda stage: work.flops(stage, of_patch)


def _of_iterations(plan: Plan, phase: Phase, stage: Stage, unit: str, run: str) -> Callable[[int], int]:
    """What so many iterations of a stage spend."""
    of = _of_stage(plan, phase, unit, run)
    return lambda iterations: of(resized(stage, iterations))


def resized(stage: Stage, iterations: int) -> Stage:
    """A stage with so many iterations; all else that it counts in iterations keeps its proportion, rounded up."""
    if stage.iterations in (0, iterations) or not iterations:
        return replace(stage, iterations=iterations)

    def along(length: int) -> int:
        return -(-length * iterations // stage.iterations)

    def scaled(options: Mapping[str, Any], lengths: Sequence[str]) -> dict[str, Any]:
        return {name: along(value) if name in lengths else value for name, value in options.items()}

    lengths = schedules.SCHEDULES[stage.schedule["kind"]].lengths if stage.schedule else ()
    return replace(
        stage,
        iterations=iterations,
        warmup=along(stage.warmup),
        schedule=scaled(stage.schedule, lengths),
        parts={name: scaled(part, ["freeze"]) for name, part in stage.parts.items()},
    )


def with_iterations(plan: Plan, iterations: Iterable[int]) -> Plan:
    """The plan with so many iterations of each stage, in the order of the plan; see :func:`resized`."""
    number = iter(iterations)
    phases = (
        replace(phase, stages=tuple(resized(stage, next(number)) for stage in phase.stages)) for phase in plan.phases
    )
    return replace(plan, phases=tuple(phases))


def proportional(written: Sequence[int], works: Sequence[Callable[[int], int]], target: int) -> list[int]:
    """Whole numbers in the proportions of ``written`` whose work together is ``target``, as nearly as can be.

    The largest remainders are rounded up as long as that fits. What is left, less than one of the dearest that was not,
    goes to the cheaper ones. A number that is not 0 stays at least 1. The result is off by half of one at most.

    Args:
        works: the work of so many of each: none for 0, and more with each one.
        target: at least the work of one of each that is not 0.
    """
    found = [min(1, number) for number in written]
    free = [i for i, number in enumerate(written) if number]

    def left() -> int:
        return target - sum(of(number) for of, number in zip(works, found, strict=True))

    def step(i: int) -> int:
        return works[i](found[i] + 1) - works[i](found[i])

    while True:
        whole, share = sum(works[i](written[i]) for i in free), left() + sum(works[i](1) for i in free)
        kept = [i for i in free if written[i] * share >= whole]
        if len(kept) in (0, len(free)):  # none is rounded up to 1 any more
            break
        free = kept
    for i in free:
        found[i] = max(1, written[i] * share // whole)
    rest = left()
    for i in sorted(free, key=lambda i: written[i] * share % whole, reverse=True):
        if step(i) <= rest:
            rest -= step(i)
            found[i] += 1
    dearest_first = sorted(free, key=lambda i: (step(i), -written[i]), reverse=True)
    for i in dearest_first:
        before = works[i](found[i])
        found[i] += bisect_right(range(found[i] + 1, found[i] + rest + 1), before + rest, key=works[i])
        rest -= works[i](found[i]) - before
    cheapest = dearest_first[-1]
    found[cheapest] += 2 * rest > step(cheapest)
    return found
