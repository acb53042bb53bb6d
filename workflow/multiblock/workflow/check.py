"""The one check before any training: that every phase of every run can be trained."""

import hashlib
import logging
import time
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from multiblock.config import Study
from multiblock.errors import UserError
from multiblock.files import write_text

log = logging.getLogger(__name__)


def check_installed(study: Study) -> None:
    """Check that the packages are there that a study asks for.

    Raises:
        UserError: one is missing.
    """
    if study.report.tensorboard and find_spec("tensorboardX") is None:
        raise UserError(
            "report.tensorboard: found true, and the package tensorboardX is not installed: "
            'pip install "multiblock[tensorboard]"; or leave the key out'
        )


def check(study: Study) -> str:
    """Check all phases of all runs; see :mod:`multiblock.training.feasibility`.

    Returns:
        What was found to be so, as one line; then what should be known, a line each.

    Raises:
        UserError: the first thing that is wrong, with run, phase and key.
    """
    began, phases = time.monotonic(), 0
    from multiblock.training.feasibility import Feasibility

    check_installed(study)
    feasibility = Feasibility()
    for run in study.runs.values():
        tasks, gpus = [run.plan.task(number, 0) for number in run.plan.numbers], [one.gpus for one in run.plan.phases]
        feasibility.check(tasks, run.chain, f"runs.{run.name}.plan", gpus)
        phases += len(run.plan.phases)
    seconds = time.monotonic() - began
    fits = "blocks, parts, optimisers, losses and files of weights fit"
    found = f"checked {phases} phase{'s' if phases > 1 else ''} in {seconds:.1f} s: {fits}"
    return "\n".join([found, *feasibility.words])


def check_once(study: Study, addresses: Iterable[str], memory: Path) -> None:
    """Check a study, unless that was done before with these phases.

    Every training calls this, so that the first one checks what the last one will need.

    Args:
        addresses: of all trainings of the study, which stand for all that they are made of.
        memory: the file that keeps what was found to be right.

    Raises:
        UserError: see :func:`check`.
    """
    gpus = [[phase.gpus for phase in run.plan.phases] for run in study.runs.values()]
    key = hashlib.blake2b(repr((sorted(addresses), gpus)).encode(), digest_size=16).hexdigest()
    try:
        known = memory.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError):
        known = []
    if key not in known:
        log.info(check(study))
        write_text(memory, f"{key}\n")
