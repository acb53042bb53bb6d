"""Measures of perceived quality, against their papers' formulas written down a second time."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.signal import convolve2d

from conftest import picture
from made_up import cells, record
from multiblock import config
from multiblock.cli import main
from multiblock.errors import UserError
from multiblock.inference.measures import MEASURES, gmsd, haarpsi
from multiblock.inference.metrics import METRICS, columns
from multiblock.report import tables
from multiblock.report.phases import means, of_phase
from test_evaluation import copying, run_evaluate
from test_report import tabled

NAMES = sorted(MEASURES)


def conv2(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """MATLAB's ``conv2(plane, kernel, 'same')``, whose middle of an even kernel is the later one."""
    height, width = plane.shape
    top, left = (side // 2 for side in kernel.shape)
    return convolve2d(plane, kernel)[top : top + height, left : left + width]


def halved(plane: np.ndarray) -> np.ndarray:
    return conv2(plane, np.ones((2, 2)) / 4)[::2, ::2]


def yiq(image: np.ndarray) -> list[np.ndarray]:
    matrix = [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]]
    return [sum(factor * image[..., c].astype(float) for c, factor in enumerate(row)) for row in matrix]


def gmsd_directly(image: np.ndarray, reference: np.ndarray) -> float:
    """As the authors' MATLAB code computes it, line by line."""
    dx = np.array([[1, 0, -1]] * 3) / 3
    gradients = []
    for each in (reference, image):
        plane = halved(yiq(each)[0])
        gradients.append(np.sqrt(conv2(plane, dx) ** 2 + conv2(plane, dx.T) ** 2))
    one, other = gradients
    return ((2 * one * other + 170) / (one**2 + other**2 + 170)).std()


def haarpsi_directly(image: np.ndarray, reference: np.ndarray) -> float:
    """As the authors' MATLAB code computes it, line by line."""
    planes = [[halved(plane) for plane in yiq(each)] for each in (reference, image)]

    def similar(a, b):
        return (2 * abs(a) * abs(b) + 30) / (a**2 + b**2 + 30)

    def coefficients(plane, scale, across):
        side = 2**scale
        kernel = 2.0**-scale * np.ones((side, side))
        kernel[: side // 2] *= -1
        return conv2(plane, kernel.T if across else kernel)

    maps, weights = [], []
    for across in (False, True):
        found = [[coefficients(each[0], scale, across) for scale in (1, 2, 3)] for each in planes]
        maps.append((similar(found[0][0], found[1][0]) + similar(found[0][1], found[1][1])) / 2)
        weights.append(np.maximum(abs(found[0][2]), abs(found[1][2])))
    chroma = [[conv2(plane, np.ones((2, 2)) / 4) for plane in each[1:]] for each in planes]
    maps.append(sum(similar(chroma[0][c], chroma[1][c]) for c in (0, 1)) / 2)
    weights.append((weights[0] + weights[1]) / 2)
    share = (np.stack(weights) / (1 + np.exp(-4.2 * np.stack(maps)))).sum() / np.stack(weights).sum()
    return (np.log(share / (1 - share)) / 4.2) ** 2


DIRECTLY = {"gmsd": gmsd_directly, "haarpsi": haarpsi_directly}


def noisy(image: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def softened(image: np.ndarray, times: int) -> np.ndarray:
    result = image.astype(float)
    for _ in range(times):
        result = (result + np.roll(result, 1, 0) + np.roll(result, 1, 1) + np.roll(result, 1, (0, 1))) / 4
    return result.round().astype(np.uint8)


@pytest.mark.parametrize("size", [(48, 56), (37, 51), (11, 11), (40, 33)])
@pytest.mark.parametrize("name", NAMES)
def test_against_the_papers_formulas(name, size):
    reference = picture(*size)
    for image in (noisy(reference, 20), softened(reference, 3), reference // 2, 255 - reference):
        measured = MEASURES[name].of(image, reference)
        assert measured == pytest.approx(DIRECTLY[name](image, reference), abs=1e-9)
        assert isinstance(measured, float)


@pytest.mark.parametrize("image", [picture(), np.zeros((30, 20, 3), np.uint8), np.full((31, 20, 3), 90, np.uint8)])
def test_equal_images(image):
    assert gmsd(image, image) == pytest.approx(0, abs=1e-12)
    assert haarpsi(image, image) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("spoil", [lambda image, much: noisy(image, 8 * much), softened])
@pytest.mark.parametrize("name", NAMES)
def test_worse_images_measure_worse(name, spoil):
    reference = picture(64, 80)
    values = [MEASURES[name].of(spoil(reference, much), reference) for much in (0, 1, 2, 4)]
    assert values == sorted(values, reverse=MEASURES[name].higher) and len(set(values)) == 4
    assert all(-1e-12 <= value <= 1 + 1e-12 for value in values)


# -- In the tables -----------------------------------------------------------------------------------------------------


def test_the_table_of_a_run_shows_the_measures(tmp_path):
    copying(tmp_path / "weights.safetensors")
    sharp = [picture(seed=seed) for seed in (1, 2)]
    soft = [softened(image, 1) for image in sharp]
    measured = run_evaluate(tmp_path, first=1, last=1, lr=soft, hr=sharp, phase=1, measures=["haarpsi"])
    csvs = {(1, 1): tmp_path / "psnr.csv"}
    table = tabled((csvs, {(1, 1): record(tmp_path / "training.json")}))
    assert table.haarpsi_composed.tolist() == [pytest.approx(measured.haarpsi_composed.mean(), abs=1e-5)] * 2
    tables.write(table, ["seed", "phase"], tmp_path / "table.csv", tmp_path / "times.csv")
    table = tables.read(tmp_path / "table.csv", tmp_path / "times.csv")
    text = tables.as_markdown(table, "demo", 1, {1: "N_1"})
    heads, _, before, after, *_ = cells(text)
    place = heads.index("HaarPSI ↑ composed")
    assert before[place] == after[place] == f"{measured.haarpsi_composed.mean():.4f}"
    assert "HaarPSI is the Haar wavelet-based similarity" in text and "GMSD" not in text


def test_runs_of_which_one_was_not_measured_so_are_compared_by_the_rest():
    rows = {"phase": "1", "image": ["a", "b"], **{name: [20.0, 21.0] for name in columns(METRICS)}}
    without, having = pd.DataFrame(rows), pd.DataFrame({**rows, "gmsd_composed": 0.1, "gmsd_staged": 0.1})
    found, _ = means({"without": of_phase(without, 1), "having": of_phase(having, 1)})
    assert found["without"].keys() == found["having"].keys() == set(columns(METRICS))
    assert means({"having": of_phase(having, 1)})[0]["having"]["gmsd_composed"] == 0.1


def test_the_order_in_the_config_makes_no_difference():
    first, other = (config.load({"evaluation": {"measures": order}}).evaluation for order in (NAMES, NAMES[::-1]))
    assert first == other and first.measures == tuple(MEASURES)
    assert config.load({}).evaluation.measures == ()
    with pytest.raises(UserError, match="evaluation.measures, entry 1: found 'gsmd'.*did you mean 'gmsd'"):
        config.load({"evaluation": {"measures": ["gsmd"]}})


@pytest.mark.parametrize("name", ["lpips", "LPIPS", "dists"])
def test_measures_that_need_weights_from_elsewhere_are_refused_with_the_reason(name, capsys):
    why = r"which needs a network trained on ImageNet \(VGG, AlexNet\), .* gmsd and haarpsi need none"
    with pytest.raises(UserError, match=f"evaluation.measures, entry 1: found '{name}', {why}; allowed are gmsd, haar"):
        config.load({"evaluation": {"measures": [name]}})
    with pytest.raises(SystemExit):
        main(["evaluate", "w.safetensors", "--hr", "hr", "--measures", name])
    assert re.search(why, capsys.readouterr().err)
