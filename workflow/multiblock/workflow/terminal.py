"""What a person sees of a run: Snakemake's log in few lines, and how far each job is.

Snakemake's own words are kept in its log file, and shown where it was called with ``--verbose`` or without the
project's profile. Its errors are shown in full, but for those that say no more than that a job has ended that has said
why itself.
"""

import atexit
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from multiblock.errors import one_line
from multiblock.training.progress import duration
from multiblock.workflow import outcome, stops, tells
from multiblock.workflow.at_work import AtWork
from multiblock.workflow.job import is_forced
from multiblock.workflow.outlook import Job, outlook
from multiblock.workflow.overview import Overview, States
from multiblock.workflow.screen import Screen

SHORT = "MULTIBLOCK_TERMINAL"
"""Environment variable that the profile sets to ``short``."""

_ENDED = "returned non-zero exit status 1."
"""How Snakemake's message on a job ends that has ended by itself."""

_DIED = re.compile(r"died with <Signals\.(\w+): \d+>\.?\s*$")
"""How it ends on a job whose process was ended by a signal."""

_CRASH = "its process crashed ({}): a fault in a library, or of the GPU or its driver"
_DEATHS = {
    "SIGKILL": "its process was killed ({}), by somebody or, where memory ran out, by the system",
    **dict.fromkeys(("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE"), _CRASH),
}
"""What has become of a process, by the signal that ended it."""

_FINAL = "WorkflowError:\nAt least one job did not complete successfully"

_NOISE = ("Exiting because a job execution failed", "Cannot restore")
"""What Snakemake says of each job that fails: of outputs too that were never there."""

_NOTHING = "Nothing to be done"


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
        self._elsewhere = jobs_are_elsewhere(workflow)
        # In a dry run no job tells anything.
        self._folder = Path(os.devnull) if self._dry else tells.new_folder(self._elsewhere)
        os.environ[tells.FOLDER] = "" if self._dry else str(self._folder)
        self._work = AtWork(overview.study, self._folder, lambda line: None if self._quiet else _say(line))
        self._screen = Screen(self._work.lines, colours=not settings.nocolor)
        self._begun = time.monotonic()
        self._started = self._planned = self._told = self._stopped = False
        self._failed: list[tuple[Job, bool, str]] = []  # jobs, whether they have said why themselves, and their death
        self._death = ""  # of a job that is not yet known
        self._held: list[logging.LogRecord] = []
        self._wanted: set[str] = set()
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
        self._release(sum(said for _, said, _ in self._failed))
        if not all(said for _, said, _ in self._failed):
            logs = self._workflow.logger_manager.get_logfile()
            _say(f"multiblock: all that Snakemake said is in {', '.join(map(os.path.relpath, logs))}")
        for job, said, death in self._failed:
            why = f": {death}" if death and not said else ""
            _say(f"multiblock: stopped in {job.rule}{self._of(job)}{why}; its log is {job.log}")
        _say("multiblock: what is done stands; the same command goes on from there")

    def _say_outcome(self) -> None:
        study = self._overview.study
        if self._told:
            _say("")
        for line in (*outcome.aligned(list(outcome.table(study))), *outcome.sentences(study), ""):
            _say(line)
        for line in outcome.where(study):
            _say(line)

    def _plan(self, _: Any) -> None:
        """Say once what is to be done."""
        if self._planned:
            return
        self._planned = True
        dag, overview = self._workflow.dag, self._overview
        jobs = [
            self._job(job.rule.name, job.wildcards_dict, str(job.log[0]) if job.log else "", forced=True)
            for job in dag.needrun_jobs()
        ]
        self._wanted = {job.rule.name for job in dag.jobs}
        states = States(overview, jobs)
        self._work.outlook = outlook(states.jobs, overview.results, overview.store)
        if self._dry or not self._quiet:
            for line in overview.lines(states, self._work.outlook, dry=self._dry):
                _say(line)
        if not self._dry and not self._quiet:
            _say("")
            self._screen.start()

    def _job(self, rule: str, wildcards: Mapping[str, Any], log: str, forced: bool = False) -> Job:
        """The job of a rule: of which result it is, and whether a user wants it in any case."""
        overview = self._overview
        made = overview.by_address.get(f"{rule}-{wildcards.get('digest')}")
        return Job.of(rule, made, log, forced and is_forced(rule))

    def _begin(self, record: Any) -> None:
        if not self._dry:
            log = record.log[0] if record.log else ""
            self._failed = [failed for failed in self._failed if failed[0].log != log]  # it is tried again
            self._work.begin(record.jobid, self._job(record.rule_name, record.wildcards, log))

    def _pass_on(self, job: Job | None) -> None:
        """Say what a job on another machine has said there; others have done so on this terminal."""
        if job and self._elsewhere:
            for line in tells.read(self._folder, job.log).get("said", []):
                _say(self._work.label(job) + str(line))

    def _finish(self, record: Any) -> None:
        job = self._work.finish(record.job_id)
        self._pass_on(job)
        if job and job.kind == "evaluate" and "all" not in self._quiet:
            self._told = True
            _say(self._work.label(job) + outcome.of_phase(self._overview.results, self._overview.store, *job.key))

    def _fail(self, record: Any) -> None:
        job = self._work.fail(record.jobid)
        self._pass_on(job)
        job = job or Job(kind=record.rule_name, rule=record.rule_name, log=record.log[0] if record.log else "")
        said = "ended" in tells.read(self._folder, job.log)
        death, self._death = self._death, ""
        self._failed.append((job, said, death))
        if not said and not death:
            self._release()
            self._plain.handle(record)

    def _release(self, first: int = 0) -> None:
        """Show what was held back, from the ``first`` on."""
        held, self._held = self._held[first:], []
        for record in held:
            self._plain.handle(record)

    def _error(self, record: logging.LogRecord) -> None:
        """Hold back what Snakemake says of a job that has ended by itself, until it is known which."""
        if self._work.jobs and (died := _DIED.search(record.getMessage())):
            # Which job it was is said next.
            self._death = _DEATHS.get(died[1], "its process was ended by {}").format(died[1])
        elif self._work.jobs and record.getMessage().rstrip().endswith(_ENDED):
            self._held.append(record)
        elif not record.getMessage().startswith(_FINAL):
            self._plain.handle(record)

    def _say_all_stands(self) -> None:
        study = self._overview.study
        look = next(outcome.where(study), "").partition(" ")[0]
        _say(f"{_NOTHING}: all that was asked for stands" + (f"; look at {look}" if look else ""))

    def _of(self, job: Job) -> str:
        words = [f"run {job.run}"] if job.run else []
        words += [f"seed {job.seed}"] if job.seed is not None else []
        return f" of {', '.join(words)}" if words else ""

    def _leave(self) -> None:
        """The last of all: the terminal as it was, and a line on a stop if no job has said one."""
        self._screen.stop()
        logs = [job.log for job in (*self._work.jobs, *(failed[0] for failed in self._failed))]
        if self._stopped and not any(tells.read(self._folder, log).get("ended") == "stop" for log in logs):
            stops.say()
        if not self._dry:
            shutil.rmtree(self._folder, ignore_errors=True)


def jobs_are_elsewhere(workflow: Any) -> bool:
    """Whether Snakemake hands its jobs to others, as to a cluster, and limits their number in place of cores."""
    return workflow.resource_settings.nodes is not None


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


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")  # in one piece, as others write too
    sys.stderr.flush()
