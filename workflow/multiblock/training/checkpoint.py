"""Checkpoints that are either whole or not there: the last two of a training, each with a checksum."""

import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multiblock.files import digest_of, removed_on_failure, settle
from multiblock.training.schedules import Plateau

log = logging.getLogger(__name__)


@dataclass
class State:
    """Where a training is: all that it needs to go on as if it had never stopped.

    The sampler needs nothing: its batches follow from the iteration. ``stage`` is the index of the stage that the
    optimiser belongs to, ``looked`` the last iteration after which all was done that was due (a row of the history,
    a look at the validation images), ``history`` the text of the history by then, ``random`` the states of PyTorch's
    random numbers, which networks with dropout draw from. ``about`` says what the training is: task, settings,
    number format, threads and versions.
    """

    done: int = 0
    stage: int = -1
    looked: int = 0
    weights: Any = None
    optimiser: Any = None
    random: Any = None
    loss_sum: float = 0.0
    loss_count: int = 0
    history: str = ""
    seconds: float = 0.0
    validation_seconds: float = 0.0
    plateau: Plateau = field(default_factory=Plateau)
    best_psnr: float = -math.inf
    best_iteration: int = 0
    best_weights: Any = None
    about: dict[str, Any] = field(default_factory=dict)

    def note_best(self, psnr: float, weights: Mapping[str, Tensor]) -> None:
        """Keep a copy of the weights if they did better on the validation images than any before."""
        if psnr > self.best_psnr:
            self.best_psnr, self.best_iteration = psnr, self.done
            self.best_weights = {name: value.detach().clone() for name, value in weights.items()}


def working_folder(phase: Path, key: str) -> Path:
    """The folder of the checkpoints that belong to ``key``, in a phase's folder.

    Of others, left by trainings of another config that were interrupted, only the last one stays: going back to that
    config goes on from it, and what they take on the disk is bounded.
    """
    folder = phase / f"working-{key}"
    others = sorted(set(phase.glob("working-*")) - {folder}, key=lambda other: other.stat().st_mtime_ns)
    for other in others[:-1]:
        shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def clear(phase: Path) -> None:
    """Remove the checkpoints of a phase whose result stands."""
    for folder in phase.glob("working-*"):
        shutil.rmtree(folder)


def save(folder: Path, state: State) -> None:
    """Write ``state``; it stands in ``folder`` in one step, and the last but one is removed."""
    plain = {field.name: getattr(state, field.name) for field in fields(state)}
    with removed_on_failure(folder / "checkpoint.pt") as part:
        with part.open("wb") as opened:
            torch.save({**plain, "plateau": asdict(state.plateau)}, opened)
        # The name says what the content must be: iteration and checksum.
        settle(part, folder / f"{state.done:09d}-{digest_of(part)}.pt")
    for old in _newest_first(folder)[2:]:
        old.unlink()


def load(folder: Path) -> State:
    """The newest state in ``folder`` that is whole, or a new one. Plain data and tensors are read, never code."""
    for file in _newest_first(folder):
        try:
            if digest_of(file) != file.stem.split("-")[1]:
                raise ValueError("its content does not fit its checksum")
            plain = torch.load(file, map_location="cpu", weights_only=True)
            return State(**{**plain, "plateau": Plateau(**plain["plateau"])})
        except Exception as error:  # whatever a damaged file leads to
            log.warning("%s: is damaged and left out: %s", file, error)
    return State()


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("?????????-*.pt"), reverse=True)
