"""Checkpoints that are either whole or not there."""

import os
from pathlib import Path
from typing import Any

import torch


def save(file: Path, state: dict[str, Any]) -> None:
    """Write ``state`` under a temporary name, flush it to the disk, then rename it to ``file`` in one step."""
    part = file.with_suffix(".part")
    with part.open("wb") as opened:
        torch.save(state, opened)
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(file)


def load(file: Path) -> dict[str, Any] | None:
    """The state in ``file``, or None where there is none. Only plain data and tensors are read, never code."""
    if not file.exists():
        return None
    return torch.load(file, map_location="cpu", weights_only=True)
