"""``multiblock status``: how far the runs of a config are, from the files in the results folder."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multiblock.cli.configs import add_config_argument, study_of
from multiblock.cli.printing import in_bytes, print_table
from multiblock.files import size_of
from multiblock.plan import format_span


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "status",
        help="say how far the runs of a config are",
        description="Say of each phase of each run whether it is done, running, interrupted, stale (made of something "
        "else than the config says now), trained but not measured yet, or waiting; and what else lies in the results "
        "folder. Only looks: nothing is written, and no image is needed.",
    )
    add_config_argument(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print a table of data sets, one of phases for each run and seed, then what the plan does not need."""
    from multiblock.workflow.status import CONVENTION, status

    study, _ = study_of(options)
    found = status(study)
    rows = [(data.name, data.state, in_bytes(size_of(data.folder)), data.why) for data in found.data]
    print_table([("data", "arrays", "on disk", ""), *rows])
    for data in found.data:
        if data.unseen:
            print(f"the images of {data.name} are taken to be as they were: {data.unseen}")
    for (name, seed), phases in found.phases.items():
        print(f"\nrun {name}, seed {seed}")
        plan = study.runs[name].plan
        spans = [format_span(phase.first, phase.last) for phase in plan.phases]
        header = ("phase", "trains", "state", "PSNR RGB", "no network", "time", "on disk", "")
        print_table([header, *(_row(*pair) for pair in zip(phases, spans, strict=True))], indent="  ")
    print(f"\n{CONVENTION}")
    _print_folders("holds weights of another chain or data set; the next run renames it and keeps it", found.aside)
    _print_folders("is of a phase that the plan no longer has", found.left)
    _print_folders("was set aside", found.before)
    _print_folders("is not named by the config", found.others)
    unneeded = [folder for phases in found.phases.values() for phase in phases for folder in phase.unneeded]
    _print_folders("holds checkpoints that the plan does not go on from", unneeded)
    if found.left or found.before or unneeded:
        print("`multiblock clean` lists what can be removed")


def _row(phase: Any, span: str) -> tuple[str, ...]:
    """A row of the table of phases."""
    from multiblock.report import markdown
    from multiblock.training.progress import duration

    at = f" at iteration {phase.at} of {phase.iterations}" if phase.at is not None else ""
    left = f", about {duration(phase.seconds_left)} left" if phase.seconds_left is not None else ""
    return (
        str(phase.number),
        span,
        f"{phase.state}{at}{left}",
        *("-" if value is None else markdown.psnr(value) for value in (phase.psnr, phase.psnr_input)),
        "-" if phase.seconds is None else duration(phase.seconds),
        in_bytes(size_of(phase.folder)) if phase.folder.is_dir() and not phase.owner else "-",
        "; ".join(filter(None, [phase.owner and f"as in run {phase.owner}", phase.why])),
    )


def _print_folders(what: str, folders: Sequence[Path]) -> None:
    for folder in folders:
        print(f"{folder} ({in_bytes(size_of(folder))}) {what}")
