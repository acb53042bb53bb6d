"""Optimisers by name, with the constants of the multiblock study. Another one is another entry.

PyTorch is imported when one is made, not before: the config is checked against this table at once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """An optimiser by name.

    Args:
        kind: its class in ``torch.optim``.
        what: what it is, for the reference, in a few words.
        options: the schema of each argument that a stage can give, by PyTorch's name; with a default where the study
            has a constant of its own, else PyTorch's default holds.
        fused: one pass over all weights in place of one for each operation, where PyTorch has it.
        wrong: from the options to what is wrong with them together, as the end of a message that begins with the key
            ``options``; nothing where nothing is.
    """

    kind: str
    what: str
    options: Mapping[str, Mapping[str, Any]]
    fused: bool = False
    wrong: Callable[[Mapping[str, Any]], str] = lambda options: ""


def _without_momentum(options: Mapping[str, Any]) -> str:
    if options.get("nesterov") and not options.get("momentum"):
        return ".nesterov: found true without momentum; a momentum above 0 is needed"
    return ""


_SHARE = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
_EPS = {"type": "number", "exclusiveMinimum": 0}
_WEIGHT_DECAY = {"type": "number", "minimum": 0}

OPTIMISERS: dict[str, Optimiser] = {
    "adam": Optimiser(
        kind="Adam",
        what="of the multiblock study",
        options={
            "betas": {"type": "array", "minItems": 2, "maxItems": 2, "items": _SHARE, "default": [0.9, 0.999]},
            "eps": {**_EPS, "default": 1e-8},
            "weight_decay": _WEIGHT_DECAY,
            "amsgrad": {"type": "boolean"},
        },
        fused=True,
    ),
    "adamw": Optimiser(
        kind="AdamW",
        what="Adam whose weight decay is apart from the gradient (Loshchilov and Hutter 2019)",
        options={
            "betas": {"type": "array", "minItems": 2, "maxItems": 2, "items": _SHARE, "default": [0.9, 0.999]},
            "eps": {**_EPS, "default": 1e-8},
            "weight_decay": {**_WEIGHT_DECAY, "default": 0.01},
            "amsgrad": {"type": "boolean"},
        },
        fused=True,
    ),
    "adadelta": Optimiser(
        kind="Adadelta",
        what="of the multiblock study, whose learning rate is 1",
        options={
            "rho": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.9},
            "eps": {**_EPS, "default": 1e-6},
            "weight_decay": _WEIGHT_DECAY,
        },
    ),
    "sgd": Optimiser(
        kind="SGD",
        what="as PyTorch has it",
        options={"momentum": _SHARE, "nesterov": {"type": "boolean"}, "weight_decay": _WEIGHT_DECAY},
        fused=True,
        wrong=_without_momentum,
    ),
}
"""All optimisers by name."""


def filled(optimiser: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an optimiser, in a fixed order, with the study's constants where none are given."""
    constants = {name: rule["default"] for name, rule in OPTIMISERS[optimiser].options.items() if "default" in rule}
    return dict(sorted({**constants, **options}.items()))


def _light(kind: "type[torch.optim.Optimizer]") -> "type[torch.optim.Optimizer]":
    """The optimiser without what keeps its methods out of torch.compile, whose first call imports the compiler.

    That takes as long as importing PyTorch itself: 1.6 s of a CPU (3.5 against 1.9 s for a process that makes an Adam),
    in each job, also in those of seconds that are not compiled. What the optimiser computes is the same.
    """
    import torch

    methods: dict[str, Any] = {}
    for name in ("add_param_group", "state_dict", "load_state_dict", "zero_grad", "step"):
        inside = getattr(getattr(kind, name), "__wrapped__", None)
        if inside is not None:
            methods[name] = torch.no_grad()(inside) if name == "step" else inside
    return type(kind.__name__, (kind,), methods)


def build(optimiser: str, parameters: Any, lr: float, options: Mapping[str, Any]) -> "torch.optim.Optimizer":
    """A new optimiser by name for parameters or groups of them.

    Raises:
        ValueError: PyTorch does not take the options together.
    """
    import torch

    entry = OPTIMISERS[optimiser]
    fused: dict[str, Any] = {"fused": True} if entry.fused else {}
    kind = _light(getattr(torch.optim, entry.kind))
    return kind(parameters, lr=lr, **fused, **filled(optimiser, options))  # type: ignore[call-arg]
