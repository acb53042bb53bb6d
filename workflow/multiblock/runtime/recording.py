"""A function of tensors as one CUDA graph: a single launch in place of the hundreds that an iteration takes.

Small networks leave a GPU idle while the host launches kernel after kernel. See PyTorch's notes on CUDA graphs, "whole
network capture".
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

_WARM_UP = 3
"""Calls before it is recorded, in which libraries choose their kernels and take their memory."""


class Recorded:
    """``function`` of tensors of fixed sizes, recorded at once and replayed at each call.

    Values of tensors may change from call to call, nothing else. Gradients that it computes lie in the graph's memory
    and are written anew each time: they must not be cleared.

    Args:
        function: takes tensors and returns one, which is copied for the caller.
        network: what it trains; its weights, buffers and random numbers stay as they are while it is recorded.
        example: tensors like those to come; they may lie in the host's memory.
        device: the GPU.
    """

    def __init__(
        self, function: Callable[..., Tensor], network: nn.Module, example: Sequence[Tensor], device: torch.device
    ) -> None:
        self._inputs = [one.to(device, copy=True) for one in example]
        here = torch.cuda.current_stream(device)
        with untouched(network, device):
            apart = torch.cuda.Stream(device)
            apart.wait_stream(here)
            with torch.cuda.stream(apart):
                for _ in range(_WARM_UP):
                    function(*self._inputs)
            here.wait_stream(apart)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = function(*self._inputs)

    def __call__(self, *given: Tensor) -> Tensor:
        """What the function makes of ``given``."""
        for mine, one in zip(self._inputs, given, strict=True):
            mine.copy_(one, non_blocking=True)
        self._graph.replay()
        return self._output.clone()


@contextmanager
def untouched(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Leave a network and the random numbers as they were, save for gradients, however the block ends.

    Gradients are cleared before and after it.
    """
    clear_gradients(network)
    kept = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(kept[name])
        clear_gradients(network)


def clear_gradients(network: nn.Module) -> None:
    """No parameter has a gradient."""
    for parameter in network.parameters():
        parameter.grad = None
