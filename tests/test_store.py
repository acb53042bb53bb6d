"""The store under workflows that are stopped, killed, forced, edited meanwhile, or at work twice at once."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import forked
from conftest import picture
from kill import children
from multiblock import config
from multiblock.data import images
from multiblock.model.chain import Chain
from multiblock.plan import Block
from multiblock.workflow import job, start
from multiblock.workflow.results import Result, Results
from multiblock.workflow.store import Store
from once import once
from stand_in import results_of
from test_workflow import command, jobs, snakemake, write_config

slow = pytest.mark.slow

STAGES = [{"iterations": 600, "batch": 2, "patch": 16, "lr": 1e-4}]
PLAN = [{"span": 1, "stages": STAGES}, {"span": 2, "start": "inherit_zeroed", "stages": STAGES}]
OTHER = [PLAN[0], {**PLAN[1], "stages": [{**STAGES[0], "lr": 2e-4}]}]
CHECKPOINT = "results/store/phase2_1-*/working/?????????-*.pt"


def study(folder: Path, plan=PLAN, **changes) -> Path:
    runs = {"one": {"chain": ["tiny"] * len(plan), "plan": plan}}
    write_config(
        folder,
        **{"runs": runs, "report": {}, "training": {"checkpoint_seconds": 0.1, "below_input": "go_on"}, **changes},
    )
    return folder


def finish(folder: Path, *arguments: str) -> str:
    done = snakemake(folder, "--rerun-incomplete", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def finished(part: Path, of: Path) -> None:
    shutil.copytree(of, part, dirs_exist_ok=True)
    finish(study(part), "phase2")


@pytest.fixture
def two_phases(pairs, tmp_path_factory) -> Path:
    """The pairs, and a study of two phases, trained and measured."""
    return once(tmp_path_factory, "two_phases", partial(finished, of=pairs), pairs)


def started(folder: Path, *arguments: str, file: str = "config.yaml") -> forked.Popen:
    """The workflow, at work; it is a group of processes of its own."""
    words = command(folder, "--configfile", str(folder / file), "--rerun-incomplete", *arguments)
    return forked.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def wait_for(process: forked.Popen, seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + 300
    while not seen():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)


def interrupt(folder: Path, when: str, *arguments: str, by: int = signal.SIGINT) -> str:
    """Start the workflow, stop all its processes once there is a file ``when``; what was said."""
    with started(folder, *arguments) as process:
        wait_for(process, lambda: list(folder.glob(when)))
        os.killpg(process.pid, by)
        said = process.communicate()[0]
    assert process.returncode != 0
    return said


def files(folder: Path, phase: int = 2) -> dict[str, bytes]:
    """What a phase leaves, without its times."""
    return {
        name: (folder / f"results/one/seed1/phase{phase}/{name}").read_bytes()
        for name in ("weights.safetensors", "history.csv", "psnr.csv")
    }


def assert_no_error(said: str) -> None:
    """Nothing but what the job says of its stop."""
    for word in ("RuleException", "Error in rule", "WorkflowError", "Traceback", "At least one job", "Cannot restore"):
        assert word not in said, said


@slow
def test_a_stop_by_sigterm_is_no_error_either(pairs):
    """As ``timeout`` and batch systems stop a command: all its processes at once."""
    study(pairs)
    said = interrupt(pairs, CHECKPOINT.replace("phase2", "phase1"), by=signal.SIGTERM)
    assert "stopped by SIGTERM after iteration" in said and "of phase 1; the same command goes on from there" in said
    assert_no_error(said)


@slow
@pytest.mark.parametrize("command", ["the same", "the plain"])
def test_a_forced_training_that_is_killed_goes_on(two_phases, command):
    """First Snakemake is killed, then the job, then all is stopped by Ctrl-C; the old weights are shown until then."""
    before, forced = files(two_phases), ("phase2", "--forcerun", "phase2_1")
    log = two_phases / "results/one/seed1/phase2/logs/train.log"
    for number, victim in enumerate(("Snakemake", "the job", "all")):
        newest = max((file.name for file in two_phases.glob(CHECKPOINT)), default="")
        with started(two_phases, *forced) as process:
            wait_for(process, lambda newest=newest: any(f.name > newest for f in two_phases.glob(CHECKPOINT)))
            trains = children(process.pid)
            if victim == "all":
                os.killpg(process.pid, signal.SIGINT)
            else:
                os.kill(process.pid if victim == "Snakemake" else trains[-1], signal.SIGKILL)
            said = process.communicate()[0]
        assert process.returncode != 0
        assert ("goes on from iteration" in log.read_text()) == (number > 0) if log.exists() else number == 0
    assert_no_error(said)
    assert jobs(two_phases)["phase2_1"] == 1, "a plain command finishes what was forced"
    finish(two_phases, *(forced if command == "the same" else ("phase2",)))
    assert files(two_phases) == before and jobs(two_phases, "phase2") == {}
    assert not list(two_phases.glob("results/store/*/working"))


@slow
def test_a_slip_in_the_config_that_is_put_back_costs_nothing(two_phases):
    before = files(two_phases)
    study(two_phases, [PLAN[0], {**PLAN[1], "stages": [{**STAGES[0], "iterations": 300_000}]}])
    said = interrupt(two_phases, CHECKPOINT, "phase2")
    assert_no_error(said)
    assert "phase2_1" in jobs(two_phases, "phase2")
    study(two_phases)
    assert jobs(two_phases, "phase2") == {} and "Nothing to be done" in finish(two_phases, "phase2")
    assert files(two_phases) == before


@slow
def test_workflows_at_work_in_one_folder_at_the_same_time(two_phases):
    """One config twice, and another one with another phase 2: a result is made by one of them, and the others wait."""
    expected, both = files(two_phases), {}
    shutil.rmtree(two_phases / "results")
    shutil.rmtree(two_phases / ".snakemake")
    study(two_phases, OTHER)
    (two_phases / "config.yaml").rename(two_phases / "other.yaml")
    study(two_phases)
    at_work = [started(two_phases, "phase2", file=name) for name in ("config.yaml", "other.yaml", "config.yaml")]
    said = [process.communicate()[0] for process in at_work]
    assert [process.returncode for process in at_work] == [0, 0, 0], "\n".join(said)
    assert not any("error" in one.lower() for one in said), said
    logs = {file.parent.name: file.read_text() for file in two_phases.glob("results/store/phase?_1-*/job.log")}
    assert len(logs) == 3 and sum("waits for another workflow" in text for text in logs.values()) >= 1
    for name in ("other.yaml", "config.yaml"):
        done = snakemake(two_phases, "--rerun-incomplete", "phase2", "--configfile", str(two_phases / name))
        assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr, done.stdout + done.stderr
        both[name] = files(two_phases)
    assert both["config.yaml"] == expected and both["other.yaml"]["psnr.csv"] != expected["psnr.csv"]


BLOCK = """
from torch import nn
class Own(nn.Module):
    output_layer, receptive_field = "c", 3
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 3, 3, padding=1)
    def forward(self, x):
        return self.c(x)
"""


@slow
def test_a_block_that_is_edited_while_it_trains(pairs):
    """The training cannot be known by the code that it began with: one line says so, and nothing of it counts."""
    block = pairs / "own.py"
    block.write_text(BLOCK)
    study(pairs, PLAN[:1], blocks={"tiny": {"network": str(block)}})
    with started(pairs, "phase1") as process:
        wait_for(process, lambda: list(pairs.glob(CHECKPOINT.replace("phase2", "phase1"))))
        block.write_text(f"{BLOCK}# edited\n")
        said = process.communicate()[0]
    assert process.returncode != 0
    lines = [line for line in said.splitlines() if "multiblock: error: " in line]
    assert len(lines) == 1 and "own.py: was changed while the workflow was at work; start again" in lines[0], said
    assert not list(pairs.glob("results/store/phase1_1-*/made.json"))
    assert not os.path.lexists(pairs / "results/one/seed1/phase1/weights.safetensors")
    block.write_text(BLOCK)
    assert jobs(pairs, "phase1")["phase1_1"] == 1
    finish(pairs, "phase1")


class Called:
    """What Snakemake gives a job's script."""

    threads, resources = 1, {}

    def __init__(self, mark: Path, log: Path) -> None:
        self.output, self.log = [str(mark)], [str(log)]


def in_this_process(pairs: Path, monkeypatch, **changes: Any) -> tuple[Store, Results, Callable[[Result], None]]:
    """What a start found of a training from a file of weights; and what makes a result of it as a job does."""
    for name in ("WORKFLOW", "ORDERS", "FORCED", "PARALLEL"):
        monkeypatch.setenv(f"MULTIBLOCK_{name}", "")
    monkeypatch.chdir(pairs)
    monkeypatch.setattr(job, "leave", lambda: None)
    save_weights(pairs / "begin.safetensors", 1)
    plan = [{"span": 1, "start": "begin.safetensors", "stages": [{"iterations": 1, "batch": 1, "patch": 16}]}]
    study(pairs, changes.pop("plan", plan), **changes)
    content = config.read([Path("config.yaml")])
    loaded = config.load(content)
    store, results = results_of(loaded)
    store.show(results.shown(), loaded.runs)
    job.give_orders(content, results, store, (), False, start.Given(1, 1))
    monkeypatch.setenv("MULTIBLOCK_WORKFLOW", "")  # that has not started this process

    def make(result: Result) -> None:
        log = store.folder(result.address) / "job.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        job.make(Called(store.mark(result.address), log))

    return store, results, make


@pytest.mark.parametrize("what", ["images", "a start's weights", "an array that is read"])
def test_what_changes_between_the_start_and_a_job_ends_the_job(pairs, monkeypatch, capsys, what):
    """One line, exit status 1, and nothing counts; put back, it is as it was."""
    store, results, make = in_this_process(pairs, monkeypatch)
    converted, trained = results.convert("mine"), results.train("one", 1, 1)
    if what != "images":
        make(converted)
    changed, result, file = {
        "images": ("data mine: its images were changed", converted, pairs / "train/HR/image1.png"),
        "a start's weights": ("begin.safetensors: was changed", trained, pairs / "begin.safetensors"),
        "an array that is read": ("has changed since it was made", trained, pairs / "results/data/mine/HR/train.npy"),
    }[what]
    good = file.read_bytes()
    if what == "a start's weights":
        save_weights(file, 2)
    elif what == "images":
        images.write(file, images.read(file) ^ 1)
    else:
        file.resolve().write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        make(result)
    said = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert left.value.code == 1 and len(said) == 1 and changed in said[0] and "start again" in said[0]
    assert not store.mark(result.address).exists()
    file.resolve().write_bytes(good)
    make(result)
    assert store.mark(result.address).exists()


@pytest.mark.parametrize("what", ["begin.safetensors", "own.py"])
def test_what_is_changed_for_a_moment_while_a_job_reads_it_ends_the_job(pairs, monkeypatch, capsys, what):
    """It was as it should be when the job looked, before and after."""
    (pairs / "own.py").write_text(BLOCK)
    changes = {"own.py": {"blocks": {"tiny": {"network": "own.py"}}, "plan": PLAN[:1]}}
    store, results, make = in_this_process(pairs, monkeypatch, **changes.get(what, {}))
    make(results.convert("mine"))
    good, looks, trained = Path(what).read_bytes(), [], results.train("one", 1, 1)

    def look(result: Result) -> None:
        looks.append(Path(what).write_bytes(good))
        real(result)
        if what == "own.py":
            Path(what).write_text(BLOCK.replace("self.c(x)", "2 * self.c(x)"))
        else:
            save_weights(Path(what), 2)

    real = job._check_outside
    monkeypatch.setattr(job, "_check_outside", look)
    with pytest.raises(SystemExit):
        make(trained)
    assert f"{what}: was changed while the workflow was at work; start again" in capsys.readouterr().err
    assert len(looks) == 1 and not store.mark(trained.address).exists()


def test_pictures_that_are_changed_after_the_start_end_the_job(pairs, monkeypatch, capsys):
    photo = pairs / "photos" / "a.png"
    images.write(photo, picture(16, 20, seed=3))
    store, results, make = in_this_process(pairs, monkeypatch, upscale={"images": "photos"})
    made = [results.convert("mine"), results.train("one", 1, 1), results.upscale("one")]
    for one in made[:2]:
        make(one)
    good = photo.read_bytes()
    images.write(photo, picture(16, 20, seed=4))
    with pytest.raises(SystemExit):
        make(made[2])
    assert "photos: its pictures were changed while the workflow was at work" in capsys.readouterr().err
    assert not store.mark(made[2].address).exists()
    photo.write_bytes(good)
    make(made[2])
    assert store.mark(made[2].address).exists()


def save_weights(file: Path, seed: int) -> None:
    torch.manual_seed(seed)
    Chain.build([Block(network="mcan", options={"channels": 4, "residual_blocks": 1})], [True]).save(file)


def test_content_of_start_weights_decides(pairs, monkeypatch):
    monkeypatch.chdir(pairs)
    study(pairs, [{"span": 1, "start": "begin.safetensors", "stages": [{"iterations": 0}]}])
    addresses = []
    for seed in (1, 1, 2):
        save_weights(pairs / "begin.safetensors", seed)
        os.utime("begin.safetensors", (1e9, 1e9))
        _, results = results_of(config.load(config.read([Path("config.yaml")])))
        addresses.append(results.train("one", 1, 1).address)
    assert addresses[0] == addresses[1] != addresses[2]


LOOKS = (["--dag"], ["--rulegraph"], ["--summary"], ["--list-rules"], ["--report", "report.html"])


def looked(folder: Path, whole: bool = True, ways=LOOKS) -> list[str]:
    """Look in these ways; what was said. Snakemake's report has one line of results that are not there."""
    said = []
    for arguments in ways:
        done = snakemake(folder, *arguments)
        said.append(done.stdout + done.stderr)
        wrong = [word for word in ("MissingInputException", "Traceback", "KeyError") if word in said[-1]]
        missing = not whole and "marked for report but does not exist" in said[-1]
        assert not wrong and (done.returncode == 0 or missing), (arguments, said[-1])
    return said


def test_looking_needs_no_results_and_no_images(pairs):
    """Before the first run, and where the images are elsewhere; nothing is written."""
    study(pairs)
    said = looked(pairs, whole=False)
    assert "digraph" in said[0] and "phase2_1" in said[1]
    assert not (pairs / "results").exists()
    shutil.rmtree(pairs / "train")
    looked(pairs, whole=False, ways=LOOKS[:1])


@slow
def test_looking_at_a_study_that_has_grown(two_phases):
    """Of which one seed is there and another is not; then without its images."""
    finish(two_phases)
    study(two_phases, seeds=[1, 2])
    looked(two_phases, whole=False)
    study(two_phases)
    for split in ("train", "test"):
        shutil.rmtree(two_phases / split)
    looked(two_phases)
    assert (two_phases / "report.html").stat().st_size > 100_000


@slow
def test_a_file_can_be_asked_for_and_forced_by_its_path(two_phases):
    """Also by an absolute one, where results are elsewhere, and where only its link is missing."""
    table, before = "results/one/psnr_by_phase.csv", files(two_phases, 1)
    assert jobs(two_phases, table)["table"] == 1
    finish(two_phases, table)
    assert (two_phases / table).is_symlink() and not (two_phases / "results/one/report.html").exists()
    (two_phases / table).unlink()
    assert "Nothing to be done" in finish(two_phases, table) or (two_phases / table).is_symlink()
    assert (two_phases / table).is_symlink()
    forced = "results/one/seed1/phase1/weights.safetensors"
    assert {"phase1_1", "evaluate"} <= jobs(two_phases, "phase1", "--forcerun", forced).keys()
    record = two_phases / "results/one/seed1/phase1/training.json"
    earlier = record.read_bytes()
    finish(two_phases, "phase1", "--forcerun", forced)
    assert record.read_bytes() != earlier, "trained again, at other times"
    assert files(two_phases, 1) == before and "phase2_1" not in jobs(two_phases, "phase2"), "it came out the same"
    elsewhere = two_phases / "elsewhere"
    (two_phases / "results").rename(elsewhere)
    study(two_phases, results=str(elsewhere))
    assert jobs(two_phases, "phase2") == {}
    finish(two_phases, str(elsewhere / "one/psnr_by_phase.md"))


@slow
def test_a_phase_below_no_network_ends_the_run_there_and_the_others_go_on(pairs):
    """That of the tiny study, with `below_input: go_on`, does not: tests/test_workflow.py."""
    good = [{**PLAN[0], "start": "orthogonal_zeroed", "stages": [{**STAGES[0], "iterations": 1, "lr": 1e-9}]}]
    bad = [{"span": 1, "stages": [{**STAGES[0], "iterations": 5, "lr": 1}]}, PLAN[1]]
    runs = {"one": {"chain": ["tiny"] * 2, "plan": bad}, "other": {"chain": ["tiny"], "plan": good}}
    study(pairs, runs=runs, training={"below_input": "stop"})
    done = snakemake(pairs)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "warning: phase 1 ends at" in said and "without any network" in said
    phase = pairs / "results/one/seed1/phase1"
    assert (phase / "psnr.csv").exists() and not (pairs / "results/one/seed1/phase2/weights.safetensors").exists()
    record = json.loads((phase / "training.json").read_text())
    assert record["psnr_rgb_validation"] < record["psnr_rgb_validation_input"]
    assert (pairs / "results/other/report.html").exists()
    last = said.splitlines()[-2:]
    assert re.search(r"multiblock: stopped in phase1_2 of run one, seed 1: \S+: phase 1 ended at .* below", last[0]), (
        said
    )
    assert "change the stages of that phase" in last[0] and last[1].endswith("the same command goes on"), said
    assert "RuleException" not in said and "CalledProcessError" not in said  # the job has said why itself


@pytest.fixture
def for_reading_only():
    """A function that makes a folder one that nobody can write, whoever tries."""
    mounted = []

    def bind(folder: Path) -> None:
        for words in (["--bind", folder, folder], ["-o", "remount,bind,ro", folder]):
            try:
                subprocess.run(["mount", *words], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                pytest.skip("a folder for reading only needs the right to mount one")
            mounted[:] = [folder]

    yield bind
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


def test_results_for_reading_only(tmp_path_factory, for_reading_only, monkeypatch, capsys):
    """Planned, looked at and reported by whoever can read them."""
    from multiblock.cli import main
    from test_workflow import finished_study

    folder = finished_study(tmp_path_factory)
    shutil.rmtree(folder / ".snakemake")
    for_reading_only(folder / "results")
    assert jobs(folder) == {}
    looked(folder, ways=LOOKS[-1:])
    monkeypatch.chdir(folder)
    assert main(["status"]) == 0 and main(["clean"]) == 0
    assert "Traceback" not in capsys.readouterr().err
    config = yaml.safe_load((folder / "config.yaml").read_text())
    write_config(folder, **{**config, "evaluation": {"border": 3}})
    assert jobs(folder)["evaluate"] == 4
    done = snakemake(folder)
    said = [line for line in (done.stdout + done.stderr).splitlines() if "multiblock: error: " in line]
    assert done.returncode == 1 and len(said) == 1 and "Read-only file system" in said[0], done.stdout + done.stderr
