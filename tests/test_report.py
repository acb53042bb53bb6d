"""Tables and figures."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from conftest import picture
from multiblock.data import images
from multiblock.inference.evaluation import COLUMNS
from multiblock.inference.metrics import VALUES
from multiblock.networks import zoo
from multiblock.report import budget, figures, tables


@pytest.fixture
def measured(tmp_path):
    """Evaluation CSVs and training records of two seeds and two phases, two images each."""
    csvs, records = {}, {}
    for seed in (1, 2):
        for phase in (1, 2):
            rows = [("input", f"i{n}", *[20.0 + n] * len(VALUES)) for n in (0, 1)]
            rows += [(phase, f"i{n}", *[20.0 + n + phase + seed / 10] * len(VALUES)) for n in (0, 1)]
            csvs[seed, phase] = tmp_path / f"{seed}{phase}.csv"
            pd.DataFrame(rows, columns=COLUMNS).to_csv(csvs[seed, phase], index=False)
            record = {"span": [1, phase], "parameters": 5, "iterations": 7, "block_pixels": 100}
            record |= {"seconds": 2.5, "validation_seconds": 0.4}
            records[seed, phase] = tmp_path / f"{seed}{phase}.json"
            records[seed, phase].write_text(json.dumps(record))
    return csvs, records


def test_psnr_by_phase(measured):
    table = tables.psnr_by_phase(*measured)
    assert list(table.columns[: 2 + len(VALUES)]) == ["seed", "phase", *VALUES]
    assert table.phase.tolist() == ["input", "1", "2"] * 2
    assert table.seed.tolist() == [1, 1, 1, 2, 2, 2]
    assert table.psnr_rgb_composed.tolist() == pytest.approx([20.5, 21.6, 22.6, 20.5, 21.7, 22.7])
    assert table.span.tolist()[1:3] == ["1", "1-2"]


def test_markdown_says_gains_and_convention(measured):
    text = tables.as_markdown(tables.psnr_by_phase(*measured), "demo", border=2)
    assert "| no network |  | 20.500 |" in text
    assert "| 2 | 1-2 | 22.650 | +2.150 | +1.000 |" in text
    assert "no rounding" in text and "2 pixels" in text and "Seeds: 1, 2" in text


def test_comparison_has_compute_and_an_interval(measured):
    table = tables.psnr_by_phase(*measured)
    compared = tables.comparison({"demo": table, "slow": table.assign(seconds=4.6)}, "demo")
    assert compared.relative_time.tolist() == [1, 2]
    row = compared.iloc[0]
    assert row.iteration_seconds == pytest.approx(2.1 / 7, abs=1e-4)
    assert (row.run, row.seeds, row.block_pixels) == ("demo", 2, 200)
    assert row.psnr_rgb == pytest.approx(22.65)
    assert row.psnr_rgb_ci95 == pytest.approx(12.706 * 0.0707 / 2**0.5, rel=1e-2)
    assert "22.650 ± 0.635" in tables.comparison_as_markdown(compared)


def test_figures_are_drawn(measured, tmp_path):
    figures.psnr_by_phase(tables.psnr_by_phase(*measured), tmp_path / "psnr.png")
    histories = {}
    for key in measured[0]:
        histories[key] = tmp_path / f"history{key}.csv"
        text = "iteration,stage,lr,loss,psnr_rgb_validation\n50,1,0.1,0.5,\n100,1,0.1,0.2,22.5\n"
        histories[key].write_text(text)
    figures.learning_curves(histories, tmp_path / "curves.png")
    pictures = [("input\n", picture(24, 28)), ("N\n", picture()), ("HR\n", picture())]
    figures.strip(pictures, 16, tmp_path / "strip.png")
    for name in ("psnr", "curves", "strip"):
        drawn = images.read(tmp_path / f"{name}.png")
        assert drawn.std() > 10 and min(drawn.shape[:2]) > 100


def test_a_table_of_single_blocks_survives_its_file(measured, tmp_path):
    table = tables.psnr_by_phase(*[{(1, 1): files[1, 1]} for files in measured])
    csv, times = tmp_path / "table.csv", tmp_path / "times.csv"
    tables.write(table, ["seed", "phase"], csv, times)
    assert "seconds" not in csv.read_text() and "validation_seconds" in times.read_text()
    again = tables.read(csv, times)
    assert again.seconds.dropna().tolist() == [2.5]
    assert again.span.tolist()[1] == "1"
    figures.psnr_by_phase(again, tmp_path / "psnr.png")
    assert images.read(tmp_path / "psnr.png").std() > 10


def test_the_busiest_place():
    image = np.zeros((40, 50, 3), np.uint8)
    image[20:30, 31:41:2] = 255
    top, left = figures.busiest(image, 12)
    assert 17 <= top <= 20 and 28 <= left <= 31


def history(file, *rows):
    columns = ["iteration", "stage", "lr", "loss", "psnr_rgb_validation"]
    pd.DataFrame([(i, 1, 1e-3, loss, None) for i, loss in rows], columns=columns).to_csv(file, index=False)
    return file


def test_losses_stand_side_by_side(tmp_path):
    one = history(tmp_path / "a.csv", (40, 0.4), (80, 0.2))
    other = history(tmp_path / "b.csv", (40, 0.2), (80, 0.1))
    later = history(tmp_path / "c.csv", (40, 0.05))
    table = tables.losses({"standard": [[one], [other]], "phased": [[one, later]]})
    assert list(table.columns) == ["iteration", "loss_standard", "loss_phased"]
    assert table.iteration.tolist() == [40, 80, 120]
    assert table.loss_standard.tolist()[:2] == pytest.approx([0.3, 0.15])
    assert table.loss_phased.tolist() == pytest.approx([0.4, 0.2, 0.05])
    for reference in (None, pd.DataFrame({"loss_standard": [0.5, 0.4]})):
        figures.losses(table, ["standard", "phased"], reference, tmp_path / "f.png")
        assert images.read(tmp_path / "f.png").std() > 10


def test_a_history_without_rows_is_no_obstacle(tmp_path):
    empty, full = history(tmp_path / "a.csv"), history(tmp_path / "b.csv", (40, 0.2))
    figures.learning_curves({(1, 1): empty, (1, 2): full}, tmp_path / "f.png")
    assert tables.losses({"run": [[empty, full]]}).loss_run.tolist() == [0.2]


def test_the_budget_is_the_studys(tmp_path):
    # The study's first listing: IMDN_RTC 12 x 5, trained on two sets.
    psnr = {"baby": 33.896461, "bird": 34.132751, "butterfly": 27.678921, "head": 30.755369, "woman": 30.907375}
    rows = [("1", name, *[value] * len(VALUES)) for name, value in psnr.items()]
    rows += [("input", name, *[28.0] * len(VALUES)) for name in psnr]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(tmp_path / "psnr.csv", index=False)
    spec = zoo.sample("imdn_rtc")
    figures_of = budget.budget([tmp_path / "psnr.csv"], [asdict(spec)], 11.1)
    assert (figures_of["parameters"], figures_of["gflops"]) == (21_825, 2.820538368)
    assert figures_of["psnr_rgb8"] == pytest.approx(31.474, abs=1e-3)
    assert figures_of["ranking_score"] == pytest.approx(1_562_734, rel=1e-4)
    assert figures_of["mse_sum"] == pytest.approx(269.993, abs=0.01)
    assert figures_of["within_limit"]
    text = budget.as_markdown({"rtc": figures_of})
    assert "| butterfly | 27.679 |" in text and "| rtc | 21,825 | 2.82053837 | yes | 31.474 | +3.474 |" in text
