"""Optimisers compute what PyTorch's do, without importing its compiler."""

import subprocess
import sys

import pytest
import torch

from multiblock.networks import registry
from multiblock.training.optimisers import OPTIMISERS, build

CONSTANTS = {
    "adam": {"betas": (0.9, 0.999), "eps": 1e-8, "fused": True},
    "adamw": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "fused": True},
    "adadelta": {"rho": 0.9, "eps": 1e-6},
    "sgd": {"fused": True},
}
"""The study's, and what is fused."""


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_same_steps_as_pytorchs(name):
    constants = CONSTANTS[name]
    theirs = getattr(torch.optim, OPTIMISERS[name].kind)

    def ours(parameters, lr, **_):
        made = build(name, parameters, lr, {})
        assert type(made) is not theirs and isinstance(made, theirs)
        assert {key: made.defaults[key] for key in constants} == constants
        return made

    ends = []
    for kind in (ours, theirs):
        torch.manual_seed(0)
        network = registry.build("mcan", {"channels": 4, "residual_blocks": 1})
        optimiser = kind(network.parameters(), lr=0.01, **constants)
        for _ in range(5):
            optimiser.zero_grad(set_to_none=True)
            network(torch.rand(2, 3, 12, 12)).square().mean().backward()
            optimiser.step()
            fresh = kind(network.parameters(), lr=0.01, **constants)
            fresh.load_state_dict(optimiser.state_dict())
            optimiser = fresh
        assert all(parameter.requires_grad and parameter.is_leaf for parameter in network.parameters())
        ends.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    assert torch.equal(*ends)


LIGHT = """
import sys, torch
from multiblock.runtime.device import make_deterministic
from multiblock.training.optimisers import OPTIMISERS, build
make_deterministic(False)
for name in OPTIMISERS:
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = build(name, [weight], 0.1, {})
    weight.sum().backward()
    optimiser.step()
    optimiser.load_state_dict(optimiser.state_dict())
    optimiser.zero_grad()
assert "torch._dynamo" not in sys.modules
"""


def test_the_compiler_is_not_imported_for_them():
    subprocess.run([sys.executable, "-c", LIGHT], check=True)
