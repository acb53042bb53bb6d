"""Which weights a folder stands for, and what is said of them."""

import json
import shutil
from pathlib import Path

import pytest

from conftest import picture
from multiblock.cli import main
from multiblock.data import images
from multiblock.errors import UserError
from multiblock.model import finished
from multiblock.model.chain import Chain
from multiblock.model.metadata import VALIDATION_PSNR, Provenance
from multiblock.plan import Block

TINY = Block(network="mcan", options={"channels": 4, "residual_blocks": 1})
SPANS = ("1", "2", "1-2")


def phase(run: Path, seed: int, number: int, blocks: int = 2, **about) -> Path:
    """A phase that is finished."""
    file = run / f"seed{seed}" / f"phase{number}" / "weights.safetensors"
    file.parent.mkdir(parents=True)
    known = {"enlarge": 2, "scale": 2, "data": "mine", "plan": SPANS[:number], "phase": number, "seed": seed}
    Chain.build([TINY] * blocks, [True] * blocks).save(file, about=Provenance(**{**known, **about}))
    return file


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run of two seeds and three phases."""
    for seed in (1, 2):
        for number in (1, 2, 3):
            phase(tmp_path / "results/mine", seed, number, blocks=min(number, 2))
    return tmp_path / "results/mine"


class TestFind:
    """A path to the file of weights."""

    @pytest.mark.parametrize(
        ("given", "found"),
        [
            ("mine", "mine/seed1/phase3"),
            ("mine/", "mine/seed1/phase3"),
            (".", "mine/seed1/phase3"),
            ("mine/seed2", "mine/seed2/phase3"),
            ("mine/seed2/phase1", "mine/seed2/phase1"),
            ("mine/seed2/phase2/weights.safetensors", "mine/seed2/phase2"),
        ],
    )
    def test_each_kind_of_path(self, run, given, found):
        assert finished.find(run.parent / given) == run.parent / found / "weights.safetensors"

    def test_numbers_count_as_numbers(self, run):
        shutil.copytree(run / "seed1/phase3", run / "seed1/phase10")
        shutil.move(run / "seed1", run / "seed10")
        assert finished.find(run) == run / "seed2/phase3/weights.safetensors"
        shutil.rmtree(run / "seed2")
        assert finished.find(run) == run / "seed10/phase10/weights.safetensors"

    def test_a_phase_that_is_a_link_to_another_run_s(self, run):
        shutil.move(run / "seed1/phase3", run.parent / "phase3")
        (run / "seed1/phase3").symlink_to("../../phase3")
        assert finished.find(run) == run / "seed1/phase3/weights.safetensors"

    def test_a_phase_that_is_missing_is_named(self, run):
        (run / "seed1/phase3/weights.safetensors").unlink()
        with pytest.raises(UserError) as error:
            finished.find(run)
        assert str(error.value) == (
            f"{run}/seed1: its last phase, phase 3, has no weights yet; finished are phases 1, 2; allowed is a "
            f"finished phase, as {run}/seed1/phase2"
        )
        with pytest.raises(UserError, match="seed1/phase3: has no weights.safetensors; this phase is not finished"):
            finished.find(run / "seed1/phase3")
        assert finished.find(run / "seed1/phase2").is_file()

    def test_a_link_to_a_store_that_is_not_there_is_called_so(self, run):
        (run / "seed1/phase3/weights.safetensors").unlink()
        (run / "seed1/phase3/weights.safetensors").symlink_to("../../../store/phase3_1-0/weights.safetensors")
        for path in (run, run / "seed1/phase3"):
            with pytest.raises(
                UserError, match=r"phase3/weights\.safetensors: is a link to \.\./.*; copy the folder of all"
            ):
                finished.find(path)

    def test_the_plan_says_which_phase_is_the_last(self, run):
        (run / "run.json").write_text(json.dumps({"phases": 4, "seeds": [2, 1]}))
        with pytest.raises(UserError, match="seed2: its last phase, phase 4, has no weights yet"):
            finished.find(run)
        (run / "run.json").write_text(json.dumps({"phases": 2, "seeds": [2, 1]}))  # phase 3 is a former plan's
        assert finished.find(run) == run / "seed2/phase2/weights.safetensors"
        assert finished.find(run / "seed1") == run / "seed1/phase2/weights.safetensors"
        (run / "run.json").write_text(json.dumps({"phases": 2, "seeds": [3, 1]}))
        with pytest.raises(UserError, match="its first seed, seed 3, is not trained yet"):
            finished.find(run)

    @pytest.mark.parametrize("damaged", ['{"phases": "two", "seeds": 7}', "[1]", "no json"])
    def test_a_plan_that_cannot_be_read_does_not_count(self, run, damaged):
        (run / "run.json").write_text(damaged)
        assert finished.find(run) == run / "seed1/phase3/weights.safetensors"

    def test_several_runs_are_named(self, run):
        shutil.copytree(run, run.with_name("yours"))
        with pytest.raises(UserError, match="holds several runs; name one of them: .*/mine, .*/yours"):
            finished.find(run.parent)

    @pytest.mark.parametrize("name", ["nothing", "empty"])
    def test_no_weights_at_all(self, tmp_path, name):
        (tmp_path / "empty").mkdir()
        with pytest.raises(UserError, match=f"{name}: (is not there|holds no weights); allowed is a file of weights"):
            finished.find(tmp_path / name)


TWO = [("input", "a", 30), ("input", "b", 32), ("3", "a", 31), ("3", "b", 34)]


def measure(file: Path, rows: list[tuple] = TWO) -> None:
    """Write the measurements of a phase: phase, image and figure."""
    metrics = ("psnr_rgb", "psnr_y", "ssim_y", "psnr_rgb8")
    columns = [f"{metric}_{how}" for metric in metrics for how in ("composed", "staged")]
    lines = [",".join(["phase", "image", *columns])]
    lines += [",".join([name, image, *[str(value)] * len(columns)]) for name, image, value in rows]
    file.with_name("psnr.csv").write_text("\n".join(lines) + "\n")


class TestAbout:
    """One line on weights: which phase, of which run, and which PSNR they had."""

    def test_measured_on_the_test_images(self, run):
        file = finished.find(run)
        measure(file)
        assert str(finished.about(file)) == (
            f"{file}: phase 3 (plan 1, 2, 1-2) of {run}, seed 1, trained on mine x2; PSNR 32.50 dB, 31.00 dB without a "
            "network (RGB, floats in [0, 1], no border cut, mean of the test images, the whole chain on LR)"
        )

    def test_worse_than_no_network_and_worse_than_before(self, run):
        file = finished.find(run)
        measure(file, [("input", "a", 30), ("3", "a", 29.9)])
        assert str(finished.about(file)).endswith("; that is worse than no network")
        for number, psnr in ((1, 30.1), (2, 30.026)):
            measure(run / f"seed1/phase{number}/weights.safetensors", [("input", "a", 30), (str(number), "a", psnr)])
        measure(file, [("input", "a", 30), ("3", "a", 30.01)])
        better = f"; {run}/seed1/phase1 is better there: 30.100 against 30.010 dB"
        assert str(finished.about(file)).endswith(better)
        assert "better there" not in str(finished.about(run / "seed1/phase1/weights.safetensors"))

    def test_an_image_whose_psnr_is_infinite_counts_in_neither_mean(self, run):
        file = finished.find(run)
        measure(file, [("input", "a", "inf"), ("input", "b", 32), ("3", "a", 31), ("3", "b", 34), ("2", "b", 9)])
        assert (finished.about(file).psnr, finished.about(file).psnr_input) == (34, 32)
        measure(file, [("input", "a", "inf"), ("3", "a", 31)])
        assert (finished.about(file).psnr, finished.about(file).psnr_input) == (31, float("inf"))
        measure(file, [("input", "a", 30), ("3", "a", "nan")])
        assert finished.about(file).psnr is None

    def test_else_what_the_file_says(self, tmp_path):
        file = phase(tmp_path / "mine", 1, 3, psnr=29.876, psnr_convention=VALIDATION_PSNR)
        (file.with_name("psnr.csv")).write_text("damaged")
        assert str(finished.about(file)).endswith(f"; PSNR 29.88 dB ({VALIDATION_PSNR})")

    def test_imported_weights(self, tmp_path):
        file = tmp_path / "w.safetensors"
        Chain.build([TINY], [True]).save(file, about=Provenance(origin="its authors published it"))
        assert str(finished.about(file)) == f"{file}: as its authors published it; PSNR not recorded"


class TestCommands:
    """Wherever weights are taken, a run's folder is."""

    def test_upscale_evaluate_models(self, run, tmp_path, capsys):
        measure(finished.find(run))
        images.write(tmp_path / "hr/a.png", picture(64, 64))
        file = f"{run}/seed1/phase3/weights.safetensors"
        said = f"{file}: phase 3 (plan 1, 2, 1-2) of {run}, seed 1"
        words = ["upscale", str(run), str(tmp_path / "hr/a.png"), "-o", str(tmp_path / "out"), "--device", "cpu"]
        assert main(words) == 0
        assert capsys.readouterr().out.startswith(said)
        assert images.read(tmp_path / "out/a.png").shape == (128, 128, 3)
        assert main(["evaluate", str(run), "--hr", str(tmp_path / "hr"), "--device", "cpu"]) == 0
        assert capsys.readouterr().out.startswith(said)
        assert main(["models", str(run)]) == 0
        assert capsys.readouterr().out.startswith(f"{file}: multiblock")

    @pytest.mark.parametrize("command", ["upscale", "evaluate", "models"])
    def test_what_is_missing_is_one_line(self, tmp_path, capsys, command):
        (tmp_path / "mine/seed1/phase1").mkdir(parents=True)
        images.write(tmp_path / "hr/a.png", picture(64, 64))
        more = {
            "upscale": [str(tmp_path / "hr"), "-o", str(tmp_path / "out")],
            "evaluate": ["--hr", str(tmp_path / "hr")],
        }
        assert main([command, str(tmp_path / "mine"), *more.get(command, [])]) == 1
        printed = capsys.readouterr()
        assert printed.out == "" and not (tmp_path / "out").exists()
        assert printed.err == (
            f"multiblock: error: {tmp_path}/mine/seed1: its last phase, phase 1, has no weights yet; no phase is "
            "finished\n"
        )
