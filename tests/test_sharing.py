"""Every result has one address: equal phases are one, whichever runs show them, and nothing that was made is lost."""

import os
import shutil
from functools import partial
from pathlib import Path

import pytest
import yaml

from multiblock.cli import main
from multiblock.report import tables
from once import once
from stand_in import DATA, TINY, Work, contents, plan, stages, study_of
from test_workflow import finish, jobs, snakemake, write_config

WIDE = {**TINY["blocks"], "wide": {"network": "mcan", "channels": 6, "residual_blocks": 1}}


@pytest.fixture
def work(tmp_path, monkeypatch) -> Work:
    monkeypatch.chdir(tmp_path)
    return Work()


def weights(run: str, phase: int, results: str = "results") -> str:
    """What a reader finds in a phase of a run."""
    return Path(f"{results}/{run}/seed1/phase{phase}/weights.safetensors").read_text()


ALL = {"a 1", "a 2", "a 3"}


def test_equal_phases_are_trained_once_and_found_in_each_run(work):
    runs = {"a": plan(), "b": plan(1e-3, 1e-3, 2e-3), "c": plan(1e-3, 2e-3)}
    assert work(study_of(runs)) == {"a 1", "a 2", "a 3", "b 3", "c 2", "c 3"}
    assert weights("a", 1) == weights("b", 1) == weights("c", 1) and weights("b", 2) == weights("a", 2)
    assert len({weights(run, 3) for run in "abc"}) == 3
    assert work(study_of(runs)) == set()
    folder = Path("results/b/seed1/phase1")
    assert folder.is_dir() and not folder.is_symlink()
    assert os.readlink(folder / "weights.safetensors").startswith("../../../store/phase1_1-")


@pytest.mark.parametrize(
    ("other", "first"),
    [
        ({**plan(), "data": {**DATA, "name": "other"}}, 1),
        ({"chain": ["wide", "wide"], "plan": plan()["plan"]}, 1),
        ({"chain": ["tiny", "tiny"], "plan": [{**plan()["plan"][0], "start": "normal"}, *plan()["plan"][1:]]}, 1),
        (plan(2e-3), 1),
        ({"chain": ["tiny", "tiny"], "plan": [plan()["plan"][0], *plan()["plan"]]}, 2),
    ],
    ids=["data", "network", "start", "stage", "number of the phase"],
)
def test_what_differs_is_not_shared(work, other, first):
    """Images of other data sets are looked at where we are: there, they differ."""
    study = study_of({"a": plan(), "b": other}, blocks=WIDE)
    _, results = work.look(study, other="others")
    for phase in study.runs["b"].plan.numbers:
        same = phase < 4 and results.train("a", 1, phase) is results.train("b", 1, phase)
        assert same == (phase < first)
    assert all(study.equal_phases["b", phase] == ("b",) for phase in range(first, 4))


def test_data_sets_of_the_same_images_and_seeds(work):
    """What a data set is called is nothing that a phase is made of; its seed is."""
    other = {**plan(), "data": {**DATA, "name": "other"}}
    study = study_of({"a": plan(), "b": other}, seeds=[1, 2])
    assert work(study) == ALL
    assert weights("a", 1) == weights("b", 1)
    assert weights("a", 1) != Path("results/a/seed2/phase1/weights.safetensors").read_text()


def test_a_change_leaves_what_the_other_run_had_and_changing_back_plans_nothing(work):
    both = study_of({"a": plan(), "b": plan()})
    work(both)
    before = contents()
    assert work(study_of({"a": plan(1e-3, 2e-3), "b": plan()})) == {"a 2", "a 3"}
    changed = contents()
    assert all(changed[path] == before[path] for path in before if path.startswith(("b/seed", "a/seed1/phase1/")))
    assert weights("a", 2) != weights("b", 2)
    assert work.todo(both) == []
    work(both)
    assert contents() == before


def test_a_run_added_taken_away_or_in_another_order_makes_only_what_is_new(work):
    work(study_of({"a": plan(), "b": plan()}))
    assert work(study_of({"b": plan(), "c": plan(1e-3, 2e-3), "a": plan()})) == {"c 2", "c 3"}
    kept = weights("a", 3)
    assert work(study_of({"c": plan(1e-3, 2e-3), "b": plan()})) == set()
    assert weights("b", 3) == weights("a", 3) == kept, "a may be another config's"


def test_a_phase_taken_away_is_shown_no_more_and_is_there_again_with_the_plan(work):
    long = {**plan(), "plan": [*plan()["plan"], {"span": "1-2", "stages": stages()}]}
    work(study_of({"a": long}))
    kept = weights("a", 4)
    work(study_of({"a": plan()}))
    assert not os.path.lexists("results/a/seed1/phase4")
    assert work(study_of({"a": long})) == set() and weights("a", 4) == kept


@pytest.mark.parametrize("how", ["chain", "images", "precision"])
def test_two_configs_of_one_name_never_touch_one_another(work, how):
    """Two chains, two data sets, two machines, one after the other in one folder."""
    other = {**plan(), "chain": ["wide", "wide"]} if how == "chain" else plan()
    changes = {"precision": "tf32"} if how == "precision" else {}
    one, two = study_of({"a": plan()}, blocks=WIDE), study_of({"a": other}, blocks=WIDE, **changes)
    images = {"mine": "others" if how == "images" else "images"}
    assert work(one) == ALL
    before = contents()
    assert work(two, **images) == ALL
    assert not set(contents().values()) & {value for path, value in before.items() if path.startswith("a/")}
    assert work.todo(one) == []
    work(one)
    assert contents() == before
    assert work.todo(two, **images) == []


def test_what_was_made_again_and_came_out_differently_reaches_what_reads_it(work):
    study = study_of({"a": plan(), "b": plan(1e-3, 1e-3, 2e-3)})
    work(study)
    store, results = work.look(study)
    store.ask_again(results.train("a", 1, 2).address)
    jobs = work.todo(study)
    assert {"phase2_1 a, seed 1, phase 2", "phase3_1 a, seed 1, phase 3", "phase3_1 b, seed 1, phase 3"} <= set(jobs)
    assert not any("phase1_" in job or "convert" in job for job in jobs)
    work.make(store, results.train("a", 1, 2))  # and there the power is cut
    assert {job for job in work.todo(study) if job.startswith("phase")} == {
        "phase3_1 a, seed 1, phase 3",
        "phase3_1 b, seed 1, phase 3",
    }
    work(study)
    assert work.todo(study) == []


def test_a_plan_changes_nothing_and_what_is_put_back_counts_again(work):
    study = study_of({"a": plan()})
    work(study)
    store, results = work.look(study)
    file = Path("results/a/seed1/phase2/weights.safetensors").resolve()
    good = file.read_bytes()
    file.write_bytes(b"other")
    says: list[str] = []
    for _ in range(2):
        verdict = store.settle(results.all(), says.append, plans=True)[results.train("a", 1, 2).address]
        assert not verdict.made and verdict.why == "weights.safetensors has changed"
        store, results = work.look(study)
    assert len(says) == 2 and "it is to be kept as results/store/phase2_1-" in says[0]
    assert file.read_bytes() == b"other"
    file.write_bytes(good)
    assert work.todo(study) == []


def test_a_file_that_was_changed_is_kept_beside_what_is_made_in_its_place(work):
    study = study_of({"a": plan()})
    work(study)
    for number in (1, 2):
        file = Path("results/a/seed1/phase2/weights.safetensors").resolve()
        file.write_text(f"mine {number}")
        assert work(study) == {"a 2", "a 3"}
        apart = Path(f"{file.parent}.damaged{number}")
        (line,) = work.said
        assert line.endswith(f"weights.safetensors has changed; it is kept as {os.path.relpath(apart)}")
        assert (apart / file.name).read_text() == f"mine {number}" and weights("a", 2).isdecimal()


def test_times_say_nothing(work):
    """Copies have any; what is asked of the disk after that is in the order in which results were made."""
    study = study_of({"a": plan()})
    work(study)
    for number, file in enumerate(sorted(Path("results").rglob("*"), key=lambda path: hash(str(path)))):
        os.utime(file, (10**9 + number, 10**9 + number), follow_symlinks=False)
    assert work.todo(study) == []
    store, results = work.look(study)
    store.refresh(results.convert("mine").address)  # as where another workflow has found it up to date
    assert work.todo(study) == []
    for result in results.all():
        made = store.mark(result.address).stat().st_mtime_ns
        assert all(store.mark(read.of.address).stat().st_mtime_ns <= made for read in result.reads.values())


def test_links_are_made_again_and_are_all_that_a_run_s_folder_has(work):
    study = study_of({"a": plan()})
    work(study)
    before = contents()
    shutil.rmtree("results/a")
    Path("results/data/mine/HR").unlink()
    assert work(study) == set() and contents() == before
    Path("results/a/notes.txt").write_text("mine")
    work(study_of({"a": plan(2e-3)}))
    work(study)
    assert contents() == {**before, "a/notes.txt": "mine"}


def test_something_of_one_s_own_in_the_place_of_a_link_is_named_and_left(work):
    from multiblock.errors import UserError

    study = study_of({"a": plan()})
    work(study)
    file = Path("results/a/seed1/phase1/history.csv")
    file.unlink()
    file.write_text("mine")
    with pytest.raises(UserError, match=r"results/a/seed1/phase1/history\.csv: is in the way of a link"):
        work(study)
    assert file.read_text() == "mine"


def test_results_under_links_of_a_user_s_own_and_moved(work, tmp_path):
    """A run's folder on another disk; then the whole results folder elsewhere, by an absolute path."""
    study = study_of({"a": plan()})
    (tmp_path / "elsewhere/deeper/a").mkdir(parents=True)
    Path("results").mkdir()
    Path("results/a").symlink_to(tmp_path / "elsewhere/deeper/a")
    work(study)
    before = contents()
    assert weights("a", 1) and work.todo(study) == []
    Path("results/a").unlink()
    Path("results").rename(tmp_path / "moved")
    moved = study_of({"a": plan()}, results=str(tmp_path / "moved"))
    assert work(moved) == set() and contents("moved") == before


@pytest.mark.parametrize("symlinks", [True, False])
def test_a_copy_is_known_for_what_it_is(work, symlinks):
    study = study_of({"a": plan(), "b": plan()})
    work(study)
    before = contents()
    shutil.copytree("results", "copy", symlinks=symlinks, copy_function=shutil.copy)
    shutil.rmtree("results")
    Path("copy").rename("results")
    assert work.todo(study) == []
    work(study_of({"a": plan(1e-3, 2e-3), "b": plan()}), upto=0)
    assert not Path("results/a/seed1/phase2/weights.safetensors").exists(), "not yet made"
    work(study)
    assert contents() == before


def test_a_disk_without_links_has_copies_of_small_files(work, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    study = study_of({"a": plan(), "b": plan()})
    assert work(study) == ALL
    assert weights("b", 3) == weights("a", 3) and not Path("results/b/seed1/phase3/weights.safetensors").is_symlink()
    assert work(study) == set()
    changed = study_of({"a": plan(1e-3, 2e-3), "b": plan()})
    work(changed, upto=0)
    assert not Path("results/a/seed1/phase2/weights.safetensors").exists(), "not yet made"
    work(changed)
    assert weights("a", 2) != weights("b", 2)
    assert work(study) == set() and weights("a", 2) == weights("b", 2)
    monkeypatch.setattr("multiblock.workflow.store._COPIED", 0)
    shutil.rmtree("results/a")
    work(study)
    assert not Path("results/a/seed1/phase1/weights.safetensors").exists(), "large ones are read in the store"


def test_plan_and_status_say_what_is_shared(work, capsys):
    runs = {"a": plan(), "b": plan(1e-3, 1e-3, 2e-3), "c": plan()}
    for split in "ab":  # both commands need no images
        Path(split).mkdir()
    Path("config.yaml").write_text(yaml.safe_dump({**TINY, "data": DATA, "runs": runs}))
    assert main(["plan"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if "as in run" in line] == ["phases 1-2: as in run a", "phases 1-3: as in run a"]
    assert "9 phases a seed, of which 4 are trained and the others shown" in lines
    assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("as in run a" in line for line in lines) == 5


REPORTS = {"table": 4, "figures": 4, "page": 4, "compare": 1, "losses": 1, "study_page": 1}


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
    ("runs", "seeds", "todo"),
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
def test_a_study_has_each_job_once(work, runs, seeds, todo):
    found: dict[str, int] = {}
    for job in work.todo(study_of(runs, seeds=seeds)):
        rule = job.partition(" ")[0]
        found[rule] = found.get(rule, 0) + 1
    assert found == {"convert": 1, **todo, **REPORTS}


RUNS = {"a": plan(), "b": plan(1e-3, 1e-3, 2e-3), "c": plan(1e-3, 1e-3, 2e-3)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A study whose runs share phases, as the workflow has made it."""
    make = partial(finish, runs=RUNS)
    return once(tmp_path_factory, "shared", make, tmp_path_factory.mktemp("shared"))


def in_copy(folder: Path, copy: Path, symlinks: bool) -> Path:
    """A copy as of ``cp -r``, without what Snakemake notes for itself."""
    ignored = shutil.ignore_patterns(".snakemake", ".snakemake_timestamp")
    return Path(shutil.copytree(folder, copy, symlinks=symlinks, ignore=ignored, copy_function=shutil.copy))


@pytest.mark.slow
@pytest.mark.parametrize("symlinks", [True, False])
def test_a_second_run_on_a_copy_has_nothing_to_do(finished, tmp_path, symlinks):
    copy = in_copy(finished, tmp_path / "copy", symlinks)
    for number, file in enumerate(sorted(copy.rglob("*"), key=lambda path: hash(str(path)))):
        os.utime(file, (10**9 + number * symlinks,) * 2, follow_symlinks=False)  # in any order, or all equal
    assert jobs(copy) == {}
    done = snakemake(copy)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr


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
def test_forced_changed_and_asked_for_by_path(finished, tmp_path):
    folder = in_copy(finished, tmp_path / "changed", True)
    reports = {"table": 3, "figures": 3, "page": 3, "compare": 1, "losses": 1, "budget": 1, "study_page": 1}
    assert jobs(folder, "phase2", "--forcerun", "phase2_1") == {"phase2_1": 1, "evaluate": 1, "phase2": 1}
    assert jobs(folder, "--forcerun", "phase2_1") == {"phase2_1": 1, "phase3_1": 2, "evaluate": 3, **reports}
    # A run goes another way: the others have what they had.
    write_config(folder, runs={**RUNS, "a": plan(1e-3, 2e-3)})
    kept = (folder / "results/b/seed1/phase2/weights.safetensors").read_bytes()
    assert jobs(folder) == {"phase2_1": 1, "phase3_1": 1, "evaluate": 2, **reports}
    looked = snakemake(folder, "--dry-run", "--rerun-incomplete", "results/a/seed1/phase2/psnr.csv")
    assert "results/a/seed1/phase2/psnr.csv: shows an earlier result" in looked.stderr, "Snakemake plans nothing there"
    done = snakemake(folder, "--rerun-incomplete", "phase2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "results/b/seed1/phase2/weights.safetensors").read_bytes() == kept
    assert (folder / "results/a/seed1/phase2/weights.safetensors").read_bytes() != kept
    assert jobs(folder) == {"phase3_1": 1, "evaluate": 1, **reports}
    # A file that a run shows can be asked for under its name, whoever shows it too.
    asked = folder / "results/c/seed1/phase3/psnr.csv"
    asked.resolve().unlink()
    done = snakemake(folder, "--rerun-incomplete", str(asked.relative_to(folder)))
    assert done.returncode == 0 and asked.exists(), done.stdout + done.stderr
    assert asked.samefile(folder / "results/b/seed1/phase3/psnr.csv")


@pytest.mark.parametrize("training", [{"keep": "best"}, {"keep": "last"}])
@pytest.mark.parametrize("changed", [{"inference": {"memory_gib": 1}}, {"training": {"validate_every": 7}}])
def test_how_validation_images_are_looked_at_counts_where_they_decide(work, training, changed):
    """A training that went on with other tiles or other looks would have been judged in two ways."""
    runs = {"a": plan()}
    both = [{"training": training}, {**changed, "training": {**training, **changed.get("training", {})}}]
    addresses = {work.look(study_of(runs, **one))[1].train("a", 1, 1).address for one in both}
    assert len(addresses) == (2 if training["keep"] == "best" else 1)
