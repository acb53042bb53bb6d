"""How the workflow starts: what it was called for, threads, paths; how far training says it is."""

import logging
import os
import re
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from multiblock.cli import main
from multiblock.config import load
from multiblock.data.inspection import Found
from multiblock.errors import UserError
from multiblock.training import checkpoint, progress
from multiblock.training.progress import Progress
from multiblock.workflow import jobs, start
from multiblock.workflow.call import Call, called_for
from multiblock.workflow.threads import threads_of_a_job
from test_training import run, task


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (["--cores", "1"], Call()),
        (["-n"], Call(plans=True)),
        (["--cores", "2", "--dry-run", "phase2"], Call(plans=True, targets=("phase2",))),
        (["--report", "report.html"], Call(looks=True)),
        (["--list-rules"], Call(looks=True)),
        (["--lint"], Call(looks=True)),
        (["--summary"], Call(looks=True)),
        (["--list-untracked"], Call(looks=True)),
        (["--list-conda-envs"], Call(looks=True)),
        (["--unlock"], Call(looks=True)),
        (["--forcerun", "phase2_1"], Call(forced=("phase2_1",))),
        (["-R", "phase2_1", "phase3_1"], Call(forced=("phase2_1", "phase3_1"))),
        (["-F"], Call(forced=("*",))),
        (["-f", "phase2_1"], Call(forced=("phase2_1",), targets=("phase2_1",))),
        (["--no-such-option"], Call()),
    ],
)
def test_what_snakemake_was_called_for(arguments, call):
    assert called_for(arguments) == call
    assert call.works == (not (call.plans or call.looks))


def test_rules_that_make_nothing_are_not_forced():
    """They are those of the workflow without a result; to force one did nothing, without a word."""
    rules = Path(__file__).parent.parent / "workflow" / "rules"
    text = "\n".join(file.read_text() for file in [rules.parent.parent / "Snakefile", *rules.glob("*.smk")])
    made = re.split(r"^ *rule(?: (\w+))?:$", text, flags=re.MULTILINE)[1:]
    names = [
        (name or re.search(r'name:\s+f"(.+)"', body)[1], body) for name, body in zip(*[iter(made)] * 2, strict=True)
    ]
    assert len(names) > 15
    for name, body in names:
        name, makes = name.replace("{number}", "2"), "output:" in body
        for call in (called_for(["--forcerun", name]), called_for(["-f", name])):
            with nullcontext() if makes else pytest.raises(UserError, match=f"{name}: is forced, but makes nothing"):
                start._check_forced(call)


@pytest.mark.parametrize(
    ("wanted", "cores", "gpus", "threads"),
    [
        ("auto", 8, None, 8),
        ("auto", 8, 1, 8),
        ("auto", 8, 2, 4),
        ("auto", 2, 4, 1),
        ("auto", 8, 0, 8),
        (3, 8, 1, 3),
        (16, 8, 1, 8),
    ],
)
def test_threads_are_shared_among_the_gpus(wanted, cores, gpus, threads):
    assert threads_of_a_job(wanted, cores, gpus) == threads


def test_a_job_on_a_node_has_the_threads_that_were_asked_for(monkeypatch):
    monkeypatch.setenv("MULTIBLOCK_WORKFLOW", "1 pid:[1]")
    monkeypatch.setenv("MULTIBLOCK_GIVEN", "")
    assert jobs.handed_on(jobs.Given(64, 8, 8)) == (64, 8, 8)
    monkeypatch.setenv("MULTIBLOCK_FORCED", "")
    monkeypatch.setenv("MULTIBLOCK_PARALLEL", "")
    jobs.start_jobs(jobs.Given(4, 2))
    assert jobs.handed_on(jobs.Given(64, 8, 8)) == (4, 2, None)  # a cluster's GPUs are counted by the cluster
    jobs.start_jobs(jobs.Given(4, 2, gpus=0))
    assert jobs.handed_on(jobs.Given(64, 8, 8)) == (4, 2, 0)
    # Where the first Snakemake is on another machine, the job watches the one that runs it here.
    monkeypatch.setenv("MULTIBLOCK_WORKFLOW", "1 pid:[1]")
    jobs.hand_on()
    assert os.environ["MULTIBLOCK_WORKFLOW"].split()[0] == str(os.getpid())


@pytest.mark.parametrize(
    ("forced", "works"),
    [
        ((), False),
        (("*",), True),
        (("phase1_1",), True),
        (("phase2_1", "all"), False),
        (("my results/a/seed1/phase1/weights.safetensors",), True),
        (("./my results/a//seed1/phase1/history.csv",), True),
        (("my results/a/seed1/phase2/weights.safetensors",), False),
    ],
)
def test_a_job_is_forced_by_its_rule_or_by_a_file_that_it_makes(monkeypatch, forced, works):
    for name in ("WORKFLOW", "GIVEN", "FORCED", "PARALLEL"):
        monkeypatch.setenv(f"MULTIBLOCK_{name}", "")
    outputs = [f"my results/a/seed1/phase1/{name}" for name in ("weights.safetensors", "history.csv")]
    assert not jobs.is_forced("phase1_1", outputs)
    jobs.start_jobs(jobs.Given(1, 1), forced)
    assert jobs.is_forced("phase1_1", outputs) == works


def test_a_path_with_a_space_ends_in_one_line(monkeypatch):
    start._check_paths(SimpleNamespace(basedir="/home/me/project"))
    with pytest.raises(UserError, match="^/home/me/my project: the project lies under a path with a space, .* a link"):
        start._check_paths(SimpleNamespace(basedir="/home/me/my project"))
    monkeypatch.setattr("sys.executable", "/home/a b/python")
    with pytest.raises(UserError, match="^/home/a b/python: Python lies"):
        start._check_paths(SimpleNamespace(basedir="/home/me"))


def test_lines_of_jobs_that_run_at_once_say_whose_they_are(tmp_path, monkeypatch, capsys):
    wildcards = {"run": "phased", "seed": "2", "phase": "3"}
    monkeypatch.setenv("MULTIBLOCK_PARALLEL", "")
    assert jobs.label(wildcards) == ""
    monkeypatch.setenv("MULTIBLOCK_PARALLEL", "yes")
    assert jobs.label(wildcards) == "[phased, seed 2, phase 3] "
    assert jobs.label(wildcards | {"block": "1"}) == "[phased, seed 2, phase 3, LR_1] "
    with jobs.logged(tmp_path / "log", jobs.label(wildcards)):
        logging.getLogger("multiblock.x").info("100 %% of %d", 3)
    logging.getLogger("multiblock").handlers.clear()
    assert capsys.readouterr().err == "[phased, seed 2, phase 3] 100 % of 3\n"
    assert (tmp_path / "log").read_text() == "100 % of 3\n"


class Clock:
    """Time that goes on only where it is told to."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_the_time_left_follows_what_is_measured_and_slow_steps_are_named(monkeypatch, caplog):
    clock = Clock(monkeypatch)
    with caplog.at_level(logging.INFO), Progress(task(1000), 0) as shown:
        for step in range(400):
            clock.now += 0.01 if step < 100 else 0.2
            shown.step()
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "6 of 1000 iterations, expected time left 10 s"
    slow = [text for text in said if "times as long as the first ones" in text]
    assert len(slow) == 1 and slow[0].startswith("iterations take 20 times as long")
    assert said[-1].endswith("expected time left 2 min 05 s") or "time left 2 min" in said[-1]


def test_a_pause_for_the_validation_images_does_not_count(monkeypatch, caplog):
    clock = Clock(monkeypatch)
    with caplog.at_level(logging.INFO), Progress(task(1000), 0) as shown:
        for _ in range(6):
            clock.now += 0.01
            shown.step()
            clock.now += 5
            shown.looked(5)
    assert "expected time left 10 s" in caplog.text


@pytest.mark.parametrize(("seconds", "times"), [(0.5, 1), (0.01, 0)])
def test_a_phase_below_no_network_is_named_while_it_can_still_be_stopped(monkeypatch, caplog, seconds, times):
    """Unless its other half takes less time than to read so."""
    clock = Clock(monkeypatch)
    with caplog.at_level(logging.INFO), Progress(task(100), 0) as shown:
        for step, psnr in ((20, 20.0), (50, 20.5), (70, 20.7), (80, 24.0), (100, 21.0)):
            for _ in range(step - shown._step):
                clock.now += seconds
                shown.step()
            shown.note(psnr, 23.0)
            below = psnr < 23
            assert shown._note == f", validation {psnr:.3f} dB" + " (without network 23.000)" * below
        shown.note(20.0, None)  # the input is not known
    said = [record.getMessage() for record in caplog.records if "warning: " in record.getMessage()]
    assert len(said) == times
    assert all(text.startswith("warning: after 50 of 100 iterations phase 1 is at 20.500 dB") for text in said)


@pytest.mark.parametrize(("psnr", "said"), [(16.9, True), (17.1, False), (24.0, False)])
def test_clamps_on_a_network_that_is_far_off_are_named(caplog, psnr, said):
    """Pixels outside 0 to 1 have no gradient in the second stage, which clamps: such a phase may never come back."""
    with caplog.at_level(logging.WARNING), Progress(task(100), 0) as shown:
        for step in (49, 50, 51, 100):
            for _ in range(step - shown._step):
                shown.step()
            if step == 50:
                caplog.clear()
            shown.note(psnr, 23.0)
            if step == 50:
                warned = [text for text in caplog.messages if "stage 1 of phase 1 ends at" in text]
                assert len(warned) == said and all("pixels outside 0 to 1 do not learn" in text for text in warned)
    assert len([text for text in caplog.messages if "stage 1 of phase 1" in text]) == said


def test_a_slow_disk_takes_little_of_the_time(arrays, tmp_path, monkeypatch):
    """Writing a checkpoint takes longer than the time between two."""
    import time

    from multiblock.training import trainer

    monkeypatch.setattr(trainer, "_SAVING_SHARE", 0.02)
    saves, save = [], checkpoint.save

    def slow(folder, state):
        saves.append(state.step)
        time.sleep(0.2)
        save(folder, state)

    monkeypatch.setattr(checkpoint, "save", slow)
    run(arrays, tmp_path / "out", task(60), checkpoint_seconds=0.001)
    assert saves[-1] == 60 and len(saves) <= 3


def test_check_reads_on_as_many_threads_as_a_conversion(monkeypatch):
    given = []
    monkeypatch.setattr("multiblock.cli.check.cores_here", lambda: 64)
    monkeypatch.setattr(
        "multiblock.data.inspection.check", lambda _, threads: given.append(threads) or Found(name="one")
    )
    for content in ({}, {"convert_threads": 3}):
        monkeypatch.setattr("multiblock.cli.check.study_of", lambda _, content=content: (load(content), None))
        assert main(["check"]) == 0
    assert given == [8, 3]
