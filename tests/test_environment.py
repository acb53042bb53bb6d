"""The lists of what the project needs agree, what they pin is what runs, and what is installed works by itself."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
import yaml
from packaging.requirements import Requirement

import multiblock
from conftest import ROOT
from multiblock.model.chain import Chain
from multiblock.plan import Block
from multiblock.workflow import job

CONDA_NAMES = {"pytorch": "torch", "snakemake-minimal": "snakemake", "matplotlib-base": "matplotlib"}

IMPORT_NAMES = {
    "scikit-image": "skimage",
    "pillow": "PIL",
    "pypng": "png",
    "pyyaml": "yaml",
    "pillow-heif": "pillow_heif",
    "tensorboardx": "tensorboardX",
    "opencv-python-headless": "cv2",
}
"""What a distribution is imported as, where that is not its name."""

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OPTIONAL = ("align", "tensorboard", "heic", "spandrel", "onnx")
"""Extras of a part of the package that says so where they are missing; pinned, so that the part is tested."""

SECTIONS = ("package", "workflow", *OPTIONAL, "dev")

NOT_INSTALLED = {"slurm", "ncnn"}
"""Extras that no environment of ours holds: they are for who asks for them."""


def pins(name: str, section: str | None = None) -> dict[str, str]:
    """The pins of a file in envs/, or of one of its sections: lines below a comment of that name."""
    lines = (ROOT / "envs" / name).read_text().splitlines()
    if section:
        begin = lines.index(f"# {section}") + 1
        end = next((i for i, line in enumerate(lines) if i > begin and line.startswith("#")), len(lines))
        lines = lines[begin:end]
    return {k.lower().replace("_", "-"): v for k, v in (line.split("==") for line in lines if "==" in line)}


def wanted(requirements: list[str]) -> dict[str, Requirement]:
    return {needed.name: needed for needed in map(Requirement, requirements)}


def test_the_lock_holds_what_is_asked_for():
    lock = pins("requirements.txt")
    assert pins("requirements.in").items() <= lock.items()
    assert "torch" not in lock


def test_the_pins_of_the_extra_that_is_installed_apart_are_what_is_asked_for():
    pinned, asked = pins("slurm.txt"), wanted(EXTRAS["slurm"])
    assert asked.keys() == pinned.keys()
    assert all(needed.specifier.contains(pinned[name]) for name, needed in asked.items())


def test_conda_holds_the_package_and_the_workflow_at_the_same_pins():
    known = pins("requirements.in", "package") | pins("requirements.in", "workflow") | pins("torch.txt")
    entries = yaml.safe_load((ROOT / "envs" / "conda.yaml").read_text())["dependencies"]
    conda = dict(entry.split("=") for entry in entries)
    assert conda.pop("python") == PROJECT["requires-python"].removeprefix(">=")
    assert {CONDA_NAMES.get(name, name): pinned for name, pinned in conda.items()} == known


@pytest.mark.parametrize("section", SECTIONS)
def test_the_project_asks_for_what_is_pinned(section):
    asked = wanted(PROJECT["dependencies"] if section == "package" else EXTRAS[section])
    pinned = pins("requirements.in", section) | (pins("torch.txt") if section == "package" else {})
    assert asked.keys() == pinned.keys()
    for name, needed in asked.items():
        assert needed.specifier.contains(pinned[name]), f"{needed} leaves out the pin {pinned[name]}"


def test_every_pin_has_its_section_and_every_extra_is_pinned_or_left_to_the_user():
    sections = [pins("requirements.in", section) for section in SECTIONS]
    assert sum(map(len, sections)) == len(pins("requirements.in"))
    assert set(EXTRAS) == {*SECTIONS, *NOT_INSTALLED} - {"package"}
    assert not {name for extra in NOT_INSTALLED for name in wanted(EXTRAS[extra])} & pins("requirements.txt").keys()


def test_snakefile_and_project_ask_for_one_snakemake():
    least = re.search(r'min_version\("(.+)"\)', (ROOT / "workflow" / "Snakefile").read_text())
    assert least and f">={least[1]}" in str(wanted(EXTRAS["workflow"])["snakemake"].specifier)


def imported(folder: Path) -> set[str]:
    """The top-level names that the files below ``folder`` import, wherever in the file."""
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module or "")
    return {name.partition(".")[0] for name in found} - {"multiblock"} - sys.stdlib_module_names


def test_the_package_imports_only_what_it_asks_for():
    package = ROOT / "workflow" / "multiblock"
    lines = PROJECT["dependencies"] + [line for extra in (*NOT_INSTALLED, *OPTIONAL) for line in EXTRAS[extra]]
    core = {IMPORT_NAMES.get(name, name) for name in wanted(lines)}
    assert imported(package) <= core | wanted(EXTRAS["workflow"]).keys()
    # Only what scripts and rules share may count on the workflow's own packages.
    for folder in package.iterdir():
        if folder.is_dir() and folder.name != "workflow":
            assert imported(folder) <= core, folder.name


@pytest.mark.parametrize("folder", ["benchmarks", "tests", "workflow/scripts"])
def test_what_is_around_the_package_imports_only_what_the_environment_pins(folder):
    asked = wanted([line for lines in (PROJECT["dependencies"], *EXTRAS.values()) for line in lines])
    beside = {file.stem for file in (ROOT / folder).iterdir() if file.is_dir() or file.suffix == ".py"}
    assert imported(ROOT / folder) - beside <= {IMPORT_NAMES.get(name, name) for name in asked}


def test_the_lock_is_what_runs():
    for name, pinned in {**pins("requirements.in"), **pins("torch.txt")}.items():
        assert re.sub(r"\+.*", "", version(name)) == pinned, name


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the sources and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("multiblock", "snakemake_logger_plugin_multiblock"):
        shutil.copytree(ROOT / "workflow" / name, folder / "workflow" / name, ignore=ignored)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "out", "."]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    with zipfile.ZipFile(next((folder / "out").glob("multiblock-*.whl"))) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_all_of_the_package(installed):
    sources = ROOT / "workflow" / "multiblock"
    files = {file.relative_to(sources) for file in sources.rglob("*") if file.is_file()}
    files = {file for file in files if "__pycache__" not in file.parts}
    assert {Path("py.typed"), Path("align/page.html.j2"), Path("networks/carn/network.py")} <= files
    assert files == {
        f.relative_to(installed / "multiblock") for f in (installed / "multiblock").rglob("*") if f.is_file()
    }
    assert (installed / "snakemake_logger_plugin_multiblock" / "__init__.py").is_file()


def test_the_wheel_works_away_from_the_repository_and_without_snakemake(installed, tmp_path):
    """As after `pip install .`, without the extra for the workflow."""
    Chain.build([Block(network="toy", options={"depth": 2})], [True]).save(tmp_path / "w.safetensors")
    commands = [["plan", str(ROOT / "config.yaml")], ["reference"], ["models", "mcan"], ["--version"]]
    missing = list(wanted(EXTRAS["workflow"]))
    # -I: neither the working folder nor $PYTHONPATH; the sources that this environment is linked to come after.
    program = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); sys.modules |= dict.fromkeys({missing!r})\n"
        "import multiblock, numpy\n"
        f"assert multiblock.__file__.startswith({str(installed)!r}), multiblock.__file__\n"
        "print(multiblock.load('w.safetensors', device='cpu').upscale(numpy.zeros((8, 9, 3), numpy.uint8)).shape)\n"
        f"from multiblock.cli import main\nfor words in {commands!r}: assert not main(words), words\n"
    )
    command = [sys.executable, "-I", "-c", program]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    for said in (
        "(8, 9, 3)\n",
        "run default: 3 blocks on photographs",
        "# Config reference",
        "residual_blocks: int = 16",
    ):
        assert said in run.stdout
    assert run.stdout.endswith(f"{multiblock.__version__}\n")


def test_a_build_of_torch_that_names_its_cuda_is_no_other_version(monkeypatch):
    """Such a build says 2.11.0+cu130 of itself, where its package is 2.11.0, which is what a start looks at."""
    monkeypatch.setattr(torch, "__version__", f"{version('torch')}+cu130")
    assert job.made_by()["torch"] == version("torch")
