"""How far a study is, told from its results folder alone, and what can be removed from it: the two commands."""

import io
import os
import re
import shutil
import time
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from conftest import picture
from multiblock import config
from multiblock.cli import main
from multiblock.data import images
from multiblock.files import lock
from multiblock.training import trainer
from multiblock.workflow import making
from multiblock.workflow.results import Results
from multiblock.workflow.status import Status
from multiblock.workflow.store import Store
from stand_in import Work, plan, results_of, study_of
from test_workflow import finished_study

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


def phases() -> dict[tuple[str, int], SimpleNamespace]:
    """What the command says of each phase, by run and number."""
    said, run, found = io.StringIO(), "", {}
    with redirect_stdout(said):
        assert main(["status"]) == 0
    for line in said.getvalue().splitlines():
        if line.startswith("run "):
            run = line.partition(",")[0].removeprefix("run ")
        elif run and re.match(r" +\d", line):
            number, _, state, psnr, _, seconds, _, *why = re.split(r" {2,}", line.strip())
            found[run, int(number)] = SimpleNamespace(state=state, psnr=psnr, seconds=seconds, why="".join(why))
    return found


def states() -> list[str]:
    found = phases()
    return [found[key].state.partition(" ")[0] for key in PHASES]


def looked() -> tuple[Store, Results, config.Study]:
    """What a start finds here."""
    study = config.load(config.read([Path("config.yaml")]))
    return *results_of(study), study


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


def folder(run: str, phase: int, name: str = "weights.safetensors") -> Path:
    """The folder in the store that a phase's files are in."""
    return Path(os.path.relpath(Path(f"results/{run}/seed1/phase{phase}/{name}").resolve().parent))


class Halt(Exception):
    """Stands for a power cut."""


def interrupt(monkeypatch, phase: int = 2, after: int = 3) -> Path:
    """Train a phase of the run ``phased`` for some iterations, as its job would; the folder of its checkpoints."""
    (store, results, study), iterate = looked(), trainer.Trainer._iterate
    result = results.train("phased", 1, phase)
    store.unmake(result.address)
    often = replace(study, training=replace(study.training, checkpoint_seconds=0))
    log = store.folder(result.address) / "job.log"
    job = making.Job(result=result, study=often, store=store, trainings=(), threads=1, gpus=0, log=log)

    def some(self):
        if self.state.step == after:
            raise Halt
        iterate(self)

    with monkeypatch.context() as patch, suppress(Halt):
        patch.setattr(trainer.Trainer, "_iterate", some)
        making.train(job)
    return job.out / "working"


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
        ({"precision": "tf32"}, ["stale"] * 4, r"precision: \w+, now tf32; it depends on phase 1; and 1 more"),
        ({"evaluation__border": 3}, ["stale"] * 4, "measurements: border: 1, now 3"),
        ({"runs__phased__plan__1__start": "inherit"}, ["done", "done", "stale", "stale"], "it depends on phase 2"),
        ({"blocks__tiny__channels": 8}, ["stale"] * 4, "block 1 options channels: 4, now 8; block 2 options channels"),
        ({"report__zoom": 32, "training__history_every": 7, "training__checkpoint_seconds": 5}, ["done"] * 4, ""),
    ],
    ids=["stage", "setting", "border", "start", "network", "nothing"],
)
def test_what_the_config_changed_is_stale_and_says_why(study, changes, expected, why):
    edit(**changes)
    assert states() == expected
    assert re.match(why, phases()["phased", 3].why) and bool(why) == bool(phases()["phased", 3].why)


def test_images_weights_and_forced_results_are_said(study, capsys):
    good = Path("train/HR/image1.png").read_bytes()
    shutil.copy("train/HR/image0.png", "train/HR/image1.png")
    assert states() == ["stale"] * 4
    assert any(re.match(r"mine stale .* the images have changed", line) for line in printed(capsys, "status"))
    Path("train/HR/image1.png").write_bytes(good)
    weights = [folder("phased", phase) / "weights.safetensors" for phase in (1, 2)]
    shutil.copy(*weights)
    assert phases()["phased", 2].why == "weights.safetensors has changed"
    store, results, _ = looked()
    store.ask_again(results.train("phased", 1, 1).address)
    assert (phases()["phased", 1].state, phases()["phased", 1].why) == ("stale", "asked for")


def test_without_the_images_they_are_as_they_were(study, capsys):
    shutil.rmtree("train")
    assert states() == ["done"] * 4
    assert any(
        "the images of mine are taken to be as they were: train/HR" in line for line in printed(capsys, "status")
    )
    edit(recipes__joint__0__iterations=5)
    assert states() == ["stale", "done", "done", "stale"]


def test_an_interrupted_phase_says_where_and_its_checkpoint_stays(study, monkeypatch, capsys):
    working = interrupt(monkeypatch)
    assert states() == ["done", "done", "interrupted", "stale"]
    assert any(line.startswith("2 2 interrupted at iteration 3 of 7 ") for line in printed(capsys, "status"))
    assert printed(capsys, "clean", "--yes") == ["there is nothing to remove"]
    assert list(working.glob("000000003-*.pt"))
    with lock(working.parent, "training"):
        assert any(line.startswith("2 2 running at iteration 3 of 7") for line in printed(capsys, "status"))
        page = Path(f"results/{looked()[2].name}_live.html")
        page.touch()
        assert f"{page} shows validation PSNR as it comes, in a browser" in printed(capsys, "status")
        # The two checkpoints are 20 s apart, and the last one was written 5 s ago.
        earlier, last = sorted(working.glob("*.pt"))
        for file, ago in ((earlier, 25), (last, 5)):
            os.utime(file, (time.time() - ago,) * 2)
        assert int(earlier.name[:9]) == 2
        said = r"running at iteration 3 of 7, about 1 min 1\d s left"  # 20 * 4 - 5 s
        assert re.fullmatch(said, phases()["phased", 2].state)
        os.utime(earlier, (time.time() - 5000,) * 2)  # it was interrupted in between
        assert phases()["phased", 2].state == "running at iteration 3 of 7"
    # Of another config it is something begun, which goes when asked to, and counts when the config is put back.
    edit(runs__phased__plan__1__start="inherit")
    assert phases()["phased", 2].state == "waiting"
    lines = printed(capsys, "clean")
    assert any(
        line.startswith(f"{working.parent} ") and "begun by no config here, at iteration 3" in line for line in lines
    )
    edit(runs__phased__plan__1__start="inherit_zeroed")
    assert phases()["phased", 2].state == "interrupted at iteration 3 of 7"


def test_trained_and_not_measured(study):
    shutil.rmtree(folder("phased", 3, "psnr.csv"))
    assert states() == ["done", "done", "done", "trained"]


def test_clean_lists_then_removes_what_no_config_needs(study, capsys):
    """Not what another config's runs show, nor what a change back would find, unless it is asked to."""
    edit(runs__phased__plan__1__start="inherit")
    before, size = files(), len(list(Path("results/store").glob("*-*")))
    lines = printed(capsys, "status")
    assert any("of earlier configs; changing a config back finds them again" in line for line in lines)
    gone = {folder("phased", 2), folder("phased", 3), folder("phased", 2, "psnr.csv"), folder("phased", 3, "psnr.csv")}
    gone |= {Path(os.path.relpath(Path("results", name).resolve().parent)) for name in ("phased/report.html",)}
    lines = printed(capsys, "clean")
    assert {str(one) for one in gone} <= {line.split()[0] for line in lines[1:]}
    assert lines[-1].endswith("in all; nothing is removed without --yes") and files() == before
    assert printed(capsys, "clean", "--yes")[-1].startswith("removed ")
    assert not any(one.exists() for one in gone) and len(list(Path("results/store").glob("*-*"))) < size - 4
    assert states() == ["done", "done", "waiting", "waiting"]
    assert printed(capsys, "clean", "--yes") == ["there is nothing to remove"]


def test_clean_leaves_files_of_a_user_beside_upscaled_pictures(study, capsys):
    out = Path("results/store/upscale_pictures-0123/upscaled")
    out.mkdir(parents=True)
    (out / ".pictures.jsonl").write_text('{}\n{"file": "a.png"}\n')
    for name in ("a.png", "pictures.csv", "notes.txt"):
        (out / name).touch()
    stays = f"{out.parent}: stays, as files in it were not made here; move them away: {out}/notes.txt"
    assert stays in printed(capsys, "clean", "--yes") and (out / "notes.txt").exists()
    (out / "notes.txt").unlink()
    printed(capsys, "clean", "--yes")
    assert not out.parent.exists()


def test_clean_never_removes_what_another_config_in_the_folder_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    work = Work()
    mine, other = study_of({"a": plan()}), study_of({"b": plan(1e-3, 2e-3)})
    work(other, mine="others")  # other images under the same name, whose arrays no path shows any more
    work(mine)
    work(study_of({"a": plan(5e-3)}))  # edited: earlier results are of no config
    unneeded = {found.folder.name for found in Status(study_of({"a": plan(5e-3)})).unnamed()}
    shown = {Path(path).resolve().parent.name for path in Path("results/b").rglob("*.*")}
    assert unneeded and not unneeded & shown
    _, results = work.look(other, mine="others")
    assert not unneeded & {result.address for result in results.all()}, "nor what that is made of"
    assert [str(one) for one in Status(mine).others()] == ["results/b"]
    # A dry run of the other config after its weights were changed: they are doubted, and not forgotten.
    store, results = work.look(other, mine="others")
    place = store.folder(results.train("b", 1, 2).address) / "weights.safetensors"
    place.write_text("changed")
    store.settle(results.all(), print, plans=True)
    assert not {found.folder.name for found in Status(mine).unnamed()} & {result.address for result in results.all()}
    # A run whose folder was removed by hand shows nothing any more.
    shutil.rmtree("results/b")
    assert results.train("b", 1, 2).address in {found.folder.name for found in Status(mine).unnamed()}


def test_arrays_are_removed_when_asked_for_and_no_phase_is_trained_again(study, capsys):
    before = files()
    lines = printed(capsys, "clean", "--arrays")
    arrays = [
        os.path.relpath(Path("results", name).resolve().parent) for name in ("data/mine/HR", "phased/seed1/phase1/LR_1")
    ]
    assert [line.split()[0] for line in lines[1:3]] == arrays
    assert "finds that trainings are up to date" in lines[-1] and files() == before
    printed(capsys, "clean", "--arrays", "--yes")
    assert not any(map(os.path.exists, arrays))
    assert states() == ["done"] * 4 and phases()["phased", 1].why == "the next run makes LR_1"
    assert any(line.startswith("mine removed ") for line in printed(capsys, "status"))
    parts = Path("results/store/parts/mine-convert")
    parts.mkdir(parents=True)
    assert any(line.startswith(str(parts)) for line in printed(capsys, "clean", "--arrays"))
    assert printed(capsys, "clean") == ["there is nothing to remove"]


def test_arrays_stay_where_they_cannot_be_made_again(study, capsys):
    shutil.rmtree("test")
    lines = printed(capsys, "clean", "--arrays", "--yes")
    assert any(line.startswith("mine: its arrays stay") and "test/HR" in line for line in lines)
    assert Path("results/data/mine/HR/train.npy").exists()


def test_other_images_altogether_leave_the_earlier_results_as_they_are(study, capsys):
    for file in Path("train/HR").iterdir():
        images.write(file, picture(seed=100 + int(file.stem.removeprefix("image"))))
    assert set(states()) == {"stale"}
    before = files()
    printed(capsys, "clean")
    assert files() == before


def test_nothing_is_removed_that_is_at_work(study, capsys):
    edit(runs__phased__plan__1__start="inherit")
    before = files()
    with lock(folder("phased", 3), "training"):
        assert "another process is making this result there already" in refused(capsys, "clean", "--yes")
    assert files() == before


@pytest.mark.parametrize("command", ["status", "clean"])
def test_a_wrong_config_is_one_line(study, capsys, command):
    edit(sedes=[1])
    assert refused(capsys, command).startswith("sedes: unknown key; did you mean 'seeds'?")
    assert "nowhere.yaml: cannot be read" in refused(capsys, command, "nowhere.yaml")


def test_damaged_files_are_said_and_do_not_end_it(study, capsys):
    for name in ("psnr.csv", "training.json"):
        (folder("phased", 3, name) / name).write_text("")
    found = phases()["phased", 3]
    assert (found.state, found.psnr, found.seconds) == ("stale", "-", "-")
    assert "training.json has changed" in found.why and "psnr.csv" in found.why
    (folder("phased", 2) / "made.json").write_text("{")
    Path("results/store/shown.json").write_text("[")
    assert phases()["phased", 2].state == "waiting"
    assert printed(capsys, "clean")
