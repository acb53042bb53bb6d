"""PSNR and SSIM under the two conventions."""

import math

import numpy as np
import pytest

from conftest import picture
from multiblock.data import pixels
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


def ssim_directly(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of two planes from its definition: Gaussian window 11 x 11, sigma 1.5, whole windows only."""
    axis = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(axis, axis) / axis.sum() ** 2
    windows = [np.lib.stride_tricks.sliding_window_view(plane, (11, 11)) for plane in (a, b)]
    mean = [(w * window).sum((2, 3)) for w in windows]
    variance = [(w**2 * window).sum((2, 3)) - m**2 for w, m in zip(windows, mean, strict=True)]
    covariance = (windows[0] * windows[1] * window).sum((2, 3)) - mean[0] * mean[1]
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean[0] * mean[1] + c1) * (2 * covariance + c2)
    return (top / ((mean[0] ** 2 + mean[1] ** 2 + c1) * (variance[0] + variance[1] + c2))).mean()


def test_ssim_against_its_definition():
    reference = picture()
    image = np.clip(reference.astype(int) + np.random.default_rng(0).integers(-20, 20, reference.shape), 0, 255)
    image = image.astype(np.uint8)
    planes = [metrics.luma(pixels_)[2:-2, 2:-2] for pixels_ in (image, reference)]
    assert metrics.ssim_y(image, reference, 2) == pytest.approx(ssim_directly(*planes), abs=1e-6)
    assert metrics.ssim_y(reference, reference, 0) == pytest.approx(1)


def test_the_two_conventions_differ_by_what_is_known():
    reference = picture() / 255
    noisy = np.clip(reference + np.random.default_rng(0).normal(0, 0.05, reference.shape), 0, 1)
    measured = metrics.measure(noisy, reference, 2)
    assert 2 < measured["psnr_y"] - measured["psnr_rgb"] < 7


def test_large_images_are_measured_in_strips_to_the_same_figures(monkeypatch):
    rng = np.random.default_rng(0)
    reference = rng.random((70, 41, 3)).astype(np.float32)
    noisy = (reference + 0.1 * rng.standard_normal(reference.shape)).astype(np.float32)
    whole = metrics.measure(noisy, reference, 2)
    for rows in (1, 7, 33):
        monkeypatch.setattr(pixels, "_ROWS", rows)
        assert metrics.measure(noisy, reference, 2) == pytest.approx(whole, rel=1e-12)
