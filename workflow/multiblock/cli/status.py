"""``multiblock status``: how far the runs of a config are, from the files in the results folder."""

import argparse
from typing import Any

from multiblock.cli.configs import add_config_argument, study_of
from multiblock.cli.printing import in_bytes, print_table
from multiblock.plan import format_span


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "status",
        help="say how far the runs of a config are",
        description="Say of each phase of each run whether it is done, running, interrupted, stale (made of something "
        "else than the config says now), trained but not measured yet, or waiting; and what else is in the results "
        "folder. Only looks: nothing is written, and no image is needed.",
    )
    add_config_argument(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print a table of data sets, one of phases for each run and seed, then what the plan does not need."""
    from multiblock.workflow.live import Live
    from multiblock.workflow.status import CONVENTION, Status

    study, _ = study_of(options)
    found = Status(study)
    data = found.data()
    print_table(
        [("data", "arrays", "on disk", ""), *((one.name, one.state, in_bytes(one.size), one.why) for one in data)]
    )
    for one in data:
        if one.unseen:
            print(f"the images of {one.name} are taken to be as they were: {one.unseen}")
    running = False
    for name, run in study.runs.items():
        for seed in study.seeds:
            print(f"\nrun {name}, seed {seed}")
            spans = [format_span(phase.first, phase.last) for phase in run.plan.phases]
            header = ("phase", "trains", "state", "PSNR RGB", "no network", "time", "on disk", "")
            phases = found.phases(name, seed)
            running |= any(phase.state == "running" for phase in phases)
            print_table([header, *(_row(*pair) for pair in zip(phases, spans, strict=True))], indent="  ")
    print(f"\n{CONVENTION}")
    if running and (page := Live(found.results, found.store).file).exists():
        print(f"{page} shows validation PSNR as it comes, in a browser")
    for folder in found.others():
        print(f"{folder} is not named by the config")
    if unnamed := found.unnamed():
        results = f"{len(unnamed)} results" if len(unnamed) > 1 else "1 result"
        print(
            f"{results} in {found.store.root} ({in_bytes(sum(one.size for one in unnamed))}) of earlier configs; "
            "changing a config back finds them again; `multiblock clean` lists and removes them"
        )


def _row(phase: Any, span: str) -> tuple[str, ...]:
    """A row of the table of phases."""
    from multiblock.pace import duration
    from multiblock.report import markdown

    at = f" at iteration {phase.at} of {phase.iterations}" if phase.at is not None else ""
    left = f", about {duration(phase.seconds_left)} left" if phase.seconds_left is not None else ""
    return (
        str(phase.number),
        span,
        f"{phase.state}{at}{left}",
        *("-" if value is None else markdown.psnr(value) for value in (phase.psnr, phase.psnr_input)),
        "-" if phase.seconds is None else duration(phase.seconds),
        in_bytes(phase.size) if phase.size else "-",
        "; ".join(filter(None, [phase.shared and f"as in run {phase.shared}", phase.why])),
    )
