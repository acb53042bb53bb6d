"""The jobs that are at work: what they report, the line of each, and how long all that is to be done will take.

A job reports in a folder that its Snakemake has made for that (jobs on other machines see it, too): how far it is in
one small file, lines for a person in another. A job that finds no such folder reports nothing and writes its lines to
the terminal itself; nothing else depends on it.
"""

import hashlib
import json
import logging
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from multiblock.files import read_json
from multiblock.pace import REPORTS, Pace, duration
from multiblock.plan import Task
from multiblock.workflow.results import Result, Results
from multiblock.workflow.store import Store

_PAUSE = 0.2
"""Seconds between two reports of how far a job is."""

_START_SECONDS, _JOB_SECONDS = 4.0, 3.0
"""What the start of a training takes (PyTorch, images, weights), and any other job of which none was measured."""

_BAR = 12
"""Characters of a bar."""


# In a job


def is_for_a_person(record: logging.LogRecord) -> bool:
    """Whether a line is shown where the terminal has few; all are in the log file.

    That is what went otherwise than asked for: warnings, stops, and what was converted or left out.
    """
    return record.levelno >= logging.WARNING or record.name.endswith(".remarks")


class Reports(logging.Handler):
    """Keeps the progress that the records of a job have in their attribute ``progress``, and lines for a person.

    Args:
        log: the job's log file, by which Snakemake knows it.
        label: what its lines begin with.
    """

    def __init__(self, log: str | Path, label: str = "") -> None:
        super().__init__(logging.DEBUG)
        self._state, self._lines = _files(Path(os.environ[REPORTS]), log)
        self._label, self._written = label, 0.0
        self._known: dict[str, Any] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Report the progress that a record has, if it does, and its line if a person should see it."""
        if is_for_a_person(record):
            line = self._label + record.getMessage()
            with suppress(OSError), self._lines.open("a", encoding="utf-8", errors="replace") as file:
                file.write(line + "\n")
        if progress := getattr(record, "progress", None):
            self._known |= progress
            if "ended" in progress or time.monotonic() - self._written > _PAUSE:
                self._write()

    def ended(self, how: str, why: str = "") -> None:
        """Report that the job has logged why it ends: ``error``, with the error, or ``stop``."""
        self._known |= {"ended": how, "why": why}
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        part = self._state.with_suffix(".part")
        with suppress(OSError):  # a full disk, or Snakemake is gone: no reason to end
            part.write_text(json.dumps(self._known), encoding="utf-8")
            os.replace(part, self._state)


def reports(log: str | Path, label: str = "") -> Reports | None:
    """Where the job with that log file reports; None where nobody listens."""
    return Reports(log, label) if os.environ.get(REPORTS) and Path(os.environ[REPORTS]).is_dir() else None


def _files(folder: Path, log: str | Path) -> tuple[Path, Path]:
    name = hashlib.blake2b(str(log).encode(), digest_size=8).hexdigest()
    return folder / f"{name}.json", folder / f"{name}.txt"


# In the workflow


@dataclass
class Job:
    """A job at work.

    Args:
        made: the result that it makes, if it makes one.
        log: its log file.
        folder: where it reports.
    """

    rule: str
    made: Result | None
    log: str
    folder: Path
    begun: float = field(default_factory=time.monotonic)
    _shown: int = 0

    def state(self) -> dict[str, Any]:
        """What it has reported last; nothing yet where there is nothing."""
        return read_json(_files(self.folder, self.log)[0])

    def new_lines(self) -> Iterator[str]:
        """Its lines for a person that were not given before."""
        with suppress(OSError):
            whole = _files(self.folder, self.log)[1].read_bytes().rpartition(b"\n")[0]
            new, self._shown = whole[self._shown :], len(whole)
            yield from (line for line in new.decode(errors="replace").split("\n") if line)

    def forget(self) -> None:
        """Take away what an earlier try has reported."""
        for file in _files(self.folder, self.log):
            file.unlink(missing_ok=True)

    def line(self, name: str, state: Mapping[str, Any], whole: str) -> str:
        """How far it is; what matters most comes first, where a narrow terminal does not cut it.

        Args:
            name: of what it makes, where several runs or seeds are at work.
            whole: time left of all jobs, in words.
        """
        parts, left = [name + self._doing()], state.get("seconds_left")
        if state.get("done") is not None and state.get("of"):
            share = state["done"] / state["of"]
            parts += [_bar(share), f"{share:4.0%}", f"{state['done']} of {state['of']}"]
        else:
            parts.append(duration(time.monotonic() - self.begun))
        own = "" if left is None else f"{duration(left)} left"
        parts.append(", ".join(filter(None, [own, whole and f"run {whole}" + ("" if own else " left")])))
        return "  ".join(filter(None, [*parts, str(state.get("rate", "")), str(state.get("note", ""))]))

    def _doing(self) -> str:
        if self.made is None:
            return f"writes {self.rule}"
        phase, kind = f"phase {self.made.of.phase}", self.made.kind
        return {
            "convert": "converts images",
            "enlarge": "enlarges LR",
            "folds": "deals images to folds",
            "train": phase,
            "generate": f"{phase} makes LR_{self.made.of.block}",
            "evaluate": f"{phase} is measured",
            "take_apart": f"takes {phase} apart",
        }.get(kind, f"writes {kind.replace('_', ' ')}")


def _bar(share: float) -> str:
    full, empty = ("█", "░") if "utf" in (sys.stderr.encoding or "").lower() else ("#", ".")
    done = round(share * _BAR)
    return full * done + empty * (_BAR - done)


class Outlook:
    """Seconds until all is done, from the jobs to come and from what those so far have taken.

    Args:
        store: it knows the speed of phases that were trained before.
        waiting: what is to be made. A training whose result is up to date takes no longer than other jobs.
        trained: the addresses of those that are to be trained.
    """

    def __init__(self, results: Results, store: Store, waiting: Iterable[Result], trained: set[str]) -> None:
        self._waiting = {made.address: made for made in waiting}
        self._tasks = {address: _task(results, self._waiting[address]) for address in trained}
        self._done = {address: store.step(address) or 0 for address in trained}  # by a start that was stopped
        self._speeds: dict[str, Pace] = defaultdict(Pace)  # of block-pixels, by what is trained
        self._paces: dict[str, Pace] = defaultdict(Pace)  # of other jobs, by kind
        for made in [made for made in results.all() if made.kind == "train"] if trained else ():
            speed = read_json(store.folder(made.address) / "training.json").get("block_pixels_per_second")
            if isinstance(speed, int | float) and speed > 0:
                self._speeds[_blocks(_task(results, made))].note(1 / speed)

    @property
    def iterations(self) -> int:
        """The iterations that are to be trained."""
        return sum(task.iterations - self._done[address] for address, task in self._tasks.items())

    def note_speed(self, made: Result, seconds_a_block_pixel: float) -> None:
        """Note how fast a training goes."""
        if made.address in self._tasks:
            self._speeds[_blocks(self._tasks[made.address])].note(seconds_a_block_pixel)

    def note_end(self, made: Result, seconds: float) -> None:
        """Note that a result is made, and how long that took."""
        self._waiting.pop(made.address, None)
        if not self._tasks.pop(made.address, None):
            self._paces[made.kind].note(seconds)

    def seconds_left(self, at_work: Mapping[str, tuple[float, float | None]] | None = None) -> float | None:
        """Seconds until all is done; None as long as no training was measured.

        Args:
            at_work: by address, seconds that a job has taken so far, and those that it says are left.
        """
        at_work, total = at_work or {}, 0.0
        for address, made in self._waiting.items():
            so_far, left = at_work.get(address, (0.0, None))
            if left is None:
                usual = self._usual(made)
                if usual is None:
                    return None
                left = max(usual - so_far, 0.0)
            total += left
        return total / max(len(at_work), 1)

    def _usual(self, made: Result) -> float | None:
        """What a job takes. Blocks that were not trained yet are taken to be as fast as the others in the mean."""
        task = self._tasks.get(made.address)
        if task is None:
            return self._paces[made.kind].seconds or _JOB_SECONDS
        speeds = {blocks: pace.seconds for blocks, pace in self._speeds.items() if pace.seconds}
        if not speeds:
            return None
        left = task.pixels(self._done[made.address], task.iterations) / max(task.pixels(0, task.iterations), 1)
        return _START_SECONDS + left * task.block_pixels * speeds.get(_blocks(task), sum(speeds.values()) / len(speeds))


def _task(results: Results, made: Result) -> Task:
    assert made.of.run is not None and made.of.seed is not None and made.of.phase is not None
    return results.task(made.of.run, made.of.seed, made.of.phase)


def _blocks(task: Task) -> str:
    """What is trained, as far as its speed goes: the blocks of the span, whichever of a chain they are."""
    return json.dumps([asdict(block) for block in task.blocks[task.first - 1 : task.last]], sort_keys=True, default=str)
