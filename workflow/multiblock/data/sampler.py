"""Stored pixels as tensors, and training batches as a pure function of (seed, phase, iteration)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from multiblock.data.camera import Anew
from multiblock.data.imageset import ImageSet
from multiblock.errors import UserError

_CPU = torch.device("cpu")

Drawn = tuple[Tensor, Tensor]
"""What a batch is made from, in the host's memory: of the inputs, and of the targets."""


def to_tensor(pixels: np.ndarray) -> Tensor:
    """Stored pixels (N, H, W, 3), uint8 or floats with 1.0 as peak, as a float32 tensor (N, 3, H, W)."""
    return floats(torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2))


def floats(pixels: Tensor) -> Tensor:
    """Stored pixels in any order as float32 in [0, 1], in the same order, on their device."""
    tensor = pixels.float()
    # By a tensor: a GPU multiplies by the rounded 1/255 where it is given a number, and differs in the last bit.
    return tensor.div_(tensor.new_full((), 255)) if pixels.dtype == torch.uint8 else tensor


class Sampler:
    """Random patch pairs, turned and mirrored at random.

    Images are drawn uniformly with replacement and places uniformly within an image, as in the study. Every
    number comes from a generator seeded by (seed, phase, iteration), so there is no state to save, and a batch
    does not depend on what was drawn before it. Inputs that are made anew have one for each row, too.

    A patch is a place in the stored pixels and two strides, which turning and mirroring change. On a CPU it is copied
    from there into the batch; on a GPU, which holds the pixels where they fit, it is gathered there.

    Args:
        inputs: the set that the span reads.
        targets: HR, with the same images, ``scale`` times as large.
        device: where batches are wanted.
        resident: whether the pixels are kept on the device; None keeps them on a GPU if they fit.
        rows: the rows of each batch that are wanted, where several processes share it.
        anew: makes the inputs of HR, in place of taking them from the set; then they are not on the device.

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
        rows: slice = slice(None),
        anew: Anew | None = None,
    ) -> None:
        if len(inputs) != len(targets):
            raise UserError(f"{inputs.array}: holds {len(inputs)} images; {targets.array} holds {len(targets)}")
        for low, high in zip(inputs.entries, targets.entries, strict=True):
            if (low.name, low.height * scale, low.width * scale) != (high.name, high.height, high.width):
                raise UserError(
                    f"{inputs.array}: image {low.name} has {low.width} x {low.height} pixels; {targets.array} has "
                    f"{high.name} with {high.width} x {high.height}, where x{scale} is allowed"
                )
        self._scale, self._device = scale, device
        self._key = (seed, phase)
        self._count, self._rows, self._targets, self._anew = len(inputs), rows, targets, anew
        sizes = [(low.height, low.width) for low in inputs.entries]
        self._heights, self._widths = np.array(sizes, np.int64).reshape(-1, 2).T
        self._offsets = [np.array([entry.offset for entry in images.entries], np.int64) for images in (inputs, targets)]
        size = inputs.pixels.nbytes + targets.pixels.nbytes
        if resident is None:
            resident = device.type == "cuda" and size < _SHARE * torch.cuda.mem_get_info(device)[0]
        source = Resident if resident else Mapped
        self._sources = (Mapped if anew else source)(inputs, device), source(targets, device)
        self.about = f"{size / 2**20:,.0f} MiB of pixels {source.where}{', LR drawn anew' if anew else ''}"

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
        return self.patches(self.draw(iteration, size, patch, augment), patch)

    def draw(self, iteration: int, size: int, patch: int, augment: str = "all") -> Drawn:
        """What :meth:`patches` makes batch number ``iteration`` from; all that is random is in it."""
        draws = np.random.default_rng((*self._key, iteration)).random((size, 5))[self._rows].T
        number = (draws[0] * self._count).astype(np.int64)
        width = self._widths[number]
        top = (draws[1] * (self._heights[number] - patch + 1)).astype(np.int64)
        left = (draws[2] * (width - patch + 1)).astype(np.int64)
        turns = _TURNS[augment](draws[3])
        mirrored = (draws[4] < 0.5) & (augment != "none")

        def taken(which: int, by: int) -> Tensor:
            offset = self._offsets[which][number]
            places = _places(offset, width * by, top * by, left * by, patch * by, turns, mirrored)
            return self._sources[which].take(places, patch * by)

        if self._anew is None:
            return taken(0, 1), taken(1, self._scale)
        made = np.empty((len(number), 3, patch, patch), np.uint8)
        for k, row in enumerate(range(size)[self._rows]):
            # Numbered from 1 on: to NumPy a zero at the end is nothing, and the batch itself has these numbers.
            random = np.random.default_rng((*self._key, iteration, row + 1))
            low = np.rot90(self._anew.patch(self._targets[number[k]], top[k], left[k], patch, random), turns[k])
            made[k] = (low[:, ::-1] if mirrored[k] else low).transpose(2, 0, 1)
        return _pinned(torch.from_numpy(made), self._device), taken(1, self._scale)

    def patches(self, drawn: Drawn, patch: int) -> tuple[Tensor, Tensor]:
        """The batch that was drawn with ``patch``: nothing here depends on the host, so that a GPU can repeat it."""
        low, high = (
            source.patches(one, patch * by)
            for source, one, by in zip(self._sources, drawn, (1, self._scale), strict=True)
        )
        return low, high


_SHARE = 0.5
"""Share of a GPU's free memory that pixels may take."""

_TURNS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "all": lambda draws: (draws * 4).astype(np.int64),
    "flips": lambda draws: 2 * (draws * 2).astype(np.int64),  # with the mirroring: along either side, both, or neither
    "none": lambda draws: np.zeros(len(draws), np.int64),
}
"""Quarter turns from numbers in [0, 1)."""


def _places(
    offset: np.ndarray,
    width: np.ndarray,
    top: np.ndarray,
    left: np.ndarray,
    side: int,
    turns: np.ndarray,
    mirrored: np.ndarray,
) -> np.ndarray:
    """The places of patches in the pixels of a set, turned as ``np.rot90`` does, then mirrored: (3, N), int64.

    Rows: the place of a patch's first value, and how many values further its next row and its next column begin.
    """
    start, row, column = offset + 3 * (top * width + left), 3 * width, np.full_like(width, 3)
    transposed, upside_down, flipped = turns % 2 == 1, (turns == 1) | (turns == 2), (turns >= 2) != mirrored
    down, right = np.where(transposed, column, row), np.where(transposed, row, column)
    start += (side - 1) * (down * upside_down + right * flipped)  # there the last row or column comes first
    return np.stack([start, np.where(upside_down, -down, down), np.where(flipped, -right, right)])


@dataclass(frozen=True)
class Mapped:
    """Pixels that stay in the memory map: patches are copied out of it, and on to the device."""

    images: ImageSet
    device: torch.device
    where = "mapped from disk"

    def take(self, places: np.ndarray, side: int) -> Tensor:
        """Patches as they are stored, (N, 3, side, side)."""
        pixels = self.images.pixels
        planes, size = np.empty((places.shape[1], 3, side, side), pixels.dtype), pixels.itemsize
        for patch, (start, down, right) in zip(planes, (places * size).T.tolist(), strict=True):
            # Plane by plane: a turned view read pixel by pixel would take twice as long.
            patch[:] = np.ndarray(patch.shape, pixels.dtype, pixels, start, (size, down, right))
        return _pinned(torch.from_numpy(planes), self.device)

    def patches(self, taken: Tensor, side: int) -> Tensor:
        """The patches as a batch on the device."""
        return floats(taken.to(self.device, non_blocking=True))


class Resident:
    """Pixels that are on the device as they are stored; patches are gathered there."""

    where = "on the device"

    def __init__(self, images: ImageSet, device: torch.device) -> None:
        pixels = images.pixels
        self._pixels = torch.empty(pixels.size, dtype=torch.from_numpy(pixels[:0].copy()).dtype, device=device)
        for start in range(0, pixels.size, _CHUNK):  # so that the host never holds it all
            self._pixels[start : start + _CHUNK] = torch.from_numpy(pixels[start : start + _CHUNK].copy())

    def take(self, places: np.ndarray, side: int) -> Tensor:
        """The places, (3, N)."""
        return _pinned(torch.from_numpy(places), self._pixels.device)

    def patches(self, taken: Tensor, side: int) -> Tensor:
        """The pixels there as a batch."""
        start, down, right = taken.to(self._pixels.device, non_blocking=True)[:, :, None, None, None]
        steps = torch.arange(side, device=self._pixels.device)
        indices = start + down * steps[:, None] + right * steps + steps[:3, None, None]
        return floats(self._pixels[indices])


_CHUNK = 2**26


def _pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor in memory that a GPU reads by itself."""
    return tensor.pin_memory() if device.type == "cuda" else tensor
