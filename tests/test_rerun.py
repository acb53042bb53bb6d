"""What runs again after a change, and what does not: dry runs on a finished study."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, picture
from multiblock.data import images
from test_workflow import REPORT, finished_study, jobs, snakemake

PACKAGE = Path("workflow", "multiblock")

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


def of(study: Path, *arguments: str) -> dict[str, int]:
    """The jobs that would run, with the code of the study's own copy of the project."""
    return jobs(study, "--snakefile", str(study / "Snakefile"), *arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A copy of the project in which the tiny study has run."""
    folder = finished_study(tmp_path_factory)
    for name in ("workflow", "profiles", "envs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / "Snakefile", folder)
    return folder


@pytest.fixture
def study(finished):
    """The finished study, to be changed by a test; put back after it."""

    def files() -> set[Path]:
        places = ("config.yaml", "train/**/*", "test/**/*", "elsewhere/**/*", "workflow/multiblock/**/*.py")
        places += ("workflow/multiblock/page/*/*",)
        found = {file for place in (*places, "results/**/*") for file in finished.glob(place) if file.is_file()}
        return {file for file in found if file.parent.name != ".depends" and file.name != "digests.json"}

    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files()}
    folders = {file.parent: file.parent.stat().st_mtime_ns for file in before}
    yield finished
    for file in files() - before.keys():
        file.unlink()
    for file, (content, time) in before.items():
        if not file.exists() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            os.utime(file, ns=(time, time))
    for folder, time in folders.items():
        os.utime(folder, ns=(time, time))


Change = Callable[[Path], None]


def reverse_keys(study: Path) -> None:
    """Other order of the keys inside options and schedules."""
    turned = [{k: dict(reversed(v.items())) if isinstance(v, dict) else v for k, v in stage.items()} for stage in JOINT]
    config(recipes__joint=turned)(study)


def reword(study: Path) -> None:
    """Other words in every log message and every error of the package."""
    changed = 0
    for file in (study / PACKAGE).rglob("*.py"):
        text = file.read_text()
        new = re.sub(r"((?:log\.(?:info|warning)|raise UserError)\(\s*f?\")", r"\1So: ", text)
        changed += new != text
        file.write_text(new)
    assert changed >= 20


def other_versions(study: Path) -> None:
    """The results were made with other versions of Python and PyTorch."""
    for file in study.glob("results/**/.made/*.json"):
        made = json.loads(file.read_text())
        file.write_text(json.dumps({**made, "versions": {"python": "3.9.1", "torch": "1.0", "numpy": "1.0"}}))


def delete(*places: str) -> Change:
    """Delete files, or folders with all in them, by hand."""

    def change(study: Path) -> None:
        for place in places:
            found = study / "results" / place
            assert found.exists()
            shutil.rmtree(found) if found.is_dir() else found.unlink()

    return change


def other_weights(place: str) -> Change:
    """Other values in a file of weights, which keeps what it says of itself and has an old time, as after ``cp -p``."""

    def change(study: Path) -> None:
        file = study / "results" / place
        content = file.read_bytes()
        file.write_bytes(content[:-4] + bytes(x ^ 1 for x in content[-4:]))
        os.utime(file, (2, 2))

    return change


def edit_result(place: str) -> Change:
    """Another digit in a table, by hand."""

    def change(study: Path) -> None:
        file = study / "results" / place
        text = file.read_text()
        file.write_text(text[:-2] + ("1" if text[-2] != "1" else "2") + text[-1])

    return change


def other_bytes_at_the_same_time(study: Path) -> None:
    """An image of the same size and time, with other content."""
    file = study / "train" / "HR" / "image0.png"
    before, content = file.stat(), file.read_bytes()
    file.write_bytes(content[:-30] + bytes(x ^ 1 for x in content[-30:-20]) + content[-20:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def for_reading_only(study: Path) -> None:
    """Nothing that a plan writes can be written, whoever tries."""
    folders = [study / "results", *(study / "results").rglob(".depends")]
    for folder in {folder.parent if folder.name == ".depends" else folder for folder in folders}:
        shutil.rmtree(folder / ".depends", ignore_errors=True)
        (folder / ".depends").write_text("")
    (study / "results/data/digests.json").unlink()
    (study / "results/data/digests.json").mkdir()


def swap_folders(study: Path) -> None:
    """HR and LR change places."""
    for split in ("train", "test"):
        for one, other in (("HR", "x"), ("LR", "HR"), ("x", "LR")):
            (study / split / one).rename(study / split / other)


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


def code(*modules: str) -> Change:
    """Add a line of code to modules of the package."""

    def change(study: Path) -> None:
        for module in modules:
            with (study / PACKAGE / module).open("a") as file:
                file.write("\nADDED = 1\n")

    return change


def edit(module: str, old: str, new: str) -> Change:
    """Change a module of the package."""

    def change(study: Path) -> None:
        file = study / PACKAGE / module
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return change


def comment(module: str) -> Change:
    """Put comments and another docstring into a module of the package."""

    def change(study: Path) -> None:
        file = study / PACKAGE / module
        text = file.read_text()
        assert text.startswith('"""')
        file.write_text(f'"""Other words.{text[3:]}\n# A comment.\n')

    return change


def touch(study: Path) -> None:
    for file in (*study.glob("train/*/*"), *study.glob("test/*/*")):
        os.utime(file)


def move(study: Path) -> None:
    (study / "elsewhere").mkdir(exist_ok=True)
    for split in ("train", "test"):
        (study / split).rename(study / "elsewhere" / split)
    config(data_root="elsewhere")(study)


def invert(name: str) -> Change:
    """Change the pixels of one image."""
    return lambda study: images.write(study / name, 255 - images.read(study / name))


def add_a_pair(study: Path) -> None:
    for kind in ("HR", "LR"):
        images.write(study / "train" / kind / "image9.png", picture(seed=9))


CONFIGURATION = {
    "order and comments": (rewrite_config, NOTHING),
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
    # What is left was made before the tables, in which it comes to stand alone.
    "a phase taken away at the end": (
        config(
            runs__phased__plan=[{"span": 1, "stages": "few"}, {"span": 2, "start": "inherit_zeroed", "stages": "few"}]
        ),
        REPORT,
    ),
    "training.keep": (config(training__keep="best"), TRAINED),
    "training.validate_every": (config(training__validate_every=2), NOTHING),
    "training.history_every": (config(training__history_every=2), NOTHING),
    "order of keys in options and schedules": (reverse_keys, NOTHING),
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
    "precision": (config(precision="float32"), TRAINED),
    "data.validation": (config(data__validation=2), EVERYTHING),
    "results": (config(results="other"), EVERYTHING),
}

IMAGES = {
    "all touched": (touch, NOTHING),
    "all moved": (move, NOTHING),
    "a test image": (invert("test/LR/image0.png"), EVERYTHING),
    "a training image": (invert("train/HR/image1.png"), EVERYTHING),
    "a pair added": (add_a_pair, EVERYTHING),
    "other bytes at the same size and time": (other_bytes_at_the_same_time, EVERYTHING),
    "HR and LR change places": (swap_folders, EVERYTHING),
}

RESULTS = {
    "weights deleted": (delete("phased/seed1/phase2/weights.safetensors"), LATER),
    "history deleted": (delete("one_go/seed1/phase1/history.csv"), {"phase1_1": 1, "evaluate": 1, **REPORT}),
    "record deleted": (delete("one_go/seed1/phase1/training.json"), {"phase1_1": 1, "evaluate": 1, **REPORT}),
    "arrays deleted": (delete("data/mine/LR"), EVERYTHING),
    "a cached set deleted": (delete("phased/seed1/phase1/LR_1"), GENERATED),
    "pictures deleted": (delete("phased/seed1/phase3/images"), {"evaluate": 1, **REPORT, "losses": 0}),
    "one picture deleted": (
        delete("phased/seed1/phase3/images/image0.png"),
        {"evaluate": 1, **REPORT, "losses": 0},
    ),
    "one strip deleted": (delete("phased/strips/image1.png"), {"figures": 1}),
    "a figure of losses deleted": (delete("tiny_losses/all.png"), {"losses": 1, "study_page": 1}),
    "one picture in another's place": (
        lambda study: shutil.copy(
            study / "results/one_go/seed1/phase1/images/image0.png",
            study / "results/one_go/seed1/phase1/images/image1.png",
        ),
        {"evaluate": 1, **REPORT, "losses": 0},
    ),
    "a file of one's own beside pictures": (
        lambda study: (study / "results/phased/strips/notes.txt").write_text("mine"),
        NOTHING,
    ),
    "a table deleted": (
        delete("phased/psnr_by_phase.md"),
        {"table": 1, "figures": 1, "page": 1, "compare": 1, "study_page": 1},
    ),
    "weights replaced by others of long ago": (other_weights("phased/seed1/phase2/weights.safetensors"), LATER),
    "a table edited": (
        edit_result("phased/psnr_by_phase.csv"),
        {"table": 1, "figures": 1, "page": 1, "compare": 1, "study_page": 1},
    ),
    "versions of Python and PyTorch": (other_versions, NOTHING),
    "for reading only": (for_reading_only, NOTHING),
    "Snakemake's own notes deleted": (lambda study: shutil.rmtree(study / ".snakemake"), NOTHING),
}

CODE = {
    "figures": (code("report/figures.py"), {"figures": 2, "losses": 1, "study_page": 1}),
    "strips": (code("report/strips.py"), {"figures": 2}),
    "losses": (code("report/losses.py"), {"figures": 2, "losses": 1, **PAGES}),
    "tables": (code("report/tables.py"), {"table": 2, "figures": 2, "compare": 1, **PAGES}),
    "comparison": (code("report/comparison.py"), {"compare": 1, "study_page": 1}),
    "statistics, curves and words of a comparison": (
        code(
            *(f"report/{name}.py" for name in ("statistics", "differences", "compute", "curves", "sentences")),
            *("report/comparison_markdown.py", "report/comparison_figures.py"),
        ),
        {"compare": 1, **PAGES},
    ),
    "means": (
        code("report/measured.py", "report/markdown.py"),
        {"table": 2, "figures": 2, "compare": 1, "budget": 1, **PAGES},
    ),
    "the page of a run": (code("page/run.py"), {"page": 2}),
    "pictures in pages": (code("page/pictures.py"), PAGES),
    "a template": (edit("page/templates/run.html.j2", "What each phase brought", "What it brought"), PAGES),
    "the viewer's program": (edit("page/static/view.js", "MOST_ZOOM = 64", "MOST_ZOOM = 32"), PAGES),
    "budget": (code("report/budget.py", "model/complexity.py"), {"budget": 1}),
    "evaluation": (code("inference/evaluation.py"), MEASURED),
    "a measure that is not asked for": (edit("inference/measures.py", "gradients, 170", "gradients, 171"), NOTHING),
    "measures": (code("inference/metrics.py"), MEASURED),
    "SSIM, which no stage has for a loss": (code("inference/metrics.py"), MEASURED),
    "averages, warm-up and intermediate outputs, which no stage has": (
        lambda study: [
            code("training/averaging.py")(study),
            edit("training/schedules.py", "(iteration + 1) / stage.warmup", "(iteration + 2) / stage.warmup")(study),
            edit("model/chain.py", "made.append(x.float())", "made.append(2 * x.float())")(study),
        ],
        NOTHING,
    ),
    "generation": (code("inference/cache.py"), GENERATED),
    "a network of the chain": (code("networks/mcan/network.py"), TRAINED),
    "layers of networks": (code("networks/layers.py"), TRAINED),
    "a network of no chain": (code("networks/carn/network.py"), NOTHING),
    "the chain's forward": (edit("model/chain.py", "return x.float()", "return x.float() + 0"), TRAINED),
    "the chain's file": (code("model/chain.py"), NOTHING),
    "comments in the step": (comment("training/step.py"), NOTHING),
    "every message": (reword, NOTHING),
    "the step": (edit("training/step.py", "loss.backward()", "(2 * loss).backward()"), TRAINED),
    "the trainer's bookkeeping": (code("training/trainer.py", "training/progress.py", "training/history.py"), NOTHING),
    "a loss": (edit("training/losses.py", "return l1_loss(", "return 2 * l1_loss("), TRAINED),
    "a loss that no stage has": (edit("training/losses.py", "return mse_loss(", "return 2 * mse_loss("), NOTHING),
    "an optimiser": (edit("training/optimisers.py", 'kind="Adam"', 'kind="AdamW"'), TRAINED),
    "an optimiser that no stage has": (edit("training/optimisers.py", 'kind="SGD"', 'kind="Rprop"'), NOTHING),
    "how optimisers are made": (edit("training/optimisers.py", "lr=lr, **fused", "lr=2 * lr, **fused"), TRAINED),
    "a schedule that the joint phases have": (
        edit("training/schedules.py", "(1 - floor) * (1 +", "(1 - floor) * (2 +"),
        {"phase1_1": 1, "phase3_1": 1, "evaluate": 2, **ALL_REPORTS},
    ),
    "a table's new entry": (
        edit("training/losses.py", "LOSSES: dict[str, LossTerm] = {", 'LOSSES = {"l0": LossTerm(what="new", of=_l1),'),
        NOTHING,
    ),
    "the sampler": (code("data/sampler.py"), TRAINED),
    "how blocks start": (code("training/start.py"), TRAINED),
    "conversion": (code("data/inspection.py"), EVERYTHING),
    "what no result depends on": (
        code(
            "networks/zoo.py", "networks/mcan/__init__.py", "cli/plan.py", "model/published.py", "plan.py", "files.py"
        ),
        NOTHING,
    ),
}

TABLE = {
    f"{kind}: {name}": row
    for kind, rows in (("configuration", CONFIGURATION), ("images", IMAGES), ("results", RESULTS), ("code", CODE))
    for name, row in rows.items()
}


@pytest.mark.parametrize(("change", "rerun"), TABLE.values(), ids=TABLE)
def test_what_a_change_reruns(study, change, rerun):
    change(study)
    assert of(study) == {job: count for job, count in rerun.items() if count}


@pytest.mark.parametrize(
    ("rule", "rerun"),
    [
        ("phase2_1", LATER),
        ("phase3_1", {"phase3_1": 1, "evaluate": 1, **REPORT}),
        ("phase1_2", GENERATED),
    ],
)
def test_forcing_a_rule_reruns_it_and_what_depends_on_it(study, rule, rerun):
    assert of(study, "--forcerun", rule) == rerun


def test_targets_by_phase(study):
    assert of(study, "phase2", "--forcerun", "phase2_1") == {"phase2_1": 1, "evaluate": 1, "phase2": 1}


def test_other_versions_are_said(study):
    other_versions(study)
    done = snakemake(study, "--dry-run", "--snakefile", str(study / "Snakefile"))
    said = [line for line in done.stderr.splitlines() if "there are results that were made with" in line]
    assert len(said) == 2 and "torch 1.0" in said[0] and "numpy 1.0" in said[1]


def trains(name: str) -> bool:
    """Whether the table, which the dry runs above agree with, trains after a change of code."""
    return any(re.fullmatch(r"phase\d+_1", job) for job in CODE[name][1])


def test_editing_report_code_never_retrains():
    assert not any(map(trains, ["figures", "tables", "budget", "evaluation", "the page of a run", "a template"]))


def test_editing_model_code_retrains():
    assert all(map(trains, ["a network of the chain", "the chain's forward", "the step"]))
    assert not trains("a network of no chain")
