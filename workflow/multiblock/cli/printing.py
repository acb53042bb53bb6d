"""What several subcommands share: tables as text, and the arguments of where a network runs."""

import argparse
from collections.abc import Sequence


def print_table(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Rows as columns of equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print((indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip())


def add_device_arguments(command: argparse.ArgumentParser) -> None:
    """Where a network runs, and in how much memory."""
    command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    command.add_argument("--memory-gib", type=float, default=2.5, help="memory for feature maps; more is done in tiles")
