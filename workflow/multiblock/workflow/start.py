"""What the workflow does before it plans its jobs: what it was called for, its lock, what it finds in its folder."""

import atexit
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from multiblock import config as configuration
from multiblock.config import Run, Study
from multiblock.data.dataset import left_out
from multiblock.data.inspection import Inspection, inspect
from multiblock.errors import UserError
from multiblock.files import Digests, lock, write_text
from multiblock.model.metadata import digest_of_result
from multiblock.workflow.dependencies import Dependencies
from multiblock.workflow.jobs import start_jobs
from multiblock.workflow.layout import Layout
from multiblock.workflow.records import Records


@dataclass(frozen=True)
class Started:
    """What the rules are made of."""

    study: Study
    layout: Layout
    records: Records
    on: Dependencies
    threads: int


def start(config: dict[str, Any], arguments: Sequence[str], workflow: Any) -> Started:
    """Check the configuration, which is filled in, and the images; take the lock; look at what is there.

    Args:
        arguments: Snakemake's command line.
        workflow: Snakemake's; its main process is the one that a user called, others run jobs for it.

    Raises:
        UserError: what is wrong with the configuration, an image, or the folder of results.
    """
    config.update(configuration.checked(config))
    study = configuration.load(config)
    layout = Layout(study)
    main = workflow.is_main_process
    call = called_for(arguments) if main else Call(looks=True)
    cores, gpus = workflow.cores or 1, _gpus(workflow)
    threads = threads_of_a_job(study.threads, cores, gpus)
    if main:
        _check_paths(workflow)
        several = len(study.runs) * len(study.seeds) > 1
        start_jobs(call.forced, parallel=several and threads < cores and gpus != 1)
    if call.works:
        hold(Path(study.results))
    if call.works or not main:
        _one_line_for_a_stop()
    if not call.looks:
        _look_around(study, call)
        for line in (line for data in study.data.values() for line in left_out(data)):
            say(line)
    digests = Digests(layout.digests, digest_of_result)
    inspection = Inspection(digests)
    if not call.looks:  # all are checked before anything runs
        images = {name: inspect(data, inspection, study.largest_patch(name)) for name, data in study.data.items()}
    records = Records(digests, write=not call.looks)
    on = Dependencies(study, layout, lambda data: "" if call.looks else images[data], digests.of)
    if not call.looks:
        digests.save()
        atexit.register(digests.save)  # what is learnt while jobs are planned
    return Started(study, layout, records, on, threads)


def _gpus(workflow: Any) -> int | None:
    """How many GPUs Snakemake was given; None where it was not told."""
    given = workflow.global_resources.get("gpu")
    value = getattr(given, "value", given)  # Snakemake has an empty one for a resource that was not named
    return None if value is None else int(value)


def threads_of_a_job(wanted: int | str, cores: int, gpus: int | None) -> int:
    """CPU threads of a job that trains or measures.

    Args:
        wanted: the config key ``threads``.
        cores, gpus: what Snakemake was given; None where it was not told how many GPUs.
    """
    return max(1, cores // (gpus or 1)) if wanted == "auto" else min(int(wanted), cores)


def _check_paths(workflow: Any) -> None:
    """Snakemake starts jobs by a command line in which it does not quote all paths.

    Raises:
        UserError: one of them has a space in it.
    """
    for what, path in (("Python", sys.executable), ("the project", workflow.basedir), ("the folder", os.getcwd())):
        if " " in str(path):
            raise UserError(
                f"{path}: {what} lies under a path with a space, from which Snakemake cannot start jobs; move it, or "
                "go there by a link without one"
            )


def _look_around(study: Study, call: "Call") -> None:
    """Say what results of other plans and experiments there are; those of another experiment are set aside."""
    for folder in other_experiments(study):
        what = f"{folder} holds weights of another chain or data set"
        if call.plans:
            say(f"{what}; it will be renamed and kept")
        else:
            say(f"{what}; it is kept as {set_aside(folder)}")
    for folder in left_phases(study):
        say(f"{folder} is of a phase that the plan no longer has; it is left as it is")
    if call.works:
        note_experiments(study)


_HELD = ExitStack()
"""Holds the lock until the process ends."""

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
_LOOKING += ("detailed_summary", "list_changes", "list_input_changes", "list_params_changes", "containerize")


@dataclass(frozen=True)
class Call:
    """What Snakemake was called for.

    Args:
        looks: only to look at what is there, as for a report; nothing is written, and the images may be elsewhere.
        plans: to say what would run.
        forced: names of rules and files that are to run in any case; ``*`` for all.
    """

    looks: bool = False
    plans: bool = False
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
    forced = ("*",) if options.forceall else tuple(map(str, options.forcerun or ()))
    if options.force:
        forced += tuple(map(str, options.targets or ()))
    return Call(looks=looks, plans=bool(options.dryrun), forced=forced)


def hold(results: Path) -> None:
    """Keep other workflows out of the folder ``results`` until this process ends.

    Raises:
        UserError: another workflow is at work there.
    """
    _HELD.enter_context(lock(results, "running the workflow"))


def other_experiments(study: Study) -> list[Path]:
    """The folders of runs that hold finished weights of another chain or of another data set.

    A chain that was grown or shortened is the same experiment, and so is one whose images or recipes have changed.
    """
    return [folder for run in study.runs.values() if _is_other(folder := Path(study.results, run.name), run)]


def _is_other(folder: Path, run: Run) -> bool:
    before = _read(folder / "experiment.json")
    if not before or not any(folder.glob("seed*/phase*/weights.safetensors")):
        return False
    now = _experiment(run)
    common = min(len(before.get("chain", [])), len(now["chain"]))
    return before.get("data") != now["data"] or before["chain"][:common] != now["chain"][:common]


def set_aside(folder: Path) -> Path:
    """Rename the folder of a run, so that another experiment of that name loses nothing; its new name."""
    number = 1
    while (aside := folder.with_name(f"{folder.name}.before{number}")).exists():
        number += 1
    folder.rename(aside)
    return aside


def note_experiments(study: Study) -> None:
    """Write down which experiment each run is."""
    for run in study.runs.values():
        file = Path(study.results, run.name, "experiment.json")
        if _read(file) != _experiment(run):
            write_text(file, json.dumps(_experiment(run), indent=2) + "\n")


def _experiment(run: Run) -> dict[str, Any]:
    return json.loads(json.dumps({"data": run.data.name, "chain": [asdict(block) for block in run.plan.blocks]}))


def _read(file: Path) -> Mapping[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def left_phases(study: Study) -> list[Path]:
    """Folders of phases that the plan no longer has."""
    found = []
    for run in study.runs.values():
        for folder in sorted(Path(study.results, run.name).glob("seed*/phase*")):
            number = folder.name.removeprefix("phase")
            if number.isdecimal() and int(number) > len(run.plan.phases):
                found.append(folder)
    return found


def _one_line_for_a_stop() -> None:
    """After Ctrl-C let Snakemake's log be silent on failed jobs: a stop is no failure, and jobs say what they did."""
    from snakemake.logging import logger

    stopped = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    logger.addFilter(lambda _: not stopped)


def say(text: str) -> None:
    """A line of the workflow on the terminal."""
    print(f"multiblock: {text}", file=sys.stderr)
