"""What the runs of a study spend, in words: the sums of each, and what is equal between them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from multiblock.config.sizing import UNITS, spent
from multiblock.config.study import Run, Study
from multiblock.config.time_budget import FILE, Budget
from multiblock.plan import EQUAL


def spending(study: Study, run: Run) -> Iterator[str]:
    """What a run spends for one seed, and, where it is sized by another, how that came out."""
    iterations = sum(run.plan.task(number, 0).iterations for number in run.plan.numbers)
    yield f"in all {iterations:,} iterations, {run.plan.block_pixels:,} block-pixels"
    if run.budget:
        yield from _budget(study, run, run.budget)
    if run.equal_to:
        unit, other = run.equal_to.unit, study.runs[run.equal_to.run].plan
        here, there = spent(run.plan, unit, run.name), spent(other, unit, run.equal_to.run)
        yield (
            f"sized by {run.equal_to.run}: {here:,} {UNITS[unit]} for {there:,} ({(here - there) / there:+.3%}); "
            f"iterations of stages: {_stages(run)}"
        )


def _budget(study: Study, run: Run, budget: Budget) -> Iterator[str]:
    """What became of a budget of time."""
    of = f"budget of {budget.minutes:g} minutes a seed"
    if not budget.counts:
        yield f"{of}: does not count, as `shrink` says how many iterations there are"
    elif (known := budget.frozen) is None:
        yield (
            f"{of}: not measured yet, so that only the proportions of the iterations above count; the first start "
            f"measures, and so does `multiblock plan --minutes {budget.minutes:g}`"
        )
    else:
        where = f"frozen in {Path(study.results, run.name, FILE)}" if budget.kept else "measured now and not kept"
        yield f"{of}: iterations x {known['factor']:.4g}, {where}; iterations of stages: {_stages(run)}"
        yield from reckoned(known)


def reckoned(known: Mapping[str, Any]) -> Iterator[str]:
    """What was measured and reckoned, from what a budget's file keeps."""
    around = sum(known["seconds_around"])
    yield (
        f"reckoned: {(known['seconds'] - around) / 60:.1f} minutes of iterations with looks at the validation images, "
        f"{around / 60:.1f} to start jobs, make LR_k and measure; on {known['measured_on']}"
    )


def _stages(run: Run) -> str:
    phases = [" + ".join(str(stage.iterations) for stage in phase.stages) for phase in run.plan.phases]
    return ", ".join(f"phase {number} {stages}" for number, stages in enumerate(phases, 1))


def equals(study: Study) -> Iterator[str]:
    """Which runs spend the same block-pixels, to 1 %, and which others; nothing where there is nothing to compare."""
    found: dict[int, list[str]] = {}
    for run in study.runs.values():
        pixels = run.plan.block_pixels
        like = next((first for first in found if abs(pixels - first) <= EQUAL * max(first, 1)), pixels)
        found.setdefault(like, []).append(run.name)
    if len(study.runs) == 1:
        return
    groups = [f"{', '.join(names)} ({pixels:.4g})" for pixels, names in found.items()]
    if len(groups) == 1:
        yield f"block-pixels of training, equal to {EQUAL:.0%} in all runs: {groups[0]}"
    else:
        yield f"block-pixels of training differ by more than {EQUAL:.0%}: {'; '.join(groups)}"
