"""The device and the number format of a phase: derived, each with the reason, never guessed silently."""

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

from multiblock.errors import UserError
from multiblock.runtime import memory
from multiblock.runtime.gpus import take_gpu


@dataclass(frozen=True)
class Device:
    """A device and a number format for convolutions, each with why it was chosen.

    Args:
        tf32: whether the products of float32 convolutions are rounded to TF32's ten bits, which only GPUs do.
        name: the device as its maker calls it.
        threads: CPU threads.
    """

    device: torch.device
    device_reason: str
    dtype: torch.dtype
    dtype_reason: str
    tf32: bool = False
    name: str = "CPU"
    threads: int = 1

    def __str__(self) -> str:
        return (
            f"device {self.device} ({self.name}; {self.device_reason}), precision {self.precision} "
            f"({self.dtype_reason}), {self.threads} threads"
        )

    @property
    def precision(self) -> str:
        """``float32``, ``tf32`` or ``bfloat16``, as the config calls it."""
        return "tf32" if self.tf32 else str(self.dtype).removeprefix("torch.")

    def fields(self) -> dict[str, Any]:
        """The fields of ``training.json`` that say which device it was."""
        return {
            "device": str(self.device),
            "name": self.name,
            "device_reason": self.device_reason,
            "precision": self.precision,
            "dtype": str(self.dtype).removeprefix("torch."),
            "tf32": self.tf32,
            "precision_reason": self.dtype_reason,
            "threads": self.threads,
        }

    def with_precision(self, precision: str, reason: str) -> "Device":
        """Set another precision from now on, and return the device with it; one that it lacks becomes float32."""
        tf32 = precision == "tf32" and has_tf32(self.device)
        if precision == "tf32" and not tf32:
            reason += f", but {self.name} has no TF32"
        set_tf32(tf32)
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        return replace(self, dtype=dtype, dtype_reason=reason, tf32=tf32)

    def autocast(self) -> torch.autocast:
        """Compute convolutions in ``dtype`` within this context; everything else stays float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def synchronise(self) -> None:
        """Wait for what the device has to do, so that a clock that is read now counts it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def choose(device: str, precision: str, gpus: int, threads: int, reason: str = "configured") -> Device:
    """Choose device and precision.

    A GPU is taken until the process ends: the first that no other process has, or else the one that the fewest have.

    Args:
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto`` (bfloat16 where it is faster), ``float32``, ``tf32`` or ``bfloat16``.
        gpus: the GPUs that the job was given; with 0, ``auto`` is the CPU.
        threads: CPU threads to use.
        reason: why it is this precision, unless that is ``auto``.

    Raises:
        UserError: a GPU is asked for and there is none, or none that works.
    """
    torch.set_num_threads(threads)
    memory.reuse()
    place, name, why = torch.device("cpu"), "CPU", "configured"
    if _is_for_a_gpu(device, gpus):
        gpu, why = take_gpu("configured" if device == "cuda" else "a GPU is here")
        if gpu is not None:
            place, name = torch.device("cuda", gpu), torch.cuda.get_device_name(gpu)
        elif device == "cuda":
            raise UserError(f"device: found cuda, but {why}; allowed are auto, cpu")
    elif device == "auto":
        why = "the job has no gpu resource" if torch.cuda.is_available() else "no GPU here"
    chosen = Device(place, why, torch.float32, reason, name=name, threads=threads)
    if precision == "auto":
        precision, reason = _fastest_on(place.type)
    elif precision == "bfloat16" and place.type == "cpu" and not _has_bfloat16():
        reason += ", though this CPU has no instructions for it: it is slow"
    return chosen.with_precision(precision, reason)


def fastest_precision(device: str, gpus: int) -> tuple[str, str]:
    """The number format that ``precision: auto`` leads to on this machine, and why.

    Args:
        device, gpus: as :func:`choose` has them. No GPU is taken.
    """
    try:
        return _fastest_on("cuda" if _is_for_a_gpu(device, gpus) else "cpu")
    except RuntimeError:  # a GPU that does not work, which jobs report
        return _fastest_on("cpu")


def _is_for_a_gpu(device: str, gpus: int) -> bool:
    return device == "cuda" or (device == "auto" and gpus > 0 and torch.cuda.is_available())


def _fastest_on(device: str) -> tuple[str, str]:
    pays, why = bfloat16_pays(device)
    return "bfloat16" if pays else "float32", why


def _instructions() -> Mapping[str, Any]:
    """Which instructions the CPU has, as PyTorch calls them; of an older one only those of bfloat16."""
    if hasattr(torch.cpu, "get_capabilities"):  # not yet in PyTorch 2.9
        return torch.cpu.get_capabilities()
    return {"amx_bf16": torch.cpu._is_amx_tile_supported(), "avx512_bf16": torch.cpu._is_avx512_bf16_supported()}


def _has_bfloat16() -> bool:
    has = _instructions()
    return bool(has.get("amx_bf16") or has.get("avx512_bf16"))


def memory_format(layout: str) -> torch.memory_format:
    """PyTorch's name for the layout ``channels_last`` or ``contiguous`` of feature maps."""
    return torch.channels_last if layout == "channels_last" else torch.contiguous_format


def make_deterministic(strict: bool) -> None:
    """Make results the same bytes each time: always so on a CPU with the same threads; ``strict`` also on a GPU."""
    if strict:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    if strict != torch.are_deterministic_algorithms_enabled():  # the call imports the compiler: 2 s
        torch.use_deterministic_algorithms(strict)
    torch.backends.cudnn.benchmark = not strict


def random_states() -> list[torch.Tensor]:
    """The states of PyTorch's random numbers, of the CPU and of the GPU in use."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [])]


def set_random_states(states: Sequence[torch.Tensor]) -> None:
    """Go on with the random numbers as they were, on whichever GPU is in use now; without one its state is left out."""
    torch.set_rng_state(states[0])
    if len(states) > 1 and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(states[1])


def has_tf32(device: torch.device) -> bool:
    """Whether a device can round the products of float32 to TF32."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def set_tf32(allowed: bool) -> None:
    """Compute float32 convolutions and matrix products on a GPU in TF32 from now on, or not."""
    # PyTorch's newer fp32_precision does the same, but with it set the compiler's reading of these flags is an error.
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


@contextmanager
def full_precision(device: str = "cpu", dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """Compute float32 as IEEE has it within this context, for results that are kept or measured.

    What a caller has set of PyTorch does not count meanwhile: autocast, the default dtype, TF32, and float32 rounded to
    bfloat16 as :func:`torch.set_float32_matmul_precision` allows it.

    Args:
        device: the type of the device that computes.
        dtype: that of the network.
    """
    backends: Any = torch.backends
    places = []
    if hasattr(backends.cuda.matmul, "fp32_precision"):  # since PyTorch 2.9; before, the older flags are all
        places = [backends.cuda.matmul, backends.cudnn.conv, backends.mkldnn.matmul, backends.mkldnn.conv]
    before, default, older = [place.fp32_precision for place in places], torch.get_default_dtype(), None
    with suppress(RuntimeError):  # PyTorch does not tell the older flags where a caller has set the newer ones
        older = backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()
    backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
    for place in places:
        place.fp32_precision = "ieee"
    torch.set_default_dtype(dtype)
    try:
        with torch.autocast(device, enabled=False):
            yield
    finally:
        torch.set_default_dtype(default)
        if older:
            backends.cudnn.allow_tf32 = older[0]
            torch.set_float32_matmul_precision(older[1])
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision


_WORTH_IT = 1.25
"""How many times as fast bfloat16 must be. What CPUs reach is far from it on both sides: 0.5, or 2 and more."""


@cache
def bfloat16_pays(device: str) -> tuple[bool, str]:
    """Whether convolutions run faster in bfloat16, and why.

    AMX and GPUs have units for it. avx512_bf16 alone says little: some CPUs run it twice as fast as float32, others
    half as fast. So there a convolution is timed.
    """
    if device == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return native, "the GPU computes in it" if native else "the GPU has no bfloat16"
    if _instructions().get("amx_bf16"):
        return True, "the CPU has amx_bf16"
    if not _has_bfloat16():
        return False, "the CPU has no bfloat16 instructions"
    seconds = _seconds()
    ratio = seconds[torch.float32] / seconds[torch.bfloat16]
    if ratio > _WORTH_IT:
        return True, "the CPU has avx512_bf16"
    return False, "the CPU has avx512_bf16, but no faster than float32"


def _seconds() -> dict[torch.dtype, float]:
    """The least of several times of a convolution like those of MCAN, in seconds; the two formats take turns."""
    times: dict[torch.dtype, float] = {}
    for _ in range(12):
        for dtype in (torch.float32, torch.bfloat16):
            x, weight = torch.zeros(1, 64, 48, 48, dtype=dtype), torch.zeros(64, 64, 3, 3, dtype=dtype)
            begun = time.perf_counter()
            with torch.inference_mode():
                F.conv2d(x, weight, padding=1)
            times[dtype] = min(times.get(dtype, math.inf), time.perf_counter() - begun)
    return times
