"""Pairs from two photographs: known displacements are found, what does not fit is dropped with its reason."""

import csv
import runpy
from importlib.resources import files
from itertools import product
from pathlib import Path

import numpy as np
import png
import pytest
import yaml
from PIL import Image

from conftest import ROOT
from multiblock import config
from multiblock.align import pair as pair_of_photographs
from multiblock.align import pairs as running
from multiblock.align.features import first_guess
from multiblock.align.pair import Options, Outcome, Photographs, align, read
from multiblock.align.residual import Limits, Residual, against_result, residual
from multiblock.align.transform import Transform, common, sample, share
from multiblock.cli import main
from multiblock.data import images, resize
from multiblock.data.dataset import items_of
from multiblock.data.images import Remarks
from multiblock.data.pair_checks import pair_checks
from multiblock.data.picture import Picture
from multiblock.errors import UserError

DISPLACED = runpy.run_path(str(ROOT / "benchmarks" / "displaced.py"))
matrix, photograph, errors = (DISPLACED[name] for name in ("matrix", "photograph", "errors"))


def scene(name: str = "astronaut", height: int = 330, width: int = 360) -> np.ndarray:
    whole = images.read(next(Path(str(files("skimage").joinpath("data"))).glob(f"{name}.*")))
    top, left = (whole.shape[0] - height) // 2, (whole.shape[1] - width) // 2
    return whole[max(0, top) :, max(0, left) :][:height, :width]


def aligned(lr: np.ndarray, hr: np.ndarray, **options) -> tuple[Outcome, np.ndarray, np.ndarray]:
    outcome = Outcome(name="one")
    pair = Photographs(lr=Picture(pixels=lr), hr=Picture(pixels=hr), reference=hr, notes=[])
    low, high = align(pair, outcome, Options(**options))
    return outcome, low.pixels, high.pixels


CASES = {
    "turn and zoom": (
        "coffee",
        1,
        {"zoom": 0.97, "turn": -2, "shift": (-14, 14)},
        {"blur": 1, "stops": 0.5},
        "similarity",
    ),
    "perspective": (
        "chelsea",
        1,
        {"turn": 1, "perspective": (3e-5, -2e-5)},
        {"blur": 1.5, "stops": -0.5},
        "homography",
    ),
    "half the size": ("astronaut", 2, {"zoom": 1.03, "turn": 1.5, "shift": (9, 5)}, {"blur": 1.2}, None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_known_displacement_is_found(case):
    name, smaller, moved, taken, kind = CASES[case]
    hr = scene(name, 300, 440) if name == "chelsea" else scene(name)
    made = (hr.shape[0] // smaller, hr.shape[1] // smaller)
    where = matrix(hr.shape[:2], made, **{**moved, "zoom": smaller * moved.get("zoom", 1)})
    outcome, low, high = aligned(photograph(hr, where, made, noise=3, **taken), hr)
    off = errors(outcome.transform.matrix, where, hr.shape[:2])
    assert np.median(off) < 0.1 and off.max() < 0.4
    assert kind in (None, outcome.transform.kind)
    assert outcome.found.median < 0.15 and outcome.found.off == 0
    assert low.shape == high.shape
    top, left, height, width = outcome.place
    assert np.array_equal(high, hr[top : top + height, left : left + width]), "HR is only cut"
    assert outcome.transform.zoom == pytest.approx(smaller * moved.get("zoom", 1), rel=2e-3)
    assert outcome.transform.turn == pytest.approx(moved.get("turn", 0), abs=0.05)


def test_lr_on_a_coarser_grid_lies_where_training_expects_it():
    scale = 2
    hr = scene()
    where = matrix(hr.shape[:2], (165, 180), zoom=2, turn=1, shift=(4, 7))
    lr = photograph(hr, where, (165, 180), blur=0.8)
    _, low, high = aligned(lr, hr, scale=scale)
    assert high.shape[:2] == (scale * low.shape[0], scale * low.shape[1])
    check = pair_checks(low, high)
    assert check.verdict == "fine" and max(abs(check.down), abs(check.right)) < 0.15
    ideal = resize.shrink(high, scale)  # what MATLAB makes of HR lies there by definition
    away = slice(8, -8)
    assert np.corrcoef(low[away, away].ravel(), ideal[away, away].ravel())[0, 1] > 0.99


def test_the_kernel_is_matlabs_bicubic():
    hr = np.float32(80) + scene()[:120, :150] // 4  # which no overshoot leaves
    y, x = np.mgrid[8:48, 8:60]
    made = sample(hr, 2 * x + 0.5, 2 * y + 0.5, 2)
    assert np.abs(made - resize.shrink(hr.astype(np.uint8), 2)[8:48, 8:60]).max() <= 1.01  # it rounds twice
    y, x = np.mgrid[5:50, 5:60]
    assert np.array_equal(sample(hr, x + 0.0, y + 0.0), hr[5:50, 5:60])


def test_the_common_rectangle_is_the_largest_that_lr_shows():
    where = matrix((300, 400), (300, 400), shift=(20, -10))
    lies = Transform(matrix=where, size=(300, 400))
    assert common(lies, (300, 400), 0, 1) == (10, 0, 290, 380)
    assert common(lies, (300, 400), 2, 3) == (12, 0, 288, 378)
    assert share(lies, (300, 400)) == pytest.approx(380 * 290 / (300 * 400), abs=0.02)
    away = Transform(matrix=matrix((300, 400), (300, 400), shift=(500, 0)), size=(300, 400))
    assert min(common(away, (300, 400), 0, 1)[2:]) == 0
    turned = Transform(matrix=matrix((300, 400), (300, 400), turn=2), size=(300, 400))
    top, left, height, width = common(turned, (300, 400), 1, 1)
    corners = [(x, y) for x in (left, left + width - 1) for y in (top, top + height - 1)]
    inside = turned(np.array(corners, float))
    assert inside.min() >= 1 and (inside.max(axis=0) <= (398, 298)).all()
    assert height * width > 0.88 * 300 * 400  # by geometry: about 7 + 7 and 5 + 5 pixels are lost at the sides


@pytest.mark.parametrize("off", [(0.0, 0.0), (0.3, 0.0), (0.4, -0.3), (0.0, 1.2)])
def test_the_residual_is_the_shift_that_is_left(off):
    hr = scene()
    lr = photograph(hr, matrix(hr.shape[:2], hr.shape[:2], shift=off), hr.shape[:2], blur=1.5, noise=2, stops=0.3)
    low, high = (image.mean(axis=2, dtype=np.float32)[8:-8, 8:-8] for image in (lr, hr))
    found = residual(low, high, 1.0)
    assert found.median == pytest.approx(np.hypot(*off), abs=0.05)
    assert (found.off > 0.9) == (np.hypot(*off) > 1)


def test_brightness_and_colours_are_matched_by_a_gain_and_an_offset_each():
    hr = scene() / np.float32(255)
    lr = (hr - np.float32([0.02, 0.01, 0.0])) / np.float32([1.1, 0.9, 1.2])
    lr[:60, :60] = 0.5  # something else
    found = pair_of_photographs.match(lr, hr)
    assert found.gains == pytest.approx((1.1, 0.9, 1.2), abs=0.01) and not found.held
    assert found.offsets == pytest.approx((0.02, 0.01, 0.0), abs=0.005)
    far = pair_of_photographs.match(hr / 3, hr)
    assert far.held and max(far.gains) == pair_of_photographs.MOST_GAIN


def test_sixteen_bits_and_colours_are_matched_on_request():
    hr = scene()
    where = matrix(hr.shape[:2], hr.shape[:2], shift=(2.5, 1.5))
    lr = photograph(hr, where, hr.shape[:2], blur=1.0, stops=-0.4)
    outcome, low, high = aligned(lr.astype(np.uint16) * 257, hr, match_colour=True)
    assert (low.dtype, high.dtype) == (np.uint16, np.uint8)
    assert len(np.unique(low)) > 2000, "not 8 bits made 16"
    assert np.abs(low.mean(axis=(0, 1)) / 257 - high.mean(axis=(0, 1))).max() < 1
    plain = aligned(lr, hr)[1]
    assert plain.mean() / high.mean() == pytest.approx(2 ** (-0.4 / 2.2), abs=0.01)
    assert outcome.match.gains == pytest.approx([2 ** (0.4 / 2.2)] * 3, abs=0.02)


def with_patch(pixels: np.ndarray, share: float) -> np.ndarray:
    """Something else in a part of the picture."""
    height, width = (int(length * share**0.5) for length in pixels.shape[:2])
    made = pixels.copy()
    made[40 : 40 + height, 60 : 60 + width] = scene("coffee")[:height, :width]
    return made


UNFIT = {
    "another scene": (lambda lr: scene("coffee"), "features agree"),
    "nothing": (lambda lr: np.full_like(lr, 90), "features are found in LR"),
    "an orientation lost": (lambda lr: np.rot90(lr), "one of the two may have lost its orientation"),
    "upside down": (lambda lr: lr[::-1, ::-1], "one of the two may have lost its orientation"),
    "moved things": (lambda lr: with_patch(lr, 0.25), "windows do not fit"),
    "little overlap": (lambda lr: lr[:, :70], ("LR shows 1", "LR shows 2", "patches of", "features agree")),
    "noise": (lambda lr: np.random.default_rng(0).integers(0, 256, lr.shape, np.uint8), "features agree"),
}


@pytest.mark.parametrize("fault", UNFIT)
def test_what_does_not_fit_is_refused_with_its_reason(fault):
    spoil, reasons = UNFIT[fault]
    hr = scene()
    lr = photograph(hr, matrix(hr.shape[:2], hr.shape[:2], shift=(3, 2)), hr.shape[:2], blur=1.0)
    with pytest.raises(UserError) as refused:
        aligned(np.ascontiguousarray(spoil(lr)), hr)
    assert any(reason in str(refused.value) for reason in np.atleast_1d(reasons))


def facade(varied: float) -> np.ndarray:
    """Windows of equal form, in colours that vary a little or not at all."""
    random = np.random.default_rng(0)
    wall = np.full((600, 800, 3), 150.0)
    for top, left in product(range(0, 600, 40), range(0, 800, 40)):
        window = wall[top + 12 : top + 40, left + 10 : left + 34]
        window[:] = np.array((40, 50, 70)) + random.normal(0, varied * 40, 3)
        window[12:15], window[:, 11:14] = 200, 200
    return (wall + random.normal(0, 2, wall.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("varied", [0, 0.1])
def test_a_facade_is_found_where_its_windows_differ_and_else_not_taken_for_mirrored(varied):
    hr = facade(varied)
    where = matrix(hr.shape[:2], hr.shape[:2], turn=0.5, shift=(3, 2))
    lr = photograph(hr, where, hr.shape[:2], blur=1.2, noise=2)
    pair = [image.mean(axis=2, dtype=np.float32) for image in (hr, lr)]
    if varied:
        assert np.median(errors(first_guess(*pair)[0], where, hr.shape[:2])) < 1
        return
    with pytest.raises(UserError, match="features agree, 15 are needed: .* nothing in it that does not repeat itself"):
        first_guess(*pair)


def test_a_mirrored_photograph_is_called_so():
    with pytest.raises(UserError, match="^LR is mirrored$"):
        aligned(np.ascontiguousarray(scene(height=512, width=512)[:, ::-1]), scene(height=512, width=512))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Two folders with good pairs and bad ones."""
    folder = tmp_path_factory.mktemp("photographs")
    for kind in ("LR", "HR"):
        (folder / kind).mkdir()

    def keep(name: str, lr: np.ndarray, hr: np.ndarray, **options) -> None:
        Image.fromarray(lr).save(folder / "LR" / f"{name}.png", **options)
        Image.fromarray(hr).save(folder / "HR" / f"{name}.png")

    hr = scene()
    where = matrix(hr.shape[:2], hr.shape[:2], turn=0.7, shift=(5, -3))
    lr = photograph(hr, where, hr.shape[:2], blur=1.2, noise=2)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a viewer
    keep("a_turned", np.rot90(lr), hr, exif=exif)
    other = scene("chelsea", 300, 440)
    keep("b_same_twice", other, other)
    small = photograph(other, matrix(other.shape[:2], (150, 220), zoom=2, turn=-1), (150, 220), blur=1)
    keep("c_again", small, hr)
    Image.fromarray(other).save(folder / "LR" / "d_alone.png")
    (folder / "LR" / "e_broken.png").write_bytes(b"no picture")
    Image.fromarray(scene("coffee")).save(folder / "HR" / "e_broken.png")
    Image.fromarray(other[:200]).save(folder / "HR" / "f_lonely.png")
    return folder


def command(folder: Path, out: Path, *options: str) -> int:
    return main(["align", str(folder / "LR"), str(folder / "HR"), "-o", str(out), *options])


def test_two_folders_become_pairs_a_table_and_a_page(photographs, tmp_path, capsys):
    out = tmp_path / "out"
    assert command(photographs, out) == 0
    printed = capsys.readouterr().out
    assert "d_alone.png: left out; it has no partner" in printed
    assert "f_lonely.png: left out; it has no partner f_lonely in" in printed
    assert "1 of 4 pairs kept" in printed
    source = config.load(yaml.safe_load("data: " + printed.partition("\ndata: ")[2])).runs["pairs"].data
    assert (source.scale, source.train["hr"], source.train["lr"]) == (1, str(out / "HR"), str(out / "LR"))
    assert len(items_of(source.train)) == 1
    rows = {row["name"]: row for row in csv.DictReader((out / "pairs.csv").open())}
    assert [row["verdict"] for row in rows.values()] == ["kept", "dropped", "dropped", "dropped"]
    assert rows["b_same_twice"]["reason"] == "LR and HR are the same picture"
    assert rows["c_again"]["reason"] == "its HR is the same picture as HR of a_turned"
    assert "e_broken.png: cannot be read as an image" in rows["e_broken"]["reason"]
    assert float(rows["a_turned"]["turn"]) == pytest.approx(0.7, abs=0.02)
    for kind in ("LR", "HR"):
        assert [file.name for file in sorted((out / kind).iterdir())] == ["a_turned.png"]
    check = pair_checks(*(images.read(out / kind / "a_turned.png") for kind in ("LR", "HR")))
    assert check.verdict == "fine" and max(abs(check.down), abs(check.right), abs(check.turn)) < 0.1
    page = (out / "pairs.html").read_text()
    assert page.count('type="range"') == 1 and "e_broken" in page and "same picture" in page
    assert "http" not in page and page.count('<img src="data:image/webp;base64,') == 2

    before = {file: file.read_bytes() for file in out.rglob("*.*") if file.name != ".lock"}
    assert command(photographs, out) == 1
    assert "exists already; name another folder, or replace it with --overwrite" in capsys.readouterr().err
    assert command(photographs, out, "--overwrite") == 0
    assert {file: file.read_bytes() for file in before} == before, "the same input gives the same bytes"
    (out / "LR" / "left.png").write_bytes(b"")
    assert command(photographs, out, "--overwrite") == 1
    assert "left.png: is none of the pairs that are made" in capsys.readouterr().err


def test_photographs_are_never_replaced(photographs, tmp_path, capsys):
    before = {file: file.read_bytes() for file in photographs.rglob("*.png")}
    assert command(photographs, photographs, "--overwrite") == 1
    assert "holds the photographs, which are never replaced" in capsys.readouterr().err
    (tmp_path / "LR").mkdir()
    (tmp_path / "LR" / "a_turned.png").hardlink_to(photographs / "HR" / "a_turned.png")
    assert command(photographs, tmp_path, "--overwrite") == 1
    assert "is one of the photographs" in capsys.readouterr().err
    assert {file: file.read_bytes() for file in before} == before


def test_no_pair_left_is_an_error(photographs, tmp_path, capsys):
    assert command(photographs, tmp_path / "out", "--most-residual", "0.01") == 1
    said = capsys.readouterr()
    assert "0 of 4 pairs kept" in said.out and "no pair fits; the table says why" in said.err
    assert "residual 0." in said.out and not list((tmp_path / "out").glob("*/*.png"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["LR", "LR"], "is both LR_DIR and HR_DIR"),
        (["LR", "nowhere"], "nowhere: cannot be listed"),
        (["LR", "HR", "--lr-name", "{name}_x"], "no names match"),
    ],
)
def test_wrong_folders_are_named(photographs, tmp_path, capsys, arguments, says):
    low, high, *more = arguments
    assert main(["align", str(photographs / low), str(photographs / high), "-o", str(tmp_path / "out"), *more]) == 1
    assert says in capsys.readouterr().err


def test_opencv_that_is_missing_is_one_clear_line(photographs, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    assert command(photographs, tmp_path / "out") == 1
    assert 'install it with: pip install "multiblock[align]"' in capsys.readouterr().err


def test_what_is_done_stays_whole_when_it_is_stopped(photographs, tmp_path, capsys, monkeypatch):
    write, written = running.write, []

    def stopped(picture, file):
        written.append(file)
        if len(written) == 4:  # HR of the second pair is there, LR is not
            raise KeyboardInterrupt
        return write(picture, file)

    monkeypatch.setattr(running, "write", stopped)
    monkeypatch.setattr(running.Seen, "again", lambda *_: "")
    monkeypatch.setattr(running, "align", lambda pair, *_: (pair.lr, pair.hr))
    assert command(photographs, tmp_path / "out") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "multiblock: stopped"
    for kind in ("LR", "HR"):
        assert [file.name for file in (tmp_path / "out" / kind).iterdir()] == ["a_turned.png"]
    assert len((tmp_path / "out" / "pairs.csv").read_text().splitlines()) == 2
    assert (tmp_path / "out" / "pairs.html").is_file()


def test_sixteen_bit_files_stay_so(tmp_path):
    hr = scene()
    where = matrix(hr.shape[:2], hr.shape[:2], shift=(2.5, 1.5))
    lr = photograph(hr, where, hr.shape[:2], blur=1.0)
    for kind, pixels in (("LR", lr), ("HR", hr)):
        (tmp_path / kind).mkdir()
        with (tmp_path / kind / "deep.png").open("wb") as file:
            deep = pixels.astype(np.uint16) * 257
            png.Writer(*deep.shape[1::-1], bitdepth=16, greyscale=False).write(file, deep.reshape(len(deep), -1))
    assert command(tmp_path, tmp_path / "out") == 0
    for kind in ("LR", "HR"):
        assert png.Reader(filename=str(tmp_path / "out" / kind / "deep.png")).read()[3]["bitdepth"] == 16


def test_what_became_srgb_is_said_of_its_pair(tmp_path):
    Image.fromarray(scene()).convert("CMYK").save(tmp_path / "a.jpg")
    Image.fromarray(scene()).save(tmp_path / "a.png")
    remarks = Remarks()
    pair = read(tmp_path / "a.jpg", tmp_path / "a.png", Options(), remarks)
    assert pair.notes == ["LR loses CMYK (it became sRGB)"]
    said = [line for _, line in remarks.lines()]
    assert said == [f"{tmp_path / 'a.jpg'}: CMYK without a colour profile, converted to RGB by the simple formula"]


def test_a_map_that_may_be_off_is_refused_though_what_can_be_compared_fits():
    found = Residual(windows=9, median=0.1, p90=0.2, off=0.0, correlation=0.99, detail=0.6)
    assert against_result(found, 0.1, Limits()) == ""
    assert "its place is known to 0.70 pixels only" in against_result(found, 0.35, Limits())
