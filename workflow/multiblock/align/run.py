"""Two folders of photographs become two folders of pairs, a table and a page."""

import json
from collections.abc import Iterator
from pathlib import Path

from multiblock.align import folders, page, table
from multiblock.align.folders import KINDS, Job
from multiblock.align.pair import Options, Outcome, Seen, align, read
from multiblock.align.vision import opencv
from multiblock.data.images import Remark
from multiblock.data.picture import Picture, write
from multiblock.data.walk import Progress
from multiblock.errors import UserError, one_line
from multiblock.files import lock, write_text


def run(jobs: list[Job], options: Options, remark: Remark) -> Iterator[Outcome]:
    """Align each pair, and give what became of it; one that does not fit does not stop the others.

    After each pair ``pairs.csv`` is whole; ``pairs.html`` is written at the end, however it ends.

    Args:
        remark: is told what is doubtful of a file.

    Raises:
        UserError: OpenCV is missing, another process is at work there, or the disk takes no more.
    """
    opencv()
    out = jobs[0].out
    with lock(out, "aligning pairs"), Progress(len(jobs), "pairs aligned") as counter:
        seen, outcomes, shown = Seen(), list[Outcome](), list[page.Shown]()
        try:
            for job in jobs:
                counter.step()
                outcome = _one(job, seen, options, remark)
                outcomes.append(outcome)
                write_text(out / folders.CSV, table.as_csv(outcomes, options))
                shown.append(page.shown(outcome, job))
                yield outcome
        finally:
            if shown:
                write_text(out / folders.PAGE, page.render(shown, options))


def _one(job: Job, seen: Seen, options: Options, remark: Remark) -> Outcome:
    outcome = Outcome(name=job.name)
    for kind in KINDS:  # of an earlier run
        job.target(kind).unlink(missing_ok=True)
    try:
        photographs = read(job.lr, job.hr, options, remark)
        outcome.notes += photographs.notes
        if reason := seen.again(job.name, photographs):
            raise UserError(reason)
        lr, hr = align(photographs, outcome, options)
    except UserError as error:
        outcome.reason = one_line(error)
        return outcome
    _write(job, {"LR": lr, "HR": hr}, outcome)
    return outcome


def _write(job: Job, pictures: dict[str, Picture], outcome: Outcome) -> None:
    """Both files of a pair, or none."""
    try:
        for kind, picture in pictures.items():
            lost = write(picture, job.target(kind))
            outcome.notes += [f"{kind} loses {what}" for what in lost]
    except BaseException:
        for kind in KINDS:
            job.target(kind).unlink(missing_ok=True)
        raise


def config_lines(out: Path, scale: int) -> list[str]:
    """A config that trains on the pairs; only the folder of the pairs to test on is to be filled in."""
    places = (f"{kind.lower()}: {json.dumps(str(out / kind), ensure_ascii=False)}" for kind in reversed(KINDS))
    return [
        f"data: {{name: pairs, scale: {scale},",
        f"  train: {{{', '.join(places)}}},",
        "  test: {hr: TEST/HR, lr: TEST/LR}}  # pairs of other scenes, made in the same way",
    ]
