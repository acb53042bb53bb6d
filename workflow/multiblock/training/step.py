"""The arithmetic of one training iteration."""

from collections.abc import Callable

import torch
from torch import Tensor

from multiblock.model.chain import Chain
from multiblock.plan import Stage
from multiblock.runtime.compilation import Execution
from multiblock.runtime.device import Device
from multiblock.training import optimisers
from multiblock.training.objective import Loss


class Step:
    """Forward, loss, backward, and a step of the optimiser, for the iterations of one stage.

    Args:
        span: the blocks to train, on the device, with the stage's clamps set.
        forward: the span, or what was compiled of it.
    """

    def __init__(
        self, span: Chain, stage: Stage, device: Device, execution: Execution, forward: Callable[[Tensor], Tensor]
    ) -> None:
        self.span, self.forward = span, forward
        self.optimiser = optimisers.make(stage, span)
        self._device, self._execution = device, execution
        self._loss = Loss(stage).to(device.device)

    def gradients(self, batch: Tensor, target: Tensor) -> Tensor:
        """Compute the gradients of a batch.

        Args:
            batch: (N, 3, H, W), float32 in [0, 1].
            target: (N, 3, scale*H, scale*W), likewise.

        Returns:
            The loss and the norm of the gradient, (2,), on the device.
        """
        self.optimiser.zero_grad(set_to_none=True)  # a CUDA graph's next pass takes their memory
        with self._device.autocast():
            output = self.forward(self._execution.to_layout(batch))
        loss = self._loss(output, self._execution.to_layout(target))
        loss.backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.span.parameters() if p.grad is not None])
        return torch.stack([loss.detach(), norm])

    def apply(self, factor: float) -> None:
        """Step along the gradients, with learning rates ``factor`` times those that the stage begins with."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.optimiser.step()
