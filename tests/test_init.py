"""First contact: what ``multiblock init`` finds in folders of pictures, and the config that it writes."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from conftest import ROOT, icc_profile
from multiblock import cli, config
from multiblock.config import first_config
from multiblock.config.first_config import Asked, begin
from multiblock.data import images
from multiblock.data.arrangement import common_scale, lr_name
from multiblock.data.dataset import find
from multiblock.data.leaks import look
from multiblock.data.survey import divide
from multiblock.errors import UserError
from multiblock.files import digest_of
from multiblock.model import metadata
from multiblock.model.finished import shipped
from multiblock.plan import CachedSet
from published import PUBLISHED
from test_workflow import snakemake


def scene(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    """A picture that is like no other: noise in large spots."""
    spots = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(spots).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    """Twelve photographs in a folder."""
    monkeypatch.chdir(tmp_path)
    for number in range(12):
        images.write(tmp_path / f"photos/IMG_{number:04d}.png", scene(number))
    return tmp_path / "photos"


def pairs(folder: Path, scale: int, name: str = "{name}", count: int = 6, high: str = "HR", low: str = "LR") -> None:
    for number in range(count):
        sharp = scene(number + 100 * scale)
        small = sharp.reshape(96 // scale, scale, 128 // scale, scale, 3).mean(axis=(1, 3)).astype(np.uint8)
        if scale == 1:
            small = ((sharp.astype(int) + np.roll(sharp, 1, 0) + np.roll(sharp, -1, 0)) // 3).astype(np.uint8)
        images.write(folder / high / f"p{number}.png", sharp)
        images.write(folder / low / f"{name.format(name=f'p{number}')}.png", small)


def splits(text: str) -> dict[str, list[str]]:
    """The images of each split, as a run will find them."""
    (run,) = config.load(yaml.safe_load(text)).runs.values()
    return {split: [item.name for item in items] for split, items in find(run.data).items()}


def of(*folders: Path, **changes) -> first_config.Beginning:
    return begin(Asked(name="mine", hr=folders, **changes))


def wrong(*folders: Path, **changes) -> str:
    with pytest.raises(UserError) as error:
        of(*folders, **changes)
    return str(error.value)


class TestFromAPublishedNetwork:
    """The config tunes it, and has a small block behind it in comments."""

    @pytest.fixture
    def imdn(self, tmp_path) -> Path:
        torch.save({name: torch.rand(shape) for name, shape in PUBLISHED["imdn_x3"]().items()}, tmp_path / "x.pth")
        return tmp_path / "x.pth"

    def test_it_is_tuned(self, photos, imdn):
        made = of(photos, published=imdn)
        study = config.load(yaml.safe_load(made.text))
        plan = study.runs["mine"].plan
        assert study.data["mine"].scale == 3 and [block.network for block in plan.blocks] == ["imdn"]
        assert plan.task(1, 1).starts == (str(imdn),) and plan.task(2, 1).starts == (1,)
        assert [plan.task(number, 1).iterations for number in plan.numbers] == [0, 600]
        assert plan.task(2, 1).stages[0].lr == 1e-3
        assert f"{imdn}: is measured as it is, then tuned; multiblock plan --minutes 5 sizes it" in made.lines

    def test_the_run_in_comments_keeps_it_until_the_last_phase(self, photos, imdn):
        text = of(photos, published=imdn).text
        comments = text.index("  # behind:")
        runs = config.load(yaml.safe_load(text[:comments] + text[comments:].replace("  # ", "  "))).runs
        plan = runs["behind"].plan
        assert plan.task(2, 1).starts == (1, "orthogonal_zeroed") and plan.reads_set(2) == CachedSet(phase=1, block=1)
        assert plan.task(1, 1) == runs["mine"].plan.task(1, 1)  # trained once

    def test_a_network_of_our_own_is_measured_as_evaluate_measures_it(self, photos, capsys):
        """All blocks of it, cut to [0, 1] as they are there."""
        assert cli.main(["init", "mine", "--hr", "photos", "--from", "x2"]) == 0
        assert "is measured as it is, then tuned" in capsys.readouterr().out
        study = config.load(config.read([Path("mine.yaml")]))
        task, known = study.runs["mine"].plan.task(1, 1), metadata.read(shipped()["x2"])
        assert task.starts == (str(shipped()["x2"]),) * 3  # each block takes the one in its own place
        assert task.stages[0].clamps(len(known.numbers)) == [*known.clamped] == [False] * 3
        assert study.data["mine"].scale == 2 and study.runs["mine"].plan.task(2, 1).stages[0].iterations == 600

    def test_a_name_of_nothing_says_what_is_allowed(self, photos, capsys):
        assert cli.main(["init", "mine", "--hr", "photos", "--from", "x5"]) == 1
        assert "x5: is not there; allowed is a file of weights, a run's folder" in capsys.readouterr().err

    def test_its_scale_is_the_data_s(self, photos, imdn):
        assert "--scale: found 2; allowed is 3, by which the network in" in wrong(photos, published=imdn, scale=2)
        pairs(photos.parent / "pairs", 2)
        assert wrong(photos.parent / "pairs/HR", lr=photos.parent / "pairs/LR", published=imdn)


class TestOneFolderOfPhotographs:
    """LR is made, and the split is drawn."""

    def test_whole_pictures_in_three_splits_and_lr_is_made(self, photos):
        text = of(photos).text
        found, written = splits(text), yaml.safe_load(text)["data"]
        assert [len(found[split]) for split in ("train", "validation", "test")] == [10, 1, 1]
        assert sorted(name for names in found.values() for name in names) == [f"IMG_{n:04d}" for n in range(12)]
        assert written["scale"] == 2 and "lr" not in written["train"]
        assert yaml.safe_load(of(photos, scale=4).text)["data"]["scale"] == 4

    def test_the_seed_draws(self, photos):
        assert of(photos).text == of(photos).text
        assert len({tuple(splits(of(photos, seed=seed).text)["test"]) for seed in range(6)}) > 2

    def test_a_photograph_that_is_added_moves_none(self, photos):
        text = of(photos).text
        before = splits(text)
        images.write(photos / "IMG_0000b.png", scene(50))
        after = splits(text)
        assert after["test"] == before["test"] and after["validation"] == before["validation"]
        assert set(after["train"]) == {*before["train"], "IMG_0000b"}

    def test_what_a_phone_leaves(self, photos, capsys):
        """Display P3, turned by EXIF, HEIC and a film beside, half a file, a thumbnail."""
        turned = Image.Exif()
        turned[0x0112] = 6
        profile = icc_profile("p3")
        for number in (20, 21):
            shot = Image.fromarray(scene(number))
            shot.save(photos / f"IMG_{number:04d}.JPG", "JPEG", icc_profile=profile, exif=turned)
        whole = (photos / "IMG_0020.JPG").read_bytes()
        (photos / "cut.jpg").write_bytes(whole[: len(whole) // 2])
        (photos / "IMG_0020.MOV").write_bytes(b"film")
        (photos / "2024").mkdir()
        (photos / ".hidden.jpg").write_bytes(b"no image")
        images.write(photos / "thumb.png", scene(30)[:20, :20])
        made = of(photos)
        found = splits(made.text)
        assert {"IMG_0020", "IMG_0021"} <= {name for names in found.values() for name in names}
        lines = "\n".join(made.lines)
        assert "2 pictures to be turned as the camera noted (EXIF)" in lines
        assert "IMG_0020.JPG and 1 more: colours converted from p3 to sRGB" in lines
        assert "left out: thumb.png: 20 x 20 pixels; 32 x 32 are needed" in lines
        assert "left out: cut.jpg: cannot be read as an image: " in lines
        assert "1 file is left out, ending in .mov (as IMG_0020.MOV)" in lines
        assert "1 folder is within, not looked into (as 2024)" in lines and "without an ending" not in lines
        assert set(yaml.safe_load(made.text)["data"]["skip"]) == {"thumb.png", "cut.jpg"}
        # Turned: 96 x 128 as stored is 128 x 96 as seen.
        assert "96 x 128 pixels" in made.lines[0]

    def test_the_config_says_why_each_file_is_left_out(self, photos):
        """A reason that is too long is seen to be cut; of many files the first four stand there."""
        images.write(photos / "a_thumb.png", scene(30)[:20, :20])
        (photos / "empty.png").write_text("empty")
        lines = of(photos).text.splitlines()
        why = sorted(lines[lines.index("  # Left out:") + 1 :][:2])
        assert why[0] == "  #   a_thumb.png: 20 x 20 pixels; 32 x 32 are needed"
        assert why[1].startswith("  #   empty.png: cannot be read as an image: ") and why[1].endswith(" ...")
        assert max(map(len, lines)) <= 120
        for number in range(5):
            images.write(photos / f"b_thumb{number}.png", scene(31 + number)[:20, :20])
        assert "  #   and 3 more" in of(photos).text.splitlines()

    def test_heic_beside_jpeg(self, photos):
        heif = pytest.importorskip("pillow_heif") if images.READS_HEIC else None
        if heif is None:
            (photos / "IMG_0003.HEIC").write_bytes(b"a photograph")
            assert 'for HEIC: pip install "multiblock[heic]"' in "\n".join(of(photos).lines)
        else:
            heif.from_pillow(Image.fromarray(scene(3))).save(photos / "IMG_0003.HEIC")
            assert yaml.safe_load(of(photos).text)["data"]["skip"] == ["IMG_0003.HEIC"]

    def test_of_two_files_of_one_name_the_larger_counts(self, photos):
        Image.fromarray(scene(3, 192, 256)).save(photos / "IMG_0003.jpg")
        made = of(photos)
        assert yaml.safe_load(made.text)["data"]["skip"] == ["IMG_0003.png"]
        assert "left out: IMG_0003.png: IMG_0003.jpg has the same name" in made.lines

    def test_other_kinds_of_pixels(self, photos):
        Image.fromarray(scene(40)[..., 0].astype(np.uint16) * 257).save(photos / "deep.png")
        Image.fromarray(scene(41)[..., 0]).save(photos / "gray.webp", lossless=True)
        made = of(photos)
        assert any("16 bits a channel reduced to their upper eight" in line for line in made.lines)
        assert sum(map(len, splits(made.text).values())) == 14

    def test_no_picture_is_touched(self, photos):
        (photos / "broken.png").write_bytes(b"no image")
        before = {file.name: (digest_of(file), file.stat().st_mtime_ns) for file in photos.iterdir()}
        of(photos)
        assert before == {file.name: (digest_of(file), file.stat().st_mtime_ns) for file in photos.iterdir()}

    @pytest.mark.parametrize("seed", range(3))
    def test_one_picture_in_several_files_stays_in_one_split(self, photos, seed):
        for number in range(4):
            (photos / f"copy{number}.png").write_bytes((photos / f"IMG_{number:04d}.png").read_bytes())
            Image.fromarray(scene(number)).resize((160, 120)).save(photos / f"large{number}.jpg", quality=80)
        found = splits(of(photos, seed=seed).text)
        where = {name: split for split, names in found.items() for name in names}
        for number in range(4):
            assert len({where[name] for name in (f"IMG_{number:04d}", f"copy{number}", f"large{number}")}) == 1

    def test_names_that_yaml_takes_for_something_else(self, photos):
        odd = ("009", "010", "12e5", "null", "yes", "1.5", "a b", "it's", "größe", "- x", "#1", "2024-01-01", "a: b")
        for number, name in enumerate(odd, 60):
            images.write(photos / f"{name}.png", scene(number))
        for seed in range(3):
            found = splits(of(photos, seed=seed).text)
            assert sorted(name for names in found.values() for name in names if not name.startswith("IMG")) == sorted(
                odd
            )
        text = of(photos).text.replace("2", "x")  # whoever reads it, text stays text
        assert all(isinstance(name, str) for name in yaml.safe_load(text)["data"]["test"]["only"])

    def test_large_photographs_are_taken_by_windows(self, photos, monkeypatch):
        monkeypatch.setattr(first_config, "LARGE", 100_000)
        monkeypatch.setattr(first_config, "_SIDES", (64,))
        monkeypatch.setattr(first_config, "_WINDOWS", 3 * 10 * 64**2)
        made = of(photos)
        assert len(splits(made.text)["train"]) == 3 * 10 and len(splits(made.text)["test"]) == 1
        assert any(line.startswith("large pictures: 3 windows of 64 x 64 pixels") for line in made.lines)


class TestTooFew:
    """What is too little to be split, and how much goes where."""

    @pytest.mark.parametrize("count", [1, 2])
    def test_one_or_two_cannot_be_split(self, tmp_path, count):
        for number in range(count):
            images.write(tmp_path / f"a{number}.png", scene(number))
        images.write(tmp_path / "copy.png", scene(0))
        assert f"found {count} picture{'s' * (count > 1)} that can be used and differ; at least 3 are needed" in wrong(
            tmp_path
        )

    def test_three_are_one_each(self, tmp_path):
        for number in range(3):
            images.write(tmp_path / f"a{number}.png", scene(number))
        made = of(tmp_path)
        assert [len(names) for names in splits(made.text).values()] == [1, 1, 1]
        assert "3 pictures are few: what is measured on so few says little of others" in made.lines

    def test_none(self, tmp_path):
        (tmp_path / "notes.txt").write_text("x")
        assert "holds no images, and no folder with images; found notes.txt; allowed are .png" in wrong(tmp_path)
        assert "No such file or directory" in wrong(tmp_path / "other")
        (tmp_path / "broken.png").write_bytes(b"x")
        assert "holds no image that can be used: broken.png: cannot be read as an image" in wrong(tmp_path)

    def test_the_split_has_a_tenth_each_at_least_one_and_not_too_many(self):
        def counts(number: int) -> tuple[int, int]:
            looks = [[look(Path(f"{n}.png"), scene(n, 8, 8))] for n in range(number)]
            made = divide(looks, 1, ["validation", "test"])
            return len(made["validation"]), len(made["test"])

        assert [counts(number) for number in (3, 9, 30, 400, 900)] == [(1, 1), (1, 1), (3, 3), (10, 40), (10, 50)]


class TestPairs:
    """Names, sizes, and what pairs show."""

    @pytest.mark.parametrize("scale", [1, 2, 4])
    def test_the_scale_is_found_from_the_sizes(self, tmp_path, scale):
        pairs(tmp_path, scale)
        made = of(tmp_path / "HR", lr=tmp_path / "LR")
        assert yaml.safe_load(made.text)["data"]["scale"] == scale
        assert [len(names) for names in splits(made.text).values()] == [4, 1, 1]
        assert any("pairs measured: correlation" in line for line in made.lines)

    def test_hr_and_lr_in_one_folder_are_found(self, tmp_path):
        pairs(tmp_path, 2, high="high", low="low")
        assert of(tmp_path).text == of(tmp_path / "high", lr=tmp_path / "low").text

    def test_names_with_something_more(self, tmp_path):
        pairs(tmp_path, 2, name="{name}x2")
        made = of(tmp_path)
        assert "LR files are called {name}x2, where {name} is the HR file's name" in made.lines
        assert yaml.safe_load(made.text)["data"]["train"]["lr_name"] == "{name}x2"
        assert sum(map(len, splits(made.text).values())) == 6

    def test_patterns_of_names(self):
        assert lr_name(["a", "b"], ["b", "a"]) == "{name}"
        assert lr_name(["1", "11", "2"], ["lr_1", "lr_11", "lr_2"]) == "lr_{name}"
        with pytest.raises(UserError, match="names do not pair: HR files are called as a, LR files as x"):
            lr_name(["a", "b"], ["x", "y"])

    def test_what_has_no_partner_is_left_out(self, tmp_path):
        pairs(tmp_path, 2, name="{name}x2")
        images.write(tmp_path / "HR/alone.png", scene(1))
        images.write(tmp_path / "LR/single.png", scene(2))
        made = of(tmp_path)
        assert set(yaml.safe_load(made.text)["data"]["skip"]) == {"single", "alone.png"}
        assert sum(map(len, splits(made.text).values())) == 6
        assert f"left out: alone.png: HR without LR, as no alonex2 is in {tmp_path}/LR" in made.lines

    def test_a_pair_of_another_size_is_left_out_and_explained(self, tmp_path):
        pairs(tmp_path, 2)
        images.write(tmp_path / "LR/p3.png", images.read(tmp_path / "LR/p3.png")[:-1])
        made = of(tmp_path)
        assert "p3" in yaml.safe_load(made.text)["data"]["skip"]
        assert (
            "left out: p3: HR is 128 x 96 pixels, LR 64 x 47; scale 2 allows LR of 64 x 48: one of the two was cut or "
            "rounded otherwise; cut LR to 64 x 48 pixels, or HR to 128 x 94"
        ) in made.lines

    SIZES = (((48, 64), (96, 128), 2), ((240, 160), (481, 321), 2), ((32, 42), (96, 128), 3), ((96, 128), (96, 128), 1))

    @pytest.mark.parametrize(("low", "full", "scale"), SIZES)
    def test_sizes_cut_to_a_multiple(self, low, full, scale):
        assert common_scale({Path("a"): (low, full)}, None) == scale

    MISFITS = (
        ((241, 161), (481, 321), "scale 2 allows LR of 160 x 240"),
        ((64, 48), (96, 128), "one of the two lies on its side; turn LR as HR is turned"),
        ((64, 85), (96, 128), "1.51 times as wide and 1.5 as high; allowed are 1, 2, 3, 4 times. `multiblock align`"),
        (
            (192, 256),
            (96, 128),
            "HR is 128 x 96 pixels, LR 256 x 192, which is larger; the folders of HR and LR may be",
        ),
    )

    @pytest.mark.parametrize(("low", "full", "message"), MISFITS)
    def test_sizes_that_do_not_fit(self, low, full, message):
        with pytest.raises(UserError) as error:
            common_scale({Path("a.png"): (low, full)}, None)
        assert message in str(error.value)

    def test_several_scales(self):
        sizes = {Path(f"{n}"): ((48, 64) if n % 2 else (24, 32), (96, 128)) for n in range(4)}
        with pytest.raises(UserError, match="pairs of several scales: 2 at 4, 2 at 2; give the one that is meant with"):
            common_scale(sizes, None)
        assert common_scale(sizes, 2) == 2
        with pytest.raises(
            UserError, match=r"--scale: found 3, which fits no pair: 0: .* LR 32 x 24, which is scale 4"
        ):
            common_scale(sizes, 3)

    def test_pairs_that_show_two_things_are_left_out(self, tmp_path):
        pairs(tmp_path, 1, count=8)
        images.write(tmp_path / "LR/p2.png", scene(77))
        made = of(tmp_path)
        assert yaml.safe_load(made.text)["data"]["skip"] == ["p2"]
        assert any(line.startswith("left out: p2: correlation") for line in made.lines)

    def test_displaced_pairs_are_said(self, tmp_path):
        pairs(tmp_path, 1)
        for file in (tmp_path / "LR").iterdir():
            images.write(file, np.roll(images.read(file), 3, 1))
        lines = of(tmp_path).lines
        assert any("6 of 6 pairs are doubtful, as: LR is shifted by" in line for line in lines)
        assert "`multiblock align` brings pairs that are displaced onto one grid" in lines


class TestFoldersThatAreSplit:
    """Folders by the usual names."""

    def test_they_are_used_as_they_are(self, pairs):
        made = of(pairs)
        written = yaml.safe_load(made.text)["data"]
        assert written["test"] == {"hr": str(pairs / "test/HR"), "lr": str(pairs / "test/LR")}
        assert written["scale"] == 1 and written["train"]["without"] == ["validation"]
        assert [len(names) for names in splits(made.text).values()] == [3, 1, 2]

    def test_the_other_way_round(self, tmp_path):
        for split, count in (("training", 4), ("Valid", 2), ("TEST", 2)):
            for number in range(count):
                sharp = scene(1000 * len(split) + number)
                images.write(tmp_path / f"HR/{split}/p{number}.png", sharp)
                images.write(tmp_path / f"LR/{split}/p{number}.png", sharp[::2, ::2])
        found = yaml.safe_load(of(tmp_path).text)["data"]
        assert found["scale"] == 2 and "without" not in found["train"]
        assert [found[split]["lr"] for split in ("train", "validation", "test")] == [
            str(tmp_path / "LR" / name) for name in ("training", "Valid", "TEST")
        ]

    def test_train_alone_is_split(self, photos):
        os.renames(photos, photos.with_name("set") / "train")
        assert [len(names) for names in splits(of(photos.with_name("set")).text).values()] == [10, 1, 1]

    def test_a_test_image_among_those_to_train_on_is_left_out(self, photos):
        root = photos.with_name("set")
        os.renames(photos, root / "train")
        images.write(root / "test/other.png", scene(4))
        made = of(root)
        assert "IMG_0004" not in splits(made.text)["train"] + splits(made.text)["validation"]
        assert yaml.safe_load(made.text)["data"]["skip"] == ["IMG_0004.png"]

    def test_one_that_has_the_same_name_there_too_is_named(self, photos):
        root = photos.with_name("set")
        os.renames(photos, root / "train")
        images.write(root / "test/IMG_0004.png", scene(4))
        assert wrong(root) == (
            f"{root}/test/IMG_0004.png: has the name of a file elsewhere that has to be left out (has the pixels of "
            f"{root}/test/IMG_0004.png, a test image), and files are left out by name; rename one of the two, or move "
            "that one away"
        )

    def test_albums_are_taken_together(self, photos):
        albums = photos.with_name("albums")
        os.renames(photos, albums / "spring")
        for number in range(3):
            images.write(albums / f"summer/S{number}.png", scene(70 + number))
        made = of(albums)
        assert sum(map(len, splits(made.text).values())) == 15
        images.write(albums / "summer/IMG_0003.png", scene(80))
        assert f"{albums}/summer/IMG_0003.png: has the same name as {albums}/spring/IMG_0003.png" in wrong(albums)
        assert [len(n) for n in splits(of(albums / "spring").text).values()] == [10, 1, 1]

    def test_folders_beside_are_said(self, photos):
        images.write(photos / "old/x.png", scene(90))
        assert any(line.startswith(f"{photos}/old: holds images too, which are not read") for line in of(photos).lines)

    def test_lr_for_some_only(self, pairs):
        for file in (pairs / "test/LR").iterdir():
            file.unlink()
        (pairs / "test/LR").rmdir()
        assert wrong(pairs) == f"{pairs}/test/HR: has no LR images beside it, as train has"


WRONG = {
    "over a file": (["init", "mine", "--hr", "photos"], "mine.yaml: is there already, and is not overwritten"),
    "scale 1": (["init", "x", "--hr", "photos", "--scale", "1"], "--scale: found 1, but there is no LR"),
    "no folder": (["init", "x", "--hr", "fotos"], "fotos: cannot be listed: No such file or directory"),
    "a file": (["init", "x", "--hr", "mine.yaml"], "mine.yaml: cannot be listed: Not a directory"),
    "camera with pairs": (
        ["init", "x", "--hr", "pairs/HR", "--lr", "pairs/LR", "--camera"],
        "--camera: found with LR in pairs/LR; allowed is it where LR is made from HR",
    ),
    "one folder for both": (["init", "x", "--hr", "photos", "--lr", "./photos"], "which is the folder of HR too"),
    "no LR folder": (["init", "x", "--hr", "photos", "--lr", "low"], "low: cannot be listed"),
}


class TestTheCommand:
    """What is printed, written and refused."""

    def test_it_writes_a_config_and_names_what_is_next(self, photos, capsys):
        Path("Snakefile").touch()
        assert cli.main(["init", "mine", "--hr", "photos"]) == 0
        printed = capsys.readouterr().out.splitlines()
        assert printed[-3:] == [
            "wrote mine.yaml; next, in the folder of the project:",
            "  multiblock plan mine.yaml",
            "  snakemake --cores all --configfile mine.yaml",
        ]
        assert cli.main(["plan", "mine.yaml"]) == 0
        assert "run mine: 3 blocks on mine, seed 1\n" in capsys.readouterr().out
        assert cli.main(["check", "mine.yaml"]) == 0
        lines = Path("mine.yaml").read_text().splitlines()
        assert len(lines) <= 15 and max(map(len, lines)) <= 120

    def test_with_camera_it_asks_for_lr_as_cameras_make_it(self, photos, capsys):
        assert cli.main(["init", "mine", "--hr", "photos", "--camera"]) == 0
        printed = capsys.readouterr().out
        assert "multiblock check mine.yaml --patches patches.png" in printed and "bicubic enlarges" not in printed
        (run,) = config.load(config.read([Path("mine.yaml")])).runs.values()
        assert run.data.degradation == "camera" and run.anew(1)
        assert "  camera: {blur: [0.2, 1.5], noise: [1, 12], second: 0.3}\n" in Path("mine.yaml").read_text()
        assert cli.main(["init", "other", "--hr", "photos"]) == 0
        assert "for those --camera makes LR with both" in capsys.readouterr().out
        assert "degradation" not in Path("other.yaml").read_text()

    def test_folders_are_named_from_the_project_on_and_else_in_full(self, photos):
        assert f"hr: {photos}" in of(Path("photos")).text
        Path("Snakefile").touch()
        assert "hr: photos" in of(Path("photos")).text

    @pytest.mark.parametrize("case", WRONG)
    def test_what_is_wrong_is_one_line(self, photos, capsys, case):
        command, message = WRONG[case]
        pairs(Path("pairs"), 2, count=1)
        Path("mine.yaml").write_text("mine")
        assert cli.main(command) == 1
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and message in said[0]
        assert Path("mine.yaml").read_text() == "mine" and not Path("x.yaml").exists()

    @pytest.mark.parametrize("arguments", [["a/b"], ["x", "--scale", "5"], ["x", "--seed", "-1"]])
    def test_arguments_out_of_bounds(self, photos, capsys, arguments):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["init", *arguments, "--hr", "photos"])
        assert "found" in capsys.readouterr().err


@pytest.mark.slow  # trains
def test_what_is_written_runs_to_its_end(photos):
    """On top of it only fewer iterations."""
    assert cli.main(["init", "mine", "--hr", "photos"]) == 0
    files = [str(photos.with_name("mine.yaml")), str(ROOT / "studies/short.yaml")]
    done = snakemake(photos.parent, "--configfile", *files)
    assert done.returncode == 0, done.stderr
    table = photos.with_name("results") / "short/mine/psnr_by_phase.csv"
    assert len(table.read_text().splitlines()) == 1 + 5  # no network, and four phases
