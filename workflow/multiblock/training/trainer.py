"""The training loop: one phase, from the weights it starts from to the weights it leaves."""

import hashlib
import json
import logging
import math
import platform
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multiblock.data.imageset import ImageSet
from multiblock.data.pixels import as_float
from multiblock.data.sampler import Sampler
from multiblock.errors import UserError
from multiblock.files import lock, write_text
from multiblock.inference import tiles
from multiblock.inference.metrics import psnr_rgb
from multiblock.model.chain import Chain
from multiblock.plan import Task
from multiblock.runtime import compilation
from multiblock.runtime.device import Device, make_deterministic, random_states, set_random_states
from multiblock.training import checkpoint, optimisers, schedules
from multiblock.training.freezing import Trained
from multiblock.training.history import History
from multiblock.training.losses import Loss
from multiblock.training.progress import Progress, duration
from multiblock.training.signals import Stopped, StopRequest
from multiblock.training.start import starting_chain

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a training depends on beside its task: see the config keys of the same names."""

    device: str
    precision: str
    layout: str
    compile: str
    deterministic: bool
    keep: str
    history_every: int
    validate_every: int
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
    memory_gib: float,
) -> None:
    """Train one phase and write ``weights.safetensors``, ``history.csv`` and ``training.json`` into ``out``.

    The weights file holds the whole network 1..last. Training that was interrupted goes on from its checkpoint
    in ``out/working-<key>``, where the key stands for everything that the weights depend on.

    Args:
        inputs: folder of the set that the span reads, ``train`` and ``validation``.
        targets: folder of the HR set.
        weights: the weights file of each earlier phase that the task names.
        checkpoint_seconds: time between two checkpoints.
        memory_gib: memory for the feature maps of a validation image.

    Raises:
        UserError: files that do not fit the task or one another, a loss or a gradient that is not finite, or another
            training in the same folder.
        SystemExit: a signal asked for a stop; a checkpoint was written before.
    """
    # -- Network: the chain 1..last; the span is what is trained ----------------------------------------------
    make_deterministic(settings.deterministic)
    chain = starting_chain(task, weights)
    span = chain.part(task.first, task.last).train()
    how = compilation.choose(span, task, device, settings.layout, settings.compile)
    span.to(device.device, memory_format=how.layout)  # type: ignore[call-overload]

    # -- Data ------------------------------------------------------------------------------------------------
    train_inputs, train_targets = ImageSet(inputs / "train.npy"), ImageSet(targets / "train.npy")
    validation = ImageSet(inputs / "validation.npy"), ImageSet(targets / "validation.npy")
    sampler = Sampler(train_inputs, train_targets, span.scale, task.seed, task.phase, device.device)

    # -- Resume ----------------------------------------------------------------------------------------------
    held = ExitStack()
    held.enter_context(lock(out, "training"))
    key = _key(task, settings, [train_inputs, train_targets, *validation], weights)
    working = checkpoint.working_folder(out, key)
    state = checkpoint.load(working)
    device = _as_begun(device, state.about)
    if state.done:
        span.blocks.load_state_dict(state.weights)
        set_random_states(state.random)
    history = History(working / "history.csv", state.history)

    # -- What was derived ------------------------------------------------------------------------------------
    total = task.iterations
    log.info("phase %d trains %s on %d images of %s", task.phase, _blocks(task), len(train_inputs), inputs)
    log.info("%s; %s; %s", device, how, sampler.about)
    log.info(
        "%s parameters, %d iterations in %d stages, %.3g block-pixels",
        f"{span.parameters_count:,}",
        total,
        len(task.stages),
        task.block_pixels,
    )
    forward: Callable[[torch.Tensor], torch.Tensor] = span
    if state.done:
        log.info("goes on from iteration %d", state.done)
    if state.done < total:
        forward = how.forward(span, device, task)
        state.about = _about(task, settings, device, forward is not span, state.about)

    # -- Iterations: what is due after the last one, then one more --------------------------------------------
    optimiser: torch.optim.Optimizer | None = None
    trained = Trained(span)
    saved = time.monotonic()
    started = saved - state.seconds
    unseen: list[torch.Tensor] = []  # losses and gradient norms that are not checked yet
    with held, StopRequest() as stop, Progress(task, state.done) as progress:
        while True:
            asked = stop.signal  # once, so that a signal that comes later is for the next round
            looks = state.done % settings.validate_every == 0 or state.done == total
            writes = state.looked < state.done and (looks or state.done % settings.history_every == 0)
            saves = time.monotonic() - saved > checkpoint_seconds or state.done == total
            if writes or saves or asked:  # a GPU is waited for as seldom as possible, yet before anything is kept
                _check(unseen, state.done, state, task)
            if writes and not asked:
                number, inside = task.place(state.done - 1)
                stage = task.stages[number]
                span.clamped = [stage.clamp] * len(span.clamped)
                before = time.monotonic()
                try:
                    with stop.at_once():  # what a stop interrupts here is done after the restart
                        psnr = _validate(span, *validation, device, memory_gib) if looks else None
                except Stopped:
                    asked = stop.signal
                else:
                    state.validation_seconds += time.monotonic() - before
                    rate = stage.lr * schedules.factor(stage, inside, state.plateau)
                    history.add(state.done, number + 1, rate, state.loss_sum / state.loss_count, psnr)
                    state.loss_sum, state.loss_count, state.looked = 0.0, 0, state.done
                    if psnr is not None:
                        progress.note(psnr)
                        if stage.schedule.get("kind") == "plateau":
                            state.plateau.look(psnr, stage.schedule)
                        if settings.keep == "best" and stage.clamp == task.stages[-1].clamp:
                            state.note_best(psnr, span.blocks.state_dict())
            if state.done and (saves or asked):
                saved = time.monotonic()
                state.weights, state.random = span.blocks.state_dict(), random_states()
                state.optimiser = optimiser.state_dict() if optimiser else state.optimiser
                state.history, state.seconds = history.text, saved - started
                checkpoint.save(working, state)
            if asked and state.looked < total:
                log.info("stopped by %s after iteration %d of %d", asked.name, state.done, total)
                sys.exit(1)
            if state.done == total:
                break

            number, inside = task.place(state.done)
            stage = task.stages[number]
            if optimiser is None or state.stage != number:
                trained.all()
                optimiser = optimisers.make(stage, span)
                loss_of = Loss(stage).to(device.device)
                if state.stage == number:
                    optimiser.load_state_dict(state.optimiser)
                else:
                    state.stage, state.plateau = number, schedules.Plateau()
            span.clamped = [stage.clamp] * len(span.clamped)
            trained.apart_from([name for name, part in stage.parts.items() if inside < part.get("freeze", 0)])
            factor = schedules.factor(stage, inside, state.plateau)
            for group in optimiser.param_groups:
                group["lr"] = group["initial_lr"] * factor

            batch, target = sampler.batch(state.done, stage.batch, stage.patch, stage.augment)
            with device.autocast():
                output = forward(how.to_layout(batch))
            loss = loss_of(output, how.to_layout(target))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            unseen.append(torch.stack([loss.detach(), _gradient_norm(span)]))
            if len(unseen) == _UNSEEN[device.device.type]:
                _check(unseen, state.done + 1, state, task)
            optimiser.step()
            state.done += 1
            progress.step()

    # -- Result ----------------------------------------------------------------------------------------------
    if settings.keep == "best" and state.best_weights is not None:
        span.blocks.load_state_dict(state.best_weights)
    chain.clamped[task.first - 1 :] = [task.stages[-1].clamp] * len(span.specs)
    chain.save(out / "weights.safetensors")
    write_text(out / "history.csv", history.text)
    write_text(out / "training.json", json.dumps(_record(task, settings, device, how, span, state), indent=2) + "\n")
    # The last checkpoint stays until the phase is evaluated: a kill in the instant before Snakemake takes note of the
    # result must not cost the training.
    log.info("done in %s", duration(state.seconds))


_UNSEEN = {"cpu": 1, "cuda": 50}
"""Iterations after which losses are checked, on a CPU before the step. A GPU would be waited for each time: there
what follows a loss that is not finite is computed, but not kept."""


def _gradient_norm(span: Chain) -> torch.Tensor:
    return torch.nn.utils.get_total_norm([p.grad for p in span.parameters() if p.grad is not None])


def _check(unseen: list[torch.Tensor], done: int, state: checkpoint.State, task: Task) -> None:
    """Add the losses of the iterations up to number ``done`` to the state, and end on one that is not finite."""
    first = done - len(unseen) + 1
    for iteration, (loss, norm) in enumerate(torch.stack(unseen).tolist() if unseen else [], first):
        if not (math.isfinite(loss) and math.isfinite(norm)):
            number, _ = task.place(iteration - 1)
            what = f"the loss is {loss}" if not math.isfinite(loss) else f"the norm of the gradient is {norm}"
            raise UserError(
                f"phase {task.phase}, stage {number + 1}, iteration {iteration}: {what}; a learning rate below "
                f"{task.stages[number].lr:g}, a stage without clamp before this one, or precision: float32 may help; "
                "the last checkpoint before it is kept"
            )
        state.loss_sum += loss
        state.loss_count += 1
    unseen.clear()


def _as_begun(device: Device, about: Mapping[str, Any]) -> Device:
    """The device with the number format that an interrupted training began with, so that it ends alike."""
    if not about or about["dtype"] == str(device.dtype):
        return device
    return replace(device, dtype=getattr(torch, about["dtype"].removeprefix("torch.")), dtype_reason="as it was begun")


def _about(task: Task, settings: Settings, device: Device, compiled: bool, before: Mapping[str, Any]) -> dict[str, Any]:
    """What the training is, for its checkpoints. Says where it does not go on as it began."""
    about = {
        "task": asdict(task),
        "settings": asdict(settings),
        "dtype": str(device.dtype),
        "compiled": compiled,
        "threads": torch.get_num_threads(),
        "versions": _versions(),
    }
    for what in ("compiled", "threads", "versions"):
        if before and before[what] != about[what]:
            log.warning(
                "it began with %s %s and goes on with %s: the weights may end otherwise in their last digits",
                what,
                before[what],
                about[what],
            )
    return about


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}


def _blocks(task: Task) -> str:
    return f"block {task.first}" if task.first == task.last else f"blocks {task.first} to {task.last}"


def _key(task: Task, settings: Settings, sets: list[ImageSet], weights: Mapping[int, Path]) -> str:
    """A digest of everything that the weights depend on."""
    parts = [repr(task), repr(settings), *(images.digest for images in sets)]
    files = [file for _, file in sorted(weights.items())] + [Path(file) for file in task.files]
    parts += [hashlib.blake2b(file.read_bytes()).hexdigest() for file in files]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def _validate(span: Chain, inputs: ImageSet, targets: ImageSet, device: Device, memory_gib: float) -> float:
    """Mean PSNR RGB in dB of the span on whole validation images."""
    scores = []
    training = [module for module in span.modules() if module.training]
    span.eval()
    for image, target in zip(inputs, targets, strict=True):
        scores.append(psnr_rgb(tiles.run(span, image, device.device, memory_gib), as_float(target)))
    for module in training:  # one by one: frozen parts are never in training mode
        module.training = True
    return float(np.mean(scores))


def _record(
    task: Task, settings: Settings, device: Device, how: compilation.Kernels, span: Chain, state: checkpoint.State
) -> dict[str, Any]:
    """What there is to know of a training that is done."""
    return {
        "phase": task.phase,
        "seed": task.seed,
        "span": [task.first, task.last],
        "parameters": span.parameters_count,
        "iterations": state.done,
        "block_pixels": task.block_pixels,
        "seconds": round(state.seconds, 1),
        "validation_seconds": round(state.validation_seconds, 1),
        "kept": {"keep": settings.keep, "iteration": state.best_iteration if settings.keep == "best" else state.done},
        "device": str(device),
        "kernels": str(how),
        "machine": platform.processor() or platform.machine(),
        "versions": _versions(),
        "stages": [asdict(stage) for stage in task.stages],
    }
