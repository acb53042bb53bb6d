"""MATLAB's bicubic."""

import numpy as np
import pytest

from conftest import picture
from multiblock.data import images
from multiblock.data.resize import enlarge, shrink
from multiblock.inference.metrics import psnr_y


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_set5_lr_bit_for_bit(reference_data, scale):
    for file in sorted((reference_data / "Set5" / "HR").iterdir()):
        hr = images.read(file)
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        published = reference_data / "Set5" / "LR_bicubic" / f"X{scale}" / f"{file.stem}x{scale}.png"
        assert np.array_equal(shrink(hr, scale), images.read(published)), file.stem


@pytest.mark.parametrize(("scale", "published"), [(2, 33.66), (3, 30.39), (4, 28.42)])
def test_bicubic_scores_on_set5_as_published(reference_data, scale, published):
    scores = []
    for file in (reference_data / "Set5" / "HR").iterdir():
        hr = images.read(file)
        hr = hr[: hr.shape[0] // scale * scale, : hr.shape[1] // scale * scale]
        scores.append(psnr_y(enlarge(shrink(hr, scale), scale), hr, scale))
    assert np.mean(scores) == pytest.approx(published, abs=0.02)


def cubic(x: np.ndarray) -> np.ndarray:
    """The cubic kernel with a = -0.5."""
    x = np.abs(x)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def resized_directly(line: np.ndarray, length: int) -> np.ndarray:
    """One line of pixels, written from the definition."""
    old = len(line)
    ratio = length / old
    widen = max(1, 1 / ratio)
    result = np.empty(length)
    for i in range(length):
        centre = (i + 0.5) / ratio - 0.5
        places = np.arange(int(centre - 2 * widen) - 1, int(centre + 2 * widen) + 3)
        weights = cubic((places - centre) / widen)
        mirrored = np.concatenate([line, line[::-1]])[places % (2 * old)]
        result[i] = (weights * mirrored).sum() / weights.sum()
    return np.clip(np.floor(result + 0.5), 0, 255)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("up", [False, True])
def test_against_the_definition(scale, up):
    image = picture(24, 36)
    done = enlarge(image, scale) if up else shrink(image, scale)
    height, width = done.shape[:2]
    rows = np.stack([[resized_directly(image[:, x, c], height) for c in range(3)] for x in range(36)], axis=0)
    rows = rows.transpose(2, 0, 1)
    expected = np.stack([[resized_directly(rows[y, :, c], width) for c in range(3)] for y in range(height)])
    assert np.array_equal(done, expected.transpose(0, 2, 1).astype(np.uint8))


def test_flat_images_stay_flat_and_tiny_ones_work():
    flat = np.full((12, 12, 3), 77, np.uint8)
    assert (shrink(flat, 3) == 77).all() and (enlarge(flat, 2) == 77).all()
    assert enlarge(flat[:1, :1], 4).shape == (4, 4, 3)
    assert shrink(flat[:4, :4], 4).shape == (1, 1, 3)
