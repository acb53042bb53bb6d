"""What Snakemake was called for."""

from collections.abc import Sequence
from dataclasses import dataclass

_LOOKING: tuple[str, ...] = (
    "report",
    "list_rules",
    "list_target_rules",
    "lint",
    "dag",
    "rulegraph",
    "filegraph",
    "d3dag",
    "summary",
)
_LOOKING += ("detailed_summary", "list_changes", "list_input_changes", "list_params_changes", "list_untracked")
_LOOKING += ("list_conda_envs", "unlock", "containerize")


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
