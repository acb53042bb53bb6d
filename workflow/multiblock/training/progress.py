"""How far training is and how long it will take: a bar on a terminal, a line now and then elsewhere."""

import logging
import time
from contextlib import ExitStack

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from multiblock.pace import Pace, can_draw, duration
from multiblock.plan import Task
from multiblock.training.below import REMEDIES, is_below, is_far_below

log = logging.getLogger(__name__)

_TIMED = 6
"""Iterations after which the expected time is said; the first is not counted."""

_QUIET_SECONDS = 30
"""Time between two lines where there is no terminal."""

_REPORT_SECONDS = 0.2
"""Time between two reports of how far it is, to whoever started this job."""

_RECENT = 50
"""Iterations after which it is seen whether they have become slow."""

_WORTH_SECONDS = 20
"""A warning halfway is for those who would wait at least so long for the other half; the end says it all the same."""

_SLOW = 3
"""How many times the first iterations' time later ones may take before it is said."""


class Progress:
    """To be used with ``with``; :meth:`step` is called after each iteration.

    Args:
        task: what is trained.
        step: iterations that were done before.
    """

    def __init__(self, task: Task, step: int) -> None:
        self._task = task
        self._step = self._first = step
        self._note, self._warned = "", False
        self._at = self._said = self._reported = time.monotonic()
        self._pace = Pace()  # of pixels
        self._usual: float | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "Progress":
        loggers = [logging.getLogger("multiblock")]
        drawn = can_draw()
        if drawn:
            self._stack.enter_context(logging_redirect_tqdm(loggers))
        self._bar = self._stack.enter_context(
            tqdm(
                total=self._task.iterations,
                initial=self._step,
                desc=f"phase {self._task.phase}",
                unit="it",
                smoothing=0.05,
                disable=not drawn,
            )
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def step(self) -> None:
        """One more iteration is done."""
        now = time.monotonic()
        if self._step > self._first:  # the first one prepares much
            self._pace.note(now - self._at, max(self._task.pixels(self._step, self._step + 1), 1))
        self._step += 1
        self._at = now
        self._bar.update()
        here = self._step - self._first
        if here == _TIMED or (self._bar.disable and now - self._said > _QUIET_SECONDS and here > _TIMED):
            left = duration(self._rate() * self._task.pixels(self._step, self._task.iterations))
            log.info(
                "%d of %d iterations, expected time left %s%s", self._step, self._task.iterations, left, self._note
            )
            self._said = now
        if here >= _TIMED:
            self._report(now)
        if here == _RECENT:
            self._usual = self._rate()
        elif self._usual and here % _RECENT == 0 and self._rate() > _SLOW * self._usual:
            log.warning(
                "iterations take %.0f times as long as the first ones; other work on this machine may take its time: "
                "fewer --cores can be faster then",
                self._rate() / self._usual,
            )
            self._usual = None  # said once

    def _report(self, now: float) -> None:
        """Report to whoever started this job how far it is, a few times a second."""
        if now - self._reported < _REPORT_SECONDS and self._step < self._task.iterations:
            return
        self._reported, rate = now, self._rate()
        iterations = 1 / max(rate * self._task.pixels(self._step - 1, self._step), 1e-9)
        log.debug(
            "%d of %d iterations",
            self._step,
            self._task.iterations,
            extra={
                "progress": {
                    "done": self._step,
                    "of": self._task.iterations,
                    "rate": f"{iterations:.3g} it/s" if iterations < 1000 else f"{iterations:.0f} it/s",
                    "note": self._note.removeprefix(", "),
                    "seconds_left": rate * self._task.pixels(self._step, self._task.iterations),
                    "seconds_a_block_pixel": rate / (self._task.last - self._task.first + 1),
                }
            },
        )

    def _rate(self) -> float:
        """Seconds a pixel, as the last iterations took."""
        return self._pace.seconds or 0.0

    def looked(self, seconds: float) -> None:
        """So many seconds went by between two iterations for something else."""
        self._at += seconds

    def note(self, psnr: float, plain: float | None) -> None:
        """Show the PSNR of the validation images; and what they have without any network, where that is more.

        Halfway through, that is worth a warning: who waits for the end loses the other half. So it is where clamps are
        about to be set on a network that is far off: pixels outside 0 to 1 give no gradient then.
        """
        below = is_below(psnr, plain)
        said = f"validation {psnr:.3f} dB" + (f" (without network {plain:.3f})" if below else "")
        self._note = f", {said}"
        self._bar.set_postfix_str(said)
        half, whole = self._task.iterations / 2, self._task.iterations
        if is_far_below(psnr, plain) and (stage := self._clamped_next()):
            log.warning(
                "warning: stage %d of phase %d ends at %.3f dB on the validation images, far below the %.3f dB that "
                "they have without any network (PSNR RGB), and the next one clamps: pixels outside 0 to 1 do not learn "
                "there; in this stage clipped gradients or a lower learning rate may help",
                stage,
                self._task.phase,
                psnr,
                plain,
            )
        left = self._rate() * self._task.pixels(self._step, whole)
        if below and not self._warned and half <= self._step < whole and left >= _WORTH_SECONDS:
            self._warned = True
            log.warning(
                "warning: after %d of %d iterations phase %d is at %.3f dB on the validation images, below the %.3f dB "
                "that they have without any network (PSNR RGB); if it stays there, %s",
                self._step,
                whole,
                self._task.phase,
                psnr,
                plain,
                REMEDIES,
            )

    def _clamped_next(self) -> int:
        """The number of the stage whose end this is, where it has no clamps and the next one has; else 0."""
        number, inside = self._task.place(self._step - 1)
        stages = self._task.stages
        ends = inside + 1 == stages[number].iterations and number + 1 < len(stages)
        return number + 1 if ends and stages[number].clamp == "none" != stages[number + 1].clamp else 0

    def stopped(self, step: int, signal: str) -> None:
        """Say where training was stopped."""
        log.warning(
            "stopped by %s after iteration %d of %d of phase %d; the same command goes on from there",
            signal,
            step,
            self._task.iterations,
            self._task.phase,
            extra={"progress": {"ended": "stop"}},
        )
