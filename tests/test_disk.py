"""A full disk, a folder that cannot be written, a file that vanishes: a clear error, nothing half, and it goes on."""

import errno
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from conftest import ROOT
from multiblock import jobs
from multiblock.chain import Chain
from multiblock.data.imageset import write_set
from multiblock.errors import UserError, one_line
from multiblock.files import claim, whole, write_text
from multiblock.plan import Block
from multiblock.training import checkpoint
from multiblock.training.checkpoint import State
from test_workflow import snakemake, write_config


@pytest.fixture
def small(tmp_path):
    """A folder that holds one MiB and not more."""
    folder = tmp_path / "small"
    folder.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small file system needs the right to mount one")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def limited():
    """Files of at most 100 kB, whoever writes them."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_checkpoint(folder: Path) -> None:
    checkpoint.save(folder, State(done=7, weights={"w": torch.zeros(2_000_000)}))


def write_weights(folder: Path) -> None:
    Chain.build([Block(network="mcan", options={})], [True]).save(folder / "weights.safetensors")


def write_images(folder: Path) -> None:
    with write_set(folder / "train.npy", [(1000, 1000)]) as writer:
        writer.add("image", np.zeros((1000, 1000, 3), np.uint8))


def write_table(folder: Path) -> None:
    write_text(folder / "table.csv", "x" * 2_000_000)


WRITERS = [write_checkpoint, write_weights, write_images, write_table]


@pytest.mark.parametrize("write", WRITERS)
def test_a_full_disk_leaves_nothing_half(small, write):
    (small / "old").write_bytes(bytes(500_000))
    with pytest.raises((OSError, UserError)) as error:
        write(small)
    assert "No space left on device" in one_line(error.value) and str(small) in one_line(error.value)
    assert [file.name for file in small.iterdir()] == ["old"]


@pytest.mark.parametrize("write", WRITERS)
def test_a_limit_on_files_leaves_nothing_half(tmp_path, limited, write):
    with pytest.raises((OSError, UserError)) as error:
        write(tmp_path)
    assert "File too large" in one_line(error.value) and str(tmp_path) in one_line(error.value)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_does_not_fit_leaves_those_before(small):
    for done in (1, 2):
        checkpoint.save(small, State(done=done, weights={"w": torch.zeros(50_000)}))
    with pytest.raises(OSError):
        write_checkpoint(small)
    assert checkpoint.load(small).done == 2


def test_what_was_there_stays_until_what_replaces_it_is_whole(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "before")
    with pytest.raises(RuntimeError), whole(file) as part:
        part.write_text("half")
        raise RuntimeError
    assert file.read_text() == "before" and os.listdir(tmp_path) == ["a.txt"]


def test_two_writers_of_one_file_are_refused(tmp_path):
    file = tmp_path / "a.txt"
    with whole(file) as part:
        part.write_text("first")
        with pytest.raises(UserError, match=r"a\.txt: process .* is writing it already"):
            write_text(file, "second")
    assert file.read_text() == "first"
    with claim(tmp_path / "lock", tmp_path, "training here"), pytest.raises(UserError, match=f"process {os.getpid()} "):
        claim(tmp_path / "lock", tmp_path, "training here")
    claim(tmp_path / "lock", tmp_path, "training here").close()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out.npy"), "out.npy: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), "out: Permission denied"),
        (UserError("a\nb.png: is no image"), r"a\x0ab.png: is no image"),
        (UserError("b\udcff.png: is no image"), r"b\xff.png: is no image"),
        (UserError("c\x85\u2028.png: is no image"), r"c\x85\u2028.png: is no image"),
    ],
)
def test_a_job_ends_with_one_line(tmp_path, capsys, error, says):
    with pytest.raises(SystemExit) as left, jobs.job(SimpleNamespace(log=[str(tmp_path / "log")])):
        raise error
    assert left.value.code == 1
    assert (tmp_path / "log").read_text() == capsys.readouterr().err == f"multiblock: error: {says}\n"
    logging.getLogger("multiblock").handlers.clear()


def test_a_results_folder_that_cannot_be_made(pairs):
    write_config(pairs, results="/proc/results")
    done = snakemake(pairs)
    assert done.returncode != 0
    assert "multiblock: error: /proc/results" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_on_a_full_disk_the_workflow_stops_and_goes_on_when_there_is_room(pairs, small):
    runs = {"one": {"chain": ["tiny"], "plan": [{"span": 1, "stages": "few"}]}}
    write_config(pairs, results=str(small), runs=runs)
    (small / "filler").write_bytes(bytes(990_000))
    done = snakemake(pairs)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "No space left on device" in said
    assert not list(small.rglob("*.npy")) and not list(small.rglob("*.safetensors"))
    (small / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
    done = snakemake(pairs)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (small / "one" / "psnr_by_phase.csv").exists()


JOB = """
import sys, time
from types import SimpleNamespace
from multiblock.jobs import job
with job(SimpleNamespace(log=[sys.argv[1]])):
    print("begun", flush=True)
    time.sleep(60)
"""

WORKFLOW = """
import subprocess, sys
from multiblock.jobs import start_jobs
start_jobs()
subprocess.run([sys.executable, "-c", sys.argv[1], sys.argv[2]])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_ends_with_the_workflow_that_started_it(tmp_path, number):
    arguments = [sys.executable, "-c", WORKFLOW, JOB, str(tmp_path / "log")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT) as workflow:
        assert workflow.stdout.readline() == "begun\n"
        begun = time.monotonic()
        workflow.send_signal(number)
        workflow.stdout.read()  # the job holds it open while it lives
        assert time.monotonic() - begun < 5


def test_a_job_whose_workflow_is_gone_does_not_begin(tmp_path, monkeypatch, capsys):
    gone = subprocess.Popen(["true"])
    gone.wait()
    monkeypatch.setenv("MULTIBLOCK_WORKFLOW", f"{gone.pid} {os.readlink('/proc/self/ns/pid')}")
    with pytest.raises(SystemExit), jobs.job(SimpleNamespace(log=[str(tmp_path / "log")])):
        pytest.fail("it began")
    assert "the Snakemake that started this job is gone" in capsys.readouterr().err
    monkeypatch.setenv("MULTIBLOCK_WORKFLOW", f"{gone.pid} pid:[1]")  # of a container, whose numbers are others
    with jobs.job(SimpleNamespace(log=[str(tmp_path / "log")])):
        pass
    logging.getLogger("multiblock").handlers.clear()
