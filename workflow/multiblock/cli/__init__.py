"""The ``multiblock`` command, whose subcommands are what is useful outside the workflow."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from multiblock import __version__
from multiblock.cli import (
    align,
    check_images,
    clean,
    evaluate,
    init,
    models,
    plan,
    reference,
    status,
    upscale,
    weights,
)
from multiblock.config.rules import expanded
from multiblock.errors import UserError, in_full, lasting_streams
from multiblock.networks.own import no_exit
from multiblock.workflow.threads import wait_passively

_COMMANDS = (init, align, check_images, plan, status, clean, models, weights, evaluate, upscale, reference)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; wrong input ends with one line on standard error and exit status 1, Ctrl-C with 130."""
    with lasting_streams() as out:
        options = _parser().parse_args(arguments)
        wait_passively()
        try:
            _expand_paths(options)
            with no_exit():
                options.run(options)
            out.flush()
            if out.error and not out.is_gone:
                raise OSError(out.error.errno, out.error.strerror, "standard output")
        except (UserError, OSError) as error:
            print(f"multiblock: error: {in_full(error)}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("multiblock: stopped", file=sys.stderr)
            return 130
        return 0


def _expand_paths(options: argparse.Namespace) -> None:
    """Read ~ in all flags and arguments that name files and folders as the keys of a config read it.

    Raises:
        UserError: ~ is followed by what is no user.
    """
    for name, value in vars(options).items():
        given = value if isinstance(value, list) else [value]
        try:
            found = [Path(expanded(str(one))) if isinstance(one, Path) else one for one in given]
        except UserError as error:
            raise UserError(f"{name}: {error}") from None
        setattr(options, name, found if isinstance(value, list) else found[0])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="multiblock", description="Super-resolution networks trained in phases: tools beside the workflow."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser
