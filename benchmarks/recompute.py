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

    def __init__(self, task: Task, how: How, precision: str) -> None:
        torch.manual_seed(0)
        (stage,), blocks = task.stages, len(task.blocks)
        device = choose(how.device, precision, how.device == "cuda", how.threads)
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


def _peak(recompute: str | None, how: How, precision: str) -> tuple[float, str]:
    """In a process of its own: MiB that two iterations take on top of what there was, and a digest of the weights."""
    made = Iteration(_task(how.quick, recompute), how, precision)
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
    """Time and memory of both ways, in each number format that training may choose."""
    rows, notes = [], []
    for precision in ("float32", "bfloat16"):
        works = {way: Iteration(_task(how.quick, recompute), how, precision) for way, recompute in WAYS.items()}
        times = paired({way: timed(work, how) for way, work in works.items()}, how.repeats, warm_up=1)
        del works
        peaks = {way: in_process(partial(_peak, recompute, how, precision)) for way, recompute in WAYS.items()}
        plain, again = (times[way] for way in WAYS)
        longer = statistics.median(b / a for a, b in zip(plain, again, strict=True))
        for way, seconds in times.items():
            rows.append(
                {
                    "precision": precision,
                    "way": way,
                    "MiB on top of the weights": f"{peaks[way][0]:,.0f}",
                    "s a step": spread(seconds, 1, 2),
                    "time": f"{longer if way != 'everything is kept' else 1:.2f} x",
                }
            )
        same = len({weights for _, weights in peaks.values()}) == 1
        notes.append(f"{precision}: weights after two steps are {'the same' if same else 'NOT the same'} both ways.")
    stage = _task(how.quick, None).stages[0]
    blocks = len(_task(how.quick, None).blocks)
    notes.append(
        "Memory: the most that the process held, less what it held before the first step (on a GPU, of tensors): maps, "
        "gradients, the optimiser's averages, and gaps. Time: median of the ratios of neighbouring steps."
    )
    about = f"One step of {blocks} MCAN blocks, batch {stage.batch}, patch {stage.patch}, uncompiled."
    return Table("recompute", about, rows, notes, repeated=True)
