"""What is said before anything runs: what becomes of each phase by content, and what Snakemake will run for it."""

import os
import re
import shutil
from collections import Counter
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
from test_workflow import finished_study, jobs, snakemake


@pytest.fixture
def study(tmp_path_factory, monkeypatch) -> Path:
    """The finished study, where we are."""
    folder = finished_study(tmp_path_factory)
    monkeypatch.chdir(folder)
    return folder


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
    written["runs"]["phased"]["plan"][1]["stages"] = [{"iterations": 4, "batch": 2, "patch": 16, "lr": rate}]
    Path("config.yaml").write_text(yaml.safe_dump(written))


def remove(pattern: str) -> None:
    for mark in list(Path("results/store").glob(pattern)):
        mark.unlink()


def test_what_we_know_will_run_is_what_snakemake_runs(study):
    before = Path("config.yaml").read_text()

    def agree(*targets: str, forced: tuple[str, ...] = ()) -> dict[str, int]:
        force = ["--forceall"] if forced == ("*",) else ["--forcerun", *forced] if forced else []
        found = jobs(study, "--keep-going", *targets, *force)
        said = {rule: count for rule, count in found.items() if not makes_nothing(rule)}
        assert said == ours(*targets, forced=forced), (targets, forced)
        return said

    assert agree() == {} and agree(forced=("*",))["evaluate"] == 4
    assert agree("phase1", forced=("phase1_1",)) == {"phase1_1": 2, "evaluate": 2}
    assert agree(forced=("figures",)) == {"figures": 2}
    change(2e-4)
    assert agree("phase1") == {} and agree()["phase3_1"] == 1
    Path("config.yaml").write_text(before)
    remove("convert-*/made.json")  # as `multiblock clean --arrays`, and yet what was made of them counts
    assert agree("phase2") == {} and agree()["phase1_1"] == 2
    remove("evaluate-*/made.json")
    assert agree("phase2")["convert"] == 1
    shutil.rmtree("results")
    assert agree()["convert"] == 1


def states(folder: Path, *arguments: str) -> tuple[list[str], str]:
    """What a plan says of each phase, and of all together."""
    said = snakemake(folder, "--dry-run", *arguments).stderr
    rows = re.findall(r"^  \d +\S+ +\d+(?: \+ \d+)* +(.*)$", said, re.MULTILINE)
    return rows, next(line for line in said.splitlines() if " to train, " in line)


def test_each_phase_is_said_by_what_it_is_made_of(study):
    os.utime(study / "train" / "HR" / "image1.png")  # of times nothing is said
    assert states(study, "--forcerun", "figures")[1] == "no phase to train, 2 other jobs to do"
    rows, amount = states(study, "--forcerun", "phase2_1")
    assert rows[0].startswith("up to date, ")
    assert rows[1:3] == ["to train again: asked for", "to train again: it depends on phase 2"]
    assert re.match(r"2 phases to train, 10 iterations, about \d+ s at the speed measured before", amount)
    rows, amount = states(study, "--forcerun", "phase1_1")
    assert rows[:3] == ["to train again: asked for"] * 2 + ["to train again: it depends on phase 1"]
    remove("convert-*/made.json")  # Snakemake plans trainings then, which will find that there is nothing to do
    rows, amount = states(study)
    assert all(row.startswith("up to date, ") for row in rows) and amount.startswith("no phase to train")
    table = Path("results/phased/seed1/phase1/psnr.csv").resolve()
    table.write_text(re.sub(r"^(\w+,[^,]+,)(\d)", r"\g<1>9\2", table.read_text(), flags=re.MULTILINE))  # by hand
    assert states(study)[0].count("up to date") == 1, "no figure of a table that does not count"
    shutil.rmtree("results")
    assert states(study)[0] == ["to train"] * 4
