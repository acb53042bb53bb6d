"""Measures of how good an image looks, beside PSNR and SSIM, by their papers. Another one is another entry.

They need no trained network. All of them take two images (H, W, 3), uint8, RGB, of equal size, and give one value.
"""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

import numpy as np

_GRAY = np.array([0.299, 0.587, 0.114])
_IN_PHASE = np.array([0.596, -0.274, -0.322])
_QUADRATURE = np.array([0.211, -0.523, 0.312])
"""Y, I and Q of the NTSC colour space, of RGB."""


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A measure of perceived quality.

    Args:
        title: its name for the head of a table.
        what: what it is, for the reference: the end of a sentence that begins with its name.
        higher: whether a higher value is a better image.
        of: from an image and its reference to one value; see the module.
    """

    title: str
    what: str
    higher: bool
    of: Callable[[np.ndarray, np.ndarray], float]

    @property
    def headed(self) -> str:
        """Its title with an arrow to where better is."""
        return f"{self.title} {'↑' if self.higher else '↓'}"


def gray(image: np.ndarray) -> np.ndarray:
    """Y (H, W), 0 to 255, of 8-bit RGB: 0.299 R + 0.587 G + 0.114 B, not rounded."""
    return image.astype(np.float64) @ _GRAY


def gmsd(image: np.ndarray, reference: np.ndarray) -> float:
    """Gradient magnitude similarity deviation: 0 for equal images, higher is worse, about 0.35 for very bad ones.

    Where edges have become weaker or stronger, the similarity of the gradients is low; the measure is its standard
    deviation over the image, so that an even loss counts less than one in places. Gray images at half the size, Prewitt
    filter, constant 170 for pixels of 0 to 255, zeros beyond the border, as the authors' code has it.

    Source: Xue, Zhang, Mou, Bovik, "Gradient Magnitude Similarity Deviation", IEEE Transactions on Image Processing
    23(2), 2014.
    """
    gradients = [_gradient(_halved(gray(each))) for each in (image, reference)]
    return float(_similarity(gradients, 170).std())


def haarpsi(image: np.ndarray, reference: np.ndarray) -> float:
    """Haar wavelet-based perceptual similarity index: 1 for equal images, lower is worse, down to 0.

    At half the size, the Haar coefficients of the two finest scales say how similar the images are at each place, those
    of the third how much the place counts; colour enters by the means of I and Q. C = 30, alpha = 4.2, zeros beyond
    the border, as the authors' code has it. Two black images are equal.

    Source: Reisenhofer, Bosse, Kutyniok, Wiegand, "A Haar wavelet-based perceptual similarity index for image quality
    assessment", Signal Processing: Image Communication 61, 2018.
    """
    constant, alpha = 30, 4.2
    luma, *colours = (
        [_halved(each.astype(np.float64) @ channel) for each in (image, reference)]
        for channel in (_GRAY, _IN_PHASE, _QUADRATURE)
    )
    similar, weights = [], []
    for across in (False, True):
        first, second, third = ([_haar(plane, half, across) for plane in luma] for half in (1, 2, 4))
        similar.append((_similarity(first, constant) + _similarity(second, constant)) / 2)
        weights.append(np.maximum(*third))
    in_phase, quadrature = ([np.abs(_sums(np.pad(p, (0, 1)), 2, 2)) / 4 for p in pair] for pair in colours)
    similar.append((_similarity(in_phase, constant) + _similarity(quadrature, constant)) / 2)
    weights.append((weights[0] + weights[1]) / 2)
    total = sum(weight.sum() for weight in weights)
    if total == 0:
        return 1.0
    pooled = sum((weight / (1 + np.exp(-alpha * one))).sum() for one, weight in zip(similar, weights, strict=True))
    share = pooled / total
    return float((np.log(share / (1 - share)) / alpha) ** 2)


def _similarity(pair: Sequence[np.ndarray], constant: float) -> np.ndarray:
    """How alike two values that are not negative are, place by place: 1 where they are equal."""
    one, other = pair
    return (2 * one * other + constant) / (one**2 + other**2 + constant)


def _halved(plane: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; beyond an odd side there are zeros."""
    plane = np.pad(plane, [(0, side % 2) for side in plane.shape])
    return (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4


def _gradient(plane: np.ndarray) -> np.ndarray:
    """Magnitude of the gradient by Prewitt's filter, thirds of it."""
    padded = np.pad(plane, 1)
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    columns = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return np.hypot(rows[:, 2:] - rows[:, :-2], columns[2:] - columns[:-2]) / 3


def _haar(plane: np.ndarray, half: int, across: bool) -> np.ndarray:
    """Magnitudes of the Haar coefficients with filters of side ``2 * half``, of changes downwards or ``across``."""
    plane = plane.T if across else plane
    sums = _sums(np.pad(plane, (half - 1, half)), half, 2 * half)
    found = np.abs(sums[half:] - sums[:-half]) / (2 * half)
    return found.T if across else found


def _sums(plane: np.ndarray, height: int, width: int) -> np.ndarray:
    """Sums over all windows that fit into a plane."""
    sums = np.pad(plane.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]


MEASURES: dict[str, Measure] = {
    "gmsd": Measure(
        title="GMSD",
        what="is the gradient magnitude similarity deviation (Xue et al. 2014): 0 for equal images, lower is better",
        higher=False,
        of=gmsd,
    ),
    "haarpsi": Measure(
        title="HaarPSI",
        what="is the Haar wavelet-based similarity (Reisenhofer et al. 2018): 1 for equal images, higher is better",
        higher=True,
        of=haarpsi,
    ),
}
"""All measures by name."""


_NO_WEIGHTS = (
    "needs a network trained on ImageNet (VGG, AlexNet), whose weights are in no package; nothing is downloaded here, "
    "and gmsd and haarpsi need none"
)

NOT_HERE = dict.fromkeys(("lpips", "dists"), _NO_WEIGHTS)
"""Measures that are asked for and are not here, and why."""


def measures_in(names: Container[str]) -> list[str]:
    """The measures that are among ``names``, such as the columns of a table, in the order of the registry."""
    return [name for name in MEASURES if name in names]
