"""What a job asks a cluster for: memory and time, reckoned generously from what is known before it begins.

A phase's time is that of its block-pixels, at the speed of the same blocks where a phase was trained before on the same
kind of device, a CPU or a GPU, else at one that slow networks have. Each further attempt asks for twice as much.
Nothing here is exact: Slurm ends a job that takes more, and the next attempt goes on from its checkpoint.
"""

import math
from functools import cached_property
from pathlib import Path
from typing import Any

from multiblock.config.minutes import pixels
from multiblock.data.dataset import DatasetConfig
from multiblock.data.inspection import Inspection
from multiblock.errors import UserError
from multiblock.files import read_json
from multiblock.plan import Task
from multiblock.workflow.dependencies import Dependencies
from multiblock.workflow.layout import Layout
from multiblock.workflow.outlook import is_of, measured, trained_kind

_FACTOR = 3
"""Time asked for, over time reckoned."""

_FLOOR = 30
"""Minutes that every job asks for at least: PyTorch and images may come slowly from a shared disk."""

_SLOW = {"gpu": 2e6, "cpu": 2e4}
"""Block-pixels a second of a slow network, where no phase was trained before."""

_IMAGES_SLOW = {"gpu": 1e6, "cpu": 3e4}
"""Pixels a second and block of whole images through such a network."""

_PYTORCH_MB = 4000
"""Of a process with PyTorch, with CUDA too."""

_MAPS_BYTES = 100_000
"""Of feature maps a pixel and block, forward and backward: 200 layers of 64 channels."""

_IMAGE_BYTES = 6
"""Of a pixel of LR and HR in arrays."""


class Resources:
    """Memory in MB and time in minutes of the jobs; methods are for ``resources`` of rules.

    Args:
        inspection: what is known of the images; None in a Snakemake that runs one job for another, which has asked for
            what the job needs already: images and phases before then count for nothing, and are not read.
        gpus: how many Snakemake was given; None where it was not told, as there may be some.
    """

    def __init__(
        self, layout: Layout, on: Dependencies, inspection: Inspection | None, gpus: int | None = None
    ) -> None:
        self._layout, self._on, self._inspection = layout, on, inspection
        self._pixels: dict[str, int] = {}
        self.gpu = 0 if layout.study.device == "cpu" or gpus == 0 else 1
        self._most_gpus = gpus
        self._device = "gpu" if self.gpu else "cpu"

    @cached_property
    def _rates(self) -> dict[str, float]:
        return measured(self._layout, self._on, self._device) if self._inspection else {}

    def train_gpus(self, wildcards: Any) -> int:
        """Of the training of a phase, a process each; no more than Snakemake was given."""
        wanted = self.gpu * self._layout.gpus(wildcards)
        return wanted if self._most_gpus is None else min(wanted, self._most_gpus)

    def train_minutes(self, wildcards: Any, attempt: int) -> int:
        """Of the training of a phase, with its looks at the validation images."""
        task: Task = self._on.task(wildcards)
        seconds = task.block_pixels * self._rates.get(trained_kind(task), 1 / _SLOW[self._device])
        looks = task.iterations / self._layout.study.training.validate_every + len(task.stages)
        return _minutes(seconds + looks * self._image_seconds(wildcards, task.last - task.first + 1, 0.1), attempt)

    def train_mb(self, wildcards: Any, attempt: int) -> int:
        """Of the training of a phase: what it took before, or an estimate."""
        folder = self._layout.folder(wildcards.run, int(wildcards.seed), int(wildcards.phase))
        record = read_json(Path(folder, "training.json"))
        peak = record.get("peak_memory_mib", {}).get("host", 0) if is_of(record, self._device) else 0
        maps = 0.0
        if not peak and not self.gpu:
            task: Task = self._on.task(wildcards)
            most = max(stage.batch * stage.patch**2 for stage in task.stages)
            maps = most * (task.last - task.first + 1) * _MAPS_BYTES / 1e6
        processes = max(1, self.train_gpus(wildcards))
        return self._mb(wildcards, max(1.5 * peak, _PYTORCH_MB + maps) * processes, attempt)

    def image_minutes(self, wildcards: Any, attempt: int) -> int:
        """Of whole images through all blocks of the chain."""
        return _minutes(self._image_seconds(wildcards, len(self._layout.run(wildcards).chain)), attempt)

    def image_mb(self, wildcards: Any, attempt: int) -> int:
        """Of whole images through a network, in tiles of ``inference.memory_gib``."""
        maps = 0 if self.gpu else 2 * 1024 * self._layout.study.inference.memory_gib
        return self._mb(wildcards, _PYTORCH_MB + maps, attempt)

    def _mb(self, wildcards: Any, needed: float, attempt: int) -> int:
        return math.ceil(needed + self._counted(wildcards) * _IMAGE_BYTES / 1e6) * 2 ** (attempt - 1)

    def _image_seconds(self, wildcards: Any, blocks: int, share: float = 1.0) -> float:
        return share * self._counted(wildcards) * blocks / _IMAGES_SLOW[self._device]

    def _counted(self, wildcards: Any) -> int:
        """Pixels of all HR images of a run."""
        data: DatasetConfig = self._layout.run(wildcards).data
        if data.name not in self._pixels:
            try:
                self._pixels[data.name] = self._pixels_of(data)
            except (UserError, OSError):  # that is said where the images are checked
                self._pixels[data.name] = 0
        return self._pixels[data.name]

    def _pixels_of(self, data: DatasetConfig) -> int:
        if not (known := self._inspection):
            return 0
        return sum(pixels(data, known.find(data), known.size).values())


def _minutes(seconds: float, attempt: int) -> int:
    return math.ceil(max(_FLOOR, _FACTOR * seconds / 60)) * 2 ** (attempt - 1)
