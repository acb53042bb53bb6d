"""The map of the first derivative of the residual."""

import numpy as np
import pandas as pd
import pytest

from conftest import picture
from made_up import image_set
from multiblock.data import images
from multiblock.report.strips import COLUMNS, derivative, likeness, residual_map, residuals


def test_each_pixel_is_set_against_its_neighbours():
    plane = np.array([[0.0, 4, 4], [0, 4, 10]])
    assert derivative(plane).tolist() == [[2, 4 / 3, 3], [2, 10 / 3, 6]]
    assert derivative(np.full((5, 4), 7.0)).max() == 0


def test_a_residual_that_is_even_has_no_map():
    sharp = picture() // 2
    assert residual_map(sharp + 20, sharp).max() == pytest.approx(0, abs=1e-9)
    step = sharp.copy()
    step[:, 30:] += 10
    expected = np.zeros(sharp.shape[:2])
    expected[:, 29:31] = 10 / 4
    expected[[0, -1], 29:31] = 10 / 3  # at the border of the picture there are three neighbours
    assert residual_map(step, sharp) == pytest.approx(expected, abs=1e-9)


def test_likeness():
    plane = derivative(picture()[..., 0].astype(float))
    assert likeness(plane, 3 * plane + 1) == pytest.approx(1)
    assert likeness(plane, -plane) == pytest.approx(-1)
    assert abs(likeness(plane, np.random.default_rng(0).random(plane.shape))) < 0.1
    assert np.isnan(likeness(plane, np.ones_like(plane)))


def soft(image: np.ndarray, share: float) -> np.ndarray:
    blurred = sum(np.roll(image.astype(float), step, axis) for step in (-1, 1) for axis in (0, 1)) / 4
    return (share * blurred + (1 - share) * image).round().astype(np.uint8)


SHARES = {2: 0.8, 9: 0.5, 10: 0.2}
"""How soft the pictures after these phases are."""


@pytest.mark.parametrize("scale", [1, 2])
def test_the_map_of_every_phase_is_measured_and_the_last_ones_are_drawn(tmp_path, scale):
    sharp = [picture(seed=seed) for seed in (1, 2)]
    image_set(tmp_path / "hr.npy", sharp)
    image_set(tmp_path / "lr.npy", [soft(image, 1)[::scale, ::scale] for image in sharp])
    pictures = {}
    for seed in (1, 2):
        for phase in reversed(SHARES):
            pictures[seed, phase] = tmp_path / f"{seed}_{phase}"
            for name, image in zip(("image0", "image1"), sharp, strict=True):
                images.write(pictures[seed, phase] / f"{name}.png", soft(image, SHARES[phase]))
    out = tmp_path / "maps"
    table = residuals(lr=tmp_path / "lr.npy", hr=tmp_path / "hr.npy", pictures=pictures, count=1, zoom=16, out=out)
    assert tuple(table.columns) == COLUMNS
    assert table.phase.tolist() == [phase for phase in ("input", "2", "9", "10") for _ in range(2)] * 2
    means = table.groupby("phase").derivative.mean()
    assert means["input"] > means["2"] > means["9"] > means["10"] > 0
    row = table[(table.seed == 2) & (table.phase == "9") & (table.image == "image1")].iloc[0]
    assert row.derivative == pytest.approx(residual_map(soft(sharp[1], SHARES[9]), sharp[1]).mean(), abs=1e-5)
    assert [file.name for file in out.iterdir()] == ["image0.png"]
    drawing = images.read(out / "image0.png").astype(int)
    first, before, after, _ = (part.mean() for part in np.array_split(drawing, 4, axis=1))
    assert first > before + 4 > after + 6 and drawing.shape[1] > 900  # white is what the first map reaches


def test_an_input_that_equals_hr_is_no_obstacle(tmp_path):
    flat = [np.full((40, 30, 3), 90, np.uint8)]
    for name in ("hr", "lr"):
        image_set(tmp_path / f"{name}.npy", flat)
    images.write(tmp_path / "one" / "image0.png", flat[0])
    both = {"lr": tmp_path / "lr.npy", "hr": tmp_path / "hr.npy"}
    table = residuals(**both, pictures={(1, 1): tmp_path / "one"}, count=1, zoom=16, out=tmp_path / "maps")
    assert table.derivative.tolist() == [0, 0] and table.correlation.isna().all()
    table.to_csv(tmp_path / "t.csv", index=False)
    assert "nan" not in (tmp_path / "t.csv").read_text()
    assert pd.read_csv(tmp_path / "t.csv").phase.tolist() == ["input", "1"]
