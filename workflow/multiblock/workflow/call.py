"""What Snakemake was called with: the configuration, read as strictly as everywhere, targets, and forced rules."""

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from multiblock.config.reading import check_whole, checked, merged, overrides, read
from multiblock.config.study import load
from multiblock.errors import UserError, in_full

DEFAULT = Path("config.yaml")
"""What is read where no file is given."""

_KEPT_LAST = {
    "--configfile": (r"--configf\w*(=.*)?", "--configfile config.yaml short.yaml, later files over earlier ones"),
    "--config": (r"(--config|-C)(=.*)?", "--config seeds=[2] device=cpu"),
}
"""Flags of Snakemake of which the last counts, without a word, where they are given twice; and how it is written."""

_LOOKING = (
    *("report", "list_rules", "list_target_rules", "lint", "dag", "rulegraph", "filegraph", "d3dag", "summary"),
    *("detailed_summary", "list_changes", "list_input_changes", "list_params_changes", "list_untracked"),
    *("list_conda_envs", "unlock", "containerize"),
)
"""Options of Snakemake with which it runs nothing."""


@dataclass(frozen=True)
class Call:
    """What Snakemake was called for.

    Args:
        looks: only to look at what is there, as for a report; nothing is written, and the images may be elsewhere.
        plans: to say what would run.
        targets: names of rules and files that are to be made; none is the default.
        forced: names of rules and files that are to run in any case; ``*`` for all.
    """

    looks: bool = False
    plans: bool = False
    targets: tuple[str, ...] = ()
    forced: tuple[str, ...] = ()

    @property
    def works(self) -> bool:
        """Whether jobs will run."""
        return not (self.looks or self.plans)


def called_for(arguments: Sequence[str]) -> Call:
    """What the command line of Snakemake, without the program's name, asks for."""
    from snakemake.cli import get_argument_parser

    try:
        options, _ = get_argument_parser().parse_known_args(list(arguments))
    except SystemExit:  # not called by its command
        return Call()
    looks = any(getattr(options, name, None) for name in _LOOKING)
    forced = ("*",) if options.forceall else tuple(sorted(map(str, options.forcerun or ())))
    if options.force:
        forced += tuple(map(str, options.targets or ()))
    targets = tuple(map(str, options.targets or ()))
    return Call(looks=looks, plans=bool(options.dryrun), targets=targets, forced=forced)


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
    config = merged([read(names), overrides(settings)])
    try:
        full = checked(config)
    except UserError:
        load(config)  # knows of more that is wrong
        raise
    if files:
        check_whole(config, names)
    return full


def find_first(folder: str) -> None:
    """Let all processes that are started from here look for packages in a folder before they look elsewhere."""
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", folder)]
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, *others])


def is_module(workflow: Any) -> bool:
    """Whether these rules are taken by another workflow, as ``module`` of Snakemake does."""
    return workflow.modifier.base_snakefile is not None


def handed(config: Mapping[str, Any], workflow: Any) -> dict[str, Any]:
    """The configuration that another workflow hands to its module, with all defaults filled in.

    Raises:
        UserError: nothing was handed, what no key allows, or a module whose results would be elsewhere than it says.
    """
    if workflow.modifier.path_modifier._prefix_replacements:
        raise UserError(
            "module: replace_prefix: found one; allowed are prefix, and another results folder in the config"
        )
    if not config:
        raise UserError("module: config: found no keys; allowed is a study, as config: config below a configfile:")
    full = checked(overrides(config, "module: config"))
    full["results"] = prefix_of(workflow) + full["results"]
    return full


def prefix_of(workflow: Any) -> str:
    """What a module puts before all paths of its rules; nothing for most."""
    return workflow.modifier.path_modifier.prefix or ""


def without_affixes(call: Call, workflow: Any) -> Call:
    """What was called for, with rules named as they are here: a module may be taken ``as sr_*``."""
    before, after = workflow.modifier.modify_rulename("\0").split("\0")
    targets, forced = (
        tuple(name.removeprefix(before).removesuffix(after) for name in names) for names in (call.targets, call.forced)
    )
    return replace(call, targets=targets, forced=forced)


def check(arguments: Sequence[str]) -> None:
    """End with one line where Snakemake would end in a traceback, or not say which line of which file it cannot read.

    It reads files and settings before it looks at any rule, so the profile calls this.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", type=Path, default=[])
    parser.add_argument("--config", "-C", nargs="*", default=[])
    given, _ = parser.parse_known_args(arguments[1:])
    try:
        for setting in given.config:
            if not re.fullmatch(r"[A-Za-z_][\w-]*\w=.*", setting, re.DOTALL):
                raise UserError(
                    f"--config: found {setting!r}; allowed are settings such as seeds=[2]; what is to be made comes "
                    "before --config"
                )
        for file in given.configfile:
            if not file.exists() and file.suffix not in (".yaml", ".yml", ".json"):
                raise UserError(
                    f"--configfile: found {file}, and there is no such file; what is to be made comes before "
                    "--configfile"
                )
            if not read([file]):
                raise UserError(f"{file}: holds no keys; allowed is a mapping of keys, as in config.yaml")
    except UserError as error:
        sys.exit(f"multiblock: error: {in_full(error)}")


def _short(file: Path) -> Path:
    """A file as it was probably written: relative where it is in or below the working folder."""
    try:
        return Path(file).relative_to(Path.cwd())
    except ValueError:
        return Path(file)
