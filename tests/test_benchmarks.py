"""The benchmark runs, at its tiniest; what it says of speed is not tested."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

import forked
from conftest import ROOT
from multiblock import config

pytestmark = pytest.mark.slow


def run(*arguments: str) -> subprocess.CompletedProcess:
    return forked.run([sys.executable, *arguments], cwd=ROOT)


def make_gpu_check(folder: Path, programs: Path) -> subprocess.CompletedProcess:
    """`make gpu-check` in a folder, with programs in place of those of the environment."""
    words = ["make", "--silent", "--file", ROOT / "Makefile", "--old-file", ".venv/ready", "gpu-check"]
    return subprocess.run([*words, f"BIN={programs}"], cwd=folder, capture_output=True, text=True, timeout=60)


def test_parts_are_measured_and_kept_with_their_header(tmp_path):
    parts = ["feeding", "steps", "growth", "carn", "pictures", "alignment", "conversion"]
    parts += ["many_images", "recompute"]
    done = run("benchmarks", *parts, "--quick", "--repeats", "2", "--threads", "1", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert sorted(file.stem for file in tmp_path.glob("*.csv")) == sorted(parts)
    for part in parts:
        text = (tmp_path / f"{part}.md").read_text()
        for wanted in (f"Command: `python benchmarks {' '.join(parts)} --quick", "Machine: ", "torch ", f"# {part}"):
            assert wanted in text
        assert ("of 2 alternating repeats" in text) == (part in ("feeding", "steps", "carn", "recompute")), part
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
    given = ("--over", tmp_path / "over.yaml", "--out", tmp_path / "out", "--runs", "mcan", "mcan_one_go")
    done = run("benchmarks/full_size.py", f"pairs={pairs}", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "out" / "mcan_pairs.md").read_text()
    assert "mcan_120" not in text
    for wanted in ("python benchmarks/full_size.py pairs=FOLDER", "Machine: ", "# mcan: what", "# mcan_one_go: what"):
        assert wanted in text
    assert re.search(r"^\| mcan_one_go .*\|", text, re.M)


def test_the_full_study_is_planned_to_fit_into_minutes(pairs, tmp_path):
    """For two runs, of which one is sized by the other: three phases of one block and one of three, beside one go."""
    stages = [{"iterations": 100, "batch": 2, "patch": 16, "lr": 1e-4}]
    small = {"data_root": str(pairs), "seeds": [1], "data": {"validation": 1}, "compile": "never"}
    small |= {"blocks": {"mcan": {"network": "mcan", "channels": 4, "residual_blocks": 1}}}
    small |= {"recipes": dict.fromkeys(("phase", "joint", "one_go"), stages)}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    program = (
        "import sys; sys.path[:0] = ['benchmarks', 'workflow']; import full_size, yaml; from pathlib import Path\n"
        "folder = Path(sys.argv[1]); runs = folder / 'runs.yaml'\n"
        "runs.write_text(yaml.safe_dump(full_size._study(['mcan', 'mcan_one_go'])))\n"
        "full_size._plan([runs, folder / 'small.yaml'], 20, folder / 'plan.yaml')"
    )
    done = run("-c", program, tmp_path)
    assert done.returncode == 0 and "# mcan: iterations x " in done.stdout, done.stdout + done.stderr
    study = config.load(config.read([tmp_path / name for name in ("runs.yaml", "small.yaml", "plan.yaml")]))
    phased, one_go = (
        sum(stage.iterations for phase in run.plan.phases for stage in phase.stages) for run in study.runs.values()
    )
    assert phased > 400 and one_go == pytest.approx(phased / 2, rel=0.01)


def test_checks_of_a_gpu_are_made_and_kept(tmp_path):
    checks = ["feeding", "evaluation", "large", "published", "memory_inference", "step imdn", "two_gpus"]
    done = run(
        "benchmarks/gpu_check.py", *checks, "--device", "cpu", "--quick", "--jobs", "2", "--out", str(tmp_path / "out")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(tmp_path / "out" / "checks.csv", keep_default_na=False)
    assert table.columns.tolist() == ["check", "verdict", "found", "seconds"]
    assert dict(zip(table.check, table.verdict, strict=True)) == {
        "a step of imdn": "held",
        "a phase that two GPUs share": "held",
        "patches are the CPU's": "held",
        "evaluation is float32 as IEEE has it": "held",
        "out of memory in inference: smaller tiles": "left out",
        "a picture of 24 megapixels": "held",
        "published weights of IMDN and PAN": "left out",
    }
    assert "5 of 7 held, 2 left out." in done.stdout
    assert "Machine: " in (tmp_path / "out" / "checks.md").read_text()


def test_what_was_checked_before_a_stop_is_kept(tmp_path):
    """By SIGTERM, as a machine that is lent is taken back; it does what Ctrl-C does."""
    arguments = ["benchmarks/gpu_check.py", "step rcan", "feeding", "--device", "cpu", "--quick", "--jobs", "2"]
    arguments = [sys.executable, *arguments, "--out", str(tmp_path)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("held     patches are the CPU's")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "1 of 2 held, 0 left out. Stopped before 1 were made." in output
    table = pd.read_csv(tmp_path / "checks.csv", keep_default_na=False)
    assert dict(zip(table.check, table.verdict, strict=True)) == {
        "a step of rcan": "NOT MADE",
        "patches are the CPU's": "held",
    }


def test_a_run_at_full_size_without_the_one_that_it_is_sized_by():
    program = (
        "import sys; sys.path[:0] = ['benchmarks', 'workflow']; import full_size; from multiblock import config\n"
        "run = config.load(full_size._study(['mcan_one_go'])).runs['mcan_one_go']\n"
        "print(sum(stage.iterations for phase in run.plan.phases for stage in phase.stages))"
    )
    done = run("-c", program)
    said, iterations = done.stdout.splitlines()
    assert said.startswith("mcan_one_go: mcan, by whose block-pixels it is sized, is left out"), done.stderr
    assert int(iterations) == 25_000


def test_a_study_that_fails_at_full_size_ends_in_a_line(tmp_path):
    (tmp_path / "train" / "HR").mkdir(parents=True)
    done = run("benchmarks/full_size.py", f"pairs={tmp_path}", "--out", str(tmp_path / "out"))
    assert done.returncode == 1 and "multiblock: error: " in done.stderr
    assert done.stderr.splitlines()[-1].startswith("pairs: Snakemake ended with status 1; the same command goes on")


def test_a_check_that_does_not_hold_is_said(tmp_path):
    """Weights that are not there: the score cannot be that of a CPU."""
    arguments = (
        "published",
        "--published",
        str(tmp_path),
        "--device",
        "cpu",
        "--quick",
        "--out",
        str(tmp_path / "out"),
    )
    done = run("benchmarks/gpu_check.py", *arguments)
    assert done.returncode == 1
    assert "NOT HELD published weights of IMDN and PAN: multiblock import: " in done.stdout
    assert "0 of 1 held" in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_there_is_nothing_to_check():
    done = make_gpu_check(ROOT, Path(sys.executable).parent)
    said = "no GPU here: nothing to check\nno GPU here: nothing to measure\n"
    assert (done.returncode, done.stdout) == (0, said), done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_check_whose_process_finds_no_gpu_does_not_hold(tmp_path):
    """The checks began on a GPU; one of them, in a process of its own, can no longer reach it."""
    done = run("benchmarks/gpu_check.py", "feeding", "--work", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "the GPU does not answer this process\n"), done.stderr


def test_a_check_that_does_not_hold_spares_the_tables(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@" >> made\ncase "$1" in *gpu_check.py) exit 1;; esac\n')
    python.chmod(0o755)
    done = make_gpu_check(tmp_path, tmp_path)
    assert done.returncode == 2
    checks, tables = (tmp_path / "made").read_text().splitlines()
    assert checks == "benchmarks/gpu_check.py" and tables == "benchmarks feeding steps --device cuda --out results/gpu"
