"""Where and how precisely a phase is trained: derived, with the reason, never guessed silently."""

from dataclasses import dataclass

import torch

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
        precision: ``auto``, ``float32`` or ``bfloat16``.
        gpus: the GPUs that the job was given; with 0, ``auto`` is the CPU.
        threads: CPU threads to use.

    Raises:
        UserError: a GPU is asked for and there is none.
    """
    torch.set_num_threads(threads)
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise UserError("device: found cuda, but PyTorch sees no GPU here; allowed are auto, cpu")
    if device == "auto":
        reason = "no GPU here" if not there else "a GPU is here" if gpus else "the job has no gpu resource"
        device = "cuda" if there and gpus else "cpu"
    else:
        reason = "configured"
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    return Device(torch.device(device), reason, dtype, "default" if precision == "auto" else "configured")


def make_deterministic(strict: bool) -> None:
    """The same bytes each time: always so on a CPU with the same threads; ``strict`` also on a GPU."""
    torch.use_deterministic_algorithms(strict)
    torch.backends.cudnn.benchmark = not strict
