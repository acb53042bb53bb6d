"""What a person sees of a run: few lines, those that move below them, and no error or traceback lost."""

import json
import logging
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

import forked
from conftest import ROOT, write_pairs
from multiblock import config
from multiblock.data.walk import Progress
from multiblock.pace import REPORTS
from multiblock.report import markdown
from multiblock.workflow import overview, running
from multiblock.workflow.overview import Overview
from multiblock.workflow.results import Of, Outside, Results
from multiblock.workflow.running import Job, Outlook, Reports
from multiblock.workflow.store import Store
from multiblock.workflow.terminal import Terminal
from test_workflow import command, jobs, write_config


class Watched:
    """A command whose terminal is watched."""

    def __init__(self, words: list[str], **environment: str) -> None:
        self._master, end = pty.openpty()
        env = {**os.environ, "TERM": "xterm", "PYTHONUTF8": "1", "COLUMNS": "200", **environment}
        self.process = forked.Popen(words, stdout=subprocess.DEVNULL, stderr=end, env=env, start_new_session=True)
        os.close(end)
        self.written = b""

    def read(self) -> bool:
        """Read on; False at the end."""
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            return False
        self.written += data
        return bool(data)

    def until(self, pattern: str) -> "Watched":
        """Wait until something is written."""
        while not re.search(pattern, self.written.decode(errors="replace")):
            assert self.read(), self.written.decode(errors="replace")
        return self

    def end(self) -> tuple[int, str]:
        """The exit status, and all that was written."""
        while self.read():
            pass
        self.close()
        return self.process.wait(timeout=300), self.written.decode()

    def close(self) -> None:
        os.close(self._master)


def last_seen(written: str) -> list[str]:
    """The lines of a terminal after all that was written, as far as the workflow moves its cursor."""
    lines, row, column = [""], 0, 0
    for count, escape, character in re.findall(r"\x1b\[(?:\d+;)?(\d*)([A-Za-z])|([^\x1b])", written):
        if escape == "J":
            lines = [*lines[:row], lines[row][:column]]
        elif escape == "A":
            row -= int(count)
        elif character == "\r":
            column = 0
        elif character == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif character:
            lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
            column += 1
    return [line for line in lines if line]


BLOCK = """import os

from torch import nn


class Mine(nn.Module):
    receptive_field, output_layer, count = 3, "layer", 0

    def __init__(self, *, width: int = 4):
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        Mine.count += 1
        if Mine.count > 40 and os.path.exists("broken"):
            raise ZeroDivisionError("no luck")
        return x + self.layer(x)
"""


def study(folder: Path, iterations: int) -> Path:
    """One run of one phase of a network of one's own, which fails in the midst where there is a file ``broken``."""
    if not (folder / "train").exists():
        write_pairs(folder, train=3, test=2)
    (folder / "mine.py").write_text(BLOCK)
    plan = [{"span": 1, "stages": [{"iterations": iterations, "batch": 2, "patch": 16, "lr": 1e-4}]}]
    runs = {"one": {"chain": ["it"], "plan": plan}}
    write_config(folder, blocks={"it": {"network": "mine.py"}}, runs=runs, report={})
    return folder


def watch(folder: Path, *arguments: str) -> Watched:
    return Watched(command(folder, "--configfile", str(folder / "config.yaml"), "--keep-going", *arguments))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """A finished study, and all that its terminal got."""
    folder = study(tmp_path_factory.mktemp("terminal"), 2000)  # seconds, so that its line is seen to move
    code, written = watch(folder).end()
    assert code == 0, written
    return folder, written


def test_a_run_has_its_plan_a_line_that_moves_one_a_phase_the_table_and_where_to_look(finished):
    _, written = finished
    seen = last_seen(written)
    assert "  1      1       2000        to train" in seen and "run one, seed 1" in seen
    assert re.search(
        r"\rphase 1  [█░]{12}  [ \d]{3}%  \d+ of 2000  \d+ s left, run \d+ s  \S+ it/s", written.replace("\x1b[J", "")
    )
    assert sum(line.startswith("phase 1: ") for line in seen) == 1 and "trains on cpu" in " ".join(seen)
    assert not any("%" in line or "is measured" in line for line in seen), "what moved is gone"
    assert [line.split()[:2] for line in seen if line.startswith(("no network", "1  "))] == [
        ["no", "network"],
        ["1", "1"],
    ]
    assert seen[-2] == "multiblock upscale results/one photo.jpg -o out --trust-code mine.py"
    assert any(line.startswith("results/one/report.html  ") for line in seen) and seen[-1].startswith("done in ")


def test_a_terminal_that_is_closed_ends_nothing(finished):
    folder, _ = finished
    watched = watch(folder, "phase1", "--forcerun", "phase1_1").until(r"phase 1  ")
    watched.close()
    assert watched.process.wait(timeout=300) == 0
    assert "phase1_1" not in jobs(folder), "it is done again"


@pytest.fixture(scope="module")
def long(finished, tmp_path_factory) -> Path:
    """A study that trains until it is stopped; its images were converted before."""
    return study(
        Path(shutil.copytree(finished[0], tmp_path_factory.mktemp("stopped") / "copy", symlinks=True)), 100_000
    )


def test_ctrl_c_ends_in_one_line(long):
    watched = watch(long).until(r"it/s")
    os.killpg(watched.process.pid, signal.SIGINT)
    code, written = watched.end()
    seen = last_seen(written)
    assert code != 0 and "Traceback" not in written and "Exception" not in written
    assert re.fullmatch(r"stopped by SIGINT after iteration \d+ of 100000 of phase 1; the same command .*", seen[-1])
    assert list(long.glob("results/store/phase1_1-*/working/?????????-*.pt")), "from which it goes on"


def test_a_second_ctrl_c_does_not_interrupt_the_end_of_the_first(long):
    watched = watch(long).until(r"it/s")
    for _ in range(20):
        with suppress(ProcessLookupError):  # it may have ended
            os.killpg(watched.process.pid, signal.SIGINT)
        time.sleep(0.03)
    code, written = watched.end()
    assert code != 0 and "Traceback" not in written and "Exception" not in written
    assert "the same command" in last_seen(written)[-1]


@pytest.mark.slow
def test_a_job_that_is_killed_is_named_with_what_became_of_it(long):
    watched = watch(long).until(r"it/s")
    assert "goes on from iteration" in watched.written.decode() or "to train" in watched.written.decode()
    pid = watched.process.pid
    while below := Path(f"/proc/{pid}/task/{pid}/children").read_text().split() or [
        child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]:
        pid = int(below[0])
    os.kill(pid, signal.SIGKILL)
    code, written = watched.end()
    assert code != 0 and "RuleException" not in written and "Traceback" not in written
    line = r"multiblock: stopped in phase1_1 of run one, seed 1: its process was killed \(SIGKILL\), by somebody or"
    assert re.search(line, written) and "the same command goes on from there" in last_seen(written)[-1]


@pytest.mark.slow
def test_after_sigterm_the_job_at_work_goes_on_to_its_end(finished):
    folder, _ = finished
    watched = watch(folder, "phase1", "--forcerun", "phase1_1").until(r"phase 1  \d")
    os.kill(watched.process.pid, signal.SIGTERM)
    code, written = watched.end()
    assert code != 0 and last_seen(written)[-1] == "multiblock: stopped; the same command goes on"
    assert "phase1_1" not in jobs(folder), "the training was finished"


@pytest.mark.slow
def test_of_a_job_that_fails_without_a_word_all_is_shown(finished):
    folder, _ = finished
    (folder / "broken").touch()
    code, written = watch(folder, "--forcerun", "phase1_1").end()
    (folder / "broken").unlink()
    assert code != 0 and "ZeroDivisionError: no luck" in written and "Error in rule phase1_1" in written
    assert re.search(r"multiblock: all that Snakemake said is in \.snakemake/log/\S+\.snakemake\.log", written)
    assert re.search(
        r"multiblock: stopped in phase1_1 of run one, seed 1; its log is results/store/phase1_1-\S+", written
    )


def test_ctrl_c_ends_in_one_line_wherever_it_comes():
    program = "from multiblock.errors import stop_in_one_line\nstop_in_one_line()\nstop_in_one_line()\n"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}

    def said(last: str) -> str:
        return subprocess.run([sys.executable, "-c", program + last], stderr=subprocess.PIPE, env=env, text=True).stderr

    assert said("raise KeyboardInterrupt") == "multiblock: stopped; the same command goes on\n"
    assert "ZeroDivisionError" in said("1 / 0")


SCREEN = """
import subprocess, sys, time
from multiblock.workflow.terminal import Screen
screen = Screen(colours=True)
screen.show(["phase 1  40 %", "", "phase 2  60 %"])
screen.write("phase 1: 32.380 dB")
screen.write("multiblock: error: a.png: cannot be read")
subprocess.run([sys.executable, "-c", "1 / 0"])
screen.show(["phase 2  70 %"])
screen.show([])
"""


def test_lines_that_stay_come_above_those_that_move_and_tracebacks_of_others_are_not_wiped_out():
    _, written = Watched([sys.executable, "-c", SCREEN], PYTHONPATH=str(ROOT / "workflow")).end()
    seen = last_seen(written)
    assert seen[0] == "phase 1: 32.380 dB" and "phase 2  60 %\r\x1b[1A" in written
    assert seen[1] == "multiblock: error: a.png: cannot be read" and "\x1b[1;31mmultiblock: error" in written
    assert (
        seen[2].startswith("Traceback (most recent call last):") and seen[-1] == "ZeroDivisionError: division by zero"
    )
    plain = Watched([sys.executable, "-c", SCREEN], PYTHONPATH=str(ROOT / "workflow"), NO_COLOR="1").end()[1]
    assert "\x1b[1;31m" not in plain and "error: a.png" in plain


# What a phase brought


@pytest.fixture
def known(tmp_path) -> Overview:
    """Of a study with two phases, of which nothing was made yet."""
    stages = [{"iterations": 2, "batch": 2, "patch": 16}]
    plan = [{"span": 1, "stages": stages}, {"span": 2, "start": "inherit_zeroed", "stages": stages}]
    runs = {"one": {"chain": ["small", "small"], "plan": plan}}
    loaded = config.load({"runs": runs, "results": str(tmp_path / "results")})
    results = Results(loaded, Outside({}, lambda name: f"digest of {name}"))
    nothing = {"images": {}, "verdicts": {}, "before": {}, "asked": (), "forced": ()}
    return Overview(study=loaded, results=results, store=Store(tmp_path / "results"), **nothing)


def brought(known: Overview, phase: int, before: dict[str, float], after: dict[str, float]) -> str:
    """What is said of a phase with these measurements."""
    rows = [f"input,{name},{value}" for name, value in before.items()]
    rows += [f"{phase},{name},{value}" for name, value in after.items()]
    written(known, phase, "psnr.csv", "\n".join(["phase,image,psnr_rgb_composed", *rows]) + "\n")
    written(known, phase, "training.json", json.dumps({"seconds": 83.4}))
    return overview.of_phase(known.results, known.store, Of(run="one", seed=1, phase=phase))


def written(known: Overview, phase: int, name: str, text: str) -> None:
    kind = known.results.evaluate if name == "psnr.csv" else known.results.train
    folder = known.store.folder(kind("one", 1, phase).address)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_a_phase_is_said_by_the_means_of_its_images(known):
    assert brought(known, 1, {"a": 30, "b": 32}, {"a": 31, "b": 32.5}) == (
        "phase 1: 31.750 dB, +0.750 over no network, 1 min 23 s"
    )
    assert brought(known, 2, {"a": 30, "b": 32}, {"a": 31.5, "b": 33}) == (
        "phase 2: 32.250 dB, +0.500 over phase 1, 1 min 23 s"
    )
    # An image that equals HR counts in no mean; a mean has four digits, as in the table, and is shown with three.
    brought(known, 1, {"a": 30, "b": 40}, {"a": 31, "b": float("inf")})
    assert brought(known, 2, {"a": 30, "b": 40}, {"a": 33, "b": 41}).startswith(
        "phase 2: 33.000 dB, +2.000 over phase 1"
    )
    assert brought(known, 1, {"a": 30, "b": 30}, {"a": 33.56544, "b": 33.56550}).startswith(
        "phase 1: 33.566 dB, +3.566"
    )
    assert brought(known, 1, {"a": 30}, {"a": 12.5}) == "phase 1: 12.500 dB, BELOW NO NETWORK (30.000 dB), 1 min 23 s"


@pytest.mark.parametrize(
    "text", ["", "phase,image,psnr_rgb_composed", "phase,image\n1,a\n", "phase,image,psnr_rgb_composed\n1,a,many\n"]
)
def test_measurements_that_cannot_be_read_are_pointed_to(known, text):
    written(known, 1, "psnr.csv", text)
    found = overview.of_phase(known.results, known.store, Of(run="one", seed=1, phase=1))
    assert found == f"phase 1: measured, see {known.store.results}/one/seed1/phase1/psnr.csv"


def test_a_sentence_a_pair_is_said(tmp_path):
    plain = {"chain": ["small"], "plan": [{"span": 1, "stages": [{"iterations": 2, "batch": 2, "patch": 16}]}]}
    loaded = config.load({"runs": {"a": plain, "b": plain, "c": {**plain, "equal_to": "b"}}, "results": str(tmp_path)})
    lines = ["b is above a.", "c is above a.", "c is below b.", "a itself first comes to its last PSNR."]
    text = "\n".join(["| run |", markdown.NOTES, *(f"- {line}" for line in lines)])
    (tmp_path / "default_comparison.md").write_text(text)
    assert overview.sentences(loaded) == lines[:3]


# The time left, and what jobs report


def test_what_is_left_follows_from_what_was_measured(known):
    first, second = (known.results.train("one", 1, phase) for phase in (1, 2))
    measured = known.results.evaluate("one", 1, 1)
    outlook = Outlook(known.results, known.store, [first, second, measured], {first.address, second.address})
    assert outlook.seconds_left() is None and outlook.iterations == 4
    pixels = known.results.task("one", 1, 1).block_pixels
    outlook.note_speed(first, 20 / pixels)
    trainings = 4 + 20 * known.results.task("one", 1, 2).block_pixels / pixels  # and PyTorch's start
    assert outlook.seconds_left({first.address: (7, 12)}) == pytest.approx(12 + trainings + 3)
    assert outlook.seconds_left({measured.address: (2, None)}) == pytest.approx(24 + trainings + 1)
    outlook.note_end(first, 60)
    assert outlook.seconds_left() == pytest.approx(trainings + 3)
    outlook.note_end(measured, 10)
    again = Outlook(known.results, known.store, [measured], set())
    again.note_end(known.results.evaluate("one", 1, 2), 10)
    assert again.seconds_left() == 10, "as others of its kind took"
    written(known, 1, "training.json", json.dumps({"block_pixels_per_second": pixels / 5}))
    earlier = Outlook(known.results, known.store, [first], {first.address})
    assert earlier.seconds_left() == pytest.approx(4 + 5), "at the speed of a training before"
    written(known, 1, "working/000000001-abc.pt", "")
    begun = Outlook(known.results, known.store, [first], {first.address})
    half = known.results.task("one", 1, 1).iterations - 1
    assert begun.iterations == half and begun.seconds_left() == pytest.approx(4 + 5 * half / (half + 1))


@pytest.fixture
def reported(tmp_path, monkeypatch) -> Path:
    """Where jobs report."""
    monkeypatch.setenv(REPORTS, str(tmp_path))
    return tmp_path


def log(handler: logging.Handler, text: str = "", level: int = logging.INFO, **fields) -> None:
    handler.handle(logging.makeLogRecord({"msg": text, "levelno": level, "name": "multiblock.x", **fields}))


def test_a_job_reports_how_far_it_is_and_lines_for_a_person(reported):
    job, other = (Job("phase1_1", None, name, reported) for name in ("train.log", "other.log"))
    assert running.reports("train.log") and job.state() == {}
    handler = Reports("train.log", "[seed 1] ")
    log(handler, "3 of 7", progress={"done": 3, "of": 7})
    log(handler, "a detail")
    log(handler, "a picture is left out", name="multiblock.data.remarks")
    assert job.state() == {"done": 3, "of": 7} and list(job.new_lines()) == ["[seed 1] a picture is left out"]
    log(Reports("train.log"), "of another process", logging.WARNING)
    assert list(job.new_lines()) == ["of another process"] and list(job.new_lines()) == []
    handler.ended("error")
    assert job.state()["ended"] == "error" and other.state() == {}
    job.forget()
    assert job.state() == {}


def test_a_job_that_nobody_listens_to_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv(REPORTS, str(tmp_path / "gone"))
    assert running.reports("train.log") is None
    log(Reports("train.log"), "a warning", logging.WARNING, progress={"done": 1, "of": 2})


def test_the_line_of_a_job_begins_with_what_matters(known, reported):
    convert = Job("convert", known.results.convert("photographs"), "convert.log", reported)
    assert convert.line("", {}, "") == "converts images  0 s" and convert.line("", {}, "9 s").endswith("  run 9 s left")
    said = convert.line("", {"done": 200, "of": 800, "seconds_left": 120.0, "note": "5 images/s"}, "2 min 03 s")
    assert re.fullmatch(r"converts images  \S{12}   25%  200 of 800  2 min 00 s left, run 2 min 03 s  5 images/s", said)


def test_a_conversion_reports_the_time_left(monkeypatch, caplog):
    now = iter(range(0, 1000, 10))
    monkeypatch.setattr("multiblock.data.walk.time.monotonic", lambda: float(next(now)))
    caplog.set_level(logging.DEBUG, "multiblock")
    with Progress(10, "images converted") as shown:
        shown.step(4, kept=True)
        shown.step()
    kept, made = (record.progress for record in caplog.records)
    assert kept == {"done": 4, "of": 10, "note": "images"}  # what was kept says nothing of the time that others take
    assert made["done"] == 5 and made["seconds_left"] > 5 * 10 and made["note"].endswith("images/s")


# Snakemake's events


@pytest.fixture
def terminal(known, tmp_path, monkeypatch, request):
    """A terminal that has heard that a training begins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(REPORTS, "")
    settings = SimpleNamespace(quiet={"progress"}, dryrun=False, nocolor=True)
    handler = SimpleNamespace(common_settings=settings, format=logging.Formatter("Snakemake: %(message)s").format)
    made = Terminal(handler, known, getattr(request, "param", False))
    event(made, "workflow_started")
    begin(made)
    yield made
    made._leave()


def event(terminal: Terminal, name: str | None, text: str = "", level: int = logging.INFO, **fields) -> None:
    terminal.emit(logging.makeLogRecord({"msg": text, "levelno": level, "event": name, **fields}))


def begin(terminal: Terminal) -> None:
    digest = terminal._plan.results.train("one", 1, 1).address.rpartition("-")[2]
    job = {"rule_name": "phase1_1", "wildcards": {"digest": digest}, "log": ["train.log"]}
    event(terminal, "job_info", jobid=3, **job)


ENDED = "RuleException:\nCalledProcessError in file train.smk\nCommand 'x' returned non-zero exit status 1."


def fail(terminal: Terminal, message: str = ENDED) -> None:
    event(terminal, "error", message, logging.ERROR, exception="RuleException")
    event(
        terminal, "job_error", "Error in rule phase1_1", logging.ERROR, jobid=3, rule_name="phase1_1", log=["train.log"]
    )
    event(terminal, None, "Exiting because a job execution failed. Look above for error messages", logging.ERROR)
    event(terminal, None, multiblock="failed", logs=[".snakemake/log/1.log"])
    event(terminal, "error", "WorkflowError:\nAt least one job failed.", logging.ERROR, exception="WorkflowError")


def test_the_page_of_what_is_under_way_is_named_once_and_says_when_nothing_is(terminal, known, capfd, monkeypatch):
    folder = known.store.folder(known.results.train("one", 1, 1).address) / "working"
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text(
        "iteration,stage,lr,loss,psnr_rgb_validation,gradient_norm\n1,1,0.1,0.5,30.5,1\n"
    )
    monkeypatch.setattr(terminal, "_quiet", set())
    monkeypatch.setattr(terminal, "_seconds_left", lambda work: 200)
    page = known.store.results / "default_live.html"
    terminal._renew_page()
    assert not page.exists(), "no look at the validation images yet"
    log(Reports("train.log"), progress={"done": 1, "of": 2, "psnr": 30.5, "psnr_input": 29.0})
    for _ in range(2):
        terminal._live._due = 0
        terminal._renew_page()
    assert capfd.readouterr().err == f"{page}  validation PSNR as it comes, in a browser\n"
    assert "phase 1: 1 of 2 iterations" in page.read_text() and "Nothing is at work" not in page.read_text()
    terminal._leave()
    assert "Nothing is at work now; the same command goes on." in page.read_text()


def test_a_job_that_has_said_its_error_is_only_named(terminal, capfd):
    Reports("train.log").ended("error")
    fail(terminal)
    assert capfd.readouterr().err.splitlines() == [
        "multiblock: stopped in phase1_1 of run one, seed 1; its log is train.log",
        "multiblock: what is done is kept; once that is mended, the same command goes on",
    ]


def test_its_error_is_repeated_at_the_end_where_others_went_on_after_it(terminal, capfd):
    begin(terminal)
    Reports("train.log").ended("error", "no room")
    event(
        terminal, "job_error", "Error in rule phase1_1", logging.ERROR, jobid=3, rule_name="phase1_1", log=["train.log"]
    )
    event(terminal, "job_finished", job_id=4)
    event(terminal, None, multiblock="failed", logs=[])
    assert "stopped in phase1_1 of run one, seed 1: no room; its log is train.log" in capfd.readouterr().err


@pytest.mark.parametrize("terminal", [True, False], indirect=True)
def test_what_a_job_has_for_a_person_is_said_once_wherever_it_runs_and_each_try_counts_for_itself(terminal, capfd):
    if terminal._folder.parent.name == ".snakemake":
        assert terminal._folder.is_dir(), "which both machines see"
    log(Reports("train.log", "[one] "), "stopped by SIGTERM", logging.WARNING)
    Reports("train.log").ended("stop")
    event(terminal, "job_error", "Error", logging.ERROR, jobid=3, rule_name="phase1_1", log=["train.log"])
    begin(terminal)
    event(terminal, "job_finished", job_id=3)
    assert capfd.readouterr().err == "[one] stopped by SIGTERM\n"
    event(terminal, None, multiblock="failed", logs=[])
    assert "stopped in" not in capfd.readouterr().err


def test_of_a_job_that_has_said_nothing_all_is_shown(terminal, capfd):
    fail(terminal)
    said = capfd.readouterr().err
    assert said.startswith(
        f"Snakemake: {ENDED}\nSnakemake: Error in rule phase1_1\nmultiblock: all that Snakemake said"
    )
    assert ".snakemake/log/1.log" in said and "At least one" not in said and "Exiting" not in said


@pytest.mark.parametrize(
    ("signal_", "why"),
    [
        ("SIGKILL: 9", "was killed (SIGKILL), by somebody or, where memory ran out, by the system"),
        ("SIGSEGV: 11", "crashed (SIGSEGV): a fault in a library, or of the GPU or its driver"),
        ("SIGHUP: 1", "was ended by SIGHUP"),
    ],
)
def test_a_job_that_a_signal_ended_is_said_in_a_line(terminal, capfd, signal_, why):
    fail(terminal, ENDED.replace("returned non-zero exit status 1.", f"died with <Signals.{signal_}>."))
    line = f"multiblock: stopped in phase1_1 of run one, seed 1: its process {why}; its log is train.log"
    assert capfd.readouterr().err.splitlines()[:-1] == [line]


def test_errors_and_warnings_of_snakemake_s_are_shown_in_full_and_what_it_takes_for_granted_is_not(terminal, capfd):
    event(
        terminal,
        "error",
        "LockException:\nError: Directory cannot be locked.",
        logging.ERROR,
        exception="LockException",
    )
    for message in ("Building DAG of jobs...", "Select jobs to execute...", "Using shell: /bin/bash"):
        event(terminal, None, message)
    event(terminal, None, "an old file is in the way", logging.WARNING)
    assert capfd.readouterr().err == (
        "Snakemake: LockException:\nError: Directory cannot be locked.\nSnakemake: an old file is in the way\n"
    )


def test_a_fault_of_the_terminal_s_own_hides_nothing(terminal, capfd):
    event(terminal, "job_error", "Error in rule x", logging.ERROR)  # with nothing of what it should have
    assert capfd.readouterr().err == "Snakemake: Error in rule x\n"


def test_each_device_is_said_once(terminal, capfd):
    terminal._quiet = set()
    for number in (1, 1, 2):
        log(Reports("train.log"), progress={"device": f"device cuda:{number} (a GPU), precision float32"})
        terminal._hear(terminal._jobs[3])
    assert capfd.readouterr().err == "trains on cuda:1 (a GPU)\ntrains on cuda:2 (a GPU)\n"


def test_elsewhere_a_job_that_takes_long_has_a_line_now_and_then(terminal, capfd, monkeypatch):
    now = time.monotonic()
    for seconds, lines in ((0, 0), (14, 0), (16, 1), (44, 0), (47, 1), (100, 0)):
        monkeypatch.setattr("multiblock.workflow.terminal.time.monotonic", lambda seconds=seconds: now + seconds)
        terminal._write_now_and_then({3: "phase 1   40 %"})
        assert capfd.readouterr().err == "phase 1 40 %\n" * lines, seconds
