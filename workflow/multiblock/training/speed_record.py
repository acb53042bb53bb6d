"""What :mod:`multiblock.training.speed` measures; apart, as it needs no PyTorch to be read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Speeds:
    """What was measured for the phases of a run, in seconds.

    Args:
        device: what it was measured on, in words.
        start: from the beginning of a process to its first iteration.
        iterations: of one iteration, a list a phase with a number a stage.
        pixels: of one output pixel of a whole image through a phase's blocks.
    """

    device: str
    start: float
    iterations: list[list[float]]
    pixels: list[float]
