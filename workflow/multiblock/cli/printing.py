"""What several subcommands share: tables as text, and arguments for weights, devices and numbers."""

import argparse
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from multiblock.config.reading import LARGEST_NUMBER
from multiblock.errors import aligned


def print_table(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Print rows as columns of equal width."""
    for line in aligned(rows, indent):
        print(line)


def in_bytes(size: int) -> str:
    """The size of files in a unit that a person reads: ``1.2 MiB``."""
    if size < 1000:
        return f"{size} bytes"
    power = next(power for power in (1, 2, 3, 4) if size < 1000 * 1024**power or power == 4)
    return f"{size / 1024**power:.1f} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"


WEIGHTS = (
    "a run's folder, as results/default (its first seed, last phase); or a seed's or phase's; or a file of weights, as "
    "import writes them"
)


def add_weights_arguments(command: argparse.ArgumentParser) -> None:
    """Add the file of weights, and what it may not state, or not decide, by itself."""
    command.add_argument("weights", type=Path, help=WEIGHTS)
    add_reading_arguments(command)


def add_reading_arguments(command: argparse.ArgumentParser) -> None:
    """Add what weights may not state, or not decide, by themselves."""
    command.add_argument(
        "--enlarge",
        type=int,
        choices=[1, 2, 3, 4],
        help="enlarge LR first by bicubic interpolation; needed for older files, which do not say what they take",
    )
    command.add_argument(
        "--trust-code",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="let this Python file run: a block of one's own that the weights name, as it was when they were trained",
    )


def add_device_arguments(command: argparse.ArgumentParser) -> None:
    """Add where a network runs, and in how much memory."""
    command.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help="auto (default) takes a GPU where there is one",
    )
    command.add_argument(
        "--memory-gib",
        type=memory,
        default=2.5,
        help="memory for feature maps (default: 2.5); what needs more is done in tiles",
    )


def whole(least: int, most: int) -> Callable[[str], int]:
    """A type of argument: a whole number from ``least`` to ``most``."""

    def typed(text: str) -> int:
        if re.fullmatch(r"\d{1,9}", text) and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"found {text}; allowed are {least} to {most}")

    return typed


def number(least: float, most: float) -> Callable[[str], float]:
    """A type of argument: a number from ``least`` to ``most``."""
    return _checked(lambda value: least <= value <= most, f"{least:g} to {most:g}")


def _checked(fits: Callable[[float], bool], allowed: str) -> Callable[[str], float]:
    """A type of argument: a number that ``fits``."""

    def typed(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if fits(value):
            return value
        raise argparse.ArgumentTypeError(f"found {text}; allowed are {allowed}")

    return typed


memory = _checked(lambda value: 0.05 <= value < math.inf, "0.05 or more")
"""A type of argument: GiB of memory, as the key ``inference.memory_gib`` allows."""
minutes = _checked(lambda value: 0 < value <= LARGEST_NUMBER, "minutes above 0")
"""A type of argument: a time, as ``multiblock plan --minutes`` takes it."""


def template(text: str) -> str:
    """A type of argument: a file's name made of another's, in which ``{name}`` occurs once."""
    if re.fullmatch(r"[^{}]*\{name\}[^{}]*", text):
        return text
    raise argparse.ArgumentTypeError(f"found {text!r}; allowed is text with {{name}} in it, as {{name}}x3")
