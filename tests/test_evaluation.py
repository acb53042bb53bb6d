"""Measuring a phase on its test images, and weights on a folder of images."""

import contextlib
import csv
import logging
import math
import re

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import picture
from multiblock.cli import main
from multiblock.data import images
from multiblock.data.imageset import ImageSet, as_float
from multiblock.errors import UserError
from multiblock.inference import evaluation
from multiblock.inference.evaluation import evaluate
from multiblock.inference.measures import gmsd, haarpsi
from multiblock.inference.metrics import psnr_rgb
from multiblock.model.chain import Chain
from multiblock.plan import Block
from multiblock.runtime.device import choose
from multiblock.training.validation import Validation
from test_imageset import write

CPU = torch.device("cpu")
BLACK = np.zeros((48, 56, 3), np.uint8)


def soften(image: np.ndarray) -> np.ndarray:
    return ((image.astype(int) + np.roll(image, 1, 0)) // 2).astype(np.uint8)


def copying(file, blocks: int = 1, shifts: dict[int, float] | None = None) -> Chain:
    """Blocks that copy their input; ``shifts`` adds a constant to what a block makes."""
    chain = Chain.build([Block(network="toy", options={"depth": 2})] * blocks, [True] * blocks)
    for parameter in chain.parameters():
        parameter.data.zero_()
    for block, shift in (shifts or {}).items():
        chain.blocks[str(block)].to_rgb.bias.data += shift
    chain.save(file)
    return chain


def overflowing(file) -> Chain:
    """A network of finite weights whose output is no number: infinity less infinity."""
    chain = Chain.build([Block(network="toy", options={"channels": 2, "depth": 3})], [True])
    network = chain.blocks["1"]
    for parameter in network.parameters():
        parameter.data.zero_()
    network.layers[0].bias.data += 3e38
    network.layers[1].weight.data[[0, 1], [0, 1], 1, 1] = 10  # both channels are infinite now
    network.to_rgb.weight.data[:, :, 1, 1] = torch.tensor([1.0, -1.0])
    chain.save(file)
    return chain


def run_evaluate(folder, *, first, last, lr, hr, cached=None, phase=2, measures=()) -> pd.DataFrame:
    write(folder / "hr.npy", hr)
    write(folder / "lr.npy", lr)
    if cached:
        write(folder / "cached.npy", cached)
    evaluate(
        phase=phase,
        first=first,
        last=last,
        weights=folder / "weights.safetensors",
        lr=folder / "lr.npy",
        cached=folder / ("cached.npy" if cached else "lr.npy"),
        hr=folder / "hr.npy",
        border=1,
        device=CPU,
        memory_gib=4,
        table=folder / "psnr.csv",
        pictures=folder / "images",
        measures=measures,
    )
    return pd.read_csv(folder / "psnr.csv", dtype={"phase": str})


@pytest.mark.parametrize("cached", [False, True])
def test_evaluate_puts_the_input_first(tmp_path, cached):
    sharp = [picture(seed=seed) for seed in (1, 2)]
    soft = [soften(image) for image in sharp]
    copying(tmp_path / "weights.safetensors", 2)
    first = 2 if cached else 1
    table = run_evaluate(tmp_path, first=first, last=2, lr=soft, hr=sharp, cached=sharp if cached else None)
    assert table.phase.tolist() == ["input", "input", "2", "2"]
    assert table.image.tolist() == ["image0", "image1"] * 2
    before, after = table[table.phase == "input"], table[table.phase == "2"]
    assert np.allclose(before.psnr_rgb_composed, after.psnr_rgb_composed)
    assert np.isinf(after.psnr_rgb_staged).all() == cached
    assert np.array_equal(images.read(tmp_path / "images" / "image0.png"), soft[0])


@pytest.mark.parametrize(("first", "last"), [(1, 1), (2, 2), (1, 2), (2, 3), (1, 3)])
def test_composed_is_all_that_the_file_holds_and_staged_the_span_alone(tmp_path, first, last):
    sharp = [picture(seed=1) // 2 + 20]  # nothing is cut off by a clamp
    shifts = {1: 0.01, 2: 0.02, 3: 0.04}
    copying(tmp_path / "weights.safetensors", 3, shifts)
    table = run_evaluate(tmp_path, first=first, last=last, lr=sharp, hr=sharp, cached=sharp).iloc[-1]
    alone = sum(shift for block, shift in shifts.items() if first <= block <= last)
    assert table.psnr_rgb_composed == pytest.approx(-20 * math.log10(0.07), abs=1e-3)
    assert table.psnr_rgb_staged == pytest.approx(-20 * math.log10(alone), abs=1e-3)
    made = images.read(tmp_path / "images" / "image0.png").astype(int)
    assert np.abs(made - sharp[0] - 0.07 * 255).max() <= 1


def test_a_network_that_makes_no_numbers_is_an_error_that_names_image_and_network(tmp_path):
    overflowing(tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="image0, as .*weights.safetensors makes it: found pixels that are not finite"):
        run_evaluate(tmp_path, first=1, last=1, lr=[picture()], hr=[picture(seed=1)])
    assert not (tmp_path / "psnr.csv").exists()


@pytest.mark.parametrize(("shift", "gain"), [(0.0, "+0.000 dB"), (0.2, "-")])
def test_one_black_frame_does_not_rule_the_gain(tmp_path, caplog, shift, gain):
    sharp = [BLACK, picture(seed=1), picture(seed=2)]
    copying(tmp_path / "weights.safetensors", 1, {1: shift})
    with caplog.at_level(logging.INFO):
        table = run_evaluate(tmp_path, first=1, last=1, lr=[soften(image) for image in sharp], hr=sharp, phase=1)
    assert table.psnr_rgb_composed.tolist()[0] == math.inf
    line = next(line for line in caplog.messages if "over the input" in line)
    assert line.startswith(f"phase 1: {gain}") and "mean of 2 test images" in line and "inf" not in line
    assert any(line.endswith("image0") and "left out" in line for line in caplog.messages)
    assert any("BELOW NO NETWORK" in line for line in caplog.messages) == (shift > 0)


@pytest.fixture
def validation(tmp_path):
    """Validation images, the first of them black."""
    hr = [BLACK, picture(seed=1)]
    for folder, shown in (("HR", hr), ("LR", [soften(image) for image in hr])):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "validation.npy", shown)
    sets = (ImageSet(tmp_path / folder / "validation.npy") for folder in ("LR", "HR"))
    return Validation(*sets, tmp_path / "LR", memory_gib=4)


@pytest.mark.parametrize("shift", [0.0, 0.001, 0.2])
def test_a_black_validation_image_decides_nothing(tmp_path, validation, caplog, shift):
    device = choose("cpu", "float32", 0, 1)
    network = copying(tmp_path / "w.safetensors", 1, {1: shift})
    made = as_float(soften(picture(seed=1))) + np.float32(shift)
    expected = psnr_rgb(made.clip(0, 1), as_float(picture(seed=1)))
    assert validation.psnr(network, device) == pytest.approx(expected, abs=1e-3)
    plain = psnr_rgb(as_float(soften(picture(seed=1))), as_float(picture(seed=1)))
    assert validation.psnr_without_network() == pytest.approx(plain)
    assert [line for line in caplog.messages if line.endswith("left out of the mean: image0")] == caplog.messages


def test_a_validation_image_that_is_not_a_number_is_named(tmp_path, validation):
    with pytest.raises(UserError, match="what is made of validation image image0: found pixels that are not finite"):
        validation.psnr(overflowing(tmp_path / "w.safetensors"), choose("cpu", "float32", 0, 1))


# -- multiblock evaluate -----------------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    """A copying network, HR and LR of two good images."""
    copying(tmp_path / "w.safetensors")
    for name, seed in (("a", 1), ("b", 2)):
        images.write(tmp_path / "hr" / f"{name}.png", picture(seed=seed))
        images.write(tmp_path / "lr" / f"{name}.png", soften(picture(seed=seed)))
    return tmp_path


def score(folder, *more: str) -> int:
    plain = [str(folder / "w.safetensors"), "--hr", str(folder / "hr"), "--lr", str(folder / "lr"), "--device", "cpu"]
    return main(["evaluate", *plain, *more])


@pytest.mark.parametrize(
    "arguments",
    [("--border", "-5"), ("--scale", "5"), ("--memory-gib", "nan"), ("--lr-name", "{}x2"), ("--lr-name", "{name!r}")],
)
def test_the_command_line_has_bounds(folders, capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        score(folders, *arguments)
    assert ended.value.code == 2
    assert f"argument {arguments[0]}: found" in capsys.readouterr().err


def test_the_good_images_are_kept_where_one_is_bad(folders, capsys):
    for kind in ("hr", "lr"):
        images.write(folders / kind / "small.png", picture(10, 60))
    (folders / "lr" / "b.png").write_text("no picture")
    assert score(folders, "-o", str(folders / "out" / "scores.csv")) == 1
    printed = capsys.readouterr()
    assert "mean of 1 image " in printed.out and "inf" not in printed.out
    assert printed.err.startswith("multiblock: error: 2 of 3 images cannot be scored; the others are scored above: ")
    assert "lr/b.png: cannot be read" in printed.err and "hr/small.png: found 60 x 10 pixels" in printed.err
    assert printed.err.count("\n") == 1
    rows = list(csv.DictReader((folders / "out" / "scores.csv").open()))
    assert [(row["image"], row["what"]) for row in rows] == [("a", "input"), ("a", "network")]
    assert list(rows[0]) == ["image", "what", "psnr_rgb", "psnr_y", "ssim_y", "psnr_rgb8"]


def test_measures_of_perceived_quality_are_taken_where_asked(folders, capsys):
    assert score(folders, "--measures", "haarpsi", "gmsd", "haarpsi", "-o", str(folders / "scores.csv")) == 0
    rows = list(csv.DictReader((folders / "scores.csv").open()))
    assert list(rows[0])[-3:] == ["psnr_rgb8", "gmsd", "haarpsi"] and len(rows) == 4
    cut = [image[1:-1, 1:-1] for image in (soften(picture(seed=2)), picture(seed=2))]
    for row in rows[2:]:  # the network copies its input
        assert float(row["gmsd"]) == pytest.approx(gmsd(*cut)) and float(row["haarpsi"]) == pytest.approx(haarpsi(*cut))
    shown = capsys.readouterr().out
    mean = sum(float(row["haarpsi"]) for row in rows[::2]) / 2
    assert re.search(rf"HaarPSI ↑, 8 bits, border 1 +{mean:.4f} +{mean:.4f}", shown) and "GMSD ↓" in shown


@pytest.mark.parametrize(("out", "says"), [("hr/a.png", "names that end in .csv"), ("w.safetensors/x.csv", "exists")])
def test_a_table_that_cannot_be_written_is_found_out_first(folders, capsys, monkeypatch, out, says):
    monkeypatch.setattr(evaluation, "score", lambda *_: pytest.fail("it has begun"))
    before = (folders / "hr" / "a.png").read_bytes()
    assert score(folders, "-o", str(folders / out)) == 1
    assert says in capsys.readouterr().err
    assert (folders / "hr" / "a.png").read_bytes() == before


def test_a_table_that_cannot_be_written_any_more_is_shown_all_the_same(folders, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "scores.csv")

    monkeypatch.setattr("multiblock.cli.evaluate.write_text", full)
    assert score(folders, "-o", str(folders / "scores.csv")) == 1
    printed = capsys.readouterr()
    assert "PSNR RGB, floats" in printed.out and "No space left" in printed.err


def test_what_is_done_is_kept_when_it_is_stopped(folders, monkeypatch, capsys):
    def stopped(network, image, *_):
        if stopped.calls:
            raise KeyboardInterrupt
        stopped.calls += 1
        return image / np.float32(255)

    stopped.calls = 0
    monkeypatch.setattr(evaluation.tiles, "run", stopped)
    with contextlib.suppress(KeyboardInterrupt):
        score(folders, "-o", str(folders / "scores.csv"))
    assert "mean of 1 image " in capsys.readouterr().out
    assert len(list(csv.DictReader((folders / "scores.csv").open()))) == 2


def test_images_that_equal_hr_are_named(folders, capsys):
    for kind in ("hr", "lr"):
        images.write(folders / kind / "NA.png", BLACK)
    assert score(folders, "-o", str(folders / "scores.csv")) == 0
    printed = capsys.readouterr().out
    assert "without NA, where input or result equals HR" in printed and "inf " not in printed
    rows = list(csv.DictReader((folders / "scores.csv").open()))
    assert [row["psnr_rgb"] for row in rows if row["image"] == "NA"] == ["inf", "inf"]
    for name in ("a", "b"):
        for kind in ("hr", "lr"):
            (folders / kind / f"{name}.png").unlink()
    assert score(folders) == 0
    assert capsys.readouterr().out.count("identical") == 6


def test_a_network_that_makes_no_numbers_scores_nothing(folders, capsys):
    overflowing(folders / "w.safetensors")
    assert score(folders, "-o", str(folders / "scores.csv")) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1 and "PSNR not recorded" in printed.out
    assert "nothing is scored" in printed.err and "not finite" in printed.err
    assert not (folders / "scores.csv").exists()


def test_names_of_lr_need_lr(folders, capsys):
    plain = ["evaluate", str(folders / "w.safetensors"), "--hr", str(folders / "hr"), "--device", "cpu"]
    assert main([*plain, "--scale", "2", "--lr-name", "{name}x2"]) == 1
    assert "--lr-name: names files of the folder --lr" in capsys.readouterr().err
