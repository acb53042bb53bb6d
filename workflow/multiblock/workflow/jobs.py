"""What every script of the workflow does around the one function that it calls."""

import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiblock.errors import UserError, one_line

if TYPE_CHECKING:
    from multiblock.runtime.device import Device

_WORKFLOW = "MULTIBLOCK_WORKFLOW"
_NUMBERS = Path("/proc/self/ns/pid")
"""What process numbers are about: in some containers they are others."""


def start_jobs() -> None:
    """To be called by the Snakemake that starts jobs: they will end when it does."""
    os.environ[_WORKFLOW] = f"{os.getpid()} {os.readlink(_NUMBERS)}"


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Log to the terminal and to the rule's log file, and end on wrong input with one line and exit status 1.

    The job asks itself to stop (SIGTERM) when the Snakemake that started it is gone.
    """
    logging.raiseExceptions = False  # a log file on a full disk is not worth a traceback
    logger = logging.getLogger("multiblock")
    logger.setLevel(logging.INFO)
    logger.handlers = [logging.StreamHandler()]
    try:
        logger.addHandler(logging.FileHandler(snakemake.log[0], encoding="utf-8"))
        for handler in logger.handlers:
            handler.setFormatter(logging.Formatter("%(message)s"))
        _end_with_workflow()
        yield
    except (UserError, OSError) as error:
        logger.error("multiblock: error: %s", one_line(error))
        sys.exit(1)
    except KeyboardInterrupt:
        logger.info("stopped")
        sys.exit(130)


def _end_with_workflow() -> None:
    """End when the Snakemake that started this job does, or now if it is gone already."""
    process, _, numbers = os.environ.get(_WORKFLOW, "").partition(" ")
    if not process or numbers != os.readlink(_NUMBERS):
        return
    if int(process) not in _ancestors():
        raise UserError("the Snakemake that started this job is gone")
    threading.Thread(target=_watch, args=(os.pidfd_open(int(process)),), daemon=True).start()


def _watch(process: int) -> None:
    select.select([process], [], [])  # readable once the process has ended
    os.kill(os.getpid(), signal.SIGTERM)


def _ancestors() -> list[int]:
    found, process = [], os.getppid()
    while process > 0:
        found.append(process)
        try:
            status = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            break
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
