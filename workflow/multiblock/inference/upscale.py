"""Pictures through a network: each result has its picture's colours, and takes no picture's place."""

import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from multiblock.data import picture as pictures
from multiblock.data.picture import Picture
from multiblock.data.picture_writer import FORMATS, write
from multiblock.data.pixels import to_whole
from multiblock.data.remarks import Remark, at_once
from multiblock.data.resize import enlarge as enlarged_by_bicubic
from multiblock.errors import UserError, listed
from multiblock.inference import tiles
from multiblock.model.chain import Chain

CHOICES = ("lossless", "same", "png")
"""Formats of results: TIFF where the picture is one, else PNG; the picture's own; PNG."""


@dataclass(frozen=True)
class Job:
    """A picture and where its result goes."""

    source: Path
    target: Path


def plan(files: Sequence[Path], out: Path, form: str = "lossless", overwrite: bool = False) -> list[Job]:
    """Where each result goes, found before anything is done.

    Args:
        files: the pictures.
        out: the folder of the results, each named after its picture.
        form: one of :data:`CHOICES`.
        overwrite: results that are there already may be replaced; pictures never.

    Raises:
        UserError: two results would have one name, or one would take the place of a picture or of what is there.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is no folder; results need one")
    jobs = [Job(file, out / (file.stem + _ending(file, form))) for file in files]
    taken: dict[str, Job] = {}
    for job in jobs:
        other = taken.setdefault(unicodedata.normalize("NFC", job.target.name).casefold(), job)
        if other is not job:
            raise UserError(
                f"{job.source} and {other.source}: would both become {job.target}; rename one, or upscale them into "
                "two folders"
            )
    for job in jobs:
        for file in files:
            if _same(job.target, file):
                raise UserError(f"{job.target}: is one of the pictures, which are never replaced; name another folder")
        if os.path.lexists(job.target) and not overwrite:
            raise UserError(f"{job.target}: exists already; name another folder, or replace it with --overwrite")
    return jobs


def _ending(file: Path, form: str) -> str:
    own = file.suffix.lower()
    keeps = own in FORMATS and (form == "same" or (form == "lossless" and FORMATS[own].name == "TIFF"))
    return file.suffix if keeps else ".png"


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one of them does not exist
        return one.resolve() == other.resolve()


def run(
    network: Chain,
    jobs: Sequence[Job],
    device: torch.device,
    memory_gib: float,
    *,
    enlarge: int = 1,
    say: Callable[[str], None],
    complain: Callable[[Exception], None],
    remark: Remark = at_once,
) -> None:
    """Upscale each picture; one that fails does not stop the others.

    Args:
        memory_gib: see :func:`multiblock.inference.tiles.run`.
        enlarge: how many times pictures are enlarged by bicubic interpolation before the network sees them.
        say: is given a line for each result.
        complain: is given what went wrong with a picture.
        remark: is told what is doubtful of a picture.

    Raises:
        UserError: pictures failed; it names them.
    """
    failed = []
    for job in jobs:
        try:
            picture = pictures.read(job.source, remark)
            result = upscaled(picture, network, device, memory_gib, enlarge, job.source)
            lost = picture.not_kept + write(result, job.target)
        except (UserError, OSError) as error:
            complain(error)
            failed.append(job.source)
            continue
        say(f"{job.target}: {result.pixels.shape[1]} x {result.pixels.shape[0]}{_about(result, lost)}")
    if failed:
        raise UserError(f"{len(failed)} of {len(jobs)} pictures failed: {listed(failed)}")


def upscaled(
    picture: Picture, network: Chain, device: torch.device, memory_gib: float, enlarge: int, file: Path
) -> Picture:
    """What a network makes of a picture; alpha is enlarged by bicubic interpolation.

    Args:
        file: the picture's, for the error.

    Raises:
        UserError: the network gives values that are no numbers.
    """
    pixels, alpha = picture.pixels, picture.alpha
    white = np.iinfo(pixels.dtype).max
    given = enlarged_by_bicubic(pixels, enlarge) if enlarge > 1 else pixels
    colours = np.repeat(given, 3, axis=2) if given.shape[2] == 1 else given
    result = tiles.run(network, colours if white == 255 else colours / np.float32(white), device, memory_gib, str(file))
    if not np.isfinite(result).all():
        raise UserError(f"{file}: the network makes values of it that are not finite; nothing is written")
    if pixels.shape[2] == 1:
        result = result.mean(axis=2, keepdims=True)
    made = to_whole(result, pixels.dtype)
    if alpha is not None and (factor := made.shape[0] // pixels.shape[0]) > 1:
        alpha = enlarged_by_bicubic(alpha, factor)
    return replace(picture, pixels=made, alpha=alpha)


def _about(result: Picture, lost: Sequence[str]) -> str:
    """What of the picture went with the result, and what did not."""
    kept = [
        word
        for word, value in (
            ("16 bits", result.pixels.dtype == np.uint16),
            ("colour profile", result.profile),
            ("EXIF", result.exif),
            ("transparency", result.alpha is not None),
        )
        if value and not any(word in lack for lack in lost)
    ]
    return (f"; with its {listed(kept)}" if kept else "") + (f"; not kept: {listed(lost)}" if lost else "")
