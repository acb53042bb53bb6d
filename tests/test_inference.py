"""Whole images, tiles and regions: a picture in parts is the picture made at once; and the self-ensemble."""

import logging
import math
import re
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from conftest import picture
from multiblock.data.imageset import SPLITS, to_bytes
from multiblock.data.resize import enlarge
from multiblock.errors import UserError
from multiblock.inference import tiles
from multiblock.inference.cache import generate
from multiblock.inference.evaluation import evaluate
from multiblock.model.chain import Chain
from multiblock.networks.registry import NetworkSpec, describe
from multiblock.plan import Block
from multiblock.runtime import memory
from multiblock.training.starts import _draw_weights
from test_imageset import write

CPU = torch.device("cpu")
TOY = Block(network="toy", options={"channels": 8, "depth": 4})


def chain(*specs: Block, clamp: bool = True) -> Chain:
    torch.manual_seed(0)
    made = Chain.build(specs, [clamp] * len(specs))
    for block in made.blocks.values():
        _draw_weights(block, lambda weight: torch.nn.init.normal_(weight, std=0.1))
    return made


@pytest.mark.parametrize(
    ("size", "of"), [((70, 93), "convolutions"), ((41, 200), "convolutions"), ((90, 77), "a grid")]
)
def test_tiles_give_the_same_as_the_whole_image(size, of):
    image, network = picture(*size), coarse() if of == "a grid" else chain(TOY, TOY)
    whole = tiles.run(network, image, CPU, memory_gib=4)
    tiled = tiles.run(network, image, CPU, memory_gib=2000 * memory.per_pixel(network) / 2**30)
    assert whole.shape == (*size, 3)
    assert np.abs(whole - tiled).max() < 1e-5


def test_tiles_of_an_enlarging_block(tmp_path):
    file = tmp_path / "shuffle.py"
    file.write_text(
        "from torch import nn\n"
        "class Shuffle(nn.Module):\n"
        "    output_layer, receptive_field = 'c', 3\n"
        "    def __init__(self, *, scale: int = 3) -> None:\n"
        "        super().__init__()\n"
        "        self.c, self.s = nn.Conv2d(3, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale)\n"
        "    def forward(self, x):\n"
        "        return self.s(self.c(x))\n"
    )
    network, image = chain(Block(network=str(file), options={"scale": 3}), TOY), picture(50, 61)
    whole = tiles.run(network, image, CPU, memory_gib=4)
    tiled = tiles.run(network, image, CPU, memory_gib=0.0001)
    assert whole.shape == tiled.shape == (150, 183, 3)
    assert np.abs(whole - tiled).max() < 1e-5


def test_no_row_is_lost_and_the_clamp_is_the_block_s():
    image = picture(33, 47)
    assert tiles.run(chain(TOY), image, CPU, 4).shape == (33, 47, 3)
    free = tiles.run(chain(TOY, clamp=False), image, CPU, 4)
    cut = tiles.run(chain(TOY), image, CPU, 4)
    assert free.max() > 1 or free.min() < 0
    assert np.array_equal(free.clip(0, 1), cut)


def test_sets_and_measurements_say_what_was_made_in_tiles(tmp_path, caplog):
    gated = chain(Block(network="mcan", options={"channels": 4, "residual_blocks": 1}))
    gated.save(tmp_path / "weights.safetensors")
    for split in SPLITS:
        write(tmp_path / "LR" / f"{split}.npy", [picture(70, 60), picture(20, 20)])
    room = 1000 * memory.per_pixel(gated.blocks["1"]) / 2**30
    common = {"device": CPU, "memory_gib": room}
    with caplog.at_level(logging.INFO):
        weights = {1: tmp_path / "weights.safetensors"}
        generate(files=weights, inputs=tmp_path / "LR", out=tmp_path / "LR_1", cache="uint8", **common)
    wanted = (
        r"LR_1/test: made in tiles for want of memory, overlap \d pixels: image0 \(\d+\); warning: ChannelGate saw a"
    )
    assert re.search(wanted, caplog.text)
    lr = tmp_path / "LR" / "test.npy"
    evaluate(
        **common,
        phase=1,
        first=1,
        last=1,
        weights=tmp_path / "weights.safetensors",
        lr=lr,
        cached=lr,
        hr=lr,
        border=0,
        table=tmp_path / "psnr.csv",
        pictures=tmp_path / "images",
    )
    counts = pd.read_csv(tmp_path / "psnr.csv").tiles.tolist()
    assert counts[:2] == [1, 1] and counts[2] > 1 and counts[3] == 1


RCAN = Block(network="rcan", options={"scale": 2, "channels": 4, "groups": 8, "blocks": 8, "reduction": 2})
"""A receptive field of hundreds of pixels: half of it is more than a tile that memory holds."""


def sizes_of_tiles(network: Chain, monkeypatch) -> list[int]:
    """Pixels of each image that a block is run on."""
    seen = []
    for block in network.blocks.values():
        forward = block.forward
        monkeypatch.setattr(
            block, "forward", lambda x, forward=forward: seen.append(x.shape[2] * x.shape[3]) or forward(x)
        )
    return seen


@pytest.mark.parametrize("pixels", [500, 2000, 5000])
def test_tiles_never_need_more_memory_than_is_allowed_nor_much_more_work(pixels, monkeypatch):
    network = chain(RCAN)
    assert describe(network.blocks["1"]).receptive_field // 2 == 140
    allowed = pixels * memory.per_pixel(network.blocks["1"]) / 2**30
    seen = sizes_of_tiles(network, monkeypatch)
    made, tiling = tiles.infer(network, picture(120, 100), CPU, allowed)
    assert made.shape == (240, 200, 3)
    side = max(int((pixels / memory.GAPS) ** 0.5), tiles._SMALLEST_TILE)
    assert max(seen) <= side**2 and tiling.tiles == len(seen) > 1
    assert sum(seen) <= 4 * 120 * 100
    assert tiling.overlap == min(tiles.OVERLAP, side // 4)


def test_how_a_picture_was_made_is_known():
    gated = chain(Block(network="mcan", options={"channels": 4, "residual_blocks": 1}), TOY)
    room = 1000 * memory.per_pixel(gated.blocks["1"]) / 2**30
    _, tiling = tiles.infer(gated, picture(60, 50), CPU, room)
    assert tiling.tiles > 1 and tiling.pools == ("ChannelGate",)
    assert str(
        tiling
    ) == f"{tiling.tiles} tiles, overlap {tiling.overlap} pixels; ChannelGate saw a tile in place of " + ("the image")
    assert "ChannelGate saw a tile in place of the image" in tiles.summary({"a": tiling})
    _, plain = tiles.infer(chain(TOY), picture(60, 50), CPU, room)
    assert plain.tiles > 1 and plain.pools == () and "saw" not in tiles.summary({"a": plain, "b": tiles.Tiling()})
    _, whole = tiles.infer(gated, picture(60, 50), CPU, 4)
    assert str(whole) == "whole image" and tiles.summary({"a": whole}) is None


def test_regions_reuse_their_memory_and_whole_images_are_not_cut_for_it(monkeypatch):
    """New pages for each map of a region took twice as long as what was computed on them."""
    kept = []
    monkeypatch.setattr(memory, "exact", lambda: kept.append("exact") or nullcontext())
    network, image = chain(TOY), picture(150, 150)
    image_gib = 1.5 * 150 * 150 * memory.per_pixel(network.blocks["1"]) / 2**30
    _, tiling = tiles.infer(network, image, CPU, image_gib)
    assert tiling.tiles == 1 and kept == ["exact"]
    _, tiling = tiles.infer(network, image, CPU, image_gib, part=True)
    assert tiling.tiles > 1 and kept == ["exact"]
    asked, infer = [], tiles.infer
    monkeypatch.setattr(tiles, "infer", lambda *given, part: asked.append(part) or infer(*given, part=part))
    tiles.run_by_region(network, to_bytes(image), CPU, 4)
    tiles.run_by_region(network, to_bytes(image), CPU, 150 * 100 * tiles._BYTES / tiles._SHARE / 2**30)
    assert asked[0] is False and len(asked) > 2 and all(asked[1:])


def test_instance_norm_is_named_too():
    block = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), torch.nn.InstanceNorm2d(3))
    block.scale, block.receptive_field, block.output_layer = 1, 1, "0"
    with torch.inference_mode():
        _, tiling = tiles._through(block.eval(), torch.rand(1, 3, 80, 80), 0.00001)
    assert tiling.tiles > 1 and tiling.pools == ("InstanceNorm2d",)


class Full(torch.nn.Module):
    """A block that a device's memory holds up to so many pixels, whatever was counted."""

    scale, receptive_field, output_layer = 1, 3, "c"

    def __init__(self, holds: int):
        super().__init__()
        self.c, self.holds, self.tried = torch.nn.Conv2d(3, 3, 3, padding=1), holds, []

    def forward(self, x):
        self.tried.append(x.shape[2] * x.shape[3])
        if 64 * 64 != self.tried[-1] > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return self.c(x)


def test_out_of_memory_halves_the_tile_and_goes_on(caplog):
    block, image = Full(3000), torch.rand(1, 3, 100, 100)
    with torch.inference_mode():
        made, tiling = tiles._through(block, image, 4)
        assert torch.allclose(made, block.c(image), atol=1e-6)
    assert block.tried[1] == 10_000 and max(block.tried[3:]) <= 3000 and tiling.tiles > 1
    assert "out of memory with tiles of 10000 pixels: tried again with half" in caplog.text


def test_where_nothing_fits_one_line_says_so():
    with pytest.raises(UserError, match="out of memory: not even a tile of 16 x 16 pixels of an image of 90 x 100"):
        tiles._through(Full(10), torch.rand(1, 3, 100, 90), 4)


def test_other_errors_are_no_want_of_memory():
    class Broken(Full):
        def forward(self, x):
            if x.shape[2] != 64:
                raise RuntimeError("sizes differ")
            return self.c(x)

    with pytest.raises(RuntimeError, match="sizes differ"):
        tiles._through(Broken(10), torch.rand(1, 3, 100, 90), 4)


def test_a_gpu_holds_what_is_free(monkeypatch):
    gpu = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (70 * 2**30, 80 * 2**30))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 8 * 2**30)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 2 * 2**30)
    assert memory.room(gpu, 2.5) == 38 * 2**30
    assert memory.room(gpu, 60) == 60 * 2**30
    assert memory.room(CPU, 2.5) == 2.5 * 2**30


def test_training_that_runs_out_of_memory_ends_in_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 80 * 2**30))
    with pytest.raises(UserError) as said, memory.enough("batch 16 and patch 48", torch.device("cuda", 1)):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
    assert str(said.value) == (
        "out of memory: GPU 1, of whose 80.0 GiB 1.0 are free, cannot train with batch 16 and patch 48; a smaller "
        "batch or patch takes less, as does accumulate: 2 (or auto) in this stage, with compile: never, which computes "
        "a batch in parts"
    )
    with pytest.raises(UserError, match="this machine cannot train with a"), memory.enough("a", CPU):
        torch.empty(2**50)
    with pytest.raises(RuntimeError, match="shapes"), memory.enough("a", CPU):
        raise RuntimeError("shapes")


def test_images_are_made_in_full_precision(monkeypatch):
    """Also where training is in TF32, which only a GPU computes."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    network, seen = chain(TOY), []
    network.blocks["1"].register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    tiles.run(network, picture(), CPU, 4)
    assert set(seen) == {False} and torch.backends.cudnn.allow_tf32


def test_a_network_with_coarse_maps_overlaps_by_more():
    """It sees far through them; yet at most by a quarter of the tile, so that memory holds."""
    spec = NetworkSpec(scale=1, receptive_field=761, output_layer="c", grid=16)
    plain = NetworkSpec(scale=1, receptive_field=761, output_layer="c")
    assert tiles.tiles_of(plain, 3000, 3000, 2000**2).margin == tiles.OVERLAP
    assert tiles.tiles_of(spec, 3000, 3000, 2000**2).margin == 384
    small = tiles.tiles_of(spec, 3000, 3000, 900**2)
    assert small.margin == 224 and small.pixels <= 900**2


# -- Regions, and the self-ensemble ------------------------------------------------------------------------------------

SMALL = Block(network="toy", options={"channels": 8, "depth": 3})
DOUBLES = Block(network="srresnet", options={"scale": 2, "channels": 8, "blocks": 2})
SMALL_GIB = 64 * 64 * 48 * 4 / 2**30
"""Memory whose quarter holds the floats of a region of 64 x 64 pixels."""


def plain_chain(*blocks: Block, clamp: bool = True) -> Chain:
    torch.manual_seed(1)
    return Chain.build(blocks, [clamp] * len(blocks)).eval()


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


def coarse() -> Chain:
    torch.manual_seed(1)
    return Chain([SMALL], [False], [Coarse()]).eval()


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


@pytest.mark.parametrize(
    "network", [plain_chain(SMALL, SMALL), plain_chain(DOUBLES), coarse()], ids=["keeps", "enlarges", "grid"]
)
def test_the_ensemble_is_the_mean_of_a_plain_loop(network):
    image = picture(50, 37) / np.float32(255)
    made, _ = tiles.run_by_region(network, image.astype(np.float32), CPU, 2.5, ensemble=True)
    expected = ensemble_by_hand(network, image).clip(0, 1)
    assert np.abs(made - expected).max() < 2e-6
    once, _ = tiles.run_by_region(network, image.astype(np.float32), CPU, 2.5)
    assert np.abs(made - once).max() > 1e-4  # it is another picture


@pytest.mark.parametrize("ensemble", [False, True])
@pytest.mark.parametrize(
    "network", [plain_chain(SMALL, SMALL), plain_chain(DOUBLES), coarse()], ids=["keeps", "enlarges", "grid"]
)
def test_regions_leave_no_seam(network, ensemble):
    """Also where neither side is a multiple of the grid, so that a mirrored picture has its grid elsewhere."""
    image = (picture(139, 205) / np.float32(255)).astype(np.float32)
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
    network = plain_chain(SMALL)
    for parameter in network.parameters():
        parameter.data.zero_()
    image = picture(101, 67).astype(dtype) * (257 if dtype == np.uint16 else 1)
    monkeypatch.setattr(tiles, "_SHARE", 0.25 * SMALL_GIB / 2.5)
    made, tiling = tiles.run_by_region(network, image, CPU, 2.5, enlarge=scale)
    assert tiling.tiles > 1 and made.dtype == dtype
    assert np.abs(made.astype(int) - enlarge(image, scale)).max() <= (1 if dtype == np.uint16 else 0)


@pytest.mark.parametrize("ensemble", [False, True])
def test_progress_adds_up_to_one(ensemble, monkeypatch):
    monkeypatch.setattr(tiles, "_SHARE", 0.25 * SMALL_GIB / 2.5)
    steps: list[float] = []
    tiles.run_by_region(plain_chain(SMALL), picture(139, 205), CPU, 2.5, ensemble=ensemble, step=steps.append)
    assert len(steps) >= 6 * (8 if ensemble else 1) and math.isclose(sum(steps), 1)


def test_gray_stays_gray():
    made, _ = tiles.run_by_region(plain_chain(SMALL), picture()[..., :1], CPU, 2.5)
    expected, _ = tiles.run_by_region(
        plain_chain(SMALL), np.repeat(picture()[..., :1], 3, axis=2) / np.float32(255), CPU, 2.5
    )
    assert made.shape == (48, 56, 1)
    assert np.abs(made[..., 0] / 255 - expected.mean(axis=2)).max() < 0.5 / 255 + 1e-6
