"""What fits into a budget of time on this machine, and the iterations that are frozen beside the run."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from multiblock.config import Run, Study, load
from multiblock.config.schema import checked
from multiblock.config.time_budget import FILE, Costs, fitted, key, seconds
from multiblock.data import images
from multiblock.data.dataset import DatasetConfig, ImagePair, find
from multiblock.data.imageset import SPLITS
from multiblock.data.inspection import Inspection
from multiblock.errors import UserError, one_line
from multiblock.files import write_text
from multiblock.plan import CachedSet, Plan
from multiblock.training.work import Speeds
from multiblock.workflow.speed import measure_apart
from multiblock.workflow.threads import cores_here, threads_of_a_job

log = logging.getLogger(__name__)

_AROUND = 4
"""Jobs of a run beside those of its phases: arrays, LR at HR's size, tables, figures."""

Size = Callable[[Path], tuple[int, int]]
"""Height and width of an image file."""


def pixels(data: DatasetConfig, found: Mapping[str, Sequence[ImagePair]], size: Size) -> dict[str, int]:
    """HR pixels of each split, as it is trained and measured on.

    Args:
        found: the images of each split; see :func:`multiblock.data.dataset.find`.
    """
    counted = {}
    for split, items in found.items():
        most = None if split == "train" else data.max_side
        sides = (item.window(*size(item.hr))[2:] for item in items)
        counted[split] = sum(min(height, most or height) * min(width, most or width) for height, width in sides)
    return counted


def costs(run: Run, speeds: Speeds, counted: Mapping[str, int], validate_every: int) -> Costs:
    """What a run takes: training, looks at the validation images, making LR_k, measuring, and the start of each job.

    Args:
        counted: HR pixels of each split.
    """
    plan, iterations, fixed = run.plan, [], []
    for number, of_span in enumerate(speeds.pixels, 1):
        look = of_span * counted["validation"]
        iterations.append([one + look / validate_every for one in speeds.iterations[number - 1]])
        block = {one: _of_block(plan, speeds, owner) for one, owner in plan.owners(number).items()}
        sets = [plan.set_weights(CachedSet(phase=number, block=made)) for made in plan.makes_sets(number)]
        made = sum(block[one] for blocks in sets for one in blocks) * sum(counted.values())
        measured = (of_span + sum(block.values())) * counted["test"]
        jobs = 2 + len(sets) + (_AROUND if number == 1 else 0)
        fixed.append(look * len(plan.phase(number).stages) + made + measured + jobs * speeds.start)
    return Costs(iterations, fixed)


def _of_block(plan: Plan, speeds: Speeds, owner: int) -> float:
    """Seconds of a pixel through one block, which that phase trained."""
    return speeds.pixels[owner - 1] / len(plan.phase(owner).span)


def opened(study: Study) -> list[str]:
    """The runs whose budget is not measured yet."""
    return [run.name for run in study.runs.values() if run.budget and run.budget.is_open]


def freeze(
    study: Study, config: Mapping[str, Any], inspection: Inspection, gpus: int, threads: int, say: Callable[[str], None]
) -> Study:
    """Measure where a budget is open, and write the iterations beside the runs; the study as it is from then on.

    Args:
        config: what the study was made of.

    Raises:
        UserError: a budget is too short, or the speed cannot be measured.
    """
    names = opened(study)
    if not names:
        return study
    for name in names:
        if line := _why(study, study.runs[name]):
            say(line)
    twins = {name: twin for name in names if (twin := _twin(study, study.runs[name]))}
    left = [name for name in names if name not in twins]
    sets = {name: study.runs[name].data for name in left}
    counted = {name: pixels(data, inspection.find(data), inspection.size) for name, data in sets.items()}
    if left:
        say(f"measuring how fast this machine trains {', '.join(left)}, a second or two a kind of stage")
    speeds = measure_apart(config, left, gpus, threads) if left else {}
    for name in names:
        run = study.runs[name]
        if name in twins:
            known = dict(study.runs[twins[name]].budget.frozen)  # type: ignore[union-attr, arg-type]
        else:
            assert run.budget
            spent = costs(run, speeds[name], counted[name], study.training.validate_every)
            known = record(run, fitted(run.budget.written, spent, run.budget.minutes, name), spent, speeds[name].device)
        file = Path(study.results, name, FILE)
        write_text(file, json.dumps(known, indent=2) + "\n")
        say(f"{file}: {known['minutes']:g} minutes are iterations x {known['factor']:.4g}: {known['iterations']}")
    return load(config)


def _why(study: Study, run: Run) -> str | None:
    """Why a run that was frozen already is measured anew."""
    assert run.budget
    if not (other := run.budget.other):
        return None
    if other.get("minutes") != run.budget.minutes:
        what = f"was {other.get('minutes', 0):g} minutes, is now {run.budget.minutes:g}"
    else:
        what = "was measured for another recipe"
    return f"the budget of run {run.name} {what}: it is measured anew, and phases whose iterations change train again"


def _twin(study: Study, run: Run) -> str | None:
    """Another run with the same plan and budget that is frozen already: the two stay equal."""
    assert run.budget
    wanted = run.budget.minutes, run.data, key(run.budget.written)
    for other in study.runs.values():
        known = other.budget and other.budget.frozen
        if other.budget and known and (other.budget.minutes, other.data, known.get("of")) == wanted:
            return other.name
    return None


def record(run: Run, plan: Plan, spent: Costs, device: str) -> dict[str, Any]:
    """What is kept of a budget that was measured."""
    assert run.budget
    written = [[stage.iterations for stage in phase.stages] for phase in run.budget.written.phases]
    made = [[stage.iterations for stage in phase.stages] for phase in plan.phases]
    return {
        "minutes": run.budget.minutes,
        "of": key(run.budget.written),
        "measured_on": device,
        "seconds_an_iteration": [[round(one, 6) for one in phase] for phase in spent.iterations],
        "seconds_around": [round(one, 2) for one in spent.fixed],
        "seconds": round(seconds(plan, spent), 1),
        "factor": round(sum(map(sum, made)) / sum(map(sum, written)), 6),
        "written": written,
        "iterations": made,
    }


def proposed(config: Mapping[str, Any], minutes: float) -> Study:
    """The study with the iterations that fit into the time here, measured now and kept nowhere.

    Runs that are sized by another follow it. A GPU is taken where there is one, else all CPU cores, unless the config
    says otherwise.

    Raises:
        UserError: the time is too short, or nothing can be measured.
    """
    full = checked(config)
    for run in full["runs"].values():
        if "equal_to" not in run:
            run["budget"] = {"minutes": minutes}
    study = load(full, {name: {} for name in full["runs"]})
    threads = threads_of_a_job(study.threads, cores_here(), gpus=None)
    names, found = opened(study), {}
    # In a process of its own, whose start is one of those that are reckoned; this one has done more than to start.
    speeds = measure_apart(full, names, gpus=1, threads=threads)
    for name in names:
        run = study.runs[name]
        spent = costs(run, speeds[name], _pixels_if_there(run.data), study.training.validate_every)
        assert run.budget
        found[name] = record(run, fitted(run.budget.written, spent, minutes, name), spent, speeds[name].device)
    return load(full, found)


def _pixels_if_there(data: DatasetConfig) -> dict[str, int]:
    try:
        return pixels(data, find(data), images.size)
    except (UserError, OSError) as error:
        log.warning("warning: looks at images, LR_k and measuring are not reckoned: %s", one_line(error))
        return dict.fromkeys(SPLITS, 0)


def told(study: Study) -> Iterator[str]:
    """What is to be said of budgets before a start that only plans."""
    for name in opened(study):
        run = study.runs[name]
        assert run.budget
        if line := _why(study, run):
            yield line
        yield (
            f"run {name} has a budget of {run.budget.minutes:g} minutes that is not measured yet: how many iterations "
            "it has follows at the first start; until then those that are written stand here"
        )
