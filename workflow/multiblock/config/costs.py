"""What a plan takes on a machine, in seconds, by its measured speed; and plans that take as long as they should.

One reckoning for time budgets (``multiblock plan --minutes``) and for runs that are sized by the seconds of another.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

from multiblock.config.sizing import Reckoned, proportional, with_iterations
from multiblock.config.study import Run, Study
from multiblock.data import images
from multiblock.data.dataset import DatasetConfig, find
from multiblock.data.imageset import SPLITS
from multiblock.errors import UserError, one_line
from multiblock.plan import CachedSet, Plan, Stage
from multiblock.training import work
from multiblock.training.work import Speeds

log = logging.getLogger(__name__)

_JOBS_OF_A_RUN = 4
"""Jobs of a run beside those of its phases: arrays, LR at HR's size, tables, figures."""

_TRIES = 4
"""Times that what a plan takes is corrected by what it was to take: looks come in whole numbers."""


@dataclass(frozen=True)
class Costs:
    """What a plan takes on a machine, in seconds.

    Args:
        iterations: of one iteration of each stage, a list a phase.
        looks: of one look at the validation images, in each phase.
        every: iterations between two looks.
        fixed: of each phase, whatever its iterations: starts of its processes, LR_k.
        after: of each phase, what is no training: measuring it, and of the first one tables and figures.
    """

    iterations: Sequence[Sequence[float]]
    looks: Sequence[float]
    every: int
    fixed: Sequence[float]
    after: Sequence[float]

    def of_training(self, plan: Plan) -> float:
        """Seconds that the training of a plan with these stages takes, for one seed, with looks, LR_k and starts."""
        total = sum(self.fixed)
        for phase, own, look in zip(plan.phases, self.iterations, self.looks, strict=True):
            total += sum(stage.iterations * one for stage, one in zip(phase.stages, own, strict=True))
            total += look * number_of_looks(phase.stages, self.every)
        return total

    def of(self, plan: Plan) -> float:
        """Seconds that all of it takes, for one seed."""
        return self.of_training(plan) + sum(self.after)


def number_of_looks(stages: Sequence[Stage], every: int) -> int:
    """How often the training of a phase looks at the validation images: every so many iterations, and at the end of
    each stage; once more where the last stage takes none."""
    ends = set(accumulate(stage.iterations for stage in stages)) - {0}
    return (
        sum(stage.iterations for stage in stages) // every
        + sum(end % every > 0 for end in ends)
        + (not stages[-1].iterations)
    )


class TooShortError(Exception):
    """Seconds that do not hold one iteration of each stage, which take ``least`` beside ``fixed`` for all else."""

    def __init__(self, fixed: float, least: float) -> None:
        super().__init__(fixed, least)
        self.fixed, self.least = fixed, least


def filled(plan: Plan, costs: Costs, seconds: float) -> Plan:
    """The plan with its iterations scaled by one factor so that its training takes so many seconds.

    Args:
        plan: with the iterations that are written, of which some are not 0.

    Raises:
        TooShortError: the seconds do not hold one iteration of each stage.
    """
    written = [stage.iterations for phase in plan.phases for stage in phase.stages]
    each = [one + look / costs.every for own, look in zip(costs.iterations, costs.looks, strict=True) for one in own]
    micro = [max(1, round(1e6 * one)) for one in each]
    least = sum(one for one, number in zip(micro, written, strict=True) if number)
    target, found = round(1e6 * (seconds - sum(costs.fixed))), list[Plan]()
    if target < least:
        raise TooShortError(sum(costs.fixed), least / 1e6)
    for _ in range(_TRIES):
        found.append(with_iterations(plan, proportional(written, [one.__mul__ for one in micro], target)))
        target = max(least, target + round(1e6 * (seconds - costs.of_training(found[-1]))))
    return min(found, key=lambda made: abs(costs.of_training(made) - seconds))


def costs_of(run: Run, speeds: Speeds, counted: Mapping[str, int], validate_every: int) -> Costs:
    """What a run takes: training, looks at the validation images, making LR_k, measuring, and the start of each job.

    Args:
        counted: HR pixels of each split.
    """
    plan, looks, fixed, after = run.plan, list[float](), list[float](), list[float]()
    tested = counted["train"] / run.data.folds if run.data.folds else counted["test"]
    for number, of_span in enumerate(speeds.pixels, 1):
        block = {
            one: speeds.pixels[owner - 1] / len(plan.phase(owner).span) for one, owner in plan.owners(number).items()
        }
        sets = [plan.set_weights(CachedSet(phase=number, block=made)) for made in plan.makes_sets(number)]
        made = sum(block[one] for blocks in sets for one in blocks) * sum(counted.values())
        looks.append(of_span * counted["validation"])
        fixed.append(made + (1 + len(sets)) * speeds.start)
        jobs = 1 + (_JOBS_OF_A_RUN if number == 1 else 0)
        after.append((of_span + sum(block.values())) * tested + jobs * speeds.start)
    return Costs(speeds.iterations, looks, validate_every, fixed, after)


def pixels(data: DatasetConfig) -> dict[str, int]:
    """HR pixels of each split of a data set, as it is trained and measured on; 0 where its images cannot be read."""
    counted = dict.fromkeys(SPLITS, 0)
    try:
        for split, items in find(data).items():
            most = None if split == "train" else data.max_side
            sides = (item.window(*images.size(item.hr))[2:] for item in items)
            counted[split] = sum(min(height, most or height) * min(width, most or width) for height, width in sides)
    except (UserError, OSError) as error:
        log.warning("warning: looks at images, LR_k and measuring are not reckoned: %s", one_line(error))
        return dict.fromkeys(SPLITS, 0)
    return counted


# -- Runs that are sized by the seconds of another -------------------------------------------------------------


class Measured(NamedTuple):
    """What was measured of a run and of the one that it is sized by.

    Args:
        own, other: their speeds in each round; the rounds are the same.
        counted: HR pixels of each split of the images.
    """

    own: Sequence[Speeds]
    other: Sequence[Speeds]
    counted: Mapping[str, int]


def sized_by_seconds(study: Study, name: str, measured: Measured) -> Run:
    """A run with the iterations that take as long as the run that it is sized by, and what was reckoned.

    Raises:
        UserError: that run does not take as long as one iteration of each stage.
    """
    run, every, counted = study.runs[name], study.training.validate_every, measured.counted
    assert run.equal_to
    other = study.runs[run.equal_to.run]
    ours, theirs = (
        costs_of(one, work.median(rounds), counted, every)
        for one, rounds in ((run, measured.own), (other, measured.other))
    )
    there = theirs.of_training(other.plan)
    try:
        plan = filled(run.plan, ours, there)
    except TooShortError as short:
        raise UserError(
            f"runs.{name}.equal_to: the run that it names takes {there:.2g} seconds here; starts and LR_k of this one "
            f"take {short.fixed:.2g}, one iteration of each stage {short.least:.2g}; allowed are runs that take more"
        ) from None
    made = replace(run, plan=plan)
    rounds = [
        (
            costs_of(made, a, counted, every).of_training(plan),
            costs_of(other, b, counted, every).of_training(other.plan),
        )
        for a, b in zip(measured.own, measured.other, strict=True)
    ]
    here = ours.of_training(plan)
    ratios = [a / b for a, b in rounds]
    reckoned = Reckoned(
        here=here,
        there=there,
        by_round=(min(ratios) - 1, max(ratios) - 1),
        apart=max(abs(one / of - 1) for pair in rounds for one, of in zip(pair, (here, there), strict=True)),
        device=measured.own[0].device,
    )
    return replace(made, equal_to=replace(run.equal_to, reckoned=reckoned))
