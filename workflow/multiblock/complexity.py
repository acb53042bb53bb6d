"""How large a network is and how much it computes, counted on PyTorch's ``meta`` device: nothing is calculated.

GFLOPs follow the convention of the lightweight x3 study: twice the multiply-adds of convolutions, linear layers and
matrix products, and one addition a value of pooling to one pixel, for one image of 256 x 256 pixels as input. Biases,
activations, normalisation and interpolation count nothing. A layer that runs twice counts twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from multiblock import networks
from multiblock.plan import RANDOM, Block

SIDE = 256


@dataclass(frozen=True)
class Complexity:
    """Size and work of a network.

    ``parameters_executed`` are those that the result depends on; some published codes keep others.
    """

    parameters: int
    parameters_executed: int
    gflops: float
    receptive_field: int


def of_chain(blocks: Sequence[Block]) -> Complexity:
    """Count blocks one after another; each sees what the one before it made of 256 x 256 pixels."""
    side, counted = SIDE, []
    for block in blocks:
        counted.append(of(block.network, block.options, side))
        side *= block.scale
    return Complexity(
        parameters=sum(one.parameters for one in counted),
        parameters_executed=sum(one.parameters_executed for one in counted),
        gflops=sum(one.gflops for one in counted),
        receptive_field=1 + sum(one.receptive_field - 1 for one in counted),
    )


def of(network: str, options: Mapping[str, Any], side: int = SIDE) -> Complexity:
    """Count a network of the family or file ``network``, built with ``options``, on ``side`` x ``side`` pixels."""
    # Published weights would be the same in number.
    needed = {name: RANDOM for name, (_, default) in networks.options(network).items() if default is ...}
    options = {**needed, **options}
    with torch.device("meta"):
        block = networks.build(network, options).train()
        pooled = 0

        def count(layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
            nonlocal pooled
            batch, channels, height, width = inputs[0].shape
            pooled += 2 * batch * channels * (height * width + 1)

        for layer in block.modules():
            if isinstance(layer, nn.AdaptiveAvgPool2d):
                layer.register_forward_hook(count)
        for parameter in block.parameters():
            parameter.requires_grad_(True)  # frozen ones are executed too
        with FlopCounterMode(display=False) as counter:
            output = block(torch.empty(1, 3, side, side))
        flops = counter.get_total_flops()
        output.sum().backward()
    parameters = list(block.parameters())
    return Complexity(
        parameters=sum(parameter.numel() for parameter in parameters),
        parameters_executed=sum(parameter.numel() for parameter in parameters if parameter.grad is not None),
        gflops=(flops + pooled) / 1e9,
        receptive_field=int(block.receptive_field),  # type: ignore[arg-type]
    )
