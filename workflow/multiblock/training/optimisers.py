"""Optimisers by name, with the constants of the multiblock study. Another one is another line."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from multiblock.plan import Stage

OPTIMISERS: Mapping[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "adam": (torch.optim.Adam, {"betas": (0.9, 0.999), "eps": 1e-8}),
    "adadelta": (torch.optim.Adadelta, {"rho": 0.9, "eps": 1e-6}),
}


def make(stage: Stage, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """A new optimiser as ``stage`` asks for; the schema has checked its options."""
    build, constants = OPTIMISERS[stage.optimiser]
    return build(parameters, lr=stage.lr, **{**constants, **stage.options})
