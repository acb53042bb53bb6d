"""One pair: two photographs are read, aligned, brought onto one grid and measured.

Where that is wanted, LR gets HR's brightness and colours: a gain and an offset for each channel.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from multiblock.align import residual, transform
from multiblock.align.features import first_guess
from multiblock.align.refine import Fit, refine
from multiblock.align.residual import Limits, Residual
from multiblock.align.transform import Transform
from multiblock.data import images, imageset
from multiblock.data import picture as pictures
from multiblock.data.images import Remark
from multiblock.data.picture import Picture
from multiblock.errors import UserError

MOST_DETAIL = 1.1
_LARGER = 0.95
_SAME_PLACE, _SAME_CORRELATION, _SAME_DETAIL = 0.1, 0.998, 0.95
"""Pixels, correlation, detail: a photograph and a copy that was stored with loss agree better than two photographs."""


MOST_GAIN = 1.5
"""A gain is held between this and one over it."""
MOST_OFFSET = 0.1
"""An offset is held between this share of white and its negative."""
_SQUARE = 16
_ENDS = (0.03, 0.97)
"""Shares of white beyond which values may have been cut off."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """LR as HR = gain * LR + offset, a value a channel; offsets as shares of white.

    Args:
        held: whether one of them was held at its bound.
    """

    gains: tuple[float, ...]
    offsets: tuple[float, ...]
    held: bool = False


@dataclass(frozen=True, kw_only=True)
class Options:
    """How pairs are made.

    Args:
        scale: of HR over the LR that is made.
        match_colour: whether LR gets HR's brightness and colours.
    """

    scale: int = 1
    match_colour: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(kw_only=True)
class Outcome:
    """What became of a pair; what was not found out is None.

    Args:
        reason: why it was dropped; empty for one that was kept.
        notes: what else is doubtful or was changed.
        place: top, left, height and width in HR of what was kept.
    """

    name: str
    reason: str = ""
    notes: list[str] = field(default_factory=list)
    transform: Transform | None = None
    blur: float = math.nan
    unsure: float = math.nan
    place: tuple[int, int, int, int] | None = None
    found: Residual | None = None
    match: Match | None = None


@dataclass(kw_only=True)
class Photographs:
    """What was read of a pair; ``reference`` is HR as LR's brightness and colours are compared with it."""

    lr: Picture
    hr: Picture
    reference: np.ndarray
    notes: list[str]


class Seen:
    """The pictures of pairs that were kept, to tell one that is used under two names."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def again(self, marks: Mapping[str, str]) -> str:
        """What is wrong where one of the two is in a pair that was kept, or both are one picture."""
        if marks["LR"] == marks["HR"]:
            return "LR and HR are the same picture"
        for kind, mark in marks.items():
            if mark in self._names:
                return f"its {kind} is the same picture as {self._names[mark]}"
        return ""

    def keep(self, name: str, marks: Mapping[str, str]) -> None:
        """Note the pictures of a pair that is kept."""
        self._names |= {mark: f"{kind} of {name}" for kind, mark in marks.items()}


def marks_of(pair: Photographs) -> dict[str, str]:
    """What tells LR and HR of a pair from all other pictures."""
    return {kind: _mark(picture) for kind, picture in (("LR", pair.lr), ("HR", pair.hr))}


def _mark(picture: Picture) -> str:
    digest = hashlib.blake2b(repr((picture.pixels.shape, picture.pixels.dtype.str)).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(picture.pixels).data)
    return digest.hexdigest()


def read(lr: Path, hr: Path, options: Options, remark: Remark) -> Photographs:
    """Read the two photographs of a pair, turned by their EXIF data, in their own colours and depths.

    Raises:
        UserError: one cannot be read.
    """
    low, high = pictures.read(lr, remark), pictures.read(hr, remark)
    notes, reference = [], high.pixels
    if options.match_colour and low.profile != high.profile:
        low = replace(low, pixels=images.read(lr, remark), profile=None)
        reference = images.read(hr, remark)
        notes.append("their colour profiles differ: LR was converted to sRGB with 8 bits")
    for kind, picture in (("LR", low), ("HR", high)):
        notes += [f"{kind} loses {what}" for what in picture.converted]
        if picture.alpha is not None:
            notes.append(f"transparency of {kind} dropped")
    return Photographs(lr=replace(low, alpha=None), hr=replace(high, alpha=None), reference=reference, notes=notes)


def align(pair: Photographs, outcome: Outcome, options: Options) -> tuple[Picture, Picture]:
    """LR on HR's grid, and HR cut to what both show; ``outcome`` takes all that is found on the way.

    Raises:
        UserError: the pair does not fit; why.
    """
    hr, lr = (_gray(picture.pixels) for picture in (pair.hr, pair.lr))
    guess = Transform(matrix=first_guess(hr, lr)[0], size=(hr.shape[0], hr.shape[1]))
    _refuse(residual.against_map(guess, options.limits, leeway=2))
    fit = refine(hr, lr, guess.matrix)
    outcome.transform, outcome.blur, outcome.unsure = fit.transform, fit.blur, fit.unsure
    _refuse(residual.against_map(fit.transform, options.limits))
    outcome.place = top, left, height, width = _place(fit, lr.shape, options)
    made = _resampled(pair.lr.pixels, fit.transform, outcome.place, options.scale)
    window = slice(top, top + height), slice(left, left + width)
    outcome.match = matched = _match(made, pair.reference[window], options.scale)
    if options.match_colour:
        made = made * np.array(matched.gains, np.float32) + np.array(matched.offsets, np.float32)
    whole = imageset.to_whole(made, pair.lr.pixels.dtype)
    cut = np.ascontiguousarray(pair.hr.pixels[window])
    most = max(1.0, fit.transform.zoom / 2)
    outcome.found = found = residual.residual(_gray(whole), _gray(cut), most)
    _note_doubts(outcome, lr.shape, options)
    _refuse(_copy(fit.transform, lr.shape, found) or residual.against_result(found, fit.unsure, options.limits))
    return replace(pair.lr, pixels=whole), replace(pair.hr, pixels=cut)


def _refuse(reason: str) -> None:
    if reason:
        raise UserError(reason)


def _gray(values: np.ndarray) -> np.ndarray:
    """The mean of the channels, (H, W), float32, 0 to 255."""
    made: np.ndarray = values.mean(axis=2, dtype=np.float32) * np.float32(255 / np.iinfo(values.dtype).max)
    return made


def _place(fit: Fit, lr_shape: tuple[int, ...], options: Options) -> tuple[int, int, int, int]:
    share = transform.share(fit.transform, lr_shape)
    if share < options.limits.overlap:
        raise UserError(f"LR shows {share:.0%} of HR; allowed are {options.limits.overlap:.0%} or more")
    margin = transform.reach(options.scale / fit.transform.zoom) + 0.5
    place = transform.common(fit.transform, lr_shape, margin, options.scale)
    if min(place[2:]) < residual.SMALLEST:
        raise UserError(f"both show {place[3]} x {place[2]} pixels of HR; {residual.SMALLEST} a side are needed")
    return place


def _resampled(values: np.ndarray, found: Transform, place: tuple[int, int, int, int], scale: int) -> np.ndarray:
    """LR (H, W, C), float32, 0 to 1, on a grid ``scale`` times as coarse as HR's; computed once, from its pixels."""
    image = values / np.float32(np.iinfo(values.dtype).max)
    top, left, height, width = place
    x = left + scale * np.arange(width // scale) + (scale - 1) / 2
    y = top + scale * np.arange(height // scale) + (scale - 1) / 2
    made = np.empty((len(y), len(x), image.shape[2]), np.float32)
    for rows in imageset.strips(len(y)):
        there = found(np.stack(np.meshgrid(x, y[rows]), axis=-1))
        made[rows] = transform.sample(image, there[..., 0], there[..., 1], scale / found.zoom)
    return made


def _match(made: np.ndarray, reference: np.ndarray, scale: int) -> Match:
    height, width, channels = made.shape
    full = reference.reshape(height, scale, width, scale, -1).mean(axis=(1, 3), dtype=np.float32)
    full /= np.float32(np.iinfo(reference.dtype).max)
    if full.shape[2] != channels:
        full = np.repeat(full.mean(axis=2, keepdims=True), channels, axis=2)
    return match(made, full)


def _copy(found_map: Transform, lr_shape: tuple[int, ...], found: Residual) -> str:
    """Why two files of one photograph, one of them stored with loss, are refused; empty for two photographs."""
    still = np.abs(found_map(found_map.corners) - found_map.corners).max() < _SAME_PLACE
    alike = found.correlation > _SAME_CORRELATION and _SAME_DETAIL < found.detail < 1 / _SAME_DETAIL
    same = found_map.size == lr_shape[:2] and still and alike
    return "LR and HR are one photograph, stored twice: there is nothing to learn" if same else ""


def _note_doubts(outcome: Outcome, lr_shape: tuple[int, ...], options: Options) -> None:
    """Note what is doubtful of a pair, though it may fit."""
    assert outcome.found and outcome.transform and outcome.match
    found, zoom = outcome.found, outcome.transform.zoom
    if found.detail > MOST_DETAIL or zoom < _LARGER:
        how = (
            f"{found.detail:.2f} times the fine detail of" if found.detail > MOST_DETAIL else "more pixels a thing than"
        )
        outcome.notes.append(f"LR has {how} HR; the folders may be swapped")
    if found.off > 0:
        outcome.notes.append(f"{found.off:.1%} of its windows do not fit")
    if options.match_colour and outcome.match.held:
        outcome.notes.append("brightness or colours differ by more than is matched; matched as far as is allowed")


# -- Brightness --------------------------------------------------------------------------------------------------------


def match(lr: np.ndarray, hr: np.ndarray) -> Match:
    """Gains and offsets, by a robust regression over means of small squares, that blur hardly changes.

    Args:
        lr: (H, W, C), float32, 0 to 1.
        hr: (H, W, C), the same.
    """
    low, high = _square_means(lr), _square_means(hr)
    found = [_line(low[:, channel], high[:, channel]) for channel in range(lr.shape[2])]
    gains, offsets = zip(*found, strict=True)
    held_gains = tuple(float(np.clip(gain, 1 / MOST_GAIN, MOST_GAIN)) for gain in gains)
    held_offsets = tuple(float(np.clip(offset, -MOST_OFFSET, MOST_OFFSET)) for offset in offsets)
    return Match(gains=held_gains, offsets=held_offsets, held=(held_gains, held_offsets) != (gains, offsets))


def _square_means(image: np.ndarray) -> np.ndarray:
    height, width = (max(1, length // _SQUARE) for length in image.shape[:2])
    side = min(_SQUARE, *image.shape[:2])
    whole = image[: height * side, : width * side].reshape(height, side, width, side, -1)
    made: np.ndarray = whole.mean(axis=(1, 3), dtype=np.float64).reshape(height * width, -1)
    return made


def _line(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """Gain and offset; what is far off the line counts little."""
    from scipy.optimize import least_squares

    used = (np.minimum(low, high) > _ENDS[0]) & (np.maximum(low, high) < _ENDS[1])
    if used.sum() < 8:
        return 1.0, 0.0
    low, high = low[used], high[used]
    if low.std() < 0.02:  # no slope can be seen: the brightness alone
        return float(np.median(high) / np.median(low)), 0.0
    start = (float(high.std() / low.std()), 0.0)
    found = least_squares(lambda p: p[0] * low + p[1] - high, start, loss="soft_l1", f_scale=0.01)
    return float(found.x[0]), float(found.x[1])
