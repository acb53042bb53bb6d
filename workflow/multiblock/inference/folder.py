"""Pictures in files through a network: one by one, or a folder with a table of what was made.

In a folder, what is up to date is not made again.
"""

import csv
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multiblock.data import picture as pictures
from multiblock.data.images import size as size_of_image
from multiblock.data.picture import Picture, write
from multiblock.data.walk import Progress
from multiblock.errors import UserError, listed, one_line, printable
from multiblock.files import digest_of, removed_on_failure, settle, write_text
from multiblock.inference import targets, tiles
from multiblock.inference.targets import NOTES, Job, Note, noted
from multiblock.inference.tiles import Step
from multiblock.inference.upscaling import Upscaler

log = logging.getLogger(__name__)

COLUMNS = ("picture", "result", "width", "height", "kept", "not_kept")


@dataclass(frozen=True, kw_only=True)
class Made:
    """A result that was written: its size in pixels, what of the picture went with it, and what did not."""

    job: Job
    width: int
    height: int
    kept: tuple[str, ...]
    lost: tuple[str, ...]

    def __str__(self) -> str:
        """One line: ``out/a.png: 200 x 100; with its EXIF; not kept: text``."""
        kept = f"; with its {listed(self.kept)}" if self.kept else ""
        lost = f"; not kept: {listed(self.lost)}" if self.lost else ""
        return printable(f"{self.job.target}: {self.width} x {self.height}{kept}{lost}")


def run(
    work: Sequence[tuple[Upscaler, Job]],
    *,
    done: Callable[[Made], None],
    complain: Callable[[str], None],
    progress: Callable[[float], None] = lambda _: None,
) -> list[Made]:
    """Upscale each picture; one that fails does not stop the others.

    Args:
        done: takes each result.
        complain: takes a line for each picture that failed, which names it.
        progress: takes, again and again, how many more megapixels of the pictures are done.

    Raises:
        UserError: pictures failed; it counts them.
    """
    made: list[Made] = []
    for upscaler, job in work:
        left = whole = megapixels(job.source)

        def step(share: float, whole: float = whole) -> None:
            nonlocal left
            left -= share * whole
            progress(share * whole)

        try:
            made.append(_one(upscaler, job, step))
            done(made[-1])
        except (UserError, OSError, MemoryError) as error:
            complain(_error_line(job.source, error))
        progress(left)
    if failed := len(work) - len(made):
        others = "; the others are done" if made else ""
        raise UserError(f"{failed} of {len(work)} picture{'s' if len(work) > 1 else ''} failed{others}")
    return made


def megapixels(file: Path) -> float:
    """Megapixels of a picture, by its header; 0 where it cannot be read, which is reported when its turn comes."""
    try:
        height, width = size_of_image(file)
    except (UserError, OSError):
        return 0.0
    return height * width / 1e6


def in_megapixels(jobs: Sequence[Job]) -> Progress:
    """Progress in megapixels, whose :meth:`step` :func:`run` calls."""
    return Progress(lambda: sum(megapixels(job.source) for job in jobs), "upscaling", megapixels=True)


def _one(upscaler: Upscaler, job: Job, step: Step) -> Made:
    picture = pictures.read(job.source)
    height, width = picture.pixels.shape[:2]
    pictures.check_side(job.source, job.target, height * upscaler.scale, width * upscaler.scale)
    result, tiling = upscaler.picture(picture, step)
    tiles.warn_of_tiles(str(job.source), tiling)
    lost = picture.not_kept + picture.converted + write(result, job.target)
    height, width = result.pixels.shape[:2]
    return Made(job=job, width=width, height=height, kept=_kept(result, lost), lost=tuple(lost))


def _error_line(file: Path, error: Exception) -> str:
    """What went wrong with a picture, in one line that names it."""
    if isinstance(error, MemoryError):
        return f"{file}: out of memory: {error or 'the picture is too large for this machine'}"
    line = one_line(error)
    return line if line.startswith(printable(str(file))) else f"{printable(str(file))}: {line}"


def _kept(result: Picture, lost: Sequence[str]) -> tuple[str, ...]:
    """What of the picture went with the result."""
    return tuple(
        word
        for word, value in (
            ("16 bits", result.pixels.dtype == np.uint16),
            ("colour profile", result.profile),
            ("EXIF", result.exif),
            ("transparency", result.alpha is not None),
        )
        if value and not any(word in lack for lack in lost)
    )


def upscale_folder(
    upscaler: Upscaler,
    *,
    images: Path,
    table: Path,
    form: str,
    results: Path,
    about: str,
    made_of: Mapping[str, Any],
    earlier: Sequence[Path] = (),
) -> None:
    """Upscale the pictures in ``images`` into the folder of ``table``, which is a CSV with a row a picture.

    A result that an earlier start made of the same picture, with the same ``made_of``, is not made again. Of the files
    in the folder only results that the notes name are removed: those of pictures that are gone, or made of something
    else. Files of other origin stay.

    Args:
        form: one of :data:`multiblock.inference.targets.CHOICES`.
        results: a folder whose files are no pictures, should it be in ``images``.
        about: what is logged first.
        made_of: what all results depend on beside their pictures, as JSON has it; ``form`` is part of it.
        earlier: folders of earlier results of this function, which may be gone. A result in one of them that was made
            of an equal picture with the same ``made_of`` is linked (or copied, where the disk has no links) and not
            made again.

    Raises:
        UserError: there are no pictures, or some failed; the others are done then, and the table is not written.
    """
    log.info("%s", about)
    jobs, _ = targets.plan([images], table.parent, form, overwrite=True, but=results)
    known = _Results(table.parent, images, made_of)
    rows = {job.target: row for job in jobs if (row := known.row(job))}
    known.remove_all_but(set(rows))
    known.take_from(earlier, jobs, rows)
    missing = [job for job in jobs if job.target not in rows]
    if rows and missing:
        log.info("%d of %d pictures are done already", len(rows), len(jobs))

    def done(made: Made) -> None:
        rows[made.job.target] = known.add(made)
        log.info("%s", made)

    complain = lambda line: log.error("multiblock: error: %s", line)  # noqa: E731
    with in_megapixels(missing) as bar:
        run([(upscaler, job) for job in missing], done=done, complain=complain, progress=bar.step)
    write_text(table, _as_csv([rows[job.target] for job in jobs]))


class _Results:
    """The results in a folder, noted one by one as they are made.

    The first line of the notes is what all of them were made of; each further one is a note.
    """

    def __init__(self, out: Path, images: Path, made_of: Mapping[str, Any]) -> None:
        self._out, self._images = out, images
        self._made_of = json.dumps(made_of, sort_keys=True)
        made_of_then, notes = noted(out)
        self._there = {note["file"]: note for note in notes}
        self._known = self._there if made_of_then == self._made_of else {}

    def row(self, job: Job) -> list[Any] | None:
        """The table's row of a picture whose result is up to date; None where there is none, or another."""
        note = self._known.get(self._name(job))
        if not note or note["row"][:2] != self._row(job)[:2] or note["picture"] != digest_of(job.source):
            return None
        return note["row"] if _holds(job.target, note) else None

    def remove_all_but(self, kept: set[Path]) -> None:
        """Remove the results that the notes name, but for these, and folders that are empty then; begin the notes."""
        for name, note in self._there.items():
            file = self._out / name
            if file not in kept and _holds(file, note):
                file.unlink()
                for folder in file.relative_to(self._out).parents[:-1]:
                    with suppress(OSError):
                        (self._out / folder).rmdir()
        notes = [note for name, note in self._there.items() if self._out / name in kept]
        lines = [self._made_of, *map(json.dumps, notes)]
        write_text(self._out / NOTES, "".join(f"{line}\n" for line in lines))

    def take_from(self, folders: Sequence[Path], jobs: Sequence[Job], rows: dict[Path, list[Any]]) -> None:
        """Take over results from other folders of this kind for the jobs that have none, and add their rows."""
        found: dict[tuple[str, str], list[tuple[Path, Note]]] = {}
        for folder in folders:
            made_of, notes = noted(folder)
            for note in notes if made_of == self._made_of else ():
                file = folder / note["file"]
                found.setdefault((note["picture"], file.suffix), []).append((file, note))
        for job in jobs if found else ():
            if job.target in rows:
                continue
            for file, note in found.get((digest_of(job.source), job.target.suffix), ()):
                if _holds(file, note):
                    _link(file, job.target)
                    rows[job.target] = self._note(
                        self._row(job, *note["row"][2:]), job, note["picture"], note["result"]
                    )
                    break

    def add(self, made: Made) -> list[Any]:
        """Note a result; its row."""
        job = made.job
        row = self._row(job, made.width, made.height, "; ".join(made.kept), "; ".join(made.lost))
        return self._note(row, job, digest_of(job.source), digest_of(job.target))

    def _note(self, row: list[Any], job: Job, picture: str, result: str) -> list[Any]:
        note = {"row": row, "file": self._name(job), "picture": picture, "result": result}
        with (self._out / NOTES).open("a", encoding="utf-8") as notes:
            notes.write(json.dumps(note) + "\n")
        return row

    def _name(self, job: Job) -> str:
        return str(job.target.relative_to(self._out))

    def _row(self, job: Job, *more: Any) -> list[Any]:
        return [printable(str(job.source.relative_to(self._images))), printable(self._name(job)), *more]


def _holds(file: Path, note: Note) -> bool:
    """Whether a file is the result that was noted."""
    return file.is_file() and digest_of(file) == note["result"]


def _link(file: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the disk has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with removed_on_failure(target) as part:
        part.unlink(missing_ok=True)
        try:
            os.link(file, part)
        except OSError:
            shutil.copyfile(file, part)
        settle(part, target)


def _as_csv(rows: list[list[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    return text.getvalue()
