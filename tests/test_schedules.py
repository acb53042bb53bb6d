"""Optimisers, learning rates over a stage, and parts of a network that are frozen or have a rate of their own."""

from dataclasses import replace

import pytest
import torch

from multiblock.model import chain
from multiblock.networks import registry
from multiblock.plan import Block
from multiblock.training import schedules
from multiblock.training.optimisers import OPTIMISERS, build
from multiblock.training.step import Trained
from test_checkpoint import interrupted
from test_plan import stage
from test_training import run, same, task

PLATEAU = schedules.Plateau()


def rates(count: int, **schedule) -> list[float]:
    one = stage(iterations=count, lr=1e-3, schedule=schedule)
    return [1e-3 * schedules.factor(one, iteration, PLATEAU) for iteration in range(count)]


def test_cosine_is_pytorchs():
    weight = [torch.nn.Parameter(torch.zeros(1))]
    optimiser = torch.optim.Adam(weight, 1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 100, 1e-5)
    theirs = []
    for _ in range(100):
        theirs.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    assert rates(100, kind="cosine", to=1e-5) == pytest.approx(theirs)


def test_cosine_restarts_warm():
    values = rates(100, kind="cosine", to=1e-6, restarts=4)
    assert [i for i, value in enumerate(values) if value == pytest.approx(1e-3)] == [0, 20, 40, 60, 80]
    assert values[19] < 1e-4


def test_step():
    assert rates(6, kind="step", every=2, factor=0.5) == pytest.approx([1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 2.5e-4])


def test_plateau_waits_and_then_falls():
    state, schedule = schedules.Plateau(), {"kind": "plateau", "patience": 1, "factor": 0.1}
    factors = []
    for psnr in (30, 31, 30.5, 30.9, 30.8, 30.7, 32, 31):
        state.look(psnr, schedule)
        factors.append(schedules.factor(stage(schedule=schedule), 0, state))
    assert factors == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01, 0.01, 0.01])


CONSTANTS = {
    "adam": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False, "fused": True},
    "adamw": {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "fused": True},
    "adadelta": {"rho": 0.9, "eps": 1e-6, "weight_decay": 0},
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


def test_frozen_batch_norms_keep_their_statistics():
    block = Block(network="srresnet", options={"channels": 4, "blocks": 2, "scale": 2})
    span = chain.Chain.build([block], [False]).train()
    trained = Trained(span)
    trained.apart_from(["body.0"])
    before = span.blocks["1"].body[0].norm1.running_mean.clone()
    span(torch.rand(2, 3, 8, 8)).mean().backward()
    network = span.blocks["1"]
    assert torch.equal(network.body[0].norm1.running_mean, before)
    assert not torch.equal(network.body[1].norm1.running_mean, before)
    assert network.body[0].conv1.weight.grad is None and network.body[1].conv1.weight.grad is not None
    trained.all()
    assert network.body[0].training and network.body[0].conv1.weight.requires_grad


def test_stopped_and_gone_on_under_schedules_is_the_same(arrays, tmp_path, monkeypatch):
    stages = (
        stage(
            iterations=30, lr=1e-3, patch=16, schedule={"kind": "cosine", "to": 1e-5}, parts={"head": {"freeze": 25}}
        ),
        stage(iterations=30, lr=1e-3, patch=16, schedule={"kind": "plateau", "patience": 0, "factor": 0.3}),
    )
    todo = replace(task(), stages=stages)
    whole = run(arrays, tmp_path / "whole", todo)
    for stop in (13, 41):
        interrupted(arrays, tmp_path / f"killed{stop}", monkeypatch, stop, todo)
        assert same(run(arrays, tmp_path / f"killed{stop}", todo), whole)
