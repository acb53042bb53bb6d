"""Training batches as a pure function of (seed, phase, iteration)."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from multiblock.data.imageset import ImageSet
from multiblock.errors import UserError


class Sampler:
    """Random patch pairs, turned and mirrored at random.

    Images are drawn uniformly with replacement and places uniformly within an image, as in the study. Every
    number comes from a generator seeded by (seed, phase, iteration), so there is no state to save, and a batch
    does not depend on what was drawn before it.

    Args:
        inputs: the set that the span reads.
        targets: HR, with the same images, ``scale`` times as large.

    Raises:
        UserError: the two sets do not hold the same images in the right sizes.
    """

    def __init__(self, inputs: ImageSet, targets: ImageSet, scale: int, seed: int, phase: int) -> None:
        if len(inputs) != len(targets):
            raise UserError(f"{inputs.array}: holds {len(inputs)} images; {targets.array} holds {len(targets)}")
        for low, high in zip(inputs.entries, targets.entries, strict=True):
            if (low.name, low.height * scale, low.width * scale) != (high.name, high.height, high.width):
                raise UserError(
                    f"{inputs.array}: image {low.name} has {low.width} x {low.height} pixels; {targets.array} has "
                    f"{high.name} with {high.width} x {high.height}, where x{scale} is allowed"
                )
        self._inputs, self._targets = inputs, targets
        self._scale = scale
        self._key = (seed, phase)

    def batch(self, iteration: int, size: int, patch: int, augment: str = "all") -> tuple[Tensor, Tensor]:
        """Batch number ``iteration``.

        Args:
            size: how many patches.
            patch: side of an input patch in pixels.
            augment: ``all`` eight rotations and flips, the four ``flips``, or ``none``.

        Returns:
            Inputs (size, 3, patch, patch) and targets (size, 3, scale*patch, scale*patch), float32 in [0, 1].
        """
        draws = np.random.default_rng((*self._key, iteration)).random((size, 5))
        pairs = [self._pair(draw, patch, augment) for draw in draws]
        return _floats([low for low, _ in pairs]), _floats([high for _, high in pairs])

    def _pair(self, draw: np.ndarray, patch: int, augment: str) -> tuple[np.ndarray, np.ndarray]:
        number = int(draw[0] * len(self._inputs))
        low, high = self._inputs[number], self._targets[number]
        top = int(draw[1] * (low.shape[0] - patch + 1))
        left = int(draw[2] * (low.shape[1] - patch + 1))
        turns, mirrored = _TURNS[augment](draw[3]), augment != "none" and draw[4] < 0.5
        cut = _crop(low, top, left, patch)
        scaled = _crop(high, top * self._scale, left * self._scale, patch * self._scale)
        return _turned(cut, turns, mirrored), _turned(scaled, turns, mirrored)


_TURNS: Mapping[str, Callable[[float], int]] = {
    "all": lambda draw: int(draw * 4),
    "flips": lambda draw: 2 * int(draw * 2),  # with the mirroring: along either side, both, or neither
    "none": lambda draw: 0,
}
"""Quarter turns from a number in [0, 1)."""


def _crop(pixels: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    return pixels[top : top + side, left : left + side]


def _turned(pixels: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    pixels = np.rot90(pixels, turns)
    return pixels[:, ::-1] if mirrored else pixels


def _floats(patches: list[np.ndarray]) -> Tensor:
    return to_tensor(np.stack(patches))


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Stored pixels (N, H, W, 3), uint8 or float16, as a float32 tensor (N, 3, H, W) in [0, 1]."""
    tensor = torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float()
    return tensor / 255 if pixels.dtype == np.uint8 else tensor
