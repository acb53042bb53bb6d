"""Sets of images as arrays, and their making."""

import numpy as np
import pytest

from conftest import picture
from multiblock.data import images, resize
from multiblock.data.convert import convert, enlarge
from multiblock.data.imageset import ImageSet, write_set
from multiblock.errors import UserError
from test_sources import data

PICTURES = [picture(10, 12), picture(7, 5, seed=1)]


def write(file, pictures=PICTURES, dtype="uint8"):
    with write_set(file, [p.shape[:2] for p in pictures], dtype) as target:
        for number, pixels in enumerate(pictures):
            target.add(f"image{number}", pixels)
    return ImageSet(file)


def test_what_is_written_is_read_back(tmp_path):
    made = write(tmp_path / "train.npy")
    assert made.names == ["image0", "image1"]
    assert all(np.array_equal(a, b) for a, b in zip(made, PICTURES, strict=True))


def test_reading_copies_nothing(tmp_path):
    made = write(tmp_path / "train.npy")
    assert isinstance(made.pixels.base, np.memmap) and not made.pixels.flags.writeable
    assert np.shares_memory(made[0], made.pixels) and np.shares_memory(made[1], made.pixels)


def test_float16(tmp_path):
    pictures = [(p / 200).astype(np.float16) for p in PICTURES]
    assert np.array_equal(write(tmp_path / "a.npy", pictures, "float16")[1], pictures[1])


def test_digests_are_those_of_the_pixels(tmp_path):
    first, again = write(tmp_path / "a.npy").entries, write(tmp_path / "b.npy").entries
    other = write(tmp_path / "c.npy", [PICTURES[0], PICTURES[1] ^ 1]).entries
    assert first == again and first[0] == other[0] and first[1].digest != other[1].digest


def test_an_image_of_another_size_is_refused(tmp_path):
    with pytest.raises(ValueError, match="was announced"), write_set(tmp_path / "a.npy", [(3, 3)]) as target:
        target.add("a", PICTURES[0])


def test_no_index_without_all_images(tmp_path):
    with pytest.raises(ValueError, match="1 of 2 images"), write_set(tmp_path / "a.npy", [(10, 12), (7, 5)]) as target:
        target.add("a", PICTURES[0])
    with pytest.raises(UserError, match=r"a\.npy: cannot be read as an image set"):
        ImageSet(tmp_path / "a.npy")


def test_array_and_index_must_fit(tmp_path):
    write(tmp_path / "a.npy")
    (tmp_path / "a.csv").write_text("name,height,width,digest\nx,1,1,0\n")
    with pytest.raises(UserError, match=r"holds 465 values; its index .*a\.csv names 3"):
        ImageSet(tmp_path / "a.npy")


@pytest.mark.parametrize("most", [1500, 40])
def test_convert_pairs(pairs, tmp_path, most):
    convert(data(pairs, validation=1, max_side=most), tmp_path / "HR", tmp_path / "LR")
    hr, lr = ImageSet(tmp_path / "HR" / "test.npy"), ImageSet(tmp_path / "LR" / "test.npy")
    assert hr.names == lr.names == ["image1", "image2"]
    for kind, made in (("HR", hr), ("LR", lr)):
        assert np.array_equal(made[1], images.read(pairs / "test" / kind / "image2.png")[:most, :most])


def test_convert_makes_lr_cuts_to_the_scale_and_enlarges(tmp_path):
    image = picture(50, 61)
    pictures = {"train": image, "validation": picture(50, 61, seed=1), "test": picture(50, 61, seed=2)}
    for split, pixels in pictures.items():
        images.write(tmp_path / split / "a.png", pixels)
    made = data(tmp_path, scale=3, **{split: {"hr": split} for split in pictures}, max_side=40)
    convert(made, tmp_path / "HR", tmp_path / "LR")
    enlarge(tmp_path / "LR", tmp_path / "up", 3)
    train, test = (ImageSet(tmp_path / "HR" / f"{split}.npy")[0] for split in ("train", "test"))
    assert np.array_equal(train, image[:48, :60])
    assert np.array_equal(test, pictures["test"][:39, :39])
    low = ImageSet(tmp_path / "LR" / "train.npy")[0]
    assert np.array_equal(low, resize.shrink(image[:48, :60], 3))
    assert np.array_equal(ImageSet(tmp_path / "up" / "train.npy")[0], resize.enlarge(low, 3))
