"""How a span is laid out in memory, compiled, and recorded as a CUDA graph: derived from the task, with the reason.

Nothing here is timed while training: the same task on the same kind of device always gets the same kernels, so a
training that was interrupted ends with the same bytes.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from multiblock.errors import UserError
from multiblock.model import complexity
from multiblock.model.chain import Chain
from multiblock.networks.registry import describe
from multiblock.plan import Stage, Task
from multiblock.runtime import memory
from multiblock.runtime.device import Device, memory_format

log = logging.getLogger(__name__)

_FLOPS = {"cpu": 2e11, "cuda": 5e13}
"""Floating-point operations a second, roughly, of two CPU threads, and of a GPU. However many threads there are now: a
training that goes on with others keeps its kernels."""

_LAUNCH_SECONDS = {"cpu": 2e-3, "cuda": 5e-4}
"""Seconds that an iteration takes however small the span is."""

_PAYS_SECONDS = {"cpu": 600, "cuda": 120}
"""Expected time of a stage above which compiling pays. It takes 25 s a block; a GPU wins a third, a CPU a tenth."""

_PASSES = 3
"""Forward passes that an iteration costs: the backward pass computes two products for each one of the forward pass."""


Forward = Callable[[Tensor], Tensor | list[Tensor]]
"""A function from a batch to the output of a span's last block, or to those of all its blocks."""


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
        """The fields of ``training.json`` that say how it ran."""
        return {
            "layout": self._layout,
            "layout_reason": self.layout_reason,
            "stages": [asdict(ran) for ran in self.ran],
        }

    def to_layout(self, batch: Tensor) -> Tensor:
        """A batch (N, 3, H, W) in the layout; it is copied only if it has another one."""
        return batch.contiguous(memory_format=self.layout)

    def plan(self, span: Chain, device: Device, stage: Stage) -> Ran:
        """Whether a stage is compiled. ``auto`` compiles where it takes long enough to win more than it costs."""
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

        To be called with the clamps and the frozen weights of the stage, and again whenever they change: what is
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
        """Record the gradients of an iteration as one CUDA graph; on a CPU, and with ``never``, return ``function``.

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
    """Choose the layout of a phase; whether it is compiled is decided for each stage.

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
    """Seconds of the iterations of a stage at so many floating-point operations each."""
    kind = device.device.type
    return stage.iterations * (work / _FLOPS[kind] + _LAUNCH_SECONDS[kind])


def flops(span: Chain, stage: Stage) -> float:
    """Floating-point operations of one iteration, forward and backward: twice the multiply-adds."""
    side, forward = stage.patch, 0.0
    for spec in span.specs:
        forward += 1e9 * complexity.of(spec.network, spec.options, side).gflops
        side *= spec.scale
    return _PASSES * stage.batch * forward


def _batch(stage: Stage, device: Device) -> Tensor:
    return torch.zeros(stage.batch, 3, stage.patch, stage.patch, device=device.device)


def _compiled(span: Chain, of: Forward, device: Device, batch: Tensor) -> Forward:
    """Compile ``of``, a method of the span, for batches like ``batch``, and try it."""
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


_WARM_UP = 3
"""Calls before it is recorded, in which libraries choose their kernels and take their memory."""


class Recorded:
    """A function of tensors of fixed sizes as one CUDA graph, recorded at once and replayed at each call.

    Small networks leave a GPU idle while the host launches kernel after kernel; a graph is a single launch in place of
    the hundreds that an iteration takes. See PyTorch's notes on CUDA graphs, "whole network capture".

    Values of tensors may change from call to call, nothing else. Gradients that the function computes are in the
    graph's memory and are written again each time: they must not be cleared.

    Args:
        function: takes tensors and returns one, which is copied for the caller.
        network: what it trains; its weights, buffers and random numbers stay as they are while it is recorded.
        example: tensors like those to come; they may be in the host's memory.
        device: the GPU.
    """

    def __init__(
        self, function: Callable[..., Tensor], network: nn.Module, example: Sequence[Tensor], device: torch.device
    ) -> None:
        self._inputs = [one.to(device, copy=True) for one in example]
        here = torch.cuda.current_stream(device)
        with untouched(network, device):
            apart = torch.cuda.Stream(device)
            apart.wait_stream(here)
            with torch.cuda.stream(apart):
                for _ in range(_WARM_UP):
                    function(*self._inputs)
            here.wait_stream(apart)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = function(*self._inputs)

    def __call__(self, *given: Tensor) -> Tensor:
        """The output of the function for ``given``."""
        for mine, one in zip(self._inputs, given, strict=True):
            mine.copy_(one, non_blocking=True)
        self._graph.replay()
        return self._output.clone()


@contextmanager
def untouched(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Leave a network and the random numbers as they were, but for gradients, however the block ends.

    Gradients are cleared before and after it.
    """
    clear_gradients(network)
    kept = {name: buffer.clone() for name, buffer in network.named_buffers()}
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        with torch.no_grad():
            for name, buffer in network.named_buffers():
                buffer.copy_(kept[name])
        clear_gradients(network)


def clear_gradients(network: nn.Module) -> None:
    """Leave no parameter a gradient."""
    for parameter in network.parameters():
        parameter.grad = None
