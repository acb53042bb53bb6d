"""What a run of the workflow is going to do, as a person reads it: data, runs, phases, and what stands already."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

from multiblock.config import Run, Study
from multiblock.plan import format_span
from multiblock.training.progress import duration
from multiblock.workflow import checkpoints, outcome
from multiblock.workflow.dependencies import Dependencies
from multiblock.workflow.layout import Layout
from multiblock.workflow.outlook import Job, Outlook
from multiblock.workflow.records import Records
from multiblock.workflow.results import Results
from multiblock.workflow.standing import Standing, Verdict, in_words

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
    """

    study: Study
    layout: Layout
    on: Dependencies
    records: Records
    images: Mapping[str, Mapping[str, int]]

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
        """Whether a job makes something of a run, or of a phase that it shows."""
        owners = {owner for (name, _, _), owner in self.layout.owners.items() if name == run.name} | {run.name}
        return any(job.run in owners for job in jobs)

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
        jobs: those that are to run. :attr:`jobs` are the same, but trainings whose weights stand by content, whatever
            the times of files say, only ``look``: they will find that there is nothing to do.
    """

    def __init__(self, of: Overview, jobs: Sequence[Job]) -> None:
        self._of = of
        self._verdicts = self._judged([job for job in jobs if job.kind == "train"])
        self.jobs = [replace(job, kind="look") if job.kind == "train" and self._stands(job) else job for job in jobs]
        self.trained = {job.key for job in self.jobs if job.kind == "train"}

    def _judged(self, trainings: Sequence[Job]) -> dict[tuple[str, int, int], Verdict]:
        """A verdict on the training of each phase; none where all are trained for the first time."""
        study, layout = self._of.study, self._of.layout
        if not any(Path(layout.folder(*job.key), "weights.safetensors").exists() for job in trainings):
            return {}
        results, standing = Results(study, layout, self._of.on), Standing(self._of.records)
        for data in study.data:
            for result in results.of_data(data):
                standing.judge(result, f"the arrays of {data}")
        found, forced = {}, {job.key for job in trainings if job.forced}
        phases = [(number, run) for run in study.runs.values() for number in run.plan.numbers]
        for number, run in sorted(phases, key=lambda phase: phase[0]):
            for key in ((run.name, seed, number) for seed in study.seeds):
                if layout.owners.get(key, run.name) == run.name:
                    training, *others = results.of_phase(*key)
                    found[key] = standing.judge(training, f"phase {number}", key in forced)
                    for result in others:
                        standing.judge(result, f"phase {number}")
        return found

    def _stands(self, training: Job) -> bool:
        verdict = self._verdicts.get(training.key)
        return verdict is not None and not verdict.waits

    def of(self, run: Run, number: int) -> list[tuple[int, str]]:
        """The state of a phase for each seed."""
        return [(seed, self._state(run.name, seed, number)) for seed in self._of.study.seeds]

    def _state(self, run: str, seed: int, number: int) -> str:
        layout = self._of.layout
        owner = layout.owners.get((run, seed, number), run)
        if owner != run:
            return f"as in run {owner}"
        folder = Path(layout.folder(run, seed, number))
        if (run, seed, number) not in self.trained:
            psnr = outcome.psnr(folder, number)
            return f"stands, {psnr[number]:.3f} dB" if psnr else "stands" if folder.is_dir() else "not asked for"
        of = SimpleNamespace(run=run, seed=seed, phase=number)
        if kept := checkpoints.found(folder):
            name = checkpoints.name_of(layout, self._of.on, of)
            if at := next((one.step for one in kept if one.folder.name == name), None):
                return f"goes on from iteration {at}"
        if not (folder / "weights.safetensors").exists():
            return "to train"
        verdict = self._verdicts.get((run, seed, number))
        why = in_words(verdict.why) if verdict else ""
        return f"to train again{f': {why}' if why else ''}"


def _place(job: Job) -> tuple[int, int, str]:
    """Where a job stands in the order in which they are named: images, phases, then what is written of them."""
    first = {"convert": 0, "enlarge": 1, "train": 2, "look": 2, "generate": 2, "evaluate": 3}
    of_phase = job.phase if job.kind in ("train", "look", "generate") and job.phase else 0
    return first.get(job.kind, 4), of_phase, job.rule
