"""Checkpoints that are either whole or not there: the last two of a training, each with a checksum."""

import logging
from dataclasses import asdict, fields
from pathlib import Path

import torch

from multiblock.files import digest_of, removed_on_failure, settle
from multiblock.training.schedules import Plateau
from multiblock.training.state import State

log = logging.getLogger(__name__)


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
