"""Where a training is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from multiblock.training.schedules import Plateau


@dataclass
class State:
    """All that a training needs to go on as if it had never stopped.

    The sampler needs nothing: its batches follow from the iteration.

    Args:
        step: iterations done.
        stage: index of the stage that the optimiser belongs to.
        recorded: the last iteration after which the row of the history and the look at the validation images, where
            they were due, were done.
        weights, optimiser: their state dicts.
        random: states of PyTorch's random numbers, which networks with dropout draw from.
        loss_sum, norm_sum, count: of the losses and gradient norms since the last row of the history.
        history: its text.
        plateau: what the schedule of that name has seen.
        average: of the moving average of the weights, if the stage has one.
        psnr: PSNR RGB of the validation images, in dB, when they were last looked at.
        best_psnr, best_step, best_weights: of the look at which it was highest.
        segments: how each stretch between two starts was run: device, number format, threads, seconds, ...
        about: what the training is: task, settings and number format.
    """

    step: int = 0
    stage: int = -1
    recorded: int = 0
    weights: Any = None
    optimiser: Any = None
    random: Any = None
    loss_sum: float = 0.0
    norm_sum: float = 0.0
    count: int = 0
    history: str = ""
    plateau: Plateau = field(default_factory=Plateau)
    average: Any = None
    psnr: float = -math.inf
    best_psnr: float = -math.inf
    best_step: int = 0
    best_weights: Any = None
    segments: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def note_best(self, psnr: float, weights: Mapping[str, Tensor]) -> None:
        """Keep a copy of the weights if they did better on the validation images than any before."""
        if psnr > self.best_psnr:
            self.best_psnr, self.best_step = psnr, self.step
            self.best_weights = {name: value.detach().clone() for name, value in weights.items()}
