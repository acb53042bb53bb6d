"""What jobs ask a cluster for: time and memory from the config, the images, and phases that were trained before."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from multiblock.workflow.dependencies import Dependencies
from multiblock.workflow.layout import Layout
from multiblock.workflow.resources import Resources

from conftest import ROOT
from multiblock import config
from multiblock.data import dataset

PHASE = SimpleNamespace(run="one", seed=1, phase=1)
JOINT = SimpleNamespace(run="one", seed=1, phase=2)


@pytest.fixture
def study(pairs) -> dict:
    """A phase of 10^6 iterations on patches of 48 x 48, 16 at a time, and one of two blocks as long."""
    stages = [{"iterations": 10**6, "batch": 16, "patch": 48}]
    sets = {"name": "mine", "scale": 1, "validation": 1, "train": {"hr": "train/HR", "lr": "train/LR"}}
    return {
        "data": {**sets, "test": {"hr": "test/HR", "lr": "test/LR"}},
        "data_root": str(pairs),
        "results": str(pairs / "results"),
        "blocks": {"small": {"network": "mcan", "channels": 4, "residual_blocks": 1}},
        "recipes": {"long": stages},
        "runs": {"one": {"chain": ["small"] * 2, "plan": [{"span": span, "stages": "long"} for span in (1, "1-2")]}},
    }


def resources(content: dict, size=lambda _: (48, 56), gpus: int | None = None) -> Resources:
    loaded = config.load(content)
    layout = Layout(loaded)
    known = size and SimpleNamespace(find=dataset.find, size=size)
    return Resources(layout, Dependencies(loaded, layout, lambda _: "images", lambda _: "digest"), known, gpus)


def trained(content: dict, **record) -> None:
    folder = Path(content["results"], "one", "seed1", "phase1")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "training.json").write_text(json.dumps(record))


def test_time_is_that_of_the_block_pixels_three_times_over_and_doubles_with_each_attempt(study):
    needs = resources(study)
    # 10^6 x 16 x 48^2 pixels, 2 million a second: 18432 s, three times that are 921.6 minutes.
    assert needs.train_minutes(PHASE, 1) == pytest.approx(922, abs=5)
    assert needs.train_minutes(PHASE, 2) == 2 * needs.train_minutes(PHASE, 1)
    assert needs.train_minutes(JOINT, 1) == pytest.approx(2 * needs.train_minutes(PHASE, 1), abs=10)


def test_a_phase_that_was_trained_before_says_how_fast_it_is(study):
    trained(study, block_pixels_per_second=20_000_000)
    assert resources(study).train_minutes(PHASE, 1) == pytest.approx(93, abs=5)
    assert resources(study).train_minutes(JOINT, 1) > 1800, "two blocks together were not measured"


def test_what_was_trained_on_a_gpu_says_nothing_of_a_cpu_nor_the_other_way_round(study):
    fresh = {gpus: resources(study, gpus=gpus) for gpus in (0, 1)}
    asked = {gpus: (of.train_minutes(PHASE, 1), of.train_mb(PHASE, 1)) for gpus, of in fresh.items()}
    record = {"block_pixels_per_second": 20_000_000, "peak_memory_mib": {"host": 10_000}}
    for device, on in (("cuda", 1), ("cpu", 0)):
        trained(study, **record, segments=[{"device": device}])
        for gpus in (0, 1):
            needs = resources(study, gpus=gpus)
            now = needs.train_minutes(PHASE, 1), needs.train_mb(PHASE, 1)
            assert (now == asked[gpus]) == (gpus != on), (device, gpus)


def test_short_jobs_ask_for_half_an_hour(study):
    study["recipes"]["long"][0]["iterations"] = 1
    needs = resources(study)
    assert needs.train_minutes(PHASE, 1) == needs.image_minutes(PHASE, 1) == 30
    assert needs.image_minutes(PHASE, 3) == 120


def test_large_images_take_time(study):
    few, many = resources(study), resources(study, lambda _: (20_000, 20_000))
    assert many.image_minutes(PHASE, 1) > few.image_minutes(PHASE, 1) == 30
    # Three are trained with; of the others no more is measured than data.max_side.
    assert many.image_mb(PHASE, 1) - few.image_mb(PHASE, 1) == pytest.approx(6 * 3 * 4e8 / 1e6, rel=0.01)


def test_feature_maps_count_where_a_cpu_holds_them(study):
    study["device"] = "cpu"
    on_cpu = resources(study)
    study["device"] = "auto"
    on_gpu = resources(study)
    assert (on_cpu.gpu, on_gpu.gpu) == (0, 1)
    # 16 patches of 48 x 48 pixels, 100 kB a pixel and block.
    assert on_cpu.train_mb(PHASE, 1) - on_gpu.train_mb(PHASE, 1) == pytest.approx(3686, abs=1)
    assert on_cpu.train_mb(JOINT, 1) - on_gpu.train_mb(JOINT, 1) == pytest.approx(2 * 3686, abs=2)
    assert on_cpu.train_minutes(PHASE, 1) > on_gpu.train_minutes(PHASE, 1)


def test_without_gpus_jobs_ask_for_what_a_cpu_takes(study):
    """``--resources gpu=0``: on such a cluster nothing trains on a GPU, whatever the config says of devices."""
    none_given = resources(study, gpus=0)
    study["device"] = "cpu"
    on_cpu = resources(study)
    for what in ("train_mb", "train_minutes", "image_mb", "image_minutes"):
        assert getattr(none_given, what)(PHASE, 1) == getattr(on_cpu, what)(PHASE, 1)
    assert none_given.gpu == none_given.train_gpus(PHASE) == 0


def test_a_phase_asks_for_no_more_gpus_than_were_given(study):
    study["runs"]["one"]["gpus"] = 4
    for gpus, asked in ((None, 4), (8, 4), (2, 2), (1, 1), (0, 0)):
        assert resources(study, gpus=gpus).train_gpus(PHASE) == asked


def test_memory_is_what_was_taken_before_and_a_half_more(study):
    study["device"] = "cpu"
    trained(study, peak_memory_mib={"host": 10_000})
    needs = resources(study)
    assert needs.train_mb(PHASE, 1) == pytest.approx(15_000, abs=5)
    assert needs.train_mb(PHASE, 2) == 2 * needs.train_mb(PHASE, 1)


def test_without_images_the_rest_is_reckoned(study):
    assert resources(study, None).train_minutes(PHASE, 1) == pytest.approx(922, abs=5)


def test_nothing_of_it_imports_pytorch():
    program = "import sys; import multiblock.workflow.resources; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_profile_for_slurm_sets_all_that_the_default_one_sets():
    default, slurm = (
        yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text()) for name in ("default", "slurm")
    )
    assert default.keys() <= slurm.keys()
    assert {key: slurm[key] for key in default if key != "cores"} == {
        key: value for key, value in default.items() if key != "cores"
    }
