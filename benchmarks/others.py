"""What others do, in a few lines each: how published training codes get their patches."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset


def _augmented(pixels: np.ndarray, turns: int, mirrored: bool) -> torch.Tensor:
    turned = np.rot90(pixels, turns)
    turned = turned[:, ::-1] if mirrored else turned
    return torch.from_numpy(turned.transpose(2, 0, 1).astype(np.float32) / 255)


class _Patches(Dataset):
    """One random pair of patches for each index, from files that are read whole each time."""

    def __init__(self, lr: list[Path], hr: list[Path], patch: int, length: int) -> None:
        self.pairs, self.patch, self.length = list(zip(lr, hr, strict=True)), patch, length
        self.rng = np.random.default_rng(0)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, _: int) -> tuple[torch.Tensor, torch.Tensor]:
        low, high = (self.read(file) for file in self.pairs[self.rng.integers(len(self.pairs))])
        top, left = (int(self.rng.integers(side - self.patch + 1)) for side in low.shape[:2])
        here = slice(top, top + self.patch), slice(left, left + self.patch)
        turns, mirrored = int(self.rng.integers(4)), bool(self.rng.integers(2))
        return _augmented(low[here], turns, mirrored), _augmented(high[here], turns, mirrored)

    @staticmethod
    def read(file: Path) -> np.ndarray:
        raise NotImplementedError


class Decoded(_Patches):
    """Both PNG files are decoded whole for each patch, as the published MCAN code does."""

    @staticmethod
    def read(file: Path) -> np.ndarray:
        """Pixels (H, W, 3), uint8."""
        return np.asarray(Image.open(file))


class Loaded(_Patches):
    """Both arrays are read whole for each patch, as codes in the style of EDSR do."""

    @staticmethod
    def read(file: Path) -> np.ndarray:
        """Pixels (H, W, 3), uint8."""
        return np.load(file)


def loader(patches: _Patches, batch: int, workers: int) -> DataLoader:
    """Batches of patches, made by ``workers`` processes ahead of time."""
    return DataLoader(patches, batch, num_workers=workers)
