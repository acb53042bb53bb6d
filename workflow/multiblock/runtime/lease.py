"""A GPU of its own for each process: which one it takes, held by a lock until it ends."""

import logging
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from multiblock.errors import UserError
from multiblock.files import lock

log = logging.getLogger(__name__)

_WAIT = 60
"""Seconds to wait for others that are choosing, which takes them no time."""

_held: dict[str, ExitStack] = {}
"""The GPUs that this process has taken."""


def folder() -> Path:
    """Where the locks lie: on this machine, for this user; one GPU has one folder there, each that uses it a file."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.access(base, os.W_OK):
        return Path(base) / "multiblock-gpus"
    return Path(tempfile.gettempdir()) / f"multiblock-gpus-{os.getuid()}"


def take(gpus: Sequence[str]) -> tuple[int, int]:
    """Take the GPU that the fewest other processes hold, the first of these; until this process ends.

    A process that has one of them keeps it. Where locks cannot be kept, the first is taken, which is said.

    Args:
        gpus: a name each that is the same in all processes of the machine, such as the GPU's UUID.

    Returns:
        Its place in ``gpus``, and how many other processes hold it too.
    """
    for number, gpu in enumerate(gpus):
        if gpu in _held:
            return number, 0
    try:
        with lock(folder(), "choosing a GPU", wait=_WAIT):
            others = [len([slot for slot in _slots(gpu) if _is_taken(slot)]) for gpu in gpus]
            number = others.index(min(others))
            _hold(gpus[number])
            return number, others[number]
    except (OSError, UserError) as error:
        log.warning("GPUs cannot be told apart from those of other jobs, the first is taken: %s", error)
        return 0, 0


def give_back(gpu: str) -> None:
    """Let others have a GPU that this process took."""
    if gpu in _held:
        _held.pop(gpu).close()


def _slots(gpu: str) -> list[Path]:
    return sorted(path for path in (folder() / gpu).glob("*") if path.is_dir())


def _is_taken(slot: Path) -> bool:
    try:
        with lock(slot, "using a GPU"):
            return False
    except UserError:
        return True


def _hold(gpu: str) -> None:
    """Hold the first slot of a GPU that nobody holds."""
    number = 0
    while True:
        stack = ExitStack()
        try:
            stack.enter_context(lock(folder() / gpu / str(number), "using a GPU"))
        except UserError:
            number += 1
            continue
        _held[gpu] = stack
        return
