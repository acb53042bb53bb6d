"""How a span is laid out in memory and whether it is compiled: derived from the task, with the reason.

Nothing here is timed while training: the same task on the same kind of device always gets the same kernels, so a
training that was interrupted ends with the same bytes.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from multiblock.model.chain import Chain
from multiblock.networks.spec import describe
from multiblock.plan import Stage, Task
from multiblock.runtime.device import Device, memory_format

log = logging.getLogger(__name__)

_FLOPS = {"cpu": 1e11, "cuda": 1e14}
"""What a CPU thread, or a GPU, does in a second, roughly."""

_LAUNCH_SECONDS = {"cpu": 2e-3, "cuda": 5e-3}
"""What an iteration takes however small the span is."""

_PAYS_SECONDS = {"cpu": 600, "cuda": 180}
"""Expected time of a stage above which compiling pays. It takes about 25 s, and on a CPU a tenth is won."""


@dataclass(frozen=True)
class Kernels:
    """Memory layout of feature maps and compilation, each with why it was chosen."""

    layout: torch.memory_format
    layout_reason: str
    compile: bool
    compile_reason: str

    def __str__(self) -> str:
        layout = "channels_last" if self.layout == torch.channels_last else "contiguous"
        return (
            f"layout {layout} ({self.layout_reason}), {'' if self.compile else 'not '}compiled ({self.compile_reason})"
        )

    def to_layout(self, batch: Tensor) -> Tensor:
        """A batch (N, 3, H, W) in the layout; it is copied only if it has another one."""
        return batch.contiguous(memory_format=self.layout)

    def forward(self, span: Chain, device: Device, stage: Stage) -> Callable[[Tensor], Tensor]:
        """The span for the iterations of a stage, as it is or compiled; the same up to rounding."""
        if not self.compile:
            return span
        compiled = torch.compile(span, dynamic=False, mode="reduce-overhead" if device.device.type == "cuda" else None)
        try:
            _try(
                span,
                compiled,
                device,
                self.to_layout(torch.zeros(stage.batch, 3, stage.patch, stage.patch, device=device.device)),
            )
        except Exception as error:  # whatever compilers say
            log.info("not compiled after all: %s", str(error).strip().splitlines()[0])
            return span
        return compiled


def choose(span: Chain, task: Task, device: Device, layout: str, compile: str) -> Kernels:
    """Pick layout and compilation.

    Args:
        layout: ``auto``, ``channels_last`` or ``contiguous``. ``auto`` is channels_last, unless a network of the span
            says that it is faster without.
        compile: ``auto``, ``always`` or ``never``. ``auto`` compiles where a stage takes long enough to win more than
            compiling costs.
    """
    if layout == "auto":
        blocks = zip(span.specs, span.blocks.values(), strict=True)
        slower = {spec.network for spec, block in blocks if describe(block).layout == "contiguous"}
        layout = "contiguous" if slower else "channels_last"
        layout_reason = f"faster for {', '.join(sorted(slower))}" if slower else "faster for convolutions"
    else:
        layout_reason = "configured"
    if compile == "auto":
        kind = device.device.type
        seconds = expected_seconds(span, task, device) / len(task.stages)
        wanted = seconds > _PAYS_SECONDS[kind]
        compile_reason = f"{'pays' if wanted else 'does not pay'} for stages of about {seconds:.0f} s"
    else:
        wanted, compile_reason = compile == "always", "configured"
    return Kernels(memory_format(layout), layout_reason, wanted, compile_reason)


def expected_seconds(span: Chain, task: Task, device: Device) -> float:
    """Roughly what the phase's iterations take: each weight meets each pixel once forward and twice backward."""
    kind = device.device.type
    speed = _FLOPS[kind] * (torch.get_num_threads() if kind == "cpu" else 1)
    work = 6 * span.parameters_count * task.block_pixels / len(span.specs)
    return work / speed + task.iterations * _LAUNCH_SECONDS[kind]


def _try(span: Chain, compiled: Callable[[Tensor], Tensor], device: Device, batch: Tensor) -> None:
    """Forward and backward several times, as CUDA graphs are recorded on the second; the span stays as it was."""
    kept = {name: buffer.clone() for name, buffer in span.named_buffers()}
    with torch.random.fork_rng():
        for _ in range(3):
            with device.autocast():
                output = compiled(batch)
            output.mean().backward()
    for name, buffer in span.named_buffers():
        buffer.copy_(kept[name])
    for parameter in span.parameters():
        parameter.grad = None
