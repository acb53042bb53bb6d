"""Checkpoints that are either whole or not there."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass
class State:
    """Where a training is: all that it needs to go on as if it had never stopped.

    The sampler needs nothing: its batches follow from the iteration. ``stage`` is the index of the stage that the
    optimiser belongs to, ``history_size`` the length in bytes of the history that goes with the rest.
    """

    done: int = 0
    stage: int = -1
    weights: Any = None
    optimiser: Any = None
    loss_sum: float = 0.0
    loss_count: int = 0
    history_size: int = 0
    seconds: float = 0.0
    best_psnr: float = -math.inf
    best_iteration: int = 0
    best_weights: Any = None

    def note_best(self, psnr: float, weights: Mapping[str, Tensor]) -> None:
        """Keep a copy of the weights if they did better on the validation images than any before."""
        if psnr > self.best_psnr:
            self.best_psnr, self.best_iteration = psnr, self.done
            self.best_weights = {name: value.detach().clone() for name, value in weights.items()}


def save(file: Path, state: State) -> None:
    """Write ``state`` under a temporary name, flush it to the disk, then rename it to ``file`` in one step."""
    part = file.with_suffix(".part")
    with part.open("wb") as opened:
        torch.save({field.name: getattr(state, field.name) for field in fields(state)}, opened)
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(file)


def load(file: Path) -> State:
    """The state in ``file``, or a new one where there is none. Plain data and tensors are read, never code."""
    if not file.exists():
        return State()
    return State(**torch.load(file, map_location="cpu", weights_only=True))
