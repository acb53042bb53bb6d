"""The workflow's folder of pictures: what stands is kept, and whatever else lies there goes."""

import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from conftest import picture
from made_up import pixels_of, toy
from multiblock.errors import UserError
from multiblock.inference.folder import upscale_folder
from multiblock.inference.upscaling import Upscaler
from multiblock.model.chain import load


def put(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file)


OUT, TABLE = Path("results/run/upscaled"), Path("results/run/upscaled/pictures.csv")


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a.png", "b.png", "sub/c.png")):
        put(Path("photos", name), picture(30, 20, seed=number))
    return Path("photos")


@pytest.fixture
def made(photos):
    """Upscale the folder; which results were written."""
    chain = load(toy(Path("w.safetensors").absolute(), 0))  # it copies its input

    def upscale(made_of: str = "w", form: str = "lossless", fails: str = "", **more) -> list[str]:
        keys = {"images": Path("photos"), "table": TABLE, "form": form, "results": Path("results"), "about": "", **more}
        before = times()
        upscaler = Upscaler(chain=chain, device=torch.device("cpu"))
        with pytest.raises(UserError, match=fails) if fails else nullcontext():
            upscale_folder(upscaler, **keys, made_of={"weights": made_of, "form": form})
        return sorted(name for name, time in times().items() if before.get(name) != time)

    return upscale


def times() -> dict[str, int]:
    """When each result was written."""
    files = (file for file in OUT.rglob("*") if file.is_file() and file != TABLE and not file.name.startswith("."))
    return {str(file.relative_to(OUT)): file.stat().st_mtime_ns for file in files}


ALL = ["a.png", "b.png", "sub/c.png"]


def test_a_name_that_is_no_utf8(photos, made):
    Path("photos/a.png").rename(os.fsdecode(b"photos/\xff.png"))
    assert len(made()) == 3 and made() == []
    assert pd.read_csv(TABLE).picture.tolist() == ["b.png", "sub/c.png", r"\xff.png"]


def test_what_stands_is_not_made_again(photos, made):
    assert made() == ALL
    assert pd.read_csv(TABLE).picture.tolist() == ALL
    text = TABLE.read_text()
    TABLE.unlink()  # as Snakemake does, before it makes it again
    assert made() == [] and TABLE.read_text() == text


def test_a_picture_that_cannot_be_read_costs_the_others_nothing(photos, made):
    good = (photos / "b.png").read_bytes()
    (photos / "b.png").write_bytes(good[:100])
    made(fails="1 of 3 pictures failed; the others are done")
    assert sorted(times()) == ["a.png", "sub/c.png"] and not TABLE.exists()
    (photos / "b.png").write_bytes(good)
    assert made() == ["b.png"]
    assert pd.read_csv(TABLE).picture.tolist() == ALL


def test_a_picture_that_was_changed_added_or_removed(photos, made):
    made()
    put(photos / "a.png", picture(30, 20, seed=7))
    put(photos / "d.png", picture(20, 20, seed=8))
    (photos / "sub/c.png").unlink()
    assert made() == ["a.png", "d.png"]
    assert sorted(times()) == ["a.png", "b.png", "d.png"] and not (OUT / "sub").exists()
    assert np.array_equal(pixels_of(OUT / "a.png"), picture(30, 20, seed=7))
    assert pd.read_csv(TABLE).picture.tolist() == ["a.png", "b.png", "d.png"]


def test_other_weights_or_another_format_make_all_again(photos, made):
    made()
    assert made("other weights") == ALL
    assert made("other weights", form="same") == ALL


def test_only_results_that_the_notes_name_are_removed(photos, made):
    made()
    (OUT / "stranger.txt").touch()
    put(OUT / "a.png", picture(8, 8, seed=1))  # somebody put another picture there
    for name in ("a.png", "b.png"):
        (photos / name).unlink()
    made("other weights")
    assert sorted(times()) == ["a.png", "stranger.txt", "sub/c.png"]


class TestEarlierFolders:
    """Results in folders of earlier starts are taken over."""

    @pytest.fixture
    def earlier(self, photos, made) -> Path:
        made()
        return OUT.rename("results/earlier")

    def test_what_was_made_of_the_same_is_taken_over(self, photos, made, earlier, caplog):
        (photos / "b.png").rename(photos / "sub/renamed.png")
        put(photos / "a.png", picture(30, 20, seed=7))
        caplog.set_level("INFO")
        made(earlier=[Path("results/gone"), earlier])
        assert (OUT / "sub/renamed.png").samefile(earlier / "b.png") and (OUT / "sub/c.png").samefile(
            earlier / "sub/c.png"
        )
        assert not (OUT / "a.png").samefile(earlier / "a.png")
        table, before = pd.read_csv(TABLE), pd.read_csv(earlier / "pictures.csv")
        assert table.picture.tolist() == table.result.tolist() == ["a.png", "sub/c.png", "sub/renamed.png"]
        assert table.width.tolist() == before.width.tolist() and table.columns.equals(before.columns)
        assert "2 of 3 pictures are done already" in caplog.text
        assert made() == []

    def test_a_disk_without_links(self, photos, made, earlier, monkeypatch):
        def refusing(*_: object) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refusing)
        made(earlier=[earlier])
        assert (OUT / "a.png").read_bytes() == (earlier / "a.png").read_bytes()
        assert not (OUT / "a.png").samefile(earlier / "a.png") and made() == []

    @pytest.mark.parametrize("change", ["weights", "format", "result", "notes"])
    def test_what_is_not_the_same_is_made_again(self, photos, made, earlier, change):
        keys = {"weights": {"made_of": "other"}, "format": {"form": "same"}}.get(change, {})
        if change == "result":
            put(earlier / "a.png", picture(30, 20, seed=9))
        if change == "notes":
            (earlier / ".pictures.jsonl").unlink()
        made(**keys, earlier=[earlier])
        assert not (OUT / "a.png").samefile(earlier / "a.png")
        assert np.array_equal(pixels_of(OUT / "a.png"), pixels_of(photos / "a.png"))
        assert (OUT / "b.png").samefile(earlier / "b.png") == (change == "result")


def test_a_result_that_was_touched_is_made_again(photos, made):
    made()
    put(OUT / "b.png", picture(30, 20, seed=9))
    (OUT / "sub/c.png").unlink()
    assert made() == ["b.png", "sub/c.png"]


def test_a_kill_leaves_what_was_noted(photos, made):
    made()
    notes = OUT / ".pictures.jsonl"
    lines = notes.read_text().splitlines()
    notes.write_text("\n".join([*lines[:2], lines[2][:20]]))  # in the middle of the second picture's line
    assert made() == ["b.png", "sub/c.png"]
    assert made() == []
