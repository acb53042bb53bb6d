"""Jobs in a container: what ``--sdm apptainer`` runs. A stand-in for Apptainer runs it on this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import forked
from conftest import ROOT, write_pairs
from test_workflow import write_config

APPTAINER = """#!/bin/sh
test "$1" = --version && exec echo "apptainer version 1.4.5"
echo "$@" >> calls.txt
for command; do :; done
exec bash -c "$command"
"""


@pytest.fixture
def convert(tmp_path, monkeypatch):
    """The command that converts images by a workflow that is linked into the folder, with the stand-in to be found."""
    write_pairs(tmp_path, train=3, test=2)
    write_config(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/apptainer").write_text(APPTAINER)
    (tmp_path / "bin/apptainer").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}")
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    words = ["--snakefile", str(tmp_path / "workflow/Snakefile"), "--configfile", str(tmp_path / "config.yaml")]
    words += ["--directory", str(tmp_path), "--cores", "1", "--until", "convert"]
    return [sys.executable, "-m", "snakemake", *words]


@pytest.mark.slow  # jobs of a forked Snakemake are none of its own
def test_jobs_run_in_the_image_that_lies_beside_its_definition(convert, tmp_path):
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/multiblock.sif").touch()
    done = subprocess.run([*convert, "--sdm", "apptainer"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = (tmp_path / "calls.txt").read_text()
    assert calls.startswith("exec") and f" {tmp_path}/envs/multiblock.sif bash -c " in calls
    assert list(tmp_path.glob("results/store/convert-*/made.json"))


def test_without_an_image_nothing_runs_and_without_the_option_none_is_needed(convert, tmp_path):
    done = forked.run([*convert, "--sdm", "apptainer"])
    assert done.returncode and f"--sdm apptainer: {tmp_path}/envs/multiblock.sif: no such file" in done.stderr
    done = forked.run([*convert, "--dry-run"])
    assert done.returncode == 0 and "convert" in done.stderr, done.stdout + done.stderr
    assert not (tmp_path / "calls.txt").exists()
