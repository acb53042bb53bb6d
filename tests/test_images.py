"""Kinds of image files, each as documented; those that a data set may hold are in test_bad_images.py too."""

import struct
import zlib
from pathlib import Path

import numpy as np
import png
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

from conftest import as_seen, icc_profile, picture
from multiblock.data import images
from multiblock.data.images import Remarks
from multiblock.errors import UserError

PIXELS = picture()


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp", ".PNG", ".webp"])
def test_lossless_formats(tmp_path, suffix):
    file = save(tmp_path / f"a{suffix}", Image.fromarray(PIXELS), **({"lossless": True} if suffix == ".webp" else {}))
    assert np.array_equal(images.read(file), PIXELS)
    assert images.size(file) == PIXELS.shape[:2]


def test_a_tiff_of_16_bits_with_each_channel_by_itself(tmp_path):
    """Pillow decodes it where it is compressed, and else takes each byte for a value."""
    deep = np.ascontiguousarray((PIXELS.astype(np.uint16) * 256 + 200).transpose(2, 0, 1))
    for compression in ("zlib", None):
        file = tmp_path / f"{compression}.tif"
        tifffile.imwrite(file, deep, photometric="rgb", planarconfig="separate", compression=compression)
    assert np.array_equal(images.read(tmp_path / "zlib.tif"), PIXELS)
    with pytest.raises(UserError, match="holds 16 bits, each channel by itself, not compressed; allowed are channels"):
        images.read(tmp_path / "None.tif")


def test_cmyk_of_16_bits_is_not_taken_for_rgb_of_fewer(tmp_path):
    ink = np.dstack([PIXELS // 5, np.full(PIXELS.shape[:2], 200, np.uint8)])
    tags = [(281, "H", 4, (16383,) * 4, True)]  # which holds for its cyan, magenta and yellow
    tifffile.imwrite(
        tmp_path / "a.tif", ink.astype(np.uint16) * 256, photometric="separated", metadata=None, extratags=tags
    )
    pixels, said = remarked(tmp_path / "a.tif")
    assert np.array_equal(pixels, np.asarray(Image.fromarray(ink, "CMYK").convert("RGB")))
    assert "16 bits a channel reduced to their upper eight" in said and "14 of 16" not in said


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("place", ["before the pixels", "behind them", "behind a text"])
def test_the_size_of_a_png_file_that_notes_an_orientation(tmp_path, place):
    plain = save(tmp_path / "plain.png", Image.fromarray(PIXELS)).read_bytes()
    exif = Image.Exif()
    exif[274] = 6
    noted = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    at = plain.index(b"IDAT" if place == "before the pixels" else b"IEND") - 4
    text = chunk(b"tEXt", b"Title\0a picture") if place == "behind a text" else b""
    turned = tmp_path / "turned.png"
    turned.write_bytes(plain[:at] + text + noted + plain[at:])
    assert images.size(turned) == images.read(turned).shape[:2] == PIXELS.shape[1::-1]
    assert images.size(tmp_path / "plain.png") == PIXELS.shape[:2]


def test_the_size_of_a_png_file_is_known_without_decoding_it(tmp_path, monkeypatch):
    file = save(tmp_path / "a.png", Image.fromarray(PIXELS))
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", lambda self: pytest.fail("decoded"))
    assert images.size(file) == PIXELS.shape[:2]


def remarked(file: Path) -> tuple[np.ndarray, str]:
    """Pixels, and all remarks while they are read."""
    remarks = Remarks()
    return images.read(file, remarks), "\n".join(line for _, line in remarks.lines())


class TestColour:
    """Colours of another profile become sRGB, with a word; sRGB stays as it is stored."""

    @pytest.mark.parametrize("primaries", ["p3", "adobe"])
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
    def test_they_are_read_as_a_viewer_shows_them(self, tmp_path, primaries, mode):
        image = Image.fromarray(PIXELS).convert("RGB" if mode == "P" else mode)
        image = image.quantize(200) if mode == "P" else image
        file = save(tmp_path / "a.png", image, icc_profile=icc_profile(primaries))
        pixels, said = remarked(file)
        assert np.abs(pixels - as_seen(file)).mean() < 0.5
        assert np.abs(pixels.astype(int) - PIXELS).mean() > 5
        assert f"a.png: colours converted from {primaries} to sRGB, relative colorimetric" in said

    def test_srgb_under_any_name_changes_nothing(self, tmp_path):
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        assert np.array_equal(
            remarked(save(tmp_path / "a.png", Image.fromarray(PIXELS), icc_profile=profile))[0], PIXELS
        )
        assert remarked(tmp_path / "a.png")[1] == ""

    def test_gray_with_the_profile_of_a_camera(self, tmp_path):
        file = save(tmp_path / "a.png", Image.fromarray(PIXELS[..., 0]), icc_profile=icc_profile("adobe", gamma=1.5))
        pixels, said = remarked(file)
        assert np.abs(pixels - as_seen(file)).mean() < 1
        assert pixels.mean() > PIXELS[..., 0].mean() + 10 and "converted from adobe" in said

    @pytest.mark.parametrize("profile", [b"no profile at all", icc_profile("p3")[:200], b"\0" * 500])
    def test_a_broken_one_is_warned_of_and_taken_as_srgb(self, tmp_path, profile):
        pixels, said = remarked(save(tmp_path / "a.png", Image.fromarray(PIXELS), icc_profile=profile))
        assert np.array_equal(pixels, PIXELS)
        assert said.startswith("warning: ") and "the colour profile cannot be used" in said

    def test_one_of_another_kind_of_pixels_is_broken(self, tmp_path):
        image = Image.fromarray(PIXELS).convert("CMYK")
        file = save(tmp_path / "a.jpg", image, quality=98, icc_profile=icc_profile("adobe"))
        pixels, said = remarked(file)
        assert np.array_equal(pixels, np.asarray(Image.open(file).convert("RGB")))
        assert "it is one for RGB, the pixels are CMYK" in said

    def test_16_bits_are_converted_too(self, tmp_path):
        deep = PIXELS.astype(np.uint16) * 257
        tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb", iccprofile=icc_profile("p3"))
        save(tmp_path / "b.png", Image.fromarray(PIXELS), icc_profile=icc_profile("p3"))
        assert np.abs(remarked(tmp_path / "a.tif")[0] - as_seen(tmp_path / "b.png")).mean() < 0.5

    def test_adobe_rgb_that_only_exif_names(self, tmp_path):
        exif = Image.Exif()
        exif.get_ifd(0x8769)[0xA001] = 0xFFFF
        exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
        file = save(tmp_path / "a.jpg", Image.fromarray(PIXELS), exif=exif)
        assert "EXIF says Adobe RGB, but no colour profile is embedded; taken as sRGB" in remarked(file)[1]

    def test_many_files_are_one_line(self, tmp_path):
        remarks = Remarks()
        for number in range(200):
            images.read(
                save(tmp_path / f"{number:03d}.png", Image.fromarray(PIXELS), icc_profile=icc_profile("p3")), remarks
            )
        lines = [line for _, line in remarks.lines()]
        assert len(lines) == 1
        assert lines[0].startswith(f"{tmp_path}/000.png and 199 more: colours converted from p3")


class TestDepth:
    """16 bits a channel that hold fewer: scaled where the file says so, else warned of."""

    TWELVE = PIXELS.astype(np.uint16) * 16 + 9

    def written(self, folder: Path, kind: str, pixels: np.ndarray, **tags) -> Path:
        file = folder / f"a.{kind}"
        if kind == "png":
            height, width, channels = pixels.shape
            with file.open("wb") as out:
                writer = png.Writer(width, height, bitdepth=16, greyscale=channels < 3, alpha=channels in (2, 4))
                writer.write(out, pixels.reshape(height, -1))
        else:
            shape = {"photometric": "rgb"} if pixels.shape[2] == 3 else {"photometric": "minisblack"}
            tifffile.imwrite(file, pixels.squeeze(), metadata=None, **shape, **tags)
        return file

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("kind", ["png", "tif"])
    @pytest.mark.parametrize("bits", [8, 10, 12, 14])
    def test_without_a_word_in_the_file_they_are_warned_of(self, tmp_path, kind, channels, bits):
        values = (PIXELS.astype(np.uint16) << (bits - 8))[..., :channels]
        pixels, said = remarked(self.written(tmp_path, kind, values))
        assert np.array_equal(pixels, np.broadcast_to(values >> 8, PIXELS.shape))
        assert said.startswith("warning: ") and f"fit into {bits} (at most {2**bits - 1} of 65535)" in said

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    @pytest.mark.parametrize("compression", [None, "zlib"])
    @pytest.mark.parametrize("byteorder", ["<", ">"])
    def test_a_tiff_that_names_its_white(self, tmp_path, channels, compression, byteorder):
        values = np.concatenate([self.TWELVE, self.TWELVE[..., :1]], axis=2)[..., :channels]
        values = values[..., [0, 0]] if channels == 2 else values
        extra = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
        tifffile.imwrite(
            tmp_path / "a.tif",
            values.squeeze(),
            photometric="rgb" if channels > 2 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            compression=compression,
            byteorder=byteorder,
            metadata=None,
            extratags=[(281, "H", channels, (4095,) * channels if channels > 1 else 4095, True)],
            **extra,
        )
        if channels == 2:
            with pytest.raises(UserError):  # Pillow has no mode for it
                images.read(tmp_path / "a.tif")
            return
        pixels, said = remarked(tmp_path / "a.tif")
        assert np.array_equal(
            pixels,
            np.broadcast_to(PIXELS[..., : min(channels, 3)], PIXELS.shape)
            if channels != 1
            else np.repeat(PIXELS[..., :1], 3, axis=2),
        )
        assert "12 of 16 bits, as the file says: white is 4095" in said and "warning" not in said

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_a_png_that_names_its_bits(self, tmp_path, channels):
        values = np.concatenate([self.TWELVE, self.TWELVE[..., :1]], axis=2)
        values = values[..., [0, 0]] if channels == 2 else values[..., :channels]
        file = self.written(tmp_path, "png", values)
        chunks = list(png.Reader(filename=str(file)).chunks())
        with file.open("wb") as out:
            png.write_chunks(out, [chunks[0], (b"sBIT", bytes([12] * channels)), *chunks[1:]])
        pixels, said = remarked(file)
        expected = PIXELS if channels > 2 else np.repeat(PIXELS[..., :1], 3, axis=2)
        assert np.array_equal(pixels, expected)
        assert "12 of 16 bits, as the file says" in said and "warning" not in said

    def test_a_tag_that_the_values_belie_is_not_heeded(self, tmp_path):
        tag = [(281, "H", 1, 4095, True)]
        file = self.written(tmp_path, "tif", PIXELS[..., :1].astype(np.uint16) * 257, extratags=tag)
        pixels, said = remarked(file)
        assert np.array_equal(pixels, np.repeat(PIXELS[..., :1], 3, axis=2)) and "warning" not in said

    @pytest.mark.parametrize("values", [PIXELS.astype(np.uint16) * 257, np.zeros_like(PIXELS, dtype=np.uint16)])
    def test_whole_bits_and_black_are_no_reason_to_warn(self, tmp_path, values):
        for kind in ("png", "tif"):
            assert "warning" not in remarked(self.written(tmp_path, kind, values))[1]


def test_heic(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="HEIC is read where the extra heic is installed")
    heif.register_heif_opener()
    smooth = np.asarray(Image.fromarray(PIXELS[:6, :7]).resize((64, 48), Image.Resampling.BICUBIC))
    file = save(tmp_path / "a.heic", Image.fromarray(smooth), quality=98, icc_profile=icc_profile("p3"))
    pixels, said = remarked(file)
    assert images.size(file) == (48, 64)
    assert np.abs(pixels - as_seen(file)).mean() < 1 and "converted from p3" in said
