"""What every script of the workflow does around the one function that it calls."""

import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from multiblock.errors import UserError, one_line
from multiblock.files import is_held
from multiblock.networks.own import no_exit
from multiblock.training.signals import end_with
from multiblock.workflow import tells
from multiblock.workflow.records import Record

if TYPE_CHECKING:
    from multiblock.runtime.device import Device

log = logging.getLogger(__name__)

_WORKFLOW = "MULTIBLOCK_WORKFLOW"
_FORCED = "MULTIBLOCK_FORCED"
_PARALLEL = "MULTIBLOCK_PARALLEL"
_GIVEN = "MULTIBLOCK_GIVEN"
_NUMBERS = Path("/proc/self/ns/pid")
"""What process numbers are about: in some containers they are others."""


class Given(NamedTuple):
    """What there is for jobs.

    Args:
        threads: CPU threads of one that trains or measures.
        converting: CPU threads of one that converts images.
        gpus: how many Snakemake was given; None where it was not told.
    """

    threads: int
    converting: int
    gpus: int | None = None


def start_jobs(given: Given, forced: Iterable[str] = (), parallel: bool = False) -> None:
    """To be called by the Snakemake that a user started: its jobs will end when it does.

    Args:
        forced: rules and files whose jobs work even if their result stands; ``*`` for all.
        parallel: whether several jobs may train at once, so that each line has to say whose it is.
    """
    hand_on()
    os.environ[_GIVEN] = json.dumps(given)
    os.environ[_FORCED] = json.dumps([*forced])
    os.environ[_PARALLEL] = "yes" if parallel else ""


def is_forced(rule: str, outputs: Iterable[str]) -> bool:
    """Whether a user wants a job to work even if its result stands: by the name of its rule, or of a file it makes."""
    forced = json.loads(os.environ.get(_FORCED) or "[]")
    return not {"*", rule, *map(os.path.normpath, outputs)}.isdisjoint(map(os.path.normpath, forced))


def hand_on() -> None:
    """To be called by a Snakemake that runs one job for another, as on the node of a cluster, too.

    The job will end when this one does: the process number of the first one means nothing on another machine.
    """
    os.environ[_WORKFLOW] = f"{os.getpid()} {_numbers()}"


def handed_on(found: Given) -> Given:
    """What the Snakemake that a user started has for its jobs; ``found`` where it has said nothing.

    On the node of a cluster Snakemake sees all that is there, which may be more than the job asked for.
    """
    text = os.environ.get(_GIVEN)
    return Given(*json.loads(text)) if text else found


@contextmanager
def job(snakemake: Any) -> Iterator[bool]:
    """One job of the workflow, see :func:`logged`.

    Yields whether there is work to do: not where the result is there already, made of just what it is to be made of.
    The process ends with the job.
    """
    with logged(Path(snakemake.log[0]), label(snakemake.wildcards)):
        depends = snakemake.input.depends
        read = (file for file in snakemake.input if file != depends)
        record = Record(Path(depends), read, snakemake.output, snakemake.params.get("folder"))
        _wait_for_another(snakemake.output)
        if is_forced(snakemake.rule, snakemake.output):
            record.withdraw()
        if record.stands():
            log.info("stands as it is: it was made of the same")
            record.touch()
            yield False
        else:
            yield True
            record.note(_versions())
    leave()


def _wait_for_another(output: Any) -> None:
    """On a cluster, wait for a job that trains the same phase: an earlier workflow that was killed has left it there.

    Once that is done, its result stands; where it was stopped, this job goes on from its checkpoint.
    """
    weights = output.get("weights")
    if not weights or not os.environ.get("SLURM_JOB_ID") or not is_held(folder := Path(weights).parent):
        return
    log.info("waits for another job that trains in %s", folder)
    while is_held(folder):
        time.sleep(1)


def leave() -> None:
    """End this process without taking its modules apart, which takes PyTorch 0.4 s a job; all files are closed."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def label(wildcards: Any) -> str:
    """What lines on the terminal begin with where several jobs write there: run, seed, phase, and which LR_k."""
    if not os.environ.get(_PARALLEL):
        return ""
    named = {"seed": "seed ", "phase": "phase ", "block": "LR_"}
    names = [f"{named.get(key, '')}{value}" for key, value in wildcards.items()]
    return f"[{', '.join(names)}] " if names else ""


@contextmanager
def logged(file: Path, label: str = "") -> Iterator[None]:
    """Log to the terminal and to ``file``, and end on wrong input with one line and exit status 1.

    The job asks itself to stop (SIGTERM) when the Snakemake that started it is gone.

    Args:
        label: what each line on the terminal begins with.
    """
    logger, told = logging.getLogger("multiblock"), tells.listener(file)
    try:
        open_log(file, label, told)
        _end_with_workflow()
        with no_exit():
            yield
    except (UserError, OSError) as error:
        logger.error("multiblock: error: %s", one_line(error))
        if told:
            told.ended("error")
        sys.exit(1)
    except KeyboardInterrupt:
        logger.warning("stopped; the same command goes on")
        if told:
            told.ended("stop")
        sys.exit(130)


def open_log(file: Path, label: str, told: tells.Tells | None) -> None:
    """Log to the terminal and to ``file`` from now on; and to who listens."""
    logging.raiseExceptions = False  # a log file on a full disk is not worth a traceback
    logger = logging.getLogger("multiblock")
    terminal = logging.StreamHandler()
    logger.setLevel(logging.INFO)
    logger.handlers = [terminal]
    logger.addHandler(logging.FileHandler(file, encoding="utf-8"))
    for handler in logger.handlers:
        handler.setLevel(logging.INFO)
        handler.setFormatter(logging.Formatter("%(message)s"))
    terminal.setFormatter(logging.Formatter(f"{label.replace('%', '%%')}%(message)s"))
    if told:
        terminal.addFilter(tells.is_for_a_person)
        logger.setLevel(logging.DEBUG)
        logger.addHandler(told)


def _versions() -> dict[str, str]:
    """Versions of the packages that compute, as far as this job has used them."""
    import platform
    from importlib.metadata import version

    # Not what a module says of itself: some builds of torch name their CUDA there alone, and a start compares these.
    used = [name for name in ("torch", "numpy") if name in sys.modules]
    return {"python": platform.python_version(), **{name: version(name) for name in used}}


def _numbers() -> str:
    try:
        return os.readlink(_NUMBERS)
    except OSError:
        return "unknown"


def _end_with_workflow() -> None:
    """End when the Snakemake that started this job does, or now if it is gone already."""
    process, _, numbers = os.environ.get(_WORKFLOW, "").partition(" ")
    if not process or numbers != _numbers():
        return
    if (ancestors := _ancestors()) and int(process) not in ancestors:
        raise UserError("the Snakemake that started this job is gone")
    end_with(int(process))


def _ancestors() -> list[int]:
    """The processes above this one; nothing where the system does not tell."""
    found, process = [], os.getppid()
    while process > 0:
        found.append(process)
        try:
            status = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return []
        process = int(status.rpartition(")")[2].split()[1])
    return found


def device_of(snakemake: Any) -> "Device":
    """The device that the config and the job's resources lead to."""
    from multiblock.runtime.device import choose

    config = snakemake.config
    return choose(config["device"], config["precision"], snakemake.resources.get("gpu", 0), snakemake.threads)


def weights_by_phase(files: Iterable[str]) -> dict[int, Path]:
    """Weights files by the number of the phase, which their folder is named after."""
    return {int(Path(file).parent.name.removeprefix("phase")): Path(file) for file in files}


def trusted_code(snakemake: Any) -> list[Path]:
    """The Python files that the config names as blocks: their code may run where weights name them."""
    named = dict.fromkeys(block["network"] for block in snakemake.config["blocks"].values())
    return [Path(network) for network in named if network.endswith(".py")]
