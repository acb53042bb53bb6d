"""What is said before anything runs: what becomes of each phase by content, and what Snakemake will run for it."""

import os
import re
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import yaml

from multiblock import config
from multiblock.files import Digests
from multiblock.model.metadata import digest_of_result
from multiblock.workflow.overview import asked_for, makes_nothing, planned
from multiblock.workflow.results import Results
from multiblock.workflow.seen import outside
from multiblock.workflow.store import Store
from once import once
from test_workflow import jobs, snakemake, write_config

STAGE = {"iterations": 4, "batch": 2, "patch": 16, "lr": 1e-4}
PLAN = [{"span": span, "stages": [dict(STAGE)]} for span in (1, 2)]


def finish(part: Path, of: Path) -> None:
    shutil.copytree(of, part, dirs_exist_ok=True)
    write_config(part, runs={"one": {"chain": ["tiny", "tiny"], "plan": PLAN}}, report={})
    done = snakemake(part)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def study(pairs, tmp_path_factory) -> Path:
    """The pairs, and a finished study of two phases."""
    return once(tmp_path_factory, "overview", partial(finish, of=pairs), pairs)


def ours(*targets: str, forced: tuple[str, ...] = ()) -> Counter[str]:
    """The jobs of each rule that we take Snakemake to run in this folder."""
    study = config.load(config.checked(yaml.safe_load(Path("config.yaml").read_text())))
    store = Store(Path(study.results))
    results = Results(study, outside(study, store, Digests(store.root / "none.json", digest_of_result)))
    verdicts = {made.address: store.verdict(made) for made in results.all()}
    asked = [made for target in targets or ("all",) for made in asked_for(results, target)]
    return Counter(made.rule for made in planned(results, asked, verdicts, forced))


def change(rate: float) -> None:
    """Change the learning rate of phase 2."""
    written = yaml.safe_load(Path("config.yaml").read_text())
    written["runs"]["one"]["plan"][1]["stages"][0]["lr"] = rate
    Path("config.yaml").write_text(yaml.safe_dump(written))


def remove(pattern: str) -> None:
    for mark in list(Path("results/store").glob(pattern)):
        mark.unlink()


def test_what_we_know_will_run_is_what_snakemake_runs(study, monkeypatch):
    monkeypatch.chdir(study)

    def agree(*targets: str, forced: tuple[str, ...] = ()) -> dict[str, int]:
        force = ["--forceall"] if forced == ("*",) else ["--forcerun", *forced] if forced else []
        found = jobs(study, "--keep-going", *targets, *force)
        said = {rule: count for rule, count in found.items() if not makes_nothing(rule)}
        assert said == ours(*targets, forced=forced), (targets, forced)
        return said

    assert agree() == {} and agree(forced=("*",))["evaluate"] == 2
    assert agree("phase1", forced=("phase1_1",)) == {"phase1_1": 1, "evaluate": 1}
    assert agree(forced=("figures",)) == {"figures": 1}
    change(2e-4)
    assert agree("phase1") == {} and agree()["phase2_1"] == 1 and agree("phase2")["evaluate"] == 1
    change(1e-4)
    remove("convert-*/made.json")  # as `multiblock clean --arrays`, and yet what was made of them counts
    assert agree("phase2") == {} and agree()["phase1_1"] == 1
    remove("evaluate-*/made.json")
    assert agree("phase2")["convert"] == 1
    shutil.rmtree("results")
    assert agree()["enlarge" if "enlarge" in ours() else "convert"] == 1


def states(folder: Path, *arguments: str) -> tuple[list[str], str]:
    """What a plan says of each phase, and of all together."""
    said = snakemake(folder, "--dry-run", *arguments).stderr
    rows = re.findall(r"^  \d +\S+ +\d+ +(.*)$", said, re.MULTILINE)
    return rows, next(line for line in said.splitlines() if " to train, " in line)


def test_each_phase_is_said_by_what_it_is_made_of(study, monkeypatch):
    monkeypatch.chdir(study)
    os.utime(study / "train" / "HR" / "image1.png")  # of times nothing is said
    assert states(study, "--forcerun", "figures")[1] == "no phase to train, 1 other job to do"
    rows, amount = states(study, "--forcerun", "phase2_1")
    assert rows[0].startswith("up to date, ") and rows[1] == "to train again: asked for"
    assert re.match(r"1 phase to train, 4 iterations, about \d+ s at the speed measured before", amount)
    rows, amount = states(study, "--forcerun", "phase1_1")
    assert rows == ["to train again: asked for", "to train again: it depends on phase 1"]
    remove("convert-*/made.json")  # Snakemake plans trainings then, which will find that there is nothing to do
    rows, amount = states(study)
    assert [row.partition(",")[0] for row in rows] == ["up to date"] * 2 and amount.startswith("no phase to train")
    shutil.rmtree("results")
    assert states(study)[0] == ["to train"] * 2 and states(study)[1].startswith("2 phases to train, 8 iterations; how")
