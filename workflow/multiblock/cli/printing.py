"""What several subcommands share: tables as text, and the arguments of where a network runs."""

import argparse
import math
import re
from collections.abc import Callable, Sequence

from multiblock.config.schema import LARGEST_NUMBER
from multiblock.errors import aligned


def print_table(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Rows as columns of equal width."""
    for line in aligned(rows, indent):
        print(line)


def in_bytes(size: int) -> str:
    """What files take, in a unit that a person reads: ``1.2 MiB``."""
    if size < 1000:
        return f"{size} bytes"
    power = next(power for power in (1, 2, 3, 4) if size < 1000 * 1024**power or power == 4)
    return f"{size / 1024**power:.1f} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"


def add_device_arguments(command: argparse.ArgumentParser) -> None:
    """Where a network runs, and in how much memory."""
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

    def typed(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if least <= value <= most:
            return value
        raise argparse.ArgumentTypeError(f"found {text}; allowed are {least:g} to {most:g}")

    return typed


def memory(text: str) -> float:
    """A type of argument: GiB of memory, as the key ``inference.memory_gib`` allows."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0.05 <= value < math.inf:
        return value
    raise argparse.ArgumentTypeError(f"found {text}; allowed are 0.05 or more")


def minutes(text: str) -> float:
    """A type of argument: a time, as ``multiblock plan --minutes`` takes it."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 < value <= LARGEST_NUMBER:
        return value
    raise argparse.ArgumentTypeError(f"found {text}; allowed are minutes above 0")


def template(text: str) -> str:
    """A type of argument: a file's name made of another's, which ``{name}`` stands for once."""
    if re.fullmatch(r"[^{}]*\{name\}[^{}]*", text):
        return text
    raise argparse.ArgumentTypeError(f"found {text!r}; allowed is text with {{name}} in it, as {{name}}x3")
