"""A run with a budget of time: its iterations scaled by one factor to what fits, and frozen in a file beside the run.

How fast a machine trains is measured once, when the run is begun (:mod:`multiblock.workflow.time_budget`); from then on
the file says how many iterations the stages have, so that the plan is the same each time and on each machine.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from multiblock.config.sizing import proportional, resized
from multiblock.errors import UserError
from multiblock.files import read_json
from multiblock.plan import Plan

FILE = "budget.json"
"""In the folder of the run."""
_TIMED = ("iterations", "batch", "patch", "optimiser", "loss", "ema", "intermediate")
"""What of a stage says how long it takes; of the others a change leaves the iterations as they are."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The budget of a run.

    Args:
        minutes: of one seed.
        written: the plan with the iterations of the config, of which the proportions count.
        frozen: what the file beside the run says; None where it says nothing, or of another budget.
        other: what it says of another budget, or of another recipe.
        counts: False where ``shrink`` says how many iterations there are.
        kept: whether it stands in the file; else it was measured to be looked at.
    """

    minutes: float
    written: Plan
    frozen: Mapping[str, Any] | None = None
    other: Mapping[str, Any] | None = None
    counts: bool = True
    kept: bool = True

    @property
    def is_open(self) -> bool:
        """Whether nothing is known yet of the iterations."""
        return self.counts and self.frozen is None


@dataclass(frozen=True)
class Costs:
    """What a plan takes on a machine, in seconds.

    Args:
        iterations: of one iteration of each stage with its share of looks at the validation images, a list a phase.
        fixed: of each phase, whatever its iterations: to start, the last looks, LR_k, measuring.
    """

    iterations: Sequence[Sequence[float]]
    fixed: Sequence[float]


def spread(full: dict[str, Any]) -> None:
    """Give the study's budget to the runs of a filled configuration whose iterations are not settled otherwise."""
    if "budget" in full:
        for run in full["runs"].values():
            if "equal_to" not in run:
                run.setdefault("budget", full["budget"])


def check(name: str, run: Mapping[str, Any]) -> None:
    """Refuse a budget where iterations are settled otherwise.

    Raises:
        UserError: the run is sized by another one.
    """
    if "budget" in run and "equal_to" in run:
        raise UserError(
            f"runs.{name}.budget: found together with equal_to, which sizes the run by '{_other(run)}'; allowed is one "
            "of the two; the run that is named can have the budget"
        )


def _other(run: Mapping[str, Any]) -> str:
    return run["equal_to"] if isinstance(run["equal_to"], str) else run["equal_to"]["run"]


def budgeted(
    plan: Plan, minutes: float, folder: Path, counts: bool, measured: Mapping[str, Any] | None = None
) -> tuple[Plan, Budget]:
    """The plan as the file in a run's folder says it, or as it is written; and what is known of the budget.

    Args:
        plan: with the iterations that are written.
        counts: whether the budget says how many iterations there are.
        measured: holds in place of the file.
    """
    known = read_json(folder / FILE) if measured is None else measured
    other = known if isinstance(known.get("minutes"), int | float) else None  # else somebody was at it
    budget = Budget(minutes=minutes, written=plan, other=other, counts=counts, kept=measured is None)
    if not counts or known.get("of") != key(plan) or known.get("minutes") != minutes:
        return plan, budget
    try:
        made = with_iterations(plan, known["iterations"])
        float(known["factor"])
    except (KeyError, TypeError, ValueError):
        return plan, budget
    return made, replace(budget, frozen=known, other=None)


def key(plan: Plan) -> str:
    """What of a plan says how long it takes, as a digest."""
    phases = [
        [phase.first, phase.last, [[getattr(stage, name) for name in _TIMED] for stage in phase.stages]]
        for phase in plan.phases
    ]
    text = json.dumps([[asdict(block) for block in plan.blocks], phases], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def with_iterations(plan: Plan, iterations: Sequence[Sequence[int]]) -> Plan:
    """The plan with so many iterations of each stage, a list a phase; what stages count beside them goes along.

    Raises:
        ValueError: there are more or fewer than stages.
    """
    phases = tuple(
        replace(
            phase, stages=tuple(resized(stage, int(number)) for stage, number in zip(phase.stages, own, strict=True))
        )
        for phase, own in zip(plan.phases, iterations, strict=True)
    )
    return replace(plan, phases=phases)


def fitted(plan: Plan, costs: Costs, minutes: float, run: str) -> Plan:
    """The plan with its iterations scaled by one factor to what fits into the time.

    Args:
        plan: with the iterations that are written.
        run: its name, for errors.

    Raises:
        UserError: the time is too short for one iteration of each stage, or there is nothing to scale.
    """
    written = [stage.iterations for phase in plan.phases for stage in phase.stages]
    if not any(written):
        raise UserError(f"runs.{run}.budget: this run takes no iterations at all; allowed are runs that take some")
    micro = [max(1, round(1e6 * seconds)) for phase in costs.iterations for seconds in phase]
    target = round(1e6 * (60 * minutes - sum(costs.fixed)))
    least = sum(one for one, number in zip(micro, written, strict=True) if number)
    if target < least:
        around, once = sum(costs.fixed) / 60, least / 60e6
        raise UserError(
            f"runs.{run}.budget: found {minutes:g} minutes; to start jobs, make LR_k and measure takes about "
            f"{around:.2g} here, one iteration of each stage {once:.2g}; allowed is more"
        )
    works = [one.__mul__ for one in micro]
    numbers = iter(proportional(written, works, target))
    return with_iterations(plan, [[next(numbers) for _ in phase.stages] for phase in plan.phases])


def seconds(plan: Plan, costs: Costs) -> float:
    """What a plan takes in all, for one seed."""
    return sum(costs.fixed) + sum(
        stage.iterations * one
        for phase, own in zip(plan.phases, costs.iterations, strict=True)
        for stage, one in zip(phase.stages, own, strict=True)
    )
