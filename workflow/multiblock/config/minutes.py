"""As much training as fits into so many minutes on this machine: ``multiblock plan --minutes``.

Speed is measured with real steps of each kind of stage, the iterations of a run are scaled by one factor, and the plan
that comes out is printed as YAML, for a file that is given after the config. Nothing is kept anywhere else.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from multiblock.config import plans
from multiblock.config.keys import StageKeys
from multiblock.config.reading import flow
from multiblock.config.rules import section
from multiblock.config.sizing import proportional, with_iterations
from multiblock.config.study import Run, Study
from multiblock.data import images
from multiblock.data.dataset import DatasetConfig, find
from multiblock.data.imageset import SPLITS
from multiblock.errors import UserError, one_line
from multiblock.plan import CachedSet, Plan, Stage
from multiblock.training.work import Speeds

if TYPE_CHECKING:
    from multiblock.training.speed import Speedometer

log = logging.getLogger(__name__)

_JOBS_OF_A_RUN = 4
"""Jobs of a run beside those of its phases: arrays, LR at HR's size, tables, figures."""


@dataclass(frozen=True)
class Costs:
    """What a plan takes on a machine, in seconds.

    Args:
        iterations: of one iteration of each stage with its share of looks at the validation images, a list a phase.
        fixed: of each phase, whatever its iterations: to start, the last looks, LR_k, measuring.
    """

    iterations: Sequence[Sequence[float]]
    fixed: Sequence[float]

    def of(self, plan: Plan) -> float:
        """Seconds that a plan with these stages takes in all, for one seed."""
        pairs = zip(plan.phases, self.iterations, strict=True)
        return sum(self.fixed) + sum(
            stage.iterations * one for phase, own in pairs for stage, one in zip(phase.stages, own, strict=True)
        )


def speedometer(study: Study, threads: int) -> "Speedometer":
    """What measures speed here, on a GPU where there is one and the config allows it.

    It is made before all else that takes long, as it notes how long a process takes to start.

    Raises:
        UserError: the device that the config names is not there.
    """
    from multiblock.runtime.device import choose
    from multiblock.training.speed import Speedometer

    device = choose(study.device, study.precision, 1, threads)
    return Speedometer(device, study.layout, study.compile, study.deterministic)


def plan_for(study: Study, full: Mapping[str, Any], minutes: float, speed: "Speedometer") -> str:
    """The plans of the runs with the iterations that fit, as YAML to be laid over the config.

    Runs that are sized by another are left out, as they follow it.

    Args:
        full: the checked configuration that the study was loaded from.
        minutes: time for one seed of each run.

    Raises:
        UserError: the time is too short, there is nothing to scale, or ``shrink`` says how many iterations there are.
    """
    if full["shrink"]["iterations"] != 1 or "max_iterations" in full["shrink"]:
        raise UserError("--minutes: shrink says how many iterations there are already; leave one of the two out")
    head = [f"# Made by `multiblock plan --minutes {minutes:g}`, to be given after the files that it was made of."]
    lines = ["runs:"]
    for name, run in study.runs.items():
        if run.equal_to is None:
            speeds = speed.speeds([run.plan.task(number, 0) for number in run.plan.numbers])
            costs = costs_of(run, speeds, pixels(run.data), study.training.validate_every)
            made = fitted(run.plan, costs, minutes, name)
            head += [f"# {line}" for line in _reckoned(run, made, costs, speeds.device)]
            lines += [f"  {flow(name)}:", f"    chain: {flow(list(run.chain))}", "    plan:"]
            lines += _phases(name, made, full)
    return "\n".join([*head, *lines]) + "\n"


def _reckoned(run: Run, made: Plan, costs: Costs, device: str) -> Iterator[str]:
    before, after = (
        sum(stage.iterations for phase in plan.phases for stage in phase.stages) for plan in (run.plan, made)
    )
    around = sum(costs.fixed) / 60
    yield f"{run.name}: iterations x {after / before:.4g}, measured on {device}"
    yield (
        f"{run.name}: {costs.of(made) / 60 - around:.1f} minutes of iterations with looks at the validation images, "
        f"{around:.1f} to start jobs, make LR_k and measure"
    )


def _phases(name: str, made: Plan, full: Mapping[str, Any]) -> Iterator[str]:
    """The phases of a run as lines of YAML, each with stages of its own that have the iterations of a plan."""
    for number, (phase, scaled) in enumerate(zip(full["runs"][name]["plan"], made.phases, strict=True)):
        stages, _ = plans.stages_of(phase, ("runs", name, "plan", number), full)
        first, *more = (f"{key}: {flow(value)}" for key, value in phase.items() if key != "stages")
        yield from (f"      - {first}", *(f"        {line}" for line in more), "        stages:")
        for stage, one in zip(stages, scaled.stages, strict=True):
            yield f"          - {flow(_with_iterations(stage, one))}"


def _with_iterations(stage: Mapping[str, Any], scaled: Stage) -> dict[str, Any]:
    """What a stage of the config has beside defaults, with what the scaled one counts in iterations."""
    counted = {
        "iterations": scaled.iterations,
        "warmup": scaled.warmup,
        "schedule": {name: scaled.schedule[name] for name in stage["schedule"]},
        "parts": {name: scaled.parts[name] for name in stage["parts"]},
    }
    defaults = section(StageKeys)["defaults"]
    return {key: counted.get(key, value) for key, value in stage.items() if value != defaults.get(key, ...)}


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
        raise UserError(f"runs.{run}: this run takes no iterations at all; --minutes allows runs that take some")
    micro = [max(1, round(1e6 * seconds)) for phase in costs.iterations for seconds in phase]
    target = round(1e6 * (60 * minutes - sum(costs.fixed)))
    least = sum(one for one, number in zip(micro, written, strict=True) if number)
    if target < least:
        raise UserError(
            f"--minutes: found {minutes:g}; for run {run}, to start jobs, make LR_k and measure takes about "
            f"{sum(costs.fixed) / 60:.2g} here, one iteration of each stage {least / 60e6:.2g}; allowed is more"
        )
    return with_iterations(plan, proportional(written, [one.__mul__ for one in micro], target))


def costs_of(run: Run, speeds: Speeds, counted: Mapping[str, int], validate_every: int) -> Costs:
    """What a run takes: training, looks at the validation images, making LR_k, measuring, and the start of each job.

    Args:
        counted: HR pixels of each split.
    """
    plan, iterations, fixed = run.plan, [], []
    tested = counted["train"] / run.data.folds if run.data.folds else counted["test"]
    for number, of_span in enumerate(speeds.pixels, 1):
        look = of_span * counted["validation"]
        iterations.append([one + look / validate_every for one in speeds.iterations[number - 1]])
        block = {
            one: speeds.pixels[owner - 1] / len(plan.phase(owner).span) for one, owner in plan.owners(number).items()
        }
        sets = [plan.set_weights(CachedSet(phase=number, block=made)) for made in plan.makes_sets(number)]
        made = sum(block[one] for blocks in sets for one in blocks) * sum(counted.values())
        measured = (of_span + sum(block.values())) * tested
        jobs = 2 + len(sets) + (_JOBS_OF_A_RUN if number == 1 else 0)
        fixed.append(look * len(plan.phase(number).stages) + made + measured + jobs * speeds.start)
    return Costs(iterations, fixed)


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
