"""The workflow on a Slurm cluster, a real one on this machine: it ends as on this machine alone, whatever is killed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

import cluster
from cluster import Cluster
from conftest import ROOT, tiny_study, write_pairs

pytestmark = pytest.mark.slow

PHASE = Path("results", "two", "seed1", "phase1")
WEIGHTS = PHASE / "weights.safetensors"
TARGETS = [str(PHASE / "psnr.csv"), "results/two/seed1/phase2/weights.safetensors"]
LIMIT = 600  # seconds, on a machine that is slow or does other work
"""Seconds after which a workflow that hangs is ended."""


def command(folder: Path, *arguments: str) -> list[str]:
    base = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    return [*base, "--configfile", str(folder / "config.yaml"), *arguments]


def on_slurm(folder: Path, *arguments: str) -> list[str]:
    """As docs/cluster.md has it, with what this small cluster needs; a thread a job, as the local run has."""
    profile = ["--workflow-profile", str(ROOT / "profiles" / "slurm"), "--cores", "1"]
    # There is no accounting; statuses are asked for every second at first.
    polls = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"]
    places = ["--slurm-partition-config", str(folder / "partitions.yaml"), "--latency-wait", "5"]
    return command(folder, *profile, *polls, *places, *arguments)


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, env={**os.environ, "CI": "1"}, timeout=LIMIT
    )


def made(folder: Path) -> dict[str, bytes]:
    """What must be the same: weights, histories, arrays and measurements."""
    names = ("weights.safetensors", "history.csv", "psnr.csv")
    files = [file for file in sorted((folder / "results").rglob("*")) if file.name in names or file.suffix == ".npy"]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files if "working" not in file.parts}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory) -> Iterator[Cluster]:
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install --no-deps -r envs/slurm.txt")
    if reason := cluster.unusable():
        pytest.skip(reason)
    with Cluster(tmp_path_factory.mktemp("slurm")) as started:
        yield started


def prepare(folder: Path) -> Path:
    """The tiny study with pairs of its own, of which one phase takes long enough to be disturbed."""
    write_pairs(folder, train=2, test=1)
    config = tiny_study()
    config["recipes"]["many"] = [{"iterations": 1000, "batch": 2, "patch": 16, "clamp": False}]
    # Two processes train phase 2, each with a GPU of its own as Slurm counts them.
    plan = [{"span": 1, "stages": "many"}, {"span": 2, "start": "inherit_zeroed", "gpus": 2, "stages": "few"}]
    config["runs"] = {"two": {"chain": ["tiny", "tiny"], "plan": plan}}
    config["training"] |= {"checkpoint_seconds": 0.2, "validate_every": 500, "history_every": 500}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    limits = {"cpu": {"max_gpu": 0, "max_runtime": 1440}, "gpu": {"max_gpu": 2, "max_runtime": 1440}}
    (folder / "partitions.yaml").write_text(yaml.safe_dump({"partitions": limits}))
    return folder


@pytest.fixture(scope="module")
def local(tmp_path_factory, slurm) -> Path:
    """The study as it ends on this machine alone, in a thread."""
    folder = prepare(tmp_path_factory.mktemp("local"))
    done = run(command(folder, "--cores", "1", "--", *TARGETS), folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def study(tmp_path, local) -> Path:
    """The study with its arrays, and no phase trained."""
    folder = prepare(tmp_path)
    others = shutil.ignore_patterns("phase*", "evaluate*", "orders", "shown.json", "checked.txt")
    shutil.copytree(local / "results" / "store", folder / "results" / "store", ignore=others)
    return folder


def jobs(slurm: Cluster, what: str = "%i") -> list[str]:
    return slurm.say("squeue", "-h", "-o", what).splitlines()


def until(done: Callable[[], object], what: str, seconds: float = 60) -> None:
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < seconds, f"not so after {seconds} s: {what}"
        time.sleep(0.05)


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("results/store/phase1_1-*/working/?????????-*.pt"))


class Disturbed:
    """A workflow at work on the first phase, whose training has a checkpoint."""

    def __init__(self, folder: Path, slurm: Cluster, *arguments: str) -> None:
        self.folder, self.log = folder, folder / "said.txt"
        with self.log.open("w") as said:
            words = on_slurm(folder, *arguments, "--until", "phase1_1")
            self.process = subprocess.Popen(words, cwd=folder, stdout=said, stderr=said, env={**os.environ, "CI": "1"})
        try:
            until(lambda: self.ended or checkpoints(folder), "the training has a checkpoint")
            assert not self.ended and len(jobs(slurm)) == 1, self.said
            (self.job,) = jobs(slurm)
        except BaseException:
            self.process.kill()
            raise

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def said(self) -> str:
        return self.log.read_text()

    def end(self) -> int:
        try:
            return self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(self.said) from None


def places(slurm: Cluster) -> dict[str, tuple[str, int]]:
    """Of each rule the partition and the GPUs that Slurm gave its last job."""
    where = {}
    for job in slurm.say("scontrol", "show", "job", "--all").split("\n\n"):
        fields = dict(re.findall(r"(\w+)=(\S*)", job))
        if "rule_" in fields.get("Comment", ""):
            gpus = re.search(r"gpu:(\d+)", fields.get("TresPerJob", ""))
            where[re.sub("_wildcards.*", "", fields["Comment"])] = fields["Partition"], int(gpus[1]) if gpus else 0
    return where


def training(folder: Path) -> int:
    """The process that trains."""
    script = f"{folder}/.snakemake/scripts/"
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            words = (process / "cmdline").read_text().split("\0") if process.name.isdigit() else []
            if len(words) > 1 and words[1].startswith(script):
                return int(process.name)
    raise AssertionError("nothing trains")


def train_log(folder: Path) -> str:
    with suppress(FileNotFoundError, ValueError):  # Snakemake removes that of an earlier job
        (log,) = folder.glob("results/store/phase1_1-*/job.log")
        return log.read_text()
    return ""


def finish(folder: Path, local: Path) -> None:
    """The same command goes on from a checkpoint, and ends in the same bytes."""
    done = run(on_slurm(folder, "--until", "phase1_1"), folder)
    assert done.returncode == 0, done.stderr
    assert_went_on(folder, local)


def assert_went_on(folder: Path, local: Path) -> None:
    assert re.search(r"goes on from iteration [1-9]", train_log(folder))
    assert (folder / WEIGHTS).read_bytes() == (local / WEIGHTS).read_bytes()


def test_a_study_over_two_partitions_ends_as_it_does_on_one_machine(tmp_path, local, slurm):
    folder = prepare(tmp_path)
    done = run(on_slurm(folder, "--", *TARGETS), folder)
    assert done.returncode == 0, done.stderr
    assert made(folder) == made(local) and made(local)
    shared = json.loads((folder / "results/two/seed1/phase2/training.json").read_text())
    assert shared["segments"][0]["processes"] == 2
    gpu, cpu = ("gpu", 1), ("cpu", 0)
    trained = {"rule_phase1_1": gpu, "rule_phase2_1": ("gpu", 2)}
    assert places(slurm) == {**trained, "rule_phase1_2": gpu, "rule_evaluate": gpu, "rule_convert": cpu}
    # The log of a job that ended well is not kept.
    assert not list((folder / ".snakemake").rglob("slurm_logs/**/*.log"))


def test_without_gpus_no_job_asks_for_one(study, local, slurm):
    done = run(on_slurm(study, "--resources", "gpu=0", "--until", "phase1_1"), study)
    assert done.returncode == 0, done.stderr
    assert places(slurm)["rule_phase1_1"] == ("cpu", 0)
    assert (study / WEIGHTS).read_bytes() == (local / WEIGHTS).read_bytes()


def test_a_time_limit_in_the_middle_submits_the_job_again_which_goes_on(study, local, slurm):
    workflow = Disturbed(study, slurm)
    # Slurm's limits are minutes, and it looks twice a minute: the training is held still until then. Its limit is over
    # now, and Slurm does as at the end of any: it wakes the processes of the job, and sends them SIGTERM.
    os.kill(training(study), signal.SIGSTOP)
    assert slurm.run("scontrol", "update", f"jobid={workflow.job}", "EndTime=now").returncode == 0
    until(lambda: "TIMEOUT" in slurm.say("scontrol", "show", "job", workflow.job) or workflow.ended, "a time limit")
    assert workflow.end() == 0, workflow.said
    assert "stopped by SIGTERM after iteration" in workflow.said
    assert_went_on(study, local)


def test_jobs_that_begin_later_go_by_the_config_that_the_workflow_was_started_with(study, local, slurm):
    words = on_slurm(study, "--", *TARGETS)
    with subprocess.Popen(words, cwd=study, stderr=subprocess.PIPE, text=True, env={**os.environ, "CI": "1"}) as begun:
        until(lambda: checkpoints(study) or begun.poll() is not None, "the training has a checkpoint")
        edited = (study / "config.yaml").read_text().replace("iterations: 4", "iterations: 6")
        (study / "config.yaml").write_text(edited)
        said = begun.communicate(timeout=LIMIT)[1]
    assert begun.returncode == 0, said
    assert made(study) == made(local)
    # What is edited holds from the next start on.
    assert "to train again: stage 1 iterations: 4, now 6" in run(on_slurm(study, "-n", "phase2"), study).stderr


def test_a_cancelled_job_is_gone_on_with_by_the_same_command(study, local, slurm):
    workflow = Disturbed(study, slurm, "--retries", "0")
    assert slurm.run("scancel", workflow.job).returncode == 0
    assert workflow.end() != 0
    assert "stopped by SIGTERM after iteration" in workflow.said
    finish(study, local)


def test_a_node_that_goes_down_costs_no_byte(study, local, slurm):
    workflow = Disturbed(study, slurm)
    slurm.crash("gpu1")
    slurm.bring_back("gpu1")
    # Slurm puts the job back into its queue, and lets two minutes pass; they are cut short here.
    until(lambda: jobs(slurm, "%i %T") == [f"{workflow.job} PENDING"], "the job is in the queue again")
    assert slurm.run("scontrol", "update", f"jobid={workflow.job}", "StartTime=now").returncode == 0
    assert workflow.end() == 0, workflow.said
    assert_went_on(study, local)


def test_a_snakemake_that_is_killed_leaves_a_job_for_which_the_next_one_waits(study, local, slurm):
    workflow = Disturbed(study, slurm)
    workflow.process.send_signal(signal.SIGKILL)
    workflow.end()
    assert jobs(slurm) == [workflow.job]
    trains = training(study)
    os.kill(trains, signal.SIGSTOP)  # until the job of the next one is there
    words = on_slurm(study, "--until", "phase1_1", "--retries", "0")
    with subprocess.Popen(words, cwd=study, stderr=subprocess.PIPE, text=True) as again:
        try:
            until(lambda: "waits for another workflow that makes" in train_log(study), "the new job waits")
        finally:
            os.kill(trains, signal.SIGCONT)
        said = again.communicate(timeout=LIMIT)[1]
    assert again.returncode == 0, said
    assert (study / WEIGHTS).read_bytes() == (local / WEIGHTS).read_bytes()
