"""Where a training is, and its checkpoints: the last two, each with a checksum, whole or not there."""

import logging
import math
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
    """All that a training needs to go on as if it had never stopped.

    The sampler needs nothing: its batches follow from the iteration.

    Args:
        step: iterations done.
        stage: index of the stage that the optimiser belongs to.
        recorded: the last iteration after which the row of the history and the look at the validation images, where
            they were due, were done.
        weights, optimiser: their state dicts.
        random: states of PyTorch's random numbers, which networks with dropout draw from.
        loss_sum, norm_sum, count: sums of the losses and gradient norms since the last row of the history, and their
            number.
        history: the text of ``history.csv``.
        plateau: what the schedule of that name has seen.
        average: the state of the moving average of the weights, if the stage has one.
        psnr: PSNR RGB of the validation images, in dB, when they were last looked at.
        best_psnr, best_step, best_weights: PSNR, iteration and weights at the look at which it was highest.
        parts: in how many parts a batch of the stage is computed; 0 before that is known.
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
    parts: int = 0
    segments: list[dict[str, Any]] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)

    def note_best(self, psnr: float, weights: Mapping[str, Tensor]) -> None:
        """Keep a copy of the weights if they did better on the validation images than any before."""
        if psnr > self.best_psnr:
            self.best_psnr, self.best_step = psnr, self.step
            self.best_weights = {name: value.detach().clone() for name, value in weights.items()}


def save(folder: Path, state: State) -> None:
    """Write ``state`` into ``folder`` in one step, and remove the last but one.

    Checkpoints of later iterations go too: had they been whole, training would have gone on from them.
    """
    plain = {field.name: getattr(state, field.name) for field in fields(state)}
    with removed_on_failure(folder / "checkpoint.pt") as part:
        with part.open("wb") as opened:
            torch.save({**plain, "plateau": asdict(state.plateau)}, opened)
        # The name says what the content must be: iteration and checksum.
        settle(part, folder / f"{state.step:09d}-{digest_of(part)}.pt")
    files = _newest_first(folder)
    later = [file for file in files if _iteration(file) > state.step]
    for old in later + files[len(later) + 2 :]:
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


def _iteration(file: Path) -> int:
    return int(file.name.partition("-")[0])
