"""Kinds of image files, each as documented."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from PIL import Image

from conftest import picture
from multiblock.data import images
from multiblock.errors import UserError

PIXELS = picture()


def save(path: Path, image: Image.Image, **options) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp", ".PNG"])
def test_lossless_formats(tmp_path, suffix):
    file = save(tmp_path / f"a{suffix}", Image.fromarray(PIXELS))
    assert np.array_equal(images.read(file), PIXELS)
    assert images.size(file) == PIXELS.shape[:2]


def test_jpeg(tmp_path):
    file = save(tmp_path / "a.jpg", Image.fromarray(PIXELS), quality=98, subsampling=0)
    assert np.abs(images.read(file).astype(int) - PIXELS).mean() < 2


def test_gray_and_bilevel_get_three_equal_channels(tmp_path):
    gray = save(tmp_path / "g.png", Image.fromarray(PIXELS[..., 0]))
    assert np.array_equal(images.read(gray), np.repeat(PIXELS[..., :1], 3, axis=2))
    bilevel = save(tmp_path / "b.png", Image.fromarray(PIXELS[..., 0]).convert("1"))
    assert set(np.unique(images.read(bilevel))) == {0, 255}


def test_palette(tmp_path):
    image = Image.fromarray(PIXELS).quantize(16)
    file = save(tmp_path / "p.png", image)
    assert np.array_equal(images.read(file), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_dropped(tmp_path, mode):
    image = Image.fromarray(PIXELS).convert(mode)
    image.putalpha(7)
    file = save(tmp_path / "a.png", image)
    assert np.array_equal(images.read(file), np.asarray(Image.fromarray(PIXELS).convert(mode).convert("RGB")))


def test_sixteen_bits_keep_their_upper_eight(tmp_path):
    deep = PIXELS[..., 0].astype(np.uint16) * 256 + 200
    png = save(tmp_path / "a.png", Image.fromarray(deep))
    assert np.array_equal(images.read(png), np.repeat(PIXELS[..., :1], 3, axis=2))
    iio.imwrite(tmp_path / "a.tif", PIXELS.astype(np.uint16) * 256 + 200)
    assert np.array_equal(images.read(tmp_path / "a.tif"), PIXELS)


def test_cmyk_becomes_rgb(tmp_path):
    file = save(tmp_path / "a.jpg", Image.fromarray(PIXELS).convert("CMYK"), quality=98)
    assert images.read(file).shape == PIXELS.shape


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = save(tmp_path / "a.png", Image.fromarray(PIXELS), exif=exif)
    assert images.size(file) == (PIXELS.shape[1], PIXELS.shape[0])
    assert np.array_equal(images.read(file), np.rot90(PIXELS, -1))


def test_what_is_refused_is_named(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    whole = save(tmp_path / "whole.png", Image.fromarray(PIXELS)).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    save(tmp_path / "float.tif", Image.fromarray(PIXELS[..., 0].astype(np.float32)))
    frames = [Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1].copy())]
    save(tmp_path / "pages.tif", frames[0], save_all=True, append_images=frames[1:])
    for name, says in {
        "empty.png": "cannot be read as an image",
        "text.png": "cannot be read as an image",
        "half.png": "cannot be read as an image",
        "float.tif": "holds floating-point values",
        "pages.tif": "holds 2 images",
        "missing.png": "cannot be read as an image",
    }.items():
        with pytest.raises(UserError, match=f"{name}: {says}") as error:
            images.read(tmp_path / name)
        assert "\n" not in str(error.value)


def test_write_and_read_back(tmp_path):
    images.write(tmp_path / "a.png", PIXELS)
    assert np.array_equal(images.read(tmp_path / "a.png"), PIXELS)
