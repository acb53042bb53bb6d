"""What runs again after a change, and what does not: plans of a finished study."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, picture
from multiblock import config as configuration
from multiblock.data import images
from multiblock.versions import VERSIONS
from stand_in import counted, results_of, to_do
from test_workflow import REPORT, finished_study, jobs, snakemake

NOTHING: dict[str, int] = {}
LATER = {"phase2_1": 1, "phase3_1": 1, "evaluate": 2, **REPORT}
GENERATED = {"phase1_2": 1, **LATER}
PAGES = {"page": 2, "study_page": 1}
ALL_REPORTS = {"table": 2, "figures": 2, "compare": 1, "losses": 1, "budget": 1, **PAGES}
TRAINED = {"phase1_1": 2, "phase1_2": 1, "phase2_1": 1, "phase3_1": 1, "evaluate": 4, **ALL_REPORTS}
EVERYTHING = {"convert": 1, **TRAINED}
MEASURED = {"evaluate": 4, "table": 2, "figures": 2, "compare": 1, "budget": 1, **PAGES}

FEW = [{"iterations": 4, "batch": 2, "patch": 16, "clamp": False}, {"iterations": 3, "batch": 2, "patch": 16}]
JOINT = [
    {
        "iterations": 3,
        "batch": 2,
        "patch": 16,
        "options": {"betas": [0.9, 0.99], "eps": 1e-7},
        "schedule": {"kind": "cosine", "to": 1e-6, "restarts": 0},
    }
]
ONE = {"chain": ["tiny"], "plan": [{"span": 1, "stages": "few"}]}
OTHER = {"chain": ["tiny"], "plan": [{"span": 1, "stages": "joint"}]}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return finished_study(tmp_path_factory)


@pytest.fixture
def study(finished, tmp_path, monkeypatch) -> Path:
    """A copy of the finished study, where we are, without what Snakemake notes for itself."""
    shutil.copytree(finished, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns(".snakemake"))
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def planned() -> dict[str, int]:
    """The jobs that a start finds to be done where we are, without the process of Snakemake."""
    return counted(to_do(*results_of(configuration.load(configuration.read([Path("config.yaml")])))))


Change = Callable[[Path], object]


def config(**changes) -> Change:
    """Change values of the configuration; keys within keys are joined by two underscores."""

    def change(study: Path) -> None:
        config = yaml.safe_load((study / "config.yaml").read_text())
        for path, value in changes.items():
            *outer, last = (int(key) if key.isdecimal() else key for key in path.split("__"))
            place = config
            for key in outer:
                place = place[key] if isinstance(place, list) else place.setdefault(key, {})
            if last == "added":
                place.append(value)
            else:
                place[last] = value
        (study / "config.yaml").write_text(yaml.safe_dump(config))

    return change


def rewrite_config(study: Path) -> None:
    """Other order, other style, comments: the same configuration."""
    config = yaml.safe_load((study / "config.yaml").read_text())
    turned = {key: dict(reversed(value.items())) if key == "data" else value for key, value in config.items()}
    text = yaml.safe_dump(dict(reversed(turned.items())), sort_keys=False, default_flow_style=True)
    (study / "config.yaml").write_text(f"# A comment.\n{text}")


def reverse_keys(study: Path) -> None:
    """Other order of the keys inside options and schedules."""
    turned = [{k: dict(reversed(v.items())) if isinstance(v, dict) else v for k, v in stage.items()} for stage in JOINT]
    config(recipes__joint=turned)(study)


CONFIGURATION = {
    "order and comments": (rewrite_config, NOTHING),
    "order of keys in options and schedules": (reverse_keys, NOTHING),
    "the same in other words": (
        config(
            runs__phased__plan__1__stages=[{**FEW[0], "clamp": "none"}, {**FEW[1], "clamp": "last", "warmup": 0}],
            evaluation__border=1,
            data_root=".",
        ),
        NOTHING,
    ),
    "a stage's lr in phase 2": (config(runs__phased__plan__1__stages=[{**FEW[0], "lr": 0.5}, FEW[1]]), LATER),
    "other stages in phase 2": (config(runs__phased__plan__1__stages=[{**JOINT[0], "iterations": 5}]), LATER),
    "iterations of the joint phase": (
        config(runs__phased__plan__2__stages=[{**JOINT[0], "iterations": 4}]),
        {"phase3_1": 1, "evaluate": 1, **REPORT},
    ),
    "an average in the joint phase": (
        config(runs__phased__plan__2__stages=[{**JOINT[0], "ema": 0.9}]),
        {"phase3_1": 1, "evaluate": 1, **REPORT},
    ),
    "a block's option": (config(blocks__tiny__channels=6), TRAINED),
    "a seed added": (config(seeds=[1, 2]), TRAINED),
    "a run added": (config(runs__third=OTHER), {"phase1_1": 1, "evaluate": 1, **REPORT}),
    # Trained already: only tables, in which it is named as the one that shares a phase.
    "a run added that begins like another": (config(runs__third=ONE), ALL_REPORTS),
    "a phase added at the end": (
        config(runs__phased__plan__added={"span": "1-2", "stages": "few"}),
        {"phase4_1": 1, "evaluate": 1, **REPORT},
    ),
    "a phase taken away at the end": (
        config(
            runs__phased__plan=[{"span": 1, "stages": "few"}, {"span": 2, "start": "inherit_zeroed", "stages": "few"}]
        ),
        REPORT,
    ),
    "training.keep": (config(training__keep="best"), TRAINED),
    "training.validate_every": (config(training__validate_every=2), NOTHING),
    "training.history_every": (config(training__history_every=2), NOTHING),
    "validate_every, where the validation images decide": (
        config(training={"keep": "best", "validate_every": 2}),
        TRAINED,
    ),
    "training.checkpoint_seconds": (config(training__checkpoint_seconds=5), NOTHING),
    "inference.cache": (config(inference__cache="float16"), GENERATED),
    "inference.memory_gib": (config(inference__memory_gib=1), {**GENERATED, **ALL_REPORTS, "evaluate": 4}),
    "evaluation.border": (config(evaluation__border=3), MEASURED),
    "evaluation.measures": (config(evaluation__measures=["gmsd"]), MEASURED),
    "upscale.images": (config(upscale={"images": "test/LR"}), {"upscale_pictures": 2}),
    "upscale.format without them": (config(upscale={"format": "same"}), NOTHING),
    "report.zoom": (config(report__zoom=32), {"figures": 2, **PAGES}),
    "report.blocks": (config(report__blocks=True), {"take_apart": 2, "by_block": 2}),
    "report.residuals": (config(report__residuals=True), {"residuals": 2}),
    "report.budget_gflops": (config(report__budget_gflops=5), {"budget": 1}),
    "device": (config(device="cpu"), TRAINED),
    "precision": (config(precision="tf32"), TRAINED),
    "data.validation": (config(data__validation=2), EVERYTHING),
    "data.name": (config(data__name="other"), NOTHING),
    "results": (config(results="other"), EVERYTHING),
}


def touch(study: Path) -> None:
    for file in (*study.glob("train/*/*"), *study.glob("test/*/*")):
        os.utime(file)


def move(study: Path) -> None:
    (study / "elsewhere").mkdir()
    for split in ("train", "test"):
        (study / split).rename(study / "elsewhere" / split)
    config(data_root="elsewhere")(study)


def invert(name: str) -> Change:
    """Change the pixels of one image."""
    return lambda study: images.write(study / name, 255 - images.read(study / name))


def add_a_pair(study: Path) -> None:
    for kind in ("HR", "LR"):
        images.write(study / "train" / kind / "image9.png", picture(seed=9))


def other_bytes_at_the_same_time(study: Path) -> None:
    """An image of the same size and time, with other content."""
    file = study / "train" / "HR" / "image0.png"
    before, content = file.stat(), file.read_bytes()
    file.write_bytes(content[:-30] + bytes(x ^ 1 for x in content[-30:-20]) + content[-20:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap_folders(study: Path) -> None:
    """HR and LR change places."""
    for split in ("train", "test"):
        for one, other in (("HR", "x"), ("LR", "HR"), ("x", "LR")):
            (study / split / one).rename(study / split / other)


IMAGES = {
    "all touched": (touch, NOTHING),
    "all moved": (move, NOTHING),
    "a test image": (invert("test/LR/image0.png"), EVERYTHING),
    "a training image": (invert("train/HR/image1.png"), EVERYTHING),
    "a pair added": (add_a_pair, EVERYTHING),
    "other bytes at the same size and time": (other_bytes_at_the_same_time, EVERYTHING),
    "HR and LR change places": (swap_folders, EVERYTHING),
}


def stored(study: Path, place: str) -> Path:
    """Where in the store the file or folder is that a path shows."""
    return (study / "results" / place).resolve(strict=True)


def delete(*places: str) -> Change:
    """Delete files, or folders with all in them, in the store."""

    def change(study: Path) -> None:
        for found in [stored(study, place) for place in places]:
            shutil.rmtree(found) if found.is_dir() else found.unlink()

    return change


def other_weights(study: Path) -> None:
    """Other values in a file of weights, which keeps what it says of itself and has an old time, as after ``cp -p``."""
    file = stored(study, "phased/seed1/phase2/weights.safetensors")
    content = file.read_bytes()
    file.write_bytes(content[:-4] + bytes(x ^ 1 for x in content[-4:]))
    os.utime(file, (2, 2))


def edit_a_table(study: Path) -> None:
    """Another digit in a table, by hand."""
    file = stored(study, "phased/psnr_by_phase.csv")
    text = file.read_text()
    file.write_text(text[:-2] + ("1" if text[-2] != "1" else "2") + text[-1])


def another_picture(study: Path) -> None:
    pictures = stored(study, "one_go/seed1/phase1/images")
    shutil.copy(pictures / "image0.png", pictures / "image1.png")


RESULTS = {
    "weights deleted": (delete("phased/seed1/phase2/weights.safetensors"), LATER),
    "history deleted": (delete("one_go/seed1/phase1/history.csv"), {"phase1_1": 1, "evaluate": 1, **REPORT}),
    "record deleted": (delete("one_go/seed1/phase1/training.json"), {"phase1_1": 1, "evaluate": 1, **REPORT}),
    "arrays deleted": (delete("data/mine/LR"), EVERYTHING),
    "a cached set deleted": (delete("phased/seed1/phase1/LR_1"), GENERATED),
    "pictures deleted": (delete("phased/seed1/phase3/images"), {"evaluate": 1, **REPORT, "losses": 0}),
    "one picture deleted": (delete("phased/seed1/phase3/images/image0.png"), {"evaluate": 1, **REPORT, "losses": 0}),
    "one picture in another's place": (another_picture, {"evaluate": 1, **REPORT, "losses": 0}),
    "one strip deleted": (delete("phased/strips/image1.png"), {"figures": 1}),
    "a figure of losses deleted": (delete("tiny_losses/all.png"), {"losses": 1, "study_page": 1}),
    "a file of one's own beside pictures": (
        lambda study: (study / "results/phased/strips/notes.txt").write_text("mine"),
        NOTHING,
    ),
    "a table deleted": (
        delete("phased/psnr_by_phase.md"),
        {"table": 1, "figures": 1, "page": 1, "compare": 1, "study_page": 1},
    ),
    "a table edited": (edit_a_table, {"table": 1, "figures": 1, "page": 1, "compare": 1, "study_page": 1}),
    "weights replaced by others of long ago": (other_weights, LATER),
    "a log deleted": (delete("phased/seed1/phase1/logs/train.log"), NOTHING),
    "a run's folder deleted": (lambda study: shutil.rmtree(study / "results/phased"), NOTHING),
    "a link deleted": (lambda study: (study / "results/phased/seed1/phase1/weights.safetensors").unlink(), NOTHING),
    "the list of what is shown deleted": (lambda study: (study / "results/store/shown.json").unlink(), NOTHING),
}

TABLE = {
    f"{kind}: {name}": row
    for kind, rows in (("configuration", CONFIGURATION), ("images", IMAGES), ("results", RESULTS))
    for name, row in rows.items()
}


@pytest.mark.parametrize(("change", "rerun"), TABLE.values(), ids=TABLE)
def test_what_a_change_reruns(study, change, rerun):
    change(study)
    assert planned() == {job: count for job, count in rerun.items() if count}


@pytest.mark.parametrize(
    ("kind", "rerun"),
    [
        ("convert", EVERYTHING),
        ("train", TRAINED),
        ("generate", GENERATED),
        ("evaluate", MEASURED),
        ("table", {"table": 2, "figures": 2, "compare": 1, **PAGES}),
        ("figures", {"figures": 2}),
        ("compare", {"compare": 1, "study_page": 1}),
        ("losses", {"losses": 1, "study_page": 1}),
        ("budget", {"budget": 1}),
        ("page", {"page": 2}),
        ("upscale", NOTHING),
    ],
)
def test_a_raised_number_makes_that_kind_again_and_what_reads_it(study, monkeypatch, kind, rerun):
    monkeypatch.setitem(VERSIONS, kind, VERSIONS[kind] + 1)
    assert planned() == rerun


def test_a_flipped_bit_is_noticed_in_every_file(study):
    """Whatever its time says, and only there."""
    store, results = results_of(configuration.load(configuration.read([Path("config.yaml")])))
    looked_at = 0
    for result in results.all():
        for name in store.made(result.address)["files"]:
            file = store.folder(result.address) / name
            content, times = file.read_bytes(), file.stat()
            middle = len(content) // 2
            file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
            verdict = store.verdict(result)
            assert verdict.damaged and verdict.why == f"{name} has changed", file
            file.write_bytes(content[:-1])
            assert store.verdict(result).damaged, file
            file.write_bytes(content)
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
            assert store.verdict(result).made, file
            looked_at += 1
    assert looked_at > 60


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (config(runs__phased__plan__1__stages=[{**FEW[0], "lr": 0.5}, FEW[1]]), ""),
        (another_picture, "image1.png has changed; it is to be kept as results/store/evaluate-"),
    ],
    ids=["a stage's lr", "a picture"],
)
def test_snakemake_runs_what_a_start_finds_and_a_dry_run_changes_nothing(study, change, said):
    change(study)

    def files() -> dict[str, bytes]:
        found = [file for file in (study / "results").rglob("*") if file.is_file() and file.suffix != ".json"]
        return {str(file): file.read_bytes() for file in found}

    before = files()
    found = [snakemake(study, "--dry-run") for _ in range(2)]
    assert all(said in done.stderr and "Traceback" not in done.stderr for done in found)
    assert files() == before
    runs = [dict(re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)) for done in found]
    assert runs[0] == runs[1] == {rule: str(count) for rule, count in planned().items()} != {}


def test_forcing_a_rule_reruns_it_and_what_depends_on_it(study):
    """All of it is said beforehand."""
    assert jobs(study, "--forcerun", "phase2_1") == LATER
    assert jobs(study, "phase2", "--forcerun", "phase2_1") == {"phase2_1": 1, "evaluate": 1, "phase2": 1}
    assert jobs(study, "--forcerun", "results/phased/seed1/phase3/weights.safetensors") == {
        "phase3_1": 1,
        "evaluate": 1,
        **REPORT,
    }
    assert jobs(study) == NOTHING, "nothing was asked for but plans"


def test_code_counts_by_numbers_and_networks_by_their_files(study):
    """The workflow with the code of the study's own copy of the project."""
    for name in ("workflow", "profiles", "envs"):
        shutil.copytree(ROOT / name, study / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Snakefile", study)
    own, package = ("--snakefile", str(study / "Snakefile")), study / "workflow" / "multiblock"
    edited = ["report/figures.py", "page/pages.py", "training/trainer.py", "training/step.py", "data/sampler.py"]
    edited += ["inference/evaluation.py", "model/chain.py", "networks/carn/network.py"]
    for name in edited:
        with (package / name).open("a") as file:
            file.write("\nADDED = 1\n")
    for file in study.glob("results/store/*/made.json"):  # results of other versions of PyTorch and NumPy
        made = json.loads(file.read_text())
        file.write_text(json.dumps({**made, "by": {**made["by"], "torch": "1.0", "numpy": "1.0"}}))
    done = snakemake(study, "--dry-run", *own)
    assert done.returncode == 0 and "Nothing to be done" in done.stderr, done.stderr
    said = [line for line in done.stderr.splitlines() if "there are results that were made with" in line]
    assert len(said) == 2 and "torch 1.0" in said[0] and "numpy 1.0" in said[1]
    with (package / "networks/mcan/network.py").open("a") as file:
        file.write("\nADDED = 1\n")
    assert jobs(study, *own) == TRAINED
