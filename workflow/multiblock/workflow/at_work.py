"""The jobs that are at work: how far each is, in a line, and how long the whole run will take."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from multiblock.config import Study
from multiblock.training.progress import duration
from multiblock.workflow import tells
from multiblock.workflow.outlook import JOB_SECONDS, Job, Outlook

_WIDTH = 12
"""Of a bar."""


class AtWork:
    """What jobs tell, with ``outlook`` once it is known what there is to do.

    Args:
        folder: where jobs tell how far they are.
        say: says a line that stays.
    """

    def __init__(self, study: Study, folder: Path, say: Callable[[str], None]) -> None:
        self._study, self._folder, self._say = study, folder, say
        self._jobs: dict[int, tuple[Job, float]] = {}
        self._devices: set[str] = set()
        self.outlook: Outlook | None = None

    @property
    def jobs(self) -> list[Job]:
        """The jobs that are at work now."""
        return [job for job, _ in list(self._jobs.values())]

    def begin(self, number: int, job: Job) -> None:
        """A job begins."""
        tells.forget(self._folder, job.log)
        self._jobs[number] = job, time.monotonic()

    def finish(self, number: int) -> Job | None:
        """A job is done; None where it is not known."""
        job, begun = self._jobs.pop(number, (None, 0.0))
        if job and self.outlook:
            self._note(job, tells.read(self._folder, job.log))
            self.outlook.note_end(job, time.monotonic() - begun)
        return job

    def fail(self, number: int) -> Job | None:
        """A job has failed; None where it is not known."""
        return self._jobs.pop(number, (None, 0.0))[0]

    def lines(self) -> dict[str, str]:
        """A line for each job at work; the first also says what is left of the whole run."""
        work = [(job, begun, tells.read(self._folder, job.log)) for job, begun in list(self._jobs.values())]
        work = [one for one in work if one[0].kind != "all"]
        for job, _, told in work:
            self._note(job, told)
        known = [(job, float(told["seconds_left"])) for job, _, told in work if "seconds_left" in told]
        left = {job.key: seconds for job, seconds in known if job.kind == "train"}
        spent = sum(min(time.monotonic() - begun, JOB_SECONDS) for _, begun, told in work if "seconds_left" not in told)
        spent += sum(JOB_SECONDS - seconds for job, seconds in known if job.kind != "train")  # in place of the usual
        together = self.outlook.seconds_left(left, spent, len(work)) if self.outlook else None
        found: dict[str, str] = {}
        for job, begun, told in work:
            whole = f"run {duration(together)}" if together and together >= 1 and not found else ""
            found[job.log] = self._line(job, told, time.monotonic() - begun, whole)
        return found

    def _line(self, job: Job, told: dict[str, Any], seconds: float, whole: str) -> str:
        """The line of a job; what matters most stands where a narrow terminal does not cut it."""
        parts = [self.label(job) + _doing(job)]
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
        if device and device not in self._devices and "ended" not in told:
            self._devices.add(device)
            self._say(f"trains on {device}")
        if job.kind == "train" and "seconds_a_block_pixel" in told and self.outlook and job.key in self.outlook.tasks:
            self.outlook.note_rate(job.key, float(told["seconds_a_block_pixel"]))

    def label(self, job: Job) -> str:
        """What a line of a job begins with where there are several runs or seeds: ``growing, seed 1, ``."""
        parts = [job.run] if job.run and len(self._study.runs) > 1 else []
        parts += [f"seed {job.seed}"] if job.seed is not None and len(self._study.seeds) > 1 else []
        return "".join(f"{part}, " for part in parts)


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
