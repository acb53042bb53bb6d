"""Everything that the documents tell a user to type is run here, or at least checked in a real way.

Fenced blocks say by their language what happens to them:

- ``sh``: commands, a line each. ``multiblock`` runs; ``snakemake`` runs dry, or for good where it is in `FOR_GOOD`;
  ``make`` runs dry. What needs minutes, or what nobody has, is in `ONLY_PARSED` with the reason.
- ``yaml``: a config; its first line is a comment that names the file. It is written, and must load.
- ``python``: a block of one's own, named in the same way. It is written, built and measured. What defines no class is a
  program, and is run.
- ``console``: a command after ``$``, and exactly what it prints, but for the time it takes.

All is done in a copy of the project with a few small pictures, in the order of the document.
"""

import importlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml

import forked
import published
from conftest import ROOT, picture
from multiblock import cli, config
from multiblock.data import images, resize
from multiblock.model.chain import Chain
from multiblock.model.metadata import Provenance
from multiblock.networks import registry, zoo
from multiblock.networks.registry import NetworkSpec, describe
from multiblock.plan import Block

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "envs/README.md", "results/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]

FOR_GOOD = {
    "snakemake --cores 1 --configfile my_block.yaml studies/short.yaml": "results/short/my_block/psnr_by_phase.md"
}
"""Snakemake commands that train, each with what it makes: the network of docs/add-a-block.md, tried at a small size."""

ONLY_PARSED = {
    "snakemake --report report.html": "needs a finished default run; .ci/run makes the report of tests/tiny.yaml",
    "multiblock export results/default -o net.onnx": "docs/export.md makes it, and says more of it",
    ".venv/bin/pip install --no-deps -r envs/slurm.txt": "tests/test_environment.py holds the pins",
    "apptainer build envs/multiblock.sif envs/multiblock.def": "needs Apptainer and an image from a registry",
    "snakemake --cores all --sdm apptainer --apptainer-args '--nv --bind /data' --configfile mine.yaml": "the same; "
    "tests/test_container.py has a stand-in",
    ". .venv/bin/activate": "changes the shell that it is typed in",
    "pre-commit install": "a tool of the user's own; .pre-commit-config.yaml is read below",
    "pytest -n 0 tests/test_plan.py": "is this program; that the file is there is checked",
    "pytest -n 0 tests/test_config.py -k data_root": "the same",
    "multiblock export results/default --form ncnn -o out/net-x2.param --licence CC-BY-4.0 --author 'Your Name'": (
        "needs packages of envs/ncnn.txt; tests/test_export_ncnn.py writes such files"
    ),
    "python benchmarks steps feeding": "measures for minutes; tests/test_benchmarks.py runs the parts",
    "python benchmarks/power.py": "simulates for a minute; tests/test_power.py holds what it computes",
    "python benchmarks/gold.py BASE --keep results/gold --data-root DIR": "runs every study twice",
}
"""Commands that are not run, each with the reason."""

ALLOWED = {"sh", "yaml", "python", "console"}


def blocks(document: Path) -> Iterator[tuple[str, str]]:
    """The fenced blocks of a document: language and text, without the indentation of a list."""
    for indent, language, text in re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", document.read_text(), re.M | re.S):
        yield language, re.sub(f"^{indent}", "", text, flags=re.M)


def typed(document: Path) -> list[str]:
    """The commands of a document's ``sh`` blocks, without comments and extra spaces."""
    lines = [line for language, text in blocks(document) if language == "sh" for line in text.splitlines()]
    return [shlex.join(words) for line in lines if (words := shlex.split(line, comments=True))]


def inline(text: str) -> list[str]:
    """Commands within sentences."""
    return re.findall(r"`((?:multiblock|snakemake|make|python benchmarks) [^`]+)`", text.replace("\n", " "))


def parse(command: str) -> None:
    """Check a command's words without running it: known program, options, files, parts."""
    program, *words = shlex.split(command)
    words = words[: words.index(">")] if ">" in words else words
    if program == "multiblock":
        commands_of_ours(words)
    elif program == "snakemake":
        snakemake_options(words)
    elif program == "make":
        done = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif words[0] in ("benchmarks/gold.py", "benchmarks/power.py"):
        runpy.run_path(str(ROOT / words[0]))["_parser"]().parse_args(words[1:])
    elif program == "python":
        parts = set(words[1:]) - {"PART", "claims"}
        assert words[0] == "benchmarks" and parts <= set(benchmark_parts()), f"{command}: no such part"
    elif program == "pytest":
        assert all((ROOT / word).is_file() for word in words if word.endswith(".py")), command
    else:
        assert command in ONLY_PARSED, f"{command}: is neither run nor in ONLY_PARSED"


def commands_of_ours(words: list[str]) -> None:
    """A sentence may name a subcommand alone, without the arguments that it needs."""
    parser = cli._parser()
    (subcommands,) = parser._subparsers._group_actions
    if len(words) > 1 or words[0] not in subcommands.choices:
        parser.parse_args(words)


def benchmark_parts() -> list[str]:
    return re.findall(r'^    "(\w+)": ', (ROOT / "benchmarks" / "__main__.py").read_text(), re.M)


def snakemake_options(words: list[str]):
    from snakemake.cli import get_argument_parser

    return get_argument_parser().parse_args(words)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A copy of the project with pictures where the documents have them."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("workflow", "studies", "profiles", "envs"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder)
    number = 0
    for place in ("photos/train", "photos/more", "photos/test", "DIR/train", "DIR/test", "Set5"):
        for name in ("one", "two", "three"):
            number += 1
            sharp = picture(156, 162, seed=number)
            images.write(folder / place / "HR" / f"{name}_{number}.png", sharp)
            images.write(folder / place / "LR" / f"{name}_{number}.png", sharp // 2)
            images.write(folder / place / "LR_half" / f"{name}_{number}.png", sharp[::2, ::2])
            images.write(folder / place / "X2" / f"{name}_{number}x2.png", sharp[::2, ::2])
            images.write(folder / place / "LR_bicubic/X3" / f"{name}_{number}x3.png", sharp[::3, ::3])
    images.write(folder / "photo.jpg", picture())
    for name in ("astronaut", "coffee"):  # with a long lens, and with a short one: a little aside
        tele = images.read(Path(str(resources.files("skimage"))) / "data" / f"{name}.png")[:340, :400]
        images.write(folder / "photos" / "tele" / f"{name}.png", tele[:320, :380])
        images.write(folder / "photos" / "wide" / f"{name}.png", resize.shrink(tele[6:, 10:], 2))
    small = Block(network="mcan", options={"channels": 16, "residual_blocks": 2})
    chain = Chain.build([small] * 3, [True] * 3)
    for phase, blocks in ((2, 2), (4, 3)):
        file = folder / f"results/default/seed1/phase{phase}/weights.safetensors"
        file.parent.mkdir(parents=True)
        chain.part(1, blocks).save(file, about=Provenance(enlarge=2, scale=2))
    weights = {name: 0.01 * torch.rand(shape) for name, shape in published.PUBLISHED["imdn_x3"]().items()}
    torch.save(weights, folder / "IMDN_x3.pth")
    return folder


@pytest.fixture(scope="module")
def dry_runs() -> set[str]:
    """What was run dry before, so that commands that differ only in cores are run once."""
    return set()


def run_multiblock(command: str, capsys) -> str:
    """Run it here, in the folder where we are."""
    words, file = shlex.split(command)[1:], None
    if ">" in words:
        *words, _, file = words
    for word in words:  # the run at full length, which the short one stands in for
        if word.startswith("results/my_block/") and not Path(word).exists():
            shutil.copytree("results/short/my_block", "results/my_block", dirs_exist_ok=True)
    if "--minutes" in words:  # its own start is one of those that are reckoned; this process has been there for long
        done = forked.run([sys.executable, "-m", "multiblock", *words])
        assert done.returncode == 0, f"{command}: {done.stderr}"
        if file:
            Path(file).write_text(done.stdout)
        return done.stdout
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        if words in (["models"], ["models", "--csv"]):  # all of them take a minute
            patch.setattr(zoo, "ENTRIES", {name: zoo.ENTRIES[name] for name in ("mcan", "toy", "imdn_rtc")})
        status = cli.main(words)
    printed = capsys.readouterr()
    assert status == 0, f"{command}: {printed.err}"
    if file:
        Path(file).write_text(printed.out)
    return printed.out


def run_snakemake(command: str, dry_runs: set[str]) -> None:
    """Run it dry, or for good where it is to train."""
    words = shlex.split(command)[1:]
    options = snakemake_options(words)
    if options.workflow_profile and not find_spec("snakemake_executor_plugin_slurm"):
        return  # it is installed apart; tests/test_slurm.py runs the profile for good
    if command in FOR_GOOD:
        done = forked.run([sys.executable, "-m", "snakemake", *words], timeout=300)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        assert Path(FOR_GOOD[command]).is_file()
    elif (
        key := repr((options.targets, options.configfile, options.config, options.forcerun, options.workflow_profile))
    ) not in dry_runs:
        done = forked.run([sys.executable, "-m", "snakemake", "--dry-run", *words], timeout=120)
        said = done.stdout + done.stderr
        assert done.returncode == 0 and "(dry run)" in said, f"{command}: {said[-3000:]}"
        dry_runs.add(key)


def run(command: str, capsys, dry_runs: set[str]) -> None:
    """Do what a command of a document says, as far as can be."""
    parse(command)
    if command in ONLY_PARSED:
        return
    if command.startswith("multiblock "):
        run_multiblock(command, capsys)
    elif command.startswith("snakemake "):
        run_snakemake(command, dry_runs)


def named(text: str, ending: str) -> str:
    """The file that a block's first line names."""
    match = re.match(rf"# ([\w.-]+\.{ending})\n", text)
    assert match, f"a block has to begin with a comment that names its file:\n{text}"
    return match[1]


def check_network(file: str) -> None:
    """Build a network as documented, run it, and measure what it says of itself."""
    network = registry.build(file, {})
    spec = describe(network)
    assert network.get_submodule(spec.output_layer) is not None
    side = spec.receptive_field + 2
    x = torch.rand(1, 3, side, side, requires_grad=True)
    output = network(x)
    assert output.shape == (1, 3, spec.scale * side, spec.scale * side)
    middle = output.shape[2] // 2
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()  # so that nothing cancels
    network(x)[0, :, middle, middle].sum().backward()
    seen = x.grad[0].abs().sum(0).nonzero()
    assert int(seen.max() - seen.min()) + 1 == spec.receptive_field
    assert all(registry.explanations(file).get(option) for option in registry.options(file))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_typed_works(document, workspace, dry_runs, capsys, monkeypatch):
    monkeypatch.chdir(workspace)
    shutil.rmtree("out", ignore_errors=True)
    for language, text in blocks(document):
        assert language in ALLOWED, f"a block is '{language}'; allowed are {sorted(ALLOWED)}"
        if language == "yaml":
            file = Path(named(text, "yaml"))
            file.write_text(text)
            # Over the default where it is no config by itself, as `precision: float32`.
            assert config.load(config.read([file])).runs
        elif language == "python":
            file = Path(named(text, "py"))
            file.write_text(text)
            if "\nclass " in text:
                check_network(file.name)
            else:
                runpy.run_path(file.name, run_name="__main__")
        elif language == "console":
            first, _, printed = text.partition("\n")
            assert first.startswith("$ multiblock "), first
            said = run_multiblock(first.removeprefix("$ "), capsys)
            assert re.sub(r"in \d+\.\d s", "in 3.1 s", said) == printed
        else:
            for line in text.splitlines():
                if words := shlex.split(line, comments=True):
                    run(shlex.join(words), capsys, dry_runs)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_within_sentences_and_outside_of_fences_are_known(document):
    text = re.sub(r"^( *)```.*?^\1```$", "", document.read_text(), flags=re.M | re.S)
    for command in inline(text):
        parse(command)
    loose = re.findall(r"^ {4,}(?:\$ )?((?:multiblock|snakemake|make|pip|python) .+)$", text, re.M)
    assert not loose, f"commands belong into ```sh blocks: {loose}"


@pytest.mark.parametrize(
    "file", [ROOT / "config.yaml", *sorted((ROOT / "studies").glob("*.yaml"))], ids=lambda f: f.name
)
def test_commands_in_the_heads_of_configs_are_known(file):
    lines = [line.lstrip("# ") for line in file.read_text().splitlines() if line.startswith("#")]
    for line in lines:
        if line.startswith("snakemake "):
            options = snakemake_options(shlex.split(line)[1:])
            assert all((ROOT / config).is_file() for config in options.configfile), line
    for command in inline(" ".join(lines)):
        parse(command)


def test_every_exception_is_still_needed():
    everything = {command for document in DOCUMENTS for command in typed(document)}
    assert everything >= FOR_GOOD.keys() | ONLY_PARSED.keys()


def heads(document: Path) -> set[str]:
    """The anchors of a document's headings."""
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if not link.startswith("https://"):
            file, _, anchor = link.partition("#")
            target = document.parent / file if file else document
            assert target.exists(), f"{link}: no such file"
            assert not anchor or anchor in heads(target), f"{link}: no such heading"


def claims():
    """What benchmarks/claims.py has, in whose folder it finds what it imports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        return importlib.import_module("claims")


@pytest.mark.parametrize("document", claims().documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_figures_of_studies_are_those_of_the_tables_that_they_point_to(document):
    assert not list(claims().wrong_in(document))


@pytest.mark.parametrize(
    ("quoted", "changed", "says"),
    [
        ("| 26.731 |", "| 26.741 |", "26.741: no such value"),  # of a run in its row
        ("26.731 | -0.061", "26.731 | -0.062", "-0.062 beside -0.366 to +0.245: not the mean of such an interval"),
        ("-0.366 to", "-0.266 to", "-0.266 to +0.245: no interval or range with these ends"),
        ("1.23e8", "1.33e8", "1.33e8: no such value"),
        ("(`060`: 29.02", "(`060`: 28.02", "28.02 to 30.05: no interval or range with these ends"),
    ],
)
def test_a_figure_that_is_another_is_named_with_its_line(quoted, changed, says):
    document = ROOT / "docs" / "studies" / "grow.md"
    text = document.read_text()
    assert text.count(quoted) == 1
    line = text[: text.index(quoted)].count("\n") + 1
    found = claims().wrong_in(document, text.replace(quoted, changed))
    assert f"docs/studies/grow.md:{line}: {says} in results/reference/grow/README.md" in found


def test_other_figures_are_in_some_table():
    kept = "\n".join(file.read_text() for file in (ROOT / "results" / "reference").rglob("*.md"))
    known = {f"{float(value):.3f}" for value in re.findall(r"\d+\.\d{3,4}", kept)}
    others = set(DOCUMENTS) - {ROOT / "docs" / "config.md"} - set(claims().documents())  # config.md has bounds
    for document in others:
        for figure in re.findall(
            r"(?<![\d.=~>])\d+\.\d{3}(?![\d.])", re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
        ):
            assert figure in known, f"{document.name}: {figure} is not in results/reference"


def test_a_block_of_ones_own_is_described_by_every_attribute():
    text = (ROOT / "docs" / "add-a-block.md").read_text()
    described = set(re.findall(r"^\| `(\w+)` \|", text, re.M))
    assert described == {field.name for field in fields(NetworkSpec)}


def test_every_study_is_in_the_list_of_studies():
    listed = set(re.findall(r"`(\w+\.yaml)`", (ROOT / "docs" / "studies" / "README.md").read_text()))
    assert {file.name for file in (ROOT / "studies").glob("*.yaml")} == listed


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160


def test_the_picture_is_an_svg_of_its_own():
    import xml.etree.ElementTree as ElementTree

    file = ROOT / "docs" / "images" / "phases.svg"
    root = ElementTree.parse(file).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in file.read_text()
    assert not re.findall(r'href="http|<script|url\(http', file.read_text())


def test_the_hooks_use_the_environment():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    for hook in hooks[0]["hooks"]:
        program = hook["entry"].split()[0]
        assert hook["language"] == "system" and program.startswith(".venv/bin/")
        assert shutil.which(program.removeprefix(".venv/bin/"), path=str(Path(sys.executable).parent))


def test_ci_is_the_script_that_is_run_here():
    steps = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["ci"]["steps"]
    assert steps[-1] == {"run": "bash .ci/run"} and (ROOT / ".ci" / "run").is_file()


def test_the_citation_names_the_software_and_its_five_sources():
    import multiblock

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0" and cited["message"] and cited["title"] == "multiblock"
    assert str(cited["version"]) == multiblock.__version__
    assert len(cited["references"]) == 5
    assert all(source["title"] and source["authors"] and source["type"] for source in cited["references"])
