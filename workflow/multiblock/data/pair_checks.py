"""Measure whether the two images of a pair show the same, in the same place, size, brightness and colours.

How one image is displaced against the other is found to fractions of a pixel. Phase correlation finds the shift to a
pixel; from there the least squares of the images' gradients are followed (Lucas and Kanade 1981), with brightness and
contrast free, on images that are smoothed so that blur counts for little.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Literal

import numpy as np

WINDOW = 512
"""Side in LR pixels of the window, in the middle of the image, that is compared."""

NO_CORRELATION, LEAST_CORRELATION = 0.2, 0.6
MOST_SHIFT = 1.0
"""Shift in HR pixels beyond which a pair is doubtful; the limits that follow are of this kind."""
MOST_ZOOM = 0.006
MOST_TURN = 0.3
"""In degrees."""
MOST_STOPS = 0.2
MOST_DETAIL = 1.1
"""Detail of LR, as a multiple of HR's."""
FLAT = 3.0
"""The least standard deviation, of 255, of what has something to correlate."""
LEAST_COLOUR = 4.0
"""Root mean square, of 255, of what makes colours other than gray, for the order of channels to be known."""
ORDER_MARGIN = 0.4
"""How much better the colours must agree in another order for the channels to be swapped."""
MOST_MEDIAN_ZOOM, MOST_MEDIAN_STOPS = 0.003, 0.1
"""What single pairs scatter by, the median of many does not."""
LEAST_MANY = 5
_GAMMA = 2.2
"""Gamma of sRGB, about: one stop is twice the light, 2 ** (1 / 2.2) times the value."""


Verdict = Literal["fine", "doubtful", "wrong"]


@dataclass(frozen=True, kw_only=True)
class PairCheck:
    """What was measured of a pair, NaN where its window has nothing to measure it by, and what follows.

    Args:
        correlation: of LR and of HR brought to LR's size, both gray.
        down, right: how far LR is below and to the right of HR, in HR pixels.
        zoom: how many times LR shows things larger than HR does, the scale taken off; 1 where they agree.
        turn: by how many degrees LR is turned against HR, clockwise.
        stops: how much brighter LR is, in powers of two of the light.
        order: which of HR's channels LR's are, ``RGB`` where they agree; ``-`` for pairs that are all but gray.
        detail: mean difference of neighbouring pixels in LR, as a multiple of HR's at LR's size.
        verdict: ``wrong`` pairs are not trained on.
        reasons: what speaks against the pair, each with its figure.
    """

    correlation: float = math.nan
    down: float = math.nan
    right: float = math.nan
    zoom: float = math.nan
    turn: float = math.nan
    stops: float = math.nan
    order: str = "-"
    detail: float = math.nan
    verdict: Verdict
    reasons: tuple[str, ...] = ()


def pair_checks(lr: np.ndarray, hr: np.ndarray) -> PairCheck:
    """Compare the two images of a pair.

    HR is brought to LR's size by means over scale x scale pixels. The limits leave room for what real pairs, taken
    with two lenses and registered, differ by: of the 100 pairs of City100 (Nikon) and 9 of RealSR none is doubtful.

    Args:
        lr: (H, W, 3), uint8.
        hr: (scale*H, scale*W, 3), uint8.
    """
    scale = hr.shape[0] // lr.shape[0]
    start = [max(0, (length - WINDOW) // 2) for length in lr.shape[:2]]
    low, high = (_window(image, start, factor) for image, factor in ((lr, 1), (hr, scale)))
    if scale == 1 and np.array_equal(lr, hr):
        return PairCheck(
            correlation=1.0,
            stops=0.0,
            detail=1.0,
            verdict="doubtful",
            reasons=("LR equals HR: there is nothing to learn",),
        )
    high = high.reshape(low.shape[0], scale, low.shape[1], scale, 3).mean(axis=(1, 3), dtype=np.float32)
    gray = low.mean(axis=2), high.mean(axis=2)
    if min(image.std() for image in gray) < FLAT:  # nothing to correlate
        return _flat(*gray)
    correlation = float(np.corrcoef(gray[0].ravel(), gray[1].ravel())[0, 1])
    found = align(*gray) if correlation > NO_CORRELATION else Alignment()
    check = PairCheck(
        correlation=correlation,
        down=scale * found.down,
        right=scale * found.right,
        zoom=found.zoom,
        turn=found.turn,
        stops=_stops(*gray),
        order=_order(low, high),
        detail=_detail(gray[0]) / _detail(gray[1]),
        verdict="fine",
    )
    wrong, doubtful = _against(check, scale)
    verdict: Verdict = "wrong" if wrong else "doubtful" if doubtful else "fine"
    return replace(check, verdict=verdict, reasons=(*wrong, *doubtful))


def of_all(checks: Sequence[PairCheck]) -> list[str]:
    """What the pairs of a set have in common that speaks against them, though each alone would pass."""
    if len(checks) < LEAST_MANY:
        return []
    zoom, stops = (_median([getattr(check, key) for check in checks]) for key in ("zoom", "stops"))
    found = []
    if abs(zoom - 1) > MOST_MEDIAN_ZOOM:
        found.append(f"in the median LR shows things {zoom:.3f} times as large as HR does, the scale taken off")
    if abs(stops) > MOST_MEDIAN_STOPS:
        found.append(f"in the median LR is {abs(stops):.2f} stops {'brighter' if stops > 0 else 'darker'} than HR")
    return found


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def _against(check: PairCheck, scale: int) -> tuple[list[str], list[str]]:
    """What makes a pair wrong, and what makes it doubtful."""
    if check.correlation < NO_CORRELATION:
        return [f"correlation {check.correlation:z.2f}: they do not show the same"], []
    wrong, doubtful = [], []
    if check.order not in ("RGB", "-"):
        what = "red and blue are swapped" if check.order == "BGR" else f"the channels of LR are HR's {check.order}"
        wrong.append(f"{what} in one of the two")
    if check.correlation < LEAST_CORRELATION:
        doubtful.append(f"correlation {check.correlation:.2f}; below {LEAST_CORRELATION} they may not show the same")
    if max(abs(check.down), abs(check.right)) > MOST_SHIFT:
        doubtful.append(f"LR is shifted by {check.down:+z.1f} pixels down and {check.right:+z.1f} to the right")
    if abs(check.zoom - 1) > MOST_ZOOM:
        doubtful.append(f"LR shows things {check.zoom:.3f} times as large as HR does, the scale taken off")
    if abs(check.turn) > MOST_TURN:
        doubtful.append(f"LR is turned by {check.turn:+z.1f} degrees")
    if abs(check.stops) > MOST_STOPS:
        doubtful.append(f"LR is {abs(check.stops):.2f} stops {'brighter' if check.stops > 0 else 'darker'} than HR")
    if scale == 1 and check.detail > MOST_DETAIL:
        doubtful.append(f"LR has {check.detail:.2f} times the detail of HR; the folders may be swapped")
    return wrong, doubtful


def _window(image: np.ndarray, start: Sequence[int], factor: int) -> np.ndarray:
    """The window that begins at ``start`` in LR pixels, each ``factor`` wide."""
    rows, columns = (slice(factor * first, factor * (first + WINDOW)) for first in start)
    return image[rows, columns].astype(np.float32)


def _flat(low: np.ndarray, high: np.ndarray) -> PairCheck:
    """A pair with nothing to correlate in one of the two: their brightness is all that can be compared."""
    means = float(low.mean()), float(high.mean())
    same = abs(means[0] - means[1]) < 32
    reasons = () if same else (f"mean brightness {means[0]:.0f} and {means[1]:.0f}",)
    return PairCheck(stops=_stops(low, high), verdict="fine" if same else "doubtful", reasons=reasons)


def _stops(low: np.ndarray, high: np.ndarray) -> float:
    return _GAMMA * math.log2((float(low.mean()) + 0.5) / (float(high.mean()) + 0.5))


def _order(low: np.ndarray, high: np.ndarray) -> str:
    """The order of HR's channels that agrees best with LR's: how far each is from gray is compared."""
    colours = [image - image.mean(axis=2, keepdims=True) for image in (low, high)]
    lengths = [float(np.sqrt((image**2).mean())) for image in colours]
    if min(lengths) < LEAST_COLOUR:
        return "-"
    products = np.einsum("hwa,hwb->ab", *colours) / (colours[0].size * lengths[0] * lengths[1])
    agree = {order: float(sum(products[a, b] for a, b in enumerate(order))) for order in permutations(range(3))}
    best = max(agree, key=lambda order: agree[order])
    return "".join("RGB"[channel] for channel in best) if agree[best] > agree[0, 1, 2] + ORDER_MARGIN else "RGB"


def _detail(image: np.ndarray) -> float:
    """Mean absolute difference of neighbours."""
    return float(np.abs(np.diff(image, axis=0)).mean() + np.abs(np.diff(image, axis=1)).mean()) + 1e-9


# -- Displacement ------------------------------------------------------------------------------------------------------

WORK = 256
"""Images are brought to at most so many pixels a side: finer than that nothing is needed."""
SMALLEST = 96
"""Sides in pixels below which only the shift of an image is found."""
_SMOOTH = 1.5
"""Standard deviation in working pixels of the smoothing."""
_STEPS = 6
_MOST = 0.2
"""Zoom less 1, and turn in radians, beyond which what was found makes no sense."""


@dataclass(frozen=True)
class Alignment:
    """How the first image is displaced against the second; NaN where nothing was found.

    It is shifted by pixels ``down`` and to the ``right``, and about the middle it is ``zoom`` times as large and turned
    clockwise by ``turn`` degrees.
    """

    down: float = math.nan
    right: float = math.nan
    zoom: float = math.nan
    turn: float = math.nan


def align(image: np.ndarray, reference: np.ndarray) -> Alignment:
    """How ``image`` is displaced against ``reference``, both (H, W) and of one size."""
    step = -(-max(image.shape) // WORK)
    small, beside = (_means(pixels, step) for pixels in (image, reference))
    shift = _shift(small, beside)
    found = _follow(small, beside, shift) if min(image.shape) >= SMALLEST and min(small.shape) >= 32 else None
    if found is None:
        return Alignment(step * shift[0], step * shift[1])
    down, right, zoom, turn = found
    return Alignment(step * down, step * right, 1 + zoom, math.degrees(turn))


def _means(image: np.ndarray, step: int) -> np.ndarray:
    height, width = (length // step * step for length in image.shape)
    return image[:height, :width].reshape(height // step, step, width // step, step).mean(axis=(1, 3))


def _shift(image: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """How far ``image`` is below and to the right of ``reference``, in pixels, to a tenth."""
    from skimage.registration import phase_cross_correlation

    window = np.outer(*map(np.hanning, image.shape))  # the edges, which do not go on, would count
    pair = [(pixels - pixels.mean()) * window for pixels in (image, reference)]
    down, right = phase_cross_correlation(*pair, upsample_factor=10, normalization=None)[0]
    return float(down) + 0.0, float(right) + 0.0


def _follow(
    image: np.ndarray, reference: np.ndarray, shift: tuple[float, float]
) -> tuple[float, float, float, float] | None:
    """Shift down and right in pixels, zoom less 1 and turn in radians; None where the steps lead nowhere."""
    from scipy.ndimage import affine_transform, gaussian_filter

    image, reference = (gaussian_filter(pixels.astype(np.float64), _SMOOTH) for pixels in (image, reference))
    middle = (np.array(reference.shape) - 1) / 2
    rows, columns = (np.arange(length) - centre for length, centre in zip(reference.shape, middle, strict=True))
    y, x = rows[:, None], columns[None]
    falls, leans = np.gradient(reference)
    # What a small shift, zoom and turn of the reference change; then brightness and contrast.
    changes = np.stack(
        [-falls, -leans, -falls * y - leans * x, leans * y - falls * x, np.ones_like(reference), reference]
    )
    found = np.array([*shift, 0.0, 0.0])
    for _ in range(_STEPS):
        zoom, turn = 1 + found[2], found[3]
        matrix = zoom * np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        offset = middle + found[:2] - matrix @ middle
        moved = affine_transform(image, matrix, offset, order=1, mode="constant", cval=np.nan)
        seen = np.isfinite(moved)
        if seen.mean() < 0.5:
            return None
        left = changes[:, seen]
        solved = np.linalg.lstsq(left @ left.T, left @ (moved - reference)[seen], rcond=None)[0]
        step = solved[:4]
        found += step
        if np.abs(step[:2]).max() < 0.005 and np.abs(step[2:]).max() * max(middle) < 0.005:
            break
    down, right, zoomed, turned = map(float, found)
    if not np.isfinite(found).all() or abs(zoomed) > _MOST or abs(turned) > _MOST:
        return None
    return down, right, zoomed, turned
