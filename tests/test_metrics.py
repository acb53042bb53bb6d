"""PSNR and SSIM under the two conventions."""

import math
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from conftest import picture
from multiblock.data import images, imageset
from multiblock.errors import UserError
from multiblock.inference import metrics


def test_psnr_rgb_is_over_all_channels_without_rounding():
    reference = np.zeros((4, 4, 3))
    image = reference.copy()
    image[..., 0] = 0.1
    assert metrics.psnr_rgb(image, reference) == pytest.approx(-10 * math.log10(0.01 / 3))
    assert metrics.psnr_rgb(image + 1e-4, reference) != metrics.psnr_rgb(image, reference)
    assert metrics.psnr_rgb(reference, reference) == math.inf


def test_luma_of_the_corners_of_the_cube():
    corners = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert metrics.luma(corners)[0] == pytest.approx([16, 235, 16 + 65.481, 16 + 128.553, 16 + 24.966])


def test_psnr_y_cuts_the_border():
    reference = picture()
    image = reference.copy()
    image[:2], image[-2:], image[:, :2], image[:, -2:] = 0, 0, 0, 0
    assert metrics.psnr_y(image, reference, 2) == math.inf
    assert metrics.psnr_y(image, reference, 1) < 40


def test_psnr_y_of_a_known_difference():
    reference = np.full((16, 16, 3), 100, np.uint8)
    difference = 219 / 255 * 10
    assert metrics.psnr_y(reference + 10, reference, 0) == pytest.approx(20 * math.log10(255 / difference))


def test_to_bytes_rounds_half_up_and_cuts():
    values = np.array([-0.2, 0.5 / 255, 0.499 / 255, 254.5 / 255, 1.7])
    assert metrics.to_bytes(values).tolist() == [0, 1, 0, 255, 255]


@pytest.mark.parametrize("name", ["chelsea.png", "coffee.png"])
def test_ssim_agrees_with_scikit_image_on_photographs(name):
    reference = images.read(Path(str(files("skimage").joinpath("data", name))))[:300, :400]
    for image in (np.roll(reference, 1, 1), reference // 32 * 32, 255 - reference, reference):
        planes = [metrics.luma(pixels_)[3:-3, 3:-3] for pixels_ in (image, reference)]
        theirs = structural_similarity(
            *planes, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        assert metrics.ssim_y(image, reference, 3) == pytest.approx(theirs, abs=1e-10)


def test_large_images_are_measured_in_strips_to_the_same_figures(monkeypatch):
    rng = np.random.default_rng(0)
    reference = rng.random((70, 41, 3)).astype(np.float32)
    noisy = (reference + 0.1 * rng.standard_normal(reference.shape)).astype(np.float32)
    whole = metrics.measure(noisy, reference, 2)
    for rows in (1, 7, 33):
        monkeypatch.setattr(imageset, "_ROWS", rows)
        assert metrics.measure(noisy, reference, 2) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_no_psnr(bad):
    reference = (picture() / 255).astype(np.float32)
    image = reference.copy()
    image[7, 5, 1] = bad
    for measured in (metrics.measure, metrics.psnr_rgb):
        with pytest.raises(UserError, match="image1, as w.safetensors makes it: found pixels that are not finite"):
            measured(image, reference, 1, what="image1, as w.safetensors makes it")
    with pytest.raises(UserError, match="not finite"):
        metrics.to_bytes(image)


@pytest.mark.parametrize(("height", "border", "fits"), [(15, 2, True), (14, 2, False), (12, 1, False), (8, 4, False)])
def test_what_the_border_leaves_must_hold_the_window(height, border, fits):
    reference = picture(height, 40) / 255
    if fits:
        assert 0 < metrics.measure(reference * 0.9, reference, border, "a")["ssim_y"] < 1
        return
    with pytest.raises(UserError, match=f"a: found 40 x {height} pixels and a border of {border}"):
        metrics.measure(reference * 0.9, reference, border, "a")


def test_a_border_that_leaves_nothing_is_no_perfect_result():
    with pytest.raises(UserError, match="found no pixels"):
        metrics.psnr_y(picture(10, 40), picture(10, 40, seed=1), 5)


def test_means_are_over_the_same_images():
    before = {"black": math.inf, "a": 20.0, "b": 22.0}
    after = {"black": 50.0, "a": 23.0, "b": 24.0}
    flat = {"black": 51.0, "a": math.inf, "b": 25.0}
    assert metrics.means([before, after]) == ([21.0, 23.5], ["black"])
    assert metrics.means([before, after, flat]) == ([22.0, 24.0, 25.0], ["black", "a"])
    assert metrics.means([after]) == ([pytest.approx(97 / 3)], [])


def test_where_every_image_is_identical_somewhere_all_count():
    assert metrics.means([{"black": math.inf}, {"black": 40.0}]) == ([math.inf, 40.0], [])
    assert metrics.means([{"black": math.inf}]) == ([math.inf], [])


def test_a_mean_of_nan_is_an_error():
    with pytest.raises(ValueError, match="NaN"):
        metrics.means([{"a": 20.0, "b": math.nan}])
