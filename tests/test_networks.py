"""The networks: exact sizes, what they see, and blocks of third parties."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from multiblock.errors import UserError
from multiblock.model.chain import Chain
from multiblock.networks import registry
from multiblock.plan import Block
from multiblock.training.starts import starting_chain
from test_plan import plan

SIZES = {"mcan": (1_256_195, 71), "toy": (151_235, 13)}


@pytest.mark.parametrize("name", SIZES)
def test_the_studys_size_is_the_default(name):
    block = registry.build(name, {})
    assert (sum(p.numel() for p in block.parameters()), block.receptive_field) == SIZES[name]


def test_mcan_is_35_convolutions_deep():
    block = registry.build("mcan", {})
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in block.modules()) == 35


@pytest.mark.parametrize("name", SIZES)
def test_zeroing_the_output_layer_makes_it_a_copy(name):
    block = registry.build(name, {"channels": 4})
    for parameter in block.get_submodule(block.output_layer).parameters():
        torch.nn.init.zeros_(parameter)
    image = torch.rand(1, 3, 9, 9)
    assert torch.equal(block(image), image)


def test_a_block_of_a_third_party_is_one_file(tmp_path: Path):
    file = tmp_path / "my_block.py"
    file.write_text(
        "from torch import nn\n"
        "class MyBlock(nn.Module):\n"
        "    output_layer = 'conv'\n"
        "    receptive_field = 5\n"
        "    def __init__(self, *, width: int, scale: int = 2) -> None:\n"
        "        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 3 * scale**2, 5, padding=2)\n"
        "        self.shuffle = nn.PixelShuffle(scale)\n"
        "    def forward(self, x):\n"
        "        return self.shuffle(self.conv(x))\n"
    )
    assert registry.options(str(file)) == {"width": ("int", ...), "scale": ("int", 2)}
    block = registry.build(str(file), {"width": 4})
    assert block(torch.rand(1, 3, 6, 7)).shape == (1, 3, 12, 14)
    assert block.scale == 2
    with pytest.raises(UserError, match=re.escape("b.width: is missing")):
        registry.check_options(str(file), {}, "b")


def test_a_file_without_its_class(tmp_path: Path):
    file = tmp_path / "dense.py"
    file.write_text("class Other:\n    pass\n")
    with pytest.raises(UserError, match="found Other; a class named like the file is needed"):
        registry.build(str(file), {})


class TestStarts:
    """How the blocks of a phase start."""

    def start(self, how: str):
        task = plan(["1-2"]).task(1, seed=3)
        return starting_chain(replace(task, starts=(how, how)), {})

    @pytest.mark.parametrize("layer", ["conv1", "gate.squeeze"])
    def test_orthogonal_gates_too(self, layer):
        weight = self.start("orthogonal").blocks["1"].body[0].get_submodule(layer).weight.flatten(1)
        assert torch.allclose(weight @ weight.T, torch.eye(len(weight)), atol=1e-5)

    def test_zeroed_it_is_a_plain_copy_and_else_as_it_would_be(self):
        plain, zeroed = self.start("orthogonal"), self.start("orthogonal_zeroed")
        image = torch.rand(1, 3, 16, 16)
        assert torch.equal(zeroed(image), image)
        before, after = plain.state_dict(), zeroed.state_dict()
        differing = {name for name in before if not torch.equal(before[name], after[name])}
        assert differing == {f"blocks.{block}.to_rgb.{which}" for block in (1, 2) for which in ("weight", "bias")}

    def test_normal(self):
        weights = torch.cat([p.flatten() for p in self.start("normal").parameters() if p.dim() == 4])
        assert abs(weights.std().item() - 0.1) < 0.002
        assert abs(weights.mean().item()) < 0.002

    def test_blocks_and_seeds_differ(self):
        chain = self.start("orthogonal")
        assert not torch.equal(chain.blocks["1"].head.weight, chain.blocks["2"].head.weight)
        again = self.start("orthogonal")
        assert torch.equal(chain.blocks["2"].head.weight, again.blocks["2"].head.weight)

    @pytest.mark.parametrize("how", ["inherit", "inherit_zeroed"])
    def test_inherit(self, how, tmp_path):
        self.start("orthogonal").part(1, 1).save(tmp_path / "one.safetensors")
        task = plan(["1", "2"]).task(2, seed=1)
        task = replace(task, starts=(1, how))
        chain = starting_chain(task, {1: tmp_path / "one.safetensors"})
        first, second = chain.blocks["1"].state_dict(), chain.blocks["2"].state_dict()
        differing = {name for name in first if not torch.equal(first[name], second[name])}
        assert differing == ({"to_rgb.weight", "to_rgb.bias"} if how == "inherit_zeroed" else set())
        assert how == "inherit" or not second["to_rgb.weight"].any()

    @pytest.mark.parametrize(
        ("built", "says"),
        [
            ({"channels": 4}, "holds a block whose channels is 4; the phase's block has 64"),
            ({"residual_blocks": 3}, "holds a block whose residual_blocks is 3"),
        ],
    )
    def test_a_file_of_another_block_is_refused(self, built, says, tmp_path):
        Chain.build([Block(network="mcan", options=built)], [True]).save(tmp_path / "w.safetensors")
        task = plan(["1"]).task(1, seed=1)
        start, block = str(tmp_path / "w.safetensors"), Block(network="mcan")
        with pytest.raises(UserError, match=says):
            starting_chain(replace(task, starts=(start,), blocks=(block,)), {})

    def test_a_file_gives_its_weights(self, tmp_path):
        task = plan(["1"]).task(1, seed=1)
        chain = Chain.build(task.blocks, [True])
        chain.save(tmp_path / "w.safetensors")
        task = replace(task, starts=(str(tmp_path / "w.safetensors"),))
        assert task.files == (str(tmp_path / "w.safetensors"),)
        started = starting_chain(task, {})
        assert all(torch.equal(a, b) for a, b in zip(started.parameters(), chain.parameters(), strict=True))

    def test_default_is_the_networks_own(self):
        one, two = self.start("default"), self.start("default")
        weights = [chain.blocks["2"].head.weight for chain in (one, two)]
        assert torch.equal(*weights) and not torch.equal(one.blocks["1"].head.weight, weights[0])

    def test_layers_under_spectral_norm_start_too(self):
        spec = Block(network="rcan", options={"channels": 8, "groups": 2, "blocks": 1, "self_attention": "in_groups"})
        task = plan(["1"]).task(1, seed=1)
        task = replace(task, starts=("normal",), blocks=(spec,))
        network = starting_chain(task, {}).blocks["1"]
        direction = network.body[0][1].out.parametrizations.weight.original
        assert 0.02 < direction.std() < 0.3
        assert torch.equal(network.add_mean.weight[:, :, 0, 0], torch.eye(3))
