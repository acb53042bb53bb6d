"""How the workflow starts: what it was called for, threads, paths."""

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
from multiblock.workflow import jobs, start
from multiblock.workflow.call import Call, called_for
from multiblock.workflow.threads import threads_of_a_job


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


def test_check_reads_on_as_many_threads_as_a_conversion(monkeypatch):
    given = []
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as where the system has none
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(
        "multiblock.data.inspection.check", lambda _, threads: given.append(threads) or Found(name="one")
    )
    for content in ({}, {"convert_threads": 3}):
        monkeypatch.setattr("multiblock.cli.check.study_of", lambda _, content=content: (load(content), None))
        assert main(["check"]) == 0
    assert given == [8, 3]
