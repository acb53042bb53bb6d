"""What one iteration changes: gradients and the step along them, what is frozen, and the average of the weights."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import get_ema_multi_avg_fn

from multiblock.errors import UserError, listed
from multiblock.model.chain import Chain
from multiblock.plan import Stage
from multiblock.runtime import memory
from multiblock.runtime.compilation import Execution, Forward
from multiblock.runtime.device import Device
from multiblock.training import optimisers
from multiblock.training.losses import total
from multiblock.training.objective import Loss

log = logging.getLogger(__name__)


class Step:
    """Forward, loss, backward, and a step of the optimiser, for the iterations of one stage.

    Args:
        span: the blocks to train, on the device, with the stage's clamps set.
        forward: the span, or what was compiled of it.
    """

    def __init__(self, span: Chain, stage: Stage, device: Device, execution: Execution, forward: Forward) -> None:
        self.span, self.forward = span, forward
        span.recompute = stage.recompute == "blocks"
        self.optimiser = make_optimiser(stage, span)
        self._device, self._execution = device, execution
        self._loss = Loss(stage).to(device.device)
        self._clip, self._intermediate = stage.clip, stage.intermediate
        self.parts = stage.accumulate if isinstance(stage.accumulate, int) else 0  # not known before fit()

    def fit(self, batch: Tensor, target: Tensor) -> None:
        """Find in how many parts a batch fits into the memory that is free: as few as can be.

        One image and then two are computed, which changes neither weights nor what is drawn later.
        """
        self.parts, count, device = 1, len(batch), self._device.device
        free = memory.available(device)
        if count == 1 or free is None:
            return
        buffers = {name: value.clone() for name, value in self.span.named_buffers()}
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            one, two = (memory.most(partial(self.backward, batch[:n], target[:n])) for n in (1, 2))
        _copy(buffers, dict(self.span.named_buffers()))
        self.optimiser.zero_grad(set_to_none=True)
        image, rest = max(two - one, 1), max(2 * one - two, 0)
        fits = max(1, int((free / memory.GAPS - rest) / image))
        self.parts = -(-count // min(count, fits))
        log.info(
            "accumulate: auto takes %s: a batch of %d needs %.2f GiB, of %.2f free",
            "a batch at once" if self.parts == 1 else f"{self.parts} parts",
            *(count, (rest + count * image) * memory.GAPS / 2**30, free / 2**30),
        )

    def gradients(self, batch: Tensor, target: Tensor) -> Tensor:
        """Compute the gradients of a batch.

        Args:
            batch: (N, 3, H, W), float32 in [0, 1].
            target: (N, 3, scale*H, scale*W), likewise.

        Returns:
            The loss and the norm of the gradient before it is clipped, (2,), on the device.
        """
        return self.limited(self.backward(batch, target))

    def backward(self, batch: Tensor, target: Tensor) -> Tensor:
        """The first half of it: the gradients as they are. Returns the loss, one value."""
        self.optimiser.zero_grad(set_to_none=True)
        if self.parts == 1:
            return self._add_gradients(batch, target)
        parts = zip(batch.tensor_split(self.parts), target.tensor_split(self.parts), strict=True)
        losses = [self._add_gradients(part, wanted, len(part) / len(batch)) for part, wanted in parts if len(part)]
        return torch.stack(losses).sum()

    def _add_gradients(self, batch: Tensor, target: Tensor, share: float | None = None) -> Tensor:
        """Add the gradients of a batch, or of the ``share`` of one, to those that are there. Returns their loss."""
        with self._device.autocast():
            made = self.forward(self._execution.to_layout(batch))
        loss = self._objective(made, self._execution.to_layout(target))
        if share is not None:
            loss = loss * share
        loss.backward()
        return loss.detach()

    def limited(self, loss: Tensor) -> Tensor:
        """The second half: the norm of the gradients, which are then clipped. Returns the loss with the norm, (2,)."""
        trained = [p for p in self.span.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
        if self._clip is not None:
            torch.nn.utils.clip_grads_with_norm_(trained, self._clip, norm)
        return torch.stack([loss, norm])

    def _objective(self, made: Tensor | list[Tensor], target: Tensor) -> Tensor:
        """The loss of the last block's output; with intermediate ones, plus the weighted losses of those before it."""
        if not isinstance(made, list):
            return self._loss(made, target)
        *before, last = made
        weighted = zip(self._intermediate, before, strict=True)
        return total(
            [self._loss(last, target), *(weight * self._loss(one, target) for weight, one in weighted if weight)]
        )

    def apply(self, factor: float) -> None:
        """Step along the gradients, with learning rates ``factor`` times those that the stage begins with."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.optimiser.step()


def make_optimiser(stage: Stage, span: Chain) -> torch.optim.Optimizer:
    """A new optimiser for ``span`` as ``stage`` asks for; the options were checked with the config.

    Raises:
        UserError: a part of the stage is not there, or two overlap; see :func:`parameter_groups`.
    """
    return optimisers.build(stage.optimiser, parameter_groups(stage.parts, span, stage.lr), stage.lr, stage.options)


def parameter_groups(parts: Mapping[str, Mapping[str, Any]], span: Chain, lr: float) -> list[dict[str, Any]]:
    """The parameters of ``span`` in groups: first what no part of ``parts`` holds; the parts follow in order.

    Each group keeps the learning rate that its schedule starts from as ``initial_lr``.

    Raises:
        UserError: no block of the span has a part of that name, or two parts overlap.
    """
    taken: dict[nn.Parameter, str] = {}
    made = []
    for name, part in parts.items():
        inside = [parameter for module in part_modules(span, name) for parameter in module.parameters()]
        if other := next((taken[parameter] for parameter in inside if parameter in taken), None):
            raise UserError(f"parts.{name}: overlaps parts.{other}; allowed are parts that share no weights")
        made.append({"params": _trainable(inside), "initial_lr": part.get("lr", lr)})
        taken.update(dict.fromkeys(inside, name))
    rest = [parameter for parameter in span.parameters() if parameter not in taken]
    made.insert(0, {"params": _trainable(rest), "initial_lr": lr})
    return [{**group, "lr": group["initial_lr"]} for group in made if group["params"]]


def _trainable(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """The parameters without those that their network froze for good, such as a mean shift."""
    return [parameter for parameter in parameters if parameter.requires_grad]


def part_modules(span: Chain, part: str) -> list[nn.Module]:
    """The modules called ``part`` in the blocks of ``span``.

    Raises:
        UserError: there is none.
    """
    named = [dict(block.named_modules()) for block in span.blocks.values()]
    found = [names[part] for names in named if part in names]
    if not found:
        known = dict.fromkeys(name for block in span.blocks.values() for name, _ in block.named_children())
        raise UserError(f"parts.{part}: no block of the span has such a part; allowed are {listed(known)}")
    return found


class Trained:
    """Freezes parts of a span and sets them free again. What its network froze for good stays so.

    A frozen part takes no step, and is in evaluation mode: its batch norms keep their statistics.
    """

    def __init__(self, span: Chain) -> None:
        self._span = span
        self._trainable = [parameter for parameter in span.parameters() if parameter.requires_grad]
        self._frozen: list[str] = []

    def all(self) -> None:
        """Train everything."""
        self.apart_from([])

    def apart_from(self, frozen: Sequence[str]) -> None:
        """Train everything but the parts called ``frozen``.

        Raises:
            UserError: no block of the span has such a part.
        """
        if list(frozen) == self._frozen:
            return
        self._span.train()
        for parameter in self._trainable:
            parameter.requires_grad_(True)
        for module in [module for name in frozen for module in part_modules(self._span, name)]:
            module.requires_grad_(False).eval()
        self._frozen = list(frozen)


class Average:
    """An exponential moving average that follows the weights of a span; it begins as what they are.

    After update number t, counted from 1, it is d a + (1 - d) w of the average a and the weights w, where d is the
    least of the decay and (1 + t) / (10 + t): the first updates would else hold on to the weights that training
    began with (TensorFlow's ``tf.train.ExponentialMovingAverage`` with ``num_updates``).

    The statistics of batch norms are averaged like weights; other buffers, such as counts and the directions of
    spectral norms, are those of the weights as they are. (PyTorch's ``AveragedModel`` averages all buffers or none.)
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
        self._copied = [(self._average[name], self._now[name]) for name in self._now if name not in set(followed)]
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
        """Give the span the averaged weights within this context, and its own again after it."""
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
