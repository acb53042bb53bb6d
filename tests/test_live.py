"""The page of a study under way: it shows what the histories hold, costs little, and ends nothing."""

import json
import re
from pathlib import Path

import pytest

from multiblock import config
from multiblock.workflow import live
from multiblock.workflow.live import Live
from multiblock.workflow.results import Outside, Results
from multiblock.workflow.store import Store
from test_page import data, text_of

HEAD = "iteration,stage,lr,loss,psnr_rgb_validation,gradient_norm\n"


@pytest.fixture
def results(tmp_path) -> Results:
    """Of a run with two phases of ten iterations and two seeds; of the first seed phase 1 is made."""
    stages = [{"iterations": 10, "batch": 2, "patch": 16}]
    plan = [{"span": 1, "stages": stages}, {"span": 2, "start": "inherit_zeroed", "stages": stages}]
    runs = {"one": {"chain": ["small", "small"], "plan": plan}}
    study = config.load({"runs": runs, "seeds": [1, 2], "results": str(tmp_path), "study": "demo"})
    found = Results(study, Outside({}, lambda name: f"digest of {name}"))
    task, folder = found.task("one", 1, 1), folder_of(found, 1, 1)
    write(folder / "history.csv", [(5, 29.5), (10, 30.0)])
    about = {"span": [1, 1], "block_pixels": task.block_pixels, "stages": [{"iterations": 10, "batch": 2, "patch": 16}]}
    (folder / "training.json").write_text(json.dumps({**about, "psnr_rgb_validation_input": 29.0}))
    (folder / "made.json").write_text("{}")
    return found


def folder_of(results: Results, seed: int, phase: int) -> Path:
    return Path(results.study.results, "store", results.train("one", seed, phase).address)


def write(history: Path, looks: list[tuple[int, float]]) -> None:
    history.parent.mkdir(parents=True, exist_ok=True)
    history.write_text(HEAD + "".join(f"{at},1,0.001,0.5,{psnr},1\n" for at, psnr in looks))


def begin(results: Results) -> tuple[Live, dict]:
    """Phase 2 of the first seed is under way, and phase 1 of the second."""
    write(folder_of(results, 1, 2) / "working" / "history.csv", [(5, 30.5)])
    write(folder_of(results, 2, 1) / "working" / "history.csv", [(5, 29.25)])
    report = {"of": 10, "psnr": 30.5, "psnr_input": 29.0}
    states = {results.train("one", seed, phase).address: {**report, "done": 7} for seed, phase in ((1, 2), (2, 1))}
    return Live(results, Store(Path(results.study.results))), states


def test_the_page_shows_what_has_been_trained_so_far(results):
    page, states = begin(results)
    line = page.renew(states, 200)
    assert line == f"{page.file}  validation PSNR as it comes, in a browser" and page.renew(states, 200) == ""
    chart = data(page.file, "compute-data")
    (series,) = chart["series"]
    found = [[(point["x"], point["y"]) for point in line["points"]] for line in series["lines"]]
    # Iterations x 2 patches of 16 x 16 pixels; phase 2 is on cached images, and a seed has lines of its own.
    assert found == [[([2560], 29.5), ([5120], 30)], [([7680], 30.5)], [([2560], 29.25)]]
    assert series["lines"][1]["points"][0]["note"] == "seed 1, phase 2, iteration 5, staged"
    assert chart["lines"] == [{"y": 29.0, "label": "no network"}] and len(chart["xs"]) == 1
    text = text_of(page.file)
    assert "1 of 4 phases are trained." in text and "it renews itself every 5 seconds" in text
    assert "one 1 30.500 phase 2: 7 of 10 iterations one 2 29.250 phase 1: 7 of 10 iterations" in text


def test_of_a_run_that_was_stopped_it_shows_where(results):
    page, states = begin(results)
    page.renew(states, 200)
    (folder_of(results, 2, 1) / "working" / "000000007-abc.pt").touch()
    page.end(finished=False)
    said = text_of(page.file)
    assert "Nothing is at work now" in said and "phase 1: stopped at iteration 7" in said


def test_at_the_end_it_leads_to_the_reports_and_is_read_no_more(results):
    page, states = begin(results)
    page.end(finished=True)
    assert not page.file.exists(), "nobody has seen it"
    page.renew(states, 200)
    page.end(finished=False)
    assert "Nothing is at work now" in text_of(page.file) and 'data-renews="5"' in page.file.read_text()
    (page.file.parent / "one").mkdir()
    (page.file.parent / "one" / "report.html").touch()
    page.end(finished=True)
    assert 'data-renews="0"' in page.file.read_text()
    assert re.findall('href="([^"]+)"', page.file.read_text()) == ["data:,", "one/report.html"]


def test_what_is_not_worth_a_page_has_none(results):
    page, states = begin(results)
    assert page.renew(states, 119) == "" and page.renew({"phase1_1-0": {"done": 3, "of": 10}}, 200) == ""
    assert not page.file.exists()


def test_it_takes_a_hundredth_of_the_time_at_most(results, monkeypatch):
    page, states = begin(results)
    clock = iter([1.0, 1.2])
    monkeypatch.setattr(live.time, "thread_time", lambda: next(clock))
    monkeypatch.setattr(live.time, "monotonic", lambda: now)
    now = 50.0
    page.renew(states, 200)
    now = 69.9
    assert not page.is_due()
    now = 70.0
    assert page.is_due()


def test_a_page_that_cannot_be_written_is_said_once(results, monkeypatch):
    page, states = begin(results)

    def full(file: Path, text: str) -> None:
        raise OSError(28, "No space left on device", str(file))

    monkeypatch.setattr(live, "write_text", full)
    line = page.renew(states, 200)
    assert line.startswith("warning: ") and "No space left on device" in line and "all else goes on" in line
    assert page.renew(states, 200) == "" and not page.file.exists()


def test_a_history_that_is_being_written_is_read_the_next_time(results):
    page, states = begin(results)
    history = folder_of(results, 1, 2) / "working" / "history.csv"
    history.write_text("")
    assert page.renew(states, 200) == "" and not page.file.exists()
    write(history, [(5, 30.5)])
    assert page.renew(states, 200).startswith(str(page.file))
