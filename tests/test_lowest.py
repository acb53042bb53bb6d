"""The workflow with the lowest Snakemake that it allows, which has other ways inside."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, write_pairs
from test_workflow import command, write_config

LEFT_BEHIND = ("appdirs", "reretry")
"""What it needs beside the packages of a newer one."""


@pytest.fixture(scope="module")
def lowest(tmp_path_factory) -> Path:
    """A folder with that Snakemake, to be found before ours."""
    folder = tmp_path_factory.mktemp("lowest")
    version = re.search(r'min_version\("(.+)"\)', (ROOT / "workflow" / "Snakefile").read_text())[1]
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*words, f"snakemake=={version}", *LEFT_BEHIND], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"Snakemake {version} cannot be installed here: {done.stderr.splitlines()[-1]}")
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
