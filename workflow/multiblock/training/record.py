"""What a training leaves beside its weights: the rows of ``history.csv`` and the fields of ``training.json``."""

import json
import logging
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multiblock import __version__
from multiblock.errors import UserError, one_line
from multiblock.model.chain import Chain
from multiblock.plan import Task
from multiblock.training import work
from multiblock.training.checkpoint import State
from multiblock.training.progress import is_below, seconds_by_part

log = logging.getLogger(__name__)

COLUMNS = ("iteration", "stage", "lr", "loss", "psnr_rgb_validation", "gradient_norm")


class History:
    """The rows of ``history.csv``, written to a file as training goes; without one they are in ``text`` alone.

    Args:
        file: where they are written; what it held is replaced.
        text: what the history was at the checkpoint to go on from; empty begins a new one.
    """

    def __init__(self, file: Path | None, text: str = "") -> None:
        self._file = file
        self.text = text or _line(COLUMNS)
        if file:
            file.write_text(self.text, encoding="utf-8")

    def add(self, iteration: int, stage: int, lr: float, loss: float, psnr: float | None, norm: float) -> None:
        """Append a row.

        Args:
            iteration: iterations done in this phase.
            stage: number of the stage, from 1.
            lr: learning rate.
            loss: mean over the iterations since the row before.
            psnr: mean PSNR RGB in dB of the validation images, or None where they were not looked at.
            norm: mean norm of the gradient over the iterations since the row before.
        """
        row = _line((iteration, stage, lr, f"{loss:.8g}", "" if psnr is None else f"{psnr:.5f}", f"{norm:.6g}"))
        self.text += row
        if self._file:
            with self._file.open("a", encoding="utf-8") as opened:
                opened.write(row)


def _line(row: tuple[object, ...]) -> str:
    return ",".join(map(str, row)) + "\n"


def record(
    task: Task, chain: Chain, state: State, *, keep: str, data: Sequence[str], psnr_input: float | None
) -> dict[str, Any]:
    """The record of a phase, the content of ``training.json``.

    ``seconds`` are those of training with its looks at the validation images and its checkpoints, without the start.

    Args:
        chain: all blocks that are trained by now.
        keep: the setting ``keep``: ``last`` or ``best``.
        data: digests of the image sets that were read.
        psnr_input: PSNR RGB in dB of the validation images as they are, without any network; None where not known.
    """
    span = chain.part(task.first, task.last)
    segments = [{**one, "seconds": _rounded_times(one["seconds"])} for one in state.segments]
    seconds, operations = _rounded_times(seconds_by_part(segments)), _operations(task, span)
    trained = seconds["iterations"]
    return {
        "phase": task.phase,
        "seed": task.seed,
        "span": [task.first, task.last],
        "blocks": len(chain.specs),
        "parameters": span.parameters_count,
        "parameters_chain": chain.parameters_count,
        "iterations": state.step,
        "block_pixels": task.block_pixels,
        "training_flops": None if operations is None else sum(one["flops"] for one in operations),
        "work": operations,
        "seconds": round(sum(seconds.values()) - seconds["start"], 2),
        **{f"seconds_{part}": spent for part, spent in seconds.items()},
        "iterations_per_second": round(state.step / trained, 3) if trained > 0 else None,
        "block_pixels_per_second": round(task.block_pixels / trained) if trained > 0 else None,
        "psnr_rgb_validation": _rounded(state.psnr),
        "psnr_rgb_validation_input": _rounded(psnr_input),
        "kept": {"keep": keep, "iteration": state.step if keep == "last" or not state.best_step else state.best_step},
        "segments": segments,
        "peak_memory_mib": _peak_memory(),
        "data": list(data),
        "commit": commit(),
        "multiblock": __version__,
        "machine": platform.processor() or platform.machine(),
        "versions": versions(),
        "stages": [asdict(stage) for stage in task.stages],
    }


def _operations(task: Task, span: Chain) -> list[dict[str, Any]] | None:
    """The work of each stretch of iterations in which the same parts are frozen; None where it cannot be counted."""
    found = []
    of_patch = cache(lambda patch, frozen: work.of_patch(span, patch, frozen))
    try:
        for number, stage in enumerate(task.stages, 1):
            for one in work.stretches(stage):
                flops = one.iterations * stage.batch * of_patch(stage.patch, one.frozen)
                found.append({"stage": number, **asdict(one), "flops": flops})
    except Exception as error:  # whatever a network of a user's own leads to
        log.warning("training FLOPs are not recorded, as they cannot be counted: %s", one_line(error))
        return None
    return found


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}


@cache
def commit() -> str | None:
    """The commit of the project that this package is in; None where it is installed elsewhere."""
    if _git("ls-files", Path(__file__).name) is None:  # the repository around may be another one
        return None
    return _git("rev-parse", "--short=12", "HEAD")


def _git(*words: str) -> str | None:
    """The output of git in the package's folder; None where there is none."""
    try:
        done = subprocess.run(["git", "-C", Path(__file__).parent, *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def below_input(record: Mapping[str, Any], by: float = 0) -> bool:
    """Whether a phase ended more than ``by`` dB below what no network at all gives on the validation images."""
    return is_below(record.get("psnr_rgb_validation"), record.get("psnr_rgb_validation_input"), by)


_TELLS = 0.1
"""The least loss in dB that is a failure: what goes wrong loses decibels, and a few images tell no less than this."""


def check_phases(weights: Iterable[Path]) -> None:
    """Check that the phases that a training goes on from are better than no network.

    Args:
        weights: the weights files of earlier phases, each with its record beside it.

    Raises:
        UserError: one of the phases ended clearly below no network on the validation images.
    """
    for file in weights:
        about = json.loads(file.with_name("training.json").read_text(encoding="utf-8"))
        if below_input(about, by=_TELLS):
            made, plain = (about[f"psnr_rgb_validation{which}"] for which in ("", "_input"))
            raise UserError(
                f"{file}: phase {about['phase']} ended at {made:.3f} dB on the validation images, below the "
                f"{plain:.3f} dB that they have without any network (PSNR RGB); the run ends here: change the stages "
                "of that phase (a lower learning rate, clipped gradients, more iterations, a first stage without "
                "clamp), or set training.below_input to go_on"
            )


def _rounded(psnr: float | None) -> float | None:
    return round(psnr, 5) if psnr is not None and abs(psnr) != float("inf") else None


def _rounded_times(seconds: Mapping[str, float]) -> dict[str, float]:
    return {part: round(spent, 4) for part, spent in seconds.items()}


def _peak_memory() -> dict[str, int]:
    """The most memory that this process held, in MiB; on a GPU, the most that tensors took."""
    peak = {}
    with suppress(ImportError):  # Windows has no such module
        import resource

        unit = 1 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
        peak["host"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        peak["gpu"] = torch.cuda.max_memory_allocated() // 2**20
    return peak
