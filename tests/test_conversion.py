"""Conversion on several threads, and over several starts: the same bytes and words as one that nobody disturbed."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import forked
from conftest import icc_profile, picture
from multiblock.data import images, partial
from multiblock.data.convert import convert, enlarge
from multiblock.data.dataset import DatasetConfig
from multiblock.data.imageset import SPLITS, ImageSet
from multiblock.data.inspection import Inspection, inspect
from multiblock.errors import UserError
from multiblock.files import Digests
from test_sources import data

COUNT = 12
HR_ALONE = {"scale": 2, **{split: {"hr": split} for split in ("train", "validation", "test")}}
ALL = COUNT + 2 + 3


def photographs(folder: Path, count: int = COUNT, height: int = 60, width: int = 72) -> Path:
    """HR images of many kinds, of which there is something to say."""
    for split, number in (("train", count), ("validation", 2), ("test", 3)):
        (folder / split).mkdir(parents=True)
        for n in range(number):
            pixels = picture(height + 7 * (n % 5), width + n, seed=n + 100 * SPLITS.index(split))
            image = Image.fromarray(pixels if n % 3 else pixels[..., 0].astype(np.uint16) * 257)
            image.save(folder / split / f"image{n}.png", icc_profile=icc_profile() if n % 4 == 1 else None)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return photographs(tmp_path / "photos")


@pytest.fixture
def doubtful(pairs: Path) -> Path:
    """Pairs, some shifted, and a picture that is in two splits in two sizes."""
    for number in (2, 4):
        file = pairs / f"train/LR/image{number}.png"
        images.write(file, np.roll(images.read(file), 4, 1))
    for kind in ("HR", "LR"):
        for split in ("train", "test"):
            image = Image.fromarray(picture(90, 120, seed=77))
            image = image.resize((80, 60), Image.Resampling.BICUBIC) if split == "test" else image
            image.save(pairs / split / kind / "same.png")
    return pairs


def spoilt(png: bytes) -> bytes:
    """With pixels that cannot be decoded, which its header does not show."""
    middle = len(png) // 2
    return png[:middle] + bytes(40) + png[middle + 40 :]


def made(folder: Path) -> dict[str, str]:
    """Digests of the files of finished sets."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and partial.CONVERTING not in str(file)]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def converted(config: DatasetConfig, folder: Path, threads: int = 1, **more) -> dict[str, str]:
    convert(config, folder / "HR", folder / "LR", threads, **more)
    assert sorted(os.listdir(folder)) == ["HR", "LR"]
    return made(folder)


@pytest.fixture
def decoded(monkeypatch) -> list[Path]:
    """The files that are decoded, in the order of their beginning."""
    files, read = [], images.read

    def counting(file, *remark):
        files.append(file)
        return read(file, *remark)

    monkeypatch.setattr(images, "read", counting)
    return files


class TestThreads:
    """One thread and several."""

    def test_the_same_bytes_and_words(self, photos, doubtful, tmp_path, caplog):
        windows = {**HR_ALONE, "train": {"hr": "train", "crops": 3, "crop_side": 40}, "degradation": "random"}
        caplog.set_level("INFO")
        for name, config in {
            "alone": data(photos, **HR_ALONE),
            "windows": data(photos, **windows),
            "pairs": data(doubtful, validation=1),
        }.items():
            said, files = [], []
            for number in (1, 3):
                caplog.clear()
                files.append(converted(config, tmp_path / f"{name}{number}", number))
                said.append(caplog.messages)
            assert files[0] == files[1] and len(files[0]) == 12
            assert said[0] == said[1]
            assert any("warning" in line for line in said[0]) == (name == "pairs")

    @pytest.mark.parametrize("threads", [1, 4])
    def test_the_first_bad_file_is_named_whichever_is_read_first(self, photos, tmp_path, monkeypatch, threads):
        for number in (3, 4, 9):
            file = photos / f"train/image{number}.png"
            file.write_bytes(spoilt(file.read_bytes()))
        read = images.read

        def slow(file, *remark):
            time.sleep(0.3 if "image3." in file.name else 0)
            return read(file, *remark)

        monkeypatch.setattr(images, "read", slow)
        with pytest.raises(UserError, match=r"train/image3\.png: cannot be read"):
            convert(data(photos, **HR_ALONE), tmp_path / "HR", tmp_path / "LR", threads)
        assert made(tmp_path) == {name: digest for name, digest in made(tmp_path).items() if "photos" in name}

    def test_they_work_at_once(self, photos, tmp_path, monkeypatch):
        both, read = threading.Barrier(2, timeout=20), images.read

        def together(file, *remark):
            if file.name in ("image2.png", "image3.png") and file.parent.name == "train":
                both.wait()  # where one has to end before the other begins, this never ends well
            return read(file, *remark)

        monkeypatch.setattr(images, "read", together)
        converted(data(photos, **HR_ALONE), tmp_path / "out", 2)

    def test_pillow_s_warnings_stay_away_and_the_filters_as_they_were(self, photos, tmp_path, recwarn, monkeypatch):
        import warnings

        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4000)  # of 4320 and more each: a warning, no error
        before = list(warnings.filters)
        converted(data(photos, **HR_ALONE), tmp_path / "out", 4)
        assert not recwarn.list and warnings.filters == before

    def test_the_windows_of_an_image_are_cut_from_one_decoding(self, photos, tmp_path, decoded):
        windows = {**HR_ALONE, "train": {"hr": "train", "crops": 5, "crop_side": 40}, "validation": {"hr": "test"}}
        converted(data(photos, **windows | {"test": {"hr": "test", "only": ["image1"]}}), tmp_path / "out", 2)
        assert sorted(file for file in decoded if file.parent.name == "train") == sorted((photos / "train").iterdir())

    def test_enlarging(self, photos, tmp_path):
        convert(data(photos, **HR_ALONE), tmp_path / "HR", tmp_path / "LR")
        for threads in (1, 3):
            enlarge(tmp_path / "LR", tmp_path / f"up{threads}", 2, threads)
        assert made(tmp_path / "up1") == made(tmp_path / "up3") != {}


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from multiblock.data import images
from multiblock.data.convert import convert
from test_conversion import HR_ALONE
from test_sources import data
read = images.read
def slow(file, *remark):
    time.sleep(0.1)
    return read(file, *remark)
images.read = slow
folder = Path(sys.argv[2])
convert(data(folder / "photos", **HR_ALONE), folder / "HR", folder / "LR", int(sys.argv[3]))
"""


def killed_after(folder: Path, pieces: int, threads: int) -> int:
    """Convert in a process of its own, which is killed once so many pieces are done; how many were."""
    process = forked.Popen([sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(folder), str(threads)])
    end = time.monotonic() + 60
    while journal_lines(folder) < pieces and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    return journal_lines(folder)


def journal_lines(folder: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in folder.rglob("journal"))


def inspected(config: DatasetConfig, folder: Path) -> str:
    return inspect(config, Inspection(Digests(folder / "digests.json")), patch=16)


class TestWhatWasRead:
    """The digest that a conversion returns is of the bytes that were decoded."""

    @pytest.mark.parametrize("threads", [1, 3])
    def test_it_is_the_digest_of_an_inspection(self, photos, doubtful, tmp_path, threads):
        windows = {**HR_ALONE, "train": {"hr": "train", "crops": 3, "crop_side": 48}, "validation": 2}
        for number, config in enumerate((data(photos, **windows), data(doubtful, validation=1))):
            out, parts = tmp_path / str(number), tmp_path / "parts"
            digest = convert(config, out / "HR", out / "LR", threads, parts=parts)
            assert digest == inspected(config, out) and not parts.exists()
            assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["HR", "LR"]

    def test_it_is_the_same_where_pieces_are_taken_over(self, photos, tmp_path, decoded):
        config, bad = data(photos, **HR_ALONE), photos / "test/image2.png"
        whole = bad.read_bytes()
        bad.write_bytes(spoilt(whole))
        with pytest.raises(UserError, match="image2"):
            convert(config, tmp_path / "HR", tmp_path / "LR")
        bad.write_bytes(whole)
        decoded.clear()
        assert convert(config, tmp_path / "HR", tmp_path / "LR") == inspected(config, tmp_path)
        assert {file.name for file in decoded} == {"image2.png"}

    @pytest.mark.parametrize("kind", ["HR", "LR"])
    def test_an_image_that_was_another_for_a_moment(self, pairs, tmp_path, monkeypatch, kind):
        """The image is replaced after the inspection, and put back before the conversion ends."""
        config = data(pairs, validation=1)
        before, file, content_of = inspected(config, tmp_path), pairs / f"train/{kind}/image2.png", images.content_of
        whole = file.read_bytes()

        def replacing(one: Path) -> tuple[bytes | None, str]:
            if one == file:
                images.write(file, images.read(file) ^ 1)
            content = content_of(one)
            if one == file:
                file.write_bytes(whole)
            return content

        with monkeypatch.context() as patched:
            patched.setattr(images, "content_of", replacing)
            assert convert(config, tmp_path / "HR", tmp_path / "LR") != before
        assert convert(config, tmp_path / "HR", tmp_path / "LR") == before == inspected(config, tmp_path)

    def test_a_file_too_large_for_memory_that_changes(self, photos, tmp_path, monkeypatch, decoded):
        config, file = data(photos, **HR_ALONE), photos / "train/image5.png"
        monkeypatch.setattr(images, "_LARGE", file.stat().st_size - 1)
        assert convert(config, tmp_path / "HR", tmp_path / "LR") == inspected(config, tmp_path)
        counting = images.read

        def replacing(one, *more):
            pixels = counting(one, *more)
            if one == file:
                images.write(file, pixels ^ 1)
            return pixels

        monkeypatch.setattr(images, "read", replacing)
        with pytest.raises(UserError, match=r"image5\.png: changed while it was read"):
            convert(config, tmp_path / "HR", tmp_path / "LR")

    def test_what_is_decoded_is_what_the_digest_is_of(self, photos, tmp_path, monkeypatch):
        """The file is replaced right after its bytes were read."""
        config, file, content_of = data(photos, **HR_ALONE), photos / "train/image5.png", images.content_of
        expected = images.read(file)

        def replacing(one: Path) -> tuple[bytes | None, str]:
            content = content_of(one)
            if one == file:
                images.write(file, expected[::-1])
            return content

        before = inspected(config, tmp_path)
        with monkeypatch.context() as patched:
            patched.setattr(images, "content_of", replacing)
            assert convert(config, tmp_path / "HR", tmp_path / "LR") == before
        found = ImageSet(tmp_path / "HR/train.npy")
        height, width = found[5].shape[:2]
        assert np.array_equal(found[5], expected[:height, :width])


class TestGoesOn:
    """One start and several."""

    def test_after_kill_9(self, photos, tmp_path, decoded, caplog):
        caplog.set_level("INFO")
        config = data(photos, **HR_ALONE)
        expected, words = converted(config, tmp_path / "calm"), caplog.messages
        done = killed_after(tmp_path, 5, threads=2)
        assert 5 <= done < ALL and not (tmp_path / "HR").exists() and not (tmp_path / "LR").exists()
        decoded.clear()
        caplog.clear()
        convert(config, tmp_path / "HR", tmp_path / "LR", 2)
        assert len(decoded) == ALL - done
        assert {name: digest for name, digest in made(tmp_path).items() if name[:2] in ("HR", "LR")} == expected
        assert [line.split(", ")[0] for line in caplog.messages] == [line.split(", ")[0] for line in words]
        assert any(f"{min(done, COUNT)} of them by an earlier start" in line for line in caplog.messages)
        assert not (tmp_path / partial.CONVERTING).exists()

    @pytest.fixture
    def half(self, photos, tmp_path, decoded):
        """A conversion that ended at a bad test image; all others are done."""
        bad = photos / "test/image2.png"
        whole = bad.read_bytes()
        bad.write_bytes(spoilt(whole))
        with pytest.raises(UserError, match=r"test/image2\.png"):
            convert(data(photos, **HR_ALONE), tmp_path / "out/HR", tmp_path / "out/LR")
        bad.write_bytes(whole)
        decoded.clear()
        return tmp_path / "out"

    def goes_on(self, photos, half, decoded, config=None, **more) -> set[str]:
        """Go on; the result must be that of a fresh start. The images that were decoded."""
        config = config or data(photos, **HR_ALONE)
        found = converted(config, half, **more)
        files = {f"{file.parent.name}/{file.stem}" for file in decoded}
        assert found == converted(config, half.with_name("fresh"))
        return files

    def test_where_the_bad_image_was_mended(self, photos, half, decoded):
        assert self.goes_on(photos, half, decoded) == {"test/image2"}

    def test_an_image_that_changed(self, photos, half, decoded):
        images.write(photos / "train/image5.png", images.read(photos / "train/image5.png")[::-1])
        decoded.clear()
        assert self.goes_on(photos, half, decoded) == {"train/image5", "test/image2"}

    def test_an_image_that_became_larger_and_one_more(self, photos, half, decoded):
        images.write(photos / "train/image5.png", picture(90, 90, seed=5))
        images.write(photos / "train/image12.png", picture(90, 90, seed=12))
        images.write(photos / "train/image13.png", picture(90, 90, seed=13))
        (photos / "train/image1.png").unlink()
        decoded.clear()
        files = self.goes_on(photos, half, decoded)
        assert files == {"train/image5", "train/image12", "train/image13", "test/image2"}

    @pytest.mark.parametrize("change", [{"max_side": 50}, {"degradation": "random"}])
    def test_other_settings(self, photos, half, decoded, change):
        files = self.goes_on(photos, half, decoded, data(photos, **{**HR_ALONE, **change}))
        assert len(files) == ALL

    def test_other_code(self, photos, half, decoded):
        assert len(self.goes_on(photos, half, decoded, code="another")) == ALL

    @pytest.mark.parametrize("share", [1, 0, 0.4])
    @pytest.mark.parametrize("place", ["HR", "LR", "journal"])
    def test_a_part_that_is_damaged_or_cut_short(self, photos, half, decoded, place, share):
        (file,) = (half / partial.CONVERTING / "train").rglob(place)
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= share == 1
        file.write_bytes(content[: int(share * len(content))])
        files = self.goes_on(photos, half, decoded)
        assert len(files) == 2 if share == 1 else len(files) < ALL
        assert "test/image2" in files

    def test_checks_of_pairs_and_looks_are_kept(self, doubtful, tmp_path, decoded, caplog):
        config = data(doubtful, validation=1)
        converted(config, tmp_path / "calm")
        words = caplog.messages
        assert any("shifted" in line for line in words) and any("one picture in two sizes" in line for line in words)
        bad = doubtful / "train/LR/image1.png"  # the one that is held out, which comes last
        whole = bad.read_bytes()
        bad.write_bytes(spoilt(whole))
        with pytest.raises(UserError):
            convert(config, tmp_path / "out/HR", tmp_path / "out/LR")
        bad.write_bytes(whole)
        decoded.clear()
        caplog.clear()
        converted(config, tmp_path / "out")
        assert {file.name for file in decoded} == {"image1.png"} and caplog.messages == words

    def test_a_test_image_that_is_a_training_image_is_refused_again(self, photos, tmp_path, decoded):
        Image.open(photos / "train/image4.png").save(photos / "test/other.bmp")
        errors = []
        for _ in range(2):
            decoded.clear()
            with pytest.raises(UserError, match=r"other\.bmp is .*image4\.png") as error:
                convert(data(photos, **HR_ALONE), tmp_path / "HR", tmp_path / "LR")
            errors.append(str(error.value))
            assert not (tmp_path / "HR").exists()
        assert errors[0] == errors[1] and decoded == []

    def test_enlarging(self, photos, tmp_path, monkeypatch):
        from multiblock.data import resize

        convert(data(photos, **HR_ALONE), tmp_path / "HR", tmp_path / "LR")
        calls, plain = [], resize.enlarge

        def failing(pixels, scale):
            calls.append(1)
            if len(calls) == 8:
                raise UserError("stopped")
            return plain(pixels, scale)

        with monkeypatch.context() as patched, pytest.raises(UserError, match="stopped"):
            patched.setattr(resize, "enlarge", failing)
            enlarge(tmp_path / "LR", tmp_path / "up", 2, parts=tmp_path / "parts")
        assert not (tmp_path / "up").exists() and not (tmp_path / partial.ENLARGING).exists()
        with monkeypatch.context() as patched:
            patched.setattr(resize, "enlarge", failing)
            enlarge(tmp_path / "LR", tmp_path / "up", 2, parts=tmp_path / "parts")
        assert not (tmp_path / "parts").exists() and len(calls) == 8 + ALL - 7
        enlarge(tmp_path / "LR", tmp_path / "fresh", 2)
        assert made(tmp_path / "up") == made(tmp_path / "fresh")

    def test_what_stands_under_its_name_is_not_written_to(self, photos, tmp_path, monkeypatch):
        """A process that is killed between the last name and the removal of what it worked in."""
        config, out = data(photos, **HR_ALONE), tmp_path / "out"
        with monkeypatch.context() as patched:
            patched.setattr(partial.shutil, "rmtree", lambda *_, **__: None)
            convert(config, out / "HR", out / "LR")
        before = made(out)
        images.write(photos / "train/image5.png", images.read(photos / "train/image5.png")[::-1])
        (photos / "test/image2.png").write_bytes(b"")
        with pytest.raises(UserError, match="image2"):
            convert(config, out / "HR", out / "LR")
        assert made(out) == before and len(ImageSet(out / "HR/train.npy")) == COUNT


BIG = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from multiblock.data.convert import convert
from test_sources import data
folder, count, threads = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
keys = {"scale": 2, "train": {"hr": "train", "take": count}, "test": {"hr": "test"}, "validation": 1}
mine = data(folder, **keys)
convert(mine, folder / "HR", folder / "LR", threads)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def peak(folder: Path, count: int) -> float:
    """Convert so many images in a process of its own; the most memory that it held, in MiB."""
    command = [sys.executable, "-c", BIG, str(Path(__file__).parent), str(folder), str(count), "2"]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout) / 1024


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    photographs(tmp_path, 60, 600, 800)
    peaks = [peak(tmp_path, count) for count in (15, 60)]  # 22 and 86 MB of pixels
    assert peaks[1] < peaks[0] + 25, peaks
