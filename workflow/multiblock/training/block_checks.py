"""What can be known of a block before it is trained: that it is as it says, starts, runs, learns, and can be kept."""

import re
from dataclasses import dataclass, field
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm

from multiblock.errors import UserError, listed
from multiblock.networks import registry
from multiblock.networks.spec import describe
from multiblock.plan import Block
from multiblock.training.starts import STARTS

QUICK = 10**9
"""Parameters x pixels up to which a network is run with values, in less than a second. A larger one sees shapes alone,
on PyTorch's device ``meta``, which itself takes seconds at first; one of a user's own may need values."""


def depends_on_rows(layer: nn.Module) -> str | None:
    """Why what a layer makes of an image depends on which rows of a batch are computed together."""
    if isinstance(layer, nn.modules.batchnorm._NormBase):
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            return "batch norms, which would take the means of each process's rows in place of the batch's"
        if layer.track_running_stats:
            return "norms that keep statistics, which would be those of each process's rows in place of the batch's"
    if isinstance(layer, nn.modules.dropout._DropoutNd | nn.RReLU):
        return f"{type(layer).__name__}, which would draw the same numbers in each process"
    return None


@dataclass(frozen=True)
class Built:
    """A block and its network."""

    block: Block
    network: nn.Module = field(repr=False)


def described(where: str, built: Built) -> None:
    """Read what a block says of itself, and see that its weights can be kept in a file."""
    state = built.network.state_dict()
    try:
        describe(built.network)
        if others := [name for name, value in state.items() if not isinstance(value, Tensor)]:
            raise UserError(f"keeps {listed(others)}; what a file of weights can hold are parameters and buffers")
    except UserError as error:
        raise UserError(f"{where}: {in_short(error)}") from None
    if wrong := [name for name, value in state.items() if not value.isfinite().all()]:
        raise UserError(
            f"{where}: {wrong[0]} is built with values that are not finite, with which no file of weights is written; "
            "a buffer that is not learnt can be registered with persistent=False"
        )


def startable(where: str, built: Built, start: str) -> None:
    """See that a way to start can set the weights of a block."""
    network, last = built.network, describe(built.network).output_layer
    by_hooks = [name.removesuffix(".weight_g") for name, _ in network.named_parameters() if name.endswith(".weight_g")]
    if STARTS[start].draw and by_hooks:  # which make their weights of others before each forward pass
        raise UserError(
            f"{where}: start {start} would not reach the weights of {by_hooks[0]}; allowed are start default, or "
            "torch.nn.utils.parametrizations.weight_norm"
        )
    if not STARTS[start].zeroed:
        return
    try:
        names = [name for name, _ in network.get_submodule(last).named_parameters()]
    except AttributeError as error:
        raise UserError(f"{where}: {in_short(error)}") from None
    if any(re.search(r"parametrizations\.|weight_(g|orig)$", name) for name in names):
        raise UserError(
            f"{where}: start {start} would zero {last}, and weights that are divided by their norm cannot be zero; "
            "allowed are ways to start that do not zero, or a last layer without norm"
        )


def runs(where: str, built: Built, batch: int, side: int) -> None:
    """Show a block one batch of a stage, as in training."""
    block, weights = built.block, set(built.network.state_dict())
    wanted = (batch, 3, side * block.scale, side * block.scale)
    try:
        found = _output_shape(built, batch, side)
    except Exception as error:  # whatever a network leads to
        raise UserError(
            f"{where}: with {given(block)} it takes no patches of {side} pixels: {in_short(error)}"
        ) from None
    if found != wanted:
        raise UserError(
            f"{where}: makes {found} of {batch} patches of {side} pixels; with scale {block.scale}, {wanted} is needed"
        )
    if changed := sorted(weights ^ set(built.network.state_dict())):
        raise UserError(
            f"{where}: has other weights once it has run: {listed(changed)}; they are to be there when it is built, or "
            "registered with persistent=False"
        )


def _output_shape(built: Built, batch: int, side: int) -> tuple[int, ...]:
    network, block = built.network, built.block
    size = sum(parameter.numel() for parameter in network.parameters())
    if block.network.endswith(".py"):
        return _learnt(network.train(), torch.zeros(batch, 3, side, side))
    if size * batch * side**2 <= QUICK:
        return tuple(network.train()(torch.zeros(batch, 3, side, side)).shape)
    # Spectral norm would look for the directions of weights that have no values.
    with torch.device("meta"), patch.object(_SpectralNorm, "_power_method", lambda *_: None):
        return tuple(registry.build(block.network, block.options).train()(torch.zeros(batch, 3, side, side)).shape)


def _learnt(network: nn.Module, images: Tensor) -> tuple[int, ...]:
    """The shape of an output, from which gradients were computed."""
    with torch.enable_grad():
        output = network(images)
        if output.requires_grad:
            output.sum().backward()
    network.zero_grad()
    return tuple(output.shape)


def given(block: Block) -> str:
    """The options that a block is built with, as they are said in a message."""
    known = registry.options(block.network)
    words = [f"{name} {value}" for name, value in block.options.items() if name not in known or known[name][1] != value]
    return ", ".join(words) or "its default options"


def in_short(error: Exception) -> str:
    """What an error says, on one line that is not too long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."
