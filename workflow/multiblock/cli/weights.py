"""What the subcommands that load weights share."""

import argparse
from pathlib import Path


def add_weights_arguments(command: argparse.ArgumentParser) -> None:
    """The file of weights, and what it may not say, or not decide, by itself."""
    command.add_argument(
        "weights",
        type=Path,
        help="a run's folder, as results/default (its first seed, last phase); or a seed's or phase's; or a file of "
        "weights, as import writes them",
    )
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
