"""What the runs of a study spend, in words: the sums of each, and what is equal between them."""

from collections.abc import Iterator

from multiblock.config.sizing import UNITS, spent
from multiblock.config.study import Run, Study
from multiblock.plan import EQUAL


def spending(study: Study, run: Run) -> Iterator[str]:
    """What a run spends for one seed, and, where it is sized by another, how that came out."""
    iterations = sum(run.plan.task(number, 0).iterations for number in run.plan.numbers)
    yield f"in all {iterations:,} iterations, {run.plan.block_pixels:,} block-pixels"
    if run.equal_to:
        unit, other = run.equal_to.unit, study.runs[run.equal_to.run].plan
        here, there = spent(run.plan, unit, run.name), spent(other, unit, run.equal_to.run)
        yield (
            f"sized by {run.equal_to.run}: {here:,} {UNITS[unit]} for {there:,} ({(here - there) / there:+.3%}); "
            f"iterations of stages: {_stages(run)}"
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
