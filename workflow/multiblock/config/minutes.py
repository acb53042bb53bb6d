"""As much training as fits into so many minutes on this machine: ``multiblock plan --minutes``.

Speed is measured with real steps of each kind of stage, the iterations of a run are scaled by one factor, and the plan
that comes out is printed as YAML, for a file that is given after the config. Nothing is kept anywhere else.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from multiblock.config import plans
from multiblock.config.costs import Costs, TooShortError, costs_of, filled, pixels
from multiblock.config.keys import StageKeys
from multiblock.config.reading import flow
from multiblock.config.rules import section
from multiblock.config.study import Run, Study
from multiblock.errors import UserError
from multiblock.plan import Plan, Stage

if TYPE_CHECKING:
    from multiblock.training.speed import Speedometer


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
            tasks = [run.plan.task(number, 0) for number in run.plan.numbers]
            speeds = speed.speeds(tasks, [run.anew(number) for number in run.plan.numbers])
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
    around = (sum(costs.fixed) + sum(costs.after)) / 60
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
    if not any(stage.iterations for phase in plan.phases for stage in phase.stages):
        raise UserError(f"runs.{run}: this run takes no iterations at all; --minutes allows runs that take some")
    try:
        return filled(plan, costs, 60 * minutes - sum(costs.after))
    except TooShortError as short:
        raise UserError(
            f"--minutes: found {minutes:g}; for run {run}, to start jobs, make LR_k and measure takes about "
            f"{(short.fixed + sum(costs.after)) / 60:.2g} here, one iteration of each stage {short.least / 60:.2g}; "
            "allowed is more"
        ) from None
