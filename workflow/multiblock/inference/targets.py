"""Which pictures there are in what a user names, and where the result of each goes: no picture is ever replaced."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multiblock.data import images
from multiblock.data.dataset import allowed_endings, key, not_read, order
from multiblock.data.picture import FORMATS, check_side
from multiblock.errors import UserError

CHOICES = ("lossless", "same", "png")
"""Formats of results: TIFF where the picture is one, else PNG; the picture's own; PNG."""


NOTES, TABLE = ".pictures.jsonl", "pictures.csv"
"""Names of the files in the workflow's folder of results: which result was made of what, and what was kept of each."""

Note = dict[str, Any]
"""A result: ``row`` of the table, its ``file`` in the folder, and the digests of ``picture`` and ``result``."""


@dataclass(frozen=True)
class Job:
    """A picture and where its result goes."""

    source: Path
    target: Path


def plan(
    given: Sequence[Path],
    out: Path,
    form: str = "lossless",
    overwrite: bool = False,
    skip: bool = False,
    but: Path | None = None,
) -> tuple[list[Job], list[str]]:
    """The pictures in order, each with where its result goes; and notes on files left out and names made different.

    All is found before anything is done.

    Args:
        given: pictures, and folders of pictures, whose subfolders are kept.
        out: the folder of the results, each named after its picture.
        form: one of :data:`CHOICES`.
        overwrite: results that are there already may be replaced; pictures never.
        skip: results that are there already are left as they are.
        but: a folder whose files are no pictures; that of the results, if none is named.

    Raises:
        UserError: ``out`` is named as a picture is, there is no picture, two results would have one name, or one would
            take the place of a picture or of what is there.
    """
    for folder in filter(None, (out, but)):
        _check_folder(folder)
    jobs, notes = [], []
    for path in given:
        if path.is_dir():
            found, more = in_folder(path, but or out)
            jobs += [Job(file, out / file.relative_to(path).parent / _name(file, form)) for file in found]
            notes += more
        else:
            jobs.append(Job(path, out / _name(path, form)))
    jobs, more = _named_apart(jobs)
    notes += more
    _check_sources(jobs)
    there = [job for job in jobs if os.path.lexists(job.target)]
    if there and not (overwrite or skip):
        others = f", and {len(there) - 1} more;" if len(there) > 1 else ";"
        raise UserError(
            f"{there[0].target}: exists already{others} name another folder, replace with --overwrite, or leave with "
            "--skip-existing what is there"
        )
    if there and skip:
        jobs = [job for job in jobs if job not in set(there)]
        notes.append(f"{out}: {len(there)} of {len(there) + len(jobs)} results are there already, and left as they are")
    return jobs, notes


def _check_folder(out: Path) -> None:
    """See that results can go there.

    Raises:
        UserError: it is no folder, or is called as a picture is.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is not a folder; results need one")
    if not out.exists() and out.suffix.lower() in FORMATS:
        raise UserError(
            f"{out}: is the name of a picture; results go into a folder, each named after its picture; allowed is the "
            f"name of a folder, as {out.with_suffix('')}"
        )


def check_sides(file: Path, form: str, height: int, width: int) -> None:
    """See that the result for a picture, of that size in pixels, can be written in a format of :data:`CHOICES`.

    Raises:
        UserError: it cannot.
    """
    check_side(file, Path(_name(file, form)), height, width)


def in_folder(folder: Path, out: Path) -> tuple[list[Path], list[str]]:
    """The pictures in a folder and its subfolders, and notes on what is left out.

    They are in the order of their names; numbers in names count as numbers. Hidden files and folders do not count.

    Args:
        out: where results go; a folder of that name within does not count.

    Raises:
        UserError: it cannot be listed, holds no picture, or is the place of the results.
    """
    try:
        os.listdir(folder)
    except OSError as error:
        _refuse(error)
    if out.exists() and out.samefile(folder):
        raise UserError(
            f"{out}: is the folder of the pictures, where results would be taken for pictures; name another"
        )
    files, links = list[Path](), list[Path]()
    for below, folders, names in os.walk(folder, onerror=_refuse):
        here = Path(below)
        links += [here / name for name in folders if (here / name).is_symlink() and not name.startswith(".")]
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not _is_out(here / name, out))
        files += [here / name for name in names if not name.startswith(".")]
    files.sort(key=lambda file: [order(Path(part)) for part in file.relative_to(folder).parts])
    chosen = [file for file in files if file.suffix.lower() in images.SUFFIXES]
    others = [file for file in files if file.suffix.lower() not in images.SUFFIXES]
    if not chosen:
        endings = Counter(file.suffix.lower() or "no ending" for file in others)
        found = ", ".join(f"{count} {ending}" for ending, count in endings.items())
        raise UserError(
            f"{folder}: holds no pictures; found {len(others)} files{f' ({found})' if found else ''}, "
            f"{allowed_endings(endings)}"
        )
    notes = not_read(others)
    if links:
        one = len(links) == 1
        notes.append(
            f"{links[0]}{'' if one else f' and {len(links) - 1} more'}: {'a link' if one else 'links'} to "
            f"{'a folder' if one else 'folders'}, not followed; name what it leads to, to have it done"
        )
    return chosen, notes


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be listed: {error.strerror}")


def _is_out(folder: Path, out: Path) -> bool:
    return out.exists() and out.samefile(folder)


def _name(file: Path, form: str) -> str:
    """The name of the result for a picture."""
    own = file.suffix.lower()
    keeps = own in FORMATS and (form == "same" or (form == "lossless" and FORMATS[own].name == "TIFF"))
    return file.stem + (file.suffix if keeps else ".png")


def _named_apart(jobs: Sequence[Job]) -> tuple[list[Job], list[str]]:
    """The jobs, those whose results would have one name named with their pictures' endings; and a note on that.

    Raises:
        UserError: two would have one name even so.
    """
    names = Counter(_key(job) for job in jobs)
    alike = [job for job in jobs if names[_key(job)] > 1]
    endings = Counter((_key(job), job.source.suffix.lower()) for job in alike)
    made, renamed = [], 0
    for job in jobs:
        if names[_key(job)] > 1 and endings[_key(job), job.source.suffix.lower()] == 1:
            job = replace(job, target=job.target.with_name(job.source.name + job.target.suffix))
            renamed += 1
        made.append(job)
    taken: dict[str, Job] = {}
    for job in made:
        other = taken.setdefault(_key(job), job)
        if other is not job:
            raise UserError(
                f"{job.source} and {other.source}: would both become {job.target}; rename one, or upscale them into "
                "two folders"
            )
    if not renamed:
        return made, []
    first = next(new for new, old in zip(made, jobs, strict=True) if new is not old)
    note = f"{renamed} pictures differ by their ending alone; their results keep it, as {first.target.name}"
    return made, [note]


def _key(job: Job) -> str:
    """What results have in common that some disk takes for the same file."""
    return key(str(job.target))


def _check_sources(jobs: Sequence[Job]) -> None:
    """See that no result would take the place of a picture, whatever links lead to it.

    Raises:
        UserError: one would.
    """
    known = set(_identities(job.source for job in jobs)) | {os.path.realpath(job.source) for job in jobs}
    for job in jobs:
        if {*_identities([job.target]), os.path.realpath(job.target)} & known:
            raise UserError(f"{job.target}: is one of the pictures, which are never replaced; name another folder")


def _identities(files: Iterable[Path]) -> Iterator[tuple[int, int]]:
    """Device and number of the files that are there."""
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        yield status.st_dev, status.st_ino


def noted(folder: Path) -> tuple[str, list[Note]]:
    """What all results in a folder were made of, and a note on each; nothing where there are no notes."""
    try:
        first, *lines = (folder / NOTES).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return "", []
    notes = []
    for line in lines:
        with suppress(ValueError):  # a process was killed while it wrote this line
            notes.append(json.loads(line))
    return first, notes


def not_made_here(folder: Path) -> list[Path]:
    """Files in the workflow's folder of results that are no results; hidden ones belong to programs."""
    made = {folder / note["file"] for note in noted(folder)[1]} | {folder / TABLE}
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    return sorted(file for file in files if file not in made)
