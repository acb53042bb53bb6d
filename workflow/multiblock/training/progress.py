"""What is reported while a phase trains: how far it is, how long it will take, where its time went, if it diverges."""

import logging
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm.contrib.logging import logging_redirect_tqdm

from multiblock.pace import Pace, bar, can_draw, duration
from multiblock.plan import Stage, Task

log = logging.getLogger(__name__)

_TIMED = 6
"""Iterations after which the expected time is logged; the first is not counted."""

_QUIET_SECONDS = 30
"""Time between two lines where there is no terminal."""

_REPORTED_SECONDS = 0.2
"""Time between two reports of how far it is, to whoever started this job."""

_RECENT = 50
"""Iterations after which it is seen whether they have become slow."""

_WORTH_SECONDS = 20
"""A warning halfway is for those who would wait at least so long for the other half; the end warns all the same."""

_SLOW = 3
"""How many times the first iterations' time later ones may take before it is logged."""

_FAR = 6.0
"""PSNR in dB below that of the input at which the error is twice as large."""

REMEDIES = (
    "a lower learning rate, clipped gradients, more iterations, a first stage without clamp or more training images "
    "may help"
)


class Progress:
    """The progress of a phase: a bar on a terminal, a line now and then elsewhere.

    It is used with ``with``; :meth:`step` is called after each iteration.

    Args:
        task: what is trained.
        step: iterations that were done before.
    """

    def __init__(self, task: Task, step: int) -> None:
        self._task = task
        self._step = self._first = step
        self._note, self._warned = "", False
        self._seen: dict[str, float | None] = {}
        self._at = self._logged = self._reported = time.monotonic()
        self._pace = Pace()  # of pixels
        self._usual: float | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "Progress":
        loggers = [logging.getLogger("multiblock")]
        drawn = can_draw()
        if drawn:
            self._stack.enter_context(logging_redirect_tqdm(loggers))
        self._bar = self._stack.enter_context(
            bar(
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
        """Count one more iteration."""
        now = time.monotonic()
        if self._step > self._first:  # the first one prepares much
            self._pace.note(now - self._at, max(self._task.pixels(self._step, self._step + 1), 1))
        self._step += 1
        self._at = now
        self._bar.update()
        here = self._step - self._first
        if here == _TIMED or (self._bar.disable and now - self._logged > _QUIET_SECONDS and here > _TIMED):
            left = duration(self._seconds_left())
            log.info(
                "%d of %d iterations, expected time left %s%s", self._step, self._task.iterations, left, self._note
            )
            self._logged = now
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
            self._usual = None  # logged once

    def _report(self, now: float) -> None:
        """Report to whoever started this job how far it is, a few times a second."""
        if now - self._reported < _REPORTED_SECONDS and self._step < self._task.iterations:
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
                    "seconds_left": self._seconds_left(),
                    "seconds_a_block_pixel": rate / (self._task.last - self._task.first + 1),
                    **self._seen,
                }
            },
        )

    def _rate(self) -> float:
        """Seconds a pixel, as the last iterations took."""
        return self._pace.seconds or 0.0

    def _seconds_left(self) -> float:
        return self._rate() * self._task.pixels(self._step, self._task.iterations)

    def leave_out(self, seconds: float) -> None:
        """Leave out so many seconds between two iterations, which something else took."""
        self._at += seconds

    def note(self, psnr: float, plain: float | None) -> None:
        """Show the PSNR of the validation images; and what they have without any network, where that is more.

        Halfway through, that is worth a warning: who waits for the end loses the other half. So it is where clamps are
        about to be set on a network that is far off: pixels outside 0 to 1 give no gradient then.
        """
        below = is_below(psnr, plain)
        shown = f"validation {psnr:.3f} dB" + (f" (without network {plain:.3f})" if below else "")
        self._note = f", {shown}"
        self._seen = {"psnr": psnr, "psnr_input": plain}
        self._bar.set_postfix_str(shown)
        half, whole = self._task.iterations / 2, self._task.iterations
        if plain is not None and psnr < plain - _FAR and (stage := self._clamped_next()):
            log.warning(
                "warning: stage %d of phase %d ends at %.3f dB on the validation images, far below the %.3f dB that "
                "they have without any network (PSNR RGB), and the next one clamps: pixels outside 0 to 1 do not learn "
                "there; in this stage clipped gradients or a lower learning rate may help",
                stage,
                self._task.phase,
                psnr,
                plain,
            )
        if below and not self._warned and half <= self._step < whole and self._seconds_left() >= _WORTH_SECONDS:
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
        """Log where training was stopped."""
        log.warning(
            "stopped by %s after iteration %d of %d of phase %d; the same command goes on from there",
            signal,
            step,
            self._task.iterations,
            self._task.phase,
            extra={"progress": {"ended": "stop"}},
        )


def is_below(made: float | None, plain: float | None, by: float = 0) -> bool:
    """Whether a PSNR is more than ``by`` dB below that of the input itself, as far as both are known."""
    return made is not None and plain is not None and made < plain - by


def against_jumps(stage: Stage, precision: str) -> str:
    """What may help where losses or gradients grow beyond all numbers; what the stage has already is left out."""
    remedies = [f"a learning rate below {stage.lr:g}"]
    remedies += ["clipped gradients"] if stage.clip is None else []
    remedies += ["a stage without clamp before this one"] if stage.clamp != "none" else []
    remedies += ["precision: float32"] if precision != "float32" else []
    return " or ".join(filter(None, (", ".join(remedies[:-1]), remedies[-1])))


PARTS = ("start", "iterations", "validation", "checkpoints")
"""What the time of a training goes to. ``start`` is all up to the first iteration: the process, packages, images,
weights, and what is compiled."""


class Clock:
    """Counts each moment for one part, from ``begun`` on: a time of ``time.monotonic``, now if there is none.

    ``spent`` holds the seconds of each part.
    """

    def __init__(self, begun: float | None = None) -> None:
        self._at = time.monotonic() if begun is None else begun
        self.spent = dict.fromkeys(PARTS, 0.0)

    def lap(self, part: str) -> float:
        """Count the time since the last call for a part, and return its seconds."""
        now = time.monotonic()
        seconds, self._at = now - self._at, now
        self.spent[part] += seconds
        return seconds


def seconds_by_part(segments: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """The seconds of each part, over all stretches that a training was interrupted between.

    What a kill lost is done again, and counts once.
    """
    spent = [segment["seconds"] for segment in segments]
    return {part: sum(seconds[part] for seconds in spent) for part in PARTS}


def process_start() -> float:
    """When this process began, as ``time.monotonic`` would have had it; now, where the system does not know."""
    now = time.monotonic()
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return now
    return now - max(age, 0.0)
