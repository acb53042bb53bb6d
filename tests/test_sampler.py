"""Batches as a pure function of (seed, phase, iteration)."""

import numpy as np
import pytest
import torch

from conftest import picture
from multiblock.data.imageset import ImageSet
from multiblock.data.sampler import Sampler, to_tensor
from multiblock.errors import UserError
from test_imageset import write


@pytest.fixture
def sets(tmp_path) -> tuple[ImageSet, ImageSet]:
    """LR whose pixels say where they are, and HR that repeats each of them twice."""
    low = []
    for number, (height, width) in enumerate([(9, 12), (15, 8), (8, 8)]):
        y, x = np.mgrid[:height, :width]
        low.append(np.stack([y, x, np.full_like(x, number)], axis=2).astype(np.uint8))
    high = [pixels.repeat(2, 0).repeat(2, 1) for pixels in low]
    return write(tmp_path / "lr.npy", low), write(tmp_path / "hr.npy", high)


def test_the_same_iteration_gives_the_same_batch(sets):
    one, two = (Sampler(*sets, scale=2, seed=3, phase=1) for _ in range(2))
    one.batch(4, 8, 5)
    for a, b in zip(one.batch(7, 8, 5), two.batch(7, 8, 5), strict=True):
        assert torch.equal(a, b)


def test_seed_phase_and_iteration_each_change_it(sets):
    batches = [
        Sampler(*sets, scale=2, seed=seed, phase=phase).batch(iteration, 8, 5)[0]
        for seed, phase, iteration in [(1, 1, 0), (2, 1, 0), (1, 2, 0), (1, 1, 1)]
    ]
    assert all(not torch.equal(batches[0], other) for other in batches[1:])


def test_input_and_target_show_the_same_place_turned_alike(sets):
    low, high = Sampler(*sets, scale=2, seed=1, phase=1).batch(0, 64, 5)
    assert low.shape == (64, 3, 5, 5) and high.shape == (64, 3, 10, 10)
    assert torch.equal(low.repeat_interleave(2, 2).repeat_interleave(2, 3), high)


def test_all_images_places_and_eight_turns_come_up(sets):
    low, _ = Sampler(*sets, scale=2, seed=1, phase=1).batch(0, 4000, 8)
    pixels = (low * 255).round().int()
    assert pixels[:, 2, 0, 0].bincount().min() > 1200
    tall = pixels[pixels[:, 2, 0, 0] == 1]
    assert set(tall[:, 0].amin((1, 2)).tolist()) == set(range(8))
    square = pixels[pixels[:, 2, 0, 0] == 2][:, :2]
    kinds = {tuple(view.flatten().tolist()) for view in square}
    assert len(kinds) == 8


@pytest.mark.parametrize("augment", ["all", "flips", "none"])
@pytest.mark.parametrize("dtype", ["uint8", "float16"])
def test_pixels_on_the_device_give_the_same_batches(tmp_path, dtype, augment):
    low, high = [picture(13, 17), picture(9, 30, seed=1)], [picture(26, 34), picture(18, 60, seed=1)]
    if dtype == "float16":
        low = [(pixels / 255).astype(dtype) for pixels in low]
    sets = write(tmp_path / "lr.npy", low, dtype), write(tmp_path / "hr.npy", high)
    mapped, resident = (Sampler(*sets, scale=2, seed=1, phase=1, resident=on) for on in (False, True))
    assert mapped.about.endswith("mapped from disk") and resident.about.endswith("on the device")
    for iteration in range(20):
        pairs = zip(mapped.batch(iteration, 8, 7, augment), resident.batch(iteration, 8, 7, augment), strict=True)
        for one, other in pairs:
            assert torch.equal(one, other) and one.dtype == torch.float32


def test_values_are_0_to_1():
    pixels = np.array([[[[0, 128, 255]]]], np.uint8)
    assert to_tensor(pixels).flatten().tolist() == pytest.approx([0, 128 / 255, 1])
    assert to_tensor((pixels / 255).astype(np.float16)).flatten().tolist() == pytest.approx([0, 128 / 255, 1], abs=1e-3)


def test_sets_that_do_not_belong_together(sets, tmp_path):
    with pytest.raises(UserError, match="where x3 is allowed"):
        Sampler(*sets, scale=3, seed=1, phase=1)
    with pytest.raises(UserError, match="holds 3 images; .* holds 1"):
        Sampler(sets[0], write(tmp_path / "one.npy", [picture()]), scale=2, seed=1, phase=1)
