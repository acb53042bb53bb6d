"""What all checks of a GPU share: what they are told, and how they end."""

from dataclasses import dataclass
from pathlib import Path

import torch
from bench import GIB, How


class NotHeld(Exception):
    """What a check found to be otherwise; its text is for the table."""


class LeftOut(Exception):
    """Why a check cannot be made here."""


@dataclass(frozen=True)
class Options:
    """What the checks are told beside how to measure: the folder with published weights."""

    how: How
    published: Path | None


def require(holds: bool, what: str) -> None:
    """End the check unless ``holds``."""
    if not holds:
        raise NotHeld(what)


def needs_gpu(how: How) -> None:
    """Leave the check out on a CPU, whose memory is not made small for a try."""
    if how.device == "cpu":
        raise LeftOut("the memory of a CPU is not made small for a try")


def little_memory(gib: float) -> None:
    """Let this process have only so much of the GPU's memory."""
    torch.cuda.set_per_process_memory_fraction(gib * GIB / torch.cuda.get_device_properties(0).total_memory)
