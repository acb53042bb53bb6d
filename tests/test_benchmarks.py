"""The benchmark runs, at its tiniest; what it says of speed is not tested."""

import re
import subprocess
import sys

import pandas as pd
import pytest

from conftest import ROOT

pytestmark = pytest.mark.slow


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)


def test_parts_are_measured_and_kept_with_their_header(tmp_path):
    parts = ["feeding", "steps", "growth", "carn", "seams", "coverage"]
    done = run("benchmarks", *parts, "--quick", "--repeats", "2", "--threads", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert sorted(file.stem for file in tmp_path.glob("*.csv")) == sorted(parts)
    for part in parts:
        text = (tmp_path / f"{part}.md").read_text()
        for wanted in (f"Command: `python benchmarks {' '.join(parts)} --quick", "Machine: ", "torch ", f"# {part}"):
            assert wanted in text
    ways = pd.read_csv(tmp_path / "steps.csv")
    assert ways[ways.block == "MCAN"].way.tolist()[0] == "eager float32, default layout"
    assert ways[ways.block == "MCAN"].way.tolist()[-1] == "ours"
    feeding = pd.read_csv(tmp_path / "feeding.csv")
    assert len(feeding) == 3 and feeding.feeding[2].startswith("ours")


@pytest.mark.parametrize("script", ["benchmarks", "benchmarks/full_size.py"])
def test_what_cannot_be_measured_is_named(script):
    done = run(script, "nothing")
    assert done.returncode == 2 and "nothing" in done.stderr and "Traceback" not in done.stderr


def test_the_full_study_is_kept_with_its_header(pairs, tmp_path):
    (tmp_path / "over.yaml").write_text(
        "blocks: {mcan: {network: mcan, channels: 4, residual_blocks: 1}}\n"
        "data: {validation: 1}\n"
        "shrink: {iterations: 0.0002, batch: 2, patch: 16, seeds: 1}\n"
        "training: {below_input: go_on}\n"
    )
    done = run("benchmarks/full_size.py", f"pairs={pairs}", "--over", tmp_path / "over.yaml", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "out" / "mcan_pairs.md").read_text()
    for wanted in ("python benchmarks/full_size.py pairs=FOLDER", "Machine: ", "# mcan: what", "# mcan_one_go: what"):
        assert wanted in text
    assert re.search(r"^\| mcan_one_go .*\|", text, re.M)
