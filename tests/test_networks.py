"""The networks: exact sizes, what they see, and blocks of third parties."""

from dataclasses import replace

import pytest
import torch

from multiblock.plan import Block
from multiblock.training.starts import starting_chain
from test_plan import plan


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
