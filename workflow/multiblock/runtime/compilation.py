"""How a span is laid out in memory, whether it is compiled and recorded: derived from the task, with the reason.

Nothing here is timed while training: the same task on the same kind of device always gets the same kernels, so a
training that was interrupted ends with the same bytes.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from multiblock.errors import UserError
from multiblock.model import complexity
from multiblock.model.chain import Chain
from multiblock.networks.spec import describe
from multiblock.plan import Stage, Task
from multiblock.runtime import memory
from multiblock.runtime.device import Device, memory_format
from multiblock.runtime.recording import Recorded, clear_gradients, untouched

log = logging.getLogger(__name__)

_FLOPS = {"cpu": 1e11, "cuda": 5e13}
"""What a CPU thread, or a GPU, does in a second, roughly."""

_LAUNCH_SECONDS = {"cpu": 2e-3, "cuda": 5e-4}
"""What an iteration takes however small the span is."""

_PAYS_SECONDS = {"cpu": 600, "cuda": 120}
"""Expected time of a stage above which compiling pays. It takes 25 s a block; a GPU wins a third, a CPU a tenth."""

_PASSES = 3
"""Forward passes that an iteration costs: the backward pass computes two products for each one of the forward pass."""


Forward = Callable[[Tensor], Tensor | list[Tensor]]
"""From a batch to what the last block of a span makes of it, or to what each of them does."""


@dataclass(frozen=True)
class Ran:
    """Whether a stage was compiled, and why; and whether its iterations are replays of one CUDA graph."""

    compiled: bool
    reason: str
    recorded: bool = False

    def __str__(self) -> str:
        recorded = ", one CUDA graph an iteration" if self.recorded else ""
        return f"{'' if self.compiled else 'not '}compiled ({self.reason}){recorded}"


@dataclass(frozen=True)
class Execution:
    """Memory layout of feature maps with why it was chosen, whether stages are compiled, and what really ran.

    Args:
        compile: ``auto``, ``always`` or ``never``.
        ran: what became of each stage that was prepared, in order.
    """

    layout: torch.memory_format
    layout_reason: str
    compile: str
    ran: list[Ran] = field(default_factory=list)

    def __str__(self) -> str:
        return f"layout {self._layout} ({self.layout_reason}), " + (
            "; ".join(dict.fromkeys(map(str, self.ran))) or f"compile {self.compile}"
        )

    @property
    def _layout(self) -> str:
        return "channels_last" if self.layout == torch.channels_last else "contiguous"

    def fields(self) -> dict[str, Any]:
        """All there is to know of it, for records."""
        return {
            "layout": self._layout,
            "layout_reason": self.layout_reason,
            "stages": [asdict(ran) for ran in self.ran],
        }

    def to_layout(self, batch: Tensor) -> Tensor:
        """A batch (N, 3, H, W) in the layout; it is copied only if it has another one."""
        return batch.contiguous(memory_format=self.layout)

    def plan(self, span: Chain, device: Device, stage: Stage) -> Ran:
        """Whether a stage is to be compiled. ``auto`` compiles where it takes long enough to win more than it costs."""
        if self.compile != "auto":
            return Ran(self.compile == "always", "configured")
        least = _PAYS_SECONDS[device.device.type]
        if at_most(span, stage, device) <= least:  # counting would import the compiler: a second for nothing
            return Ran(False, f"does not pay for a stage of less than {least} s")
        seconds = estimate(span, stage, device)
        pays = seconds > least
        return Ran(pays, f"{'pays' if pays else 'does not pay'} for a stage of about {seconds:.0f} s")

    def forward(self, span: Chain, device: Device, stage: Stage) -> Forward:
        """The span for one stage, as it is or compiled; what it computes is the same up to rounding.

        It makes the outputs of all blocks for a stage with intermediate losses, else that of the last.

        To be called with the clamps and the frozen weights of the stage, and anew whenever they change: what is
        compiled is made for them. Weights, buffers and random numbers stay as they are; gradients are cleared.

        Raises:
            UserError: it cannot be compiled, though the config says ``always``.
        """
        plan = self.plan(span, device, stage)
        forward: Forward = span.outputs if stage.intermediate else span
        if plan.compiled:
            try:
                compiled = _compiled(span, forward, device, self.to_layout(_batch(stage, device)))
            except Exception as error:  # whatever compilers say
                why = (str(error).strip() or type(error).__name__).splitlines()[0]
                if self.compile == "always":
                    raise UserError(
                        f"compile: found always, but the network cannot be compiled: {why}; allowed are auto, never"
                    ) from error
                log.warning("not compiled after all: %s", why)
                plan = Ran(False, f"it was tried: {why}")
            else:
                self.ran.append(plan)
                return compiled
        self.ran.append(plan)
        return forward

    def recorded(
        self, function: Callable[..., Tensor], span: Chain, device: Device, example: Sequence[Tensor]
    ) -> Callable[..., Tensor]:
        """The gradients of an iteration as one CUDA graph; on a CPU, and where compilation is off, as they are.

        To be called after :meth:`forward`, for the same clamps and frozen weights.

        Args:
            function: from what an iteration is given to the loss; it leaves the gradients in the span.
            example: what an iteration is given.
        """
        if device.device.type != "cuda" or self.compile == "never":
            return function
        try:
            made = Recorded(function, span, example, device.device)
        except RuntimeError as error:
            if memory.ran_out(error):
                raise
            clear_gradients(span)
            log.warning(
                "not recorded as a CUDA graph after all: %s", (str(error).strip() or "no reason").splitlines()[0]
            )
            return function
        self.ran[-1] = replace(self.ran[-1], recorded=True)
        return made


def choose(span: Chain, task: Task, device: Device, layout: str, compile: str) -> Execution:
    """Pick the layout of a phase; whether it is compiled is decided for each stage.

    Args:
        layout: ``auto``, ``channels_last`` or ``contiguous``. ``auto`` is channels_last, unless a network of the span
            says that it is faster without.
        compile: ``auto``, ``always`` or ``never``.
    """
    if layout == "auto":
        blocks = zip(span.specs, span.blocks.values(), strict=True)
        slower = {spec.network for spec, block in blocks if describe(block).layout == "contiguous"}
        layout = "contiguous" if slower else "channels_last"
        layout_reason = f"faster for {', '.join(sorted(slower))}" if slower else "faster for convolutions"
    else:
        layout_reason = "configured"
    return Execution(memory_format(layout), layout_reason, compile)


def estimate(span: Chain, stage: Stage, device: Device) -> float:
    """Seconds that a stage's iterations take, roughly: its counted work at a rate that such devices reach.

    To be corrected by what is measured, with :meth:`Device.synchronise` before the clock is read.
    """
    return _seconds(flops(span, stage), stage, device)


def at_most(span: Chain, stage: Stage, device: Device) -> float:
    """A bound on :func:`estimate` that needs no counting: each weight meets each output pixel, twice where shared."""
    pixels = stage.batch * (stage.patch * span.scale) ** 2
    return _seconds(4 * _PASSES * span.parameters_count * pixels, stage, device)


def _seconds(work: float, stage: Stage, device: Device) -> float:
    """What the iterations of a stage take at so many floating-point operations each."""
    kind = device.device.type
    speed = _FLOPS[kind] * (device.threads if kind == "cpu" else 1)
    return stage.iterations * (work / speed + _LAUNCH_SECONDS[kind])


def flops(span: Chain, stage: Stage) -> float:
    """Floating-point operations of one iteration, forward and backward: twice the multiply-adds."""
    side, forward = stage.patch, 0.0
    for spec, block in zip(span.specs, span.blocks.values(), strict=True):
        try:
            forward += 1e9 * complexity.of(spec.network, spec.options, side).gflops
        except Exception:  # a network of the user's own that needs values: as if each weight met each pixel once
            forward += 2 * sum(parameter.numel() for parameter in block.parameters()) * side**2
        side *= spec.scale
    return _PASSES * stage.batch * forward


def _batch(stage: Stage, device: Device) -> Tensor:
    return torch.zeros(stage.batch, 3, stage.patch, stage.patch, device=device.device)


def _compiled(span: Chain, of: Forward, device: Device, batch: Tensor) -> Forward:
    """``of``, a method of the span, compiled for batches like ``batch``, and tried."""
    torch.compiler.reset()  # else other stages count towards a limit, beyond which nothing is compiled
    forward: Forward = torch.compile(of, dynamic=False)
    with untouched(span, device.device):
        for _ in range(2):
            clear_gradients(span)
            with device.autocast():
                output = forward(batch)
            made = output if isinstance(output, list) else [output]
            torch.stack([one.mean() for one in made]).sum().backward()
    return forward
