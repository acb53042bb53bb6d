"""Report pages as files: what is in them, in which order, and that nothing in them leads out."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from conftest import picture
from made_up import INF, PLAN, STAGES, psnr_csv, record, results, run_page, study_page
from multiblock.errors import UserError
from multiblock.page import pages, pictures, plan_picture, rendering, viewer
from multiblock.plan import Block, Phase, Plan
from multiblock.report import curves, sentences, tables
from multiblock.report.curves import Chart, Line


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    return run_page(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return study_page(tmp_path_factory.mktemp("study"))


def data(file: Path, name: str):
    """What a script element of a page holds."""
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', file.read_text())[1])


class Addresses(HTMLParser):
    """All addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found += [(tag, value) for name, value in attributes if name in ("href", "src", "action", "srcset")]


def text_of(file: Path) -> str:
    """What a page says, without tags and data."""
    text = re.sub(r"<(script|style).*?</\1>", "", file.read_text(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_the_sections_stand_in_order(page, study):
    order = ["table", "pictures", "compute", "curves", "errors", "plan", "settings", "files"]
    for file in (page, study):
        assert re.findall(r'<section id="(\w+)"', file.read_text()) == order
        assert file.read_text().index('class="found"') < file.read_text().index('<section id="table"')


def test_the_page_says_what_the_table_says(page):
    table = pd.read_csv(page.with_name("psnr_by_phase.csv")).psnr_rgb_composed
    text = text_of(page)
    gain, joint = table.iloc[-1] - table.iloc[0], table.iloc[-1] - table.iloc[-2]
    assert f"reaches {table.iloc[-1]:.3f} dB" in text and f"{gain:+.3f} dB over the input" in text
    assert f"the joint phase {joint:+.3f} dB" in text and "1 seed x 2 images" in text
    assert "(95 % interval over the images alone " in text
    for cell in (f"no network {table.iloc[0]:.3f}", "floats, no rounding, no border cut", "a border of 2 pixels cut"):
        assert cell in text.replace("  ", " "), cell


def test_nothing_leads_out_of_the_page(page, study):
    for file in (page, study, page.with_name("report_small.html")):
        text = file.read_text()
        for tag, address in Addresses(text).found:
            kept = address.startswith(("data:", "#"))
            assert kept or (tag == "a" and (file.parent / address).is_file()) or address.endswith("/report.html"), (
                address
            )
        assert "default-src 'none'" in text
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_links_lead_to_the_tables(page, study):
    files = {address for tag, address in Addresses(page.read_text()).found if tag == "a" and address[0] != "#"}
    assert {"psnr_by_phase.csv", "times.csv", "seed1/measured3/psnr.csv", "seed1/phase1/history.csv"} <= files
    files = {address for tag, address in Addresses(study.read_text()).found if tag == "a" and address[0] != "#"}
    assert files == {"demo_comparison.csv", "plain/report.html", "other/report.html"}  # no link to what is not there


def test_the_small_page_is_small_and_says_where_the_full_one_lies(page, study):
    small = page.with_name("report_small.html")
    assert small.stat().st_size < rendering.SMALL and "demo/report.html" in text_of(small)
    assert len(data(small, "viewer-data")["cuts"]) <= 2
    assert "demo_report.html" in text_of(study.with_name("demo_report_small.html"))


def test_every_phase_is_in_the_viewer(page):
    cuts = data(page, "viewer-data")["cuts"]
    labels = ["input", "phase 1: N_1", "phase 2: N_2(N_1)", "phase 3: N", "target (HR)"]
    assert [cut["name"] for cut in cuts] == ["image0", "image1"]
    assert [[shown["label"] for shown in cut["pictures"]] for cut in cuts] == [labels, labels]
    assert [(cut["before"], cut["after"], cut["target"]) for cut in cuts] == [(0, 3, 4)] * 2


def test_a_study_shows_its_runs_against_the_baseline(study):
    (cut, _) = data(study, "viewer-data")["cuts"]
    assert [shown["label"] for shown in cut["pictures"]] == ["input", "plain", "other", "target (HR)"]
    assert (cut["before"], cut["after"]) == (1, 2)
    assert cut["pictures"][1]["sum"] != cut["pictures"][0]["sum"]  # of the first seed
    assert re.search(r'<p class="found">other is 0.10 dB above plain', study.read_text())
    compute = data(study, "compute-data")
    assert [series["name"] for series in compute["series"]] == ["plain", "other"]


def test_curves_are_those_of_the_histories(page):
    psnr, first, second = (data(page, f"learning-data-{n}") for n in (1, 2, 3))
    rows = pd.read_csv(page.parent / "seed1" / "phase2" / "history.csv")
    seen = rows[rows.psnr_rgb_validation.notna()]
    (line,) = psnr["series"][1]["lines"]
    assert [point["x"][0] for point in line["points"]] == [30 + n for n in seen.iteration]  # phase 1 has 30 iterations
    assert [point["y"] for point in line["points"]] == pytest.approx(seen.psnr_rgb_validation.tolist(), rel=1e-5)
    assert psnr["lines"] == [{"y": 19.5, "label": "no network"}] and psnr["xs"][0]["most"] == 90
    assert (first["title"], second["title"]) == ("Training loss: l1", "Training loss: l2")
    assert [len(line["points"]) for line in first["series"][0]["lines"]] == [4]
    assert data(page, "compute-data")["lines"] == psnr["lines"]
    compute = data(page, "compute-data")["series"][0]["lines"]
    assert [line["dash"] for line in compute] == ["", "6 4", ""]  # phase 2 is staged
    assert compute[-1]["points"][-1]["x"][0] == 300  # 100 a phase
    said = text_of(page)
    assert "Solid: the whole network" in said and "Dashed: staged" in said and "Dotted curves" not in said
    assert first["y"]["label"] == "training loss, l1; log scale" and "log scale" not in psnr["y"]["label"]


def test_long_histories_are_thinned_to_their_last_row():
    points = [pd.DataFrame({"iteration": range(n), "y": 1.0, "note": ""}) for n in (1001, 10, 1)]
    lines = [Line(name="a", colour=0, points=of) for of in points]
    chart = Chart(title="t", xs={"iteration": "iterations"}, y=("loss", "l1"), lines=lines)
    for most, thinned in ((100, True), (1012, False)):
        drawn = rendering.charts([chart], most)
        found = [[point["x"][0] for point in line["points"]] for line in drawn["compute"]["series"][0]["lines"]]
        assert drawn["thinned"] == thinned and [line[-1] for line in found] == [1000, 9, 0]
        assert sum(map(len, found)) <= (110 if thinned else 1012)


def test_what_is_too_large_for_a_single_file_is_said(tmp_path):
    rendering.write_small(tmp_path / "s.html", "x" * (rendering.SMALL + 1), "demo", "demo/report.html")
    assert "demo/report.html" in text_of(tmp_path / "s.html")


@pytest.mark.parametrize("iterations", [True, False])
def test_a_run_without_looks_or_iterations_has_a_page_too(tmp_path, iterations):
    """Published weights are a phase without iterations: its history is a head without rows."""
    made = results(tmp_path)
    for of in made["phases"].values():
        rows = pd.read_csv(of.history).assign(psnr_rgb_validation=None)
        rows.iloc[: None if iterations else 0].to_csv(of.history, index=False)
    text = text_of(run_page(tmp_path, made))
    assert "Nothing was recorded." in text and ("Training loss: l1" in text) == iterations


def test_losses_of_another_kind_leave_a_gap():
    kinds = ["l1", "l1", "l2", "l2", "l1"]
    table = pd.DataFrame({"iteration": range(1, 6), "loss_a": [0.5, 0.4, 0.3, 0.0, 0.1], "kind_a": kinds})
    charts = map(rendering.chart_data, curves.side_by_side(table, ["a"]))
    seen = [[[point["x"][0] for point in line["points"]] for line in of["series"][0]["lines"]] for of in charts]
    assert seen == [[[1, 2], [5]], [[3]]]  # a loss of 0 has no logarithm


def test_machine_and_settings_come_from_the_records(page):
    text = text_of(page)
    for said in ("a CPU (no GPU here)", "torch 2.13.0", "300 MiB", "1 20 adam 0.001 2 16 l1 all all"):
        assert said in text, said


# -- Names are data ----------------------------------------------------------------------------------------------------

NASTY = "</script><script>bad()</script><img src=x onerror=bad()>&amp;\u2028"


def test_names_stay_text(tmp_path):
    shown = [(NASTY, [(NASTY, picture(20, 20)), ("after", picture(20, 20, seed=1))])]
    viewer.page(NASTY, shown, tmp_path / "c.html")
    text = (tmp_path / "c.html").read_text()
    assert "bad()</script>" not in text and "<img" not in text.replace("</style>", "")
    assert data(tmp_path / "c.html", "viewer-data")["cuts"][0]["name"] == NASTY


def test_marks_of_markdown_are_html_and_all_else_is_text():
    assert rendering.rich("**a <b>** *c* `d*e*` 2 * 3 * 4") == (
        "<strong>a &lt;b&gt;</strong> <em>c</em> <code>d*e*</code> 2 * 3 * 4"
    )


# -- Before and after --------------------------------------------------------------------------------------------------


def test_pictures_of_any_kind_are_shown_at_one_size(tmp_path):
    small = picture(10, 12)
    deep = (picture(20, 24, seed=2).astype(np.uint16)) * 257
    gray = picture(20, 24, seed=3)[..., 0]
    shown = pictures.of_one_size("i", [("input", small), ("deep", deep), ("gray", gray), ("float", deep / 65535)])
    assert [label for label, _ in shown] == ["input, bicubic x2", "deep", "gray", "float"]
    assert all(pixels.shape == (20, 24, 3) and pixels.dtype == np.uint8 for _, pixels in shown)
    assert np.array_equal(shown[1][1], picture(20, 24, seed=2)) and np.array_equal(shown[3][1], shown[1][1])


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        ([("a", picture(20, 20))], "i: found 1 picture; a comparison needs two or more"),
        ([("a", picture(20, 20)), ("b", picture(30, 20))], "i: a has 20 x 20 pixels, the largest picture 20 x 30"),
        ([("a", picture(20, 20)), ("b", np.zeros((5, 5, 4)))], r"i: b has the shape \(5, 5, 4\)"),
    ],
)
def test_pictures_that_do_not_go_together_are_named(tmp_path, shown, says):
    with pytest.raises(UserError, match=says):
        viewer.page("t", [("i", shown)], tmp_path / "c.html")
    assert not list(tmp_path.iterdir())


def test_a_page_keeps_its_limit_and_says_what_it_leaves_out(tmp_path):
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 255, (300, 400, 3), dtype=np.uint8) for _ in range(2)]
    viewer.page("t", [("i", [("a", noise[0]), ("b", noise[1])])], tmp_path / "c.html", limit=400_000)
    assert (tmp_path / "c.html").stat().st_size <= 400_000
    assert "so windows are shown" in text_of(tmp_path / "c.html")
    viewer.page("t", [("i", [("a", noise[0]), ("b", noise[1])])], tmp_path / "c.html")
    assert "windows are shown" not in text_of(tmp_path / "c.html")
    with pytest.raises(UserError, match="allowed are"):
        rendering.write(tmp_path / "d.html", "x" * 100, limit=50)


# -- What was found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"seeds": (1, 2)}, r"95 % interval \+\d+\.\d+ to \+\d+\.\d+, 2 seeds x 2 images"),
        ({"count": 1}, r"1 seed x 1 image: with one seed differences under about 0.1 dB"),
    ],
)
def test_a_run_says_how_sure_it_is_and_is_loud_below_no_network(tmp_path, changes, expected):
    made = results(tmp_path, **changes)
    table = tables.read(made["table"], made["times"])
    last = {seed: of.measured for (seed, phase), of in made["phases"].items() if phase == 3}
    assert re.search(expected, sentences.of_run(table, last, 2)) and "BELOW" not in sentences.of_run(table, last, 2)
    assert "**BELOW NO NETWORK after a phase" in sentences.of_run(table.assign(below_no_network="test"), last, 2)
    assert "cannot be compared" in sentences.of_run(table.assign(psnr_rgb_composed=INF), last, 2)


def test_an_interval_is_of_the_images_that_the_gain_is_of(tmp_path):
    """An image that equals HR after one phase counts in no mean of the table, so it counts in no interval either."""
    csvs, records = {}, {}
    for seed in (1, 2):
        for phase, first in ((1, INF), (2, 40.0)):
            made = tmp_path / f"{seed}{phase}"
            made.mkdir()
            after = {"a": first, "b": 22.0, "c": 23.0}
            csvs[seed, phase] = psnr_csv(made / "psnr.csv", dict.fromkeys(after, 20.0), after, phase)
            records[seed, phase] = record(made / "training.json")
    table = tables.psnr_by_phase(csvs, records, {}, 0)
    said = sentences.of_run(table, {seed: csvs[seed, 2] for seed in (1, 2)}, 1)
    assert "**+2.500 dB over the input**" in said and "2 seeds x 2 images" in said
    low, high = map(float, re.search(r"95 % interval (\S+) to (\S+),", said).groups())
    assert (low + high) / 2 == pytest.approx(2.5, abs=1e-3)


def test_a_study_of_several_runs_is_summed_up(tmp_path):
    text = text_of(study_page(tmp_path, ("plain", "some", "more"), also=[("more", "some")]))
    assert "PSNR RGB): some (+0.100 dB), more (+0.200 dB) above it (95 % intervals, 2 seeds x 2 images)." in text
    assert "Made equal in compute: more (+0.100 dB) above some." in text
    assert "more over some" in text and "more is 0.10 dB above some, 95 % interval" in text
    of = {
        "metric": "psnr_rgb",
        "baseline": "plain",
        "difference": 0.1,
        "seeds": 3,
        "images": 5,
        "why_not": "",
        "folds": 1,
    }
    rows = [
        {**of, "run": "elsewhere", "images": 0, "why_not": "other test images than plain", "ci95_low": None},
        {**of, "run": "some", "ci95_low": 0.05, "ci95_high": 0.15},
        {**of, "run": "fewer", "images": 4, "ci95_low": -0.05, "ci95_high": 0.15},
    ]
    runs = pd.DataFrame({"run": ["plain", "some"], "psnr_rgb": [30.0, 30.1], "below_no_network": ["", ""]})
    compared = SimpleNamespace(differences=pd.DataFrame(rows), runs=runs, baseline="plain")
    assert sentences.of_study(compared) == (
        "Against **plain** (30.000 dB PSNR RGB): some (+0.100 dB) above it; fewer (+0.100 dB) cannot be told apart "
        "from it; elsewhere has no interval against it (95 % intervals, 3 seeds x 5 images or 3 seeds x 4 "
        "images)."
    )
    compared.runs = runs.assign(below_no_network=["", "phase 1, seed 2 (-0.3 dB)"])
    assert sentences.of_study(compared).startswith("**BELOW NO NETWORK after a phase of some: see the notes.** Against")


# -- The plan ----------------------------------------------------------------------------------------------------------


def test_the_plan_in_words():
    lines = list(plan_picture.in_words(PLAN.described()))
    assert lines == [
        "Phase 1 trains block 1 on LR_0, the input: N_1 orthogonal.",
        "Phase 2 trains block 2 on LR_1 of phase 1: N_2 as N_1, zeroed.",
        "Phase 3 trains blocks 1 to 2 on LR_0, the input: N_1 from phase 1; N_2 from phase 2.",
    ]


def test_the_picture_of_a_plan_shows_every_span_and_set():
    phases = [Phase(first=n, last=n, start="orthogonal", stages=STAGES * 3) for n in range(1, 10)]
    whole = Phase(first=1, last=9, start="orthogonal", stages=STAGES)
    plan = Plan(blocks=(Block(network="folder/<b>.py"),) * 9, phases=(*phases, whole))
    svg = str(plan_picture.picture(plan.described()))
    assert svg.count('class="trained"') == 18 and svg.count('class="set"') == 8 and svg.count('class="way"') == 9
    assert "and 4 stages more" in svg and "<b>" not in svg and "LR_8" in svg


def test_records_of_older_versions_are_no_obstacle():
    assert pages.machine([{"stages": [], "versions": None}]) == []
    assert pages.machine([{"segments": [{"name": "GPU", "stages": [{"compiled": True}]}]}])[:2] == [
        ("device", "GPU"),
        ("compiled", "yes"),
    ]
