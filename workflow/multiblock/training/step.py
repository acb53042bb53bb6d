"""The arithmetic of one training iteration."""

import torch
from torch import Tensor

from multiblock.model.chain import Chain
from multiblock.plan import Stage
from multiblock.runtime.compilation import Execution, Forward
from multiblock.runtime.device import Device
from multiblock.training import optimisers
from multiblock.training.losses import total
from multiblock.training.objective import Loss


class Step:
    """Forward, loss, backward, and a step of the optimiser, for the iterations of one stage.

    Args:
        span: the blocks to train, on the device, with the stage's clamps set.
        forward: the span, or what was compiled of it.
    """

    def __init__(self, span: Chain, stage: Stage, device: Device, execution: Execution, forward: Forward) -> None:
        self.span, self.forward = span, forward
        self.optimiser = optimisers.make(stage, span)
        self._device, self._execution = device, execution
        self._loss = Loss(stage).to(device.device)
        self._clip, self._intermediate = stage.clip, stage.intermediate

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
        with self._device.autocast():
            made = self.forward(self._execution.to_layout(batch))
        loss = self._objective(made, self._execution.to_layout(target))
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
