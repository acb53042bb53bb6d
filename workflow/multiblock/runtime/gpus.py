"""The GPU that a process takes: one that works, and that as few others as possible use, held by a lock until it ends.

A GPU has a folder on this machine, for this user, and each process that uses it holds a lock on a folder in there.
PyTorch is imported when a GPU is looked at.
"""

import logging
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from multiblock.errors import UserError
from multiblock.files import is_held, lock

log = logging.getLogger(__name__)

_WAIT = 60
"""Seconds to wait for others that are choosing, which takes them no time."""

_held: dict[str, ExitStack] = {}
"""The GPUs that this process has taken, by name."""


def take_gpu(reason: str) -> tuple[int | None, str]:
    """Take a GPU that works, until this process ends.

    Args:
        reason: why a GPU is used.

    Returns:
        The number of the GPU, and ``reason`` with who else uses it; or None, and why there is none.
    """
    import torch

    if not torch.cuda.is_available():
        return None, "PyTorch sees no GPU here"
    left = {_uuid(number): number for number in range(torch.cuda.device_count())}
    failed = []
    while left:
        place, others = take(list(left))
        gpu = list(left)[place]
        number = left.pop(gpu)
        problem = _problem(number)
        if problem is None:
            torch.cuda.set_device(number)
            if others:
                shared = f"shared with {others} other job{'s' if others > 1 else ''}, as every GPU is in use"
                log.warning("GPU %d is %s", number, shared)
                reason = f"{reason}, {shared}"
            return number, reason
        give_back(gpu)
        log.warning("GPU %d is left out: %s", number, problem)
        failed.append(f"GPU {number} ({torch.cuda.get_device_name(number)}) does not work: {problem}")
    return None, "; ".join(failed) or "PyTorch sees no GPU here"


def _uuid(gpu: int) -> str:
    """The name of a GPU in every process, whichever GPUs a process is shown."""
    import torch

    return str(torch.cuda.get_device_properties(gpu).uuid)


def _problem(gpu: int) -> str | None:
    """Why a GPU cannot be used, such as that PyTorch was built without kernels for it; None if a convolution runs."""
    import torch

    try:
        device = torch.device("cuda", gpu)
        x, weight = torch.ones(1, 3, 8, 8, device=device), torch.ones(4, 3, 3, 3, device=device, requires_grad=True)
        torch.nn.functional.conv2d(x, weight, padding=1).sum().backward()
        torch.cuda.synchronize(device)
    except Exception as error:  # whatever drivers say
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return None


def folder() -> Path:
    """The folder of the locks, on this machine and for this user."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base and os.access(base, os.W_OK):
        return Path(base) / "multiblock-gpus"
    whose = os.getuid() if hasattr(os, "getuid") else "here"  # on Windows each user has a temporary folder
    return Path(tempfile.gettempdir()) / f"multiblock-gpus-{whose}"


def take(gpus: Sequence[str]) -> tuple[int, int]:
    """Take the GPU that the fewest other processes hold, the first of these; until this process ends.

    A process that has one of them keeps it. Where locks cannot be kept, the first is taken, which is logged.

    Args:
        gpus: a name each that is the same in all processes of the machine, such as the GPU's UUID.

    Returns:
        The place of the GPU in ``gpus``, and how many other processes hold it too.
    """
    for number, gpu in enumerate(gpus):
        if gpu in _held:
            return number, 0
    try:
        with lock(folder(), "choosing a GPU", wait=_WAIT):
            others = [sum(map(is_held, (folder() / gpu).glob("*"))) for gpu in gpus]
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


def _hold(gpu: str) -> None:
    """Hold the first slot of a GPU that nobody holds."""
    number = 0
    while is_held(slot := folder() / gpu / str(number)):
        number += 1
    stack = ExitStack()
    stack.enter_context(lock(slot, "using a GPU"))
    _held[gpu] = stack
