"""What a person sees of a run: few lines, and below them one for each job at work, which moves.

Snakemake hands its events to a handler of ours (``snakemake_logger_plugin_multiblock``), and that hands them on to
the :class:`Terminal` that the start of the workflow gave it. Snakemake's own words are in its log file, and on the
terminal where it was called with ``--verbose`` or without the project's profile. Its errors are shown in full, but for
those that say no more than that a job has ended, where it has reported why.
"""

import atexit
import logging
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from multiblock.errors import one_line, report_stop
from multiblock.files import new_temporary_folder
from multiblock.pace import REPORTS, duration
from multiblock.workflow import overview
from multiblock.workflow.live import Live
from multiblock.workflow.overview import Overview
from multiblock.workflow.running import Job

SUCCEEDED, FAILED = "succeeded", "failed"
"""How a workflow ended, as the rules report it: by a record with the attribute ``multiblock``."""

_REDRAW = 0.25
"""Seconds between two looks at what moves."""

_FIRST, _LONGEST = 15.0, 600.0
"""Seconds to a job's first line where nothing can move, then twice as many each time, up to the longest."""

_RED, _YELLOW, _PLAIN = "\x1b[1;31m", "\x1b[33m", "\x1b[0m"
_COLOURS = {"multiblock: error:": _RED, "warning:": _YELLOW, overview.BELOW: _RED}

_NOISE = ("Exiting because a job execution failed", "Cannot restore")
"""What Snakemake says, by no event, of each job that fails: of outputs too that were never there."""

_DIED = re.compile(r"died with <Signals\.(\w+): \d+>")
"""What Python says of a process that was ended by a signal; Snakemake's events do not tell that."""

_CRASH = "its process crashed ({}): a fault in a library, or of the GPU or its driver"
_DEATHS = {
    "SIGKILL": "its process was killed ({}), by somebody or, where memory ran out, by the system",
    **dict.fromkeys(("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE"), _CRASH),
}
"""What has become of a process, by the signal that ended it."""


class Screen:
    """Standard error: lines that stay and, on a terminal, lines below them that move.

    The cursor stays at the beginning of those that move: what other processes write comes to stand there, and is
    never wiped out. Where the terminal is closed, nothing is shown any more, and nobody who writes there is ended.

    Args:
        colours: whether errors and warnings are coloured on a terminal.
    """

    def __init__(self, colours: bool) -> None:
        terminal = sys.stderr.isatty()
        self.moves = terminal and os.environ.get("TERM") != "dumb"
        self._colours = colours and self.moves and "NO_COLOR" not in os.environ
        self._below: list[str] = []
        self._lock = threading.RLock()

    def write(self, line: str, colour: str = "") -> None:
        """Write a line that stays, or several."""
        colour = colour or next((colour for word, colour in _COLOURS.items() if word in line), "")
        with self._lock:
            below = self._below
            text = f"{colour}{line}{_PLAIN}" if colour and self._colours else line
            self._send(("\r\x1b[J" if below else "") + text + "\n")
            self._draw(below)

    def show(self, lines: Iterable[str]) -> None:
        """Show lines below all others, in place of those that were there, each cut to the terminal's width."""
        width = shutil.get_terminal_size().columns
        with suppress(OSError):
            width = os.get_terminal_size(2).columns or width
        below = [line[: max(width - 1, 10)] for line in lines if line]
        with self._lock:
            if below != self._below:
                self._draw(below)

    def _draw(self, below: list[str]) -> None:
        if below or self._below:
            up = f"\x1b[{len(below) - 1}A" if len(below) > 1 else ""
            self._send("\r\x1b[J" + "\n".join(below) + "\r" + up)
        self._below = below

    def _send(self, text: str) -> None:
        data = text.encode(sys.stderr.encoding or "utf-8", errors="replace")
        try:
            sys.stderr.flush()
            while data:
                data = data[os.write(2, data) :]
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class Terminal:
    """Takes Snakemake's events, one after another, in a thread of its own.

    Args:
        handler: Snakemake's way to us; it has Snakemake's settings, and its own words for a record.
        plan: what there is to do.
        elsewhere: whether jobs run on other machines.
    """

    def __init__(self, handler: Any, plan: Overview, elsewhere: bool) -> None:
        self._handler, self._plan, settings = handler, plan, handler.common_settings
        self._quiet = {str(word).rpartition(".")[2].lower() for word in settings.quiet or ()}
        self._dry = bool(settings.dryrun)
        self._screen = Screen(colours=not settings.nocolor)
        # In a dry run no job reports anything. Jobs on other machines share Snakemake's own folder.
        shared = Path(".snakemake").resolve() if elsewhere else None
        if shared and not self._dry:
            shared.mkdir(exist_ok=True)
        self._folder = Path(os.devnull) if self._dry else new_temporary_folder(shared)
        os.environ[REPORTS] = "" if self._dry else str(self._folder)
        self._by_address = {made.address: made for made in plan.results.all()}
        self._begun = time.monotonic()
        self._jobs: dict[int, Job] = {}
        self._failed: dict[int, tuple[Job, bool, str]] = {}  # whether a job has reported why itself, and its death
        self._went_on = False  # whether there was more to read after the first one
        self._held: list[logging.LogRecord] = []  # errors of a job that is not yet known
        self._devices: set[str] = set()
        self._due: dict[int, tuple[float, float]] = {}  # when a job's next line is due, and seconds to the one after
        self._started = self._planned = self._phase_shown = self._error = self._stopped = self._ended = False
        self._hears, self._at_once = threading.Lock(), False
        self._live = Live(plan.results, plan.store)
        self._leaves, self._thread = threading.Event(), threading.Thread(target=self._look, daemon=True)
        atexit.register(self._leave)

    # Snakemake's events

    def emit(self, record: logging.LogRecord) -> None:
        """Show what a record of Snakemake's means to a person, or nothing, or its own words."""
        event = str(getattr(record, "event", None) or getattr(record, "multiblock", ""))
        take = getattr(self, f"_on_{event}", None)
        if self._stopped and event != "job_finished":  # jobs report what they did; Snakemake calls a stop a failure
            return
        self._started |= event == "workflow_started"
        self._error |= record.levelno >= logging.ERROR
        try:
            if take:
                take(record)
            elif not event and record.levelno >= logging.WARNING and not record.getMessage().startswith(_NOISE):
                self._plain(record)
        except Exception:  # a fault in here must not hide what was to be shown, nor end the workflow
            self._plain(record)

    def _plain(self, record: logging.LogRecord) -> None:
        colour = _RED if record.levelno >= logging.ERROR else _YELLOW if record.levelno >= logging.WARNING else ""
        if text := self._handler.format(record):
            self._screen.write(text, colour)

    def _on_run_info(self, record: Any) -> None:
        """Show once what is to be done."""
        if self._planned:
            return
        self._planned = True
        self._plan.plan(getattr(record, "stats", {}))
        if self._dry or not self._quiet:
            for line in [*self._plan.lines(self._dry), *[""] * (not self._dry)]:
                self._screen.write(line)
        if not self._dry:
            self._thread.start()

    def _on_job_info(self, record: Any) -> None:
        if self._dry:
            return
        self._failed.pop(record.jobid, None)  # it is tried again
        job = self._job(record)
        job.forget()
        if job.made:
            self._jobs[record.jobid] = job

    def _job(self, record: Any) -> Job:
        digest = (getattr(record, "wildcards", None) or {}).get("digest")
        made = self._by_address.get(f"{record.rule_name}-{digest}")
        log = next(iter(getattr(record, "log", None) or ()), "")
        return Job(record.rule_name, made, log, self._folder)

    def _on_job_finished(self, record: Any) -> None:
        job = self._jobs.pop(record.job_id, None)
        self._went_on |= bool(self._failed)
        if job is None or job.made is None:
            return
        self._hear(job)
        if self._planned:
            self._plan.outlook.note_end(job.made, time.monotonic() - job.begun)
        if job.made.kind == "evaluate" and "all" not in self._quiet:
            self._phase_shown = True
            self._screen.write(self._name(job) + overview.of_phase(self._plan.results, self._plan.store, job.made.of))

    def _on_job_error(self, record: Any) -> None:
        job = self._jobs.pop(record.jobid, None) or self._job(record)
        self._hear(job)
        held, self._held = self._held[:1], self._held[1:]  # jobs that fail together come in one order
        died = next((found[1] for one in held if (found := _DIED.search(one.getMessage()))), "")
        death = _DEATHS.get(died, "its process was ended by {}").format(died) if died else ""
        reported = "ended" in job.state()
        self._failed[record.jobid] = job, reported, death
        for one in (*held, record) if not reported and not death else ():
            self._plain(one)

    def _on_error(self, record: Any) -> None:
        """Hold back the error of a job that has ended, until it is known which job that is."""
        if getattr(record, "exception", "") == "RuleException" and self._jobs:
            self._held.append(record)
        elif not self._ended:
            self._plain(record)

    # The end, as the rules report it

    def _on_succeeded(self, _: Any) -> None:
        """Show what came out, and where to look."""
        self._rest()
        self._end_page(finished=True)
        if "all" in self._quiet:
            return
        study = self._plan.study
        try:
            if "all" in self._plan.counts:
                lines = [*overview.outcome(study), "", *overview.where(study)]
                for line in ["", *lines] if self._phase_shown else lines:
                    self._screen.write(line)
        except Exception as error:  # all is done: no reason to fail
            self._screen.write(f"multiblock: what came out cannot be shown here: {one_line(error)}")
        self._screen.write(f"done in {duration(time.monotonic() - self._begun)}")

    def _on_failed(self, record: Any) -> None:
        """Name the jobs that failed, and what becomes of the rest."""
        self._rest()
        self._ended = True
        for one in self._held:
            self._plain(one)
        if self._held or not all(reported or death for _, reported, death in self._failed.values()):
            self._screen.write(
                f"multiblock: all that Snakemake said is in {', '.join(map(os.path.relpath, record.logs))}"
            )
        for job, reported, death in self._failed.values():
            why = f": {death}" if death and not reported else ""
            if reported and (self._went_on or len(self._failed) > 1):  # its line is far above
                why = f": {job.state().get('why', '')}"
            self._screen.write(f"multiblock: stopped in {job.rule}{self._of(job)}{why}; its log is {job.log}")
        wrong = any(reported for _, reported, _ in self._failed.values())
        then = "once that is mended, the same command goes on" if wrong else "the same command goes on from there"
        self._screen.write(f"multiblock: what is done is kept; {then}")

    def _of(self, job: Job) -> str:
        if job.made is None or job.made.of.run is None:
            return ""
        seed = f", seed {job.made.of.seed}" if job.made.of.seed is not None else ""
        return f" of run {job.made.of.run}{seed}"

    # What moves

    def _look(self) -> None:
        """Look again and again at what jobs report."""
        while not self._leaves.wait(_REDRAW):
            with suppress(Exception):  # no line is worth the run
                for job in list(self._jobs.values()):
                    self._hear(job)
                if self._quiet or self._at_once:
                    self._screen.show([])
                elif self._screen.moves:
                    self._screen.show(self._lines().values())
                else:
                    self._write_now_and_then(self._lines())
                self._renew_page()

    def _renew_page(self) -> None:
        """Write the page of what is under way, where it is time to."""
        if self._live.is_due() and not self._stopped:
            work = [(job, job.state()) for job in list(self._jobs.values())]
            states = {job.made.address: state for job, state in work if job.made}
            if (line := self._live.renew(states, self._seconds_left(work) or 0)) and not self._quiet:
                self._screen.write(line)

    def _end_page(self, finished: bool) -> None:
        """Say on the page of what is under way, if there is one, that nothing more is to come."""
        with suppress(Exception):  # nor is a page
            self._live.end(finished)

    def _write_now_and_then(self, lines: Mapping[int, str]) -> None:
        for number, line in lines.items():
            at, pause = self._due.setdefault(number, (time.monotonic() + _FIRST, _FIRST))
            if time.monotonic() > at:
                self._due[number] = time.monotonic() + 2 * pause, min(2 * pause, _LONGEST)
                self._screen.write(" ".join(line.split()))

    def _lines(self) -> dict[int, str]:
        """A line for each job at work; the first also says what is left of the whole run."""
        work = {number: (job, job.state()) for number, job in list(self._jobs.items())}
        together = self._seconds_left(work.values())
        whole = duration(together) if together and together >= 1 else ""
        found: dict[int, str] = {}
        for number, (job, state) in work.items():
            found[number] = job.line(self._name(job), state, whole if not found else "")
        return found

    def _seconds_left(self, work: Iterable[tuple[Job, Mapping[str, Any]]]) -> float | None:
        """Seconds until all is done, by what the jobs at work report; None where that is not known."""
        left = {
            job.made.address: (time.monotonic() - job.begun, state.get("seconds_left"))
            for job, state in work
            if job.made
        }
        return self._plan.outlook.seconds_left(left) if self._planned and left else None

    def _hear(self, job: Job) -> None:
        """Show what a job has for a person, and learn from what it reports."""
        with self._hears:
            for line in job.new_lines():
                self._screen.write(line)
        state = job.state()
        device = str(state.get("device", "")).removeprefix("device ").partition(", precision")[0]
        if device and device not in self._devices and "ended" not in state:
            self._devices.add(device)
            if not self._quiet:
                self._screen.write(f"trains on {device}")
        if job.made and self._planned and "seconds_a_block_pixel" in state:
            self._plan.outlook.note_speed(job.made, float(state["seconds_a_block_pixel"]))

    def _name(self, job: Job) -> str:
        """What a line of a job begins with where there are several runs or seeds: ``growing, seed 1, ``."""
        study = self._plan.study
        if job.made is None:
            return ""
        parts = [job.made.of.run] if job.made.of.run and len(study.runs) > 1 else []
        parts += [f"seed {job.made.of.seed}"] if job.made.of.seed is not None and len(study.seeds) > 1 else []
        return "".join(f"{part}, " for part in parts)

    # A stop

    def watch_for_stops(self) -> None:
        """Note Ctrl-C, which all jobs get too, and SIGTERM, after which those at work go on to their end.

        To be called in the main thread: before the jobs are planned, and again once Snakemake has set its own handlers.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if before == signal.SIG_DFL or getattr(before, "notes_a_stop", False):
                continue

            def note(number: int, frame: FrameType | None, before: Any = before) -> None:
                again, self._stopped = self._at_once, True
                self._at_once |= number == signal.SIGINT
                if callable(before) and not again:  # a second Ctrl-C would interrupt the end of the first
                    before(number, frame)

            note.notes_a_stop = True  # type: ignore[attr-defined]
            signal.signal(number, note)

    def _rest(self) -> None:
        """Let nothing move any more."""
        self._leaves.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._screen.show([])

    def close(self) -> None:
        """Write, where Snakemake has ended without a job or an error, that there was nothing to do."""
        self._rest()
        if self._started and not (self._planned or self._error or self._stopped):
            self._started = False
            files = [line for line in overview.where(self._plan.study) if not line.startswith("multiblock ")]
            look = f"; look at {files[0].partition('  ')[0]}" if files else ""
            self._screen.write(f"Nothing to be done: all that was asked for is up to date{look}")

    def _leave(self) -> None:
        """The last of all, when no job is at work: what they have reported since, and a line on a stop if none has."""
        self.close()
        self._end_page(finished=False)
        jobs = [*self._jobs.values(), *(job for job, _, _ in self._failed.values())]
        for job in jobs:
            self._hear(job)
        if self._stopped and not any(job.state().get("ended") == "stop" for job in jobs):
            report_stop()
        if not self._dry:
            shutil.rmtree(self._folder, ignore_errors=True)
