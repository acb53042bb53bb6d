"""Optimisers by name, with the constants of the multiblock study. Another one is another line.

Fused where PyTorch has it: one pass over all weights in place of one for each operation.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from multiblock.model.chain import Chain
from multiblock.plan import Stage
from multiblock.training.freezing import modules


def _light(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """The optimiser without what keeps its methods out of torch.compile, whose first call imports the compiler.

    That takes over a second, and nothing here compiles an optimiser. What it computes is the same.
    """
    methods: dict[str, Any] = {}
    for name in ("add_param_group", "state_dict", "load_state_dict", "zero_grad", "step"):
        inside = getattr(getattr(kind, name), "__wrapped__", None)
        if inside is not None:
            methods[name] = torch.no_grad()(inside) if name == "step" else inside
    return type(kind.__name__, (kind,), methods)


OPTIMISERS: Mapping[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    "adam": (_light(torch.optim.Adam), {"betas": (0.9, 0.999), "eps": 1e-8, "fused": True}),
    "adadelta": (_light(torch.optim.Adadelta), {"rho": 0.9, "eps": 1e-6}),
    "sgd": (_light(torch.optim.SGD), {"fused": True}),
}


def make(stage: Stage, span: Chain) -> torch.optim.Optimizer:
    """A new optimiser for ``span`` as ``stage`` asks for; the schema has checked its options.

    The first group of parameters is what no part of ``stage.parts`` holds; the parts follow in order. Each group
    keeps the learning rate that its schedule starts from as ``base``.

    Raises:
        UserError: no block of the span has a part that the stage names.
    """
    build, constants = OPTIMISERS[stage.optimiser]
    taken: set[nn.Parameter] = set()
    groups = []
    for name, part in stage.parts.items():
        inside = [parameter for module in modules(span, name) for parameter in module.parameters()]
        groups.append({"params": _trainable(inside), "initial_lr": part.get("lr", stage.lr)})
        taken.update(inside)
    rest = [parameter for parameter in span.parameters() if parameter not in taken]
    groups.insert(0, {"params": _trainable(rest), "initial_lr": stage.lr})
    groups = [{**group, "lr": group["initial_lr"]} for group in groups if group["params"]]
    return build(groups, lr=stage.lr, **{**constants, **stage.options})


def _trainable(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Without those that their network froze for good, such as a mean shift."""
    return [parameter for parameter in parameters if parameter.requires_grad]
