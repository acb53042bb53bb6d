"""What a run of the workflow still has to do, and how long that will take."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from multiblock.files import read_json
from multiblock.plan import Task
from multiblock.workflow.results import Result, Results
from multiblock.workflow.store import Store

_START_SECONDS = 4.0
"""What the start of a training takes, where none has been measured: PyTorch, images, weights."""

JOB_SECONDS = 3.0
"""What any other job takes, where none of its kind has been measured."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of the workflow.

    Args:
        kind: of its result, or the name of a rule that has none; ``look`` for a training that is up to date.
        log: its log file.
        forced: whether a user wants it to work even if its result is up to date.
        run, seed, phase, block: what it is of, as far as it is.
    """

    kind: str
    rule: str
    log: str = ""
    run: str | None = None
    seed: int | None = None
    phase: int | None = None
    block: int | None = None
    forced: bool = False

    @classmethod
    def of(cls, rule: str, made: Result | None, log: str = "", forced: bool = False) -> "Job":
        """The job of a rule that makes this result, if it makes one."""
        if made is None:
            return cls(kind=rule, rule=rule, log=log, forced=forced)
        of = {name: getattr(made.of, name) for name in ("run", "seed", "phase", "block")}
        return cls(kind=made.kind, rule=rule, log=log, forced=forced, **of)

    @property
    def key(self) -> tuple[str, int, int]:
        """The run, seed and number of its phase."""
        assert self.run is not None and self.seed is not None and self.phase is not None
        return self.run, self.seed, self.phase


@dataclass
class Outlook:
    """Seconds that are left, from the jobs still to come and what those so far have taken.

    Args:
        tasks: of each training that is still to be done.
        others: how many jobs of each other kind.
    """

    tasks: dict[tuple[str, int, int], Task]
    others: dict[str, int]
    rates: dict[str, float] = field(default_factory=dict)
    took: dict[str, list[float]] = field(default_factory=dict)

    def note_rate(self, key: tuple[str, int, int], seconds_a_block_pixel: float) -> None:
        """Note how fast the training of a phase goes."""
        self.rates[trained_kind(self.tasks[key])] = seconds_a_block_pixel

    def note_end(self, job: Job, seconds: float | None) -> None:
        """Note that a job is done, and how long it took."""
        if job.kind == "train":
            self.tasks.pop(job.key, None)
            return
        self.others[job.kind] = max(self.others.get(job.kind, 0) - 1, 0)
        if seconds is not None:
            self.took.setdefault(job.kind, []).append(seconds)

    def seconds_left(
        self, running: Mapping[tuple[str, int, int], float] | None = None, spent: float = 0, at_once: int = 1
    ) -> float | None:
        """Seconds until all is done; None as long as no training was measured.

        Args:
            running: what is left of trainings that are under way.
            spent: seconds that other jobs that are under way have taken so far.
            at_once: how many jobs run side by side.
        """
        running = running or {}
        if not self.rates and self.tasks.keys() - running.keys():
            return None
        usual = sum(self.rates.values()) / max(len(self.rates), 1)
        total = sum(running.values())
        for key, task in self.tasks.items():
            if key not in running:
                total += _START_SECONDS + task.block_pixels * self.rates.get(trained_kind(task), usual)
        for kind, count in self.others.items():
            measured = self.took.get(kind)
            total += count * (sum(measured) / len(measured) if measured else JOB_SECONDS)
        return max(total - spent, 0) / max(at_once, 1)


def outlook(jobs: list[Job], results: Results, store: Store) -> Outlook:
    """The outlook on some jobs; first rates come from the records of phases that were trained before."""
    tasks = {job.key: results.task(*job.key) for job in jobs if job.kind == "train"}
    others: dict[str, int] = {}
    for job in jobs:
        if job.kind not in ("train", "look", "all"):
            others[job.kind] = others.get(job.kind, 0) + 1
    return Outlook(tasks, others, measured(results, store) if tasks else {})


def measured(results: Results, store: Store, device: str | None = None) -> dict[str, float]:
    """Seconds a block-pixel of phases that were trained before, by what was trained; see :func:`trained_kind`.

    Args:
        device: ``cpu`` or ``gpu``: what was trained on the other does not count.
    """
    found = {}
    for run in results.study.runs:
        for seed, phase in results.seeds_and_phases(run):
            record = read_json(store.folder(results.train(run, seed, phase).address) / "training.json")
            speed = record.get("block_pixels_per_second")
            if isinstance(speed, int | float) and speed > 0 and is_of(record, device):
                found[trained_kind(results.task(run, seed, phase))] = 1 / speed
    return found


def is_of(record: Mapping[str, Any], device: str | None) -> bool:
    """Whether a phase was trained on a ``cpu`` or ``gpu``, by its record; one that does not say it counts for both."""
    known = {segment.get("device") for segment in record.get("segments") or ()} - {None}
    return not device or not known or (known == {"cpu"}) == (device == "cpu")


def trained_kind(task: Task) -> str:
    """What is trained, as far as its speed goes: the blocks of the span, whichever of a chain they are."""
    span = [asdict(block) for block in task.blocks[task.first - 1 : task.last]]
    return json.dumps(span, sort_keys=True, default=str)
