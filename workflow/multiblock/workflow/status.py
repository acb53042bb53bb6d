"""How far a study is and what can be removed, from the results folder alone: no image is needed, none is written."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from multiblock.config import Study
from multiblock.errors import UserError
from multiblock.files import Digests, is_held, size_of
from multiblock.model.metadata import digest_of_result
from multiblock.pace import Pace
from multiblock.plan import Task
from multiblock.report import phases
from multiblock.workflow import why
from multiblock.workflow.results import ARRAYS, Of, Read, Result, Results
from multiblock.workflow.seconds import decided
from multiblock.workflow.seen import outside
from multiblock.workflow.store import WORKING, Store

CONVENTION = (
    "PSNR RGB in dB of the test images, of the network as it is after the phase, and of LR without any network: "
    "floats, no rounding, no border cut, mean of the images. Time is that of training, with its looks at the "
    "validation images."
)


@dataclass(frozen=True, kw_only=True)
class DataStatus:
    """Of a data set's arrays.

    Args:
        state: done, stale, removed (by `multiblock clean`, and made again when needed) or waiting.
        unseen: why its images cannot be looked at; they are taken to be those that the arrays were made of.
        size: bytes on disk.
    """

    name: str
    state: str
    why: str
    size: int
    unseen: str | None


@dataclass(frozen=True, kw_only=True)
class PhaseStatus:
    """Of a phase of one run and seed.

    Args:
        state: done, running, interrupted, stale, trained (and not measured yet) or waiting.
        at: iterations done, of a training that is under way or interrupted.
        why: why it is not up to date, or what else there is to say.
        psnr, psnr_input: PSNR RGB in dB of the test images, after the phase and without any network.
        seconds: time of training.
        seconds_left: what a training that is under way has left, where its checkpoints tell.
        size: bytes on disk of what the phase left; a phase that is shared counts for the first run that shows it.
        shared: the run that has the same phase before this one.
    """

    number: int
    state: str
    iterations: int
    at: int | None = None
    why: str = ""
    psnr: float | None = None
    psnr_input: float | None = None
    seconds: float | None = None
    seconds_left: float | None = None
    size: int = 0
    shared: str | None = None


@dataclass(frozen=True, kw_only=True)
class Removable:
    """A folder that can be removed with all in it, and ``what`` it is."""

    what: str
    folder: Path

    @property
    def size(self) -> int:
        """Bytes."""
        return size_of(self.folder)


class Status:
    """The status of a study, as its results folder is now."""

    def __init__(self, study: Study) -> None:
        self.study, self.store = study, Store(Path(study.results))
        study = decided(study, self.store)
        self._outside = outside(study, self.store, Digests(self.store.root / "digests.json", digest_of_result))
        self.results = Results(study, self._outside)
        self._shown = self.store.shown()

    def data(self) -> list[DataStatus]:
        """The state of each data set's arrays."""
        return [self._data(name) for name in self.study.data]

    def _data(self, name: str) -> DataStatus:
        made = [one for one in self._arrays() if one.of.data == name]
        verdicts = [self.store.verdict(one) for one in made]
        found = [reason for one in made for reason in self._reasons(one, f"data/{name}/{one.makes[0]}")]
        if all(verdict.made for verdict in verdicts):
            state, words = "done", ""
        elif found:
            state, words = "stale", why.in_words(found)
        elif f"data/{name}/HR" in self._shown and self._is_used(name):
            state, words = "removed", "the next run makes the arrays again"
        else:
            state, words = "waiting", ""
        size = sum(size_of(self.store.folder(one.address)) for one in made)
        return DataStatus(name=name, state=state, why=words, size=size, unseen=self._outside.unseen.get(name))

    def _arrays(self) -> list[Result]:
        return [one for one in self.results.all() if one.kind in ("convert", "enlarge", "folds")]

    def _is_used(self, data: str) -> bool:
        """Whether a phase was trained on the arrays of a data set, as they are to be."""
        runs = (run.name for run in self.study.runs.values() if run.data.name == data)
        return any(self.store.made(self.results.train(run, self.study.seeds[0], 1).address) for run in runs)

    def phases(self, run: str, seed: int) -> list[PhaseStatus]:
        """The state of each phase of a run and seed, in the order of the plan."""
        return [self._phase(run, seed, number) for number in self.study.runs[run].plan.numbers]

    def _phase(self, run: str, seed: int, number: int) -> PhaseStatus:
        store, task, folder = self.store, self.results.task(run, seed, number), f"{run}/seed{seed}/phase{number}"
        training, *others = self.results.of_phase(run, seed, number)
        at, verdict = store.step(training.address), store.verdict(training)
        stale = self._reasons(training, f"{folder}/{training.makes[0]}")
        if is_held(store.folder(training.address)):
            state, words = "running", ""
        elif at is not None and not verdict.made:
            state, words, stale = "interrupted", "", []
        elif stale:
            state, words = "stale", why.in_words(stale)
        elif not verdict.made:
            state, words = "waiting", ""
        else:
            state, words = self._trained(others, folder)
        psnr, psnr_input, doubt = self._psnr(run, seed, number)
        shared = training.of.run if training.of.run != run else None
        return PhaseStatus(
            number=number,
            state=state,
            iterations=task.iterations,
            at=at if state in ("running", "interrupted") else None,
            why="; ".join(filter(None, [words, doubt])),
            psnr=psnr,
            psnr_input=psnr_input,
            seconds=_seconds(store.folder(training.address) / "training.json") if verdict.made else None,
            seconds_left=self._seconds_left(training, task) if state == "running" else None,
            size=0 if shared else sum(size_of(store.folder(one.address)) for one in (training, *others)),
            shared=shared,
        )

    def _trained(self, others: list[Result], folder: str) -> tuple[str, str]:
        """State of a phase whose training is up to date, and what else there is to say."""
        sets = [one for one in others if one.kind == "generate" and not self.store.verdict(one).made]
        words = [f"the next run makes {one.makes[0]}" for one in sets]
        measurements = next(one for one in others if one.kind == "evaluate")
        if found := self._reasons(measurements, f"{folder}/psnr.csv"):
            return "stale", why.in_words([f"measurements: {reason}" for reason in found])
        return "done" if self.store.verdict(measurements).made else "trained", why.in_words(words)

    def _reasons(self, made: Result, path: str) -> list[str]:
        """Why a result is to be made again, where there is one to be replaced; of itself, or of what it reads."""
        verdict = self.store.verdict(made)
        if verdict.made:
            waits = (read.of for read in made.reads.values() if read.of.kind not in ARRAYS)
            return [f"it depends on {why.called(one.of)}" for one in waits if not self.store.verdict(one).made]
        before = self.store.noted(self._shown.get(path, [made.address])[0])
        found = why.reasons(before, made) if before else []
        return found or [verdict.why] * bool(verdict.why)

    def _psnr(self, run: str, seed: int, number: int) -> tuple[float | None, float | None, str]:
        """PSNR RGB after a phase and for no network, and what is wrong with the file of measurements."""
        made = self.results.evaluate(run, seed, number)
        if not self.store.made(made.address):
            return None, None, ""
        try:
            return *phases.composed(self.store.path(Read(made, "psnr.csv")), number), ""
        except (UserError, OSError, ValueError, AttributeError) as error:
            return None, None, f"psnr.csv cannot be read: {' '.join(str(error).split())}"

    def _seconds_left(self, training: Result, task: Task) -> float | None:
        """Time that a training under way has left, at the pace between its last two checkpoints.

        None where there is no pace: with one checkpoint, or two with a break between them.
        """
        folder = self.store.folder(training.address) / WORKING
        names = sorted(folder.glob("?????????-*.pt"), reverse=True)[:2]
        try:
            (last, begun), (before, earlier) = ((int(file.name[:9]), file.stat().st_mtime) for file in names)
        except (OSError, ValueError):
            return None
        seconds, pixels = begun - earlier, task.pixels(before, last)
        if not pixels or not 0 < seconds < _BREAK * self.study.training.checkpoint_seconds:
            return None
        pace = Pace()
        pace.note(seconds, pixels)
        return max(0.0, (pace.left(task.pixels(last, task.iterations)) or 0.0) - (time.time() - begun))

    def others(self) -> list[Path]:
        """Folders of runs, and of seeds of this study's runs, that this config does not name."""
        mine = {f"{run}/seed{seed}" for run in self.study.runs for seed in self.study.seeds}
        found = set()
        for path in self._shown:
            run, _, inside = path.partition("/")
            if not inside or run == "data" or not (self.store.results / run).is_dir():
                continue
            seed = f"{run}/{inside.partition('/')[0]}"
            if run not in self.study.runs:
                found.add(run)
            elif inside.startswith("seed") and seed not in mine:
                found.add(seed)
        return [self.store.results / one for one in sorted(found)]

    # What can go

    def unnamed(self) -> list[Removable]:
        """Results in the store that neither this config needs nor another one whose runs the folder shows."""
        named = {made.address for made in self.results.all()} | self._named_by_others()
        return [
            Removable(what=self._what(address), folder=self.store.folder(address))
            for address in self.store.addresses()
            if address not in named
        ]

    def _named_by_others(self) -> set[str]:
        """What other configs' runs show, and what that was made of; runs whose folders were removed show nothing."""
        mine = tuple(f"{run}/" for run in self.study.runs)
        waiting = [
            address
            for path, (address, _) in self._shown.items()
            if not path.startswith(mine)
            and (self.store.results / path.partition("/")[0]).exists()
            and not self._is_of_this_study(address)
        ]
        named: set[str] = set()
        while waiting:
            address = waiting.pop()
            if address not in named:
                named.add(address)
                waiting += [read["address"] for read in self.store.noted(address).get("reads", {}).values()]
        return named

    def _is_of_this_study(self, address: str) -> bool:
        """Whether a result is a table or page of runs that all are this study's."""
        runs = self.store.noted(address).get("settings", {}).get("runs")
        return bool(runs) and set(runs) <= self.study.runs.keys()

    def _what(self, address: str) -> str:
        if ".damaged" in address:
            return "set apart, as it was changed after it was made"
        if self.store.noted(address):
            return "of no config here"
        at = self.store.step(address)
        return "begun by no config here" + (f", at iteration {at}" if at is not None else "")

    def arrays(self) -> list[Removable]:
        """The image sets, which can be made again; those of images that are there."""
        found, seen = [], [data for data in self.study.data if data not in self._outside.unseen]
        for made in self.results.all():
            data = made.of.data or (made.of.run and self.study.runs[made.of.run].data.name)
            if made.kind in ARRAYS and data in seen and self.store.folder(made.address).is_dir():
                what = f"arrays of {data}" if made.of.data else f"{made.makes[0]} of {Of(run=made.of.run)}"
                found.append(Removable(what=f"{what}, made again when needed", folder=self.store.folder(made.address)))
        parts = sorted((self.store.root / "parts").glob("*"))
        return found + [
            Removable(what="arrays that are not whole; the next run goes on from them", folder=one) for one in parts
        ]


_BREAK = 10
"""How many times the usual time between two checkpoints lies between those before and after an interruption."""


def _seconds(file: Path) -> float | None:
    try:
        return float(json.loads(file.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
