"""Two folders of photographs become two folders of pairs, a table and a page.

Which photographs are pairs, and where they are written, is found before anything is done.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from multiblock.align import page
from multiblock.align.features import opencv
from multiblock.align.page import CSV, KINDS, PAGE, Job
from multiblock.align.pair import Options, Outcome, Seen, align, marks_of, read
from multiblock.data.dataset import alike, left_out_of, listing
from multiblock.data.images import Remark
from multiblock.data.picture import Picture, write
from multiblock.data.walk import Progress
from multiblock.errors import UserError, listed, one_line
from multiblock.files import keeping, lock, write_text


def plan(lr: Path, hr: Path, out: Path, lr_name: str, overwrite: bool) -> tuple[list[Job], list[str]]:
    """The pairs of two folders, and a line on each photograph that is left out.

    Args:
        lr_name: how LR files are called, with ``{name}`` for HR's name.
        overwrite: pairs that are there already may be replaced; photographs never.

    Raises:
        UserError: a folder is missing or empty, nothing matches, or ``out`` holds what is not to be replaced.
    """
    if os.path.realpath(hr) == os.path.realpath(lr):
        raise UserError(f"{hr}: is both LR_DIR and HR_DIR; allowed are two folders")
    low, high = listing([lr]), listing([hr])
    notes = left_out_of([lr, hr])
    jobs = []
    for name, file in high.items():
        partner = lr_name.format(name=name)
        if partner in low:
            jobs.append(Job(name=name, lr=low.pop(partner), hr=file, out=out))
        else:
            notes.append(f"{file}: left out; it has no partner {partner} in {lr}{alike(partner, low)}")
    notes += [f"{file}: left out; it has no partner in {hr}" for file in low.values()]
    if not jobs:
        raise UserError(f"{lr} and {hr}: no names match; found {listed(file.name for file in high.values())} in {hr}")
    _check_out(jobs, out, [*(job.lr for job in jobs), *(job.hr for job in jobs), *low.values()], overwrite)
    return jobs, notes


def _check_out(jobs: list[Job], out: Path, photographs: list[Path], overwrite: bool) -> None:
    ours = {job.target(kind) for job in jobs for kind in KINDS}
    folders = {os.path.realpath(photograph.parent) for photograph in photographs}
    for kind in KINDS:
        folder = out / kind
        if os.path.realpath(folder) in folders:
            raise UserError(f"{folder}: holds the photographs, which are never replaced; name another folder")
        present = sorted(file for file in folder.iterdir() if file.name[0] != ".") if folder.is_dir() else []
        for file in present:
            if any(file.samefile(photograph) for photograph in photographs):
                raise UserError(f"{file}: is one of the photographs, which are never replaced; name another folder")
            if file not in ours:
                raise UserError(
                    f"{file}: is none of the pairs that are made, and would be trained on with them; move it"
                )
        if present and not overwrite:
            raise UserError(f"{present[0]}: exists already; name another folder, or replace it with --overwrite")
    for name in (CSV, PAGE):
        if (out / name).exists() and not overwrite:
            raise UserError(f"{out / name}: exists already; name another folder, or replace it with --overwrite")


def run(jobs: list[Job], options: Options, remark: Remark, overwrite: bool = False) -> Iterator[Outcome]:
    """Align each pair, and give what became of it; one that does not fit does not stop the others.

    After each pair ``pairs.csv`` is whole; ``pairs.html`` is written at the end, however it ends.

    Args:
        remark: takes what is doubtful of a file.
        overwrite: whether pairs that are there already may be replaced.

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
                with keeping(overwrite):
                    outcome = _one(job, seen, options, remark, overwrite)
                outcomes.append(outcome)
                with keeping(overwrite or len(outcomes) > 1):
                    write_text(out / CSV, page.as_csv(outcomes, options))
                shown.append(page.shown(outcome, job))
                yield outcome
        finally:
            if shown:
                with keeping(overwrite):
                    write_text(out / PAGE, page.render(shown, options))


def _one(job: Job, seen: Seen, options: Options, remark: Remark, overwrite: bool) -> Outcome:
    outcome = Outcome(name=job.name)
    for kind in KINDS if overwrite else ():  # of an earlier run
        job.target(kind).unlink(missing_ok=True)
    try:
        photographs = read(job.lr, job.hr, options, remark)
        outcome.notes += photographs.notes
        marks = marks_of(photographs)
        if reason := seen.again(marks):
            raise UserError(reason)
        lr, hr = align(photographs, outcome, options)
        seen.keep(job.name, marks)
    except UserError as error:
        outcome.reason = one_line(error)
        return outcome
    _write(job, {"LR": lr, "HR": hr}, outcome)
    return outcome


def _write(job: Job, pictures: dict[str, Picture], outcome: Outcome) -> None:
    """Both files of a pair, or none."""
    written = []
    try:
        for kind, picture in pictures.items():
            lost = write(picture, job.target(kind))
            written.append(job.target(kind))
            outcome.notes += [f"{kind} loses {what}" for what in lost]
    except BaseException:
        for file in written:
            file.unlink(missing_ok=True)
        raise


def config_lines(out: Path, scale: int) -> list[str]:
    """A config that trains on the pairs; only the folder of the pairs to test on is to be filled in."""
    places = (f"{kind.lower()}: {json.dumps(str(out / kind), ensure_ascii=False)}" for kind in reversed(KINDS))
    return [
        f"data: {{name: pairs, scale: {scale},",
        f"  train: {{{', '.join(places)}}},",
        "  test: {hr: TEST/HR, lr: TEST/LR}}  # pairs of other scenes, made in the same way",
    ]
