"""Pictures through a network: each result has its picture's colours, and what goes with it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from multiblock.data import images
from multiblock.data import picture as pictures
from multiblock.data.picture import Picture
from multiblock.data.picture_writer import write
from multiblock.data.remarks import Remark, at_once
from multiblock.data.resize import enlarge as enlarged_by_bicubic
from multiblock.errors import UserError, listed, one_line, printable
from multiblock.inference import regions, tiles
from multiblock.inference.places import Job
from multiblock.inference.regions import Step
from multiblock.inference.tiles import Tiling
from multiblock.model.chain import Chain


@dataclass(frozen=True, kw_only=True)
class Upscaler:
    """A chain, and how pictures go through it.

    Args:
        enlarge: how many times pictures are enlarged by bicubic interpolation before the chain sees them.
        memory_gib: see :func:`multiblock.inference.regions.run`.
        ensemble: whether results are means over the eight turns of a picture.
    """

    chain: Chain
    device: torch.device
    enlarge: int = 1
    memory_gib: float = 2.5
    ensemble: bool = False

    @property
    def scale(self) -> int:
        """How many times a result is as large as its picture."""
        return self.chain.scale * self.enlarge

    def values(self, pixels: np.ndarray, step: Step = lambda _: None) -> tuple[np.ndarray, Tiling]:
        """What becomes of pixels (H, W, 1 or 3); see :func:`multiblock.inference.regions.run`."""
        return regions.run(
            self.chain,
            pixels,
            self.device,
            self.memory_gib,
            enlarge=self.enlarge,
            ensemble=self.ensemble,
            step=step,
        )

    def picture(self, picture: Picture, step: Step = lambda _: None) -> tuple[Picture, Tiling]:
        """What becomes of a picture; alpha is enlarged by bicubic interpolation.

        Raises:
            UserError: the network gives values that are no numbers.
        """
        made, tiling = self.values(picture.pixels, step)
        alpha = picture.alpha
        if alpha is not None and self.scale > 1:
            alpha = enlarged_by_bicubic(alpha, self.scale)
        return replace(picture, pixels=made, alpha=alpha), tiling


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


Progress = Callable[[float], None]
"""Is told of so many megapixels more of the pictures that they are done."""


def run(
    upscaler: Upscaler,
    jobs: Sequence[Job],
    *,
    done: Callable[[Made], None],
    complain: Callable[[str], None],
    progress: Progress = lambda _: None,
    remark: Remark = at_once,
) -> list[Made]:
    """Upscale each picture; one that fails does not stop the others.

    Args:
        done: is given each result.
        complain: is given a line for each picture that failed, which names it.
        progress: is told how far it is.
        remark: is told what is doubtful of a picture.

    Raises:
        UserError: pictures failed; it counts them.
    """
    made: list[Made] = []
    for job in jobs:
        left = whole = megapixels(job.source)

        def step(share: float, whole: float = whole) -> None:
            nonlocal left
            left -= share * whole
            progress(share * whole)

        try:
            made.append(_one(upscaler, job, step, remark))
            done(made[-1])
        except (UserError, OSError, MemoryError) as error:
            complain(_named(job.source, error))
        progress(left)
    if failed := len(jobs) - len(made):
        others = "; the others are done" if made else ""
        raise UserError(f"{failed} of {len(jobs)} picture{'s' if len(jobs) > 1 else ''} failed{others}")
    return made


def megapixels(file: Path) -> float:
    """Of a picture's file, by its header; 0 where it cannot be read, which is said when its turn comes."""
    try:
        height, width = images.size(file)
    except (UserError, OSError):
        return 0.0
    return height * width / 1e6


def _one(upscaler: Upscaler, job: Job, step: Step, remark: Remark) -> Made:
    picture = pictures.read(job.source, remark)
    result, tiling = upscaler.picture(picture, step)
    if line := tiles.said({str(job.source): tiling}):
        tiles.log.warning("%s", line)
    lost = picture.not_kept + picture.converted + write(result, job.target)
    height, width = result.pixels.shape[:2]
    return Made(job=job, width=width, height=height, kept=_kept(result, lost), lost=tuple(lost))


def _named(file: Path, error: Exception) -> str:
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
