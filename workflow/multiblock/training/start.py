"""What the blocks of a phase start from."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from multiblock.chain import Chain, load
from multiblock.plan import Task


def starting_chain(task: Task, weights: Mapping[int, Path]) -> Chain:
    """The blocks 1..last of ``task`` with the weights that the phase starts from.

    Args:
        weights: the weights file of each earlier phase that the task names.
    """
    chain = Chain.build(task.blocks, [True] * len(task.blocks))
    trained = {phase: load(file) for phase, file in weights.items()}
    for number, origin in enumerate(task.starts, 1):
        block = chain.blocks[str(number)]
        if isinstance(origin, int):
            block.load_state_dict(trained[origin].blocks[str(number)].state_dict())
            chain.clamped[number - 1] = trained[origin].clamped[number - 1]
            continue
        entropy = np.random.SeedSequence((task.seed, task.phase, number)).generate_state(1)
        torch.manual_seed(int(entropy[0]))
        if origin.startswith("inherit"):
            block.load_state_dict(chain.blocks[str(number - 1)].state_dict())
        if origin == "inherit_zeroed":
            output = block.get_submodule(str(block.output_layer))
            for parameter in output.parameters():
                nn.init.zeros_(parameter)
        if origin in _FRESH:
            _initialise(block, origin)
    return chain


_FRESH = {
    "orthogonal": lambda weight: nn.init.orthogonal_(weight, gain=1.0),
    "normal": lambda weight: nn.init.normal_(weight, mean=0.0, std=0.1),
}


def _initialise(block: nn.Module, how: str) -> None:
    """Initialise the weights of every convolution, 1-tap gates included; biases get PyTorch's default."""
    for layer in block.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            layer.reset_parameters()
            _FRESH[how](layer.weight)
