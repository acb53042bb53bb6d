"""The process of a job: its log, its end on wrong input or a stop, and its end with the workflow that started it."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multiblock.errors import UserError, one_line
from multiblock.networks.own import no_exit
from multiblock.training.signals import end_with
from multiblock.workflow.running import Reports, reports

_WORKFLOW = "MULTIBLOCK_WORKFLOW"
"""Environment variable: the process of the Snakemake that started a job, and what process numbers are about there."""

_NUMBERS = Path("/proc/self/ns/pid")
"""What process numbers are about: in some containers they are others."""


def hand_on() -> None:
    """To be called by a Snakemake that runs one job for another, as on the node of a cluster, too.

    The job will end when this one does: the process number of the first one means nothing on another machine.
    """
    os.environ[_WORKFLOW] = f"{os.getpid()} {_numbers()}"


@contextmanager
def logged(file: Path, label: str = "") -> Iterator[None]:
    """Log to the terminal and to ``file``, and end on wrong input with one line and exit status 1.

    The job asks itself to stop (SIGTERM) when the Snakemake that started it is gone.

    Args:
        label: what each line on the terminal begins with.
    """
    log, listener = logging.getLogger("multiblock"), reports(file, label)
    try:
        open_log(file, label, listener)
        _end_with_workflow()
        with no_exit():
            yield
    except (UserError, OSError) as error:
        log.error("multiblock: error: %s", one_line(error))
        if listener:
            listener.ended("error", one_line(error))
        sys.exit(1)
    except KeyboardInterrupt:
        log.warning("stopped; the same command goes on")
        if listener:
            listener.ended("stop")
        sys.exit(130)


def open_log(file: Path, label: str, listener: Reports | None) -> None:
    """Log to ``file`` from now on, and to the workflow, which shows what a person should see; without it, to stderr."""
    logging.raiseExceptions = False  # a log file on a full disk is not worth a traceback
    log = logging.getLogger("multiblock")
    log.setLevel(logging.DEBUG if listener else logging.INFO)
    to_file = logging.FileHandler(file, encoding="utf-8")
    to_file.setLevel(logging.INFO)
    log.handlers = [listener or logging.StreamHandler(), to_file]
    log.handlers[0].setFormatter(logging.Formatter(f"{label.replace('%', '%%')}%(message)s"))


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


def leave() -> None:
    """End this process without taking its modules apart, which takes PyTorch 0.4 s a job; all files are closed."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
