"""What it takes, and what it saves, to compute blocks again for the backward pass: nine full-size MCAN blocks."""

import hashlib
import statistics
from functools import partial

import torch
from bench import BLOCKS, How, Table, in_process, memory_mib, paired, spread, timed

from multiblock.model.chain import Chain
from multiblock.plan import Block, Stage, Task
from multiblock.runtime import compilation
from multiblock.runtime.device import choose
from multiblock.training.step import Step

WAYS = {"everything is kept": None, "recompute: blocks": "blocks"}


def _task(quick: bool, recompute: str | None) -> Task:
    """A joint stage of studies/nine_blocks.yaml."""
    options = {key: value for key, value in BLOCKS["MCAN"].items() if key != "network"}
    block = Block(network="mcan", options={"channels": 8, "residual_blocks": 1} if quick else options)
    batch, patch, blocks = (2, 16, 2) if quick else (16, 48, 9)
    values = {"iterations": 1, "optimiser": "adam", "lr": 1e-4, "loss": {"l1": 1.0}, "clamp": "all"}
    stage = Stage(**values, batch=batch, patch=patch, recompute=recompute)
    starts = ("default",) * blocks
    return Task(seed=1, phase=1, first=1, last=blocks, blocks=(block,) * blocks, starts=starts, stages=(stage,))


class Iteration:
    """An iteration as training does it, uncompiled, on a batch that is there."""

    def __init__(self, task: Task, how: How) -> None:
        torch.manual_seed(0)
        (stage,), blocks = task.stages, len(task.blocks)
        self.device = device = choose(how.device, "auto", how.device == "cuda", how.threads)
        self.span = Chain.build(task.blocks, stage.clamps(blocks)).train()
        execution = compilation.choose(self.span, task, device, "auto", "never")
        self.span.to(device.device, memory_format=execution.layout)  # type: ignore[call-overload]
        self.step = Step(self.span, stage, device, execution, self.span)
        shape = (stage.batch, 3, stage.patch, stage.patch)
        self.batches = [torch.rand(shape, device=device.device) for _ in range(2)]

    def __call__(self) -> None:
        """Do it once."""
        self.step.gradients(*self.batches)
        self.step.apply(1.0)


def _peak(recompute: str | None, how: How) -> tuple[float, str]:
    """In a process of its own: MiB that two iterations take on top of what there was, and a digest of the weights."""
    made = Iteration(_task(how.quick, recompute), how)
    if how.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20
    else:
        before = memory_mib("VmRSS")
    for _ in range(2):
        made()
    most = torch.cuda.max_memory_allocated() / 2**20 if how.device == "cuda" else memory_mib("VmHWM")
    weights = b"".join(weight.detach().cpu().numpy().tobytes() for weight in made.span.parameters())
    return most - before, hashlib.blake2b(weights).hexdigest()


def measure(how: How) -> Table:
    """Time and memory of both ways, in the number format that training would choose here."""
    works = {way: Iteration(_task(how.quick, recompute), how) for way, recompute in WAYS.items()}
    times = paired({way: timed(work, how) for way, work in works.items()}, how.repeats, warm_up=1)
    precision = works["everything is kept"].device.precision
    works.clear()
    peaks = {way: in_process(partial(_peak, recompute, how)) for way, recompute in WAYS.items()}
    plain = times["everything is kept"]
    rows = [
        {
            "way": way,
            "MiB beside the weights": f"{peaks[way][0]:,.0f}",
            "s a step": spread(seconds, 1, 2),
            "time": f"{statistics.median(b / a for a, b in zip(plain, seconds, strict=True)):.2f} x",
        }
        for way, seconds in times.items()
    ]
    task, same = _task(how.quick, None), len({weights for _, weights in peaks.values()}) == 1
    notes = [
        f"Weights after two steps are {'the same bytes' if same else 'NOT the same bytes'} both ways.",
        "Memory: the most that the process held, less what it held before the first step (on a GPU, of tensors): maps, "
        "gradients, the optimiser's averages, and gaps. Time: median of the ratios of neighbouring steps.",
    ]
    of = f"{len(task.blocks)} MCAN blocks, batch {task.stages[0].batch}, patch {task.stages[0].patch}"
    return Table("recompute", f"One step of {of}, {precision}, uncompiled.", rows, notes, repeated=True)
