"""Each process gets a GPU of its own, as long as there are enough; the GPUs are pretended."""

import os
import subprocess
import sys

import pytest

from multiblock.runtime import gpus

HOLD = """
import sys
from multiblock.runtime import gpus
print(*gpus.take(sys.argv[1:]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a process that takes one of the GPUs; the place that it got and the processes that it shares it with."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    started = []

    def one(*gpus: str) -> tuple[int, int]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, *gpus], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        number, others = process.stdout.readline().split()
        return int(number), int(others)

    one.started = started
    yield one
    for process in started:
        process.communicate("")


def test_each_process_gets_its_own_and_then_the_least_used(start):
    assert [start("A", "B", "C") for _ in range(3)] == [(0, 0), (1, 0), (2, 0)]
    assert start("B", "C") == (0, 1)
    assert start("A", "B", "C") == (0, 1)
    assert start("C") == (0, 1)
    assert start("B", "C") == (0, 2)


def test_what_a_killed_process_held_is_free(start):
    start("A", "B")
    start("A", "B")
    start.started[0].kill()
    start.started[0].wait()
    assert start("A", "B") == (0, 0)


def test_processes_that_start_at_once_get_different_ones(start, tmp_path):
    gpus = ["A", "B", "C", "D"]
    together = [
        subprocess.Popen([sys.executable, "-c", HOLD, *gpus], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in gpus
    ]
    start.started.extend(together)
    assert sorted(process.stdout.readline() for process in together) == [f"{number} 0\n" for number in range(4)]


def test_a_process_keeps_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(gpus, "_held", {})
    assert gpus.take(["A", "B"]) == gpus.take(["A", "B"]) == (0, 0)
    gpus.give_back("A")
    assert gpus.take(["B", "A"]) == (0, 0)
    assert gpus.take(["A", "B"]) == (1, 0)  # the first of them that it holds
    gpus.give_back("B")


def test_without_locks_the_first_is_taken_and_said(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(gpus, "folder", lambda: tmp_path / "file")
    assert gpus.take(["A", "B"]) == (0, 0)
    assert "the first is taken" in caplog.text


def test_the_locks_lie_on_this_machine_for_this_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert gpus.folder().parent == tmp_path
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert gpus.folder().name.endswith(str(os.getuid()))
