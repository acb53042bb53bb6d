"""What the subcommands that read a config share."""

import argparse
from pathlib import Path
from typing import Any

from multiblock import config
from multiblock.config import Study
from multiblock.config.reading import check_whole
from multiblock.workflow.call import DEFAULT


def add_config_argument(command: argparse.ArgumentParser) -> None:
    """The files that make the config together."""
    command.add_argument(
        "config", nargs="*", type=Path, default=[DEFAULT], help=f"files, merged in order; {DEFAULT} if none is named"
    )


def study_of(options: argparse.Namespace) -> tuple[Study, dict[str, Any]]:
    """The study that the files describe, and what the files hold.

    Raises:
        UserError: all that is wrong, with file or key.
    """
    given = config.read(options.config)
    study = config.load(given)
    if options.config != [DEFAULT]:
        check_whole(given, options.config)
    return study, given
