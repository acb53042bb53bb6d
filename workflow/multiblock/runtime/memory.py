"""Memory for feature maps: what a network needs, and how the C library hands it out."""

import ctypes
import re
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from multiblock.errors import UserError

_GIB = 2**30

GAPS = 2
"""What reused memory takes over what is needed, at most: in the gaps between maps nothing else fits."""


def ran_out(error: BaseException) -> bool:
    """Whether an error says that a GPU, or the machine, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


@contextmanager
def enough(what: str, device: torch.device, blocks: bool = False) -> Iterator[None]:
    """Turn an error for want of memory within this context into one line that says what needs it.

    Args:
        blocks: whether it would take less if blocks were computed again in the backward pass.

    Raises:
        UserError: the memory does not hold ``what``.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        there = "this machine"
        if device.type == "cuda":
            free, total = torch.cuda.mem_get_info(device)
            there = f"GPU {device.index or 0}, of whose {total / _GIB:.1f} GiB {free / _GIB:.1f} are free,"
        raise UserError(
            f"out of memory: {there} cannot train with {what}; a smaller batch or patch takes less, as does "
            "accumulate: 2 (or auto) in this stage, with compile: never, which computes a batch in parts"
            + (", and so does recompute: blocks in this stage, with compile: never, for the same weights" * blocks)
        ) from None


def room(device: torch.device, gib: float) -> float:
    """The bytes for feature maps: ``gib``, and on a GPU half of what is free, if that is more."""
    if device.type != "cuda":
        return gib * _GIB
    return max(gib * _GIB, (available(device) or 0) / 2)


def available(device: torch.device) -> float | None:
    """The bytes that are free; None where this system does not say."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # to be used again
        return torch.cuda.mem_get_info(device)[0] + kept
    with suppress(OSError):
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
        return int(found[1]) * 1024 if found else None
    return None


def most(compute: Callable[[], Any]) -> int:
    """The most bytes of tensors that are held at once of those that a computation makes."""
    with _Living() as living:
        compute()
    return living.most


@lru_cache(maxsize=16)
def per_pixel(network: nn.Module) -> int:
    """The bytes of feature maps that ``network`` holds at once, for each pixel of an image that it runs on.

    Counted while it runs on a small image. Weights, the image itself and scratch space of convolutions come on top.
    """
    side = 64
    image = torch.zeros(1, 3, side, side, device=next(network.parameters()).device)
    with torch.inference_mode(), _Living() as living:
        network(image)
    return -(-living.most // side**2)


class _Living(TorchDispatchMode):
    """Counts the bytes of all tensors that were made in this context and are still there; ``most`` at once."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._sizes: dict[int, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Whether to keep out of torch.compile, which would import the compiler: 1.5 s in each job for nothing."""
        return False

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._sizes:
                    self._sizes[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self._sizes.pop, storage._cdata)
        self.most = max(self.most, sum(self._sizes.values()))
        return made


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_DEFAULT_MMAP_MAX = 65536


@cache
def _libc() -> ctypes.CDLL | None:
    """glibc; other C libraries are left as they are."""
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def give_back(device: torch.device) -> None:
    """Free what is kept for reuse, after memory ran out."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif libc := _libc():
        libc.malloc_trim(0)


def reuse() -> None:
    """Keep what is freed for the next map: a page that comes new from the kernel costs more than a ReLU on it."""
    if libc := _libc():
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def exact() -> Iterator[None]:
    """Give back at once what is freed, so that no more is held than needed; new pages take longer than small tiles."""
    if libc := _libc():
        libc.malloc_trim(0)
        libc.mallopt(_MMAP_MAX, _DEFAULT_MMAP_MAX)
    try:
        yield
    finally:
        reuse()
