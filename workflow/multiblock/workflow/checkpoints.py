"""The checkpoints in a phase's folder, told by their names alone, and which of them the phase would go on from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiblock.data.imageset import index_of
from multiblock.files import digest_of
from multiblock.plan import Task
from multiblock.training.key import key
from multiblock.workflow.dependencies import Dependencies
from multiblock.workflow.layout import Layout


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A folder of checkpoints; ``step`` is the number of iterations at the newest, None where there is none."""

    folder: Path
    step: int | None


def found(phase: Path) -> list[Checkpoint]:
    """All that lie in a phase's folder, the last one to change first."""
    folders = [folder for folder in phase.glob("working-*") if folder.is_dir() and not folder.is_symlink()]
    folders.sort(key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
    return [Checkpoint(folder=folder, step=_step(folder)) for folder in folders]


def _step(folder: Path) -> int | None:
    """The iterations at the newest checkpoint, which its name begins with."""
    names = sorted((file.name[:9] for file in folder.glob("?????????-*.pt")), reverse=True)
    return next((int(name) for name in names if name.isdecimal()), None)


def seconds_left(checkpoint: Checkpoint, task: Task, every: float, now: float) -> float | None:
    """Time that a training under way has left, at the pace between its last two checkpoints.

    None where there is no pace: with one checkpoint, or two with a break between them.

    Args:
        every: seconds between two checkpoints.
        now: the time, of ``time.time``.
    """
    names = sorted(checkpoint.folder.glob("?????????-*.pt"), reverse=True)[:2]
    try:
        (last, begun), (before, earlier) = ((int(file.name[:9]), file.stat().st_mtime) for file in names)
    except (OSError, ValueError):
        return None
    seconds, pixels = begun - earlier, task.pixels(before, last)
    if not pixels or not 0 < seconds < _BREAK * every:
        return None
    return max(0.0, seconds / pixels * task.pixels(last, task.iterations) - (now - begun))


_BREAK = 10
"""How many times the usual time between two checkpoints lies between those before and after an interruption."""


def name_of(layout: Layout, on: Dependencies, wildcards: Any) -> str | None:
    """The name of the folder whose checkpoints a phase would go on from; None where what it reads is missing."""
    read, hr, plan = Path(layout.cached(wildcards)), Path(layout.hr(wildcards)), layout.run(wildcards).plan
    arrays = [folder / f"{split}.npy" for split in ("train", "validation") for folder in (read, hr)]
    phases = plan.reads_weights(int(wildcards.phase))
    weights = dict(zip(phases, map(Path, layout.weights_read(wildcards)), strict=True))
    try:
        data = [digest_of(index_of(array)) for array in arrays]
        return f"working-{key(on.task(wildcards), on.settings(wildcards), data, weights)}"
    except OSError:
        return None
