"""Training batches as a pure function of (seed, phase, iteration)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from multiblock.data.imageset import ImageSet
from multiblock.data.tensors import floats
from multiblock.errors import UserError

_CPU = torch.device("cpu")


class Sampler:
    """Random patch pairs, turned and mirrored at random.

    Images are drawn uniformly with replacement and places uniformly within an image, as in the study. Every
    number comes from a generator seeded by (seed, phase, iteration), so there is no state to save, and a batch
    does not depend on what was drawn before it.

    Patches are views of the stored pixels: turning and mirroring only change strides. On a CPU a view is copied
    into the batch; on a GPU, which holds the pixels where they fit, its strides say what to gather there.

    Args:
        inputs: the set that the span reads.
        targets: HR, with the same images, ``scale`` times as large.
        device: where batches are wanted.
        resident: whether the pixels are kept on the device; None keeps them on a GPU if they fit.

    Raises:
        UserError: the two sets do not hold the same images in the right sizes.
    """

    def __init__(
        self,
        inputs: ImageSet,
        targets: ImageSet,
        scale: int,
        seed: int,
        phase: int,
        device: torch.device = _CPU,
        resident: bool | None = None,
    ) -> None:
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
        size = inputs.pixels.nbytes + targets.pixels.nbytes
        if resident is None:
            resident = device.type == "cuda" and size < _SHARE * torch.cuda.mem_get_info(device)[0]
        source = Resident if resident else Mapped
        self._sources = source(inputs, device), source(targets, device)
        self.about = f"{size / 2**20:,.0f} MiB of pixels {source.where}"

    def batch(self, iteration: int, size: int, patch: int, augment: str = "all") -> tuple[Tensor, Tensor]:
        """Batch number ``iteration``.

        Args:
            size: how many patches.
            patch: side of an input patch in pixels.
            augment: ``all`` eight rotations and flips, the four ``flips``, or ``none``.

        Returns:
            Inputs (size, 3, patch, patch) and targets (size, 3, scale*patch, scale*patch), float32 in [0, 1], on
            the device.
        """
        draws = np.random.default_rng((*self._key, iteration)).random((size, 5)).tolist()
        pairs = [self._pair(draw, patch, augment) for draw in draws]
        low, high = (source.stack(views) for source, views in zip(self._sources, zip(*pairs, strict=True), strict=True))
        return low, high

    def _pair(self, draw: Sequence[float], patch: int, augment: str) -> tuple[np.ndarray, np.ndarray]:
        number = int(draw[0] * len(self._inputs))
        low, high = self._inputs[number], self._targets[number]
        top = int(draw[1] * (low.shape[0] - patch + 1))
        left = int(draw[2] * (low.shape[1] - patch + 1))
        turns, mirrored = _TURNS[augment](draw[3]), augment != "none" and draw[4] < 0.5
        cut = _crop(low, top, left, patch)
        scaled = _crop(high, top * self._scale, left * self._scale, patch * self._scale)
        return _turned(cut, turns, mirrored), _turned(scaled, turns, mirrored)


_SHARE = 0.5
"""Of a GPU's free memory, what pixels may take."""

_TURNS: Mapping[str, Callable[[float], int]] = {
    "all": lambda draw: int(draw * 4),
    "flips": lambda draw: 2 * int(draw * 2),  # with the mirroring: along either side, both, or neither
    "none": lambda draw: 0,
}
"""Quarter turns from a number in [0, 1)."""


def _crop(pixels: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    return pixels[top : top + side, left : left + side]


def _turned(pixels: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    """As ``np.rot90``, then mirrored; spelt out, as that takes longer than copying the patch."""
    if turns & 1:
        pixels = pixels.transpose(1, 0, 2)
    pixels = pixels[:: -1 if turns in (1, 2) else 1, :: -1 if turns & 2 else 1]
    return pixels[:, ::-1] if mirrored else pixels


@dataclass(frozen=True)
class Mapped:
    """Pixels that stay in the memory map: patches are copied out of it, and on to the device."""

    images: ImageSet
    device: torch.device
    where = "mapped from disk"

    def stack(self, views: Sequence[np.ndarray]) -> Tensor:
        """Views (side, side, 3) of the set's pixels to one batch on the device."""
        side = views[0].shape[0]
        planes = np.empty((len(views), 3, side, side), self.images.pixels.dtype)
        for patch, view in zip(planes, views, strict=True):
            # Plane by plane: a turned view read pixel by pixel would take twice as long.
            patch[:] = view.transpose(2, 0, 1)
        patches = torch.from_numpy(planes)
        if self.device.type == "cuda":
            patches = patches.pin_memory().to(self.device, non_blocking=True)
        return floats(patches)


class Resident:
    """Pixels that lie on the device as they are stored; patches are gathered there."""

    where = "on the device"

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        pixels = images.pixels
        self._origin, self._itemsize = pixels.ctypes.data, pixels.itemsize
        self._pixels = torch.empty(pixels.size, dtype=torch.from_numpy(pixels[:0].copy()).dtype, device=device)
        for start in range(0, pixels.size, _CHUNK):  # so that the host never holds it all
            self._pixels[start : start + _CHUNK] = torch.from_numpy(pixels[start : start + _CHUNK].copy())

    def stack(self, views: Sequence[np.ndarray]) -> Tensor:
        """Views (side, side, 3) of the set's pixels to one batch on the device."""
        side = views[0].shape[0]
        places = [(view.ctypes.data - self._origin, *view.strides) for view in views]
        table = torch.tensor(places).div(self._itemsize, rounding_mode="floor")
        if self._pixels.is_cuda:
            table = table.pin_memory().to(self._pixels.device, non_blocking=True)
        start, down, right, channel = table[:, :, None, None, None].unbind(1)
        steps = torch.arange(side, device=table.device)
        indices = start + down * steps[:, None, None] + right * steps[:, None] + channel * steps[:3]
        return floats(self._pixels[indices].permute(0, 3, 1, 2))


_CHUNK = 2**26
