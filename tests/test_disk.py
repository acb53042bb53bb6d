"""A full disk, a folder that cannot be written, a file that vanishes: a clear error, nothing half, and it goes on."""

import errno
import logging
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import ROOT
from multiblock.data.imageset import write_set
from multiblock.data.partial import PartialSets
from multiblock.errors import UserError, one_line
from multiblock.files import atomic_write, lock, part_of, temporary_folder, write_text
from multiblock.model.chain import Chain
from multiblock.plan import Block
from multiblock.training import checkpoint
from multiblock.training.checkpoint import State
from multiblock.workflow import process
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
    checkpoint.save(folder, State(step=7, weights={"w": torch.zeros(2_000_000)}))


def write_weights(folder: Path) -> None:
    Chain.build([Block(network="mcan", options={})], [True]).save(folder / "weights.safetensors")


def write_images(folder: Path) -> None:
    with write_set(folder / "train.npy", [(1000, 1000)]) as writer:
        writer.add("image", np.zeros((1000, 1000, 3), np.uint8))


def write_table(folder: Path) -> None:
    write_text(folder / "table.csv", "x" * 2_000_000)


WRITERS = [write_checkpoint, write_weights, write_images, write_table]


def test_a_full_disk_ends_a_conversion_with_the_file_that_did_not_fit(small):
    """Whichever it is: the pixels, or the journal; what is left in a buffer fails once more when files are closed."""
    image, files = np.zeros((20, 20, 3), np.uint8), set()
    for pages in range(240, 252):
        (small / "filler").write_bytes(bytes(4096 * pages))
        sets = PartialSets(small / "sets", {"HR": [(20, 20)] * 99, "LR": [(20, 20)] * 99})
        with pytest.raises(OSError, match="No space left on device") as error:
            try:
                for number in range(99):
                    sets.add(f"{pages} {number}", [str(number)], {"HR": [image], "LR": [image]}, {})
            finally:
                sets.close()
        files.add(Path(error.value.filename or "").name)
        shutil.rmtree(small / "sets")
    assert files == {"HR", "LR", "journal"}


@pytest.mark.parametrize("write", WRITERS)
def test_a_limit_on_files_leaves_nothing_half(tmp_path, limited, write):
    with pytest.raises((OSError, UserError)) as error:
        write(tmp_path)
    assert "File too large" in one_line(error.value) and str(tmp_path) in one_line(error.value)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_does_not_fit_leaves_those_before(small):
    for done in (1, 2):
        checkpoint.save(small, State(step=done, weights={"w": torch.zeros(50_000)}))
    with pytest.raises(OSError):
        write_checkpoint(small)
    assert checkpoint.load(small).step == 2


def test_what_was_there_stays_until_what_replaces_it_is_whole(tmp_path):
    file = tmp_path / "a.txt"
    write_text(file, "before")
    with pytest.raises(RuntimeError), atomic_write(file) as part:
        part.write_text("half")
        raise RuntimeError
    assert file.read_text() == "before" and os.listdir(tmp_path) == ["a.txt"]


def test_what_a_killed_writer_left_is_removed_and_a_living_one_s_stays(tmp_path):
    file = tmp_path / "a.txt"
    dead = subprocess.Popen(["true"])
    dead.wait()
    mine = part_of(file)
    left, living = (mine.with_name(mine.name.replace(f"-{os.getpid()}@", f"-{pid}@")) for pid in (dead.pid, 1))
    for part in (left, living):
        part.write_text("half")
    write_text(file, "whole")
    assert file.read_text() == "whole" and set(os.listdir(tmp_path)) == {"a.txt", living.name}


def test_what_another_machine_writes_stays_whatever_its_process_numbers_are_here(tmp_path):
    file = tmp_path / "a.txt"
    dead = subprocess.Popen(["true"])
    dead.wait()
    name = re.sub(r"-\d+@\w+-", f"-{dead.pid}@00000000-", part_of(file).name)
    old = tmp_path / name.replace("00000000", "11111111")
    for part in (tmp_path / name, old):
        part.write_text("half")
    os.utime(old, (0, 0))
    write_text(file, "whole")
    assert set(os.listdir(tmp_path)) == {"a.txt", name}, "after a day it is left over"


def test_temporary_folders_of_killed_processes_go_with_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = "import os, signal\nfrom multiblock.files import temporary_folder\n"
    program += (
        "with temporary_folder() as folder:\n    (folder / 'a').touch()\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "TMPDIR": str(tmp_path)})
    (left,) = tmp_path.iterdir()
    others = [tmp_path / re.sub(r"@\w+-", "@00000000-", left.name), tmp_path / "multiblock-gpus-0"]
    for other in others:
        other.mkdir()
    with temporary_folder() as mine, temporary_folder() as second:
        assert sorted(tmp_path.iterdir()) == sorted([mine, second, *others])
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_long_name_can_be_written(tmp_path):
    file = tmp_path / f"{'n' * 251}.txt"
    write_text(file, "whole")
    assert file.read_text() == "whole"


@pytest.mark.parametrize("write", WRITERS)
def test_all_files_can_be_read_by_whom_the_umask_lets_read(write, tmp_path):
    before = os.umask(0o022)
    try:
        write(tmp_path)
    finally:
        os.umask(before)
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.rglob("*") if file.is_file()}
    assert modes and set(modes.values()) == {"0o644"}, modes


def test_a_locked_folder_is_refused_and_a_lock_ends_with_its_process(tmp_path):
    twice = pytest.raises(UserError, match="another process is training there already")
    with lock(tmp_path, "training"), twice, lock(tmp_path, "training"):
        pass
    with lock(tmp_path, "training"):
        pass
    code = "import os, sys, pathlib; from multiblock.files import lock\n"
    code += "with lock(pathlib.Path(sys.argv[1]), 'x'): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path]).returncode == -9
    with lock(tmp_path, "training"):
        pass


@pytest.mark.parametrize("missing", ["flock", "fsync of a folder"])
def test_a_file_system_without_what_is_extra_is_no_hindrance(missing, tmp_path, monkeypatch, caplog):
    """Network disks and containers lack some of it."""

    def lacks(*_):
        raise OSError(errno.ENOSYS if missing == "flock" else errno.EINVAL, "not there")

    real = os.fsync
    if missing == "flock":
        monkeypatch.setattr("fcntl.flock", lacks)
    else:
        monkeypatch.setattr(os, "fsync", lambda f: lacks() if stat.S_ISDIR(os.fstat(f).st_mode) else real(f))
    with lock(tmp_path, "training"):
        write_text(tmp_path / "a.txt", "whole")
    assert (tmp_path / "a.txt").read_text() == "whole"
    assert ("flock not supported" in caplog.text) == (missing == "flock")


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
    with pytest.raises(SystemExit) as left, process.logged(tmp_path / "log"):
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


@pytest.mark.slow
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
from pathlib import Path
from multiblock.workflow.process import logged
with logged(Path(sys.argv[1])):
    print("begun", flush=True)
    time.sleep(60)
"""

WORKFLOW = """
import subprocess, sys
from multiblock.workflow.process import hand_on
hand_on()
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
    with pytest.raises(SystemExit), process.logged(tmp_path / "log"):
        pytest.fail("it began")
    assert "the Snakemake that started this job is gone" in capsys.readouterr().err
    monkeypatch.setenv("MULTIBLOCK_WORKFLOW", f"{gone.pid} pid:[1]")  # of a container, whose numbers are others
    with process.logged(tmp_path / "log"):
        pass
    logging.getLogger("multiblock").handlers.clear()


def test_a_file_in_the_place_of_a_folder_of_results_is_one_line(pairs):
    write_config(pairs)
    place = pairs / "results" / "one_go" / "seed1" / "phase1"
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    done = snakemake(pairs)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said and 'File "' not in said, said
    assert said.splitlines()[-1] == (
        "multiblock: error: results/one_go/seed1/phase1: is in the way of a folder of results; move it away"
    )
    assert place.read_text() == "mine"
