"""The workflow as a user runs it: from images to the report, how it grows, and what stops it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

import forked
from conftest import ROOT, picture, tiny_study, write_pairs
from multiblock import network
from multiblock.data import images
from multiblock.model import chain, metadata
from once import once


def command(folder: Path, *arguments: str) -> list[str]:
    base = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    return [*base, "--cores", "1", "--resources", "gpu=1", *arguments]


def snakemake(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the workflow on ``folder/config.yaml``."""
    config = [] if "--configfile" in arguments else ["--configfile", str(folder / "config.yaml")]
    return forked.run(command(folder, *arguments, *config), {**os.environ, "CI": "1"})


def jobs(folder: Path, *arguments: str) -> dict[str, int]:
    """The jobs of a dry run and how often each would run."""
    return counted(snakemake(folder, "--dry-run", *arguments))


def counted(done: subprocess.CompletedProcess) -> dict[str, int]:
    """The jobs that a dry run lists."""
    assert done.returncode == 0, done.stderr + done.stdout
    said = done.stdout + done.stderr
    assert re.search(r"^job +count$", said, re.MULTILINE) or "Nothing to be done" in said, said
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}


def write_config(folder: Path, **changes) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump({**tiny_study(), **changes}))


def finish(folder: Path, *arguments: str, **changes) -> Path:
    """Make pairs in a folder and run the tiny study there, with changes of its config."""
    write_pairs(folder, train=3, test=2)
    write_config(folder, **changes)
    done = snakemake(folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "said.txt").write_bytes((done.stdout + done.stderr).encode())
    return folder


def finished_study(factory: pytest.TempPathFactory) -> Path:
    """A folder of one's own in which the tiny study has run."""
    return once(factory, "study", finish, factory.mktemp("study"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The finished study."""
    return finished_study(tmp_path_factory)


def test_every_file_is_where_it_should_be(finished):
    results = finished / "results"
    for run, phases in (("phased", 3), ("one_go", 1)):
        for name in (
            "psnr_by_phase.csv",
            "psnr_by_phase.md",
            "psnr_by_phase.png",
            "learning_curves.png",
            "report.html",
        ):
            assert (results / run / name).stat().st_size > 0
        assert sorted(file.name for file in (results / run / "strips").glob("*.png")) == ["image0.png", "image1.png"]
        for phase in range(1, phases + 1):
            folder = results / run / "seed1" / f"phase{phase}"
            for name in ("weights.safetensors", "history.csv", "training.json", "psnr.csv", "images/image1.png"):
                assert (folder / name).exists(), folder / name
    assert (results / "phased" / "seed1" / "phase1" / "LR_1" / "test.npy").exists()
    assert not list(results.rglob("working")) and not list(results.rglob(".part-*"))
    compared = ("comparison.csv", "comparison.md", "comparison.png", "differences.csv", "times.csv")
    curves = ("curves.csv", "curves.png", "curves_times.csv", "curves_times.png")
    for name in (*compared, *curves, "losses.csv", "losses/all.png", "budget.md", "report.html", "report_small.html"):
        assert (results / f"tiny_{name}").exists(), name


def test_the_terminal_has_few_lines_and_one_for_each_phase(finished):
    said = (finished / "said.txt").read_bytes().decode()
    lines = said.splitlines()
    # 9 of the plan, 10 of phases that are below no network halfway or at the end, a few that move, 10 at the end.
    assert len(lines) <= 42, said
    assert "warning: phase 1 ends at" in said  # and with `below_input: go_on` the others follow
    assert "\r" not in said and "\x1b" not in said
    assert not [line for line in lines if line.strip().startswith(("input:", "output:", "jobid:", "reason:"))]
    for run, phases in (("phased", 3), ("one_go", 1)):
        table = pd.read_csv(finished / "results" / run / "psnr_by_phase.csv", dtype={"phase": str}).set_index("phase")
        for phase in range(1, phases + 1):
            told = f"{run}, phase {phase}: {table.psnr_rgb_composed[str(phase)]:.3f} dB"
            assert sum(line.startswith(told) for line in lines) == 1, said
        assert [line.split()[:3] for line in lines if line.startswith(f"{run}  ")] == [
            [run, str(phases), f"{table.psnr_rgb_composed.iloc[-1]:.3f}"]
        ]
    assert re.search(r"^results/tiny_report\.html +the runs side by side", said, re.MULTILINE)
    weights = re.search(r"^multiblock upscale (\S+) photo.jpg", said, re.MULTILINE)
    assert weights and (finished / weights[1]).exists()
    assert lines[-1].startswith("done in ")


def test_snakemake_s_own_words_are_shown_on_request(finished):
    arguments = ("--dry-run", "--forcerun", "phase3_1")
    short, own = (snakemake(finished, *arguments, *more) for more in ((), ("--workflow-profile", "none")))
    said = short.stdout + short.stderr
    assert "jobid:" not in said and re.search(r"^  3 +1-2 +3 +to train again", said, re.MULTILINE), said
    assert re.search(r"^  1 +1 +4 \+ 3 +up to date, \d+\.\d{3} dB$", said, re.MULTILINE), said
    for words in (own, snakemake(finished, *arguments, "--verbose")):
        assert "rule phase3_1:" in words.stdout + words.stderr and "output: results/" in words.stdout + words.stderr


def test_an_error_of_snakemake_s_is_shown(finished):
    done = snakemake(finished, "--dry-run", "nosuch")
    assert done.returncode == 1 and "No rule to produce nosuch" in done.stdout + done.stderr


def test_the_table_names_what_others_rely_on(finished):
    table = pd.read_csv(finished / "results" / "phased" / "psnr_by_phase.csv", dtype={"phase": str})
    names = "seed,phase,psnr_rgb_composed,psnr_rgb_staged,psnr_y_composed,psnr_y_staged,ssim_y_composed,ssim_y_staged"
    assert list(table.columns[:8]) == names.split(",")
    assert table.phase.tolist() == ["input", "1", "2", "3"]
    assert table.psnr_rgb_composed.equals(table.psnr_rgb_staged) is False
    one = table[table.phase.isin(["input", "1", "3"])]  # spans that begin at block 1 read LR_0 itself
    assert one.psnr_rgb_composed.equals(one.psnr_rgb_staged)


def test_the_joint_phase_starts_from_the_blocks(finished):
    phases = [finished / f"results/phased/seed1/phase{number}/weights.safetensors" for number in (1, 2, 3)]
    first, second, joint = map(chain.load, phases)
    assert first.blocks["1"].head.weight.equal(second.blocks["1"].head.weight)
    for number, before in (("1", first), ("2", second)):
        moved = (before.blocks[number].head.weight - joint.blocks[number].head.weight).abs().max()
        assert 0 < moved < 0.01


def test_a_second_run_has_nothing_to_do(finished):
    done = snakemake(finished)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr


def test_a_joint_phase_is_taken_apart_and_residuals_are_mapped(finished):
    folder = finished / "results" / "phased"
    report = "report={blocks: true, residuals: true, budget_gflops: 0.1}"
    wanted = [f"results/phased/{name}" for name in ("psnr_by_block.md", "residuals.csv")]
    done = snakemake(finished, "--keep-going", *wanted, "--config", report)
    assert done.returncode == 0, done.stdout + done.stderr
    table = pd.read_csv(folder / "psnr_by_block.csv")
    for when, phase in (("after", 3), ("before", 2)):
        composed = pd.read_csv(folder / "seed1" / f"phase{phase}" / "psnr.csv", dtype={"phase": str})
        composed = composed[composed.phase == str(phase)].psnr_rgb_composed
        last = table[(table.when == when) & (table.block == 2)].psnr_rgb
        assert last.tolist() == composed.tolist() and len(last) == 2
    for name in ("blocks/phase3_image0.png", "residuals/image0.png"):
        assert images.read(folder / name).std() > 10


REPORT = {"table": 1, "figures": 1, "page": 1, "compare": 1, "losses": 1, "budget": 1, "study_page": 1}


def test_pictures_are_tried_on_what_each_run_ends_with(finished):
    given = ("--config", "upscale={images: photos}")
    assert "upscale.images: is missing" in refused(finished, "--nocolor", "upscale")
    assert "upscale.images: photos: cannot be listed: No such file or directory" in refused(finished, *given)
    images.write(finished / "photos/a.png", picture(seed=1))
    images.write(finished / "photos/sub/b.png", picture(30, 20, seed=2))
    (finished / "photos/clip.mov").touch()
    done = snakemake(finished, "--nocolor", "upscale", *given)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "photos: 1 file is left out, ending in .mov" in done.stderr
    for run, last in (("phased", 3), ("one_go", 1)):
        made = finished / "results" / run / "upscaled"
        assert pd.read_csv(made / "pictures.csv").result.tolist() == ["a.png", "sub/b.png"]
        weights = finished / f"results/{run}/seed1/phase{last}/weights.safetensors"
        log = finished / "results" / run / "logs/upscale.log"
        assert f"weights.safetensors: phase {last} " in log.read_text()
        expected = network.load(weights, device="cpu").upscale(picture(seed=1))
        assert abs(images.read(made / "a.png").astype(int) - expected).max() <= 1
    assert jobs(finished, *given) == {}
    images.write(finished / "photos/a.png", picture(seed=3))
    assert jobs(finished, *given) == {"upscale_pictures": 2}
    (finished / "photos/a.png").write_text("no picture")
    assert "upscale.images: photos/a.png: cannot be read as an image" in refused(finished, *given)


def stops(folder: Path, *arguments: str) -> str:
    """The one line that a run ends in because of wrong input; nothing has been trained."""
    done = snakemake(folder, *arguments)
    assert done.returncode != 0
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "multiblock: error: " in line]
    assert len(lines) == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(folder.rglob("history.csv"))
    return lines[0].removeprefix("multiblock: error: ")


def refused(folder: Path, *arguments: str) -> str:
    """What a dry run on a finished study says of wrong input, in its one line of error."""
    done = snakemake(folder, "--dry-run", *arguments)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "multiblock: error: " in line]
    assert done.returncode != 0 and len(lines) == 1, done.stdout + done.stderr
    return lines[0]


def test_mistakes_stop_it_before_any_training(pairs):
    write_config(pairs, sedes=[1])
    assert stops(pairs, "--dry-run").startswith("sedes: unknown key; did you mean 'seeds'?")
    write_config(pairs)
    whole = (pairs / "train" / "HR" / "image2.png").read_bytes()
    (pairs / "train" / "LR" / "image2.png").write_bytes(whole[: len(whole) // 2])
    assert "train/LR/image2.png: cannot be read as an image" in stops(pairs)


def test_a_sweep_of_many_runs_is_said_in_few_lines(pairs):
    write_config(pairs)
    config = yaml.safe_load((pairs / "config.yaml").read_text())
    one = config["runs"]["phased"]
    runs = {}
    for number in range(33):
        first = [{"iterations": 4 + number, "batch": 2, "patch": 16}]  # no two of them share a phase
        runs[f"run{number}"] = {**one, "plan": [{"span": 1, "stages": first}, *one["plan"][1:]]}
    (pairs / "config.yaml").write_text(yaml.safe_dump({**config, "runs": runs}))
    done = snakemake(pairs, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^run run\d+, seed 1: phases 1, 2, 1-2; 3 to train$", done.stderr, re.MULTILINE)) == 30
    assert "and 3 more runs, with 9 phases to train" in done.stderr


OTHERWISE = """
import sys
from pathlib import Path

if "-c" in sys.orig_argv or ".snakemake/scripts" in " ".join(sys.orig_argv):
    from multiblock.runtime import device

    def pays(_):
        asked = Path({asked!r})
        asked.write_text((asked.read_text() if asked.exists() else "") + "x")
        return len(asked.read_text()) % 2 == 1, "a clock that says another thing each time"

    device.bfloat16_pays = pays
"""


def test_the_number_format_is_chosen_once_and_counts(pairs, tmp_path, monkeypatch):
    """By whatever a machine finds out: jobs that asked it again would train phases in two formats."""
    (tmp_path / "site").mkdir()
    asked = tmp_path / "asked"
    (tmp_path / "site" / "sitecustomize.py").write_text(OTHERWISE.format(asked=str(asked)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    runs = {"phased": {**tiny_study()["runs"]["phased"], "plan": tiny_study()["runs"]["phased"]["plan"][:2]}}
    write_config(pairs, runs=runs, precision="auto")
    words = ("--retries", "0", "phase2")
    done = snakemake(pairs, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "precision: bfloat16 for all trainings" in done.stderr and "another thing each time" in done.stderr
    records = [json.loads(file.read_text()) for file in sorted(pairs.glob("results/phased/seed1/*/training.json"))]
    trained = [one["segments"][0] for one in records]
    assert [one["precision"] for one in trained] == ["bfloat16"] * 2
    chosen = "chosen by the first start: a clock that says another thing each time"
    assert all(
        one["precision_reason"].startswith(chosen) for one in trained
    )  # some CPUs are slow with it, which is said
    assert asked.read_text() == "x"
    # To name it is no change, another one is.
    assert jobs(pairs, *words) == {}
    write_config(pairs, runs=runs, precision="bfloat16")
    assert jobs(pairs, *words) == {}
    write_config(pairs, runs=runs, precision="float32")
    assert jobs(pairs, *words)["phase1_1"] == 1 and asked.read_text() == "x"


@pytest.mark.slow  # jobs in processes of their own
def test_jobs_run_the_package_beside_the_rules_though_another_is_installed(tmp_path):
    left_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("workflow", "envs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=left_out, symlinks=True)
    init = tmp_path / "workflow/multiblock/__init__.py"
    init.write_text(re.sub(r'__version__ = ".*"', '__version__ = "9.9.9"', init.read_text()))
    write_pairs(tmp_path, train=3, test=2)
    write_config(tmp_path)
    words = ["-m", "snakemake", "--snakefile", "workflow/Snakefile", "--cores", "1", "--rerun-triggers", "mtime"]
    words += ["--configfile", "config.yaml", "--", "phase1"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert metadata.read(tmp_path / "results/phased/seed1/phase1/weights.safetensors").version == "9.9.9"
