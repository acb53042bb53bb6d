"""Small images for the tests, and the places of data that not everyone has."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from multiblock import config
from multiblock.data import images
from multiblock.data.convert import convert
from multiblock.training import trainer

# Two workers on two cores: one thread each.
torch.set_num_threads(1)

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def as_many_checkpoints_as_asked_for(monkeypatch):
    """Tests that want a checkpoint after each iteration get one, however long the disk takes."""
    monkeypatch.setattr(trainer, "_SAVING_SHARE", 1)


@pytest.fixture
def reference_data() -> Path:
    """Benchmark images; their folder is $MULTIBLOCK_DATA, or shared/data beside the project."""
    folder = Path(os.environ.get("MULTIBLOCK_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the benchmark images are not at {folder}; $MULTIBLOCK_DATA can name another folder")
    return folder


def picture(height: int = 48, width: int = 56, seed: int = 0) -> np.ndarray:
    """A small picture with edges and smooth parts, (H, W, 3), uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / rng.uniform(2, 9) + y / rng.uniform(2, 9) + rng.uniform(0, 6)) for _ in range(3)]
    pixels = np.stack(waves, axis=2) * 80 + 128
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    pixels[top : top + height // 3, left : left + width // 3] = rng.uniform(0, 255, 3)
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder with train and test pairs of equal size; LR is a blurred HR."""
    for split, count in (("train", 4), ("test", 2)):
        for kind in ("HR", "LR"):
            (tmp_path / split / kind).mkdir(parents=True)
        for number in range(1, count + 1):
            sharp = picture(seed=number + 10 * count)
            soft = (sharp.astype(int) + np.roll(sharp, 1, 0) + np.roll(sharp, 1, 1)) // 3
            images.write(tmp_path / split / "HR" / f"image{number}.png", sharp)
            images.write(tmp_path / split / "LR" / f"image{number}.png", soft.astype(np.uint8))
    return tmp_path


@pytest.fixture
def arrays(pairs: Path) -> Path:
    """HR and LR sets of the pairs."""
    sets = {"name": "mine", "scale": 1, "train": {"hr": "train/HR", "lr": "train/LR"}, "validation": 1}
    sets["test"] = {"hr": "test/HR", "lr": "test/LR"}
    study = config.load({"data": sets, "data_root": str(pairs)})
    convert(study.runs["mine"].data, pairs / "HR", pairs / "LR")
    return pairs
