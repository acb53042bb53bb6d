"""The GPU that a process takes: one that works, and that as few others as possible use."""

import logging

import torch
import torch.nn.functional as F

from multiblock.runtime import lease

log = logging.getLogger(__name__)


def take_gpu(reason: str) -> tuple[int | None, str]:
    """Number of a GPU that works, with ``reason`` and who else uses it; or why there is none."""
    if not torch.cuda.is_available():
        return None, "PyTorch sees no GPU here"
    left = {_identity(number): number for number in range(torch.cuda.device_count())}
    failed = []
    while left:
        place, others = lease.take(list(left))
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
        lease.give_back(gpu)
        log.warning("GPU %d is left out: %s", number, problem)
        failed.append(f"GPU {number} ({torch.cuda.get_device_name(number)}) does not work: {problem}")
    return None, "; ".join(failed) or "PyTorch sees no GPU here"


def _identity(gpu: int) -> str:
    """What a GPU is called in every process, whichever GPUs a process is shown."""
    return str(torch.cuda.get_device_properties(gpu).uuid)


def _problem(gpu: int) -> str | None:
    """Why a GPU cannot be used, such as that PyTorch was built without kernels for it; None if a convolution runs."""
    try:
        device = torch.device("cuda", gpu)
        x, weight = torch.ones(1, 3, 8, 8, device=device), torch.ones(4, 3, 3, 3, device=device, requires_grad=True)
        F.conv2d(x, weight, padding=1).sum().backward()
        torch.cuda.synchronize(device)
    except Exception as error:  # whatever drivers say
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    return None
