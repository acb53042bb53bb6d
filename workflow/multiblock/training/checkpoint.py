"""Checkpoints that are either whole or not there: the last two of a training, each with a checksum."""

import logging
import shutil
from dataclasses import asdict, fields
from pathlib import Path

import torch

from multiblock.files import digest_of, lock, removed_on_failure, settle
from multiblock.training.schedules import Plateau
from multiblock.training.state import State

log = logging.getLogger(__name__)


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
    """Remove the checkpoints of a phase whose result stands.

    Raises:
        UserError: a training is at work there.
    """
    with lock(phase, "training"):
        for folder in phase.glob("working-*"):
            shutil.rmtree(folder)


def save(folder: Path, state: State) -> None:
    """Write ``state``; it stands in ``folder`` in one step, and the last but one is removed.

    So are those of later iterations: had they been whole, training would have gone on from them.
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
