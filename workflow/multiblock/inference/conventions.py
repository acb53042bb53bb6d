"""Why a PSNR is not the paper's: the same pictures under the conventions of the field, side by side.

Each row is one way in which papers and their code measure. Another one is another entry of :data:`CONVENTIONS`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from torch.nn import functional

from multiblock.data.imageset import to_bytes
from multiblock.errors import UserError
from multiblock.inference.measures import gray
from multiblock.inference.metrics import luma

CLOSE = 0.02
"""dB within which a figure of two decimals is taken for that of a paper."""


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One way to take the PSNR of 8-bit images or of floats.

    Args:
        title: what is measured; ``{border}`` stands for the pixels cut.
        where: who measures so.
        border: of the scale, the pixels that are cut at each side.
        of: from an image (H, W, 3) to the values that are compared.
        peak: the greatest value; 255 takes images of 8 bits, 1 floats as a network gives them.
        pooled: whether squared errors are averaged over all images, in place of their PSNRs.
        aliased: whether LR is shrunk without antialiasing, where it is made.
    """

    title: str
    where: str
    border: Callable[[int], int] = lambda scale: scale
    of: Callable[[np.ndarray], np.ndarray] = lambda image: image.astype(np.float64)
    peak: int = 255
    pooled: bool = False
    aliased: bool = False

    def error(self, image: np.ndarray, reference: np.ndarray, scale: int) -> float:
        """The mean squared error of floats (H, W, 3) with 1.0 as peak, as a share of the peak's square."""
        cut = self.border(scale)
        both = [pixels if self.peak == 1 else to_bytes(pixels) for pixels in (image, reference)]
        one, other = (self.of(each[cut : each.shape[0] - cut, cut : each.shape[1] - cut]) for each in both)
        return float(((one - other) ** 2).mean()) / self.peak**2

    def psnr(self, errors: Sequence[float]) -> float:
        """PSNR in dB of the errors of several images."""
        if self.pooled:
            return _in_db(fmean(errors))
        return fmean(map(_in_db, errors))


def _in_db(error: float) -> float:
    return -10 * math.log10(error) if error > 0 else math.inf


CONVENTIONS = (
    Convention(
        title="Y of MATLAB's rgb2ycbcr (16 to 235), 8 bits, border {border}",
        where="benchmarks: CARN, RCAN, IMDN, PAN, DRLN",
        of=luma,
    ),
    Convention(
        title="Y of MATLAB's rgb2ycbcr, 8 bits, whole image",
        where="papers that cut nothing",
        of=luma,
        border=lambda scale: 0,
    ),
    Convention(
        title="Y of OpenCV's cvtColor (0 to 255), 8 bits, border {border}",
        where="code that takes its luma from OpenCV or Pillow",
        of=lambda image: np.floor(gray(image) + 0.5),
    ),
    Convention(
        title="RGB, 8 bits, border {border}",
        where="DIV2K as in NTIRE 2017 and EDSR",
        border=lambda scale: 6 + scale,
    ),
    Convention(title="RGB, 8 bits, whole image", where="the lightweight x3 study", border=lambda scale: 0),
    Convention(title="RGB, floats, whole image", where="the multiblock study", border=lambda scale: 0, peak=1),
    Convention(
        title="RGB, floats, whole image, of the mean squared error of all images",
        where="a loss that is turned into dB",
        border=lambda scale: 0,
        peak=1,
        pooled=True,
    ),
    Convention(
        title="Y of MATLAB, border {border}, LR shrunk without antialiasing",
        where="LR by OpenCV's resize or PyTorch's interpolate",
        of=luma,
        aliased=True,
    ),
)


def shrink_aliased(pixels: np.ndarray, scale: int) -> np.ndarray:
    """LR of HR (H, W, 3), uint8, as OpenCV's INTER_CUBIC and PyTorch's interpolate make it: a = -0.75, not widened."""
    size = (pixels.shape[0] // scale, pixels.shape[1] // scale)
    planes = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
    small = functional.interpolate(planes, size=size, mode="bicubic", align_corners=False, antialias=False)
    return small[0].round().clamp(0, 255).byte().numpy().transpose(1, 2, 0)


def table(
    errors: Mapping[Convention, Mapping[str, Sequence[float]]], scale: int, paper: float | None
) -> tuple[list[tuple[str, ...]], list[str]]:
    """A line a convention, and what it says of a paper's figure.

    Args:
        errors: of each convention, those of all images with no network (``input``) and with it (``network``).
        paper: the figure in dB that a paper prints, if it was given.
    """
    psnr = {one: {what: one.psnr(found) for what, found in both.items()} for one, both in errors.items()}
    count = len(next(iter(next(iter(errors.values())).values())))
    rows: list[tuple[str, ...]] = [
        (f"PSNR in dB of {count} image{'s' if count != 1 else ''}", "no network", "network", "as in")
    ]
    for one, found in psnr.items():
        title = one.title.format(border=one.border(scale))
        rows.append((title, *(_shown(found[what]) for what in ("input", "network")), one.where))
    return rows, _about(psnr, scale, paper) if paper is not None else []


def _about(psnr: Mapping[Convention, Mapping[str, float]], scale: int, paper: float) -> list[str]:
    nearest = min(psnr, key=lambda one: abs(psnr[one]["network"] - paper))
    off = psnr[nearest]["network"] - paper
    title = nearest.title.format(border=nearest.border(scale))
    if abs(off) <= CLOSE:
        return [f"the paper's {paper} dB is this network's figure as: {title} ({off:+.3f} dB)"]
    return [
        f"the paper's {paper} dB is none of these; nearest ({off:+.3f} dB) is: {title}",
        "so other images, other LR files, a self-ensemble (x8) or other weights are the reason",
    ]


def _shown(value: float) -> str:
    return "identical" if math.isinf(value) else f"{value:.3f}"


Errors = dict[Convention, dict[str, list[float]]]


def add(errors: Errors, scale: int, aliased: bool, reference: np.ndarray, made: Mapping[str, np.ndarray]) -> None:
    """Add the errors of one image to those of the images before.

    Args:
        aliased: for which of the conventions LR was made.
        reference: HR, floats (H, W, 3).
        made: what ``input`` and ``network`` give, likewise.

    Raises:
        UserError: a pixel is not finite, or a border leaves none.
    """
    asked = [one for one in CONVENTIONS if one.aliased == aliased]
    height, width = reference.shape[:2]
    if min(height, width) <= 2 * (cut := max(one.border(scale) for one in asked)):
        raise UserError(f"found {width} x {height} pixels; a border of {cut} has to leave some")
    for what, image in made.items():
        if not np.isfinite(image).all():
            raise UserError(f"{what}: found pixels that are not finite (NaN or infinite); such an image has no PSNR")
    for one in asked:
        both = errors.setdefault(one, {what: [] for what in made})
        for what, image in made.items():
            both[what].append(one.error(image, reference, scale))
