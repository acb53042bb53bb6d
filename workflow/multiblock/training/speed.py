"""Measures how fast this machine trains a plan: real steps of each kind of stage, on patches of noise.

Each kind is run for a while, uncompiled; the median of its iterations counts. Called as a program it measures one round
of what standard input asks for: a process of its own has a start that can be measured too.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multiblock.data.camera import Anew
from multiblock.data.imageset import ImageSet, as_float, write_set
from multiblock.data.sampler import Sampler
from multiblock.errors import UserError, in_full
from multiblock.files import temporary_folder
from multiblock.inference import tiles
from multiblock.inference.metrics import psnr_rgb
from multiblock.model.chain import Chain
from multiblock.plan import Stage, Task
from multiblock.runtime import compilation, memory
from multiblock.runtime.device import Device, choose, make_deterministic
from multiblock.training.progress import process_start
from multiblock.training.step import Average, Step
from multiblock.training.work import Speeds, kind_of

_WARM, _LEAST, _SECONDS = 3, 5, 1.5
"""Iterations that do not count, the fewest that do, and the seconds for which they go on."""
_WAITS = 3
"""How many times as long as it computes a start takes at most."""
_SIDE = 192
"""Side in pixels of the input picture that a whole-image pass is measured on."""
_ROW = 10
"""Iterations that a GPU is given before it is waited for."""


class Speedometer:
    """Measures phases; what several have in common is measured once.

    Args:
        layout, compile, deterministic: the config's keys.
        seconds: for which each is measured at least; 1.5, if none are given.
    """

    def __init__(
        self, device: Device, layout: str, compile: str, deterministic: bool, seconds: float | None = None
    ) -> None:
        make_deterministic(deterministic)
        self._device, self._layout = device, layout
        self._compile = "never" if compile == "never" else "auto"
        # Reading packages from a disk for the first time takes long, and is done once.
        self._start = min(time.monotonic() - process_start(), _WAITS * time.process_time())
        self._known: dict[str, float] = {}
        self._seconds = _SECONDS if seconds is None else seconds

    def speeds(self, tasks: Sequence[Task], anew: Sequence[Anew | None] = ()) -> Speeds:
        """Measure the phases of a run.

        Args:
            anew: for each phase what makes its patches of HR; none are made so where it is left out.

        Raises:
            UserError: there is not enough memory for a batch.
        """
        with torch.random.fork_rng(devices=[]):
            return Speeds(
                device=str(self._device),
                start=self._start,
                iterations=[
                    [self._iteration(task, stage, made) if stage.iterations else 0.0 for stage in task.stages]
                    for task, made in zip(tasks, anew or [None] * len(tasks), strict=True)
                ],
                pixels=[self._pixel(task) for task in tasks],
            )

    def _once(self, key: object, measure: Callable[[], float]) -> float:
        text = repr(key)
        if text not in self._known:
            self._known[text] = measure()
        return self._known[text]

    def _iteration(self, task: Task, stage: Stage, anew: Anew | None) -> float:
        kind = kind_of(task, stage)
        return self._once((kind, anew), partial(self._measured_iteration, task, Stage(**kind["stage"]), anew))

    def _measured_iteration(self, task: Task, stage: Stage, anew: Anew | None) -> float:
        span = _span(task, stage)
        execution = compilation.choose(span, task, self._device, self._layout, self._compile)
        span.to(self._device.device, memory_format=execution.layout)  # type: ignore[call-overload]
        with temporary_folder() as folder:
            sampler = _noise(folder, stage.patch, span.scale, self._device, anew)
            step = Step(span, stage, self._device, execution, span)
            step.forward = execution.forward(span, self._device, stage)
            average = Average(span) if stage.ema else None

            def gradients(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
                return step.gradients(*sampler.patches((low, high), stage.patch))

            drawn = sampler.draw(0, stage.batch, stage.patch, stage.augment)
            if not step.parts:
                step.fit(*sampler.patches(drawn, stage.patch))
            recorded = execution.recorded(gradients, span, self._device, drawn)

            def iterate(number: int) -> None:
                recorded(*sampler.draw(number, stage.batch, stage.patch, stage.augment))
                step.apply(1.0)
                if average:
                    assert stage.ema
                    average.update(stage.ema)

            what = f"batch {stage.batch} of patches of {stage.patch} pixels"
            joint = len(span.specs) > 1 and not stage.recompute
            with memory.enough(what, self._device.device, blocks=joint):
                return self._median(iterate)

    def _median(self, iterate: Callable[[int], None]) -> float:
        """The median seconds of one call; a GPU is waited for after a few."""
        row, times = _ROW if self._device.device.type == "cuda" else 1, list[float]()
        began = time.monotonic()
        while len(times) < _WARM + _LEAST or time.monotonic() - began < self._seconds:
            before = time.perf_counter()
            for number in range(row):
                iterate(len(times) * row + number)
            self._device.synchronise()
            times.append((time.perf_counter() - before) / row)
        return statistics.median(times[_WARM:])

    def _pixel(self, task: Task) -> float:
        """Seconds an output pixel of a whole image through the blocks of a phase, with its PSNR."""
        blocks = task.blocks[task.first - 1 : task.last]
        return self._once(("pixel", blocks), partial(self._measured_pixel, task))

    def _measured_pixel(self, task: Task) -> float:
        span = _span(task, task.stages[-1]).to(self._device.device).eval()
        image = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3)).astype(np.uint8)
        target = as_float(np.full((_SIDE * span.scale, _SIDE * span.scale, 3), 128, np.uint8))

        def look(_: int) -> None:
            psnr_rgb(tiles.infer(span, image, self._device.device, 2.5)[0], target, what="noise")

        return self._median(look) / (_SIDE * span.scale) ** 2


def _span(task: Task, stage: Stage) -> Chain:
    blocks = task.blocks[task.first - 1 : task.last]
    return Chain.build(blocks, stage.clamps(len(blocks))).train()


def _noise(folder: Path, patch: int, scale: int, device: Device, anew: Anew | None) -> Sampler:
    """A sampler of patches of two pictures of noise."""
    random, sets, enlarged = np.random.default_rng(0), [], anew.enlarged if anew else 1
    low = -(-2 * patch // enlarged) * enlarged
    for name, side in (("low", low), ("high", low * scale)):
        with write_set(folder / f"{name}.npy", [(side, side)] * 2) as writer:
            for number in range(2):
                writer.add(str(number), random.integers(0, 256, (side, side, 3)).astype(np.uint8))
        sets.append(ImageSet(folder / f"{name}.npy"))
    return Sampler(sets[0], sets[1], scale, seed=0, phase=0, device=device.device, anew=anew)


def answer(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One round: the speeds of the phases of each run that is asked for.

    Args:
        asked: arguments of :func:`multiblock.runtime.device.choose` and of :class:`Speedometer`, in plain values, and
            ``runs``, for each of them a list of tasks.

    Raises:
        UserError: the device is not there, or has too little memory.
    """
    device = choose(**asked["device"])
    meter = Speedometer(device, asked["layout"], "never", asked["deterministic"], asked["seconds"])
    return [asdict(meter.speeds([Task.from_dict(task) for task in tasks])) for tasks in asked["runs"]]


if __name__ == "__main__":
    try:
        print(json.dumps(answer(json.load(sys.stdin))))
    except UserError as problem:
        sys.exit(in_full(problem))
