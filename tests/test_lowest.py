"""The workflow with the lowest versions that the project allows, PyTorch's apart, which takes gigabytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import write_pairs
from test_environment import EXTRAS, PROJECT, wanted
from test_workflow import command, write_config

LEFT_BEHIND = ("appdirs", "pytz", "reretry")
"""What they need beside the packages of newer ones."""


@pytest.fixture(scope="module")
def lowest(tmp_path_factory) -> Path:
    """A folder with those packages, to be found before ours."""
    folder = tmp_path_factory.mktemp("lowest")
    asked = wanted(PROJECT["dependencies"] + EXTRAS["workflow"])
    del asked["torch"]
    floors = [f"{name}=={least.version}" for name in asked for least in asked[name].specifier if least.operator == ">="]
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    words += ["--target", str(folder)]
    done = subprocess.run([*words, *floors, *LEFT_BEHIND], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the lowest versions cannot be installed here: {done.stderr.splitlines()[-1]}")
    return folder


@pytest.mark.slow
def test_a_study_runs_and_is_up_to_date_then(lowest, tmp_path):
    write_pairs(tmp_path, train=3, test=2)
    write_config(tmp_path)
    words = command(tmp_path, "--configfile", str(tmp_path / "config.yaml"))
    env = {**os.environ, "CI": "1", "PYTHONPATH": str(lowest)}
    version = subprocess.run([*words[:3], "--version"], env=env, capture_output=True, text=True).stdout.strip()
    assert (lowest / f"snakemake-{version}.dist-info").is_dir(), "another one has run"
    for says in ("", "Nothing to be done: all that was asked for is up to date"):
        done = subprocess.run(words, env=env, capture_output=True, text=True)
        assert done.returncode == 0 and says in done.stderr, done.stdout + done.stderr
    assert (tmp_path / "results" / "tiny_report.html").stat().st_size > 0
