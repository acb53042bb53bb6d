"""Phases that are equal are computed once, whichever runs show them, and nothing that was computed is lost."""

import os
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from conftest import ROOT
from multiblock import config
from multiblock.cli import main
from multiblock.files import Digests
from multiblock.report import tables
from multiblock.workflow import checkpoints, clean, experiments, links
from multiblock.workflow.dependencies import Dependencies
from multiblock.workflow.layout import Layout
from multiblock.workflow.records import Record, Records
from multiblock.workflow.results import Results
from multiblock.workflow.sharing import Choice, as_linked, choose, notes, settle
from multiblock.workflow.status import status
from once import once
from test_workflow import finish, jobs, snakemake, write_config

TINY = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
DATA = {"name": "mine", "scale": 1, "train": {"hr": "a", "lr": "a"}, "validation": 1, "test": {"hr": "b", "lr": "b"}}


def stages(lr: float = 1e-3) -> list[dict]:
    return [{"iterations": 3, "batch": 2, "patch": 16, "lr": lr}]


def plan(*rates: float) -> dict:
    """A run of two blocks: block 1, block 2, then both, at these learning rates."""
    rates = (*rates, *[1e-3] * (3 - len(rates)))
    spans = (1, 2, "1-2")
    return {
        "chain": ["tiny", "tiny"],
        "plan": [{"span": s, "stages": stages(lr)} for s, lr in zip(spans, rates, strict=True)],
    }


def study_of(runs: dict[str, dict], **changes) -> config.Study:
    return config.load({**TINY, "data": DATA, "runs": runs, **changes})


class Work:
    """The workflow without Snakemake and networks: what does not stand is made, as files whose bytes are always new.

    So a result that is made twice is never the same, as with a GPU.
    """

    def __init__(self) -> None:
        self.count = 0
        self.said: list[str] = []

    def look(self, study: config.Study) -> tuple[Layout, Dependencies, Records, Choice]:
        layout = Layout(study)
        digests = Digests(Path("digests.json"))
        records = Records(digests, write=True, say=self.said.append, real=layout.real)
        on = Dependencies(study, layout, lambda _: "images", digests.of)
        return layout, on, records, choose(study, layout, on, records)

    def __call__(self, study: config.Study, upto: int = 9) -> set[str]:
        """Make what does not stand; the phases that were trained."""
        images = {data: ["image"] for data in study.data}
        for aside, folder in experiments.comes_back(study, images).items():
            experiments.bring_back(aside, folder)
        for folder in experiments.other_experiments(study, images):
            experiments.set_aside(folder)
        experiments.note_experiments(study, images)
        layout, on, records, choice = self.look(study)
        self.said = list(notes(choice, layout))
        settle(study, layout, choice, self.said.append)
        if layout.owners:
            assert as_linked(study, layout) == choice.owners
        results = Results(study, layout, on)
        todo = [result for data in study.data for result in results.of_data(data)]
        for number in range(1, upto + 1):
            for run in study.runs.values():
                for seed in study.seeds if number in run.plan.numbers else ():
                    if run.name in layout.folder(run.name, seed, number).split("/"):  # it is the owner
                        todo += results.of_phase(run.name, seed, number)
        trained = set()
        for result in todo:
            depends = records.depends(result.folder, result.record, result.on)
            record = Record(Path(depends), result.inputs, result.outputs)
            if not record.stands():
                self.make(result.outputs)
                record.note({})
                if result.title == "training":
                    trained.add(str(result.folder.relative_to("results")).replace("/seed1/phase", " "))
        return trained

    def make(self, outputs: tuple[str, ...]) -> None:
        for name in outputs:
            self.count += 1
            file = Path(name) / "picture" if name.endswith("/images") else Path(name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(str(self.count))


@pytest.fixture
def work(tmp_path, monkeypatch) -> Work:
    monkeypatch.chdir(tmp_path)
    return Work()


def weights(run: str, phase: int) -> str:
    """What a reader finds in a phase of a run."""
    return Path(f"results/{run}/seed1/phase{phase}/weights.safetensors").read_text()


def link(run: str, phase: int) -> str | None:
    """The run whose folder a phase's link leads to."""
    led = links.target(Path(f"results/{run}/seed1/phase{phase}"))
    return led and led.parts[1]


def test_equal_phases_are_trained_once_and_found_in_each_run(work):
    runs = {"a": plan(), "b": plan(1e-3, 1e-3, 2e-3), "c": plan(1e-3, 2e-3)}
    assert work(study_of(runs)) == {"a 1", "a 2", "a 3", "b 3", "c 2", "c 3"}
    assert [link(run, phase) for run in "abc" for phase in (1, 2, 3)] == [None] * 3 + ["a", "a", None, "a", None, None]
    assert weights("a", 1) == weights("b", 1) == weights("c", 1) and weights("b", 2) == weights("a", 2)
    assert work.said == ["3 of 9 phases are equal to those of other runs, and are not trained again"]
    assert os.readlink("results/b/seed1/phase1") == "../../a/seed1/phase1"
    assert work(study_of(runs)) == set()


def test_a_set_is_made_for_whichever_run_reads_it(work):
    joint = plan()
    work(study_of({"a": {**joint, "chain": ["tiny"], "plan": joint["plan"][:1]}, "b": joint}))
    assert Path("results/a/seed1/phase1/LR_1/train.npy").exists() and link("b", 1) == "a"


@pytest.mark.parametrize(
    "other",
    [
        {**plan(), "data": {**DATA, "name": "other"}},
        {**plan(), "data": {**DATA, "name": "other", "train": {"hr": "c", "lr": "c"}}},
        {"chain": ["wide", "wide"], "plan": plan()["plan"]},
        {"chain": ["tiny", "tiny"], "plan": [{**plan()["plan"][0], "start": "normal"}, *plan()["plan"][1:]]},
        plan(2e-3),
        {"chain": ["tiny", "tiny"], "plan": [plan()["plan"][0], *plan()["plan"]]},
    ],
    ids=["name of data", "data", "network", "start", "stage", "number of the phase"],
)
def test_what_differs_is_not_shared(other):
    blocks = {**TINY["blocks"], "wide": {"network": "mcan", "channels": 6, "residual_blocks": 1}}
    study = study_of({"a": plan(), "b": other}, blocks=blocks)
    first = 2 if len(study.runs["b"].plan.phases) == 4 else 1  # there phase 1 is the same
    assert all(study.equal_phases["b", number] == ("b",) for number in range(first, 4))


def test_seeds_are_apart(work):
    work(study_of({"a": plan(), "b": plan()}, seeds=[1, 2]))
    assert os.readlink("results/b/seed2/phase3") == "../../a/seed2/phase3"
    assert weights("a", 1) != Path("results/a/seed2/phase1/weights.safetensors").read_text()


def test_a_run_that_goes_another_way_leaves_the_owner_as_it_is(work):
    work(study_of({"a": plan(), "b": plan()}))
    kept = weights("a", 2)
    assert work(study_of({"a": plan(), "b": plan(1e-3, 2e-3)})) == {"b 2", "b 3"}
    assert weights("a", 2) == kept and link("b", 1) == "a" and link("b", 2) is None


def test_an_owner_that_goes_another_way_leaves_the_others_what_they_had(work):
    runs = {"a": plan(), "b": plan(), "c": plan()}
    work(study_of(runs))
    kept = weights("b", 2)
    assert work(study_of({**runs, "a": plan(1e-3, 2e-3)})) == {"a 2", "a 3"}
    assert weights("b", 2) == weights("c", 2) == kept != weights("a", 2)
    assert (link("b", 1), link("b", 2), link("c", 2), link("c", 3)) == ("a", None, "b", "b")
    assert any(line.startswith("results/b/seed1/phase2 shows results/a/seed1/phase2, ") for line in work.said)
    # And back: what c and b have stands, so that a need not train; what a had is kept.
    other = weights("a", 2)
    assert work(study_of(runs)) == set()
    assert weights("a", 2) == kept and link("a", 2) == "b"
    assert Path("results/a/seed1/phase2.before1/weights.safetensors").read_text() == other


def test_other_order_and_without_the_owner(work):
    work(study_of({"a": plan(), "b": plan(), "c": plan(2e-3)}))
    assert work(study_of({"b": plan(), "c": plan(2e-3), "a": plan()})) == set()
    assert link("b", 1) == "a"
    kept = weights("b", 3)
    assert work(study_of({"c": plan(2e-3), "b": plan()})) == set()
    assert weights("b", 3) == kept and link("b", 3) is None
    assert weights("a", 3) == kept, "it may be another config's"
    assert work(study_of({"a": plan(), "b": plan(), "c": plan(2e-3)})) == set()


def test_results_that_each_run_has_already_stay_until_they_are_made_anew(work):
    work(study_of({"a": plan(), "b": plan(2e-3)}))
    shutil.rmtree("results/b")
    shutil.copytree("results/a", "results/b")
    Path("results/b/seed1/phase1/history.csv").write_text("its own")  # and trained anew for that
    assert work(study_of({"a": plan(), "b": plan()})) == set(), "phase 1 of a stands"
    assert link("b", 1) == "a" and link("b", 2) is None, "phase 2 of b stands"
    changed = study_of({"a": plan(), "b": plan()}, precision="tf32")
    assert work(changed) == {"a 1", "a 2", "a 3"}
    assert [link("b", phase) for phase in (1, 2, 3)] == ["a", "a", "a"]
    asides = [Path(f"results/b/seed1/phase{number}.before1") for number in (1, 2, 3)]
    assert experiments.phases_set_aside(changed) == asides and status(changed).before == asides


def test_a_later_owner_that_is_made_anew_stays_the_owner(work):
    runs = {"a": plan(), "b": plan()}
    work(study_of({"b": plan()}))
    assert work(study_of(runs)) == set() and link("a", 1) == "b"
    assert work(study_of(runs, precision="tf32")) == {"b 1", "b 2", "b 3"}
    assert not list(Path("results").glob("*/*/*.before*"))


def test_a_checkpoint_goes_with_the_run_that_goes_on_from_it(work):
    both = study_of({"a": plan(), "b": plan()})
    work(both, upto=2)
    layout, on, _, _ = work.look(both)
    name = checkpoints.name_of(layout, on, SimpleNamespace(run="b", seed=1, phase=3))
    (Path("results/a/seed1/phase3") / name).mkdir()
    work(study_of({"b": plan()}), upto=2)
    assert (Path("results/b/seed1/phase3") / name).is_dir() and link("b", 3) is None
    work(both, upto=2)
    assert link("a", 3) is None, "what it has is as good"
    assert work(both) == {"a 3"}


def test_a_link_that_shows_what_is_not_wanted_is_removed_and_nothing_else(work, tmp_path):
    work(study_of({"a": plan(), "b": plan()}))
    short = {**plan(), "plan": [{"span": "1-2", "stages": stages()}]}
    work(study_of({"a": plan(), "b": short}))
    assert not os.path.lexists("results/b/seed1/phase3") and weights("a", 3)
    # A folder that a user keeps elsewhere is no link of ours.
    Path("results/a/seed1/phase3").rename(tmp_path / "elsewhere")
    Path("results/a/seed1/phase3").symlink_to(tmp_path / "elsewhere")
    assert work(study_of({"a": plan(), "b": plan()})) == set()
    assert os.readlink("results/a/seed1/phase3") == str(tmp_path / "elsewhere") and link("b", 3) == "a"


def test_what_another_config_shows_is_copied_before_it_changes(work):
    work(study_of({"a": plan(), "b": plan()}))
    kept = weights("b", 2)
    assert work(study_of({"a": plan(1e-3, 2e-3)})) == {"a 2", "a 3"}
    assert weights("b", 2) == kept and link("b", 1) == "a"
    assert "results/b/seed1/phase2 showed what is to change now; it has a copy" in work.said


def test_a_run_that_is_set_aside_leaves_no_link_without_an_end(work):
    wide = {"tiny": TINY["blocks"]["tiny"], "wide": {"network": "mcan", "channels": 6, "residual_blocks": 1}}
    other = {**plan(), "chain": ["wide", "wide"]}
    work(study_of({"a": plan(), "b": plan()}, blocks=wide))
    kept = weights("b", 1)
    assert work(study_of({"a": other, "b": plan()}, blocks=wide)) == {"a 1", "a 2", "a 3"}
    assert weights("b", 1) == kept and weights("a.before1", 1) == kept
    assert work(study_of({"a": plan(), "b": plan()}, blocks=wide)) == set()
    assert weights("a", 1) == kept
    # One that shows another's is set aside with what it shows.
    work(study_of({"a": plan(), "c": plan(), "b": plan()}, blocks=wide))
    assert link("c", 1) == "a"
    work(study_of({"a": plan(), "c": other}, blocks=wide))
    assert weights("c.before1", 1) == kept and link("c.before1", 1) is None
    # Both at once: no copy is needed.
    shutil.rmtree("results")
    work(study_of({"a": plan(), "b": plan()}, blocks=wide))
    work(study_of({"a": other, "b": other}, blocks=wide))
    assert link("b.before1", 1) == "a.before1" and weights("b.before1", 1)
    assert work(study_of({"a": plan(), "b": plan()}, blocks=wide)) == set() and link("b", 1) == "a"


def test_clean_removes_nothing_that_others_show(work):
    grown = {**plan(), "plan": [*plan()["plan"], {"span": "1-2", "stages": stages()}]}
    both = study_of({"a": grown, "b": grown})
    work(both)
    less = study_of({"a": plan(), "b": grown})
    assert [item.folder for item in clean.removable(status(less))] == [Path("results/a/seed1/phase4")]
    clean.remove(Path("results"), clean.removable(status(less)))
    assert not Path("results/a/seed1/phase4").exists() and weights("b", 4)
    assert work(less) == set()
    arrays = [item.folder for item in clean.removable(status(both), arrays=True)]
    assert [folder for folder in arrays if folder.name == "LR_1"] == [Path("results/a/seed1/phase1/LR_1")]


def test_nothing_is_moved_to_see_what_would_run(work):
    work(study_of({"a": plan(), "b": plan(), "c": plan()}))

    def seen() -> dict[str, str]:
        return {str(one): str(one.is_symlink() and os.readlink(one)) for one in Path("results").rglob("*")}

    before = seen()
    study = study_of({"c": plan(), "a": plan(2e-3)})
    layout, on, records, choice = work.look(study)
    assert choice.copied == {("c", 1, number) for number in (1, 2, 3)}
    both = [Results(study, layout, on).of_phase(run, 1, 1)[0] for run in ("c", "a")]
    stands, changes = (Path(records.depends(result.folder, result.record, result.on)) for result in both)
    assert stands.stat().st_mtime == 1 < changes.stat().st_mtime, "c has what it wants, a has not"
    assert seen() == before
    assert [phase.state for phase in status(study).phases["c", 1]] == ["done"] * 3
    assert [phase.state for phase in status(study).phases["a", 1]] == ["stale"] * 3


def test_a_disk_without_links_trains_each_run(work, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    assert work(study_of({"a": plan(), "b": plan()})) == {f"{run} {phase}" for run in "ab" for phase in (1, 2, 3)}
    assert "results: the file system has no links; phases that are equal are trained in each run" in work.said


def test_names_of_files_do_not_say_who_owns_them(work):
    study = study_of({"a": plan(), "b": plan(1e-3, 2e-3)})
    work(study)
    made = yaml.safe_load(Path("results/b/seed1/phase2/.made/train.json").read_text())
    assert "../phase1/weights.safetensors" in made["inputs"] and not any("/a/" in name for name in made["inputs"])
    shutil.copytree("results", "copy")  # links become folders
    shutil.rmtree("results")
    Path("copy").rename("results")
    assert link("b", 1) is None and work(study) == set()


def test_plan_and_status_say_what_is_shared(work, capsys):
    runs = {"a": plan(), "b": plan(1e-3, 1e-3, 2e-3), "c": plan()}
    study = study_of(runs)
    work(study)
    Path("config.yaml").write_text(yaml.safe_dump({**TINY, "data": DATA, "runs": runs}))
    assert main(["plan"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if "as in run" in line] == ["phases 1-2: as in run a", "phases 1-3: as in run a"]
    assert "9 phases a seed, of which 4 are trained and the others shown" in lines
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("as in run a" in line for line in lines) == 5
    found = status(study).phases
    assert [phase.owner for phase in found["b", 1]] == ["a", "a", None]
    assert found["c", 1][0].folder == Path("results/a/seed1/phase1")


def test_targets_in_a_run_that_shows_them_mean_the_owners_files(work):
    layout, *_ = work.look(study_of({"a": plan(), "b": plan()}))
    assert layout.real("results/b/seed1/phase2/LR_1/test.npy") == Path("results/a/seed1/phase2/LR_1/test.npy")
    for own in ("results/a/seed1/phase2", "results/data/mine/HR/test.npy", "results/b/psnr_by_phase.csv"):
        assert layout.real(own) == Path(own)


REPORTS = {"table": 4, "figures": 4, "page": 4, "compare": 1, "losses": 1, "budget": 1, "study_page": 1}


def variants(*changes: dict[int, float]) -> dict[str, dict]:
    """Runs of three blocks, each by itself and then all; ``changes`` gives phases of a run other learning rates."""
    runs = {}
    for name, changed in zip("abcdef", changes, strict=False):
        rates = {1: 1e-3, 2: 1e-3, 3: 1e-3, 4: 1e-3, **changed}
        spans = {1: 1, 2: 2, 3: 3, 4: "1-3"}
        phases = [{"span": spans[number], "stages": stages(lr)} for number, lr in rates.items()]
        runs[name] = {"chain": ["tiny"] * 3, "plan": phases}
    return runs


@pytest.mark.parametrize(
    ("runs", "seeds", "rerun"),
    [
        # Three shared phases and four joint ones, for each seed.
        (
            variants({}, {4: 2e-3}, {4: 3e-3}, {4: 4e-3}),
            [1, 2],
            {"phase1_1": 2, "phase2_1": 2, "phase3_1": 2, "phase4_1": 8, "phase1_2": 2, "phase2_2": 2, "evaluate": 14},
        ),
        # Another phase 2 is another run from there on.
        (
            variants({}, {4: 2e-3}, {4: 3e-3}, {4: 4e-3, 2: 2e-3}),
            [1],
            {"phase1_1": 1, "phase2_1": 2, "phase3_1": 2, "phase4_1": 4, "phase1_2": 1, "phase2_2": 2, "evaluate": 9},
        ),
        # A run that equals another costs nothing.
        (
            variants({}, {4: 2e-3}, {4: 3e-3}, {4: 2e-3}),
            [1],
            {"phase1_1": 1, "phase2_1": 1, "phase3_1": 1, "phase4_1": 3, "phase1_2": 1, "phase2_2": 1, "evaluate": 6},
        ),
    ],
    ids=["four joint phases", "another phase 2", "an equal run"],
)
def test_a_dry_run_has_each_job_once(pairs, runs, seeds, rerun):
    write_config(pairs, runs=runs, seeds=seeds)
    assert jobs(pairs) == {"convert": 1, **rerun, **REPORTS}


RUNS = {"a": plan(), "b": plan(1e-3, 1e-3, 2e-3), "c": plan(1e-3, 1e-3, 2e-3)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A study whose runs share phases, as the workflow has made it."""
    make = partial(finish, runs=RUNS)
    return once(tmp_path_factory, "shared", make, tmp_path_factory.mktemp("shared"))


def in_copy(folder: Path, copy: Path, symlinks: bool) -> Path:
    return Path(shutil.copytree(folder, copy, symlinks=symlinks, ignore=shutil.ignore_patterns(".snakemake")))


@pytest.mark.slow
def test_a_second_run_has_nothing_to_do_nor_has_one_on_a_copy(finished, tmp_path):
    for folder in (
        finished,
        in_copy(finished, tmp_path / "links", True),
        in_copy(finished, tmp_path / "folders", False),
    ):
        done = snakemake(folder)
        assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr, folder
    assert not (tmp_path / "folders/results/b/seed1/phase1").is_symlink()


@pytest.mark.slow
def test_a_shared_phase_has_the_bytes_of_one_that_was_trained_alone(finished, tmp_path):
    alone = in_copy(finished, tmp_path / "alone", True)
    write_config(alone, runs={"c": RUNS["c"]}, results="alone")
    done = snakemake(alone, "--rerun-incomplete", "phase3")
    assert done.returncode == 0, done.stdout + done.stderr
    for phase in (1, 2, 3):
        for name in ("weights.safetensors", "history.csv", "psnr.csv", "images/image0.png"):
            one, other = (alone / place / "c/seed1" / f"phase{phase}" / name for place in ("alone", "results"))
            assert one.read_bytes() == other.read_bytes(), (phase, name)
    assert (finished / "results/c/seed1/phase3").is_symlink()


@pytest.mark.slow
def test_the_tables_say_what_is_shared_and_what_was_spent(finished):
    each = {
        run: tables.read(finished / f"results/{run}/psnr_by_phase.csv", finished / f"results/{run}/times.csv")
        for run in RUNS
    }
    assert each["a"].shared_with.tolist() == ["", "b, c", "b, c", ""]
    assert each["c"].shared_with.tolist() == ["", "a, b", "a, b", "b"]
    phases = each["a"].block_pixels.tolist()[1:]
    spent = (finished / "results/tiny_comparison.md").read_text()
    assert f"the study took {sum(phases) + phases[2]:.3g} block-pixels" in spent
    assert f"its runs sum up to {3 * sum(phases):.3g}" in spent
    assert "phase 1 with b, c; phase 2 with b, c." in (finished / "results/a/psnr_by_phase.md").read_text()


@pytest.mark.slow
def test_forced_and_changed(finished, tmp_path):
    folder = in_copy(finished, tmp_path / "changed", True)
    reports = {"table": 3, "figures": 3, "page": 3, "compare": 1, "losses": 1, "budget": 1, "study_page": 1}
    assert jobs(folder, "phase2", "--forcerun", "phase2_1") == {"phase2_1": 1, "evaluate": 1, "phase2": 1}
    assert jobs(folder, "--forcerun", "phase2_1") == {"phase2_1": 1, "phase3_1": 2, "evaluate": 3, **reports}
    # The owner goes another way: the others have what they had, in the dry run and in the run.
    write_config(folder, runs={**RUNS, "a": plan(1e-3, 2e-3)})
    changed = {"phase2_1": 1, "phase3_1": 1, "evaluate": 2, **reports}
    assert jobs(folder) == changed
    kept = (folder / "results/b/seed1/phase2/weights.safetensors").read_bytes()
    done = snakemake(folder, "--rerun-incomplete", "phase2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "results/b/seed1/phase2/weights.safetensors").read_bytes() == kept
    assert (folder / "results/a/seed1/phase2/weights.safetensors").read_bytes() != kept
    assert os.readlink(folder / "results/c/seed1/phase2") == "../../b/seed1/phase2"
    assert jobs(folder) == {"phase3_1": 1, "evaluate": 1, **reports}
    # A file that a run shows can be asked for under its name.
    asked = "results/c/seed1/phase3/psnr.csv"
    (folder / asked).unlink()
    done = snakemake(folder, "--rerun-incomplete", asked)
    assert done.returncode == 0 and (folder / "results/b/seed1/phase3/psnr.csv").exists(), done.stdout + done.stderr
