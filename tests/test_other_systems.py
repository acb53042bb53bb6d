"""Systems with less than Linux: neither /proc nor process descriptors, no ``resource``, no links, no affinity."""

import os
from pathlib import Path

import forked
from conftest import write_pairs
from test_workflow import command, finished_study, write_config

LESS = """
import os
import pathlib
import sys

sys.modules["resource"] = None  # to import it is an error
for name in ("sched_getaffinity", "pidfd_open", "getuid"):
    if hasattr(os, name):
        delattr(os, name)
os.process_cpu_count = os.cpu_count  # as Python 3.13 has it where there is no affinity
read_text = pathlib.Path.read_text


def without_proc(self, *arguments, **named):
    if str(self).startswith("/proc/"):
        raise FileNotFoundError(self)
    return read_text(self, *arguments, **named)


def without_links(self, *_, **__):
    raise OSError("this system makes no links")


pathlib.Path.read_text = without_proc
pathlib.Path.symlink_to = without_links
"""


def test_a_phase_is_trained_and_shown(tmp_path, tmp_path_factory):
    """The files are copies, and the same bytes."""
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "sitecustomize.py").write_text(LESS)
    folder = tmp_path / "study"
    write_pairs(folder, train=3, test=2)
    write_config(folder)
    words = command(folder, "--rerun-incomplete", "phase1", "--configfile", str(folder / "config.yaml"))
    done = forked.run(words, {**os.environ, "CI": "1", "USER": "somebody", "PYTHONPATH": str(tmp_path / "python")})
    assert done.returncode == 0, done.stdout + done.stderr
    weights = Path("results/phased/seed1/phase1/weights.safetensors")
    assert not (folder / weights).is_symlink()
    assert (folder / weights).read_bytes() == (finished_study(tmp_path_factory) / weights).read_bytes()
