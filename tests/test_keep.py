"""What stands is kept until what replaces it is whole; content decides what runs, not the times of files."""

import json
import os
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from conftest import picture
from multiblock.data import images
from multiblock.model.chain import Chain
from multiblock.plan import Block
from once import once
from test_workflow import command, jobs, snakemake, write_config

pytestmark = pytest.mark.slow

STAGES = [{"iterations": 150, "batch": 2, "patch": 16, "lr": 1e-4}]
PLAN = [{"span": 1, "stages": STAGES}, {"span": 2, "start": "inherit_zeroed", "stages": STAGES}]


def study(folder: Path, plan=PLAN, **changes) -> Path:
    runs = {"one": {"chain": ["tiny"] * len(plan), "plan": plan}}
    write_config(folder, **{"runs": runs, "report": {}, **changes})
    return folder


@pytest.fixture
def one_phase(pairs, tmp_path_factory) -> Path:
    """The pairs, and the study of the first phase alone, finished."""
    return once(tmp_path_factory, "one_phase", partial(finished, plan=PLAN[:1], of=pairs), pairs)


@pytest.fixture
def two_phases(one_phase, tmp_path_factory) -> Path:
    """The same, grown by the second phase."""
    return once(tmp_path_factory, "two_phases", partial(finished, plan=PLAN, of=one_phase), one_phase)


def finished(part: Path, plan: list, of: Path) -> None:
    shutil.copytree(of, part, dirs_exist_ok=True)
    finish(study(part, plan))


def finish(folder: Path) -> None:
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout + done.stderr


def interrupt(folder: Path, when: str, *arguments: str, by: int = signal.SIGINT) -> str:
    """Start the workflow, press Ctrl-C once there is a file ``when``; what was said."""
    words = command(folder, "--configfile", str(folder / "config.yaml"), *arguments)
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 120
        while not list(folder.glob(when)):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, by)
        said = process.communicate()[0]
    assert process.returncode != 0
    return said


def files(folder: Path) -> dict[str, bytes]:
    """What a phase leaves, without its times."""
    return {name: (folder / name).read_bytes() for name in ("weights.safetensors", "history.csv")}


def slow(folder: Path) -> None:
    """Checkpoints often, so that a test need not wait for one."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["training"] = {**config.get("training", {}), "checkpoint_seconds": 0.1}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def assert_no_error(said: str) -> None:
    """Nothing but what the job says of its stop."""
    for word in ("RuleException", "Error in rule", "WorkflowError", "Traceback", "At least one job", "Cannot restore"):
        assert word not in said, said


def test_a_stop_by_sigterm_is_no_error_either(pairs):
    """As ``timeout`` and batch systems stop a command: all its processes at once."""
    slow(study(pairs))
    said = interrupt(pairs, "results/one/seed1/phase1/working-*/*.pt", by=signal.SIGTERM)
    assert "stopped by SIGTERM after iteration" in said and "of phase 1; the same command goes on from there" in said
    assert_no_error(said)


def test_a_forced_phase_that_is_stopped_is_finished_by_the_plain_command(two_phases):
    slow(two_phases)
    phase = two_phases / "results/one/seed1/phase2"
    before = files(phase)
    said = interrupt(two_phases, "results/one/seed1/phase2/working-*/*.pt", "--forcerun", "phase2_1")
    assert "of phase 2; the same command goes on from there" in said
    assert_no_error(said)
    assert files(phase) == before
    assert "phase2_1" in jobs(two_phases)
    finish(two_phases)
    assert "goes on from iteration" in (phase / "logs/train.log").read_text()
    assert files(phase) == before and jobs(two_phases) == {}


def test_a_slip_in_the_config_that_is_put_back_costs_nothing(one_phase):
    slow(one_phase)
    good, phase = (one_phase / "config.yaml").read_text(), one_phase / "results/one/seed1/phase1"
    before = files(phase)
    (one_phase / "config.yaml").write_text(good.replace("iterations: 150", "iterations: 300000"))
    interrupt(one_phase, "results/one/seed1/phase1/working-*/*.pt")
    (one_phase / "config.yaml").write_text(good)
    finish(one_phase)
    assert files(phase) == before
    assert "stands as it is" in (phase / "logs/train.log").read_text() and jobs(one_phase) == {}


def test_results_without_snakemake_s_notes_are_known_for_what_they_are(one_phase):
    shutil.rmtree(one_phase / ".snakemake")
    assert jobs(one_phase) == {}
    study(one_phase, [{"span": 1, "stages": [{**STAGES[0], "lr": 5e-4}]}])
    assert jobs(one_phase)["phase1_1"] == 1 and "convert" not in jobs(one_phase)
    images.write(one_phase / "train/HR/image1.png", 255 - picture(seed=500))
    assert jobs(one_phase)["convert"] == 1


def test_results_copied_in_any_order_train_nothing(two_phases):
    """A plain copy gives files new times, in any order."""
    made = [file for file in (two_phases / "results").rglob("*") if file.is_file() and file.parent.name != ".depends"]
    for second, file in enumerate(np.random.default_rng(0).permutation(made)):
        os.utime(file, (1_600_000_000 + second, 1_600_000_000 + second))
    shutil.rmtree(two_phases / ".snakemake")
    records = [two_phases / f"results/one/seed1/phase{number}/training.json" for number in (1, 2)]
    before = [record.read_bytes() for record in records]  # with times: a training anew would have others
    assert "phase1_1" in jobs(two_phases)  # Snakemake goes by times
    finish(two_phases)
    assert [record.read_bytes() for record in records] == before
    assert jobs(two_phases) == {}


def test_content_of_start_weights_decides(pairs):
    def weights(seed: int) -> None:
        torch.manual_seed(seed)
        options = {"channels": 4, "residual_blocks": 1}
        Chain.build([Block(network="mcan", options=options)], [True]).save(pairs / "start.safetensors")

    weights(1)
    study(pairs, [{"span": 1, "start": str(pairs / "start.safetensors"), "stages": [{"iterations": 0}]}])
    finish(pairs)
    os.utime(pairs / "start.safetensors")
    assert jobs(pairs) == {}
    weights(2)
    os.utime(pairs / "start.safetensors", (1.5e9, 1.5e9))
    assert jobs(pairs)["phase1_1"] == 1


def test_a_second_workflow_is_refused_before_it_deletes_anything(pairs):
    study(pairs, [{"span": 1, "stages": [{**STAGES[0], "iterations": 100_000}]}])
    words = command(pairs, "--configfile", str(pairs / "config.yaml"))
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as first:
        deadline = time.monotonic() + 60
        while not (pairs / "results/data/mine/LR/test.csv").exists():
            assert time.monotonic() < deadline and first.poll() is None
            time.sleep(0.02)
        second = snakemake(pairs)
        assert second.returncode != 0
        assert "results: another process is running the workflow there already" in second.stderr
        assert first.poll() is None and (pairs / "results/data/mine/LR/test.csv").exists()
        assert snakemake(pairs, "--dry-run").returncode == 0
        os.killpg(first.pid, signal.SIGKILL)
    study(pairs, PLAN[:1])
    finish(pairs)


def test_another_experiment_of_the_same_name_is_kept(one_phase):
    before = files(one_phase / "results/one/seed1/phase1")
    study(one_phase, PLAN)  # grown: the same experiment
    assert "phase1_1" not in jobs(one_phase)
    study(one_phase, PLAN[:1], blocks={"tiny": {"network": "mcan", "channels": 6, "residual_blocks": 1}})
    said = snakemake(one_phase, "--dry-run").stderr
    assert "results/one holds weights of another chain or data set; it will be renamed and kept" in said
    done = snakemake(one_phase)
    assert done.returncode == 0 and "it is kept as results/one.before1" in done.stderr
    assert files(one_phase / "results/one.before1/seed1/phase1") == before
    assert files(one_phase / "results/one/seed1/phase1") != before
    study(one_phase, PLAN[:1])  # back to the first one
    done = snakemake(one_phase)
    assert done.returncode == 0 and "results/one.before1 holds weights of this chain and data set" in done.stderr
    assert files(one_phase / "results/one/seed1/phase1") == before and "phase1_1" not in done.stderr
    assert sorted(folder.name for folder in (one_phase / "results").glob("one*")) == ["one", "one.before2"]


def test_other_images_under_the_same_name_are_another_experiment(one_phase):
    def replaced(numbers) -> None:
        for number in numbers:
            for kind in ("HR", "LR"):
                images.write(
                    one_phase / f"train/{kind}/image{number}.png", picture(seed=900 + number) // (1 + (kind == "LR"))
                )

    before = files(one_phase / "results/one/seed1/phase1")
    replaced([1, 2, 3])  # one is left
    assert "another chain or data set" not in snakemake(one_phase, "--dry-run").stderr
    replaced([4])
    said = snakemake(one_phase, "--dry-run").stderr
    assert "results/one holds weights of another chain or data set; it will be renamed and kept" in said
    finish(one_phase)
    assert files(one_phase / "results/one.before1/seed1/phase1") == before
    assert files(one_phase / "results/one/seed1/phase1") != before
    assert jobs(one_phase) == {}


def test_a_phase_that_the_plan_no_longer_has_is_named(two_phases):
    study(two_phases, PLAN[:1])
    said = snakemake(two_phases, "--dry-run").stderr
    assert "results/one/seed1/phase2 is of a phase that the plan no longer has" in said
    assert "it is left as it is; `multiblock clean` removes it\n" in said


def test_looking_at_results_needs_no_images(one_phase):
    for split in ("train", "test"):
        shutil.rmtree(one_phase / split)
    for arguments in (["--report", "report.html"], ["--list-rules"]):
        done = snakemake(one_phase, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (one_phase / "report.html").stat().st_size > 100_000


def test_a_phase_below_no_network_stops_the_run_there(pairs):
    """That of the tiny study, with `below_input: go_on`, does not: tests/test_workflow.py."""
    bad = [{"span": 1, "stages": [{**STAGES[0], "iterations": 5, "lr": 1}]}, PLAN[1]]
    study(pairs, bad, training={"below_input": "stop"})
    done = snakemake(pairs)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "warning: phase 1 ends at" in said and "without any network" in said
    assert (pairs / "results/one/seed1/phase1/psnr.csv").exists()
    assert not (pairs / "results/one/seed1/phase2/weights.safetensors").exists()
    record = json.loads((pairs / "results/one/seed1/phase1/training.json").read_text())
    assert record["psnr_rgb_validation"] < record["psnr_rgb_validation_input"]
    assert "the run stops here" in said
    assert "multiblock: stopped in phase1_2 of run one, seed 1" in said
    assert "RuleException" not in said and "CalledProcessError" not in said  # the job has said why itself
