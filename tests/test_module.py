"""The workflow as a module of another one, and as the catalog's tools put it into a project."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

import forked
from conftest import ROOT, tiny_study, write_pairs
from test_workflow import counted, finished_study

OUTER = """
configfile: "study.yaml"

module multiblock:
    snakefile: "{project}/workflow/Snakefile"
    config: config["faces"]
    {more}

use rule * from multiblock as sr_*

rule all:
    default_target: True
    input: rules.sr_all.input

rule their_own:
    output: "own.txt"
    shell: "touch {{output}}"
"""


def outer(folder: Path, more: str = "", **changes) -> Path:
    """A workflow that takes this one as a module, and images for it; it stands where no config.yaml is ours."""
    write_pairs(folder, train=3, test=2)
    (folder / "Snakefile").write_text(OUTER.format(more=more, project=ROOT))
    (folder / "study.yaml").write_text(yaml.safe_dump({"faces": {**tiny_study(), **changes}, "others": 1}))
    (folder / "config.yaml").write_text("study: another\n")
    return folder


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Snakemake as it is by itself: no profile of ours, all that makes it run a job again."""
    words = [sys.executable, "-m", "snakemake", "--directory", str(folder), "--snakefile", str(folder / "Snakefile")]
    return forked.run([*words, "--cores", "1", *arguments], {**os.environ, "CI": "1"}, cwd=folder)


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    return counted(snakemake(folder, "--dry-run", *arguments))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Two phases, made by a module with a prefix."""
    folder = outer(tmp_path_factory.mktemp("outer"), 'prefix: "below"')
    done = snakemake(folder, "sr_phase2")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_it_makes_the_same_bytes(made, tmp_path_factory):
    plain = finished_study(tmp_path_factory)
    for name in ("phased/seed1/phase2", "one_go/seed1/phase1"):
        weights = Path("results", name, "weights.safetensors")
        assert (made / "below" / weights).read_bytes() == (plain / weights).read_bytes()
    assert not (made / "results").exists()


def test_what_is_made_is_up_to_date(made):
    assert not planned(made, "sr_phase2")
    assert not planned(made, "below/results/phased/seed1/phase2/weights.safetensors")
    assert planned(made)["sr_phase3_1"] == 1


def test_rules_are_forced_by_their_names_there(made):
    forced = planned(made, "sr_phase2", "--forcerun", "sr_phase2_1")
    assert forced["sr_phase2_1"] == 1 and "sr_phase1_1" not in forced
    done = snakemake(made, "--dry-run", "--forcerun", "sr_phase2")
    assert done.returncode == 1 and "phase2: is forced, but makes nothing itself" in done.stderr


def test_other_rules_are_left_alone(made):
    assert planned(made, "own.txt") == {"their_own": 1, "total": 1}


@pytest.mark.parametrize(
    ("more", "changes", "says"),
    [
        ("", {"seed": 1}, "seed: unknown key; did you mean 'seeds'?"),
        ('replace_prefix: {"results/": "other/"}', {}, "module: replace_prefix: found one; allowed are prefix"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, more, changes, says):
    done = snakemake(outer(tmp_path, more, **changes), "--dry-run")
    assert done.returncode == 1
    assert says in done.stderr and "Traceback" not in done.stderr


def test_a_config_that_is_not_handed_is_not_taken_from_the_folder(tmp_path):
    text = outer(tmp_path).joinpath("Snakefile").read_text()
    (tmp_path / "Snakefile").write_text(text.replace('    config: config["faces"]\n', ""))
    done = snakemake(tmp_path, "--dry-run")
    assert done.returncode == 1 and "multiblock: error: module: config: found no keys" in done.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """The rules and scripts alone, as a repository with one commit; the package is not in it."""
    folder = tmp_path_factory.mktemp("hosted") / "someone" / "multiblock"
    left_out = shutil.ignore_patterns("multiblock", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=left_out)
    shutil.copytree(ROOT / "envs", folder / "envs")
    about = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
    for words in (["init", "--quiet"], ["add", "--all"], [*about, "commit", "--quiet", "--message", "rules"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.mark.slow  # fetches
@pytest.mark.parametrize("how", ["github", "gitfile"])
def test_rules_that_snakemake_fetches_do_with_the_installed_package(repository, how, tmp_path):
    outer(tmp_path)
    (tmp_path / "gitconfig").write_text(f'[url "{repository.parents[1]}/"]\n    insteadOf = https://github.com/\n')
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=repository, text=True).strip()
    where = {"github": "someone/multiblock", "gitfile": str(repository)}[how]
    fetched = f'{how}("{where}", path="workflow/Snakefile", commit="{commit}")'
    text = (tmp_path / "Snakefile").read_text()
    (tmp_path / "Snakefile").write_text(text.replace(f'"{ROOT}/workflow/Snakefile"', fetched))
    env = {**os.environ, "CI": "1", "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"), "XDG_CACHE_HOME": str(tmp_path)}

    def run(*words: str) -> subprocess.CompletedProcess:
        words = (sys.executable, *words, "--cores", "1", "sr_phase1")
        return subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)

    done = run("-m", "snakemake", "--rerun-triggers", "mtime")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "results" / "phased" / "seed1" / "phase1" / "weights.safetensors").is_file()

    env["PYTHONPATH"] = sysconfig.get_path("purelib")  # and no .pth file, by which this package is installed
    done = run("-S", "-m", "snakemake")
    assert done.returncode == 1 and "come without the package; install it from a checkout" in done.stderr


def test_numbers_as_snakemake_reads_them(tmp_path):
    """It takes 1e-3 of a config file for text."""
    outer(tmp_path)
    text = (tmp_path / "study.yaml").read_text()
    (tmp_path / "study.yaml").write_text(text.replace("1.0e-06", "1e-6"))
    assert "to: 1e-6" in (tmp_path / "study.yaml").read_text()
    assert planned(tmp_path)["sr_phase1_1"] == 2


def test_the_catalog_finds_what_it_asks_for():
    """What the catalog of Snakemake looks for, and what snakedeploy copies into a project."""
    assert (ROOT / "workflow" / "Snakefile").is_file() and (ROOT / "config" / "README.md").is_file()
    assert (ROOT / "config" / "config.yaml").read_bytes() == (ROOT / "config.yaml").read_bytes()
    catalog = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert catalog["usage"]["software-stack-deployment"]["conda"] is True
    assert "workflow" in (ROOT / "README.md").read_text().lower()
