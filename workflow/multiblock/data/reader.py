"""Read the images of a data set one after another, each file once."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from multiblock.data import images, leaks
from multiblock.data.dataset import DatasetConfig, ImagePair, check_partner
from multiblock.data.remarks import Remarks


class PairReader:
    """Gives the images of a data set as they are trained and measured on, and keeps what is learnt of them.

    ``remarks`` holds what was converted while reading, and what is doubtful.
    """

    def __init__(self, data: DatasetConfig) -> None:
        self.remarks = Remarks()
        self._data, self._looks = data, leaks.Looks(data)
        # The windows of one image come one after another: it is decoded once.
        self._decoded = lru_cache(maxsize=1)(self._read)

    def _read(self, file: Path) -> np.ndarray:
        return images.read(file, self.remarks)

    def size(self, split: str, item: ImagePair, height: int, width: int) -> tuple[int, int]:
        """Height and width of what is taken from an HR image of that size."""
        scale = self._data.scale
        limit = None if split == "train" else self._data.max_side // scale * scale
        height, width = (min(side, limit or side) // scale * scale for side in item.window(height, width)[2:])
        return height, width

    def read(self, split: str, item: ImagePair) -> tuple[np.ndarray, np.ndarray | None]:
        """HR (H, W, 3), uint8, and its partner, ``scale`` times as small; None where LR is to be made.

        Raises:
            UserError: one of the two cannot be read, or their sizes do not match.
        """
        whole = self._decoded(item.hr)
        self._looks.add(split, item, whole)
        top, left, *window = item.window(*whole.shape[:2])
        height, width = self.size(split, item, *whole.shape[:2])
        full = whole[top : top + height, left : left + width]
        if item.lr is None:
            return full, None
        partner = self._read(item.lr)
        # It may have changed since it was looked at.
        check_partner(item, partner.shape[:2], window, self._data.scale)
        return full, partner[: height // self._data.scale, : width // self._data.scale]

    def shared(self) -> list[str]:
        """What is to be warned of in the images that were read: see :func:`multiblock.data.leaks.compare`.

        Raises:
            UserError: a test image has the pixels of a training image.
        """
        return leaks.compare(self._looks, self._data.name)
