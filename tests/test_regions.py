"""A picture region by region is the picture made at once, and the self-ensemble is the mean over its eight turns."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from conftest import picture
from multiblock.data.imageset import to_bytes
from multiblock.data.resize import enlarge
from multiblock.inference import tiles
from multiblock.model.chain import Chain
from multiblock.plan import Block

CPU = torch.device("cpu")
TOY = Block(network="toy", options={"channels": 8, "depth": 3})
DOUBLES = Block(network="srresnet", options={"scale": 2, "channels": 8, "blocks": 2})
SMALL_GIB = 64 * 64 * 48 * 4 / 2**30
"""Memory whose quarter holds the floats of a region of 64 x 64 pixels."""


class Coarse(nn.Module):
    """A network with a grid: each pixel, and the mean of the 4 x 4 that it lies in, fewer at the far edges."""

    scale, receptive_field, output_layer, grid = 1, 9, "last", 4

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        means = nn.functional.avg_pool2d(x, 4, ceil_mode=True, count_include_pad=False)
        wide = means.repeat_interleave(4, 2).repeat_interleave(4, 3)[..., : x.shape[2], : x.shape[3]]
        return self.last(x) * 0.3 + wide * 0.6


def chain(*blocks: Block, clamp: bool = True) -> Chain:
    torch.manual_seed(1)
    return Chain.build(blocks, [clamp] * len(blocks)).eval()


def coarse() -> Chain:
    torch.manual_seed(1)
    return Chain([TOY], [False], [Coarse()]).eval()


def by_hand(network: Chain, image: np.ndarray) -> np.ndarray:
    """What a network makes of floats (H, W, 3), at once."""
    with torch.inference_mode():
        x = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
        return network(x)[0].permute(1, 2, 0).numpy()


def ensemble_by_hand(network: Chain, image: np.ndarray) -> np.ndarray:
    """The plain loop: four rotations, each as it is and mirrored, brought back, and the mean."""
    made = []
    for quarter in range(4):
        for mirrored in (False, True):
            turned = np.rot90(image, quarter)
            turned = np.fliplr(turned) if mirrored else turned
            out = by_hand(network, np.ascontiguousarray(turned))
            made.append(np.rot90(np.fliplr(out) if mirrored else out, -quarter))
    return np.mean(np.array(made, dtype=np.float64), axis=0)


@pytest.mark.parametrize("network", [chain(TOY, TOY), chain(DOUBLES), coarse()], ids=["keeps", "enlarges", "grid"])
def test_the_ensemble_is_the_mean_of_a_plain_loop(network):
    image = picture(50, 37) / np.float32(255)
    made, _ = tiles.run_by_region(network, image.astype(np.float32), CPU, 2.5, ensemble=True)
    expected = ensemble_by_hand(network, image).clip(0, 1)
    assert np.abs(made - expected).max() < 2e-6
    once, _ = tiles.run_by_region(network, image.astype(np.float32), CPU, 2.5)
    assert np.abs(made - once).max() > 1e-4  # it is another picture


def test_it_is_rounded_once_at_the_end():
    network, image = chain(TOY, clamp=False), picture(31, 45)
    made, _ = tiles.run_by_region(network, image, CPU, 2.5, ensemble=True)
    expected = ensemble_by_hand(network, image / np.float32(255))
    near_half = np.abs(expected * 255 % 1 - 0.5) < 1e-3  # where the last bits of a sum decide
    assert np.array_equal(made[~near_half], to_bytes(expected)[~near_half])


def test_the_ensemble_does_not_depend_on_how_the_picture_lies():
    network, image = chain(TOY), (picture(50, 37) / np.float32(255)).astype(np.float32)
    made, _ = tiles.run_by_region(network, image, CPU, 2.5, ensemble=True)
    turned, _ = tiles.run_by_region(network, np.rot90(image).copy(), CPU, 2.5, ensemble=True)
    assert np.abs(np.rot90(made) - turned).max() < 1e-6


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize("network", [chain(TOY, TOY), chain(DOUBLES), coarse()], ids=["keeps", "enlarges", "grid"])
def test_regions_leave_no_seam(network, ensemble):
    """Also where neither side is a multiple of the grid, so that a mirrored picture has its grid elsewhere."""
    image = (picture(211, 301) / np.float32(255)).astype(np.float32)
    whole, tiling = tiles.run_by_region(network, image, CPU, 2.5, ensemble=ensemble)
    assert tiling.tiles == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "_SHARE", 0.25 * SMALL_GIB / 2.5)  # regions are small; tiles have all room
        parts, tiling = tiles.run_by_region(network, image, CPU, 2.5, ensemble=ensemble)
    assert tiling.tiles >= 6
    assert np.abs(whole - parts).max() < 2e-6


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_part_of_the_enlarged_picture_is_a_part_of_it(scale, dtype, monkeypatch):
    """A network that copies its input: what comes out is the picture, enlarged at once."""
    network = chain(TOY)
    for parameter in network.parameters():
        parameter.data.zero_()
    image = picture(101, 67).astype(dtype) * (257 if dtype == np.uint16 else 1)
    monkeypatch.setattr(tiles, "_SHARE", 0.25 * SMALL_GIB / 2.5)
    made, tiling = tiles.run_by_region(network, image, CPU, 2.5, enlarge=scale)
    assert tiling.tiles > 1 and made.dtype == dtype
    assert np.abs(made.astype(int) - enlarge(image, scale)).max() <= (1 if dtype == np.uint16 else 0)


def test_floats_are_enlarged_as_16_bits_are():
    network = chain(TOY)
    for parameter in network.parameters():
        parameter.data.zero_()
    image = picture(20, 30).astype(np.uint16) * 257
    made, _ = tiles.run_by_region(network, (image / np.float32(65535)).astype(np.float32), CPU, 2.5, enlarge=2)
    assert np.abs(made - enlarge(image, 2) / 65535).max() < 1e-6


@pytest.mark.parametrize("ensemble", [False, True])
def test_progress_adds_up_to_one(ensemble, monkeypatch):
    monkeypatch.setattr(tiles, "_SHARE", 0.25 * SMALL_GIB / 2.5)
    steps: list[float] = []
    tiles.run_by_region(chain(TOY), picture(211, 301), CPU, 2.5, ensemble=ensemble, step=steps.append)
    assert len(steps) >= 6 * (8 if ensemble else 1) and math.isclose(sum(steps), 1)


def test_gray_stays_gray():
    made, _ = tiles.run_by_region(chain(TOY), picture()[..., :1], CPU, 2.5)
    expected, _ = tiles.run_by_region(chain(TOY), np.repeat(picture()[..., :1], 3, axis=2) / np.float32(255), CPU, 2.5)
    assert made.shape == (48, 56, 1)
    assert np.abs(made[..., 0] / 255 - expected.mean(axis=2)).max() < 0.5 / 255 + 1e-6


def test_eight_turns_are_all_different_and_come_back():
    image = picture(5, 7)
    turned = [turn.of(image) for turn in tiles.ALL_TURNS]
    assert len({(one.shape, one.tobytes()) for one in turned}) == 8
    wanted = {np.rot90(side, quarter).tobytes() for quarter in range(4) for side in (image, np.fliplr(image))}
    assert {one.tobytes() for one in turned} == wanted
    for turn, one in zip(tiles.ALL_TURNS, turned, strict=True):
        assert np.array_equal(turn.back(one), image)
        part = (slice(1, 3), slice(2, 6))
        place = turn.place(part, image.shape[:2])
        assert np.array_equal(turn.back(one[place]), image[part])
        assert turn.place_back(place, image.shape[:2]) == part
