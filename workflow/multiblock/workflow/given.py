"""The configuration as it was given to Snakemake, read as strictly as everywhere."""

import argparse
import json
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multiblock.config.reading import check_whole, checked, merge, overrides, read
from multiblock.config.study import load
from multiblock.errors import UserError, in_full
from multiblock.files import read_json, write_text

DEFAULT = Path("config.yaml")
"""What is read where no file is given."""

_KEPT_LAST = {
    "--configfile": (r"--configf\w*(=.*)?", "--configfile config.yaml short.yaml, later files over earlier ones"),
    "--config": (r"(--config|-C)(=.*)?", "--config seeds=[2] device=cpu"),
}
"""Flags of Snakemake of which the last counts, without a word, where they are given twice; and how it is written."""


_STARTED_WITH = "MULTIBLOCK_STARTED_WITH"
"""Environment variable: the file that holds what a workflow was started with, for jobs on other machines."""


def hand_on(config: Mapping[str, Any], file: Path) -> None:
    """Keep a configuration for the jobs that other machines run: they begin later, and its files may be edited by then.

    Args:
        file: where to, in a folder that these machines share.
    """
    write_text(file, json.dumps(config))
    os.environ[_STARTED_WITH] = str(file.resolve())


def handed_on() -> dict[str, Any]:
    """What the Snakemake was started with for which this one runs a job; empty where it has not said so."""
    return read_json(Path(os.environ.get(_STARTED_WITH, os.devnull)))


def configuration(files: Sequence[Path], settings: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """The configuration with all defaults filled in.

    Args:
        files: those given with ``--configfile``; config.yaml where there are none.
        settings: what ``--config`` laid over them.
        arguments: the command line of Snakemake.

    Raises:
        UserError: a file that cannot be read, what no key allows, files that make no study by themselves, or a flag
            that is given twice.
    """
    for flag, (pattern, example) in _KEPT_LAST.items():
        if sum(bool(re.fullmatch(pattern, argument)) for argument in arguments) > 1:
            raise UserError(f"{flag}: found twice, of which Snakemake keeps the last; give it once: {example}")
    names = [_short(file) for file in files] or [DEFAULT]
    merged = read(names)
    merge(merged, overrides(settings))
    try:
        full = checked(merged)
    except UserError:
        load(merged)  # knows of more that is wrong
        raise
    if files:
        check_whole(merged, names)
    return full


def check(arguments: Sequence[str]) -> None:
    """End with one line where Snakemake would end in a traceback, or not say which line of which file it cannot read.

    It reads files and settings before it looks at any rule, so the profile calls this.
    """
    if "--verbose" not in arguments:
        logging.getLogger("snakemake.logging").addFilter(_is_news)
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", type=Path, default=[])
    parser.add_argument("--config", "-C", nargs="*", default=[])
    given, _ = parser.parse_known_args(arguments[1:])
    try:
        for setting in given.config:
            if not re.fullmatch(r"[A-Za-z_][\w-]*\w=.*", setting, re.DOTALL):
                raise UserError(
                    f"--config: found {setting!r}; allowed are settings such as seeds=[2]; what is to be made stands "
                    "before --config"
                )
        for file in given.configfile:
            if not file.exists() and file.suffix not in (".yaml", ".yml", ".json"):
                raise UserError(
                    f"--configfile: found {file}, and there is no such file; what is to be made stands before "
                    "--configfile"
                )
            if not read([file]):
                raise UserError(f"{file}: holds no keys; allowed is a mapping of keys, as in config.yaml")
    except UserError as error:
        sys.exit(f"multiblock: error: {in_full(error)}")


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a record of Snakemake's is more than what it takes for granted, said before it looks at any rule."""
    return record.getMessage() != "Assuming unrestricted shared filesystem usage."


def _short(file: Path) -> Path:
    """A file as it was probably written: relative where it lies in or below the working folder."""
    try:
        return Path(file).relative_to(Path.cwd())
    except ValueError:
        return Path(file)
