"""LR as cameras make it: the parts against right values, and that all of it follows from its generator."""

import json
import os
import signal
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from conftest import picture
from multiblock import cli, config
from multiblock.data import camera, images
from multiblock.data.camera import Anew, Camera, degrade, draw, kernel, noisy
from multiblock.data.convert import convert, enlarge
from multiblock.data.dataset import ImagePair
from multiblock.data.degradations import DEGRADATIONS
from multiblock.data.imageset import ImageSet
from multiblock.data.inspection import DatasetDigest
from multiblock.data.sampler import Sampler
from multiblock.errors import UserError
from multiblock.training.ranks import Ranks
from multiblock.training.trainer import Trainer
from test_imageset import write
from test_sources import data
from test_training import run, same, task

NOTHING = Camera(blur=(0.0, 0.0), noise=(0.0, 0.0), jpeg=(100.0, 100.0), second=0.0)
ORDER = draw(Camera(second=0.0), np.random.default_rng(0))[0]


def seeded(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


class TestParts:
    """Blur, noise and JPEG, each by itself."""

    def test_a_round_blur_is_the_gaussian_of_scipy(self):
        image = picture(600, 40)  # of more rows than are done at a time
        made = camera.blurred(image, kernel(replace(ORDER, blur="isotropic", deviations=(1.7, 1.7))))
        right = gaussian_filter(image.astype(float), (1.7, 1.7, 0), radius=(6, 6, 0), mode="reflect")
        assert np.abs(made - right).max() <= 0.51

    @pytest.mark.parametrize("blur", camera.BLURS)
    def test_each_has_energy_1_and_the_deviations_that_it_says(self, blur):
        one, other = (3, 1.5) if blur == "anisotropic" else (2.5, 2.5)
        weights = kernel(replace(ORDER, blur=blur, deviations=(one, other), angle=0.3))
        y, x = np.mgrid[: len(weights), : len(weights)] - len(weights) // 2
        spread = [[(weights * a * b).sum() for a in (x, y)] for b in (x, y)]
        assert weights.sum() == pytest.approx(1, abs=1e-6) and weights.min() >= 0
        values, vectors = np.linalg.eigh(spread)
        assert np.sqrt(values) == pytest.approx([other, one], rel=0.04)  # cut off after three of them
        if blur == "anisotropic":
            assert abs(vectors[:, 1] @ [np.cos(0.3), np.sin(0.3)]) == pytest.approx(1, abs=1e-3)

    def test_noise_has_its_level(self):
        levels = {grey: np.full((300, 300, 3), grey, np.uint8) for grey in (40, 128)}
        for grey, level in ((40, 10), (128, 10)):
            found = noisy(levels[grey], "gaussian", level, seeded()).std()
            assert found == pytest.approx(level, rel=0.02)
        for grey, level in ((40, 10 * np.sqrt(40 / 127.5)), (128, 10)):
            assert noisy(levels[grey], "shot", 10, seeded()).std() == pytest.approx(level, rel=0.02)

    def test_what_is_demosaicked_has_the_noise_of_means_of_its_neighbours(self):
        made = noisy(np.full((300, 300, 3), 128, np.uint8), "demosaicked", 10, seeded()).astype(float)
        red = [made[y::2, x::2, 0].std() for y, x in ((0, 0), (0, 1), (1, 1))]
        green = [made[y::2, x::2, 1].std() for y, x in ((0, 1), (0, 0))]
        assert red == pytest.approx([10, 10 / np.sqrt(2), 5], rel=0.04)
        assert green == pytest.approx([10, 5], rel=0.04)

    def test_demosaicking_keeps_what_changes_evenly(self):
        y, x = np.mgrid[:9, :12].astype(np.float32)
        plane = np.stack([3 * y + x, 50 - y, 2 * x], axis=2)
        made = camera.interpolated(plane)
        assert made[1:-1, 1:-1] == pytest.approx(plane[1:-1, 1:-1], abs=1e-4)
        assert np.array_equal(made[::2, ::2, 0], plane[::2, ::2, 0])

    def test_a_jpeg_loses_what_that_of_pillow_loses(self):
        image, losses = picture(96, 112), {}
        for quality in (30, 60, 95):
            file = BytesIO()
            Image.fromarray(image).save(file, "JPEG", quality=quality)
            both = camera.as_jpeg(image, quality), np.asarray(Image.open(file))
            losses[quality] = [np.square(image - made.astype(float)).mean() for made in both]
            assert losses[quality][0] == pytest.approx(losses[quality][1], rel=0.03)  # coefficients are rounded apart
        assert losses[30][0] > losses[60][0] > losses[95][0]
        assert camera.as_jpeg(image, 100) is image


class TestDegrade:
    """All of it, as it is drawn."""

    def test_what_draws_nothing_shrinks_alone(self):
        image, kinds = picture(60, 84), set()
        for seed in range(12):
            made = degrade(image, 3, seeded(seed), NOTHING)
            kinds |= {
                way for way in camera.RESIZES if np.array_equal(made, Image.fromarray(image).resize((28, 20), way))
            }
        assert kinds == set(camera.RESIZES)

    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_the_same_generator_gives_the_same_bytes(self, scale):
        image = picture(24 * scale, 31 * scale)
        made = [degrade(image, scale, seeded(seed), Camera()) for seed in (1, 1, 2)]
        assert made[0].shape == (24, 31, 3) and made[0].dtype == np.uint8
        assert made[0].tobytes() == made[1].tobytes() != made[2].tobytes()

    def test_what_is_drawn_is_within_its_ranges(self):
        ranges = Camera(blur=(1.0, 3.0), resize=(0.7, 1.5), noise=(4.0, 8.0), jpeg=(50.0, 53.0), second=0.25)
        drawn = [draw(ranges, seeded(seed)) for seed in range(1000)]
        twice = [orders for orders in drawn if len(orders) == 2]
        assert 0.2 < len(twice) / 1000 < 0.3
        firsts, seconds = [orders[0] for orders in drawn], [orders[1] for orders in twice]
        for orders, share in ((firsts, 1), (seconds, 0.5)):
            for values, low, high in (
                ([order.deviations[0] for order in orders], 1, 1 + 2 * share),
                ([order.level for order in orders], 4, 4 + 4 * share),
            ):
                assert low <= min(values) < low + 0.05 * (high - low) < high - 0.05 * (high - low) < max(values) <= high
            assert {order.quality for order in orders} == {50, 51, 52, 53}
            assert {order.blur for order in orders} == set(camera.BLURS)
            assert {order.noise for order in orders} == set(camera.NOISES)
        assert all(0.7 <= first.side <= 1.5 and second.side == 1 for first, second in twice)
        assert all(orders[0].side == 1 for orders in drawn if len(orders) == 1)

    def test_each_item_has_a_draw_of_its_own(self, tmp_path):
        images.write(tmp_path / "one.png", picture())
        planned = data(tmp_path, scale=2, degradation="camera", train={"hr": "."}, validation=1, test={"hr": "."})
        make, names = DEGRADATIONS["camera"].make, ("one_001", "one_002", "one_001")
        made = [make(picture(), planned, ImagePair(name=name, hr=tmp_path / "one.png")) for name in names]
        assert np.array_equal(made[0], made[2]) and not np.array_equal(made[0], made[1])


class TestPatches:
    """Patches that are made of HR for each batch."""

    @pytest.mark.parametrize("enlarged", [1, 3])
    @pytest.mark.parametrize(("top", "left"), [(0, 0), (13, 22), (1, 29)])
    def test_a_patch_is_what_its_place_of_the_whole_image_becomes(self, enlarged, top, left):
        blurs = replace(NOTHING, blur=(2.0, 2.0))
        full = picture(120, 150)
        whole = degrade(full, 3, seeded(), blurs)
        whole = camera.enlarge(whole, 3) if enlarged == 3 else whole
        made = Anew(camera=blurs, scale=3, enlarged=enlarged).patch(full, top, left, 16, seeded())
        assert np.abs(made - whole[top : top + 16, left : left + 16].astype(int)).max() <= 1

    @pytest.fixture
    def sets(self, tmp_path) -> tuple[ImageSet, ImageSet]:
        low = [picture(9, 12), picture(15, 8, seed=1)]
        high = [pixels.repeat(2, 0).repeat(2, 1) for pixels in low]
        return write(tmp_path / "lr.npy", low), write(tmp_path / "hr.npy", high)

    @pytest.mark.parametrize("augment", ["all", "flips", "none"])
    def test_they_are_of_the_place_of_the_target_and_turned_alike(self, sets, monkeypatch, augment):
        monkeypatch.setattr(camera, "RESIZES", (Image.Resampling.BOX,))
        kept = Sampler(*sets, scale=2, seed=1, phase=1)
        made = Sampler(*sets, scale=2, seed=1, phase=1, anew=Anew(camera=NOTHING, scale=2))
        for pair in zip(kept.batch(3, 50, 5, augment), made.batch(3, 50, 5, augment), strict=True):
            assert torch.equal(*pair)
        assert made.about.endswith("mapped from disk, LR drawn anew")

    def test_each_row_of_each_iteration_has_a_draw_of_its_own(self, tmp_path):
        high = picture(16, 16)
        sets = write(tmp_path / "lr.npy", [high[::2, ::2]]), write(tmp_path / "hr.npy", [high])
        one, other = (Sampler(*sets, 2, 1, 1, anew=Anew(camera=Camera(), scale=2)) for _ in range(2))
        first, _ = one.batch(0, 4, 8, "none")  # of one place, as the image has one
        assert len({row.numpy().tobytes() for row in torch.cat([first, one.batch(1, 4, 8, "none")[0]])}) == 8
        other.batch(5, 4, 8, "none")
        assert torch.equal(other.batch(0, 4, 8, "none")[0], first)

    def test_each_of_several_processes_makes_its_rows_of_the_same_batch(self, sets):
        anew = Anew(camera=Camera(), scale=2)
        whole = Sampler(*sets, 2, 5, 1, anew=anew).batch(3, 5, 8)
        for rank in range(3):
            mine = Sampler(*sets, 2, 5, 1, rows=Ranks(rank, 3).rows, anew=anew).batch(3, 5, 8)
            assert all(torch.equal(a, b[rank::3]) for a, b in zip(mine, whole, strict=True))


HR = {"scale": 2, "degradation": "camera", "train": {"hr": "train/HR"}, "validation": 1, "test": {"hr": "test/HR"}}


def test_a_training_that_was_stopped_ends_with_the_same_bytes(pairs, tmp_path, monkeypatch):
    convert(data(pairs, **HR), pairs / "HR", pairs / "LR_0")
    enlarge(pairs / "LR_0", pairs / "LR", 2)
    anew, todo = Anew(camera=Camera(), scale=2, enlarged=2), task(8)
    whole = run(pairs, tmp_path / "whole", todo, anew=anew)
    iterate = Trainer._iterate

    def stopped(self: Trainer) -> None:
        iterate(self)
        if self.state.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Trainer, "_iterate", stopped)
        run(pairs, tmp_path / "stopped", todo, anew=anew)
    assert same(whole, run(pairs, tmp_path / "stopped", todo, anew=anew))
    (begun, resumed) = json.loads((tmp_path / "stopped" / "training.json").read_text())["segments"]
    assert (begun["from"], begun["to"], resumed["from"]) == (0, 5, 5)


class TestConfig:
    """The keys of ``data.camera``, and which phases they count for."""

    def test_only_phases_that_read_lr_0_make_patches_anew(self):
        study = config.load({"data": {**HR, "name": "mine"}})
        one, two, three, joint = (study.runs["mine"].anew(phase) for phase in (1, 2, 3, 4))
        assert one == joint == Anew(camera=Camera(), scale=2, enlarged=2) and two is three is None
        pairs = {**HR, "name": "mine", "train": {"hr": "train/HR", "lr": "train/LR"}}
        assert config.load({"data": pairs}).runs["mine"].anew(1) is None
        assert config.load({"data": {**HR, "name": "mine", "degradation": "random"}}).runs["mine"].anew(1) is None

    def test_ranges_count_and_defaults_are_the_same_written_or_not(self, tmp_path):
        def digest(**ranges: object) -> str:
            return str(DatasetDigest(data(tmp_path, **HR, **ranges)))

        same = digest(camera={"noise": [1, 30], "jpeg": [30, 95]})
        assert digest() == digest(camera={}) == same != digest(camera={"noise": [1, 29]})

    WRONG = (
        ({"noise": [9, 3]}, "data.camera.noise: found [9, 3]; allowed is the smaller number first"),
        ({"noise": [9]}, "data.camera.noise: found [9]; allowed are at least 2 entries"),
        ({"jpeg": [0, 50]}, "data.camera.jpeg, entry 1: found 0; allowed is at least 1"),
        ({"second": 1.5}, "data.camera.second: found 1.5; allowed is at most 1"),
        ({"blurr": [1, 2]}, "data.camera.blurr: unknown key; did you mean 'blur'?"),
    )

    @pytest.mark.parametrize(("ranges", "message"), WRONG)
    def test_what_is_wrong_is_said(self, tmp_path, ranges, message):
        with pytest.raises(UserError) as error:
            data(tmp_path, **HR, camera=ranges)
        assert str(error.value).startswith(message)

    def test_ranges_without_the_degradation_are_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"^data\.camera: found with degradation bicubic; allowed is it with"):
            data(tmp_path, **{**HR, "degradation": "bicubic"}, camera={})

    def test_what_is_not_measured_sizes_no_run(self):
        runs = {"one": {"chain": ["small"], "plan": [{"span": 1, "stages": "single"}]}}
        runs["two"] = {**runs["one"], "equal_to": {"run": "one", "in": "seconds"}}
        with pytest.raises(UserError, match=r"^runs\.two\.equal_to: found in: seconds, which do not count what degr"):
            config.load({"data": {**HR, "name": "mine"}, "compile": "never", "runs": runs})


class TestSheet:
    """``multiblock check --patches``."""

    @pytest.fixture
    def mine(self, tmp_path, monkeypatch) -> Path:
        monkeypatch.chdir(tmp_path)
        for place, side in (("train/HR", 120), ("test/HR", 120), ("phone", 60), ("small", 40)):
            for number in range(3):
                images.write(tmp_path / f"{place}/{number}.png", picture(side, side + 5, seed=number))
        Path("mine.yaml").write_text(json.dumps({"data": {**HR, "name": "mine"}}))
        return tmp_path

    def test_it_shows_patches_beside_hr_and_beside_pictures(self, mine, capsys):
        assert cli.main(["check", "mine.yaml", "--patches", "drawn.png"]) == 0
        assert capsys.readouterr().out == "wrote drawn.png: HR and LR of twenty patches\n"
        assert cli.main(["check", "mine.yaml", "--patches", "both.png", "--beside", "phone"]) == 0
        drawn, both = (images.read(mine / name) for name in ("drawn.png", "both.png"))
        assert both.shape[1] == drawn.shape[1] > 1500 and both.shape[0] > drawn.shape[0] > 1000
        assert (drawn < 250).any(axis=2).mean() > 0.5  # not a white sheet

    WRONG = (
        (["--patches", "mine.yaml"], "--patches: found mine.yaml; allowed is a name that ends in .png"),
        (["--patches", "there.png"], "there.png"),
        (["--beside", "phone"], "--beside: found without --patches FILE.png"),
        (
            ["--patches", "x.png", "--beside", "small"],
            "small/0.png: found 45 x 40 pixels; to show a patch, 48 x 48 are",
        ),
    )

    @pytest.mark.parametrize(("options", "message"), WRONG)
    def test_what_is_wrong_is_one_line(self, mine, capsys, options, message):
        images.write(mine / "there.png", picture())
        before = (mine / "there.png").read_bytes()
        assert cli.main(["check", "mine.yaml", *options]) == 1
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and message in said[0]
        assert (mine / "there.png").read_bytes() == before and not (mine / "x.png").exists()

    def test_without_the_degradation_there_is_nothing_to_show(self, mine, capsys):
        Path("mine.yaml").write_text(json.dumps({"data": {**HR, "name": "mine", "degradation": "bicubic"}}))
        assert cli.main(["check", "mine.yaml", "--patches", "x.png"]) == 1
        assert "--patches: data sets with degradation: camera: found none; exactly one" in capsys.readouterr().err
