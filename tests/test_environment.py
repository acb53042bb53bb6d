"""The pinned environments agree, and what they pin is what runs."""

import re
from importlib.metadata import version

import yaml

from conftest import ROOT

CONDA_NAMES = {"pytorch": "torch", "snakemake-minimal": "snakemake", "matplotlib-base": "matplotlib"}


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / "envs" / name).read_text().splitlines()
    return {k.lower(): v for k, v in (line.split("==") for line in lines if "==" in line)}


def test_the_lock_holds_what_is_asked_for():
    lock = pins("requirements.txt")
    assert pins("requirements.in").items() <= lock.items()
    assert "torch" not in lock


def test_conda_agrees_with_the_lock():
    known = pins("requirements.txt") | pins("torch.txt")
    conda = yaml.safe_load((ROOT / "envs" / "conda.yaml").read_text())["dependencies"]
    for entry in conda[1:]:
        name, pinned = entry.split("=")
        assert known[CONDA_NAMES.get(name, name)] == pinned, name


def test_the_lock_is_what_runs():
    for name, pinned in {**pins("requirements.in"), **pins("torch.txt")}.items():
        assert re.sub(r"\+.*", "", version(name)) == pinned, name
