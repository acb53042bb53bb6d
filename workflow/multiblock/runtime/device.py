"""Where and how precisely a phase is trained: derived, with the reason, never guessed silently."""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

from multiblock.errors import UserError
from multiblock.runtime import memory


@dataclass(frozen=True)
class Device:
    """A device and a number format for convolutions, each with why it was chosen."""

    device: torch.device
    device_reason: str
    dtype: torch.dtype
    dtype_reason: str

    @property
    def name(self) -> str:
        """The name of the hardware."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"

    def __str__(self) -> str:
        precision = str(self.dtype).removeprefix("torch.")
        return (
            f"device {self.device} ({self.name}; {self.device_reason}), precision {precision} ({self.dtype_reason}), "
            f"{torch.get_num_threads()} threads"
        )

    def autocast(self) -> torch.autocast:
        """Convolutions in ``dtype`` within this context; everything else stays float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)


def choose(device: str, precision: str, gpus: int, threads: int) -> Device:
    """Pick device and precision.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto`` (bfloat16 where it is faster), ``float32`` or ``bfloat16``.
        gpus: the GPUs that the job was given; with 0, ``auto`` is the CPU.
        threads: CPU threads to use.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    torch.set_num_threads(threads)
    memory.reuse()
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise UserError("device: found cuda, but PyTorch sees no GPU here; allowed are auto, cpu")
    if device == "auto":
        reason = "no GPU here" if not there else "a GPU is here" if gpus else "the job has no gpu resource"
        device = "cuda" if there and gpus else "cpu"
    else:
        reason = "configured"
    if precision == "auto":
        pays, dtype_reason = _bfloat16_pays(device)
        precision = "bfloat16" if pays else "float32"
    else:
        dtype_reason = "configured"
    return Device(torch.device(device), reason, getattr(torch, precision), dtype_reason)


def memory_format(layout: str) -> torch.memory_format:
    """PyTorch's name for the layout ``channels_last`` or ``contiguous`` of feature maps."""
    return torch.channels_last if layout == "channels_last" else torch.contiguous_format


def make_deterministic(strict: bool) -> None:
    """The same bytes each time: always so on a CPU with the same threads; ``strict`` also on a GPU."""
    if strict:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    if strict != torch.are_deterministic_algorithms_enabled():  # the call imports the compiler: a second for nothing
        torch.use_deterministic_algorithms(strict)
    torch.backends.cudnn.benchmark = not strict


def random_states() -> list[torch.Tensor]:
    """The states of PyTorch's random numbers, of the CPU and of each GPU."""
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def set_random_states(states: Sequence[torch.Tensor]) -> None:
    """Go on with the random numbers as they were; states of GPUs that are not here are left out."""
    torch.set_rng_state(states[0])
    torch.cuda.set_rng_state_all(states[1 : 1 + torch.cuda.device_count()])


_WORTH_IT = 1.25
"""How many times as fast bfloat16 must be. What CPUs reach lies far from it on both sides: 0.5, or 2 and more."""


@cache
def _bfloat16_pays(device: str) -> tuple[bool, str]:
    """Whether convolutions run faster in bfloat16, and why so.

    AMX and GPUs have units for it. avx512_bf16 alone says little: some CPUs run it twice as fast as float32, others
    half as fast. So there a convolution is timed.
    """
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return native, "the GPU computes in it" if native else "the GPU has no bfloat16"
    has = torch.cpu.get_capabilities()
    if has.get("amx_bf16"):
        return True, "the CPU has amx_bf16"
    if not has.get("avx512_bf16"):
        return False, "the CPU has no bfloat16 instructions"
    seconds = _seconds()
    ratio = seconds[torch.float32] / seconds[torch.bfloat16]
    if ratio > _WORTH_IT:
        return True, "the CPU has avx512_bf16"
    return False, "the CPU has avx512_bf16, but no faster than float32"


def _seconds() -> dict[torch.dtype, float]:
    """The least of several times of a convolution like those of MCAN; the two take turns."""
    times: dict[torch.dtype, float] = {}
    for _ in range(12):
        for dtype in (torch.float32, torch.bfloat16):
            x, weight = torch.zeros(1, 64, 48, 48, dtype=dtype), torch.zeros(64, 64, 3, 3, dtype=dtype)
            begun = time.perf_counter()
            with torch.inference_mode():
                F.conv2d(x, weight, padding=1)
            times[dtype] = min(times.get(dtype, math.inf), time.perf_counter() - begun)
    return times
