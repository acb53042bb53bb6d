"""One folder for several splits: what each takes of it, by name."""

import os
from pathlib import Path

import pytest

from conftest import picture
from multiblock.data import images
from multiblock.data.convert import convert
from multiblock.data.dataset import find, left_out
from multiblock.data.imageset import ImageSet
from multiblock.errors import UserError
from test_sources import data, look

ONE = {
    "scale": 2,
    "train": {"hr": "photos", "without": ["validation", "test"]},
    "validation": {"hr": "photos", "only": ["c"]},
    "test": {"hr": "photos", "only": ["a", "001.png"]},
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a", "b", "c", "d", "001")):
        images.write(tmp_path / "photos" / f"{name}.png", picture(seed=seed))
    return tmp_path


def names(folder: Path, **changes) -> dict[str, list[str]]:
    return {split: [item.name for item in items] for split, items in find(data(folder, **{**ONE, **changes})).items()}


def test_a_folder_is_split_by_names(photos):
    assert names(photos) == {"train": ["b", "d"], "validation": ["c"], "test": ["001", "a"]}


def test_a_new_photograph_is_trained_on_and_the_others_stay(photos):
    images.write(photos / "photos/aa.png", picture(seed=9))
    assert names(photos) == {"train": ["aa", "b", "d"], "validation": ["c"], "test": ["001", "a"]}


def test_the_same_folder_written_otherwise(photos):
    os.symlink(photos / "photos", photos / "link")
    assert names(photos, train={"hr": ["link/../link"], "without": ["test"]})["train"] == ["b", "c", "d"]


def test_a_share_is_held_out_of_what_is_left(photos):
    train = {"hr": "photos", "without": ["test"]}
    assert names(photos, train=train, validation=1) == {"train": ["c", "d"], "validation": ["b"], "test": ["001", "a"]}


def test_take_counts_what_is_left(photos):
    assert names(photos, train={**ONE["train"], "take": 1})["train"] == ["b"]


def test_pairs_of_one_folder(photos):
    for name in ("a", "b", "c", "d", "001"):
        images.write(photos / "small" / f"{name}x2.png", images.read(photos / f"photos/{name}.png")[::2, ::2])
    low = {"lr": "small", "lr_name": "{name}x2"}
    splits = {split: ONE[split] | low for split in ("train", "validation", "test")}
    found = find(data(photos, **ONE | splits))
    assert [item.lr.name for item in found["test"]] == ["001x2.png", "ax2.png"]
    # One that no split takes needs its partner all the same.
    (photos / "small/dx2.png").unlink()
    with pytest.raises(UserError, match=r"d.png: has no partner; an image called dx2 is needed"):
        find(data(photos, **ONE | splits | {"train": {**ONE["train"], **low, "only": ["b"]}}))
    assert [item.name for item in find(data(photos, **ONE | splits, skip=["d"]))["train"]] == ["b"]


def test_two_files_of_one_name_are_no_trouble_where_one_is_skipped(photos):
    images.write(photos / "photos/b.jpg", picture(seed=1))
    with pytest.raises(UserError, match="has the same name as"):
        names(photos)
    found = find(data(photos, **ONE, skip=["b.jpg"]))
    assert [item.hr.name for item in found["train"]] == ["b.png", "d.png"]
    assert left_out(data(photos, **ONE, skip=["b.jpg"])) == ["data mine: 1 file is left out by skip (as b.jpg)"]


def test_what_is_skipped_is_not_read(photos):
    (photos / "photos/broken.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"broken.png: cannot be read"):
        look(photos, **ONE)
    look(photos, **ONE, skip=["broken"])
    convert(data(photos, **ONE, skip=["broken.png"]), photos / "HR", photos / "LR")
    assert ImageSet(photos / "HR/train.npy").names == ["b", "d"]


def test_images_count_however_a_split_names_them(photos):
    """What the arrays depend on is which images a split has, not how the config says so."""
    before = look(photos, **ONE)
    again = look(photos, **ONE | {"train": {"hr": "photos", "only": ["b", "d"]}})
    assert before == again != look(photos, **ONE | {"test": {"hr": "photos", "only": ["a"]}})


WRONG = {
    "a name that is not there": (
        {"test": {"hr": "photos", "only": ["aa.png"]}},
        "holds no image called aa.png, which `only` names; did you mean 'a.png'?",
    ),
    "capitals": ({"test": {"hr": "photos", "only": ["A"]}}, "'a' there differs in capitals"),
    "a name that YAML takes for a number": (
        {"test": {"hr": "photos", "only": [1]}},
        "data.test.only, entry 1: found 1; allowed is text",
    ),
    "no name": ({"test": {"hr": "photos", "only": []}}, "data.test.only: found []"),
    "without of test": (
        {"test": {"hr": "photos", "without": ["validation"]}},
        "data.test.without: found validation; allowed is it in data.train",
    ),
    "without what is held out": (
        {"train": {"hr": "photos", "without": ["validation"]}, "validation": 0.1},
        "data.train.without: found validation, which holds out 0.1 of the training images already",
    ),
    "without train": ({"train": {"hr": "photos", "without": ["train"]}}, "allowed are validation, test"),
    "only of photographs": (
        {"test": {"photographs": ["coffee"], "only": ["coffee"]}},
        "data.test.only: found together with photographs",
    ),
    "nothing is left": (
        {"validation": {"hr": "photos", "only": ["b", "c", "d"]}},
        "all 5 images are those of splits that data.train.without names; at least one to train on is needed",
    ),
    "all are skipped": ({"skip": ["a", "b", "c", "d", "001"]}, "holds no image"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(photos, case):
    changes, message = WRONG[case]
    with pytest.raises(UserError) as error:
        names(photos, **changes)
    assert message in str(error.value)
