"""What is measured of pairs of LR and HR, and the command that prints it."""

import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import picture
from multiblock.cli import main
from multiblock.data import images, resize
from multiblock.data.convert import convert
from multiblock.data.pair_checks import PairCheck, align, of_all, pair_checks
from multiblock.errors import UserError
from test_sources import data
from test_workflow import snakemake

PHOTOGRAPHS = Path(str(files("skimage").joinpath("data")))


def photograph(name: str = "astronaut") -> np.ndarray:
    return images.read(next(PHOTOGRAPHS.glob(f"{name}.*")))[:360, :400]


def soft(pixels: np.ndarray) -> np.ndarray:
    """What a worse lens makes of it."""
    return resize.enlarge(resize.shrink(pixels, 2), 2)


def moved(pixels: np.ndarray, zoom: float = 1, turn: float = 0, down: float = 0, right: float = 0) -> np.ndarray:
    """About the middle ``zoom`` times as large, turned clockwise by so many degrees, then shifted."""
    cos, sin = np.cos(np.radians(turn)) / zoom, np.sin(np.radians(turn)) / zoom
    y, x = (pixels.shape[0] - 1) / 2, (pixels.shape[1] - 1) / 2
    matrix = (cos, sin, x - cos * (x + right) - sin * (y + down), -sin, cos, y + sin * (x + right) - cos * (y + down))
    image = Image.fromarray(pixels)
    # Pillow's coordinates have their origin at a pixel's corner.
    a, b, c, d, e, f = matrix
    c, f = c + 0.5 - 0.5 * (a + b), f + 0.5 - 0.5 * (d + e)
    return np.asarray(image.transform(image.size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_good_pair(name, scale):
    hr = photograph(name)[:300]
    lr = soft(hr) if scale == 1 else resize.shrink(hr, scale)
    found = pair_checks(lr, hr)
    assert (found.verdict, found.reasons, found.order) == ("fine", (), "RGB")
    assert found.correlation > 0.95
    assert max(abs(found.down), abs(found.right)) < 0.1 * scale
    if found.zoom == found.zoom:
        assert abs(found.zoom - 1) < 5e-4 and abs(found.turn) < 0.05
    assert abs(found.stops) < 0.01


@pytest.mark.parametrize("zoom", [0.98, 0.99, 1.01, 1.03])
@pytest.mark.parametrize("turn", [0, 1.0])
def test_what_was_done_to_an_image_is_measured(zoom, turn):
    hr = photograph()
    lr = moved(hr, zoom, turn, 2.5, -1.25)
    edge = slice(20, -20)
    found = align(lr[edge, edge].mean(axis=2), hr[edge, edge].mean(axis=2))
    assert found.zoom == pytest.approx(zoom, abs=1e-3)
    assert found.turn == pytest.approx(turn, abs=0.05)
    assert (found.down, found.right) == pytest.approx((2.5, -1.25), abs=0.1)


FAULTS = {
    "a zoom of 1 %": (lambda lr: moved(lr, 1.01), "doubtful", "LR shows things 1.010 times as large as HR does"),
    "a zoom out of 1 %": (lambda lr: moved(lr, 0.99)[4:-4, 4:-4], "doubtful", "LR shows things 0.990 times as large"),
    "half a degree": (lambda lr: moved(lr, turn=-0.5), "doubtful", "LR is turned by -0.5 degrees"),
    "a shift": (lambda lr: moved(lr, down=-2), "doubtful", ("-2.0 pixels down", "-4.0 pixels down")),
    "brighter": (lambda lr: (lr * 1.1).clip(0, 255).astype(np.uint8), "doubtful", "stops brighter than HR"),
    "darker": (lambda lr: (lr * 0.9).astype(np.uint8), "doubtful", "stops darker than HR"),
    "red and blue swapped": (lambda lr: lr[..., ::-1], "wrong", "red and blue are swapped in one of the two"),
    "channels turned round": (lambda lr: lr[..., [1, 2, 0]], "wrong", "the channels of LR are HR's GBR"),
    "upside down": (lambda lr: lr[::-1], "wrong", ": they do not show the same"),
    "a negative": (lambda lr: 255 - lr, "wrong", "correlation -"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("scale", [1, 2])
def test_faults_are_found(fault, scale):
    spoil, verdict, says = FAULTS[fault]
    hr = resize.enlarge(photograph(), scale) if scale > 1 else photograph()
    if "zoom out" in fault:
        hr = hr[4 * scale : -4 * scale, 4 * scale : -4 * scale]
    found = pair_checks(spoil(photograph() if scale > 1 else soft(photograph())), hr)
    assert found.verdict == verdict
    says = says if isinstance(says, str) else says[scale - 1]  # at x2 it is so many pixels of HR
    assert any(says in reason for reason in found.reasons), found


def test_equal_images_teach_nothing():
    found = pair_checks(photograph(), photograph())
    assert (found.verdict, found.reasons) == ("doubtful", ("LR equals HR: there is nothing to learn",))


def test_gray_images_have_no_order_and_flat_ones_nothing_to_correlate():
    hr = np.repeat(photograph()[..., :1], 3, axis=2)
    assert pair_checks(soft(hr), hr).order == "-"
    noise = np.random.default_rng(0).integers(100, 105, (2, 200, 200, 3)).astype(np.uint8)
    assert pair_checks(*noise).verdict == "fine"  # a bare wall


def test_the_median_shows_what_single_pairs_hide():
    few = [PairCheck(zoom=1.004, stops=0.15, verdict="fine")] * 4
    assert of_all(few) == []
    assert [line.partition(",")[0] for line in of_all(few * 2)] == [
        "in the median LR shows things 1.004 times as large as HR does",
        "in the median LR is 0.15 stops brighter than HR",
    ]
    assert of_all([PairCheck(verdict="fine")] * 9) == []


@pytest.mark.parametrize("folder", ["City100_NikonD5500", "RealSR_NTIRE2019"])
def test_real_pairs_give_no_false_alarm(reference_data, folder):
    pairs = [(f, f.parents[1] / "LR" / f.name) for f in sorted((reference_data / folder).glob("*/HR/*"))]
    assert len(pairs) >= 9
    checks = [pair_checks(images.read(lr), images.read(hr)) for hr, lr in pairs]
    assert [check.reasons for check in checks if check.verdict != "fine"] == []
    assert of_all(checks) == []


@pytest.fixture
def photographs(tmp_path) -> Path:
    """Pairs of three photographs and two more for the test, with a config."""
    for split, names in {"train": ("astronaut", "coffee", "rocket"), "test": ("chelsea", "ihc")}.items():
        for name in names:
            images.write(tmp_path / split / "HR" / f"{name}.png", photograph(name)[:240, :300])
            images.write(tmp_path / split / "LR" / f"{name}.png", soft(photograph(name)[:240, :300]))
    folders = {split: f"{{hr: {split}/HR, lr: {split}/LR}}" for split in ("train", "test")}
    (tmp_path / "c.yaml").write_text(
        f"data: {{name: mine, scale: 1, validation: 1, train: {folders['train']}, test: {folders['test']}}}\n"
        f"data_root: '{tmp_path}'\nprecision: float32\n"
    )
    return tmp_path


def test_the_command_says_that_all_is_fine(photographs, capsys):
    assert main(["check", str(photographs / "c.yaml")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "data mine" and printed[-1] == "  all fine: 5 pairs"
    assert not re.search(r"[-+]?-0\.0+ ", "\n".join(printed))  # what rounds to zero has no minus sign
    assert {line.split()[1] for line in printed[2:-1]} == {"astronaut", "rocket", "coffee", "chelsea", "ihc"}


def test_the_command_counts_what_is_doubtful_and_fails_where_a_pair_is_wrong(photographs, capsys):
    lr = photographs / "train/LR/coffee.png"
    images.write(lr, moved(images.read(lr), 1.01))
    assert main(["check", str(photographs / "c.yaml")]) == 0
    assert capsys.readouterr().out.endswith("  1 doubtful and 0 wrong of 5 pairs\n")
    images.write(lr, soft(images.read(photographs / "train/HR/coffee.png"))[..., ::-1])
    assert main(["check", str(photographs / "c.yaml")]) == 1
    printed = capsys.readouterr()
    assert "wrong: red and blue are swapped" in printed.out
    assert printed.out.endswith("  0 doubtful and 1 wrong of 5 pairs\n")
    assert printed.err == "multiblock: error: data mine: cannot be trained on as it is; see above\n"


def test_a_dry_run_says_that_folders_are_swapped_until_they_are_converted(photographs):
    (photographs / "c.yaml").rename(photographs / "config.yaml")
    dry = snakemake(photographs, "--dry-run")
    assert dry.returncode == 0 and "warning" not in dry.stderr
    for split in ("train", "test"):
        (photographs / split / "LR").rename(photographs / split / "soft")
        (photographs / split / "HR").rename(photographs / split / "LR")
        (photographs / split / "soft").rename(photographs / split / "HR")
    said = [
        line
        for line in snakemake(photographs, "--dry-run").stderr.splitlines()
        if "the folders may be swapped; multiblock check" in line
    ]
    assert [re.search(r"/(\w+/LR/\w+)\.png and ", line)[1] for line in said] == [
        "train/LR/coffee",
        "test/LR/chelsea",
        "train/LR/astronaut",
    ]
    assert snakemake(photographs, "--cores", "1", "--until", "convert").returncode == 0
    assert "swapped" not in snakemake(photographs, "--dry-run").stderr


def test_the_command_looks_at_all_even_where_files_are_bad(photographs, capsys):
    (photographs / "train/HR/coffee.png").write_text("no image")
    (photographs / "test/HR/chelsea.gif").write_text("left out")
    for kind in ("HR", "LR"):
        shared = photographs / "train" / kind / "rocket.png"
        (photographs / "test" / kind / "again.png").write_bytes(shared.read_bytes())
    assert main(["check", str(photographs / "c.yaml")]) == 1
    printed = capsys.readouterr().out
    assert "coffee.png: cannot be read as an image" in printed
    assert "1 of 3 test images are " in printed
    assert "1 file is left out, ending in .gif (as chelsea.gif)" in printed
    assert "all fine" not in printed and "astronaut" in printed


def test_a_wrong_pair_ends_the_run_before_training_and_many_doubts_are_a_few_lines(photographs, caplog):
    for file in (photographs / "train/LR").iterdir():
        images.write(file, (images.read(file) * 0.8).astype(np.uint8))
    for number in range(8):
        for kind, pixels in (("HR", picture(60, 60, number)), ("LR", picture(60, 60, number) // 2)):
            images.write(photographs / "train" / kind / f"more{number}.png", pixels)
    mine = data(photographs, validation=1)
    convert(mine, photographs / "arrays/HR", photographs / "arrays/LR")
    assert len([line for line in caplog.messages if "stops darker" in line]) == 7
    assert "warning: and 5 more of this kind; multiblock check CONFIG shows all" in caplog.messages
    file = photographs / "train/LR/rocket.png"
    images.write(file, images.read(file)[::-1, ::-1])
    with pytest.raises(UserError, match=r"train/LR/rocket\.png and .*: they do not show the same; multiblock check"):
        convert(mine, photographs / "arrays/HR", photographs / "arrays/LR")
