"""Tables of a run: what each phase brought and took, images that do not count, names, warnings, captions."""

import json
from dataclasses import asdict

import pytest

from conftest import picture
from made_up import INF, caption, cells, image_set, psnr_csv, record
from multiblock.data import images
from multiblock.errors import UserError
from multiblock.inference.metrics import METRICS, VALUES
from multiblock.networks import zoo
from multiblock.report import budget, comparison, curves, figures, markdown, phases, tables
from multiblock.report.comparison_markdown import as_markdown

TITLES = {1: "N_1", 2: "N", 3: "N"}


def two_of_each(tmp_path):
    """Evaluation CSVs and training records of two seeds and two phases, two images each."""
    csvs, records = {}, {}
    for seed, phase in ((1, 1), (1, 2), (2, 1), (2, 2)):
        before = {"i0": 20.0, "i1": 21.0}
        after = {name: value + phase + seed / 10 for name, value in before.items()}
        csvs[seed, phase] = psnr_csv(tmp_path / f"{seed}{phase}.csv", before, after, phase)
        records[seed, phase] = record(tmp_path / f"{seed}{phase}.json", (1, phase), parameters_chain=phase * 1000)
    return csvs, records


@pytest.fixture
def measured(tmp_path):
    return two_of_each(tmp_path)


def tabled(measured, generated=None, pixels=0):
    return tables.psnr_by_phase(*measured, generated or {}, pixels)


def again(table, folder):
    """A table after it was written and read."""
    tables.write(table, ["seed", "phase"], folder / "table.csv", folder / "times.csv")
    return tables.read(folder / "table.csv", folder / "times.csv")


def said(table, border=2):
    return tables.as_markdown(table, "demo", border, TITLES)


def compare(of, files, baseline):
    """The comparison of runs: the table of each, and the last evaluation CSVs, one a seed."""
    by_seed = {run: dict(zip(of[run].seed.unique(), files[run], strict=True)) for run in of}
    pairs = [(run, baseline) for run in of if run != baseline]
    return comparison.comparison(of, by_seed, curves.looks({}, {}), baseline, pairs, {})


def alone(table, *files):
    """The comparison of a single run."""
    return compare({"demo": table}, {"demo": list(files)}, "demo")


def one_image_set(tmp_path, before, after, **fields):
    """The table of one seed and one phase."""
    csvs = {(1, 1): psnr_csv(tmp_path / "psnr.csv", before, after)}
    return tabled((csvs, {(1, 1): record(tmp_path / "training.json", **fields)}))


def test_gains_and_convention_of_each_phase(measured):
    table = tabled(measured)
    assert list(table.columns[: 2 + len(VALUES)]) == ["seed", "phase", *VALUES]
    assert table.phase.tolist() == ["input", "1", "2"] * 2 and table.seed.tolist() == [1, 1, 1, 2, 2, 2]
    assert table.psnr_rgb_composed.tolist() == pytest.approx([20.5, 21.6, 22.6, 20.5, 21.7, 22.7])
    assert table.span.tolist()[1:3] == ["1", "1-2"]
    text = said(table)
    rows = cells(text)
    assert rows[2][:3] == ["no network", "", "20.500"]
    assert rows[4][:5] == ["2", "1-2", "22.650", "+2.150", "+1.000"] and rows[4][-1] == "N"
    assert "no rounding" in text and "2 pixels" in text and "Seeds: 1, 2" in text
    assert "distinguishable" not in text and "BELOW" not in text


def test_comparison_has_compute_and_deviations(measured):
    table = tabled(measured)
    files = [measured[0][seed, 2] for seed in (1, 2)]
    compared = compare({"demo": table, "slow": table.assign(seconds=4.6)}, {"demo": files, "slow": files}, "demo")
    assert compared.runs.relative_time.tolist() == [1, 2]
    row = compared.runs.iloc[0]
    assert row.iteration_seconds == pytest.approx(2.1 / 7, abs=1e-4)
    assert (row.run, row.seeds, row.block_pixels) == ("demo", 2, 200)
    assert row.psnr_rgb == pytest.approx(22.65) and row.psnr_rgb_sd == pytest.approx(0.0707, rel=1e-2)
    text = as_markdown(compared)
    assert cells(text)[2][:4] == ["demo", "20.500", "22.650", "0.071"] and "distinguishable" not in text
    expected = ["run", "seeds", "psnr_rgb_input", "psnr_rgb", "psnr_y", "ssim_y", "psnr_rgb_sd"]
    assert list(compared.runs.columns[:7]) == expected


# -- What a run takes --------------------------------------------------------------------------------------------------


def test_a_comparison_counts_the_whole_network_and_all_compute(tmp_path):
    csvs, records = {}, {}
    for phase, span in {1: (1, 1), 2: (2, 2), 3: (1, 2), 4: (2, 2)}.items():
        csvs[1, phase] = psnr_csv(tmp_path / f"{phase}.csv", {"a": 20.0}, {"a": 21.0}, phase)
        records[1, phase] = record(tmp_path / f"{phase}.json", span, parameters_chain=10 if phase > 1 else 5)
    table = tabled((csvs, records), generated={1: 1, 3: 1}, pixels=7000)
    assert table.parameters.tolist()[1:] == [5] * 4  # what each phase trained
    assert table.generation_block_pixels.tolist()[1:] == [7000, 0, 7000, 0]
    for given in (table, again(table, tmp_path)):
        row = alone(given, csvs[1, 4]).runs.iloc[0]
        assert (row.parameters, row.block_pixels, row.generation_block_pixels) == (10, 400, 14_000)
    text = as_markdown(alone(table, csvs[1, 4]))
    found = dict(zip(cells(text)[3], cells(text)[5], strict=True))
    assert found["parameters of the whole network"] == "10" and found["block-pixels of LR_k"] == "1.4e+04"
    assert "forward only" in text


def test_a_size_that_no_record_has_is_not_guessed(tmp_path):
    csvs = {(1, 1): psnr_csv(tmp_path / "psnr.csv", {"a": 20.0}, {"a": 21.0})}
    for span, size in (((1, 2), "5"), ((2, 2), "not recorded")):
        table = tabled((csvs, {(1, 1): record(tmp_path / "r.json", span)}))
        assert cells(as_markdown(alone(table, csvs[1, 1])))[5][1] == size


def test_pixels_are_those_of_all_images(tmp_path):
    for split in ("train", "test"):
        image_set(tmp_path / f"{split}.npy", [picture(20, 30), picture(10, 10)])
    assert phases.pixels([tmp_path / "train.csv", tmp_path / "test.csv"]) == 2 * (600 + 100)


# -- Images that equal HR ----------------------------------------------------------------------------------------------


def test_one_unbounded_value_does_not_rule_a_mean(tmp_path):
    before, after = {"black": INF, "a": 20.0, "b": 22.0}, {"black": 50.0, "a": 21.0, "b": 24.0}
    table = one_image_set(tmp_path, before, after)
    assert table.psnr_rgb_composed.tolist() == [21.0, 22.5]
    text = said(table)
    assert cells(text)[3][2:4] == ["22.500", "+1.500"]
    assert "`black` (of PSNR RGB, PSNR-Y, SSIM-Y, PSNR RGB8)" in text
    assert "inf " not in text and "nan" not in text.lower()
    assert table.left_out.tolist() == [json.dumps({metric: ["black"] for metric in METRICS})] * 2


def test_the_same_images_are_left_out_of_every_phase_and_seed(tmp_path):
    csvs, records = {}, {}
    for (seed, phase), value in {(1, 1): 30.0, (1, 2): 31.0, (2, 1): 30.0, (2, 2): INF}.items():
        file = tmp_path / f"{seed}{phase}.csv"
        csvs[seed, phase] = psnr_csv(file, {"flat": 25.0, "a": 20.0}, {"flat": value, "a": 20.0 + phase}, phase)
        records[seed, phase] = record(tmp_path / f"{seed}{phase}.json", (1, phase))
    table = tabled((csvs, records))
    assert table.psnr_rgb_composed.tolist() == [20.0, 21.0, 22.0] * 2
    again(table, tmp_path)
    assert not any(word in (tmp_path / "table.csv").read_text() for word in ("inf", "nan"))


def test_runs_are_compared_on_the_same_images(tmp_path):
    runs = {
        "better": psnr_csv(tmp_path / "better.csv", {"flat": 30.0, "a": 20.0}, {"flat": INF, "a": 21.0}),
        "worse": psnr_csv(tmp_path / "worse.csv", {"flat": 30.0, "a": 20.0}, {"flat": 32.0, "a": 21.5}),
    }
    each = {run: tabled(({(1, 1): file}, {(1, 1): record(tmp_path / "r.json")})) for run, file in runs.items()}
    table = compare(each, {run: [file] for run, file in runs.items()}, "better")
    assert table.runs.psnr_rgb.tolist() == [21.0, 21.5] and table.runs.psnr_rgb_input.tolist() == [20.0, 20.0]
    assert "`flat` (of PSNR RGB" in as_markdown(table)


def test_where_all_images_equal_hr_it_says_so(tmp_path):
    table = one_image_set(tmp_path, {"black": INF}, {"black": INF})
    assert table.psnr_rgb_composed.tolist() == [INF, INF] and not table.below_no_network.any()
    assert cells(said(table))[3][2:4] == ["identical", ""]
    assert cells(as_markdown(alone(table, tmp_path / "psnr.csv")))[2][1:3] == ["identical", "identical"]
    figures.psnr_by_phase(table, tmp_path / "psnr.png")
    worse = one_image_set(tmp_path, {"black": INF}, {"black": 40.0})
    assert worse.psnr_rgb_composed.tolist() == [INF, 40.0] and worse.below_no_network.tolist() == ["", "test"]
    assert "PSNR RGB 40.000 dB on the test images, the input itself identical" in said(worse)
    figures.psnr_by_phase(worse, tmp_path / "psnr.png")


def test_nan_is_never_a_figure(tmp_path):
    file = psnr_csv(tmp_path / "psnr.csv", {"a": 20.0}, {"a": float("nan")})
    for use in (
        lambda: one_image_set(tmp_path, {"a": 20.0}, {"a": float("nan")}),
        lambda: budget.budget([file], [asdict(zoo.sample("imdn_rtc"))], 11.1),
    ):
        with pytest.raises(UserError, match="psnr.csv: image a: found NaN"):
            use()


@pytest.mark.parametrize(("seeds", "noise"), [((1,), True), ((1, 2), False)])
def test_captions_say_what_the_tables_say(tmp_path, monkeypatch, seeds, noise):
    monkeypatch.chdir(tmp_path)
    before, after = {"null": INF, "a_": 20.0}, {"null": 30.0, "a_": 19.0}
    csvs = {(seed, 1): psnr_csv(tmp_path / f"{seed}.csv", before, after) for seed in seeds}
    table = tabled((csvs, {key: record(tmp_path / "training.json") for key in csvs}))
    (tmp_path / "psnr_by_phase.md").write_text(said(table))
    (tmp_path / "comparison.md").write_text(as_markdown(alone(table, *csvs.values())))
    for page in (
        caption("psnr_by_phase", params={"markdown": "psnr_by_phase.md"}),
        caption("comparison", output={"csv": "comparison.csv"}),
    ):
        assert "BELOW NO NETWORK" in page and "null" in page
        assert ("not distinguishable" in page) == noise and "no border cut" in page


# -- Names -------------------------------------------------------------------------------------------------------------

NAMES = ["NA", "null", "nan", "001", "1e5", "True", "", "a|b", '"', "None", "-", "x, y", "#1", "inf"]


def test_images_are_called_what_they_are_called(tmp_path):
    before = {name: 20.0 + number for number, name in enumerate(NAMES)}
    file = psnr_csv(tmp_path / "psnr.csv", before, {name: value + 1 for name, value in before.items()})
    assert phases.read(file).image.tolist() == NAMES * 2
    assert one_image_set(tmp_path, before, before).psnr_rgb_composed.tolist() == [26.5, 26.5]
    figures_of = budget.budget([file], [asdict(zoo.sample("imdn_rtc"))], 11.1)
    assert list(figures_of["images"]) == NAMES
    text = budget.as_markdown({"001": figures_of, "1e5": figures_of}).replace("a\\|b", "a/b")
    assert cells(text)[4] == ["image", "001", "1e5"]
    assert [row[0].replace("\\", "") for row in cells(text)[6:]] == [name.replace("a|b", "a/b") for name in NAMES]


def test_runs_are_called_what_they_are_called(tmp_path):
    csvs = {(1, 1): psnr_csv(tmp_path / "psnr.csv", {"a": 20.0}, {"a": 21.0})}
    records = {(1, 1): record(tmp_path / "training.json", seconds_iterations=None)}
    for name in ("NA", "null", "nan", "None"):
        read = again(tables.psnr_by_phase(csvs, records, {}, 0, shared={1: [name]}), tmp_path)
        assert read.shared_with.tolist() == ["", name] and tables.portion(read).tolist() == [1, 0.5]
        assert read.seconds_iterations.isna().all() and read.parameters_chain.tolist()[1] == 5


def test_cells_are_written_as_they_are_given():
    text = str(markdown.Table(["run", "1e3"], [["001", "1e5"], ["a|b", "<b>"], ["True", 7]]))
    assert cells(text)[0] == ["run", "1e3"] and cells(text)[2] == ["001", "1e5"]
    assert "a\\|b" in text and "&lt;b>" in text and "True" in text


# -- Trainings that went wrong, and noise ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("validation", "after", "below"),
    [
        ({}, 21.0, ""),
        ({}, 19.0, "test"),
        ({"psnr_rgb_validation": 18.0, "psnr_rgb_validation_input": 22.0}, 21.0, "validation"),
        ({"psnr_rgb_validation": 18.0, "psnr_rgb_validation_input": 22.0}, 19.0, "validation and test"),
        ({"psnr_rgb_validation": 23.0, "psnr_rgb_validation_input": 22.0}, 21.0, ""),
    ],
)
def test_a_phase_below_no_network_is_loud(tmp_path, validation, after, below):
    table = again(one_image_set(tmp_path, {"a": 20.0}, {"a": after}, **validation), tmp_path)
    assert table.below_no_network.tolist() == ["", below]
    both = said(table), as_markdown(alone(table, tmp_path / "psnr.csv"))
    assert "a border of 2 pixels cut" in both[0] and "a border of 1 pixel cut" in said(table, border=1)
    for text in both:
        assert text.count("BELOW NO NETWORK") == (2 if below else 0)
        assert ("smaller lr" in text) == bool(below)
        assert "differences under about 0.1 dB are not distinguishable" in text and "±" not in text  # one seed
    assert ("demo a phase **BELOW" in both[1]) == (after > 20 and bool(below))  # not the run, which ends above
    loud = "PSNR RGB 18.000 dB on the validation images, the input itself 22.000 dB" in both[0]
    assert loud == ("validation" in below)
    figures.psnr_by_phase(table, tmp_path / "psnr.png")
    drawn = images.read(tmp_path / "psnr.png").astype(int)
    red = ((drawn[..., 0] > 180) & (drawn[..., 1] < 80) & (drawn[..., 2] < 80)).sum()
    assert (red > 50) == bool(below)


def test_a_table_of_single_blocks_survives_its_file(measured, tmp_path):
    read = again(tabled([{(1, 1): files[1, 1]} for files in measured]), tmp_path)
    assert "seconds" not in (tmp_path / "table.csv").read_text()
    assert "seconds_validation" in (tmp_path / "times.csv").read_text()
    assert read.seconds.dropna().tolist() == [2.5] and read.span.tolist()[1] == "1"


def test_the_budget_is_the_studys(tmp_path):
    # The study's first listing: IMDN_RTC 12 x 5, trained on two sets.
    psnr = {"baby": 33.896461, "bird": 34.132751, "butterfly": 27.678921, "head": 30.755369, "woman": 30.907375}
    psnr_csv(tmp_path / "psnr.csv", dict.fromkeys(psnr, 28.0), psnr)
    figures_of = budget.budget([tmp_path / "psnr.csv"], [asdict(zoo.sample("imdn_rtc"))], 11.1)
    assert (figures_of["parameters"], figures_of["gflops"]) == (21_825, 2.820538368)
    assert figures_of["psnr_rgb8"] == pytest.approx(31.474, abs=1e-3)
    assert figures_of["ranking_score"] == pytest.approx(1_562_734, rel=1e-4)
    assert figures_of["mse_sum"] == pytest.approx(269.993, abs=0.01)
    assert figures_of["within_limit"]
    rows = cells(budget.as_markdown({"rtc": figures_of}))
    assert rows[2][:6] == ["rtc", "21,825", "2.82053837", "yes", "31.474", "+3.474"]
    assert ["butterfly", "27.679"] in rows
