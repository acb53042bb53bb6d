"""Checkpoints that are either whole or not there."""

import fcntl
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import Tensor

from multiblock.errors import UserError
from multiblock.training.schedules import Plateau


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
    validation_seconds: float = 0.0
    plateau: Plateau = field(default_factory=Plateau)
    best_psnr: float = -math.inf
    best_iteration: int = 0
    best_weights: Any = None

    def note_best(self, psnr: float, weights: Mapping[str, Tensor]) -> None:
        """Keep a copy of the weights if they did better on the validation images than any before."""
        if psnr > self.best_psnr:
            self.best_psnr, self.best_iteration = psnr, self.done
            self.best_weights = {name: value.detach().clone() for name, value in weights.items()}


def claim(folder: Path) -> TextIO:
    """Claim a phase's folder for this process, so that two trainings never write into one.

    The claim ends when the returned file is closed or the process ends, however it ends.

    Raises:
        UserError: another process that is still running has claimed it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise UserError(f"{folder}: process {file.read()} is still training here; wait for it, or end it") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def save(file: Path, state: State) -> None:
    """Write ``state`` under a temporary name, flush it to the disk, then rename it to ``file`` in one step."""
    part = file.with_suffix(".part")
    with part.open("wb") as opened:
        plain = {field.name: getattr(state, field.name) for field in fields(state)}
        torch.save({**plain, "plateau": asdict(state.plateau)}, opened)
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(file)


def load(file: Path) -> State:
    """The state in ``file``, or a new one where there is none. Plain data and tensors are read, never code."""
    if not file.exists():
        return State()
    plain = torch.load(file, map_location="cpu", weights_only=True)
    return State(**{**plain, "plateau": Plateau(**plain["plateau"])})
