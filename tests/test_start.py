"""How the workflow starts: what it was called for, threads, paths."""

import logging
import os
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from multiblock.cli import main
from multiblock.config import load
from multiblock.data.inspection import Found
from multiblock.errors import UserError
from multiblock.workflow import job, start
from multiblock.workflow.call import Call, called_for
from multiblock.workflow.results import Of
from multiblock.workflow.threads import threads_of_a_job
from stand_in import plan, results_of, study_of


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
    text = "\n".join(file.read_text() for file in [rules.parent / "Snakefile", *rules.glob("*.smk")])
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


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """What a workflow tells its jobs by, which is that of other tests here."""
    monkeypatch.chdir(tmp_path)
    for name in ("WORKFLOW", "ORDERS", "FORCED", "PARALLEL"):
        monkeypatch.setenv(f"MULTIBLOCK_{name}", "")


def give(forced=(), parallel=False, given=None) -> None:
    store, results = results_of(study_of({"a": plan()}), {})
    job.give_orders({"device": "cpu"}, results, store, forced, parallel, given)


def test_a_job_on_a_node_has_the_threads_that_were_asked_for(environment, monkeypatch):
    node = SimpleNamespace(remote_exec=True, is_main_process=False, global_resources={"gpu": 8})
    node.resource_settings = SimpleNamespace(nodes=None, cores=64)
    study = load({"threads": 64})
    assert start._given(study, node).gpus == 8, "no workflow has said anything"
    for gpus in (None, 0):  # a cluster's GPUs are counted by the cluster
        give(given=start.Given(4, 2, gpus))
        os.environ["MULTIBLOCK_WORKFLOW"] = "1 pid:[1]"
        assert start._given(study, node) == (4, 2, gpus)
        # Where the first Snakemake is on another machine, the job watches the one that runs it here.
        assert os.environ["MULTIBLOCK_WORKFLOW"].split()[0] == str(os.getpid())


@pytest.mark.parametrize(
    ("forced", "works"), [((), False), (("*",), True), (("phase1_1",), True), (("phase2_1", "all"), False)]
)
def test_a_job_is_forced_by_its_rule(environment, forced, works):
    assert not job.is_forced("phase1_1")
    give(forced)
    assert job.is_forced("phase1_1") == works


def test_jobs_go_by_what_the_start_found(environment):
    """Whatever is edited after it: the config, and digests of what is read."""
    give()
    said = job.orders()
    assert said["config"] == {"device": "cpu"} and said["known"]["images mine"] == "images"
    kinds = {kind for kind, _ in said["results"].values()}
    assert {"convert", "train", "generate", "evaluate", "table", "figures", "page"} <= kinds


def test_a_path_with_a_space_ends_in_one_line(monkeypatch):
    start._check_paths(SimpleNamespace(basedir="/home/me/project"))
    with pytest.raises(UserError, match="^/home/me/my project: the project is under a path with a space, .* a link"):
        start._check_paths(SimpleNamespace(basedir="/home/me/my project"))
    monkeypatch.setattr("sys.executable", "/home/a b/python")
    with pytest.raises(UserError, match="^/home/a b/python: Python is"):
        start._check_paths(SimpleNamespace(basedir="/home/me"))


def test_lines_of_jobs_that_run_at_once_say_whose_they_are(tmp_path, monkeypatch, capsys):
    of = Of(run="phased", seed=2, phase=3)
    monkeypatch.setenv("MULTIBLOCK_PARALLEL", "")
    assert job.label(of) == ""
    monkeypatch.setenv("MULTIBLOCK_PARALLEL", "yes")
    assert job.label(Of()) == ""
    assert job.label(of) == "[phased, seed 2, phase 3] "
    assert job.label(replace(of, block=1)) == "[phased, seed 2, phase 3, LR_1] "
    with job.logged(tmp_path / "log", job.label(of)):
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
        monkeypatch.setattr("multiblock.cli.check_images.study_of", lambda _, content=content: (load(content), None))
        assert main(["check"]) == 0
    assert given == [8, 3]


def test_threads_wait_without_spinning_unless_a_user_says_so(monkeypatch):
    """Beside other work, two threads that spin took seven times as long as one."""
    for before, after in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if before:
            monkeypatch.setenv("OMP_WAIT_POLICY", before)
        assert main(["reference"]) == 0
        assert os.environ["OMP_WAIT_POLICY"] == after
