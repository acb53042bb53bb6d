"""Images that two splits share: found under another name, format or size, and nothing else is."""

import functools
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import ROOT, STUDIES, picture
from multiblock import config
from multiblock.data import images, leaks
from multiblock.data.convert import convert
from multiblock.data.dataset import find
from multiblock.data.inspection import Inspection, inspect
from multiblock.errors import UserError
from multiblock.files import Digests
from test_sources import data

PHOTOGRAPHS = Path(str(files("skimage").joinpath("data")))
SPLITS = {"train": ("astronaut", "ihc"), "validation": ("rocket",), "test": ("chelsea", "coffee")}


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    for split, names in SPLITS.items():
        for name in names:
            file = next(PHOTOGRAPHS.glob(f"{name}.*"))
            images.write(tmp_path / split / f"{name}.png", images.read(file)[:300, :400])
    return tmp_path


def mine(folder: Path, **changes):
    return data(folder, scale=2, **{split: {"hr": split} for split in SPLITS} | changes)


def converted(folder: Path, **changes) -> None:
    convert(mine(folder, **changes), folder / "arrays/HR", folder / "arrays/LR")


def test_splits_that_share_nothing(photographs, caplog):
    inspect(mine(photographs), Inspection(Digests(photographs / "memory.json")), 16)
    converted(photographs)
    assert caplog.text == ""


def test_the_file_of_a_training_image_is_refused_before_anything_is_done(photographs):
    (photographs / "test/other.png").write_bytes((photographs / "train/ihc.png").read_bytes())
    with pytest.raises(UserError) as error:
        inspect(mine(photographs), Inspection(Digests(photographs / "memory.json")), 16)
    assert str(error.value) == (
        "data mine: 1 of 3 test images are training images too, which makes their scores worthless: "
        f"{photographs}/test/other.png is {photographs}/train/ihc.png"
    )


def test_one_folder_for_both_is_refused(photographs):
    with pytest.raises(UserError, match=r"2 of 2 test images are training images too.*astronaut.*ihc"):
        inspect(mine(photographs, test={"hr": "train"}), Inspection(Digests(photographs / "memory.json")), 16)


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".webp"])
def test_its_pixels_in_another_format_are_refused(photographs, suffix):
    options = {"lossless": True} if suffix == ".webp" else {}
    Image.open(photographs / "train/ihc.png").save(photographs / f"test/other{suffix}", **options)
    with pytest.raises(UserError, match=rf"1 of 3 test images.*test/other\{suffix} is .*train/ihc\.png"):
        converted(photographs)


@pytest.mark.parametrize(("split", "other"), [("validation", "train"), ("test", "validation")])
def test_elsewhere_it_is_a_warning(photographs, caplog, split, other):
    name = SPLITS[other][0]
    (photographs / split / "same.png").write_bytes((photographs / other / f"{name}.png").read_bytes())
    inspect(mine(photographs), Inspection(Digests(photographs / "memory.json")), 16)
    converted(photographs)
    count = len(SPLITS[split]) + 1
    assert caplog.messages == [
        f"warning: data mine: 1 of {count} {split} images are {other} images too: "
        f"{photographs}/{split}/same.png is {photographs}/{other}/{name}.png"
    ]


CHANGES = {
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC),
    "1.7 times the size": lambda image: image.resize((int(image.width * 1.7), int(image.height * 1.7))),
    "a third, without smoothing": lambda image: image.resize((image.width // 3, image.height // 3), 0),
    "darker": lambda image: image.point(lambda value: value * 0.8),
    "gray": lambda image: image.convert("L"),
    "a rough JPEG": lambda image: image,
    "a thumbnail, as a rough JPEG": lambda image: image.resize((66, 50)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_picture_otherwise_is_a_warning(photographs, caplog, change):
    made = CHANGES[change](Image.open(photographs / "train/astronaut.png"))
    file = photographs / "test" / ("other.jpg" if "JPEG" in change else "other.png")
    made.save(file, **({"quality": 10} if "JPEG" in change else {}))
    converted(photographs)
    assert caplog.messages == [
        f"warning: data mine: {file} (test) and {photographs}/train/astronaut.png (train) seem to be one picture in "
        "two sizes or encodings"
    ]


def test_windows_held_out_of_the_training_photographs_are_expected(photographs, caplog):
    windows = {"hr": "train", "crops": 4, "crop_side": 64}
    converted(photographs, train=windows, validation=0.25)
    assert caplog.text == ""


def test_a_test_image_that_training_windows_come_from_is_refused(photographs):
    windows = {"hr": ["train", "test"], "crops": 4, "crop_side": 64}
    with pytest.raises(UserError, match="2 of 2 test images are training images too"):
        inspect(mine(photographs, train=windows), Inspection(Digests(photographs / "memory.json")), 16)


def test_flat_and_tiny_images_are_like_nothing():
    flat, tiny = np.full((64, 64, 3), 7, np.uint8), picture(20, 20)
    assert leaks.look(Path("a"), flat).edges is None and leaks.look(Path("a"), tiny).edges is None
    assert leaks.look(Path("a"), flat).digest != leaks.look(Path("b"), flat[:32].repeat(2, axis=1)).digest


look = functools.cache(lambda file: leaks.look(file, images.read(file)))


@pytest.mark.parametrize("file", [ROOT / "config.yaml", *STUDIES], ids=lambda file: file.stem)
def test_no_study_gives_a_false_alarm(file, request):
    if "data" not in config.read([file]):
        pytest.skip("it is merged over another config, whose data it has")
    study = config.load(config.read([file]))
    if any("photographs" not in study_data.train for study_data in study.data.values()):
        reference = request.getfixturevalue("reference_data")
        where = reference / "City100_NikonD5500" if "train/HR" in file.read_text() else reference
        study = config.load({**config.read([file]), "data_root": str(where)})
    for one in study.data.values():
        looks = leaks.Looks()
        for split, items in find(one).items():
            for item in items[:: max(1, len(items) // 60)]:
                if leaks.is_wanted(one, split, item):
                    looks.add(split, look(item.hr))
        assert leaks.compare(looks, one.name) == []
