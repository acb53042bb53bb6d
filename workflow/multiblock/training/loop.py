"""The training loop: one phase, from the weights it starts from to the weights it leaves."""

import hashlib
import json
import logging
import math
import platform
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from multiblock import inference
from multiblock.chain import Chain
from multiblock.data.imageset import ImageSet
from multiblock.data.sampler import Sampler
from multiblock.errors import UserError
from multiblock.metrics import psnr_rgb
from multiblock.plan import Stage, Task
from multiblock.training import checkpoint, optimisers
from multiblock.training.device import Device, make_deterministic
from multiblock.training.history import History
from multiblock.training.losses import LOSSES
from multiblock.training.signals import StopRequest
from multiblock.training.start import starting_chain

log = logging.getLogger(__name__)

_TIMED = 6
"""Iterations after which the expected time is said; the first is not counted."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a training depends on beside its task: see the config keys of the same names."""

    device: str
    precision: str
    deterministic: bool
    keep: str
    history_every: int
    validate_every: int
    memory_gib: float
    source: str


def train(
    task: Task,
    settings: Settings,
    device: Device,
    *,
    inputs: Path,
    targets: Path,
    weights: Mapping[int, Path],
    out: Path,
    checkpoint_seconds: float,
) -> None:
    """Train one phase and write ``weights.safetensors``, ``history.csv`` and ``training.json`` into ``out``.

    The weights file holds the whole network 1..last. Training that was interrupted goes on from its checkpoint
    in ``out/working-<key>``, where the key stands for everything that the weights depend on.

    Args:
        inputs: folder of the set that the span reads, ``train`` and ``validation``.
        targets: folder of the HR set.
        weights: the weights file of each earlier phase that the task names.
        checkpoint_seconds: time between two checkpoints.

    Raises:
        UserError: files that do not fit the task or one another, or a loss that is not finite.
        SystemExit: a signal asked for a stop; a checkpoint was written before.
    """
    # -- Network: the chain 1..last; the span is what is trained ----------------------------------------------
    make_deterministic(settings.deterministic)
    chain = starting_chain(task, weights)
    span = chain.part(task.first, task.last).to(device.device)
    parameters = list(span.parameters())

    # -- Data ------------------------------------------------------------------------------------------------
    train_inputs, train_targets = ImageSet(inputs / "train.npy"), ImageSet(targets / "train.npy")
    validation = ImageSet(inputs / "validation.npy"), ImageSet(targets / "validation.npy")
    sampler = Sampler(train_inputs, train_targets, span.scale, task.seed, task.phase)

    # -- What was derived ------------------------------------------------------------------------------------
    total = task.iterations
    log.info("phase %d trains %s on %d images of %s", task.phase, _blocks(task), len(train_inputs), inputs)
    log.info("%s", device)
    log.info(
        "%s parameters, %d iterations in %d stages, %.3g block-pixels",
        f"{span.parameters_count:,}",
        total,
        len(task.stages),
        task.block_pixels,
    )

    # -- Resume ----------------------------------------------------------------------------------------------
    working = out / f"working-{_key(task, settings, [train_inputs, train_targets, *validation], weights)}"
    working.mkdir(parents=True, exist_ok=True)
    state = checkpoint.load(working / "checkpoint.pt") or _State().__dict__
    state = _State(**state)
    if state.done:
        span.blocks.load_state_dict(state.weights)
        log.info("goes on from iteration %d", state.done)
    history = History(working / "history.csv", state.history_size)
    optimiser, optimiser_stage = None, -1
    started = saved = time.monotonic()
    seconds_before, first_here = state.seconds, state.done

    # -- Iterations ------------------------------------------------------------------------------------------
    with StopRequest() as stop, _progress(total, state.done, task) as progress:
        while state.done < total:
            number, stage = _stage(task, state.done)
            if number != optimiser_stage:
                optimiser, optimiser_stage = optimisers.make(stage, parameters), number
                if state.optimiser_stage == number:
                    optimiser.load_state_dict(state.optimiser)
                state.optimiser_stage = number
                span.clamped = [stage.clamp] * len(span.clamped)
            assert optimiser

            batch, target = sampler.batch(state.done, stage.batch, stage.patch)
            with device.autocast():
                output = span(batch.to(device.device))
            loss = LOSSES[stage.loss](output, target.to(device.device))
            value = loss.item()
            if not math.isfinite(value):
                raise UserError(
                    f"phase {task.phase}, stage {number + 1}, iteration {state.done + 1}: the loss is {value}; "
                    f"a learning rate below {stage.lr:g} or a stage without clamp before this one may help"
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

            state.done += 1
            state.loss_sum += value
            state.loss_count += 1
            progress.update()
            looked = state.done % settings.validate_every == 0 or state.done == total
            if looked or state.done % settings.history_every == 0:
                psnr = _validate(span, *validation, device, settings.memory_gib) if looked else None
                history.add(state.done, number + 1, stage.lr, state.loss_sum / state.loss_count, psnr)
                state.loss_sum, state.loss_count = 0.0, 0
                if psnr is not None:
                    progress.set_postfix_str(f"validation {psnr:.3f} dB")
                    if settings.keep == "best" and stage.clamp == task.stages[-1].clamp:
                        state.note_best(psnr, span)

            now = time.monotonic()
            state.seconds = seconds_before + now - started
            if state.done == first_here + 1:
                first_done = now
            if state.done == first_here + _TIMED:
                _say_time_left(task, state.done, (now - first_done) / (_TIMED - 1))
            if stop.signal or now - saved > checkpoint_seconds or state.done == total:
                state.weights, state.optimiser = span.blocks.state_dict(), optimiser.state_dict()
                state.history_size = history.size
                checkpoint.save(working / "checkpoint.pt", state.__dict__)
                saved = now
            if stop.signal and state.done < total:
                log.info("stopped by %s after iteration %d of %d", stop.signal.name, state.done, total)
                sys.exit(1)

    # -- Result ----------------------------------------------------------------------------------------------
    if settings.keep == "best":
        span.blocks.load_state_dict(state.best_weights)
    chain.clamped[task.first - 1 :] = [task.stages[-1].clamp] * len(span.specs)
    chain.save(out / "weights.safetensors")
    shutil.copyfile(working / "history.csv", out / "history.csv")
    (out / "training.json").write_text(json.dumps(_record(task, settings, device, span, state), indent=2) + "\n")
    for folder in out.glob("working-*"):
        shutil.rmtree(folder)
    log.info("done in %s", _duration(state.seconds))


@dataclass
class _State:
    """What a checkpoint holds."""

    done: int = 0
    weights: Any = None
    optimiser: Any = None
    optimiser_stage: int = -1
    loss_sum: float = 0.0
    loss_count: int = 0
    history_size: int = 0
    seconds: float = 0.0
    best_psnr: float = -math.inf
    best_iteration: int = 0
    best_weights: Any = None

    def note_best(self, psnr: float, span: Chain) -> None:
        """Keep a copy of the weights if they did better than any before."""
        if psnr > self.best_psnr:
            self.best_psnr, self.best_iteration = psnr, self.done
            self.best_weights = {name: value.detach().clone() for name, value in span.blocks.state_dict().items()}


def _blocks(task: Task) -> str:
    return f"block {task.first}" if task.first == task.last else f"blocks {task.first} to {task.last}"


def _stage(task: Task, iteration: int) -> tuple[int, Stage]:
    """The stage, from 0, that iteration ``iteration``, from 0, belongs to."""
    for number, stage in enumerate(task.stages):
        if iteration < stage.iterations:
            return number, stage
        iteration -= stage.iterations
    raise IndexError(iteration)


def _key(task: Task, settings: Settings, sets: list[ImageSet], weights: Mapping[int, Path]) -> str:
    """A digest of everything that the weights depend on."""
    parts = [repr(task), repr(settings), *(images.digest for images in sets)]
    parts += [hashlib.blake2b(file.read_bytes()).hexdigest() for _, file in sorted(weights.items())]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def _progress(total: int, done: int, task: Task) -> tqdm:
    interval = 0.5 if sys.stderr.isatty() else 15
    return tqdm(total=total, initial=done, desc=f"phase {task.phase}", unit="it", mininterval=interval, smoothing=0.05)


def _say_time_left(task: Task, done: int, seconds: float) -> None:
    """Say the expected time from the measured ``seconds`` of an iteration of the present stage."""
    current, stage = _stage(task, done - 1)
    rate = seconds / (stage.batch * stage.patch**2)
    left, begun = 0.0, 0
    for later in task.stages:
        remaining = later.iterations - max(0, min(done - begun, later.iterations))
        left += remaining * rate * later.batch * later.patch**2
        begun += later.iterations
    log.info("%.3f s an iteration in stage %d; expected time left %s", seconds, current + 1, _duration(left))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _validate(span: Chain, inputs: ImageSet, targets: ImageSet, device: Device, memory_gib: float) -> float:
    """Mean PSNR RGB in dB of the span on whole validation images."""
    scores = []
    for image, target in zip(inputs, targets, strict=True):
        scores.append(psnr_rgb(inference.run(span, image, device.device, memory_gib), target / np.float32(255)))
    return float(np.mean(scores))


def _record(task: Task, settings: Settings, device: Device, span: Chain, state: _State) -> dict[str, Any]:
    """What there is to know of a training that is done."""
    return {
        "phase": task.phase,
        "seed": task.seed,
        "span": [task.first, task.last],
        "parameters": span.parameters_count,
        "iterations": state.done,
        "block_pixels": task.block_pixels,
        "seconds": round(state.seconds, 1),
        "kept": {"keep": settings.keep, "iteration": state.best_iteration or state.done},
        "device": str(device),
        "machine": platform.processor() or platform.machine(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        "stages": [asdict(stage) for stage in task.stages],
    }
