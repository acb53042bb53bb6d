"""What a person sees of a run: Snakemake's log in few lines, and how far each job is.

Snakemake's own words are kept in its log file, and shown where it was called with ``--verbose`` or without the
project's profile. Its errors are shown in full, but for those that say no more than that a job has ended that has said
why itself.
"""

import atexit
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multiblock.errors import one_line
from multiblock.training.progress import duration
from multiblock.workflow import outcome, stops, tells
from multiblock.workflow.outlook import JOB_SECONDS, Job, Outlook, outlook
from multiblock.workflow.overview import Overview
from multiblock.workflow.screen import Screen

SHORT = "MULTIBLOCK_TERMINAL"
"""Environment variable that the profile sets to ``short``."""

_ENDED = "returned non-zero exit status 1."
"""How Snakemake's message on a job ends that has ended by itself."""

_FINAL = "WorkflowError:\nAt least one job did not complete successfully"

_NOISE = ("Exiting because a job execution failed", "Cannot restore")
"""What Snakemake says of each job that fails: of outputs too that were never there."""

_NOTHING = "Nothing to be done"

_WIDTH = 12
"""Of a bar."""


class Terminal(logging.Handler):
    """Takes the place of Snakemake's handler for the terminal.

    Args:
        plain: that handler; it still says whatever is to be said in Snakemake's own words.
        workflow: Snakemake's.
        overview: what there is to say of the study.
    """

    def __init__(self, plain: logging.Handler, workflow: Any, overview: Overview) -> None:
        super().__init__(plain.level)
        self._plain, self._workflow, self._overview = plain, workflow, overview
        settings = workflow.output_settings
        self._quiet = {str(word).rpartition(".")[2].lower() for word in settings.quiet or ()}
        self._dry = bool(settings.dryrun)
        # In a dry run no job tells anything.
        self._folder = Path(os.devnull if self._dry else tempfile.mkdtemp(prefix="multiblock-"))
        os.environ[tells.FOLDER] = "" if self._dry else str(self._folder)
        self._screen = Screen(self._moving, colours=not settings.nocolor)
        self._begun = time.monotonic()
        self._started = self._planned = self._told = self._stopped = False
        self._outlook: Outlook | None = None
        self._at_work: dict[int, tuple[Job, float]] = {}
        self._failed: list[tuple[Job, bool]] = []  # jobs, and whether they have said why themselves
        self._held: list[logging.LogRecord] = []
        self._wanted: set[str] = set()
        self._device = ""
        self._events: dict[str, Callable[[Any], None]] = {
            "workflow_started": lambda _: None,
            "run_info": self._plan,
            "job_info": self._begin,
            "job_finished": self._finish,
            "job_error": self._fail,
            "error": self._error,
        }
        atexit.register(self._leave)

    def emit(self, record: logging.LogRecord) -> None:
        """Say what a record of Snakemake's means to a person, or nothing, or what it says."""
        event = getattr(record, "event", None)
        self._started |= event == "workflow_started"
        if not self._started:
            self._plain.handle(record)
            return
        try:
            if event is not None and str(event) in self._events:
                self._events[str(event)](record)
            elif record.getMessage().startswith(_NOTHING):
                self._say_all_stands()
            elif record.levelno >= logging.WARNING and not record.getMessage().startswith(_NOISE):
                self._plain.handle(record)
        except Exception:  # a fault in here must not hide what was to be said, nor end the workflow
            self._plain.handle(record)

    def stop(self, at_once: bool) -> None:
        """To be called where a person has asked for a stop: jobs say where they were.

        Args:
            at_once: all jobs stop; else those at work go on to their end.
        """
        self._stopped = True
        if at_once:
            self._screen.freeze()

    def succeeded(self) -> None:
        """Say what came out, and where to look."""
        self._screen.stop()
        if "all" in self._quiet:
            return
        try:
            if "all" in self._wanted:
                self._say_outcome()
        except Exception as error:  # all is done: no reason to fail
            _say(f"multiblock: what came out cannot be shown here: {one_line(error)}")
        _say(f"done in {duration(time.monotonic() - self._begun)}")

    def failed(self) -> None:
        """Say which jobs failed, and what becomes of the rest."""
        self._screen.stop()
        if self._stopped:
            return
        if not all(said for _, said in self._failed):
            logs = self._workflow.logger_manager.get_logfile()
            _say(f"multiblock: all that Snakemake said is in {', '.join(map(os.path.relpath, logs))}")
        for job, _ in self._failed:
            _say(f"multiblock: stopped in {job.rule}{self._of(job)}; its log is {job.log}")
        _say("multiblock: what is done stands; the same command goes on from there")

    def _say_outcome(self) -> None:
        study = self._overview.study
        if self._told:
            _say("")
        for line in (*outcome.aligned(list(outcome.table(study))), *outcome.sentences(study), ""):
            _say(line)
        for line in outcome.where(study, self._overview.layout):
            _say(line)

    def _plan(self, _: Any) -> None:
        """Say once what is to be done."""
        if self._planned:
            return
        self._planned = True
        dag, overview = self._workflow.dag, self._overview
        jobs = [
            Job.of(job.rule.name, job.wildcards_dict, str(job.log[0]) if job.log else "") for job in dag.needrun_jobs()
        ]
        self._wanted = {job.rule.name for job in dag.jobs}
        self._outlook = outlook(jobs, overview.layout, overview.on)
        if self._dry or not self._quiet:
            for line in overview.lines(jobs, self._outlook, dry=self._dry):
                _say(line)
        if not self._dry and not self._quiet:
            _say("")
            self._screen.start()

    def _begin(self, record: Any) -> None:
        if not self._dry:
            job = Job.of(record.rule_name, record.wildcards, record.log[0] if record.log else "")
            tells.forget(self._folder, job.log)
            self._at_work[record.jobid] = job, time.monotonic()

    def _finish(self, record: Any) -> None:
        job, begun = self._at_work.pop(record.job_id, (None, 0.0))
        if job is None or self._outlook is None:
            return
        self._note(job, tells.read(self._folder, job.log))
        self._outlook.note_end(job, time.monotonic() - begun)
        if job.kind == "evaluate" and "all" not in self._quiet:
            self._told = True
            _say(self._label(job) + outcome.of_phase(self._overview.layout, *job.key))

    def _fail(self, record: Any) -> None:
        job, _ = self._at_work.pop(record.jobid, (None, 0.0))
        job = job or Job(kind=record.rule_name, rule=record.rule_name, log=record.log[0] if record.log else "")
        said = "ended" in tells.read(self._folder, job.log)
        self._failed.append((job, said))
        if not said:
            for held in self._held:
                self._plain.handle(held)
            self._held.clear()
            self._plain.handle(record)

    def _error(self, record: logging.LogRecord) -> None:
        """Hold back what Snakemake says of a job that has ended by itself, until it is known which."""
        if self._at_work and record.getMessage().rstrip().endswith(_ENDED):
            self._held.append(record)
        elif not record.getMessage().startswith(_FINAL):
            self._plain.handle(record)

    def _say_all_stands(self) -> None:
        study = self._overview.study
        look = next(outcome.where(study, self._overview.layout), "").partition(" ")[0]
        _say(f"{_NOTHING}: all that was asked for stands" + (f"; look at {look}" if look else ""))

    def _moving(self) -> dict[str, str]:
        """A line for each job at work; the first also says what is left of the whole run."""
        work = [(job, begun, tells.read(self._folder, job.log)) for job, begun in list(self._at_work.values())]
        work = [one for one in work if one[0].kind != "all"]
        for job, _, told in work:
            self._note(job, told)
        left = {job.key: float(told["seconds_left"]) for job, _, told in work if "seconds_left" in told}
        spent = sum(min(time.monotonic() - begun, JOB_SECONDS) for _, begun, told in work if "seconds_left" not in told)
        together = self._outlook.seconds_left(left, spent, len(work)) if self._outlook else None
        found: dict[str, str] = {}
        for job, begun, told in work:
            whole = f"run {duration(together)}" if together and together >= 1 and not found else ""
            found[job.log] = self._line(job, told, time.monotonic() - begun, whole)
        return found

    def _line(self, job: Job, told: dict[str, Any], seconds: float, whole: str) -> str:
        """The line of a job; what matters most stands where a narrow terminal does not cut it."""
        parts = [self._label(job) + _doing(job)]
        if "done" in told and told.get("of"):
            share = told["done"] / told["of"]
            parts += [_bar(share), f"{share:4.0%}", f"{told['done']} of {told['of']}"]
        else:
            parts.append(duration(seconds))
        own = f"{duration(told['seconds_left'])} left" if "seconds_left" in told else ""
        parts.append(", ".join(filter(None, [own, whole + ("" if own or not whole else " left")])))
        parts += [str(told.get(key, "")) for key in ("rate", "note")]
        return "  ".join(filter(None, parts))

    def _note(self, job: Job, told: dict[str, Any]) -> None:
        """Learn from what a job tells."""
        device = str(told.get("device", "")).removeprefix("device ").partition(", precision")[0]
        if device and device != self._device and "ended" not in told:
            self._device = device
            if not self._quiet:
                _say(f"trains on {device}")
        if job.kind == "train" and "seconds_a_block_pixel" in told and self._outlook and job.key in self._outlook.tasks:
            self._outlook.note_rate(job.key, float(told["seconds_a_block_pixel"]))

    def _label(self, job: Job) -> str:
        return outcome.labelled(self._overview.study, (job.run, job.seed)) if job.run else ""

    def _of(self, job: Job) -> str:
        words = [f"run {job.run}"] if job.run else []
        words += [f"seed {job.seed}"] if job.seed is not None else []
        return f" of {', '.join(words)}" if words else ""

    def _leave(self) -> None:
        """The last of all: the terminal as it was, and a line on a stop if no job has said one."""
        self._screen.stop()
        logs = [job.log for job, _ in self._at_work.values()] + [job.log for job, _ in self._failed]
        if self._stopped and not any(tells.read(self._folder, log).get("ended") == "stop" for log in logs):
            stops.say()
        if not self._dry:
            shutil.rmtree(self._folder, ignore_errors=True)


def is_brief(workflow: Any) -> bool:
    """Whether few lines are wanted: the project's profile is in use, and nobody asked for more."""
    return os.environ.get(SHORT) == "short" and not workflow.output_settings.verbose


def install(workflow: Any, overview: Overview) -> Terminal | None:
    """Let Snakemake speak in few lines, where they are wanted."""
    from snakemake.logging import logger

    plain = next((handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"), None)
    if plain is None or not is_brief(workflow):
        return None
    terminal = Terminal(plain, workflow, overview)
    logger.removeHandler(plain)
    logger.addHandler(terminal)
    return terminal


def _doing(job: Job) -> str:
    """What a job does, as its line begins."""
    if job.kind == "train":
        return f"phase {job.phase}"
    if job.kind == "generate":
        return f"phase {job.phase} makes LR_{job.block}"
    if job.kind == "evaluate":
        return f"phase {job.phase} is measured"
    words = {"convert": "converts images", "enlarge": "enlarges LR", "take_apart": f"takes phase {job.phase} apart"}
    return words.get(job.kind, f"writes {job.kind.replace('_', ' ')}")


def _bar(share: float) -> str:
    full, empty = ("█", "░") if "utf" in (sys.stderr.encoding or "").lower() else ("#", ".")
    done = round(share * _WIDTH)
    return full * done + empty * (_WIDTH - done)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")  # in one piece, as others write too
    sys.stderr.flush()
