"""``multiblock reference``: all config keys as Markdown."""

import argparse
from typing import Any

from multiblock.config.explain import reference


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "reference",
        help="print the reference of all config keys as Markdown",
        description="Print every key of the config with its type, bounds, default and meaning: docs/config.md.",
    )
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> None:
    """Print it."""
    print(reference(), end="")
