"""A network taken apart: what it makes after each of its blocks, before a phase and after it."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import picture
from made_up import INF, caption, cells
from multiblock.data import images
from multiblock.errors import UserError
from multiblock.inference.evaluation import BLOCK_COLUMNS, take_apart
from multiblock.model.chain import Chain
from multiblock.plan import Block
from multiblock.report.blocks import as_markdown, by_block, strips
from test_evaluation import CPU, copying, overflowing, run_evaluate
from test_imageset import write

GRAY = picture(seed=1) // 8 + 100
"""Nothing of it is cut off when a tenth is added or taken away."""


def shifting(file, shifts, clamped) -> None:
    """Blocks that add a constant to their input."""
    chain = copying(file, len(shifts), dict(enumerate(shifts, 1)))
    chain.clamped = list(clamped)
    chain.save(file)


def apart(folder, networks, lr, hr, last=3, count=1, measures=()) -> pd.DataFrame:
    write(folder / "hr.npy", hr)
    write(folder / "lr.npy", lr)
    take_apart(
        networks=networks,
        last=last,
        lr=folder / "lr.npy",
        hr=folder / "hr.npy",
        border=1,
        device=CPU,
        memory_gib=4,
        table=folder / "psnr_by_block.csv",
        pictures=folder / "blocks",
        count=count,
        measures=measures,
    )
    return pd.read_csv(folder / "psnr_by_block.csv").set_index(["when", "block", "image"])


def decibel(difference: float) -> float:
    return -20 * math.log10(abs(difference))


@pytest.fixture
def taken(tmp_path):
    """Two blocks before, three after, whose outputs are known; the inner ones of the second are not clamped."""
    files = {when: tmp_path / f"{when}.safetensors" for when in ("before", "after")}
    shifting(files["before"], (0.02, 0.03), (True, True))
    shifting(files["after"], (0.9, -0.85, 0.01), (False, False, True))
    return apart(tmp_path, files, [GRAY, GRAY], [GRAY, GRAY])


def test_each_block_is_measured_on_what_those_before_it_make(taken):
    expected = {("before", 1): 0.02, ("before", 2): 0.05, ("after", 1): 0.9, ("after", 2): 0.05, ("after", 3): 0.06}
    assert set(taken.index) == {(*key, image) for key in (*expected, ("input", 0)) for image in ("image0", "image1")}
    for key, difference in expected.items():
        assert taken.psnr_rgb[*key, "image1"] == pytest.approx(decibel(difference), abs=1e-3)
    assert np.isinf(taken.psnr_rgb["input", 0, "image0"])


def test_what_is_not_clamped_is_measured_as_it_is_and_shown_cut(taken, tmp_path):
    """The first block's output lies beyond 1, where the second brings it back from."""
    assert taken.clamped["after", 1, "image0"] == "no" and taken.clamped["after", 3, "image0"] == "yes"
    shown = images.read(tmp_path / "blocks" / taken.picture["after", 1, "image0"])
    assert (shown == 255).all()
    cut = (255 - GRAY.astype(float)) / 255
    assert taken.psnr_rgb8["after", 1, "image0"] == pytest.approx(-10 * math.log10((cut**2).mean()), abs=1e-3)
    back = images.read(tmp_path / "blocks" / taken.picture["after", 2, "image0"]).astype(int)
    assert np.abs(back - GRAY - 0.05 * 255).max() <= 1
    assert taken.picture.xs("image1", level="image").isna().all()  # of as many as are asked for


def test_blocks_beyond_the_span_do_not_count(tmp_path):
    shifting(tmp_path / "w.safetensors", (0.01, 0.02, 0.04), (True, True, True))
    taken = apart(tmp_path, {"after": tmp_path / "w.safetensors"}, [GRAY], [GRAY], last=2)
    assert taken.index.to_list() == [("input", 0, "image0"), ("after", 1, "image0"), ("after", 2, "image0")]
    assert set(taken.columns) == set(BLOCK_COLUMNS) - {"when", "block", "image"}


def test_a_block_that_enlarges(tmp_path):
    torch.manual_seed(1)
    first = Block(network="imdn", options={"scale": 2})
    chain = Chain.build([first, Block(network="toy", options={"depth": 2})], [False, True])
    chain.save(tmp_path / "weights.safetensors")
    hr = [picture(48, 56, seed=seed) for seed in (1, 2)]
    lr = [image[::2, ::2] for image in hr]
    evaluated = run_evaluate(tmp_path, first=1, last=2, lr=lr, hr=hr, measures=["haarpsi"]).set_index(
        ["phase", "image"]
    )
    taken = apart(tmp_path, {"after": tmp_path / "weights.safetensors"}, lr, hr, measures=["haarpsi"])
    for name in ("psnr_rgb", "psnr_y", "ssim_y", "psnr_rgb8", "haarpsi"):
        for image in ("image0", "image1"):
            assert taken[name]["after", 2, image] == evaluated[f"{name}_composed"]["2", image]
            assert taken[name]["input", 0, image] == evaluated[f"{name}_composed"]["input", image]
    for block in (1, 2):
        assert images.read(tmp_path / "blocks" / f"after_N_{block}" / "image0.png").shape == (48, 56, 3)
    drawn(tmp_path, {(1, 1): tmp_path / "psnr_by_block.csv"})


def test_a_block_that_makes_no_numbers_is_named(tmp_path):
    overflowing(tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="image0, as block 1 of .*w.safetensors makes it: found pixels that are not"):
        apart(tmp_path, {"after": tmp_path / "w.safetensors"}, [GRAY], [GRAY])


# -- Table and strips --------------------------------------------------------------------------------------------------


def psnr_by_block(file, rows, **more) -> None:
    """A table with the same figure in all columns: when, block, image, value."""
    metrics = ("psnr_rgb", "psnr_y", "ssim_y", "psnr_rgb8")
    frame = [
        {"when": w, "block": b, "image": i, "clamped": "yes" if b else "", "picture": "", **dict.fromkeys(metrics, v)}
        for w, b, i, v in rows
    ]
    pd.DataFrame(frame).assign(**more).to_csv(file, index=False)


def test_means_of_seeds_and_images_stand_side_by_side(tmp_path):
    files = {}
    for seed in (1, 2):
        files[seed, 3] = tmp_path / f"{seed}.csv"
        rows = [("input", 0, name, 20.0 + number) for number, name in enumerate(("NA", "b"))]
        rows += [("before", 1, name, 21.0 + number + seed) for number, name in enumerate(("NA", "b"))]
        rows += [
            ("after", k, name, 22.0 + number + seed + k) for k in (1, 2) for number, name in enumerate(("NA", "b"))
        ]
        psnr_by_block(files[seed, 3], rows)
    table = by_block(files)
    assert list(table.columns[:5]) == ["seed", "phase", "when", "block", "image"]
    assert table.image.tolist()[:2] == ["NA", "b"] and len(table) == 16
    text = as_markdown(table, "demo", 2)
    heads, _, *rows = cells(text)
    assert heads[:4] == ["network", "PSNR RGB before", "PSNR RGB after", "change"]
    assert rows[0][:4] == ["no network", "20.500", "20.500", ""]
    assert rows[1][:4] == ["N_1", "23.000", "25.000", "+2.000"] and rows[1][-2:] == ["yes", "yes"]
    assert rows[2][:4] == ["N_2(N_1)", "", "26.000", ""] and rows[2][-2:] == ["", "yes"]
    assert rows[3] == ["image", "no network", "before: N_1", "after: N_1", "after: N_2(N_1)"]
    assert rows[5:] == [["NA", "20.000", "22.500", "24.500", "25.500"], ["b", "21.000", "23.500", "25.500", "26.500"]]
    assert "## Phase 3" in text and "nan" not in text.lower() and "a border of 2 pixels" in text
    assert "one that none of them trained has no figures" in text and "Seeds: 1, 2" in text


def test_where_nothing_was_trained_before_there_is_no_column_for_it(tmp_path):
    psnr_by_block(tmp_path / "1.csv", [("input", 0, "a", 20.0), ("after", 1, "a", 21.0)], gmsd=0.125)
    text = as_markdown(by_block({(1, 1): tmp_path / "1.csv"}), "demo", 2)
    heads, _, plain, first = cells(text)[:4]
    assert heads == ["network", *(f"{name} after" for name in ("PSNR RGB", "PSNR-Y", "SSIM-Y", "GMSD ↓", "clamped"))]
    assert plain[:2] == ["no network", "20.000"] and first == ["N_1", "21.000", "21.000", "21.0000", "0.1250", "yes"]
    assert "Before:" not in text and "One seed" in text


def test_an_image_that_equals_hr_somewhere_is_left_out_everywhere(tmp_path):
    rows = [("input", 0, "black", INF), ("input", 0, "a", 20.0), ("after", 1, "black", 50.0), ("after", 1, "a", 21.0)]
    psnr_by_block(tmp_path / "1.csv", rows)
    text = as_markdown(by_block({(1, 1): tmp_path / "1.csv"}), "demo", 2)
    assert cells(text)[2][1] == "20.000" and cells(text)[3][1] == "21.000"
    assert "`black` (of PSNR RGB" in text and ["black", "identical", "50.000"] in cells(text)


def drawn(folder, files) -> None:
    """Draw the strips of the pictures in ``folder``; each shows something in each row."""
    table = by_block(files)
    both = {"lr": folder / "lr.npy", "hr": folder / "hr.npy"}
    strips(table, **both, pictures=dict.fromkeys(files, folder / "blocks"), count=1, zoom=16, out=folder / "strips")
    assert [file.name for file in (folder / "strips").iterdir()] == ["phase1_image0.png"]
    shown = images.read(folder / "strips" / "phase1_image0.png").astype(int)
    parts = np.array_split(shown, table.when.nunique() - 1)
    assert all(part.std() > 10 for part in parts) and min(shown.shape[:2]) > 200


def test_a_strip_has_a_row_before_and_one_after(taken, tmp_path):
    drawn(tmp_path, {(1, 1): tmp_path / "psnr_by_block.csv"})


def test_the_caption_says_what_stands_under_the_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [("input", 0, "a_", INF), ("input", 0, "b", 20.0), ("before", 1, "a_", 30.0), ("before", 1, "b", 21.0)]
    rows += [("after", 1, "a_", 31.0), ("after", 1, "b", 22.0)]
    psnr_by_block(tmp_path / "1.csv", rows, haarpsi=0.5)
    (tmp_path / "psnr_by_block.md").write_text(as_markdown(by_block({(1, 2): tmp_path / "1.csv"}), "demo", 1))
    page = caption("psnr_by_block", output={"csv": "psnr_by_block.csv"})
    assert "a_" in page and "HaarPSI" in page and "no border cut" in page and "Before" in page
    assert all(len(caption(name)) > 200 for name in ("blocks", "residuals"))
