"""What the workflow does before it plans its jobs: what it was called for, its lock, what it finds in its folder."""

import atexit
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from logging import LogRecord
from pathlib import Path
from types import FrameType
from typing import Any

from multiblock import config as configuration
from multiblock.config import Study
from multiblock.data.dataset import left_out
from multiblock.data.inspection import Inspection, inspect, trained
from multiblock.data.inspection import digests as digests_of_images
from multiblock.errors import UserError
from multiblock.files import Digests, lock
from multiblock.inference.targets import in_folder
from multiblock.model.metadata import digest_of_result
from multiblock.workflow import code_digest, given, stops, time_budget
from multiblock.workflow.call import Call, called_for
from multiblock.workflow.check import check_installed
from multiblock.workflow.dependencies import Dependencies
from multiblock.workflow.experiments import (
    bring_back,
    comes_back,
    left_phases,
    note_experiments,
    other_experiments,
    set_aside,
)
from multiblock.workflow.jobs import Given, hand_on, handed_on, start_jobs
from multiblock.workflow.layout import Layout
from multiblock.workflow.overview import Overview
from multiblock.workflow.records import Records
from multiblock.workflow.resources import Resources
from multiblock.workflow.sharing import as_linked, choose, notes, settle
from multiblock.workflow.terminal import Terminal, install, is_brief, jobs_are_elsewhere
from multiblock.workflow.threads import threads_of_a_conversion, threads_of_a_job

_ASKING = re.compile(r"all|upscale|phase\d+")
"""The rules that make nothing themselves."""


@dataclass(frozen=True)
class Started:
    """What the rules are made of."""

    study: Study
    layout: Layout
    records: Records
    on: Dependencies
    threads: int
    convert_threads: int
    needs: Resources
    terminal: Terminal | None = None


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
    check_installed(study)
    layout = Layout(study)
    main = workflow.is_main_process
    call = called_for(arguments) if main else Call(looks=True)
    cores, gpus = workflow.cores or 1, _gpus(workflow)
    # On a cluster cores are those of a job, and GPUs are counted by the cluster.
    threads = threads_of_a_job(study.threads, cores, None if jobs_are_elsewhere(workflow) else gpus)
    converting = threads_of_a_conversion(study.convert_threads, cores)
    if main:
        stops.in_one_line()
        if call.works and workflow.cores == 0:  # Snakemake would wait for ever
            raise UserError("--cores: found 0; allowed are 1 or more, or all")
        _check_paths(workflow)
        _check_forced(call)
        several = len(study.runs) * len(study.seeds) > 1
        parallel = several and (is_brief(workflow) or (threads < cores and gpus != 1))
        start_jobs(Given(threads, converting, gpus), call.forced, parallel)
    else:
        if workflow.remote_exec:
            hand_on()
        threads, converting, gpus = handed_on(Given(threads, converting, gpus))
    if call.works:
        hold(Path(study.results))
        if jobs_are_elsewhere(workflow):
            given.hand_on(config, Path(study.results, "data", "started_with.json"))
    on_stop: list[Callable[[bool], None]] = []
    if call.works or not main:
        _one_line_for_a_stop(on_stop)
    digests = Digests(layout.digests, digest_of_result)
    code_digest.remember(digests)
    inspection = Inspection(digests)
    counts: dict[str, dict[str, int]] = {}
    if not call.looks:  # all are checked before anything runs
        for line in (line for data in study.data.values() for line in left_out(data)):
            say(line)
        images = {name: inspect(data, inspection, study.largest_patch(name)) for name, data in study.data.items()}
        found = {name: digests_of_images(data, inspection) for name, data in study.data.items()}
        counts = {name: {split: len(each) for split, each in splits.items()} for name, splits in found.items()}
        _check_pictures(study, call, inspection)
        _look_around(study, call, {name: trained(splits) for name, splits in found.items()})
        if call.works and jobs_are_elsewhere(workflow) and (opened := time_budget.opened(study)):
            say(
                f"the budget of {', '.join(opened)} is measured on this machine, which may be slower or faster than "
                "those that train; to measure it there, start Snakemake on one of them first (docs/cluster.md)"
            )
        study = _budgets(study, config, call, inspection, gpus or 0, threads)
        layout = Layout(study)
    records = Records(digests, write=not call.looks, say=say, real=layout.real, plans=call.plans)
    on = Dependencies(study, layout, lambda data: "" if call.looks else images[data], digests.of)
    if main:
        _share(study, layout, on, records, call)
    else:
        layout.owners |= as_linked(study, layout)
    if not call.looks:
        _save(digests, call)
        atexit.register(_save, digests, call)  # what is learnt while jobs are planned
    terminal = None
    if main and not call.looks:
        terminal = install(workflow, Overview(study=study, layout=layout, on=on, records=records, images=counts))
        on_stop += [terminal.stop] if terminal else []
    needs = Resources(layout, on, None if call.looks else inspection, gpus)
    return Started(study, layout, records, on, threads, converting, needs, terminal)


def _save(digests: Digests, call: Call) -> None:
    """Keep what was learnt; a plan of results that are for reading only does without."""
    with suppress(OSError) if call.plans else nullcontext():
        digests.save()


def _gpus(workflow: Any) -> int | None:
    """How many GPUs Snakemake was given; None where it was not told."""
    given = workflow.global_resources.get("gpu")
    value = getattr(given, "value", given)  # Snakemake has an empty one for a resource that was not named
    return None if value is None else int(value)


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


def _check_forced(call: Call) -> None:
    """See that what is to run again in any case does something.

    Raises:
        UserError: it is a rule that only asks for what others make.
    """
    for name in call.forced:
        if _ASKING.fullmatch(name):
            raise UserError(
                f"{name}: is forced, but makes nothing itself, it only asks for what other rules make; name those, as "
                "phase2_1, which trains phase 2, or give --forceall"
            )


def _check_pictures(study: Study, call: Call, inspection: Inspection) -> None:
    """Look at the headers of the pictures that are to be upscaled, and say what is left out.

    Raises:
        UserError: there are none, or one cannot be read; or they are asked for and no folder is named.
    """
    if study.upscale.images is None:
        if "upscale" in call.targets:
            raise UserError(
                "upscale.images: is missing; the folder of the pictures is needed there, as in "
                "--config 'upscale={images: photos}'"
            )
        return
    try:
        pictures, said = in_folder(study.upscale.images, Path(study.results))
        for line in said:
            say(line)
        for file in pictures:
            inspection.look(file)
    except UserError as error:
        raise UserError(f"upscale.images: {error}") from None
    inspection.close()


def _look_around(study: Study, call: Call, images: Mapping[str, Sequence[str]]) -> None:
    """Say what results of other plans and experiments there are; those of another experiment are set aside."""
    for aside, folder in comes_back(study, images).items():
        if call.plans:
            say(f"{aside} holds weights of this chain and data set; it will be {folder} again")
        else:
            bring_back(aside, folder)
            say(f"{aside} holds weights of this chain and data set; it is {folder} again")
    for folder in other_experiments(study, images):
        what = f"{folder} holds weights of another chain or data set"
        if call.plans:
            say(f"{what}; it will be renamed and kept")
        else:
            say(f"{what}; it is kept as {set_aside(folder)}")
    for folder in left_phases(study, images):
        say(f"{folder} is of a phase that the plan no longer has; it is left as it is; `multiblock clean` removes it")
    if call.works:
        note_experiments(study, images)


def _budgets(
    study: Study, config: Mapping[str, Any], call: Call, inspection: Inspection, gpus: int, threads: int
) -> Study:
    """Measure and freeze what budgets of time are open; the study with the iterations that follow.

    The folders of runs have settled by now: one that was brought back has its file with it.
    """
    study = configuration.load(config)
    if call.works:
        return time_budget.freeze(study, config, inspection, min(gpus, 1), threads, say)
    for line in time_budget.told(study):
        say(line)
    return study


def _share(study: Study, layout: Layout, on: Dependencies, records: Records, call: Call) -> None:
    """Say and settle which runs own the phases that are equal."""
    choice = choose(study, layout, on, records)
    if not call.looks:
        for line in notes(choice, layout):
            say(line)
    if call.works:
        settle(study, layout, choice, say)


_HELD = ExitStack()
"""Holds the lock until the process ends."""


def hold(results: Path) -> None:
    """Keep other workflows out of the folder ``results`` until this process ends.

    Raises:
        UserError: another workflow is at work there.
    """
    _HELD.enter_context(lock(results, "running the workflow"))


def _one_line_for_a_stop(on_stop: Sequence[Callable[[bool], None]]) -> None:
    """After Ctrl-C or SIGTERM let Snakemake's log be silent on failed jobs: a stop is no failure, and jobs say what
    they did.

    Args:
        on_stop: what is to be called then, with whether it is Ctrl-C, which all jobs get too.
    """
    from snakemake.logging import logger

    stopped = False

    def stop(at_once: bool) -> None:
        nonlocal stopped
        stopped = True
        for call in on_stop:
            call(at_once)

    def note(number: int, frame: FrameType | None) -> None:
        stop(at_once=True)
        signal.default_int_handler(number, frame)

    def is_wanted(record: LogRecord) -> bool:
        if stopped:
            return False
        if _ASKED_TO_STOP in record.getMessage():
            stop(at_once=False)
        return True

    signal.signal(signal.SIGINT, note)
    logger.addFilter(is_wanted)


_ASKED_TO_STOP = "Will exit after finishing currently running jobs"
"""What Snakemake says on SIGTERM, for which it sets a handler of its own later on."""


def say(text: str) -> None:
    """A line of the workflow on the terminal."""
    print(f"multiblock: {text}", file=sys.stderr)
