"""Number formats: TF32 on and off, and where bfloat16 is faster than float32."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch
import torch.nn.functional as F


def has_tf32(device: torch.device) -> bool:
    """Whether a device can round the products of float32 to TF32."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def set_tf32(allowed: bool) -> None:
    """Whether float32 convolutions and matrix products on a GPU are TF32 from now on."""
    # PyTorch's newer fp32_precision does the same, but with it set the compiler's reading of these flags is an error.
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 as IEEE has it within this context, for results that are kept or measured, also on a GPU."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    set_tf32(False)
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


_WORTH_IT = 1.25
"""How many times as fast bfloat16 must be. What CPUs reach lies far from it on both sides: 0.5, or 2 and more."""


@cache
def bfloat16_pays(device: str) -> tuple[bool, str]:
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
