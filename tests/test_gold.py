"""Two commits side by side: what counts as different, and what is run."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from conftest import ROOT, picture

_spec = importlib.util.spec_from_file_location("gold", ROOT / "benchmarks" / "gold.py")
assert _spec and _spec.loader
gold = sys.modules["gold"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(gold)

WEIGHTS = {"1.weight": torch.arange(6.0).reshape(2, 3), "1.bias": torch.ones(2)}
TABLE = "seed,psnr_rgb,seconds\n1,38.0463,0.2\n2,38.1,0.3\n"


@pytest.fixture
def both(tmp_path) -> tuple[Path, Path]:
    """Two results folders with the same results; the second shows them by links, as a store does."""
    base, store, head = tmp_path / "base", tmp_path / "head" / "store" / "abc", tmp_path / "head"
    phase = base / "run" / "seed1" / "phase1"
    (phase / "logs").mkdir(parents=True)
    np.save(phase / "train.npy", np.arange(12, dtype=np.uint8))
    save_file(WEIGHTS, phase / "weights.safetensors", {"commit": "one"})
    (phase / "psnr.csv").write_text(TABLE)
    Image.fromarray(picture()).save(phase / "strip.png")
    (phase / "training.json").write_text("{}")
    Image.fromarray(picture(seed=1)).save(phase / "curves_times.png")
    shutil.copytree(phase, store)
    (phase / "times.csv").write_text("seed,1\n")
    save_file(WEIGHTS, store / "weights.safetensors", {"commit": "another"})
    (store / "psnr.csv").write_text(TABLE.replace("0.2", "7.5"))
    Image.fromarray(picture()).save(store / "strip.png", compress_level=0)
    (store / "training.json").unlink()
    (store / "curves_times.png").unlink()
    (head / "run" / "seed1").mkdir(parents=True)
    (head / "run" / "seed1" / "phase1").symlink_to(store, target_is_directory=True)
    return base, head


def test_records_times_metadata_and_compression_do_not_count(both):
    assert gold.compare(*both) == (4, [])


def changed_pixels(file: Path) -> None:
    pixels = picture()
    pixels[3, 4, 1] ^= 1
    Image.fromarray(pixels).save(file)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("train.npy", lambda file: np.save(file, np.arange(12, dtype=np.uint8) % 11), "1 of 12 values"),
        ("train.npy", lambda file: np.save(file, np.arange(12, dtype=np.int8)), "uint8"),
        (
            "weights.safetensors",
            lambda file: save_file({**WEIGHTS, "1.bias": torch.tensor([1, np.nextafter(np.float32(1), 2)])}, file),
            "1.bias",
        ),
        ("weights.safetensors", lambda file: save_file({"1.bias": WEIGHTS["1.bias"]}, file), "1.weight"),
        ("psnr.csv", lambda file: file.write_text(TABLE.replace("38.0463", "38.0464")), "38.0463 and 38.0464"),
        ("psnr.csv", lambda file: file.write_text(TABLE.replace("38.0463", "38.04631")), "38.0463 and 38.04631"),
        ("psnr.csv", lambda file: file.write_text(TABLE.replace("psnr_rgb", "psnr")), "psnr"),
        ("strip.png", changed_pixels, "1 of"),
        ("strip.png", Path.unlink, "is missing"),
        ("new.npy", lambda file: np.save(file, np.zeros(1)), "is new"),
    ],
)
def test_a_flipped_digit_is_found(both, name, change, said):
    base, head = both
    change(head / "run" / "seed1" / "phase1" / name)
    _, (difference,) = gold.compare(base, head)
    assert difference.startswith(f"run/seed1/phase1/{name} ") and said in difference


def test_every_study_is_run():
    found = gold.runs(ROOT / "studies")
    assert found[0] == "config"
    assert {one for name in found[1:] for one in name.split("+")} == {
        file.stem for file in (ROOT / "studies").glob("*.yaml")
    } - {"short"}


def test_images_that_are_nowhere_are_named(tmp_path):
    for folder in ("train/HR", "train/LR", "test/HR"):
        (tmp_path / folder).mkdir(parents=True)
    study = [ROOT / "studies" / "toy.yaml"]
    with pytest.raises(gold.Problem, match=r"^skipped: no --data-root holds train/HR, train/LR, test/HR, test/LR$"):
        gold._root(study, [tmp_path])
    (tmp_path / "test" / "LR").mkdir()
    assert gold._root(study, [tmp_path / "elsewhere", tmp_path]) == tmp_path


def test_a_commit_that_is_not_there_is_named():
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "gold.py", "nothing"], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.startswith("nothing: ") and "Traceback" not in done.stderr
