"""How well two images of one grid agree, measured apart from the fit, and the limits that a pair has to keep to.

Measured is the correlation of small windows. Each window of LR is moved against HR's until the two correlate best
(phase correlation without whitening, upsampled; Guizar-Sicairos et al. 2008, as scikit-image has it), after a filter
that takes out brightness, gradients and noise. HR is blurred as much as LR is, by trial.
"""

import math
from dataclasses import dataclass

import numpy as np

from multiblock.align.transform import Transform

BLURS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Standard deviations of LR's blur that are tried, in LR pixels where those are the larger ones."""

_SMALLEST, _LARGEST, _MOST_A_SIDE = 16, 64, 16
"""Sides of windows in pixels, and windows along a side."""
FINE = 25
"""Parts of a pixel that shifts are measured to."""
AGREE = 0.5
"""Correlation below which a window shows something else in LR than in HR."""
_BAND = 1.5
"""Standard deviation in pixels of the filter, a Laplacian of a Gaussian."""
_FLAT = 2.4
"""Least standard deviation, of 255, of filtered pixels in a window that can be measured."""


@dataclass(frozen=True, kw_only=True)
class Residual:
    """What was measured of a pair, NaN where there is nothing to measure it by.

    Args:
        windows: how many have something to measure.
        median, p90: lengths of their shifts in HR pixels, without those that show something else.
        off: share of the windows that show something else, or are off by more than was allowed.
        correlation: of LR and HR, as sharp as LR, all over.
        detail: LR's contrast in fine detail, as a multiple of HR's.
    """

    windows: int
    median: float = math.nan
    p90: float = math.nan
    off: float = math.nan
    correlation: float = math.nan
    detail: float = math.nan


def residual(lr: np.ndarray, hr: np.ndarray, most: float) -> Residual:
    """Measure a pair that was aligned.

    Args:
        lr: (H, W), float32, 0 to 255.
        hr: (scale*H, scale*W), the same.
        most: HR pixels beyond which a window counts as off.
    """
    scale = hr.shape[0] // lr.shape[0]
    full = hr.reshape(lr.shape[0], scale, lr.shape[1], scale).mean(axis=(1, 3), dtype=np.float32)
    soft, blur = _as_sharp(lr, full)
    band = max(_BAND, 0.75 * blur)
    correlation = float(np.corrcoef(lr.ravel(), soft.ravel())[0, 1]) if min(lr.std(), soft.std()) > 1e-3 else math.nan
    side = int(max(_SMALLEST, min(_LARGEST * max(1.0, blur) ** 0.5, min(lr.shape) // 4)))
    here, there = _filtered(soft, band), _filtered(lr, band)
    detail = float(_filtered(lr, _BAND).std() / (_filtered(full, _BAND).std() + 1e-6))
    least = [max(_FLAT, 3 * _noise(image, band)) for image in (full, lr)]
    window = np.outer(np.hanning(side + 2)[1:-1], np.hanning(side + 2)[1:-1])
    lengths, others = [], 0
    for top, left in _places(lr.shape, side):
        place = slice(top, top + side), slice(left, left + side)
        one, other = here[place] * window, there[place] * window
        contrasts = [math.sqrt(float((values**2).sum() / (window**2).sum())) for values in (one, other)]
        seen = any(contrast > needed for contrast, needed in zip(contrasts, least, strict=True))
        if not seen or not (_corner(one) or _corner(other)):
            continue
        shift, agrees = _shift(one, other)
        if agrees < AGREE:
            others += 1
        else:
            lengths.append(scale * shift)
    count = len(lengths) + others
    if not lengths:
        return Residual(windows=count, off=1.0 if count else math.nan, correlation=correlation, detail=detail)
    found = np.array(lengths)
    return Residual(
        windows=count,
        median=float(np.median(found)),
        p90=float(np.quantile(found, 0.9)),
        off=(others + int((found > most).sum())) / count,
        correlation=correlation,
        detail=detail,
    )


def _places(shape: tuple[int, ...], side: int) -> list[tuple[int, int]]:
    """Tops and lefts of windows all over, which overlap by at most half."""
    along, across = (
        np.linspace(0, length - side, max(1, min(_MOST_A_SIDE, (length - side) * 2 // side + 1))).astype(int)
        for length in shape
    )
    return [(int(top), int(left)) for top in along for left in across]


def _as_sharp(lr: np.ndarray, hr: np.ndarray) -> tuple[np.ndarray, float]:
    """HR blurred as much as LR is, and the standard deviation."""
    from scipy.ndimage import gaussian_filter

    seen = _filtered(lr, _BAND)
    agree = {}
    for blur in BLURS:
        soft = gaussian_filter(hr, blur, truncate=3) if blur else hr
        filtered = _filtered(soft, _BAND)
        agree[blur] = float((seen * filtered).sum() / (np.sqrt((filtered**2).sum()) + 1e-6))
    best = max(agree, key=lambda blur: agree[blur])
    return (gaussian_filter(hr, best, truncate=3) if best else hr), best


def _filtered(image: np.ndarray, band: float) -> np.ndarray:
    from scipy.ndimage import gaussian_filter, laplace

    made: np.ndarray = laplace(gaussian_filter(image, band, truncate=3)) * band**2
    return made


def _noise(image: np.ndarray, band: float) -> float:
    """What an image's noise leaves in filtered pixels (standard deviation), by its flattest squares.

    A filter that neither planes nor edges pass leaves noise and the finest texture (Immerkaer 1996).
    """
    from scipy.ndimage import convolve1d

    side = 16
    height, width = (length // side * side for length in image.shape)
    finest = np.abs(convolve1d(convolve1d(image, (1, -2, 1), axis=0), (1, -2, 1), axis=1))[:height, :width]
    squares = finest.reshape(height // side, side, width // side, side).mean(axis=(1, 3))
    white = math.sqrt(math.pi / 2) / 6 * float(np.quantile(squares, 0.1))
    return white / (band * math.sqrt(2 * math.pi))


def _corner(values: np.ndarray) -> bool:
    """Whether a window has detail in both directions: along a single edge no shift can be seen."""
    down, right = np.gradient(values)
    spread = np.array([[(down * down).sum(), (down * right).sum()], [(down * right).sum(), (right * right).sum()]])
    small, large = np.linalg.eigvalsh(spread)
    return bool(small > 0.1 * large)


def _shift(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """How many pixels the one has to be moved to correlate best with the other, and how much they do then."""
    from skimage.registration import phase_cross_correlation

    shift, error, _ = phase_cross_correlation(one, other, upsample_factor=FINE, normalization=None)
    return float(np.hypot(*shift)), math.sqrt(max(0.0, 1 - float(error) ** 2))


# -- Limits ------------------------------------------------------------------------------------------------------------

SMALLEST = 64
"""Least side in HR pixels of what both photographs show."""
MOST_STRETCH, MOST_PERSPECTIVE = 0.05, 0.2
LARGEST_ZOOM = 8.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits that a user may move.

    Args:
        residual: most HR pixels, in the median, by which windows are off, and the map may be off (two standard
            deviations).
        correlation: least correlation of LR and HR.
        moved: most of the windows, as a share, that show something else or are off.
        overlap: least share of HR that LR has to show.
        turn: most degrees that LR is turned.
    """

    residual: float = 0.5
    correlation: float = 0.7
    moved: float = 0.1
    overlap: float = 0.25
    turn: float = 10.0


def against_map(transform: Transform, limits: Limits, leeway: float = 1) -> str:
    """Why a map is refused; empty where it is plausible.

    Args:
        leeway: how many times the turn that is allowed a first guess may have.
    """
    turn, zoom = transform.turn, transform.zoom
    if not 1 / LARGEST_ZOOM <= zoom <= LARGEST_ZOOM:
        return f"HR shows things {zoom:.2g} times as large as LR; allowed are {1 / LARGEST_ZOOM:g} to {LARGEST_ZOOM:g}"
    if transform.mirrored:
        return "LR is mirrored"
    if abs(turn) > leeway * limits.turn:
        quarter = abs(abs(turn) - 90) < 15 or abs(turn) > 165
        why = "; one of the two may have lost its orientation (EXIF)" if quarter else ""
        return f"LR is turned by {turn:+z.1f} degrees; allowed are {limits.turn:g}{why}"
    if transform.stretch > MOST_STRETCH:
        return f"LR is stretched by {transform.stretch:.1%} in one direction; allowed are {MOST_STRETCH:.0%}"
    if transform.perspective > MOST_PERSPECTIVE:
        return (
            f"the scale differs by {transform.perspective:.0%} between corners; allowed are {MOST_PERSPECTIVE:.0%}: "
            "the camera was moved"
        )
    return ""


def against_result(found: Residual, unsure: float, limits: Limits) -> str:
    """Why a pair is refused as it came out; empty where it fits."""
    if not found.windows or found.median != found.median:
        return "nothing in it can be compared" if not found.windows else "LR and HR show something else everywhere"
    if found.off > limits.moved:
        return (
            f"{found.off:.0%} of its {found.windows} windows do not fit; allowed are {limits.moved:.0%}: things moved, "
            "or are at different distances"
        )
    if found.median > limits.residual:
        return f"residual {found.median:.2f} pixels in the median; allowed are {limits.residual:g}"
    if not found.correlation >= limits.correlation:
        return f"correlation {found.correlation:.2f}; allowed are {limits.correlation:g} or more"
    if 2 * unsure > limits.residual:  # two standard deviations
        return (
            f"its place is known to {2 * unsure:.2f} pixels only; allowed are {limits.residual:g}: it has too little "
            "detail"
        )
    return ""
