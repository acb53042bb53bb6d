"""Pictures through a network: nothing is replaced, and what goes with a picture goes with its result."""

import base64
import json
import os
import re
import signal
import struct
import subprocess
import sys
import unicodedata
from io import BytesIO
from pathlib import Path

import numpy as np
import png
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

import forked
from conftest import as_seen, icc_profile, picture
from made_up import pixels_of, toy
from multiblock.cli import main
from multiblock.data import resize
from multiblock.errors import UserError
from multiblock.inference import targets
from multiblock.model import finished
from multiblock.page import viewer

PIXELS = picture(seed=4)
ALPHA = np.linspace(0, 255, PIXELS[..., 0].size).astype(np.uint8).reshape(*PIXELS.shape[:2], 1)
UNKNOWN = "phase and run not recorded; PSNR not recorded"
DEEP = np.random.default_rng(0).integers(0, 65536, (48, 56, 4)).astype(np.uint16)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Of a network that copies its input."""
    return toy(tmp_path / "w.safetensors", 0)


@pytest.fixture
def run(weights, capsys, monkeypatch):
    """The command in the folder of the weights: exit status, lines on standard output and on standard error.

    The line that says which weights they are is left out.
    """
    monkeypatch.chdir(weights.parent)

    def upscale(*arguments: object) -> tuple[int, list[str], list[str]]:
        enlarge = [] if "--enlarge" in arguments else ["--enlarge", "1"]
        status = main(["upscale", str(weights), *map(str, arguments), *enlarge, "--device", "cpu"])
        printed = capsys.readouterr()
        lines = [line for line in printed.out.splitlines() if line != f"{weights}: {UNKNOWN}"]
        return status, lines, printed.err.splitlines()

    return upscale


def save(file: Path, pixels: np.ndarray = PIXELS, **options) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **options)
    return file


class TestPlaces:
    """Where results go."""

    @pytest.mark.parametrize("more", [(), ("--overwrite",), ("--format", "same"), ("--overwrite", "--format", "png")])
    @pytest.mark.parametrize("folder", [".", "photos/..", "link"])
    def test_a_picture_is_never_replaced(self, run, tmp_path, more, folder):
        file = save(tmp_path / "photo.png")
        (tmp_path / "photos").mkdir()
        (tmp_path / "link").symlink_to(tmp_path)
        before = file.read_bytes()
        status, _, said = run("photo.png", "-o", folder, "--enlarge", 2, *more)
        assert status == 1 and len(said) == 1
        assert "photo.png: is one of the pictures, which are never replaced" in said[0]
        assert file.read_bytes() == before

    def test_nor_is_another_of_the_pictures(self, run, tmp_path):
        save(tmp_path / "a.jpg")
        file = save(tmp_path / "a.png", PIXELS[::-1].copy())
        before = file.read_bytes()
        assert run("a.jpg", "-o", ".", "--overwrite")[0] == 0  # it is none of the pictures of this call
        file.write_bytes(before)
        (tmp_path / "b").mkdir()
        status, _, said = run("a.jpg", "a.png", "b/../a.png", "-o", ".", "--overwrite")
        assert status == 1 and "would both become a.png" in said[0]
        assert file.read_bytes() == before

    def test_what_is_there_is_replaced_only_where_that_is_asked_for(self, run, tmp_path):
        save(tmp_path / "photo.jpg")
        other = save(tmp_path / "out/photo.png", PIXELS[:20])
        before = other.read_bytes()
        status, lines, said = run("photo.jpg", "-o", "out")
        assert (status, lines) == (1, []) and "out/photo.png: exists already" in said[0] and "--overwrite" in said[0]
        assert other.read_bytes() == before
        assert run("photo.jpg", "-o", "out", "--overwrite")[0] == 0
        assert Image.open(other).size == (56, 48)

    @pytest.mark.parametrize(
        "names",
        [
            ("one/a.png", "two/a.png"),
            ("one/a.png", "two/A.png"),
            (unicodedata.normalize("NFC", "one/é.png"), unicodedata.normalize("NFD", "two/é.png")),
            ("a.png", "a.png"),
        ],
    )
    def test_two_of_one_name_are_refused_before_any_work(self, run, tmp_path, names):
        for name in names:
            save(tmp_path / name)
        save(tmp_path / "first.png")
        status, lines, said = run("first.png", *names, "-o", "out")
        assert (status, lines, len(said)) == (1, [], 1)
        assert all(name in said[0] for name in names) and "would both become out/" in said[0]
        assert not (tmp_path / "out").exists()

    def test_a_link_that_leads_to_itself_is_a_picture_that_fails(self, run, tmp_path):
        save(tmp_path / "photos/a.png")
        (tmp_path / "photos/loop.png").symlink_to("loop.png")
        status, lines, said = run("photos", "-o", "out")
        assert (status, lines) == (1, ["out/a.png: 56 x 48"]) and "loop.png: cannot be read as an image" in said[0]

    def test_a_file_for_a_folder(self, run, tmp_path):
        save(tmp_path / "photo.png")
        assert "w.safetensors: is not a folder" in run("photo.png", "-o", "w.safetensors")[2][0]
        status, _, said = run("photo.png", "-o", "made/result.PNG")
        assert (status, said[0].endswith("allowed is the name of a folder, as made/result")) == (1, True)
        assert not (tmp_path / "made").exists()

    def test_the_good_ones_are_finished_and_the_bad_ones_named(self, run, tmp_path):
        for name in ("a", "c"):
            save(tmp_path / f"{name}.png")
        (tmp_path / "b.png").write_text("no image")
        status, lines, said = run("a.png", "b.png", "missing.png", "c.png", "-o", "out")
        assert status == 1
        assert [line.partition(":")[0] for line in lines] == ["out/a.png", "out/c.png"]
        assert said[0].startswith("multiblock: error: b.png: cannot be read as an image: ")
        assert said[1].startswith("multiblock: error: missing.png: ")
        assert said[2:] == ["multiblock: error: 2 of 4 pictures failed; the others are done"]
        assert sorted(os.listdir("out")) == ["a.png", "c.png"]

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
    def test_what_is_no_number_or_overflows_is_no_picture(self, run, weights, tmp_path, value):
        save(tmp_path / "a.png")
        toy(weights, value, clamp=False)
        status, lines, said = run("a.png", "-o", "out")
        assert (status, lines, os.path.exists("out/a.png")) == (1, [], False)
        if value == 1e30:  # weights that are no numbers are refused when they are loaded
            assert said == [
                "multiblock: error: a.png: the network makes values of it that are not finite; nothing is made of it",
                "multiblock: error: 1 of 1 picture failed",
            ]
        else:
            assert len(said) == 1 and "not finite" in said[0]


class TestFormats:
    """Results are lossless; ``same`` keeps the picture's own format."""

    @pytest.mark.parametrize(
        ("name", "form", "result"),
        [
            ("a.jpg", None, "a.png"),
            ("a.webp", None, "a.png"),
            ("a.bmp", None, "a.png"),
            ("a.TIF", None, "a.TIF"),
            ("a.tiff", "png", "a.png"),
            ("a.JPEG", "same", "a.JPEG"),
            ("a.webp", "same", "a.webp"),
            ("a.bmp", "same", "a.bmp"),
            ("a.png", "same", "a.png"),
        ],
    )
    def test_which(self, run, tmp_path, name, form, result):
        save(tmp_path / name, **({"lossless": True} if "webp" in name else {}))
        assert run(name, "-o", "out", *(["--format", form] if form else []))[0] == 0
        assert os.listdir("out") == [result]
        kinds = {"png": "PNG", "tif": "TIFF", "jpeg": "JPEG", "webp": "WEBP", "bmp": "BMP"}
        with Image.open(tmp_path / "out" / result) as image:
            assert image.format == kinds[result.rpartition(".")[2].lower()]
            assert image.size == (56, 48)
        assert np.abs(pixels_of(tmp_path / "out" / result).astype(int) - pixels_of(tmp_path / name)).mean() < 2

    def test_jpeg_keeps_its_colours_whole(self, run, tmp_path):
        save(tmp_path / "a.jpg", quality=98, subsampling=0)
        run("a.jpg", "-o", "out", "--format", "same")
        with Image.open(tmp_path / "out/a.jpg") as image:
            assert [component[1:3] for component in image.layer] == [(1, 1)] * 3

    @pytest.mark.parametrize(
        ("name", "lost"),
        [("a.png", None), ("a.tif", None), ("a.jpg", "transparency"), ("a.webp", None), ("a.bmp", "colour profile")],
    )
    def test_what_a_format_cannot_hold_is_said(self, run, tmp_path, name, lost):
        pixels = np.concatenate([PIXELS, ALPHA], axis=2)
        save(tmp_path / "a.png", pixels, icc_profile=icc_profile("p3"), dpi=(300, 300))
        (tmp_path / "a.png").rename(tmp_path / name)  # content counts, not the name
        status, lines, _ = run(name, "-o", "out", "--format", "same")
        assert status == 0
        kept, _, rest = lines[0].partition("not kept")
        assert (lost in rest) if lost else ("transparency" in kept)


def tagged(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[271], exif[272], exif[33432], exif[0x0112] = "Maker", "Camera 1", "A. Photographer", orientation
    exif.get_ifd(0x8769).update({0x9003: "2024:05:06 07:08:09", 0xA002: 56, 0xA003: 48})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0)})
    return exif


class TestKept:
    """Colours as seen, EXIF, orientation, dots per inch, alpha, bits, gray."""

    @pytest.mark.parametrize("primaries", ["p3", "adobe"])
    @pytest.mark.parametrize(
        ("name", "form"),
        [("a.jpg", "lossless"), ("a.jpg", "same"), ("a.png", "same"), ("a.tif", "same"), ("a.webp", "same")],
    )
    def test_it_looks_the_same(self, run, tmp_path, primaries, name, form):
        options = {".jpg": {"quality": 98, "subsampling": 0}, ".webp": {"lossless": True}}.get(Path(name).suffix, {})
        file = save(tmp_path / name, icc_profile=icc_profile(primaries), **options)
        status, lines, said = run(name, "-o", "out", "--format", form)
        assert (status, said) == (0, []) and "with its colour profile" in lines[0]
        assert np.abs(as_seen(file) - as_seen(next((tmp_path / "out").iterdir()))).mean() < (
            2.5 if form == "same" else 1
        )

    @pytest.mark.parametrize("form", ["same", "lossless"])
    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
    def test_exif_is_kept_and_the_orientation_applied_once(self, run, tmp_path, name, form):
        options = {".jpg": {"quality": 98, "subsampling": 0}, ".webp": {"lossless": True}}.get(Path(name).suffix, {})
        file = save(tmp_path / name, exif=tagged(6).tobytes(), **options)
        assert run(name, "-o", "out", "--format", form, "--enlarge", 2)[0] == 0
        result = next((tmp_path / "out").iterdir())
        with Image.open(result) as image:
            exif = image.getexif()
            assert exif.get(0x0112, 1) == 1
            assert (exif[271], exif[272], exif[33432]) == ("Maker", "Camera 1", "A. Photographer")
            details = exif.get_ifd(0x8769)
            assert details[0x9003] == "2024:05:06 07:08:09" and (details[0xA002], details[0xA003]) == (96, 112)
            assert exif.get_ifd(0x8825)[1] == "N"
            assert image.size == (96, 112)
        expected = resize.enlarge(as_seen(file).astype(np.uint8), 2)
        assert np.abs(as_seen(result) - expected).mean() < 2

    @pytest.mark.parametrize("form", ["lossless", "same"])
    def test_what_points_into_the_old_file_is_written_again_or_left_out_and_said(self, run, tmp_path, form):
        exif = tagged()
        exif.get_ifd(0x8769).update({0xA005: {1: "R98", 2: b"0100"}, 0x927C: b"Canon, with places in the file"})
        save(tmp_path / "a.jpg", exif=exif.tobytes(), comment=b"mine")
        lines = run("a.jpg", "-o", "out", "--format", form)[1]
        assert lines[0].endswith("; with its EXIF; not kept: comment, maker note")
        made = Image.open(next((tmp_path / "out").iterdir())).getexif()
        assert made.get_ifd(0xA005) == {1: "R98", 2: b"0100"} and 0x927C not in made.get_ifd(0x8769)
        assert made.get_ifd(0x8825)[1] == "N"

    def test_exif_that_is_too_large_for_a_jpeg_is_said(self, run, tmp_path):
        exif = tagged()
        exif[0x9C9B] = b"x" * 66000
        save(tmp_path / "b.png", exif=exif.tobytes())
        (tmp_path / "b.png").rename(tmp_path / "a.jpg")
        assert run("a.jpg", "-o", "out", "--format", "same")[1][0].endswith(
            "not kept: EXIF (it is larger than JPEG holds)"
        )

    @pytest.mark.parametrize("deep", [False, True])
    def test_gray_with_a_profile_for_colours_becomes_rgb_in_a_png(self, run, tmp_path, deep):
        gray = DEEP[..., 0] if deep else PIXELS[..., 0]
        if deep:
            tifffile.imwrite(tmp_path / "a.tif", gray, photometric="minisblack", iccprofile=icc_profile("adobe"))
        else:
            save(tmp_path / "a.tif", gray, icc_profile=icc_profile("adobe"))
        line = run("a.tif", "-o", "out", "--format", "png")[1][0]
        assert "colour profile" in line and "not kept" not in line
        width, height, rows, about = png.Reader(filename=str(tmp_path / "out/a.png")).read()
        made = np.array([list(row) for row in rows]).reshape(height, width, -1)
        assert not about["greyscale"] and np.array_equal(made, np.stack([gray] * 3, axis=2))

    def test_colours_of_a_profile_that_is_too_large_for_a_png_become_srgb(self, run, tmp_path):
        profile = icc_profile("p3") + bytes(2**20)
        file = save(tmp_path / "a.jpg", quality=98, icc_profile=len(profile).to_bytes(4, "big") + profile[4:])
        assert "not kept: colours of a profile above 1 MiB (it became sRGB)" in run("a.jpg", "-o", "out")[1][0]
        with Image.open(tmp_path / "out/a.png") as made:
            assert "icc_profile" not in made.info
            assert np.abs(as_seen(file) - np.asarray(made)).mean() < 0.5

    @pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.bmp"])
    def test_dots_per_inch(self, run, tmp_path, name):
        save(tmp_path / name, dpi=(300, 300))
        run(name, "-o", "out", "--format", "same")
        with Image.open(tmp_path / "out" / name) as image:
            assert [float(value) for value in image.info["dpi"]] == pytest.approx([300, 300], abs=0.1)

    def test_a_tiff_that_names_no_dots_per_inch_gets_none(self, run, tmp_path):
        save(tmp_path / "a.tif")
        assert run("a.tif", "-o", "out", "--format", "png")[1] == ["out/a.png: 56 x 48"]
        assert "dpi" not in Image.open(tmp_path / "out/a.png").info

    @pytest.mark.parametrize("value", [IFDRational(2**32 - 1, 1), IFDRational(0, 0)])
    def test_damaged_dots_per_inch_are_left_out_and_said(self, run, tmp_path, value):
        exif = Image.Exif()
        exif[282], exif[283], exif[296] = value, value, 2
        save(tmp_path / "a.tif", exif=exif.tobytes())
        status, lines, said = run("a.tif", "-o", "out", "--format", "png")
        assert (status, said) == (0, []) and lines[0].endswith("; not kept: dots per inch (they are damaged)")

    def test_a_damaged_exif_tag_is_left_out_and_said(self, run, tmp_path):
        """Its type is none that its tag may have, which Pillow reads and cannot write."""
        exif = tagged()
        exif[296] = 2
        short, letter = (struct.pack(">HHI4s", 296, kind, 1, b"\0\2\0\0") for kind in (3, 1))
        noted = exif.tobytes()
        assert short in noted
        save(tmp_path / "a.jpg", exif=noted.replace(short, letter))
        save(tmp_path / "b.jpg")
        status, lines, said = run("a.jpg", "b.jpg", "-o", "out")
        assert (status, said, len(lines)) == (0, [], 2) and "not kept: EXIF tag 296 (damaged)" in lines[0]
        assert Image.open(tmp_path / "out/a.png").getexif()[272] == "Camera 1"

    @pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
    def test_alpha_is_enlarged_by_itself(self, run, tmp_path, name):
        pixels = np.concatenate([PIXELS, ALPHA], axis=2)
        save(tmp_path / name, pixels, **({"lossless": True, "exact": True} if "webp" in name else {}))
        run(name, "-o", "out", "--format", "same", "--enlarge", 2)
        made = np.asarray(Image.open(tmp_path / "out" / name))
        assert np.array_equal(made[..., 3:], resize.enlarge(ALPHA, 2))
        assert np.array_equal(made[..., :3], resize.enlarge(PIXELS, 2))

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    @pytest.mark.parametrize("enlarge", [1, 2])
    def test_16_bit_png(self, run, tmp_path, channels, enlarge):
        pixels = DEEP[..., :channels]
        with (tmp_path / "a.png").open("wb") as out:
            writer = png.Writer(56, 48, bitdepth=16, greyscale=channels < 3, alpha=channels in (2, 4))
            writer.write(out, pixels.reshape(48, -1))
        self.with_chunks(tmp_path / "a.png")
        status, lines, said = run("a.png", "-o", "out", "--enlarge", enlarge)
        assert (status, said) == (0, []) and "with its 16 bits, colour profile, EXIF" in lines[0]
        width, height, rows, about = png.Reader(filename=str(tmp_path / "out/a.png")).read()
        made = np.array([list(row) for row in rows]).reshape(height, width, -1)
        assert about["bitdepth"] == 16
        expected = resize.enlarge(pixels, enlarge) if enlarge > 1 else pixels
        if channels < 3:  # as the profile is one for colours
            expected = np.concatenate([expected[..., :1]] * 3 + [expected[..., 1:]], axis=2)
        assert made.shape == expected.shape
        assert np.abs(made - expected.astype(int)).max() <= 1
        with Image.open(tmp_path / "out/a.png") as image:
            assert image.info["icc_profile"] == icc_profile("p3")
            assert image.getexif()[272] == "Camera 1"
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)

    @staticmethod
    def with_chunks(file: Path) -> None:
        """Put profile, EXIF and dots per inch into a PNG."""
        other = save(file.with_name("other.png"), icc_profile=icc_profile("p3"), exif=tagged(), dpi=(300, 300))
        extra = [c for c in png.Reader(filename=str(other)).chunks() if c[0] in (b"iCCP", b"eXIf", b"pHYs")]
        head, *rest = png.Reader(filename=str(file)).chunks()
        with file.open("wb") as out:
            png.write_chunks(out, [head, *extra, *rest])
        other.unlink()

    @pytest.mark.parametrize(("name", "most"), [("a.webp", 16383), ("a.jpg", 65500)])
    def test_what_a_format_is_too_small_for_is_known_before_any_work(self, run, tmp_path, monkeypatch, name, most):
        save(tmp_path / name, np.zeros((2, most // 4 + 1, 3), np.uint8))
        monkeypatch.setattr("multiblock.inference.upscaling.Upscaler.picture", None)
        status, _, said = run(name, "-o", "out", "--format", "same", "--enlarge", 4)
        size = f"{4 * (most // 4 + 1)} x 8"
        assert status == 1 and f"{name}: the result would have {size} pixels; " in said[0] and str(most) in said[0]
        targets.check_sides(tmp_path / name, "lossless", 8, most + 1)  # as a start of the workflow does
        with pytest.raises(UserError, match=f"holds {most} on a side; allowed is a smaller picture, or the format"):
            targets.check_sides(tmp_path / name, "same", 8, most + 1)

    @pytest.mark.parametrize("deep", [False, True])
    def test_what_a_png_states_of_its_colours(self, run, tmp_path, deep):
        """The pixels stay, so what is said of them goes on being right."""
        stated = [(b"cICP", bytes([9, 16, 0, 1])), (b"gAMA", struct.pack(">I", 100000))]
        save(tmp_path / "a.png")
        if deep:
            with (tmp_path / "a.png").open("wb") as out:
                png.Writer(56, 48, bitdepth=16, greyscale=False).write(out, DEEP[..., :3].reshape(48, -1))
        head, *rest = png.Reader(filename=str(tmp_path / "a.png")).chunks()
        with (tmp_path / "a.png").open("wb") as out:
            png.write_chunks(out, [head, *stated, *rest])
        assert run("a.png", "-o", "out")[0] == 0
        assert set(stated) <= set(png.Reader(filename=str(tmp_path / "out/a.png")).chunks())
        (tmp_path / "a.png").rename(tmp_path / "a.tif")  # content counts, not the name
        assert "not kept: what it states of its colours" in run("a.tif", "-o", "out")[1][0]

    def test_a_damaged_jpeg_is_named(self, run, tmp_path, caplog):
        content = save(tmp_path / "a.jpg", quality=95).read_bytes()
        half = len(content) // 2
        (tmp_path / "a.jpg").write_bytes(content[:half] + bytes(200) + content[half + 200 :])
        assert run("a.jpg", "-o", "out")[0] == 0
        assert "warning: a.jpg: its JPEG data is damaged" in caplog.text

    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_16_bit_tiff(self, run, tmp_path, channels):
        pixels = DEEP[..., :channels].squeeze()
        tifffile.imwrite(
            tmp_path / "a.tif",
            pixels,
            photometric="rgb" if channels > 1 else "minisblack",
            iccprofile=icc_profile("adobe"),
            extrasamples=["unassalpha"] if channels == 4 else None,
            resolution=(300, 300),
            resolutionunit="INCH",
            metadata=None,
            extratags=[(272, "s", 0, "Camera 1", True)],
        )
        status, lines, said = run("a.tif", "-o", "out")
        assert (status, said) == (0, []) and "16 bits, colour profile, EXIF" in lines[0]
        with tifffile.TiffFile(tmp_path / "out/a.tif") as made:
            page = made.pages[0]
            assert page.dtype == np.uint16
            assert np.abs(page.asarray().astype(int) - pixels).max() <= 1
            assert page.iccprofile == icc_profile("adobe")
            assert page.tags[272].value == "Camera 1"
            assert page.tags[282].value[0] / page.tags[282].value[1] == 300

    def test_16_bit_cmyk_becomes_srgb_of_8(self, run, tmp_path):
        ink = np.dstack([255 - PIXELS, np.full(PIXELS.shape[:2], 40, np.uint8)])
        tifffile.imwrite(
            tmp_path / "a.tif", ink.astype(np.uint16) * 257, photometric="separated", metadata=None, software=False
        )
        lines = run("a.tif", "-o", "out")[1]
        assert lines == ["out/a.tif: 56 x 48; not kept: 16 bits a channel (8 were read), CMYK (it became sRGB)"]
        expected = np.asarray(Image.fromarray(ink, "CMYK").convert("RGB"))
        assert np.array_equal(tifffile.imread(tmp_path / "out/a.tif"), expected)

    def test_lab_becomes_srgb_and_is_said(self, run, tmp_path):
        lab = np.zeros((48, 56, 3), np.uint8)
        lab[..., 0] = 128  # L* of 50.2, which is 120 of sRGB by its definition
        tifffile.imwrite(tmp_path / "a.tif", lab, photometric="cielab", metadata=None, software=False)
        assert run("a.tif", "-o", "out")[1] == ["out/a.tif: 56 x 48; not kept: L*a*b* (it became sRGB)"]
        assert np.abs(tifffile.imread(tmp_path / "out/a.tif").astype(int) - 120).max() <= 1

    def test_gray_that_was_multiplied_by_alpha(self, run, tmp_path):
        alpha = ALPHA // 2 + 100
        stored = np.rint(PIXELS[..., :1] * (alpha / 255)).astype(np.uint8)
        pixels = np.concatenate([stored, alpha], axis=2)
        tifffile.imwrite(
            tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig", extrasamples=["assocalpha"]
        )
        assert run("a.tif", "-o", "out", "--format", "png")[0] == 0
        made = np.asarray(Image.open(tmp_path / "out/a.png")).astype(int)
        assert np.array_equal(made[..., 1:], alpha) and np.abs(made[..., :1] - PIXELS[..., :1]).max() <= 2

    @pytest.mark.parametrize("extra", [["unspecified"], ["unassalpha", "unspecified"]])
    def test_channels_beyond_alpha_are_said_not_to_be_kept(self, run, tmp_path, extra):
        """As Photoshop keeps selections."""
        pixels = np.concatenate([PIXELS, ALPHA, ALPHA], axis=2)[..., : 3 + len(extra)]
        tifffile.imwrite(
            tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=extra, metadata=None, software=False
        )
        assert run("a.tif", "-o", "out")[1][0].endswith("not kept: its further channels")

    def test_fewer_bits_in_16_become_16(self, run, tmp_path):
        twelve = PIXELS.astype(np.uint16) * 16
        tags = [(281, "H", 3, (4095,) * 3, True)]
        tifffile.imwrite(tmp_path / "a.tif", twelve, photometric="rgb", metadata=None, extratags=tags)
        assert run("a.tif", "-o", "out")[0] == 0
        made = tifffile.imread(tmp_path / "out/a.tif")
        assert np.abs(made.astype(int) - twelve * (65535 / 4095)).max() <= 1

    def test_alpha_of_fewer_bits_fills_16_too(self, run, tmp_path):
        twelve = np.concatenate([PIXELS, ALPHA], axis=2).astype(np.uint16) * 16
        with (tmp_path / "a.png").open("wb") as out:
            png.Writer(56, 48, bitdepth=16, greyscale=False, alpha=True).write(out, twelve.reshape(48, -1))
        head, *rest = png.Reader(filename=str(tmp_path / "a.png")).chunks()
        with (tmp_path / "a.png").open("wb") as out:
            png.write_chunks(out, [head, (b"sBIT", bytes([12] * 4)), *rest])
        assert run("a.png", "-o", "out")[0] == 0
        made = np.array([list(row) for row in png.Reader(filename=str(tmp_path / "out/a.png")).read()[2]])
        assert np.abs(made.reshape(48, 56, 4) - twelve * (65535 / 4095)).max() <= 1

    @pytest.mark.parametrize("compression", [None, "zlib"])
    @pytest.mark.parametrize("byteorder", ["<", ">"])
    def test_16_bits_that_were_multiplied_by_alpha_are_divided_whole(self, run, tmp_path, byteorder, compression):
        alpha = DEEP[..., 3:] // 2 + 32000  # upper bytes alone would leave an error of hundreds
        stored = np.rint(DEEP[..., :3] * (alpha / 65535)).astype(np.uint16)
        tifffile.imwrite(
            tmp_path / "a.tif",
            np.concatenate([stored, alpha], axis=2),
            photometric="rgb",
            extrasamples=["assocalpha"],
            byteorder=byteorder,
            compression=compression,
            metadata=None,
        )
        assert run("a.tif", "-o", "out")[0] == 0
        made = tifffile.imread(tmp_path / "out/a.tif").astype(int)
        assert np.array_equal(made[..., 3:], alpha)
        assert np.abs(made[..., :3] - DEEP[..., :3]).max() <= 2  # rounded when it was multiplied

    @pytest.mark.parametrize("mode", ["L", "LA", "1"])
    def test_gray_stays_gray(self, run, tmp_path, mode):
        save(tmp_path / "a.png", np.asarray(Image.fromarray(PIXELS).convert(mode)))
        run("a.png", "-o", "out")
        with Image.open(tmp_path / "out/a.png") as image:
            assert image.mode == ("LA" if mode == "LA" else "L")

    def test_what_is_lost_is_said(self, run, tmp_path):
        image = Image.fromarray(PIXELS).convert("CMYK")
        image.save(tmp_path / "a.jpg", quality=98, xmp=b"<x/>")
        lines = run("a.jpg", "-o", "out")[1]
        assert lines == ["out/a.png: 56 x 48; not kept: XMP, CMYK (it became sRGB)"]
        assert "icc_profile" not in Image.open(tmp_path / "out/a.png").info


def test_control_c_is_one_line_in_every_command(monkeypatch, capsys, weights, tmp_path):
    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("multiblock.cli.upscale.run", stopped)
    assert main(["upscale", str(weights), "a.png", "-o", str(tmp_path / "out")]) == 130
    assert capsys.readouterr().err == "multiblock: stopped\n"


def test_control_c_by_the_system(weights, tmp_path):
    first = save(tmp_path / "0.png", picture(1000, 1000))  # so large that the signal comes long before the last one
    many = [tmp_path / f"{number}.png" for number in range(25)]
    for name in many[1:]:
        os.link(first, name)
    arguments = ["upscale", weights, *many, "-o", tmp_path / "out", "--enlarge", "1", "--device", "cpu"]
    words, pipe = [sys.executable, "-m", "multiblock", *arguments], subprocess.PIPE
    started = forked.Popen(words, stdout=pipe, stderr=pipe, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert started.stdout
    assert started.stdout.readline() == f"{weights}: {UNKNOWN}\n"
    assert started.stdout.readline().startswith(str(tmp_path / "out"))
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=60)
    assert (started.returncode, said) == (130, "multiblock: stopped\n")
    for file in (tmp_path / "out").iterdir():  # nothing by halves
        assert pixels_of(file).shape == (1000, 1000, 3)


def test_the_network_sees_the_values_as_they_are_stored(weights, tmp_path):
    toy(weights)
    for name, profile in (("a", None), ("b", icc_profile("p3"))):
        save(tmp_path / f"{name}.png", **({"icc_profile": profile} if profile else {}))
    files = [str(tmp_path / f"{name}.png") for name in "ab"]
    assert (
        main(["upscale", str(weights), *files, "-o", str(tmp_path / "out"), "--enlarge", "1", "--device", "cpu"]) == 0
    )
    made = [np.asarray(Image.open(tmp_path / "out" / f"{name}.png")) for name in "ab"]
    assert np.array_equal(*made)


@pytest.mark.parametrize("place", [("-o", "/proc/none/out"), ("-o", "out", "--compare", "/proc/none/page.html")])
def test_a_place_that_cannot_be_written_is_known_before_any_work(run, tmp_path, place):
    for name in "ab":
        save(tmp_path / f"{name}.png")
    status, lines, said = run("a.png", "b.png", *place)
    assert (status, lines, len(said)) == (1, [], 1) and "error: /proc/none" in said[0]


def shown_on(page: Path) -> dict:
    """What a page's viewer shows."""
    found = re.search(r'<script type="application/json" id="viewer-data">(.*?)</script>', page.read_text(), re.S)
    return json.loads(found[1])


def test_a_page_shows_each_picture_before_and_after(run, tmp_path):
    save(tmp_path / "a.png", picture(seed=1))
    save(tmp_path / "b.png", picture(seed=2))
    (tmp_path / "broken.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    status, lines, said = run("a.png", "broken.png", "b.png", "-o", "out", "--enlarge", "2", "--compare", "page.html")
    assert status == 1 and len(said) == 2
    assert lines[-1] == "page.html: 2 pictures before and after"
    cuts = shown_on(tmp_path / "page.html")["cuts"]
    assert [cut["name"] for cut in cuts] == ["a.png", "b.png"]
    before, lanczos, after = (
        np.asarray(Image.open(BytesIO(base64.b64decode(one["src"].partition(",")[2])))) for one in cuts[0]["pictures"]
    )
    assert [one["label"] for one in cuts[0]["pictures"]] == ["before, bicubic x2", "before, Lanczos x2", "after"]
    source = Image.fromarray(picture(seed=1))
    assert np.array_equal(lanczos, source.resize((112, 96), Image.Resampling.LANCZOS)), "what many programs do"
    assert np.array_equal(after, np.asarray(Image.open(tmp_path / "out/a.png")))
    assert np.array_equal(before, resize.enlarge(picture(seed=1), 2))


def test_what_a_page_has_no_room_for_is_said(run, tmp_path, monkeypatch):
    noise = np.random.default_rng(0)
    for name in "abc":
        save(tmp_path / f"{name}.png", noise.integers(0, 256, (160, 160, 3), np.uint8))
    monkeypatch.setattr(viewer.page, "__kwdefaults__", viewer.page.__kwdefaults__ | {"limit": 300_000})
    status, lines, _ = run("a.png", "b.png", "c.png", "-o", "out", "--enlarge", "2", "--compare", "page.html")
    shown = {cut["name"] for cut in shown_on(tmp_path / "page.html")["cuts"]}
    assert status == 0 and 0 < len(shown) < 3
    assert lines[-1].startswith("page.html: 3 pictures before and after. All pictures without loss take more than ")
    assert lines[-1].endswith(f"They are of {len(shown)} of 3 images, those with the largest changes.")


def test_a_name_that_is_no_utf8_is_printed_and_shown(weights, tmp_path):
    """By Python's strict rules, which most terminals have."""
    save(tmp_path / "a.png").rename(tmp_path / os.fsdecode(b"\xff.png"))
    command = (
        f"from multiblock.cli import main; import glob, sys; sys.exit(main(['upscale', '{weights}', *glob.glob('*.png')"
    )
    options = "'-o', 'out', '--enlarge', '1', '--device', 'cpu', '--compare', 'page.html']))"
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = forked.run([sys.executable, "-c", f"{command}, {options}"], cwd=tmp_path, env=strict)
    assert (done.returncode, done.stderr) == (0, "")
    assert r"out/\xff.png: 56 x 48" in done.stdout
    assert [cut["name"] for cut in shown_on(tmp_path / "page.html")["cuts"]] == [r"\xff.png"]


def test_on_a_page_pictures_of_one_name_are_told_apart(run, tmp_path):
    for name in ("2023/IMG_1.png", "2024/IMG_1.png", "2024/IMG_2.png"):
        save(tmp_path / "photos" / name)
    assert run("photos", "-o", "out", "--compare", "page.html")[0] == 0
    names = [cut["name"] for cut in shown_on(tmp_path / "page.html")["cuts"]]
    assert names == ["photos/2023/IMG_1.png", "photos/2024/IMG_1.png", "IMG_2.png"]


@pytest.mark.parametrize(
    ("name", "says"), [("page.png", "page.png; allowed is a file ending in .html"), ("there.html", "exists already")]
)
def test_a_page_takes_no_place(run, tmp_path, name, says):
    save(tmp_path / "a.png", picture())
    (tmp_path / "there.html").write_text("mine")
    status, _, said = run("a.png", "-o", "out", "--compare", name)
    assert status == 1 and len(said) == 1 and says in said[0]
    assert not (tmp_path / "out").exists() and (tmp_path / "there.html").read_text() == "mine"


class TestSeveralNetworks:
    """Each has a folder, and all are on one page."""

    @pytest.fixture
    def upscale(self, weights, capsys, monkeypatch):
        """The command in a folder with a picture and three networks: ``w``, ``a/net`` and the run ``b/net``."""
        monkeypatch.chdir(weights.parent)
        save(Path("photos/p.png"))
        for file in ("a/net.safetensors", "b/net/seed1/phase1/weights.safetensors"):
            Path(file).parent.mkdir(parents=True)
            toy(Path(file), 0.01)

        def run(*words: str) -> tuple[int, list[str], list[str]]:
            status = main(["upscale", *words, "-o", "out", "--device", "cpu", "--enlarge", "2"])
            printed = capsys.readouterr()
            return status, printed.out.splitlines(), printed.err.splitlines()

        return run

    def test_side_by_side(self, upscale):
        status, lines, said = upscale("w.safetensors", "photos", "b/net", "--compare")
        assert (status, said) == (0, [])
        assert lines[2:4] == ["out/w/p.png: 112 x 96", "out/net/p.png: 112 x 96"]
        assert lines[4:] == ["out/compare.html: 1 picture before and after"]
        shown = shown_on(Path("out/compare.html"))
        (cut,) = shown["cuts"]
        labels = [one["label"] for one in cut["pictures"]]
        assert labels == ["before, bicubic x2", "before, Lanczos x2", "w", "net"]
        assert (cut["before"], cut["after"], shown["mode"]) == (2, 3, "side")
        made = [pixels_of(Path(f"out/{name}/p.png")) for name in ("w", "net")]
        assert [one["sum"] for one in cut["pictures"][2:]] == [int(pixels.sum()) for pixels in made]
        assert not np.array_equal(*made) and "Before and after: w, net" in Path("out/compare.html").read_text()

    def test_names_are_as_long_as_they_must_be(self, upscale):
        status, lines, _ = upscale("a/net.safetensors", "b/net", "photos/p.png")
        assert status == 0 and lines[2:] == ["out/a_net/p.png: 112 x 96", "out/b_net/p.png: 112 x 96"]

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("w.safetensors", "b/net"), "found no picture beside w.safetensors, b/net; at least one is needed"),
            (("w.safetensors", "w.safetensors", "photos"), "w.safetensors, w.safetensors: one of them is there twice"),
            (
                ("w.safetensors", "b/nett", "photos"),
                "b/nett: is not there; allowed are pictures, folders of them, and networks; a ",
            ),
            (("w.safetensors", "c.safetensors", "photos"), "c.safetensors: is not there; allowed is a file of weights"),
            (("photos/p.png", "photos"), "found no network beside photos/p.png, photos; a network is a run's folder"),
        ],
    )
    def test_what_is_missing_or_there_twice_is_one_line(self, upscale, words, says):
        status, lines, said = upscale(*words)
        assert (status, lines, len(said)) == (1, [], 1) and says in said[0]
        assert not Path("out").exists()

    def test_a_picture_that_fails_costs_no_network_its_others(self, upscale):
        Path("photos/broken.png").write_text("no image")
        status, lines, said = upscale("w.safetensors", "b/net", "photos")
        assert status == 1 and lines[2:] == ["out/w/p.png: 112 x 96", "out/net/p.png: 112 x 96"]
        assert said[-1] == "multiblock: error: 2 of 4 pictures failed; the others are done"


def test_scales_that_have_no_common_size_are_refused_before_any_work():
    from multiblock.cli.upscale import _check_scales

    _check_scales({"a": 2, "b": 4})
    with pytest.raises(UserError, match="found a x2, b x3; allowed are networks whose scales are divisors"):
        _check_scales({"a": 2, "b": 3})


def test_a_folder_is_a_network_or_pictures_by_what_is_in_it(tmp_path):
    for file in ("run/seed1/phase2/weights.safetensors", "run/seed1/phase2/images/a.png", "mine/seed1/a.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "begun/seed1/phase1").mkdir(parents=True)
    (tmp_path / "begun/run.json").touch()
    networks = ("", "run", "run/seed1", "run/seed1/phase2", "begun", "begun/seed1", "begun/seed1/phase1", "new.pth")
    pictures = ("run/seed1/phase2/images", "mine", "mine/seed1", "mine/seed1/a.png")
    assert [finished.is_named(tmp_path / name) for name in networks] == [True] * len(networks)
    assert [finished.is_named(tmp_path / name) for name in pictures] == [False] * len(pictures)
