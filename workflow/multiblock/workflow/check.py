"""The one check before any training: that every phase of every run can be trained."""

import hashlib
import logging
import time
from importlib.util import find_spec
from pathlib import Path

from multiblock.config import Study
from multiblock.errors import UserError
from multiblock.files import write_text
from multiblock.workflow import code_digest

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
        What was found to be so, as one line.

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
    return f"checked {phases} phase{'s' if phases > 1 else ''} in {seconds:.1f} s: {fits}"


def check_once(study: Study) -> None:
    """Check a study, unless it was found right before; what was found stands in ``results/data/checked.txt``.

    Every training calls this, so that the first one checks what the last one will need. It is no rule of its own: one
    that is run again would make Snakemake train again what is finished.

    Raises:
        UserError: see :func:`check`.
    """
    memory = Path(study.results, "data", "checked.txt")
    parts = [code_digest.of("training", *(block.network for run in study.runs.values() for block in run.plan.blocks))]
    for run in study.runs.values():
        tasks = [run.plan.task(number, 0) for number in run.plan.numbers]
        files = sorted({file for task in tasks for file in task.files if Path(file).is_file()})
        own = sorted({block.network for block in run.plan.blocks if block.network.endswith(".py")})
        parts += [
            repr(tasks),
            repr([phase.gpus for phase in run.plan.phases]),
            *(f"{file} {Path(file).stat().st_mtime_ns}" for file in files + own),
        ]
    key = hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
    try:
        known = memory.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        known = []
    if key not in known:
        log.info(check(study))
        write_text(memory, f"{key}\n")
