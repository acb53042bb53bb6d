"""The exponential moving average of a span's weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import get_ema_multi_avg_fn

from multiblock.model.chain import Chain


class Average:
    """An average that follows the weights of a span; it begins as what they are.

    After update number t, counted from 1, it is d a + (1 - d) w of the average a and the weights w, where d is the
    least of the decay and (1 + t) / (10 + t): the first updates would else hold on to the weights that training
    began with (TensorFlow's ``tf.train.ExponentialMovingAverage`` with ``num_updates``).

    The statistics of batch norms are averaged like weights; other buffers, such as counts and the directions of
    spectral norms, are those of the weights as they are.
    """

    def __init__(self, span: Chain) -> None:
        state = span.blocks.state_dict()
        self._now = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        self._average = {name: value.clone() for name, value in self._now.items()}
        weights = {name for name, _ in span.blocks.named_parameters()}
        weights |= {
            f"{name}.{buffer}"
            for name, module in span.blocks.named_modules()
            if isinstance(module, _NormBase)
            for buffer in ("running_mean", "running_var")
        }
        # Those that are floats: foreach takes tensors of one kind.
        followed = [name for name, value in self._now.items() if name in weights and value.is_floating_point()]
        self._followed = [[values[name] for name in followed] for values in (self._average, self._now)]
        copied = self._now.keys() - set(followed)
        self._copied = [(self._average[name], self._now[name]) for name in self._now if name in copied]
        self._updates = 0

    def update(self, decay: float) -> None:
        """Follow the weights by one step."""
        self._updates += 1
        ramp = (1 + self._updates) / (10 + self._updates)
        if self._followed[0]:
            get_ema_multi_avg_fn(min(decay, ramp))(*self._followed, self._updates)
        for average, now in self._copied:
            average.copy_(now)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The span has the averaged weights within this context, and its own again after it."""
        kept = {name: value.clone() for name, value in self._now.items()}
        self.keep()
        try:
            yield
        finally:
            _copy(kept, self._now)

    def keep(self) -> None:
        """Give the span the averaged weights for good."""
        _copy(self._average, self._now)

    def state(self) -> dict[str, Any]:
        """All that :meth:`load` needs, as plain data and tensors."""
        return {"updates": self._updates, "average": self._average}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._updates = state["updates"]
        _copy(state["average"], self._average)


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], to: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        to[name].copy_(value)
