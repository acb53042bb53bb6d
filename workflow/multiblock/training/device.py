"""Where and how precisely a phase is trained: derived, with the reason, never guessed silently."""

import time
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F

from multiblock import memory
from multiblock.errors import UserError


@dataclass(frozen=True)
class Device:
    """A device and a number format for convolutions, each with why it was chosen."""

    device: torch.device
    device_reason: str
    dtype: torch.dtype
    dtype_reason: str

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        precision = str(self.dtype).removeprefix("torch.")
        return (
            f"device {self.device} ({name}; {self.device_reason}), precision {precision} ({self.dtype_reason}), "
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


def make_deterministic(strict: bool) -> None:
    """The same bytes each time: always so on a CPU with the same threads; ``strict`` also on a GPU."""
    if strict != torch.are_deterministic_algorithms_enabled():  # the call imports the compiler: a second for nothing
        torch.use_deterministic_algorithms(strict)
    torch.backends.cudnn.benchmark = not strict


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
    ratio = _seconds(torch.float32) / _seconds(torch.bfloat16)
    if ratio > _WORTH_IT:
        return True, "the CPU has avx512_bf16"
    return False, "the CPU has avx512_bf16, but no faster than float32"


def _seconds(dtype: torch.dtype) -> float:
    """The least of several times of a convolution like those of MCAN."""
    x, weight = torch.zeros(1, 64, 48, 48, dtype=dtype), torch.zeros(64, 64, 3, 3, dtype=dtype)
    times = []
    with torch.inference_mode():
        for _ in range(8):
            begun = time.perf_counter()
            F.conv2d(x, weight, padding=1)
            times.append(time.perf_counter() - begun)
    return min(times)
