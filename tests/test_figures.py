"""Figures of a run and of a study, and strips of pictures."""

import numpy as np
import pandas as pd
import pytest

from conftest import picture
from made_up import INF, psnr_csv, training
from multiblock.data import images
from multiblock.data.imageset import write_set
from multiblock.report import figures
from multiblock.report.curves import losses
from multiblock.report.strips import busiest, strips
from test_report import again, tabled, two_of_each


def test_strips_of_images_called_like_no_value(tmp_path):
    for name in ("NA", "null"):
        images.write(tmp_path / "images" / f"{name}.png", picture())
    with write_set(tmp_path / "hr.npy", [(48, 56)] * 2) as target:
        for name in ("NA", "null"):
            target.add(name, picture())
    strips(
        lr=tmp_path / "hr.npy",
        hr=tmp_path / "hr.npy",
        pictures={(1, 1): tmp_path / "images"},
        measured={(1, 1): psnr_csv(tmp_path / "psnr.csv", {"NA": 20.0, "null": INF}, {"NA": 21.0, "null": INF})},
        titles={1: "N_1"},
        count=2,
        zoom=16,
        out=tmp_path / "strips",
    )
    assert sorted(file.name for file in (tmp_path / "strips").iterdir()) == ["NA.png", "null.png"]
    assert is_drawn(tmp_path / "strips" / "NA.png")


def is_drawn(file) -> bool:
    """Whether a file shows something."""
    shown = images.read(file)
    return shown.std() > 10 and min(shown.shape[:2]) > 100


def test_psnr_by_phase_is_drawn_from_its_file(tmp_path):
    for measured in (two_of_each(tmp_path), [{(1, 1): files[1, 1]} for files in two_of_each(tmp_path)]):
        figures.psnr_by_phase(again(tabled(measured), tmp_path), tmp_path / "psnr.png")
        assert is_drawn(tmp_path / "psnr.png")


def test_the_busiest_place():
    image = np.zeros((40, 50, 3), np.uint8)
    image[20:30, 31:41:2] = 255
    top, left = busiest(image, 12)
    assert 17 <= top <= 20 and 28 <= left <= 31


def history(folder, *rows, stages=1, losses=({"l1": 1.0},)):
    """What a training left: (iteration, loss, and maybe PSNR) a row, ``stages`` as many rows a stage."""
    made = [
        (i, 1 + n // stages if len(losses) > 1 else 1, 1e-3, loss, *(seen or [None]))
        for n, (i, loss, *seen) in enumerate(rows)
    ]
    return training(folder, made, stages=[{"loss": dict(loss)} for loss in losses])


def test_losses_stand_side_by_side(tmp_path):
    one = history(tmp_path / "a", (40, 0.4), (80, 0.2))
    other = history(tmp_path / "b", (40, 0.2), (80, 0.1))
    later = history(tmp_path / "c", (40, 0.05), losses=[{"l2": 0.5, "tv": 1, "content": 0.01}])
    table = losses({"standard": {(1, 1): one, (2, 1): other}, "phased": {(1, 1): one, (1, 2): later}})
    assert list(table.columns) == ["iteration", "loss_standard", "loss_phased", "kind_standard", "kind_phased"]
    assert table.iteration.tolist() == [40, 80, 120]
    assert table.loss_standard.tolist()[:2] == pytest.approx([0.3, 0.15])
    assert table.loss_phased.tolist() == pytest.approx([0.4, 0.2, 0.05])
    assert table.kind_phased.tolist() == ["l1", "l1", "0.5 l2 + tv + 0.01 content"]
    for reference in (None, pd.DataFrame({"loss_standard": [0.5, 0.4]})):
        figures.losses(table, ["standard", "phased"], reference, tmp_path / "f.png")
        assert is_drawn(tmp_path / "f.png")


@pytest.fixture
def panels(monkeypatch):
    """The axes of the figures that are drawn: label of the y axis to the curves there."""
    drawn = {}

    def keep(figure, file):
        for axes in figure.axes:  # the lines where phases begin have no points
            curves = [list(line.get_ydata()) for line in axes.lines if line.get_marker() == "."]
            drawn[axes.get_ylabel().split("\n")[-1]] = curves
            assert (axes.get_yscale() == "log") == axes.get_ylabel().startswith("training loss")

    monkeypatch.setattr(figures, "save", keep)
    return drawn


def test_losses_of_different_kinds_have_axes_of_their_own(tmp_path, panels):
    perceptual = [{"l1": 1.0}, {"l1": 1.0, "content": 0.01}]
    rows = [(10, 0.4), (20, 0.3), (30, 9.0), (40, 8.0)]
    first = history(tmp_path / "a", *rows, stages=2, losses=perceptual)
    second = history(tmp_path / "b", (10, 0.2))
    figures.learning_curves({(1, 1): first, (1, 2): second}, tmp_path / "f.png")
    assert panels["l1"] == [[0.4, 0.3], [0.2]]
    assert panels["l1 + 0.01 content"] == [[9.0, 8.0]]


def test_learning_curves_are_drawn(tmp_path):
    phases = {
        (seed, p): history(tmp_path / f"{seed}{p}", (50, 0.5), (100, 0.2, 22.5)) for seed in (1, 2) for p in (1, 2)
    }
    figures.learning_curves(phases, tmp_path / "curves.png")
    assert is_drawn(tmp_path / "curves.png")


def test_losses_of_runs_compare_where_they_are_of_one_kind(tmp_path, monkeypatch):
    drawn = {}

    def keep(figure, file):
        drawn.update({axes.get_ylabel(): len(axes.lines) for axes in figure.axes})

    monkeypatch.setattr(figures, "save", keep)
    runs = {
        run: {(1, 1): history(tmp_path / f"{run}", (1, 0.2), (2, 0.1), losses=[loss])}
        for run, loss in (("a", {"l1": 1}), ("b", {"l2": 1}), ("c", {"l1": 1}))
    }
    figures.losses(losses(runs), ["a", "b", "c"], None, tmp_path / "f.png")
    assert drawn == {"training loss\nl1": 2, "training loss\nl2": 1}


def test_a_history_without_rows_is_no_obstacle(tmp_path):
    empty, full = history(tmp_path / "a"), history(tmp_path / "b", (40, 0.2))
    for made in ({(1, 1): empty, (1, 2): full}, {(1, 1): empty}):
        figures.learning_curves(made, tmp_path / "f.png")
    assert losses({"run": {(1, 1): empty, (1, 2): full}}).loss_run.tolist() == [0.2]
