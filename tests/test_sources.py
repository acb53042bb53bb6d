"""Finding, pairing and checking image files."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from conftest import picture
from multiblock import config
from multiblock.data import images, walk
from multiblock.data.convert import convert
from multiblock.data.dataset import find, left_out
from multiblock.data.imageset import ImageSet
from multiblock.data.inspection import Inspection, inspect
from multiblock.errors import UserError
from multiblock.files import Digests
from test_workflow import snakemake


def data(folder: Path, **changes):
    keys = {
        "name": "mine",
        "scale": 1,
        "train": {"hr": "train/HR", "lr": "train/LR"},
        "test": {"hr": "test/HR", "lr": "test/LR"},
        **changes,
    }
    return config.load({"data": keys, "data_root": str(folder)}).runs["mine"].data


def look(folder: Path, patch: int = 16, **changes) -> str:
    digests = Digests(folder / "memory.json")
    try:
        return inspect(data(folder, **changes), Inspection(digests), patch)
    finally:
        digests.save()


def test_pairs_are_matched_by_name_not_by_order(pairs):
    lr = pairs / "train" / "LR" / "image1.png"
    images.write(lr.with_suffix(".bmp"), images.read(lr))
    lr.unlink()
    found = find(data(pairs, validation=1))
    for split in found.values():
        assert all(item.hr.stem == item.lr.stem == item.name for item in split)
    assert {split: len(items) for split, items in found.items()} == {"train": 3, "validation": 1, "test": 2}


def test_numbers_in_names_count_as_numbers(tmp_path):
    for number in (10, 9, 1):
        images.write(tmp_path / f"a{number}.png", picture())
    keys = {"hr": str(tmp_path)}
    found = find(data(tmp_path, scale=2, train=keys, validation=keys, test=keys))
    assert [item.name for item in found["train"]] == ["a1", "a9", "a10"]


def test_lr_may_be_called_otherwise(pairs):
    for file in (pairs / "test" / "LR").iterdir():
        file.rename(file.with_name(f"{file.stem}x2.png"))
    found = find(data(pairs, test={"hr": "test/HR", "lr": "test/LR", "lr_name": "{name}x2"}))
    assert [item.lr.name for item in found["test"]] == ["image1x2.png", "image2x2.png"]


@pytest.mark.parametrize(("share", "held"), [(0.1, 1), (0.5, 2), (3, 3)])
def test_held_out_images_are_not_trained_on(pairs, share, held):
    found = find(data(pairs, validation=share))
    names = {split: {item.name for item in items} for split, items in found.items()}
    assert len(names["validation"]) == held
    assert not names["validation"] & names["train"]
    assert len(names["validation"] | names["train"]) == 4


def test_images_in_folders_within_are_not_counted_as_files(pairs):
    (pairs / "test/HR").rename(pairs / "2024")
    (pairs / "test/HR").mkdir()
    (pairs / "2024").rename(pairs / "test/HR/2024")
    with pytest.raises(UserError, match=r"found 0 files, allowed .*; 1 folder is within, not looked into \(as 2024\)"):
        look(pairs)


def test_an_image_smaller_than_the_patch(pairs):
    with pytest.raises(UserError, match=re.escape("image2.png: found 56 x 48 pixels; to cut patches of 49 pixels")):
        look(pairs, patch=49)
    assert look(pairs, patch=48)


def test_a_test_image_too_small_to_measure(pairs):
    for kind in ("HR", "LR"):
        images.write(pairs / "test" / kind / "image1.png", np.zeros((31, 60, 3), np.uint8))
    with pytest.raises(UserError, match="to measure SSIM, 32 x 32 are needed"):
        look(pairs)


def test_holding_out_everything(pairs):
    with pytest.raises(UserError, match="validation holds out 4 of 4 training images"):
        look(pairs, validation=4)


def test_a_touched_file_changes_nothing_and_a_changed_or_added_one_does(pairs):
    before = look(pairs)
    file = pairs / "train" / "HR" / "image1.png"
    os.utime(file, (1, 1))
    assert look(pairs) == before
    images.write(file, picture(seed=99))
    changed = look(pairs)
    for kind in ("HR", "LR"):
        images.write(pairs / "test" / kind / "image9.png", picture(seed=9))
    assert len({before, changed, look(pairs)}) == 3


def test_several_folders_make_one_set(pairs):
    keys = {"hr": ["train/HR", "test/HR"], "min_side": 1}
    (pairs / "test/HR/image1.png").rename(pairs / "test/HR/other1.png")
    (pairs / "test/HR/image2.png").rename(pairs / "test/HR/other2.png")
    found = find(data(pairs, scale=2, train=keys, test={"hr": "test/HR"}, validation=1))
    assert len(found["train"] + found["validation"]) == 6


def test_small_images_may_be_left_out(pairs):
    images.write(pairs / "train/HR/tiny.png", picture(20, 20))
    keys = {"scale": 2, "test": {"hr": "test/HR"}, "validation": 1}
    assert len(find(data(pairs, **keys, train={"hr": "train/HR", "min_side": 21}))["train"]) == 3
    assert len(find(data(pairs, **keys, train={"hr": "train/HR"}))["train"]) == 4
    with pytest.raises(UserError, match=r"train/HR: holds no images of at least 999 pixels a side"):
        find(data(pairs, **keys, train={"hr": "train/HR", "min_side": 999}))


def test_some_images_evenly_spaced(pairs):
    for number in range(5, 13):
        images.write(pairs / f"train/HR/image{number}.png", picture())
    found = find(data(pairs, scale=2, train={"hr": "train/HR", "take": 3}, test={"hr": "test/HR"}, validation=1))
    assert sorted(item.name for items in (found["train"], found["validation"]) for item in items) == [
        "image1",
        "image5",
        "image9",
    ]


ODD_NAMES = ["NA", "null", "nan", "None", "inf", "-inf", "001", "01", "1", "1e5", "1_000", "0x10", "true", "=1+1"]
ODD_NAMES += ["'quoted'", '"', ",", "a,b", "1.50", " x ", "#NA"]


def test_names_that_table_readers_take_for_something_else(tmp_path):
    for number, name in enumerate(ODD_NAMES):
        images.write(tmp_path / "train" / f"{name}.png", picture(seed=number))
        images.write(tmp_path / "test" / f"{name}.png", picture(seed=100 + number))
    mine = data(tmp_path, scale=2, train={"hr": "train"}, test={"hr": "test"}, validation=1)
    convert(mine, tmp_path / "HR", tmp_path / "LR")
    made = ImageSet(tmp_path / "HR/test.npy")
    names = dict(zip(made.names, made, strict=True))
    assert sorted(names) == sorted(ODD_NAMES)
    for number, name in enumerate(ODD_NAMES):
        assert np.array_equal(names[name], picture(seed=100 + number))


def test_equal_numbers_in_names_have_an_order_too(tmp_path, monkeypatch):
    for name in ("a1", "a01", "a001", "a2"):
        images.write(tmp_path / "train" / f"{name}.png", picture())
        images.write(tmp_path / "test" / f"{name}.png", picture())
    mine, listed = data(tmp_path, scale=2, train={"hr": "train"}, test={"hr": "test"}), Path.iterdir
    orders = set()
    for turn in (1, -1):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "iterdir", lambda folder, turn=turn: iter(sorted(listed(folder))[::turn]))
            orders.add(tuple(item.name for item in find(mine)["test"]))
    assert orders == {("a001", "a01", "a1", "a2")}


class TestHints:
    """What names differ by where that is hard to see."""

    @pytest.mark.parametrize(
        ("here", "there", "says"),
        [
            ("Café", "cafe\u0301", "; 'cafe\u0301' there differs in capitals"),
            (
                "café",
                "cafe\u0301",
                "; 'cafe\u0301' there is written with its accents as letters of their own (NFD), here composed (NFC)",
            ),
            (
                "cafe\u0301",
                "café",
                "; 'café' there is written with its accents composed (NFC), here as letters of their own (NFD)",
            ),
            ("IMAGE1", "image1", "; 'image1' there differs in capitals"),
            ("image_1", "image-1", "; did you mean 'image-1'?"),
            ("straße", "STRASSE", "; 'STRASSE' there differs in capitals"),
        ],
    )
    def test_of_pairs(self, tmp_path, here, there, says):
        images.write(tmp_path / "train/HR" / f"{here}.png", picture())
        images.write(tmp_path / "train/LR" / f"{there}.png", picture())
        with pytest.raises(UserError) as error:
            find(data(tmp_path, validation=1))
        assert str(error.value).endswith(f"an image called {here} is needed in {tmp_path}/train/LR{says}")

    def test_of_folders(self, pairs):
        with pytest.raises(
            UserError, match=r"test/hr: cannot be listed: No such file or directory; 'HR' there differs"
        ):
            find(data(pairs, test={"hr": "test/hr", "lr": "test/LR"}))

    def test_two_files_that_some_disks_take_for_one(self, tmp_path):
        for name in ("café", "cafe\u0301"):
            images.write(tmp_path / "train" / f"{name}.png", picture())
        with pytest.raises(UserError, match="has the same name as .*capitals and how accents are written"):
            find(data(tmp_path, scale=2, train={"hr": "train"}, test={"hr": "train"}))


class TestLeftOut:
    """Endings that are not read: counted, and named in one line each."""

    def test_they_are_one_line_each(self, pairs):
        for folder in ("train/HR", "train/LR", "test/HR"):
            for number in range(40):
                (pairs / folder / f"image{number}.CR2").write_text("x")
            (pairs / folder / "movie.gif").write_text("x")
        places = ", ".join(f"{pairs}/{folder}" for folder in ("train/HR", "train/LR", "test/HR"))
        assert [line.partition(";")[0] for line in left_out(data(pairs))] == [
            f"{places}: 120 files are left out, ending in .cr2 (as image0.CR2)",
            f"{places}: 3 files are left out, ending in .gif (as movie.gif)",
        ]

    def test_heic_names_what_reads_it(self, pairs, monkeypatch):
        monkeypatch.setattr(images, "SUFFIXES", tuple(s for s in images.SUFFIXES if s not in images.HEIC))
        (pairs / "train/HR/image9.heic").write_text("x")
        assert left_out(data(pairs))[0].endswith('; for HEIC: pip install "multiblock[heic]"')
        for file in (pairs / "test/HR").iterdir():
            file.rename(file.with_suffix(".heic"))
        with pytest.raises(
            UserError, match=r"test/HR: holds no images; found 2 files \(2 \.heic\), allowed are .*multiblock\[heic\]"
        ):
            find(data(pairs))

    def test_they_are_named_at_the_start_and_shared_images_refused(self, pairs):
        (pairs / "train/HR/image9.gif").write_text("x")
        (pairs / "config.yaml").write_text(
            "data: {name: mine, scale: 1, validation: 1, train: {hr: train/HR, lr: train/LR}, "
            "test: {hr: test/HR, lr: test/LR}}\n"
        )
        done = snakemake(pairs, "--dry-run")
        assert done.returncode == 0
        assert "multiblock: train/HR: 1 file is left out, ending in .gif (as image9.gif); allowed are" in done.stderr
        (pairs / "test/HR/image1.png").write_bytes((pairs / "train/HR/image2.png").read_bytes())
        done = snakemake(pairs, "--dry-run")
        assert done.returncode == 1
        assert "test/HR/image1.png is train/HR/image2.png" in done.stdout + done.stderr


class TestProgress:
    """Many images show how far it is: nothing for a quick walk, else a line or a bar."""

    def test_a_line_now_and_then(self, pairs, capsys, monkeypatch):
        look(pairs)
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(walk, "_DELAY", -1)
        monkeypatch.setattr(walk, "_INTERVAL", -1)
        (pairs / "memory.json").unlink()
        look(pairs)
        lines = capsys.readouterr().err.splitlines()
        assert lines == [f"new and changed image files read: {number}" for number in range(1, 13)]
        look(pairs)
        assert capsys.readouterr().err == ""  # all are known
        convert(data(pairs), pairs / "arrays/HR", pairs / "arrays/LR")
        assert capsys.readouterr().err.splitlines()[-1] == "data mine: images converted: 6 of 6"

    def test_a_bar_on_a_terminal(self, capsys, monkeypatch):
        monkeypatch.setattr(walk.sys.stderr, "isatty", lambda: True)
        monkeypatch.setattr(walk, "_DELAY", 0)
        with walk.Progress(3, "images looked at") as shown:
            for _ in range(3):
                shown.step()
        assert "images looked at" in capsys.readouterr().err


class TestWindows:
    """Random windows of images, each made into LR in its own way."""

    def keys(self, **changes) -> dict:
        train = {"hr": "train/HR", "crops": 5, "crop_side": 32, **changes}
        return {"scale": 2, "train": train, "test": {"hr": "test/HR"}, "validation": 1, "degradation": "random"}

    def test_there_are_as_many_as_asked_for(self, pairs):
        found = find(data(pairs, **self.keys()))
        assert len(found["train"]) == 4 * 5 - 1
        assert look(pairs, **self.keys()) != look(pairs, **self.keys(crop_side=40))

    def test_an_image_smaller_than_the_window(self, pairs):
        with pytest.raises(UserError, match=r"image1\.png: found 56 x 48 pixels; windows of 50 x 50 need more"):
            look(pairs, **self.keys(crop_side=50))

    def test_they_are_cut_from_the_image_and_stay_the_same(self, pairs, tmp_path):
        for name in ("one", "two"):
            convert(data(pairs, **self.keys()), tmp_path / name / "HR", tmp_path / name / "LR")
        for kind in ("HR", "LR"):
            files = [tmp_path / name / kind / "train.npy" for name in ("one", "two")]
            assert files[0].read_bytes() == files[1].read_bytes()
        hr, lr = (ImageSet(tmp_path / "one" / kind / "train.npy") for kind in ("HR", "LR"))
        whole = images.read(pairs / "train/HR/image2.png")
        window = hr[hr.names.index("image2_003")]
        places = [(y, x) for y in range(17) for x in range(25) if np.array_equal(whole[y : y + 32, x : x + 32], window)]
        assert places
        assert {entry.height for entry in lr.entries} == {16}
