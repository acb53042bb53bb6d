"""Chains and the files that keep them."""

import re

import pytest
import torch
from safetensors.torch import save_file

from multiblock.errors import UserError
from multiblock.model import chain
from multiblock.model.chain import Chain
from multiblock.plan import Block

SPECS = [
    Block(network="mcan", options={"channels": 4, "residual_blocks": 1}),
    Block(network="toy", options={"depth": 2}),
]


def build(first: int = 1) -> Chain:
    return Chain.build(SPECS, [True, False], first)


def test_a_chain_is_its_blocks_one_after_another():
    made, image = build(), torch.rand(1, 3, 12, 12) * 2 - 0.5
    one, two = made.blocks.values()
    assert torch.equal(made(image), two(one(image).clamp(0, 1)))
    assert made.part(2, 2)(image).allclose(two(image))


def test_a_file_gives_the_same_chain_back(tmp_path):
    made, image = build(first=2), torch.rand(1, 3, 12, 12)
    made.save(tmp_path / "w.safetensors")
    again = chain.load(tmp_path / "w.safetensors")
    assert (again.first, again.clamped, again.specs) == (2, [True, False], tuple(SPECS))
    assert torch.equal(made(image), again(image))


TIED = """
from torch import nn

class Tied(nn.Module):
    receptive_field, output_layer = 5, "last"

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.last.weight = self.first.weight

    def forward(self, x):
        return self.last(self.first(x))
"""


def test_layers_may_share_their_weights(tmp_path):
    (tmp_path / "tied.py").write_text(TIED)
    spec, image = Block(network=str(tmp_path / "tied.py")), torch.rand(1, 3, 12, 12)
    made = Chain.build([spec], [False])
    made.save(tmp_path / "w.safetensors")
    again = chain.load(tmp_path / "w.safetensors", [spec.network])
    assert torch.equal(made(image), again(image))
    assert again.blocks["1"].first.weight is again.blocks["1"].last.weight


def test_assemble_takes_each_block_from_its_own_file(tmp_path):
    files = {1: tmp_path / "a.safetensors", 2: tmp_path / "b.safetensors"}
    made = {number: build() for number in files}
    for number, file in files.items():
        made[number].save(file)
    both = chain.assemble(files)
    assert torch.equal(both.blocks["1"].head.weight, made[1].blocks["1"].head.weight)
    assert torch.equal(both.blocks["2"].to_rgb.weight, made[2].blocks["2"].to_rgb.weight)
    assert both.clamped == [True, False]


def test_files_that_are_no_chain(tmp_path):
    broken, foreign = tmp_path / "broken.safetensors", tmp_path / "foreign.safetensors"
    broken.write_bytes(b"not weights at all")
    save_file({"x": torch.zeros(1)}, foreign)
    hinted = "cannot be read as weights: .*`multiblock import` turns weights of others into ours"
    for file, says in ((broken, hinted), (foreign, "not of a chain"), (tmp_path / "no", "cannot")):
        with pytest.raises(UserError, match=f"{re.escape(str(file))}: .*{says}"):
            chain.load(file)
