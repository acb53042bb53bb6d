"""What a run of the workflow is going to do, as a person reads it: data, runs, phases, and what stands already."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from multiblock.config import Run, Study
from multiblock.plan import format_span
from multiblock.training.progress import duration
from multiblock.workflow import outcome, why
from multiblock.workflow.outlook import Job, Outlook
from multiblock.workflow.results import ARRAYS, Result, Results
from multiblock.workflow.store import Store, Verdict

_SPLITS = {"train": "training", "validation": "validation", "test": "test"}

_MOST_ROWS = 30
"""Phases of all runs together that get a line each; where there are more, a run gets one."""

_MOST_RUNS = 30
"""Runs that get a line; of those after them it is said what they come to."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What there is to say before anything runs.

    Args:
        images: how many images each data set has, by split; only those that could be looked at.
        verdicts: on each address.
        before: the mark of what each path showed before this start.
    """

    study: Study
    results: Results
    store: Store
    images: Mapping[str, Mapping[str, int]]
    verdicts: Mapping[str, Verdict]
    before: Mapping[str, Mapping[str, Any]]

    @cached_property
    def by_address(self) -> dict[str, Result]:
        """All results of the study."""
        return {made.address: made for made in self.results.all()}

    def lines(self, states: "States", outlook: Outlook, *, dry: bool) -> Iterator[str]:
        """The plan: data sets, runs with their phases, and what it will take."""
        jobs, trained = states.jobs, states.trained
        yield from self._data()
        runs = [run for run in self.study.runs.values() if self._is_of(run, jobs)] or list(self.study.runs.values())
        short = sum(len(run.plan.phases) for run in runs) > _MOST_ROWS
        for run in runs[:_MOST_RUNS]:
            seeds = f"seed{'s' if len(self.study.seeds) > 1 else ''} {', '.join(map(str, self.study.seeds))}"
            on = f" on {run.data.name}" if len(self.study.data) > 1 else ""
            rows = [(number, self._row(run, number, states)) for number in run.plan.numbers]
            if short:
                spans = ", ".join(format_span(phase.first, phase.last) for phase in run.plan.phases)
                counts = Counter(state for number in run.plan.numbers for _, state in states.of(run, number))
                said = ", ".join(f"{count} {state}" for state, count in counts.items())
                yield f"run {run.name}{on}, {seeds}: phases {spans}; {said}"
                continue
            yield f"run {run.name}{on}, {seeds}"
            yield from outcome.aligned(
                [("phase", "trains", "iterations", "now"), *(row for _, row in rows)], indent="  "
            )
        if rest := {run.name for run in runs[_MOST_RUNS:]}:
            to_train = sum(run in rest for run, _, _ in trained)
            yield f"and {len(rest)} more run{'s' if len(rest) > 1 else ''}, with {to_train} phases to train"
        yield self._amount(jobs, outlook, trained)
        if dry:
            counted = Counter(job.rule for job in sorted(jobs, key=_place) if job.kind != "all")
            # As Snakemake's own table has it, which people and their scripts know.
            yield from outcome.aligned([("job", "count"), *((rule, str(count)) for rule, count in counted.items())])
            yield "nothing was done (dry run); --verbose lists each job, and why it runs"

    def _data(self) -> Iterator[str]:
        for name, data in self.study.data.items():
            counts = self.images.get(name, {})
            said = ", ".join(f"{counts[split]} {what}" for split, what in _SPLITS.items() if split in counts)
            yield f"data {name}, x{data.scale}{f': {said} images' if said else ''}"

    def _is_of(self, run: Run, jobs: Sequence[Job]) -> bool:
        """Whether a job makes something of a run, or of a phase that it shares."""
        phases = (self.results.train(run.name, *key) for key in self.results.seeds_and_phases(run.name))
        makers = {made.of.run for made in phases} | {run.name}
        return any(job.run in makers for job in jobs)

    def _row(self, run: Run, number: int, states: "States") -> tuple[str, ...]:
        phase = run.plan.phase(number)
        found = states.of(run, number)
        by_state: dict[str, list[int]] = {}
        for seed, state in found:
            by_state.setdefault(state, []).append(seed)
        said = [
            state
            if len(by_state) == 1
            else f"{state} (seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))})"
            for state, seeds in by_state.items()
        ]
        iterations = " + ".join(str(stage.iterations) for stage in phase.stages)
        return str(number), format_span(phase.first, phase.last), iterations, "; ".join(said)

    def _amount(self, jobs: Sequence[Job], outlook: Outlook, trained: set[tuple[str, int, int]]) -> str:
        if not trained:
            others = sum(job.kind != "all" for job in jobs)
            return f"no phase to train, {others} other job{'s' if others > 1 else ''} to do"
        tasks = outlook.tasks.values()
        iterations, seconds = sum(task.iterations for task in tasks), outlook.seconds_left()
        what = f"{len(trained)} phase{'s' if len(trained) > 1 else ''} to train, {iterations:,} iterations"
        return what + (
            f", about {duration(seconds)} at the speed measured before"
            if seconds is not None
            else "; how long it takes is known after the first seconds"
        )


class States:
    """What is to become of each phase.

    Args:
        jobs: those that are to run. :attr:`jobs` are the same, but trainings that are up to date by content, whatever
            Snakemake plans, only ``look``: they will find that there is nothing to do.
    """

    def __init__(self, of: Overview, jobs: Sequence[Job]) -> None:
        self._of, self._waits = of, dict[str, bool]()
        self._forced = {job.key for job in jobs if job.kind == "train" and job.forced}
        self.jobs = [
            replace(job, kind="look") if job.kind == "train" and not self._is_needed(job) else job for job in jobs
        ]
        self.trained = {job.key for job in self.jobs if job.kind == "train"}

    def _is_needed(self, training: Job) -> bool:
        return self._wait_for(self._of.results.train(*training.key))

    def _wait_for(self, made: Result) -> bool:
        """Whether a result is to be made, or something that it reads: arrays alone come out as they were."""
        if made.address not in self._waits:
            needed = made.kind not in ARRAYS and not self._of.verdicts[made.address].made
            needed |= (made.of.run, made.of.seed, made.of.phase) in self._forced and made.kind == "train"
            self._waits[made.address] = needed or any(self._wait_for(read.of) for read in made.reads.values())
        return self._waits[made.address]

    def of(self, run: Run, number: int) -> list[tuple[int, str]]:
        """The state of a phase for each seed."""
        return [(seed, self._state(run.name, seed, number)) for seed in self._of.study.seeds]

    def _state(self, run: str, seed: int, number: int) -> str:
        results, store = self._of.results, self._of.store
        made = results.train(run, seed, number)
        if made.of.run != run:
            return f"as in run {made.of.run}"
        if (run, seed, number) not in self.trained:
            psnr = outcome.psnr(results, store, run, seed, number)
            done = self._of.verdicts[made.address].made
            return f"up to date, {psnr[number]:.3f} dB" if psnr and done else "up to date" if done else "not asked for"
        if at := store.step(made.address):
            return f"goes on from iteration {at}"
        before, verdict = (
            self._of.before.get(f"{run}/seed{seed}/phase{number}/{made.makes[0]}"),
            self._of.verdicts[made.address],
        )
        found = why.reasons(before, made) if before else []
        found += [verdict.why] if verdict.why else []
        found += ["asked for"] if (run, seed, number) in self._forced else []
        if verdict.made:
            found += [
                f"it depends on {why.called(read.of.of)}" for read in made.reads.values() if self._wait_for(read.of)
            ]
        return f"to train again: {why.in_words(found)}" if found else "to train again" if before else "to train"


def _place(job: Job) -> tuple[int, int, str]:
    """Where a job stands in the order in which they are named: images, phases, then what is written of them."""
    first = {"convert": 0, "enlarge": 1, "train": 2, "look": 2, "generate": 2, "evaluate": 3}
    of_phase = job.phase if job.kind in ("train", "look", "generate") and job.phase else 0
    return first.get(job.kind, 4), of_phase, job.rule
