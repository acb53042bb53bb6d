"""What a person sees of a run: few lines, those that move below them, and no error or traceback lost."""

import json
import logging
import os
import pty
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from multiblock.workflow.layout import Layout

from conftest import ROOT
from multiblock import config
from multiblock.data import walk
from multiblock.plan import Block, Stage, Task
from multiblock.report import markdown
from multiblock.workflow import outcome, tells
from multiblock.workflow.at_work import AtWork
from multiblock.workflow.outlook import Job, Outlook
from multiblock.workflow.terminal import Terminal

HEAD = "phase,image,psnr_rgb_composed"


def measured(folder, phase: int, before: dict[str, float], after: dict[str, float]) -> None:
    folder.mkdir(parents=True)
    rows = [f"input,{name},{value}" for name, value in before.items()]
    rows += [f"{phase},{name},{value}" for name, value in after.items()]
    (folder / "psnr.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    (folder / "training.json").write_text(json.dumps({"seconds": 83.4}))


@pytest.fixture
def layout(tmp_path) -> Layout:
    """Of a study with two phases."""
    stages = [{"iterations": 2, "batch": 2, "patch": 16}]
    plan = [{"span": 1, "stages": stages}, {"span": 2, "start": "inherit_zeroed", "stages": stages}]
    runs = {"one": {"chain": ["small", "small"], "plan": plan}}
    return Layout(config.load({"runs": runs, "results": str(tmp_path / "results")}))


def test_a_phase_is_told_by_the_means_of_its_images(layout, tmp_path):
    seed = tmp_path / "results/one/seed1"
    measured(seed / "phase1", 1, {"a": 30, "b": 32}, {"a": 31, "b": 32.5})
    assert outcome.of_phase(layout, "one", 1, 1) == "phase 1: 31.750 dB, +0.750 over no network, 1 min 23 s"
    measured(seed / "phase2", 2, {"a": 30, "b": 32}, {"a": 31.5, "b": 33})
    assert outcome.of_phase(layout, "one", 1, 2) == "phase 2: 32.250 dB, +0.500 over phase 1, 1 min 23 s"


def test_a_mean_is_rounded_as_in_the_table(layout, tmp_path):
    """There it is kept to four digits, and shown with three."""
    measured(tmp_path / "results/one/seed1/phase1", 1, {"a": 30, "b": 30}, {"a": 33.56544, "b": 33.56550})
    assert outcome.of_phase(layout, "one", 1, 1).startswith("phase 1: 33.566 dB, +3.566 over no network")


def test_an_image_that_equals_hr_counts_in_no_mean(layout, tmp_path):
    seed = tmp_path / "results/one/seed1"
    measured(seed / "phase1", 1, {"a": 30, "b": 40}, {"a": 31, "b": "inf"})
    measured(seed / "phase2", 2, {"a": 30, "b": 40}, {"a": 33, "b": 41})
    assert outcome.of_phase(layout, "one", 1, 2).startswith("phase 2: 33.000 dB, +2.000 over phase 1")


def test_a_phase_below_no_network_is_loud(layout, tmp_path):
    seed = tmp_path / "results/one/seed1"
    measured(seed / "phase1", 1, {"a": 30}, {"a": 12.5})
    assert outcome.of_phase(layout, "one", 1, 1) == "phase 1: 12.500 dB, BELOW NO NETWORK (30.000 dB), 1 min 23 s"


@pytest.mark.parametrize("text", ["", HEAD, "phase,image\n1,a\n", f"{HEAD}\ninput,a,30\n1,a,many\n"])
def test_measurements_that_cannot_be_read_are_pointed_to(layout, tmp_path, text):
    folder = tmp_path / "results/one/seed1/phase1"
    folder.mkdir(parents=True)
    (folder / "psnr.csv").write_text(text)
    assert outcome.of_phase(layout, "one", 1, 1) == f"phase 1: measured, see {folder / 'psnr.csv'}"


def test_pictures_are_named_and_the_command_that_uses_a_network_of_ones_own_trusts_its_code(tmp_path):
    block = "from torch import nn\n\n\nclass Mine(nn.Module):\n    def __init__(self, *, width: int = 4): ...\n"
    (tmp_path / "mine.py").write_text(block)
    plan = [{"span": "1-2", "stages": [{"iterations": 2, "batch": 2, "patch": 16}]}]
    for network, end in (("mcan", ""), (str(tmp_path / "mine.py"), f" --trust-code {tmp_path}/mine.py")):
        given = {"blocks": {"it": {"network": network}}, "runs": {"one": {"chain": ["it", "it"], "plan": plan}}}
        layout = Layout(config.load({**given, "results": str(tmp_path / "results")}))
        folder = tmp_path / "results/one/seed1/phase1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.safetensors").touch()
        pictures = tmp_path / "results/one/upscaled"
        pictures.mkdir(exist_ok=True)
        *files, said = outcome.where(layout.study, layout)
        assert files == [f"{pictures}/  your own pictures, as the network makes them"]
        assert said == f"multiblock upscale {tmp_path}/results/one photo.jpg -o out{end}"


def test_the_notes_of_a_comparison_are_found_where_they_are_written():
    assert outcome.NOTES == markdown.NOTES


def test_a_sentence_a_pair_is_said(tmp_path):
    plan = [{"span": 1, "stages": [{"iterations": 2, "batch": 2, "patch": 16}]}]
    plain = {"chain": ["small"], "plan": plan}
    runs = {"a": plain, "b": plain, "c": {**plain, "equal_to": "b"}}
    study = config.load({"runs": runs, "results": str(tmp_path)})
    lines = ["b is above a.", "c is above a.", "c is below b.", "a itself first comes to its last PSNR."]
    text = "\n".join(["| run |", markdown.NOTES, *(f"- {line}" for line in lines)])
    (tmp_path / "default_comparison.md").write_text(text)
    assert outcome.sentences(study) == lines[:3]


def task(phase: int, iterations: int, first: int = 1, last: int = 1, channels: int = 4) -> Task:
    """Of 2 x 16 x 16 pixels an iteration and block."""
    stage = Stage(iterations=iterations, batch=2, patch=16, lr=1e-3, optimiser="adam", loss={"l1": 1}, clamp="all")
    blocks = tuple(Block(network="mcan", options={"channels": channels}) for _ in range(last))
    return Task(seed=1, phase=phase, first=first, last=last, blocks=blocks, starts=("random",) * last, stages=(stage,))


def test_what_is_left_follows_from_what_was_measured():
    tasks = {("one", 1, 1): task(1, 100), ("one", 1, 2): task(2, 300, 1, 2)}
    outlook = Outlook(dict(tasks), {"evaluate": 2})
    assert outlook.seconds_left() is None
    outlook.note_rate(("one", 1, 1), 0.5 / 512)  # half a second an iteration of one block
    two = 4 + 300 * 2 * 0.5 + 2 * 3  # a start, twice the work an iteration, two jobs that nobody has measured
    assert outlook.seconds_left({("one", 1, 1): 20}) == pytest.approx(20 + two)
    outlook.note_end(Job(kind="train", rule="phase1_1", run="one", seed=1, phase=1), 60)
    outlook.note_end(Job(kind="evaluate", rule="evaluate", run="one", seed=1, phase=1), 10)
    assert outlook.seconds_left() == pytest.approx(4 + 300 * 2 * 0.5 + 10)
    assert outlook.seconds_left(at_once=2) == pytest.approx((4 + 300 * 2 * 0.5 + 10) / 2)


INFO = {"levelno": logging.INFO, "name": "multiblock.training"}


def test_a_job_tells_how_far_it_is_by_its_log(tmp_path, monkeypatch):
    monkeypatch.setenv(tells.FOLDER, str(tmp_path))
    assert tells.listener("logs/train.log") and tells.read(tmp_path, "logs/train.log") == {}
    handler = tells.Tells("logs/train.log")
    for record in ({"progress": {"done": 3, "of": 7}}, {}):
        handler.handle(logging.makeLogRecord({"msg": "3 of 7", **INFO, **record}))
    assert tells.read(tmp_path, "logs/train.log") == {"done": 3, "of": 7}
    assert tells.read(tmp_path, "logs/other.log") == {}
    handler.ended("error")
    assert tells.read(tmp_path, "logs/train.log")["ended"] == "error"


def test_a_job_that_nobody_listens_to_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv(tells.FOLDER, str(tmp_path / "gone"))
    assert tells.listener("logs/train.log") is None
    tells.Tells("train.log").handle(logging.makeLogRecord({"msg": "", **INFO, "progress": {"done": 1, "of": 2}}))


def test_the_line_of_a_job_begins_with_what_matters(layout, tmp_path, monkeypatch):
    said: list[str] = []
    work = AtWork(layout.study, tmp_path, said.append)
    wildcards = {"run": "one", "seed": "1", "phase": "1"}
    work.begin(7, Job.of("phase1_1", wildcards, "train.log"))
    assert work.lines() == {"train.log": "phase 1  0 s"}
    work.outlook = Outlook({("one", 1, 1): task(1, 100)}, {"evaluate": 1})
    monkeypatch.setenv(tells.FOLDER, str(tmp_path))
    told = {"done": 25, "of": 100, "rate": "2 it/s", "seconds_left": 37.5, "seconds_a_block_pixel": 0.5 / 512}
    told |= {"note": "validation 29.261 dB", "device": "device cpu (CPU), precision float32"}
    tells.Tells("train.log").handle(logging.makeLogRecord({"msg": "", **INFO, "progress": told}))
    line = work.lines()["train.log"]
    assert re.fullmatch(
        r"phase 1  \S{12}   25%  25 of 100  38 s left, run 4\d s  2 it/s  validation 29.261 dB", line
    ), line
    assert said == ["trains on cpu (CPU)"]
    assert work.finish(7).key == ("one", 1, 1) and work.lines() == {} and work.outlook.seconds_left() == 3
    assert work.finish(8) is None


def test_each_device_is_said_once(layout, tmp_path, monkeypatch):
    """Two phases that train at once, each on a device that it names otherwise."""
    said: list[str] = []
    work = AtWork(layout.study, tmp_path, said.append)
    monkeypatch.setenv(tells.FOLDER, str(tmp_path))
    for number in (1, 2):
        work.begin(number, Job.of("phase1_1", {"run": "one", "seed": str(number), "phase": "1"}, f"{number}.log"))
        told = {"done": 1, "of": 2, "device": f"device cuda:{number} (a GPU), precision float32"}
        tells.Tells(f"{number}.log").handle(logging.makeLogRecord({"msg": "", **INFO, "progress": told}))
    for _ in range(3):
        work.lines()
    assert said == ["trains on cuda:1 (a GPU)", "trains on cuda:2 (a GPU)"]


def test_the_line_of_a_conversion_says_the_time_left(layout, tmp_path, monkeypatch):
    work = AtWork(layout.study, tmp_path, print)
    work.begin(1, Job.of("convert", {"data": "many"}, "convert.log"))
    work.outlook = Outlook({}, {"convert": 1, "evaluate": 1})
    monkeypatch.setenv(tells.FOLDER, str(tmp_path))
    told = {"done": 200, "of": 800, "seconds_left": 120.0, "note": "5 images/s"}
    tells.Tells("convert.log").handle(logging.makeLogRecord({"msg": "", **INFO, "progress": told}))
    line = work.lines()["convert.log"]
    assert re.fullmatch(
        r"converts images  \S{12}   25%  200 of 800  2 min 00 s left, run 2 min 03 s  5 images/s", line
    ), line


def test_a_conversion_tells_the_time_left(monkeypatch, caplog):
    now = iter(range(0, 1000, 10))
    monkeypatch.setattr(walk.time, "monotonic", lambda: float(next(now)))
    caplog.set_level(logging.DEBUG, "multiblock")
    with walk.Progress(10, "images converted") as shown:
        shown.step(4, kept=True)
        shown.step()
    kept, told = (record.progress for record in caplog.records)
    assert kept == {"done": 4, "of": 10, "note": "images"}  # what stood says nothing of the time that others take
    assert told["done"] == 5 and told["seconds_left"] > 5 * 10 and told["note"].endswith("images/s")


@pytest.fixture
def terminal(tmp_path, monkeypatch, capsys, request):
    """A terminal in which a training runs, and what Snakemake's own handler was given."""
    monkeypatch.setenv(tells.FOLDER, "")
    monkeypatch.chdir(tmp_path)
    shown: list[str] = []
    plain = logging.Handler()
    plain.emit = lambda record: shown.append(record.getMessage())
    settings = SimpleNamespace(quiet={"progress"}, dryrun=False, nocolor=True)
    manager = SimpleNamespace(get_logfile=lambda: [str(tmp_path / "snakemake.log")])
    resources = SimpleNamespace(nodes=getattr(request, "param", None))
    workflow = SimpleNamespace(output_settings=settings, logger_manager=manager, resource_settings=resources)
    study = config.load({"results": str(tmp_path)})
    made = Terminal(plain, workflow, SimpleNamespace(study=study, layout=Layout(study)))
    made.shown = shown
    say(made, "Workflow has started!", event="workflow_started")
    job = {"rule_name": "phase1_1", "wildcards": {"run": "default", "seed": "1", "phase": "1"}, "log": ["train.log"]}
    say(made, "Rule: phase1_1", event="job_info", jobid=3, **job)
    yield made
    made._leave()


def say(terminal: Terminal, message: str, level: int = logging.INFO, **fields) -> None:
    terminal.handle(logging.makeLogRecord({"msg": message, "levelno": level, **fields}))


ENDED = "RuleException:\nCalledProcessError in file train.smk\nCommand 'x' returned non-zero exit status 1."


def fail(terminal: Terminal, message: str = ENDED) -> None:
    say(terminal, message, logging.ERROR, event="error", exception="RuleException")
    say(terminal, "Error in rule phase1_1", logging.ERROR, event="job_error", jobid=3, rule_name="phase1_1", log=[])
    say(terminal, "Exiting because a job execution failed. Look above for error messages", logging.ERROR)
    terminal.failed()
    say(terminal, "WorkflowError:\nAt least one job did not complete successfully.", logging.ERROR, event="error")


def test_a_job_that_has_said_its_error_is_only_named(terminal, capsys):
    tells.Tells("train.log").ended("error")
    fail(terminal)
    assert terminal.shown == []
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "multiblock: stopped in phase1_1 of run default, seed 1; its log is train.log"
    assert len(said) == 2


def warn(line: str) -> None:
    record = {"msg": line, "levelno": logging.WARNING, "name": "multiblock.training", "levelname": "WARNING"}
    tells.Tells("train.log").handle(logging.makeLogRecord(record))


def test_what_a_job_says_on_this_machine_is_not_said_again(terminal, capsys):
    warn("a picture is left out")
    say(terminal, "", event="job_finished", job_id=3)
    assert "left out" not in capsys.readouterr().err


@pytest.mark.parametrize("terminal", [20], indirect=True)
def test_what_a_job_says_on_another_machine_is_said_here_and_each_attempt_counts_for_itself(terminal, capsys, tmp_path):
    assert Path(os.environ[tells.FOLDER]).parent == tmp_path / ".snakemake", "which both machines see"
    warn("a picture is left out")
    tells.Tells("train.log").ended("stop")
    fail_once = {"jobid": 3, "rule_name": "phase1_1", "log": ["train.log"]}
    warn("stopped by SIGTERM")
    say(terminal, "Error in rule phase1_1", logging.ERROR, event="job_error", **fail_once)
    assert "stopped by SIGTERM" in capsys.readouterr().err
    job = {"rule_name": "phase1_1", "wildcards": {"run": "default", "seed": "1", "phase": "1"}, "log": ["train.log"]}
    say(terminal, "Rule: phase1_1", event="job_info", jobid=3, **job)
    fail(terminal)
    assert capsys.readouterr().err.count("stopped in phase1_1") == 1


def test_of_a_job_that_has_said_nothing_all_is_shown(terminal, capsys):
    fail(terminal)
    assert terminal.shown == [ENDED, "Error in rule phase1_1"]
    assert "snakemake.log" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("signal_", "why"),
    [
        ("SIGKILL: 9", "was killed (SIGKILL), by somebody or, where memory ran out, by the system"),
        ("SIGSEGV: 11", "crashed (SIGSEGV): a fault in a library, or of the GPU or its driver"),
        ("SIGHUP: 1", "was ended by SIGHUP"),
    ],
)
def test_a_job_that_a_signal_ended_is_told_in_a_line(terminal, capsys, signal_, why):
    fail(terminal, ENDED.replace("returned non-zero exit status 1.", f"died with <Signals.{signal_}>."))
    assert terminal.shown == []
    said = capsys.readouterr().err.splitlines()
    line = f"multiblock: stopped in phase1_1 of run default, seed 1: its process {why}; its log is train.log"
    assert line in said and len(said) == 3


@pytest.mark.parametrize(
    "message",
    [
        "MissingRuleException:\nNo rule to produce nosuch",
        "LockException:\nError: Directory cannot be locked.",
        "MissingOutputException in rule phase1_1",
    ],
)
def test_errors_of_snakemake_s_are_shown_in_full(terminal, message):
    say(terminal, message, logging.ERROR, event="error", exception="WorkflowError")
    assert terminal.shown == [message]


def test_what_is_taken_for_granted_is_not_shown_and_warnings_are(terminal):
    for message in ("Building DAG of jobs...", "Select jobs to execute...", "Using shell: /bin/bash"):
        say(terminal, message)
    say(terminal, "an old file is in the way", logging.WARNING)
    assert terminal.shown == ["an old file is in the way"]


def test_a_fault_of_the_terminal_s_own_hides_nothing(terminal, monkeypatch):
    monkeypatch.setattr(terminal, "_held", None)
    say(terminal, "Error in rule x", logging.ERROR, event="job_error", jobid=3, rule_name="x", log=[])
    assert terminal.shown == ["Error in rule x"]


def run(program: str, terminal: bool, **environment: str) -> str:
    """What a program writes to standard error, a terminal or a pipe."""
    words = [sys.executable, "-c", textwrap.dedent(program)]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "workflow"), "TERM": "xterm", "PYTHONUTF8": "1", **environment}
    if not terminal:
        return subprocess.run(words, stderr=subprocess.PIPE, env=env, timeout=120).stderr.decode()
    master, end = pty.openpty()
    with subprocess.Popen(words, stderr=end, env=env) as process:
        os.close(end)
        read = b""
        while True:
            try:
                data = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            read += data
        process.wait(timeout=120)
    os.close(master)
    return read.decode()


SHOWN = """
    import subprocess, sys, time
    from multiblock.workflow.screen import Screen
    screen = Screen(lambda: {"one": "phase 1  40 %", "two": "phase 2  60 %"})
    screen.start()
    time.sleep(1)
    subprocess.run([sys.executable, "-c", "1 / 0"])
    print("phase 1: 32.380 dB", file=sys.stderr)
    time.sleep(1)
    screen.freeze()
    subprocess.run([sys.executable, "-c", "raise KeyboardInterrupt"])
    print("the last without an end", end="", file=sys.stderr)
    screen.stop()
    print(" and after it", file=sys.stderr)
"""


def last_seen(written: str) -> list[str]:
    """The lines of a terminal after all that was written, as far as this module moves its cursor."""
    lines, row, column = [""], 0, 0
    for escape, character in re.findall(r"\x1b\[([\d;]*[A-Za-z])|([^\x1b])", written):
        if escape == "K":
            lines[row] = lines[row][:column]
        elif escape == "1A":
            row -= 1
        elif character == "\r":
            column = 0
        elif character == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif character:
            lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
            column += 1
    return [line for line in lines if line]


def test_lines_that_stay_come_to_stand_above_those_that_move():
    written = run(SHOWN, terminal=True)
    assert "phase 1  40 %\r" in written and written.count("phase 2  60 %") >= 2
    seen = last_seen(written)
    assert seen[0] == "Traceback (most recent call last):" and "ZeroDivisionError: division by zero" in seen
    assert seen[-2:] == ["the last without an end", " and after it"]
    assert "phase 1: 32.380 dB" in seen and not any("%" in line for line in seen)
    assert "KeyboardInterrupt" not in written


def test_a_pipe_gets_no_carriage_returns():
    written = run(SHOWN, terminal=False)
    assert "\r" not in written and "\x1b" not in written
    assert "ZeroDivisionError" in written and "phase 1: 32.380 dB" in written


def test_what_is_written_is_not_lost_where_drawing_fails():
    broken = SHOWN.replace('lambda: {"one": "phase 1  40 %", "two": "phase 2  60 %"}', "lambda: 1 / 0")
    assert "phase 1: 32.380 dB" in run(broken, terminal=True)


def test_errors_stand_out_on_a_terminal_unless_nobody_wants_colours():
    program = """
        import sys
        from multiblock.workflow.screen import Screen
        screen = Screen(dict)
        screen.start()
        print("multiblock: error: a.png: cannot be read", file=sys.stderr)
        screen.stop()
    """
    assert "\x1b[1;31mmultiblock: error: a.png" in run(program, terminal=True)
    assert "\x1b[1;31m" not in run(program, terminal=True, NO_COLOR="1")


def test_ctrl_c_ends_in_one_line_wherever_it_comes():
    program = "from multiblock.workflow import stops\nstops.in_one_line()\nstops.in_one_line()\n"
    assert run(program + "raise KeyboardInterrupt", False) == "multiblock: stopped; the same command goes on\n"
    assert "ZeroDivisionError" in run(program + "1 / 0", False)
