"""What runs again after a change, and what does not: dry runs on a finished study."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, picture
from multiblock.data import images
from test_workflow import REPORT, finish, jobs

PACKAGE = Path("workflow", "multiblock")

NOTHING: dict[str, int] = {}
LATER = {"phase2_1": 1, "phase3_1": 1, "evaluate": 2, **REPORT}
GENERATED = {"phase1_2": 1, **LATER}
ALL_REPORTS = {"table": 2, "figures": 2, "compare": 1, "losses": 1, "budget": 1}
TRAINED = {"phase1_1": 2, "phase1_2": 1, "phase2_1": 1, "phase3_1": 1, "evaluate": 4, **ALL_REPORTS}
EVERYTHING = {"convert": 1, **TRAINED}
MEASURED = {"evaluate": 4, "table": 2, "figures": 2, "compare": 1, "budget": 1}

FEW = [{"iterations": 4, "batch": 2, "patch": 16, "clamp": False}, {"iterations": 3, "batch": 2, "patch": 16}]
JOINT = [{"iterations": 3, "batch": 2, "patch": 16}]
ONE = {"chain": ["tiny"], "plan": [{"span": 1, "stages": "few"}]}


def of(study: Path, *arguments: str) -> dict[str, int]:
    """The jobs that would run, with the code of the study's own copy of the project."""
    return jobs(study, "--snakefile", str(study / "Snakefile"), *arguments)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A copy of the project in which the tiny study has run."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("workflow", "profiles", "envs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / "Snakefile", folder)
    return finish(folder, "--snakefile", str(folder / "Snakefile"))


@pytest.fixture
def study(finished):
    """The finished study, to be changed by a test; put back after it."""

    def files() -> set[Path]:
        places = ("config.yaml", "train/**/*", "test/**/*", "elsewhere/**/*", "workflow/multiblock/**/*.py")
        return {file for place in places for file in finished.glob(place) if file.is_file()}

    before = {file: file.read_bytes() for file in files()}
    yield finished
    for file in files() - before.keys():
        file.unlink()
    for file, content in before.items():
        if not file.exists() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


Change = Callable[[Path], None]


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
        config(runs__phased__plan__1__stages=FEW, evaluation__border=1, data_root="."),
        NOTHING,
    ),
    "a stage's lr in phase 2": (config(runs__phased__plan__1__stages=[{**FEW[0], "lr": 0.5}, FEW[1]]), LATER),
    "other stages in phase 2": (config(runs__phased__plan__1__stages=[{**JOINT[0], "iterations": 5}]), LATER),
    "iterations of the joint phase": (
        config(runs__phased__plan__2__stages=[{**JOINT[0], "iterations": 4}]),
        {"phase3_1": 1, "evaluate": 1, **REPORT},
    ),
    "a block's option": (config(blocks__tiny__channels=6), TRAINED),
    "a seed added": (config(seeds=[1, 2]), TRAINED),
    "a run added": (config(runs__third=ONE), {"phase1_1": 1, "evaluate": 1, **REPORT}),
    "a phase added at the end": (
        config(runs__phased__plan__added={"span": "1-2", "stages": "few"}),
        {"phase4_1": 1, "evaluate": 1, **REPORT},
    ),
    "training.keep": (config(training__keep="best"), TRAINED),
    "training.validate_every": (config(training__validate_every=2), TRAINED),
    "training.checkpoint_seconds": (config(training__checkpoint_seconds=5), NOTHING),
    "inference.cache": (config(inference__cache="float16"), GENERATED),
    "inference.memory_gib": (config(inference__memory_gib=1), {**GENERATED, **ALL_REPORTS, "evaluate": 4}),
    "evaluation.border": (config(evaluation__border=3), MEASURED),
    "report.zoom": (config(report__zoom=32), {"figures": 2}),
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
}

CODE = {
    "figures": (code("figures.py"), {"figures": 2, "losses": 1}),
    "tables": (code("tables.py"), {"table": 2, "figures": 2, "compare": 1, "losses": 1}),
    "budget": (code("budget.py", "complexity.py"), {"budget": 1}),
    "evaluation": (code("evaluation.py"), MEASURED),
    "measures, which training looks at too": (code("metrics.py"), TRAINED),
    "generation": (code("generation.py"), GENERATED),
    "a network of the chain": (code("networks/mcan.py"), TRAINED),
    "a network of no chain": (code("networks/carn.py"), NOTHING),
    "the chain": (code("chain.py"), TRAINED),
    "comments in the loop": (comment("training/loop.py"), NOTHING),
    "the loss": (code("training/losses.py"), TRAINED),
    "conversion": (code("data/convert.py"), EVERYTHING),
    "what no result depends on": (code("zoo.py", "cli.py", "published.py", "reference.py", "config.py"), NOTHING),
}

TABLE = {
    f"{kind}: {name}": row
    for kind, rows in (("configuration", CONFIGURATION), ("images", IMAGES), ("code", CODE))
    for name, row in rows.items()
}


@pytest.mark.parametrize(("change", "rerun"), TABLE.values(), ids=TABLE)
def test_what_a_change_reruns(study, change, rerun):
    change(study)
    assert of(study) == rerun


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


def trains(name: str) -> bool:
    """Whether the table, which the dry runs above agree with, trains after a change of code."""
    return any(re.fullmatch(r"phase\d+_1", job) for job in CODE[name][1])


def test_editing_report_code_never_retrains():
    assert not any(map(trains, ["figures", "tables", "budget", "evaluation"]))


def test_editing_model_code_retrains():
    assert all(map(trains, ["a network of the chain", "the chain"]))
    assert not trains("a network of no chain")
