"""Whole images and tiles."""

import numpy as np
import pytest
import torch

from conftest import picture
from multiblock.data.imageset import SPLITS, ImageSet
from multiblock.inference import tiles
from multiblock.inference.cache import generate
from multiblock.model.chain import Chain
from multiblock.plan import Block
from multiblock.runtime import memory
from multiblock.training.start import _initialise
from test_imageset import write

CPU = torch.device("cpu")
TOY = Block(network="toy", options={"channels": 8, "depth": 4})


def chain(*specs: Block, clamp: bool = True) -> Chain:
    torch.manual_seed(0)
    made = Chain.build(specs, [clamp] * len(specs))
    for block in made.blocks.values():
        _initialise(block, "normal")
    return made


@pytest.mark.parametrize("size", [(70, 93), (41, 200), (64, 64)])
def test_tiles_give_the_same_as_the_whole_image(size):
    image, network = picture(*size), chain(TOY, TOY)
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


def test_float16_inputs():
    image = picture()
    network = chain(TOY)
    low = tiles.run(network, (image / 255).astype(np.float16), CPU, 4)
    assert np.abs(low - tiles.run(network, image, CPU, 4)).max() < 0.01


@pytest.mark.parametrize("cache", ["uint8", "float16"])
def test_generate_runs_whole_images_of_all_splits(tmp_path, cache):
    network, sizes = chain(TOY, clamp=False), [(33, 47), (40, 41)]
    network.blocks["1"].to_rgb.bias.data += 0.5  # beyond 1
    network.save(tmp_path / "weights.safetensors")
    pictures = [picture(*size, seed=seed) for seed, size in enumerate(sizes)]
    for split in SPLITS:
        write(tmp_path / "LR" / f"{split}.npy", pictures)
    generate(
        files={1: tmp_path / "weights.safetensors"},
        inputs=tmp_path / "LR",
        out=tmp_path / "LR_1",
        cache=cache,
        device=CPU,
        memory_gib=4,
    )
    for split in SPLITS:
        made = ImageSet(tmp_path / "LR_1" / f"{split}.npy")
        for pixels, image in zip(made, pictures, strict=True):
            expected = tiles.run(network, image, CPU, 4)
            assert pixels.dtype == cache and pixels.shape == image.shape
            if cache == "uint8":  # rounded, not cut off
                assert np.array_equal(pixels, np.floor(expected.clip(0, 1).astype(float) * 255 + 0.5))
            else:
                assert np.abs(pixels - expected).max() < 2e-3 and (pixels > 1).any()


def test_tiles_of_a_network_that_halves_its_maps_begin_on_its_grid(monkeypatch):
    class Halving(torch.nn.Module):
        output_layer, receptive_field, scale, grid = "c", 9, 1, 4

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(1))

        def forward(self, x):
            coarse = torch.nn.functional.avg_pool2d(x * self.weight, 4, ceil_mode=True)
            return torch.nn.functional.interpolate(coarse, scale_factor=4)[:, :, : x.shape[2], : x.shape[3]]

    block = Halving()
    image = torch.rand(1, 3, 90, 77)
    whole = block(image)
    monkeypatch.setattr(memory, "per_pixel", lambda _: 2**30 / 1000)
    assert torch.allclose(tiles._in_tiles(block, image, 1.0), whole, atol=1e-6)
