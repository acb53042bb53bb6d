"""The page of runs under way: validation PSNR of what has been trained so far."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from multiblock.page import rendering
from multiblock.plan import Task
from multiblock.report import curves, markdown
from multiblock.report.markdown import Table
from multiblock.report.phases import Key, TrainingFiles


@dataclass(frozen=True, kw_only=True)
class UnderWay(TrainingFiles):
    """The files of a training under way, whose record is still to come.

    Args:
        task: what is trained.
        level: PSNR RGB in dB of the validation images without any network; None where it is not known.
    """

    training: Path = Path(os.devnull)
    task: Task
    level: float | None

    def record(self) -> dict[str, Any]:
        """What the record will say, as far as curves need it."""
        return {
            "stages": [asdict(stage) for stage in self.task.stages],
            "span": [self.task.first, self.task.last],
            "blocks": len(self.task.blocks),
            "block_pixels": self.task.block_pixels,
            "psnr_rgb_validation_input": self.level,
        }


def live_page(
    *,
    study: str,
    phases: Mapping[str, Mapping[Key, TrainingFiles]],
    level: float | None,
    sentence: str,
    now: Mapping[tuple[str, int], str],
    links: Sequence[str],
    renews: int,
) -> str:
    """The page as text.

    Args:
        study: its name.
        phases: of each run the files of the phases that are trained or under way.
        level: PSNR RGB in dB of the validation images without any network; None where it is not known.
        sentence: how far all is.
        now: how far each (run, seed) is, in words.
        links: addresses of the pages of what is finished.
        renews: seconds after which the open page reads itself anew; 0 where nothing more is to come.

    Raises:
        OSError, ValueError: a history is gone, or is not whole at this moment.
    """
    seen = curves.looks(phases)
    drawn = [_of_seed(seed, curves.against_compute(own, list(phases), level)) for seed, own in seen.groupby("seed")]
    first = drawn[0] if drawn else curves.against_compute(seen, [], level)
    chart = replace(first, title="Validation PSNR", lines=[line for one in drawn for line in one.lines])
    last = seen.groupby(["run", "seed"]).psnr_rgb_validation.last()
    rows = [[run, str(seed), markdown.psnr(last.get((run, seed))), at] for (run, seed), at in now.items()]
    return rendering.render(
        "live.html.j2",
        title=study,
        sentence=sentence,
        at=time.strftime("%Y-%m-%d %H:%M:%S"),
        written=round(time.time()),
        renews=renews,
        now=Table(["run", "seed", "validation PSNR RGB [dB]", "at"], rows),
        seeds=len(drawn),
        links=links,
        **rendering.charts([chart], rendering.POINTS),
    )


def _of_seed(seed: int, chart: curves.Chart) -> curves.Chart:
    """The chart with the seed in the note of each point."""
    lines = [replace(line, points=line.points.assign(note=f"seed {seed}, " + line.points.note)) for line in chart.lines]
    return replace(chart, lines=lines)
