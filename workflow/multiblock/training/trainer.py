"""One phase, from the weights that it starts from to the weights that it leaves."""

import json
import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from multiblock.data.camera import Anew
from multiblock.data.imageset import ImageSet
from multiblock.data.sampler import Drawn, Sampler
from multiblock.errors import UserError
from multiblock.files import lock, write_text
from multiblock.model.metadata import VALIDATION_PSNR, Provenance
from multiblock.model.state_dict import check_finite
from multiblock.pace import duration
from multiblock.plan import Stage, Task
from multiblock.runtime import compilation, memory
from multiblock.runtime.device import Device, make_deterministic, random_states, set_random_states
from multiblock.training import checkpoint, schedules, work
from multiblock.training.progress import REMEDIES, Clock, Progress, against_jumps, seconds_by_part
from multiblock.training.ranks import ALONE, Ranks
from multiblock.training.record import History, below_input, record, versions
from multiblock.training.signals import Stopped, StopRequest
from multiblock.training.starts import starting_chain
from multiblock.training.step import Average, Step, Trained
from multiblock.training.validation import Validation

log = logging.getLogger(__name__)

_PENDING = {"cpu": 1, "cuda": 50}
"""Iterations after which losses are checked, on a CPU before the step. A GPU would be waited for each time: there
what follows a loss that is not finite is computed, but not kept."""

_LOCK_SECONDS = 15
"""Seconds to wait for another training in the folder: one whose Snakemake was killed is about to end."""

_SAVING_SHARE = 0.02
"""The most of the time that writing checkpoints may take, however slow the disk is."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings that a training depends on beside its task: see the config keys of the same names."""

    device: str
    precision: str
    layout: str
    compile: str
    deterministic: bool
    keep: str
    history_every: int
    validate_every: int


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
    working: Path | None = None,
    lr: Path | None = None,
    only: Collection[str] | None = None,
    anew: Anew | None = None,
    about: Provenance | None = None,
    begun: float | None = None,
    ranks: Ranks = ALONE,
) -> None:
    """Train one phase and write ``weights.safetensors``, ``history.csv`` and ``training.json`` into ``out``.

    The weights file holds the network as it is after the phase: all blocks that are trained by then. Training that was
    interrupted goes on from its checkpoint; the folder of checkpoints belongs to this one training.

    Args:
        inputs: folder of the set that the span reads, ``train`` and ``validation``.
        targets: folder of the HR set.
        weights: the weights file of each earlier phase that the task names.
        checkpoint_seconds: time between two checkpoints.
        memory_gib: memory for the feature maps of a validation image.
        working: the folder of checkpoints, which the caller removes; ``out/working`` if none is given.
        lr: folder of LR_0, to say how the phase does beside no network.
        only: names of the training images to train on; all if it is None.
        anew: makes the patches that the span reads of HR, in place of those of ``inputs``.
        about: what is known of the weights before they are trained, for their file.
        begun: the time, of ``time.monotonic``, from which on the start counts; else this call.
        ranks: the processes that train the phase together; each of them calls this.

    Raises:
        UserError: files that do not fit the task or one another, a loss or a gradient that is not finite, or another
            training in the same folder.
        SystemExit: a signal asked for a stop; a checkpoint was written before.
    """
    clock = Clock(begun)
    working = working or out / "working"
    with lock(working, "training", wait=_LOCK_SECONDS) if ranks.first else nullcontext():
        trainer = Trainer(task, settings, device, weights, clock, ranks)
        trainer.read(inputs, targets, lr, memory_gib, only, anew)
        trainer.resume(out, working)
        trainer.run(checkpoint_seconds)
        if ranks.first:
            trainer.finish(about or Provenance())


class Trainer:
    """The training of one phase; :func:`train` calls its methods from top to bottom."""

    def __init__(
        self,
        task: Task,
        settings: Settings,
        device: Device,
        weights: Mapping[int, Path],
        clock: Clock,
        ranks: Ranks = ALONE,
    ) -> None:
        self.task, self.settings, self.device, self.clock, self.ranks = task, settings, device, clock, ranks
        make_deterministic(settings.deterministic)
        self.chain = starting_chain(task, weights)
        self.span = self.chain.part(task.first, task.last).train()
        self.execution = compilation.choose(self.span, task, device, settings.layout, settings.compile)
        self.span.to(device.device, memory_format=self.execution.layout)  # type: ignore[call-overload]

    def read(
        self,
        inputs: Path,
        targets: Path,
        lr: Path | None,
        memory_gib: float,
        only: Collection[str] | None = None,
        anew: Anew | None = None,
    ) -> None:
        """Open the image sets."""
        train = ImageSet(inputs / "train.npy", only), ImageSet(targets / "train.npy", only)
        looked_at = ImageSet(inputs / "validation.npy"), ImageSet(targets / "validation.npy")
        self.data = [images.digest for images in (*train, *looked_at)]
        seed, phase, place = self.task.seed, self.task.phase, self.device.device
        self.sampler = Sampler(*train, self.span.scale, seed, phase, place, rows=self.ranks.rows, anew=anew)
        self.validation = Validation(*looked_at, lr, memory_gib)
        log.info("phase %d trains %s on %d images of %s", phase, _blocks(self.task), len(train[0]), inputs)

    def resume(self, out: Path, working: Path) -> None:
        """Go on from the checkpoint of the same training, if there is one; say what was derived."""
        self.out, self.working = out, working
        self.state = state = checkpoint.load(self.working)
        self.ranks.meet()  # all have read it before the first one writes there
        self.device = _as_begun(self.device, state.about)
        if state.step:
            self.span.blocks.load_state_dict(state.weights)
            set_random_states(state.random)
        self.average: Average | None = None
        if state.average:
            self.average = Average(self.span)
            self.average.load(state.average)
        self.history = History(self.working / "history.csv" if self.ranks.first else None, state.history)
        self.step: Step | None = None
        self.gradients: Callable[..., torch.Tensor] | None = None
        self.frozen: list[str] = []
        self.trained = Trained(self.span)
        self.pending: list[torch.Tensor] = []  # losses and gradient norms that are not checked yet
        log.info(
            "%s; %s; %s",
            self.device,
            self.execution,
            self.sampler.about,
            extra={"progress": {"device": str(self.device)}},
        )
        log.info(
            "%s parameters, %d iterations in %d stages, %.3g block-pixels",
            f"{self.span.parameters_count:,}",
            self.task.iterations,
            len(self.task.stages),
            self.task.block_pixels,
        )
        if state.step:
            log.info("goes on from iteration %d", state.step)
        self._note_segment()

    def run(self, checkpoint_seconds: float) -> None:
        """Do what is due after the iterations so far, then one more, to the end.

        Raises:
            SystemExit: a signal asked for a stop; a checkpoint was written before.
        """
        task, state = self.task, self.state
        self.clock.lap("start")
        saved, pause = time.monotonic(), checkpoint_seconds
        with StopRequest() as stop, Progress(task, state.step) as progress:
            while True:
                # Once a round, so that a signal that comes later is for the next one; and together, as all must stop at
                # the same iteration: whoever is asked to, and when the first one's clock says that it saves.
                due_to_save = time.monotonic() - saved > pause or state.step == task.iterations
                saves, stop_requested = self.ranks.largest(due_to_save and self.ranks.first, stop.signal or 0)
                due = state.recorded < state.step and self._is_due()
                if due or saves or stop_requested:  # a GPU is waited for as seldom as possible
                    self._check_pending()
                if due and not stop_requested and not self._bookkeeping(stop, progress):
                    stop_requested = stop.signal or signal.SIGTERM
                if state.step and (saves or stop_requested):
                    self.clock.lap("iterations")
                    self._save()
                    # A slow disk must not take the time of training.
                    pause = max(checkpoint_seconds, self.clock.lap("checkpoints") * (1 / _SAVING_SHARE - 1))
                    saved = time.monotonic()
                if stop_requested and state.recorded < task.iterations:
                    self.ranks.meet()  # nobody ends before all is saved
                    progress.stopped(state.step, signal.Signals(stop_requested).name)
                    sys.exit(1)
                if state.step == task.iterations:
                    return
                self._iterate()
                progress.step()

    def _is_due(self) -> bool:
        """Whether a row of the history is due: every few iterations, and at the end of each stage."""
        settings, step = self.settings, self.state.step
        return self._looks() or step % settings.history_every == 0

    def _looks(self) -> bool:
        """Whether a look at the validation images is due: every few iterations, and at the end of each stage."""
        number, inside = self.task.place(self.state.step - 1)
        return self.state.step % self.settings.validate_every == 0 or inside + 1 == self.task.stages[number].iterations

    def _iterate(self) -> None:
        """Do one iteration."""
        task, state = self.task, self.state
        number, inside = task.place(state.step)
        stage = task.stages[number]
        frozen = self._freeze(stage, inside)
        begins = self.step is None or state.stage != number
        drawn = self.sampler.draw(state.step, stage.batch, stage.patch, stage.augment)
        with memory.enough(
            f"batch {stage.batch} of patches of {stage.patch} x {stage.patch} pixels",
            self.device.device,
            blocks=len(self.span.specs) > 1 and not stage.recompute,
        ):
            if begins or frozen != self.frozen:
                self.clock.lap("iterations")
                if begins:
                    self._begin_stage(number, stage, inside)
                self._prepare(stage, drawn)
                self.clock.lap("start")
            assert self.step and self.gradients
            self.pending.append(self.gradients(*drawn))
            self.frozen = frozen
            if len(self.pending) == _PENDING[self.device.device.type]:
                self._check_pending(state.step + 1)
            self.step.apply(schedules.factor(stage, inside, state.plateau))
            if self.average:
                assert stage.ema
                self.average.update(stage.ema)
        state.step += 1

    def _freeze(self, stage: Stage, inside: int) -> list[str]:
        """Set clamps and frozen parts as they are at an iteration of a stage, and return the frozen parts."""
        self.span.clamped = stage.clamps(len(self.span.clamped))
        frozen = work.frozen(stage, inside)
        self.trained.apart_from(frozen)
        return frozen

    def _begin_stage(self, number: int, stage: Stage, inside: int) -> None:
        """Make a new optimiser for the stage, or go on with the one of the checkpoint."""
        self.trained.all()
        self.step = self.gradients = None  # the memory of the stage before
        goes_on = self.state.stage == number
        # VGG-16 draws weights before it reads them: where a stage goes on, that was done.
        with torch.random.fork_rng([], enabled=goes_on):
            self.step = Step(self.span, stage, self.device, self.execution, self.span)
        self._freeze(stage, inside)
        if goes_on:
            self.step.optimiser.load_state_dict(self.state.optimiser)
            self.step.parts = self.state.parts or self.step.parts
        else:
            self.state.stage, self.state.plateau = number, schedules.Plateau()
            # An average lives on from stage to stage; one without ends it.
            self.average = (self.average or Average(self.span)) if stage.ema else None

    def _prepare(self, stage: Stage, drawn: Drawn) -> None:
        """Compile, or not, and record, or not, for the clamps and frozen parts that are set."""
        assert self.step
        step, sampler, ranks, self.gradients = self.step, self.sampler, self.ranks, None
        own = replace(stage, batch=ranks.share(stage.batch))
        step.forward = self.execution.forward(self.span, self.device, own)

        if not step.parts:
            step.fit(*sampler.patches(drawn, stage.patch))
            (step.parts,) = ranks.largest(step.parts)
        self.state.parts = step.parts

        # What processes send one another is not recorded: of several each records the gradients of its own rows.
        compute = step.gradients if ranks.count == 1 else step.backward

        def computed(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
            return compute(*sampler.patches((low, high), stage.patch))

        recorded = self.execution.recorded(computed, self.span, self.device, drawn)
        self.gradients = recorded
        if ranks.count > 1:
            weights = self.span.parameters
            self.gradients = lambda *drawn: step.limited(ranks.average(recorded(*drawn), weights(), stage.batch))
        self.state.segments[-1].update(self.execution.fields())

    def _bookkeeping(self, stop: StopRequest, progress: Progress) -> bool:
        """Write a row of the history, after a look at the validation images if one is due; false if a stop came."""
        state, task = self.state, self.task
        number, inside = task.place(state.step - 1)
        stage = task.stages[number]
        self.span.clamped = stage.clamps(len(self.span.clamped))
        self.clock.lap("iterations")
        psnr = plain = None
        if self._looks():
            psnr = self.ranks.from_first(lambda: self._validated(stop))
            if psnr is None:
                self.clock.lap("validation")
                return False
            plain = self.ranks.from_first(self.validation.psnr_without_network)
        progress.leave_out(self.clock.lap("validation"))
        rate = stage.lr * schedules.factor(stage, inside, state.plateau)
        self.history.add(state.step, number + 1, rate, state.loss_sum / state.count, psnr, state.norm_sum / state.count)
        state.loss_sum, state.norm_sum, state.count, state.recorded = 0.0, 0.0, 0, state.step
        if psnr is not None:
            state.psnr = psnr
            progress.note(psnr, plain)
            if stage.schedule.get("kind") == "plateau":
                state.plateau.look(psnr, stage.schedule)
            if self.settings.keep == "best" and stage.clamp == task.stages[-1].clamp:
                with self._averaged():
                    state.note_best(psnr, self.span.blocks.state_dict())
        return True

    def _validated(self, stop: StopRequest) -> float | None:
        """PSNR of the validation images; None where a stop interrupts it: it is done after the restart."""
        try:
            with self._averaged(), stop.at_once():
                return self.validation.psnr(self.span, self.device)
        except Stopped:
            return None

    def _averaged(self) -> AbstractContextManager[None]:
        """The weights that are validated and kept within this context: their average, where the stage has one."""
        return self.average.in_place() if self.average else nullcontext()

    def _check_pending(self, step: int | None = None) -> None:
        """Add the losses of the iterations up to ``step`` to the state, and end on one that is not finite."""
        state, task = self.state, self.task
        first = (state.step if step is None else step) - len(self.pending) + 1
        for iteration, (loss, norm) in enumerate(torch.stack(self.pending).tolist() if self.pending else [], first):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                number, _ = task.place(iteration - 1)
                what = f"the loss is {loss}" if not math.isfinite(loss) else f"the norm of the gradient is {norm}"
                raise UserError(
                    f"phase {task.phase}, stage {number + 1}, iteration {iteration}: {what}; "
                    f"{against_jumps(task.stages[number], self.device.precision)} may help; the last checkpoint before "
                    "it is kept"
                )
            state.loss_sum += loss
            state.norm_sum += norm
            state.count += 1
        self.pending.clear()

    def _save(self) -> None:
        if not self.ranks.first:
            return
        state = self.state
        state.weights, state.random = self.span.blocks.state_dict(), random_states()
        state.optimiser = self.step.optimiser.state_dict() if self.step else state.optimiser
        state.average = self.average.state() if self.average else None
        state.history = self.history.text
        state.segments[-1]["to"] = state.step
        checkpoint.save(self.working, state)

    def _note_segment(self) -> None:
        """Note how the training goes on from here, and log where it does not go on as it began."""
        state = self.state
        segment = {
            "from": state.step,
            "to": state.step,
            **self.device.fields(),
            **self.execution.fields(),
            "processes": self.ranks.count,
            "versions": versions(),
            "seconds": self.clock.spent,
        }
        on_cpu = self.device.device.type == "cpu"
        for field in ("name", *["threads"] * on_cpu, "processes", "versions"):
            before = state.segments[-1].get(field, 1) if state.segments else segment[field]
            if before != segment[field]:
                log.warning(
                    "it began with %s %s and goes on with %s: sums are rounded otherwise, which grows; the weights "
                    "will be others, as with another seed",
                    {"name": "device"}.get(field, field),  # which of several alike changes nothing
                    before,
                    segment[field],
                )
        state.segments.append(segment)
        state.about = {
            "task": asdict(self.task),
            "settings": asdict(self.settings),
            "precision": self.device.precision,
        }

    def finish(self, origin: Provenance) -> None:
        """Write the result.

        What ``origin`` says of the weights is kept in their file, with how they did on the validation images.
        The last checkpoint stays until the caller has noted that the result is whole.
        """
        task, state = self.task, self.state
        if self.settings.keep == "best" and state.best_weights is not None:
            self.span.blocks.load_state_dict(state.best_weights)
            state.psnr = state.best_psnr
        elif self.average:
            self.average.keep()
        if self.settings.keep == "best" and not state.best_step and task.iterations:
            log.warning("keep: no look had the last stage's clamps, so the last iteration is kept, not the best")
        clamps = task.stages[-1].clamps(len(self.span.specs))
        self.chain.clamped[task.first - 1 : task.last] = clamps
        plain = self.validation.psnr_without_network()
        if not task.stages[-1].iterations:  # nothing was seen with these clamps
            self.span.clamped = clamps
            state.psnr = self.validation.psnr(self.span, self.device)
        self.clock.lap("validation")
        self.trained.all()
        about = record(task, self.chain, state, keep=self.settings.keep, data=self.data, psnr_input=plain)
        if (psnr := about["psnr_rgb_validation"]) is not None and math.isfinite(psnr):
            origin = replace(origin, psnr=psnr, psnr_convention=VALIDATION_PSNR)
        weights = self.out / "weights.safetensors"
        check_finite(self.chain.blocks.state_dict(), weights)
        self.chain.save(weights, about=replace(origin, commit=about["commit"]))
        write_text(self.out / "history.csv", self.history.text)
        write_text(self.out / "training.json", json.dumps(about, indent=2) + "\n")
        if below_input(about):
            log.warning(
                "warning: phase %d ends at %.3f dB on the validation images, below the %.3f dB that they have without "
                "any network (PSNR RGB); %s",
                task.phase,
                state.psnr,
                plain,
                REMEDIES,
            )
        log.info("done in %s", duration(sum(seconds_by_part(state.segments).values())))


def _as_begun(device: Device, about: Mapping[str, Any]) -> Device:
    """The device with the number format that an interrupted training began with, so that it ends the same."""
    if not about or about["precision"] == device.precision:
        return device
    return device.with_precision(about["precision"], "as it was begun")


def _blocks(task: Task) -> str:
    return f"block {task.first}" if task.first == task.last else f"blocks {task.first} to {task.last}"
