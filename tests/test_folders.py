"""Folders of pictures: subfolders are kept, nothing is left out without a word, and names that fall together."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import picture
from multiblock.cli import main
from multiblock.data import images
from multiblock.errors import UserError
from multiblock.inference import targets
from multiblock.inference.folder import in_megapixels
from test_upscale import run, save, weights  # noqa: F401


def made(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder as a phone and a computer leave it."""
    folder = tmp_path / "photos"
    for name in ("b10.jpg", "b9.jpg", "2024/may/c.tif", "2024/d.webp", ".trash/old.png"):
        save(folder / name, picture(16, 20))
    for name in ("clip.mov", "2024/clip2.mov", "2024/notes", ".DS_Store"):
        (folder / name).write_text("no picture")
    return folder


class TestFolders:
    """What is done of a folder."""

    def test_subfolders_are_kept_and_what_is_left_out_is_counted(self, run, photos):  # noqa: F811
        status, lines, said = run("photos", "-o", "out")
        assert status == 0
        assert [line.partition(":")[0] for line in lines] == [
            "out/2024/d.png", "out/2024/may/c.tif", "out/b9.png", "out/b10.png",
        ]  # fmt: skip
        assert made(Path("out")) == ["2024/d.png", "2024/may/c.tif", "b10.png", "b9.png"]
        assert said[0].startswith(
            "multiblock: photos/2024, photos: 2 files are left out, ending in .mov (as clip2.mov)"
        )
        assert said[1].startswith("multiblock: photos/2024: 1 file is left out, without an ending (as notes)")
        assert len(said) == 2

    def test_folders_and_files_together(self, run, photos, tmp_path):  # noqa: F811
        save(tmp_path / "one.jpg")
        assert run("one.jpg", "photos/2024", "-o", "out")[0] == 0
        assert made(Path("out")) == ["d.png", "may/c.tif", "one.png"]

    def test_results_within_are_no_pictures(self, run, photos):  # noqa: F811
        assert run("photos", "-o", "photos/out")[0] == 0
        before = made(photos)
        status, lines, said = run("photos", "-o", "photos/out")
        assert (status, lines) == (1, []) and "photos/out/2024/d.png: exists already, and 3 more;" in said[0]
        status, lines, _ = run("photos", "-o", "photos/out", "--overwrite")
        assert (status, len(lines), made(photos)) == (0, 4, before)

    def test_by_a_link_too(self, run, photos, tmp_path):  # noqa: F811
        (tmp_path / "elsewhere").symlink_to(photos / "out")
        assert run("photos", "-o", "photos/out")[0] == 0
        assert len(run("photos", "-o", "elsewhere", "--overwrite")[1]) == 4

    @pytest.mark.parametrize("out", ["photos", "photos/2024/..", "link"])
    def test_the_folder_itself_is_no_place_for_results(self, run, photos, tmp_path, out):  # noqa: F811
        (tmp_path / "link").symlink_to(photos)
        before = made(photos)
        status, lines, said = run("photos", "-o", out, "--overwrite")
        assert (status, lines, len(said)) == (1, [], 1) and "is the folder of the pictures" in said[0]
        assert made(photos) == before

    def test_results_above_the_pictures(self, run, photos):  # noqa: F811
        assert run("photos/2024", "-o", "photos")[0] == 0
        assert {"d.png", "may/c.tif", "2024/d.webp", "2024/may/c.tif"} <= set(made(photos))
        status, _, said = run("photos/2024/may", "photos/may", "-o", "photos/may", "--overwrite")
        assert status == 1 and "is the folder of the pictures" in said[0]

    def test_a_folder_without_pictures_is_an_error(self, run, tmp_path):  # noqa: F811
        (tmp_path / "none").mkdir()
        assert "none: holds no pictures; found 0 files, allowed are .png" in run("none", "-o", "out")[2][0]
        (tmp_path / "none/a.mov").touch()
        (tmp_path / "none/b.mov").touch()
        assert "none: holds no pictures; found 2 files (2 .mov), allowed are" in run("none", "-o", "out")[2][0]
        assert not (tmp_path / "out").exists()

    def test_links_to_folders_are_not_followed(self, run, photos, tmp_path):  # noqa: F811
        (photos / "2024" / "round").symlink_to(photos)
        status, lines, said = run("photos", "-o", "out")
        assert (status, len(lines)) == (0, 4)
        assert said[-1].startswith("multiblock: photos/2024/round: a link to a folder, not followed")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_folder_that_cannot_be_listed_is_named(self, run, photos):  # noqa: F811
        (photos / "2024").chmod(0)
        said = run("photos", "-o", "out")[2]
        (photos / "2024").chmod(0o755)
        assert said == ["multiblock: error: photos/2024: cannot be listed: Permission denied"]

    def test_what_is_there_is_left_where_that_is_asked_for(self, run, photos):  # noqa: F811
        assert run("photos", "-o", "out")[0] == 0
        Path("out/b9.png").unlink()
        kept = Path("out/b10.png").stat().st_mtime_ns
        status, lines, said = run("photos", "-o", "out", "--skip-existing")
        assert status == 0 and [line.partition(":")[0] for line in lines] == ["out/b9.png"]
        assert said[-1] == "multiblock: out: 3 of 4 results are there already, and left as they are"
        assert Path("out/b10.png").stat().st_mtime_ns == kept
        status, lines, said = run("photos", "-o", "out", "--skip-existing")
        assert (status, lines) == (0, []) and "4 of 4 results are there already" in said[-1]


class TestNames:
    """Names of results that fall together."""

    def test_pictures_that_differ_by_their_ending_keep_it(self, run, photos):  # noqa: F811
        save(photos / "b9.png", picture(16, 20))
        save(photos / "2024/b9.png", picture(16, 20))
        status, _, said = run("photos", "-o", "out")
        assert status == 0
        assert {"b9.jpg.png", "b9.png.png", "2024/b9.png", "b10.png"} <= set(made(Path("out")))
        assert said[-1] == "multiblock: 2 pictures differ by their ending alone; their results keep it, as b9.jpg.png"

    def test_in_their_own_formats_they_need_not(self, run, photos):  # noqa: F811
        save(photos / "b9.png", picture(16, 20))
        assert run("photos", "-o", "out", "--format", "same")[0] == 0
        assert {"b9.jpg", "b9.png"} <= set(made(Path("out")))

    def test_the_same_name_in_two_folders_is_refused(self, run, photos, tmp_path):  # noqa: F811
        save(tmp_path / "more/2024/d.webp")
        status, lines, said = run("photos", "more", "-o", "out")
        assert (status, lines, len(said)) == (1, [], 1)
        assert "more/2024/d.webp and photos/2024/d.webp: would both become out/2024/d.png" in said[0]

    def test_names_that_some_disks_take_for_one_are_refused(self, tmp_path):
        (tmp_path / "a").mkdir()
        for name in ("X.png", "x.png"):
            save(tmp_path / "a" / name, picture(16, 20))
        with pytest.raises(UserError, match="would both become"):
            targets.plan([tmp_path / "a"], tmp_path / "out")


class TestHeic:
    """What phones write, where the package that reads it is not installed."""

    def test_named_by_itself_too(self, run, tmp_path, monkeypatch):  # noqa: F811
        monkeypatch.setattr(images, "READS_HEIC", False)
        (tmp_path / "a.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
        said = run("a.HEIC", "-o", "out")[2]
        assert (
            said[0].startswith("multiblock: error: a.HEIC: cannot be read as an image")
            and 'pip install "multiblock[heic]"' in said[0]
        )


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class TestProgress:
    """A bar with the time left, in megapixels, on a terminal alone."""

    def show(self, monkeypatch, stream: io.StringIO, tmp_path: Path) -> str:
        files = [
            save(tmp_path / "a.png", np.zeros((1000, 2000, 3), np.uint8)),
            save(tmp_path / "b.jpg", np.zeros((500, 1000), np.uint8)),
        ]
        monkeypatch.setattr(sys, "stderr", stream)
        with in_megapixels([targets.Job(file, file) for file in (*files, tmp_path / "missing.png")]) as bar:
            bar.step(2.0)
            bar.say("a line")
            bar.complain("another")
        return stream.getvalue()

    def test_on_a_terminal(self, monkeypatch, tmp_path, capsys):
        shown = self.show(monkeypatch, Terminal(), tmp_path)
        assert "of 2.5 MP" in shown and "left" in shown and "upscaling" in shown
        assert "multiblock: error: another\n" in shown

    def test_on_a_pipe_there_is_none(self, monkeypatch, tmp_path, capsys):
        assert self.show(monkeypatch, io.StringIO(), tmp_path) == "multiblock: error: another\n"
        assert capsys.readouterr().out == "a line\n"


def test_the_ensemble_by_the_command(weights, tmp_path, capsys):  # noqa: F811
    """Of a network that copies its input the mean of eight results is the picture."""
    save(tmp_path / "a.png")
    words = ["upscale", str(weights), str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--ensemble"]
    assert main([*words, "--device", "cpu"]) == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/a.png")), picture(seed=4))
