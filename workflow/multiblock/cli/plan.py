"""``multiblock plan``: print the phases of a config, what it left at its default, and whether it can be trained."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multiblock.cli.configs import add_config_argument, study_of
from multiblock.cli.printing import minutes, print_table
from multiblock.config import Run, Study
from multiblock.config.explain import advice, defaults, equals, spending
from multiblock.config.minutes import plan_for, speedometer
from multiblock.config.reading import checked
from multiblock.data.dataset import folders_of, visible
from multiblock.errors import UserError, one_line
from multiblock.plan import INPUT, Plan, format_span
from multiblock.workflow.check import check
from multiblock.workflow.seconds import decided
from multiblock.workflow.store import Store
from multiblock.workflow.threads import cores_here, threads_of_a_job


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "plan",
        help="check a config and print its phases",
        description="Print what each phase of each run starts from, reads and makes, and what runs again when it "
        "changes; then what the config left at its default. Blocks, losses and files of weights are tried; nothing is "
        "trained or written.",
    )
    add_config_argument(parser)
    parser.add_argument(
        "--minutes",
        type=minutes,
        help="measure how fast this machine trains, and print nothing but YAML: the plans with the iterations that fit "
        "into so many minutes a seed; `multiblock plan mine.yaml --minutes 60 > hour.yaml` keeps them, and "
        "`--configfile mine.yaml hour.yaml` trains them",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print a table of phases for each run, and the defaults that the files got; then check all phases.

    With ``--minutes``, print the plan that fits into them instead.
    """
    study, given = study_of(options)
    if options.minutes is not None:
        speed = speedometer(study, threads_of_a_job(study.threads, cores_here(), gpus=None))
        check(study)
        print(plan_for(study, checked(given), options.minutes, speed), end="")
        return
    study = decided(study, Store(Path(study.results)))
    for run in study.runs.values():
        seeds = ", ".join(map(str, study.seeds))
        blocks = "1 block" if len(run.plan.blocks) == 1 else f"{len(run.plan.blocks)} blocks"
        print(f"run {run.name}: {blocks} on {run.data.name}, seed{'s' if len(study.seeds) > 1 else ''} {seeds}")
        header = ("phase", "trains", "starts from", "reads", "makes", "iterations", "block-pixels", "then rerun")
        print_table([header, *(_phase(run.plan, number) for number in run.plan.numbers)], indent="  ")
        for line in (*_shared(study, run), *spending(study, run)):
            print(f"  {line}")
    phases = study.equal_phases
    trained = len({(runs, number) for (_, number), runs in phases.items()})
    if trained < len(phases):
        print(f"{len(phases)} phases a seed, of which {trained} are trained and the others shown")
    if folds := next(iter(study.data.values())).folds:
        count = len(study.seeds) // folds
        print(
            f"{count} seed{'s' if count > 1 else ''} x {folds} folds: {trained} phase{'s' if trained > 1 else ''} x "
            f"{len(study.seeds)} = {trained * len(study.seeds)} trainings; seed 12 is fold 2 of seed 1"
        )
    for line in (*equals(study), *advice(study)):
        print(line)
    for line in defaults(given):
        print(line)
    print(check(study))
    for line in _not_there(study):
        print(line)


def _not_there(study: Study) -> Iterator[str]:
    """A line for each folder of images that cannot be listed, which a plan does without and the workflow does not."""
    folders = [(f"data {data.name}", folder) for data in study.data.values() for folder in folders_of(data)]
    if study.upscale.images:
        folders.append(("upscale.images", study.upscale.images))
    for key, folder in folders:
        try:
            visible(folder)
        except UserError as error:
            yield f"{key}: {one_line(error)}; the workflow cannot start without it"


def _shared(study: Study, run: Run) -> Iterator[str]:
    """Which phases of a run are those of a run before it, a line a run; they are trained once."""
    owners = {number: study.equal_phases[run.name, number][0] for number in run.plan.numbers}
    for owner in dict.fromkeys(owners.values()):
        numbers = [number for number in owners if owners[number] == owner]
        if owner != run.name:
            several = "s" if len(numbers) > 1 else ""
            yield f"phase{several} {format_span(numbers[0], numbers[-1])}: as in run {owner}"


def _phase(plan: Plan, number: int) -> tuple[str, ...]:
    """A row of the plan's table."""
    phase, task, read = plan.phase(number), plan.task(number, 0), plan.reads_set(number)
    starts = [task.starts[block - 1] for block in phase.span]
    return (
        str(number),
        format_span(phase.first, phase.last) + (f" on {phase.gpus} GPUs" if phase.gpus > 1 else ""),
        ", ".join(f"phase {start}" if isinstance(start, int) else start for start in dict.fromkeys(starts)),
        "LR_0" if read.phase == INPUT else f"LR_{read.block} of phase {read.phase}",
        ", ".join(f"LR_{block}" for block in plan.makes_sets(number)) or "-",
        str(task.iterations),
        f"{task.block_pixels:.3g}",
        ", ".join(map(str, plan.reruns(number)[1:])) or "-",
    )
