"""Folders of phases that are links to those of other runs: made, followed, and turned into folders of their own."""

import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from multiblock.files import lock, part_of

LOCK_SECONDS = 15
"""Time that is waited for a training in a folder: one whose Snakemake was killed is about to end."""


def links(results: Path) -> Iterator[Path]:
    """All folders of phases in a results folder that are links to others there."""
    return (folder for folder in sorted(results.glob("*/seed*/phase*")) if target(folder))


def target(link: Path) -> Path | None:
    """The folder of results that a phase's link names, whether or not it is there; None of what is no such link.

    A link to somewhere else is a user's, and counts as the folder that it stands for.
    """
    if not link.is_symlink():
        return None
    results = link.parents[2]
    led = Path(os.path.abspath(link.parent / os.readlink(link)))
    inside = led.is_relative_to(os.path.abspath(results))
    return results / led.relative_to(os.path.abspath(results)) if inside else None


def point(link: Path, folder: Path) -> None:
    """Make ``link`` a link to ``folder``, relative, so that results can be moved; a link that is there is replaced."""
    link.parent.mkdir(parents=True, exist_ok=True)
    text = os.path.relpath(folder, link.parent)
    if os.path.realpath(link.parent / text) != os.path.realpath(folder):  # a folder above is a link to somewhere else
        text = os.path.abspath(folder)
    if link.is_symlink() and os.readlink(link) == text:
        return
    part = part_of(link)
    part.unlink(missing_ok=True)
    part.symlink_to(text, target_is_directory=True)
    part.replace(link)


def can_link(results: Path) -> bool:
    """Whether the file system of a folder has links."""
    probe = part_of(results / "link")
    results.mkdir(parents=True, exist_ok=True)
    try:
        probe.symlink_to("nowhere")
    except OSError:
        return False
    probe.unlink()
    return True


def materialise(link: Path) -> None:
    """Make a link a folder of its own, with a copy of all that it shows; one that leads nowhere is removed.

    Raises:
        UserError: a training is at work in what it shows.
        OSError: it cannot be copied; the link stays.
    """
    shown = target(link)
    if shown is None or not shown.is_dir():
        link.unlink()
        return
    part = part_of(link)
    with lock(shown, "training", wait=LOCK_SECONDS):
        try:
            shutil.copytree(shown, part, ignore=shutil.ignore_patterns(".lock", ".part-*"))
            link.unlink()
            part.rename(link)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def keep_shown(results: Path, going: Iterable[Path], but: Collection[Path] = ()) -> list[Path]:
    """Make folders of the links into folders that are about to go, or to change; the links that were.

    Links that lie in one of these folders themselves stay, and so do those of ``but``.
    """
    real = [Path(os.path.realpath(folder)) for folder in going]

    def inside(path: str) -> bool:
        return any(Path(path).is_relative_to(folder) for folder in real)

    into = [link for link in links(results) if inside(os.path.realpath(link))]
    kept = [link for link in into if link not in but and not inside(os.path.abspath(link))]
    for link in kept:
        materialise(link)
    return kept


def rename(results: Path, folder: Path, name: Path) -> None:
    """Rename a folder that lies in ``results``; the links into it follow."""
    into = {link: to for link in links(results) if (to := target(link)) and to.is_relative_to(folder)}
    folder.rename(name)
    for link, to in into.items():
        moved = name / link.relative_to(folder) if link.is_relative_to(folder) else link
        point(moved, name / to.relative_to(folder))


def set_aside(results: Path, folder: Path) -> Path:
    """Rename the folder of a run, or of a phase, so that what takes its place loses nothing; its new name."""
    number = 1
    while os.path.lexists(aside := folder.with_name(f"{folder.name}.before{number}")):
        number += 1
    rename(results, folder, aside)
    return aside


def is_aside(folder: Path) -> bool:
    """Whether the name of a folder is one that :func:`set_aside` gave."""
    return re.fullmatch(r".+\.before\d+", folder.name) is not None
