"""How far a study is, told from its files alone, and what can be removed from them."""

import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from multiblock.workflow.records import differences, made_file

from conftest import picture
from multiblock import config
from multiblock.cli import main
from multiblock.data import images
from multiblock.files import lock
from multiblock.plan import Task
from multiblock.runtime.device import choose
from multiblock.training import trainer
from multiblock.workflow import status as looking
from test_workflow import finished_study, jobs, snakemake

PHASES = [("one_go", 1), ("phased", 1), ("phased", 2), ("phased", 3)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    return finished_study(tmp_path_factory)


@pytest.fixture
def study(finished, tmp_path, monkeypatch) -> Path:
    """A copy of the finished study, where we are."""
    shutil.copytree(finished, tmp_path / "copy", symlinks=True, ignore=shutil.ignore_patterns(".snakemake"))
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def edit(**changes) -> None:
    """Change the config; keys within keys are joined by two underscores."""
    content = yaml.safe_load(Path("config.yaml").read_text())
    for path, value in changes.items():
        *outer, last = path.split("__")
        place = content
        for key in outer:
            place = place[int(key)] if key.isdecimal() else place.setdefault(key, {})
        place[int(last) if last.isdecimal() else last] = value
    Path("config.yaml").write_text(yaml.safe_dump(content))


def phases() -> dict[tuple[str, int], looking.PhaseStatus]:
    """What is said of each phase, by run and number."""
    found = looking.status(config.load(config.read([Path("config.yaml")])))
    return {(run, phase.number): phase for (run, _), rows in found.phases.items() for phase in rows}


def states() -> list[str]:
    return [phases()[key].state for key in PHASES]


def printed(capsys, *words: str) -> list[str]:
    """The lines of a command that ends well, with single blanks."""
    capsys.readouterr()
    assert main(list(words)) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def refused(capsys, *words: str) -> str:
    """The one line of a command that ends in an error."""
    capsys.readouterr()
    assert main(list(words)) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0].removeprefix("multiblock: error: ")


def files() -> dict[str, tuple[int, int]]:
    """All files of the results, with size and time."""
    found = [file for file in Path("results").rglob("*") if file.is_file() and file.name != ".lock"]
    return {str(file): (file.stat().st_size, file.stat().st_mtime_ns) for file in found}


class Halt(Exception):
    """Stands for a power cut."""


def interrupt(monkeypatch, phase: int = 2, after: int = 3) -> Path:
    """Train a phase of the run ``phased`` for some iterations, as the workflow would; the folder of its checkpoints."""
    look = looking._Look(config.load(config.read([Path("config.yaml")])))
    of = SimpleNamespace(run="phased", seed=1, phase=phase)
    folder, iterate = Path(look.layout.phase_folder(of, phase)), trainer.Trainer._iterate

    def some(self):
        if self.state.step == after:
            raise Halt
        iterate(self)

    with monkeypatch.context() as patch, suppress(Halt):
        patch.setattr(trainer.Trainer, "_iterate", some)
        trainer.train(
            Task.from_dict(asdict(look.on.task(of))),
            trainer.Settings(**look.on.settings(of)),
            choose("cpu", "auto", gpus=0, threads=1),
            inputs=Path(look.layout.cached(of)),
            targets=Path(look.layout.hr(of)),
            lr=Path(look.layout.input(of)),
            weights={
                int(Path(file).parent.name.removeprefix("phase")): Path(file) for file in look.layout.weights_read(of)
            },
            out=folder,
            checkpoint_seconds=0,
            memory_gib=2.5,
        )
    (working,) = folder.glob("working-*")
    return working


def test_a_finished_study_is_done(study, capsys):
    before = files()
    lines = printed(capsys, "status")
    assert files() == before, "status writes"
    table = pd.read_csv("results/phased/psnr_by_phase.csv", dtype={"phase": str}).set_index("phase").psnr_rgb_composed
    plain = f"{table['input']:.3f}"
    head = lines.index("run phased, seed 1")
    for number, span in ((1, "1"), (2, "2"), (3, "1-2")):
        row = lines[head + 1 + number]
        assert row.startswith(f"{number} {span} done {table[str(number)]:.3f} {plain} "), row
        assert re.search(r" \d+ s \d+\.\d KiB$", row)
    assert lines[1].startswith("mine done ")
    assert any("PSNR RGB in dB of the test images" in line and "no border cut" in line for line in lines)
    assert not [line for line in lines if "clean" in line]
    assert printed(capsys, "clean") == ["there is nothing to remove"]


def test_jobs_are_taken_to_read_and_make_what_they_do(study):
    """The list of results is a second telling of the rules; this holds the two together."""
    look = looking._Look(config.load(config.read([Path("config.yaml")])))
    results = look.results.of_data("mine")
    results += [result for run, number in PHASES for result in look.results.of_phase(run, 1, number)]
    records = {Path(result.folder, ".depends", f"{result.record}.json") for result in results}
    tables = {"table.json", "figures.json", "page.json"}
    assert records == {file for file in Path("results").glob("*/**/.depends/*.json") if file.name not in tables}
    for result in results:
        made = yaml.safe_load(made_file(Path(result.folder, ".depends", f"{result.record}.json")).read_text())
        for what, noted in ((result.inputs, made["inputs"]), (result.outputs, made["outputs"])):
            plain = [file for file in what if not file.endswith(".npy") and Path(file).is_file()]
            assert {os.path.relpath(file, result.folder) for file in plain} == noted.keys()


def test_before_the_first_run_all_waits_and_nothing_is_made(study, capsys):
    shutil.rmtree("results")
    shutil.rmtree("train")
    assert states() == ["waiting"] * 4
    lines = printed(capsys, "status")
    assert "1 1 waiting - - - -" in lines and lines[1].startswith("mine waiting")
    assert printed(capsys, "clean") == ["results: is not there, so that there is nothing to remove"]
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("changes", "expected", "why"),
    [
        ({"recipes__joint__0__iterations": 5}, ["stale", "done", "done", "stale"], "stage 1 iterations: 3, now 5"),
        ({"precision": "tf32"}, ["stale"] * 4, "precision: auto, now tf32; it depends on phase 1, phase 2"),
        ({"evaluation__border": 3}, ["stale"] * 4, "measurements: border: 1, now 3"),
        ({"blocks__tiny__channels": 8}, ["waiting"] * 4, ""),  # another experiment
        ({"report__zoom": 32, "training__history_every": 7, "training__checkpoint_seconds": 5}, ["done"] * 4, ""),
    ],
    ids=["stage", "setting", "border", "network", "nothing"],
)
def test_what_the_config_changed_is_stale_and_says_why(study, changes, expected, why):
    edit(**changes)
    assert states() == expected
    assert phases()["phased", 3].why == why


def test_what_depends_on_it_is_stale_as_the_workflow_sees_it(study):
    edit(runs__phased__plan__1__start="inherit")
    found = phases()
    assert [found[key].state for key in PHASES] == ["done", "done", "stale", "stale"]
    assert found["phased", 2].why == "start 2: inherit_zeroed, now inherit"
    assert found["phased", 3].why == "it depends on phase 2"
    trained = {name for name in jobs(study) if re.fullmatch(r"phase\d_1", name)}
    assert trained == {"phase2_1", "phase3_1"}


def test_other_images_and_other_weights_are_seen(study, capsys):
    shutil.copy("train/HR/image0.png", "train/HR/image1.png")
    assert states() == ["stale"] * 4
    assert any(re.match(r"mine stale .* the images have changed", line) for line in printed(capsys, "status"))
    shutil.copy("results/phased/seed1/phase1/weights.safetensors", "results/phased/seed1/phase2")
    assert "weights.safetensors has changed" in phases()["phased", 2].why


def test_without_the_images_they_are_as_they_were(study, capsys):
    shutil.rmtree("train")
    assert states() == ["done"] * 4
    assert any(
        "the images of mine are taken to be as they were: train/HR" in line for line in printed(capsys, "status")
    )
    edit(recipes__joint__0__iterations=5)
    assert states() == ["stale", "done", "done", "stale"]


def test_an_interrupted_phase_says_where(study, monkeypatch, capsys):
    Path("results/phased/seed1/phase2/weights.safetensors").unlink()
    working = interrupt(monkeypatch)
    found = phases()
    assert [found[key].state for key in PHASES] == ["done", "done", "interrupted", "stale"]
    assert any(line.startswith("2 2 interrupted at iteration 3 of 7 ") for line in printed(capsys, "status"))
    other = working.with_name("working-0123")
    other.mkdir()
    assert phases()["phased", 2].unneeded == (other,)
    printed(capsys, "clean", "--yes")
    assert not other.exists() and list(working.glob("000000003-*.pt")), "what the phase goes on from must stay"
    with lock(working.parent, "training"):
        assert any(line.startswith("2 2 running at iteration 3 of 7") for line in printed(capsys, "status"))
        assert printed(capsys, "clean") == ["there is nothing to remove"]
        # The two checkpoints lie 20 s apart, and the last one was written 5 s ago.
        earlier, last = sorted(working.glob("*.pt"))
        for file, ago in ((earlier, 25), (last, 5)):
            os.utime(file, (time.time() - ago,) * 2)
        assert int(earlier.name[:9]) == 2
        assert phases()["phased", 2].seconds_left == pytest.approx(20 * 4 - 5, abs=2)
        assert any("running at iteration 3 of 7, about 1 min 1" in line for line in printed(capsys, "status"))
        os.utime(earlier, (time.time() - 5000,) * 2)  # it was interrupted in between
        assert phases()["phased", 2].seconds_left is None
    edit(recipes__few__0__lr=0.003)  # phases 1 and 2
    assert phases()["phased", 2].why == (
        "weights.safetensors is missing; it depends on phase 1; "
        "the checkpoint at iteration 3 counts if what it reads comes out as it was"
    )
    assert phases()["phased", 2].unneeded == (), "phase 1 may come out as it was"
    edit(recipes__few__0__lr=0.0001, runs__phased__plan__1__start="inherit")
    assert phases()["phased", 2].why == (
        "weights.safetensors is missing; the checkpoint at iteration 3 is of another config"
    )
    assert phases()["phased", 2].unneeded == (working,)


def test_trained_anew_it_is_interrupted_while_the_old_weights_stand(study, monkeypatch):
    edit(runs__phased__plan__1__start="inherit")
    assert phases()["phased", 2].state == "stale"
    interrupt(monkeypatch)
    assert (phases()["phased", 2].state, phases()["phased", 2].at) == ("interrupted", 3)


def test_arrays_that_were_deleted_by_hand_come_out_the_same(study, monkeypatch, capsys):
    Path("results/phased/seed1/phase2/weights.safetensors").unlink()
    interrupt(monkeypatch)
    shutil.rmtree("results/phased/seed1/phase1/LR_1")
    shutil.rmtree("results/data/mine/HR")
    found = phases()
    assert [found[key].state for key in PHASES] == ["done", "done", "stale", "stale"]
    assert found["phased", 2].why.endswith("iteration 3 counts if what it reads comes out as it was")
    assert printed(capsys, "clean") == ["there is nothing to remove"]


def test_trained_and_not_measured(study):
    Path("results/phased/seed1/phase3/psnr.csv").unlink()
    shutil.rmtree("results/phased/seed1/phase3/images")
    assert states() == ["done", "done", "done", "trained"]


def test_clean_lists_then_removes_what_the_plan_does_not_need(study, monkeypatch, capsys):
    working = interrupt(monkeypatch)  # although the phase stands
    shutil.copytree("results/phased", "results/phased.before1")
    shutil.copytree("results/phased", "results/elsewhere")
    shutil.copytree("results/phased/seed1/phase3", "results/phased/seed1/phase4")
    shutil.copytree("results/phased/seed1/phase3", "results/phased/seed9/phase3")
    gone = [Path("results/phased/seed1/phase4"), working, Path("results/phased.before1")]
    lines = printed(capsys, "status")
    for folder, what in zip(gone, ("the plan no longer has", "does not go on from", "set aside"), strict=True):
        assert any(line.startswith(f"{folder} (") and what in line for line in lines), folder
    for folder in ("results/elsewhere", "results/phased/seed9"):
        assert any(line.startswith(f"{folder} (") and "not named by the config" in line for line in lines)
    before = files()
    lines = printed(capsys, "clean")
    assert [line.split()[0] for line in lines[1:4]] == list(map(str, gone))
    assert lines[4].endswith("in all; nothing is removed without --yes") and files() == before
    assert printed(capsys, "clean", "--yes")[-1].startswith("removed ")
    assert not any(folder.exists() for folder in gone)
    kept = {name: known for name, known in before.items() if not any(Path(name).is_relative_to(one) for one in gone)}
    assert files() == kept
    assert printed(capsys, "clean", "--yes") == ["there is nothing to remove"]


def test_arrays_are_removed_when_asked_for_and_no_phase_is_trained_again(study, capsys):
    before = files()
    lines = printed(capsys, "clean", "--arrays")
    assert [line.split()[0] for line in lines[1:3]] == ["results/data/mine", "results/phased/seed1/phase1/LR_1"]
    assert "Trainings find that they stand" in lines[-1] and files() == before
    printed(capsys, "clean", "--arrays", "--yes")
    assert files() == {name: known for name, known in before.items() if not name.endswith(".npy")}
    assert states() == ["done"] * 4 and phases()["phased", 1].why == "the next run makes LR_1"
    assert any(line.startswith("mine removed ") for line in printed(capsys, "status"))
    made_again = ("results/data/mine/HR/train.npy", "results/one_go/seed1/phase1/psnr.csv")
    done = snakemake(study, "--rerun-incomplete", *made_again)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "stands as it is" in Path("results/one_go/seed1/phase1/logs/train.log").read_text()
    assert Path("results/data/mine/HR/train.npy").exists()


def test_arrays_stay_where_they_cannot_be_made_again(study, capsys):
    shutil.rmtree("test")
    lines = printed(capsys, "clean", "--arrays", "--yes")
    assert any(line.startswith("results/data/mine: its arrays stay") and "test/HR" in line for line in lines)
    assert Path("results/data/mine/HR/train.npy").exists()
    assert not Path("results/phased/seed1/phase1/LR_1/train.npy").exists()


def test_another_experiment_is_left_as_it_is(study, capsys):
    edit(blocks__tiny__channels=8, runs__phased__plan=[{"span": "1-2", "stages": "joint"}])
    before = files()
    assert any("results/phased (" in line and "another chain" in line for line in printed(capsys, "status"))
    lines = printed(capsys, "clean", "--arrays", "--yes")
    assert lines[1].startswith("results/data/mine ") and len(lines) == 4
    assert files() == {name: known for name, known in before.items() if not re.match(r"results/data/.*npy$", name)}


def test_other_images_altogether_are_another_experiment_too(study, capsys):
    for file in Path("train/HR").iterdir():
        images.write(file, picture(seed=100 + int(file.stem.removeprefix("image"))))
    edit(runs__phased__plan=yaml.safe_load(Path("config.yaml").read_text())["runs"]["phased"]["plan"][:2])
    lines = printed(capsys, "status")
    assert sum("holds weights of another chain or data set" in line for line in lines) == 2
    # Its third phase is not this plan's to remove.
    assert not any("phase that the plan no longer has" in line for line in lines)
    assert {phase.state for phase in phases().values()} == {"waiting"}
    before = files()
    printed(capsys, "clean", "--yes")
    assert files() == before


def test_nothing_is_removed_under_a_workflow_or_a_training(study, capsys):
    before = files()
    with lock(Path("results"), "running the workflow"):
        assert "results: another process is running the workflow" in refused(capsys, "clean", "--arrays", "--yes")
        assert states() == ["done"] * 4
    with lock(Path("results/phased/seed1/phase1"), "training"):
        assert "phase1: another process is training" in refused(capsys, "clean", "--arrays", "--yes")
    assert files() == before


@pytest.mark.parametrize("command", ["status", "clean"])
def test_a_wrong_config_is_one_line(study, capsys, command):
    edit(sedes=[1])
    assert refused(capsys, command).startswith("sedes: unknown key; did you mean 'seeds'?")
    assert "nowhere.yaml: cannot be read" in refused(capsys, command, "nowhere.yaml")


def test_damaged_files_are_said_and_do_not_end_it(study):
    folder = Path("results/phased/seed1/phase3")
    for name in ("psnr.csv", "training.json"):
        (folder / name).write_text("")
    found = phases()["phased", 3]
    assert found.state == "stale" and found.psnr is None and found.seconds is None
    assert "training.json has changed" in found.why and "psnr.csv" in found.why


def test_it_does_not_wait_for_torch(study):
    program = (
        "import sys; from multiblock.cli import main; assert main(['status']) == 0; assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr


def test_differences_are_said_in_words():
    before = {
        "task": {"stages": [{"lr": 0.1}, {"lr": 0.2}]},
        "files": {"w.safetensors": "1"},
        "code": {"training": "1"},
    }
    now = {"task": {"stages": [{"lr": 0.1}, {"lr": 0.3}]}, "files": {"w.safetensors": "2"}, "code": {"training": "2"}}
    assert list(differences(before, before)) == []
    assert list(differences(before, now)) == [
        "stage 2 lr: 0.2, now 0.3",
        "w.safetensors has changed",
        "the code has changed",
    ]
    assert list(differences({"a": [1]}, {"a": [1, 2], "b": None})) == ["a: 1 of them, now 2 of them"]
