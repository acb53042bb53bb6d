"""How far a study is, from the files in its results folder alone: no image is needed, and nothing is written."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from multiblock.config import Study
from multiblock.data.inspection import Inspection, digests, inspect, trained
from multiblock.errors import UserError, one_line
from multiblock.files import Digests, is_held
from multiblock.model.metadata import digest_of_result
from multiblock.report.phases import composed
from multiblock.workflow import checkpoints
from multiblock.workflow.checkpoints import Checkpoint
from multiblock.workflow.dependencies import Dependencies
from multiblock.workflow.experiments import (
    left_phases,
    not_named,
    other_experiments,
    phases_set_aside,
    runs_set_aside,
)
from multiblock.workflow.layout import Layout
from multiblock.workflow.records import Records, made_of
from multiblock.workflow.results import Results
from multiblock.workflow.sharing import choose
from multiblock.workflow.standing import Standing, Verdict, in_words

CONVENTION = (
    "PSNR RGB in dB of the test images, as the network stands after the phase, and of LR without any network: floats, "
    "no rounding, no border cut, mean of the images. Time is that of training, with its looks at the validation images."
)


@dataclass(frozen=True, kw_only=True)
class DataStatus:
    """Of a data set's arrays.

    Args:
        state: done, stale, removed (by `multiblock clean`, and made again when needed) or waiting.
        unseen: why its images cannot be looked at; they are taken to be those that the arrays were made of.
    """

    name: str
    state: str
    why: str
    folder: Path
    unseen: str | None


@dataclass(frozen=True, kw_only=True)
class PhaseStatus:
    """Of a phase of one run and seed.

    Args:
        state: done, running, interrupted, stale, trained (and not measured yet) or waiting.
        at: iterations done, of a training that is under way or interrupted.
        why: why it does not stand, or what else there is to say.
        psnr, psnr_input: PSNR RGB in dB of the test images, after the phase and without any network.
        seconds: time of training.
        seconds_left: what a training that is under way has left, where its checkpoints tell.
        unneeded: folders of checkpoints that the plan does not go on from.
        owner: the other run in whose folder it lies, as the two have the same phase.
    """

    number: int
    folder: Path
    state: str
    iterations: int
    at: int | None = None
    why: str = ""
    psnr: float | None = None
    psnr_input: float | None = None
    seconds: float | None = None
    seconds_left: float | None = None
    unneeded: tuple[Path, ...] = ()
    owner: str | None = None


@dataclass(frozen=True, kw_only=True)
class Status:
    """Of a study.

    Args:
        aside: folders of runs that hold another experiment, which the next run of the workflow sets aside.
        left: folders of phases that the plan no longer has.
        before: folders of runs, and of phases, that were set aside.
        others: folders of runs, and of seeds of the study's runs, that the config does not name.
        phases: of each (run, seed), in the order of the plan.
    """

    data: list[DataStatus]
    aside: list[Path]
    left: list[Path]
    before: list[Path]
    others: list[Path]
    phases: dict[tuple[str, int], list[PhaseStatus]] = field(default_factory=dict)


def status(study: Study) -> Status:
    """Look at the results of a study. Images that are not there are taken to be those that arrays were made of."""
    return _Look(study).status()


class _Look:
    """One look at the results of a study."""

    def __init__(self, study: Study) -> None:
        self.study, self.layout = study, Layout(study)
        self.digests = Digests(self.layout.digests, digest_of_result)
        self.images: dict[str, str] = {}
        self.unseen: dict[str, str] = {}  # data sets whose images cannot be looked at, and why
        self.trained = {name: known for name in study.data if (known := self._trained_images(name))}
        self.aside = other_experiments(study, self.trained)
        self.on = Dependencies(study, self.layout, self._images, self.digests.of)
        self.results = Results(study, self.layout, self.on)
        records = Records(self.digests, write=False, say=lambda _: None, real=self.layout.real)
        choose(study, self.layout, self.on, records)
        self.standing = Standing(records)

    def _images(self, data: str) -> str:
        """The digest of a data set's images, or of those that its arrays were made of."""
        if data not in self.images:
            self.images[data] = self._look_at(data)
        return self.images[data]

    def _look_at(self, data: str) -> str:
        try:
            return inspect(self.study.data[data], Inspection(self.digests), self.study.largest_patch(data))
        except (UserError, OSError) as error:
            self.unseen[data] = one_line(error)
            return str(made_of(Path(self.layout.data.format(data=data)), "convert").get("images"))

    def _trained_images(self, data: str) -> list[str]:
        """Digests of the images that a data set trains with; none where there are no results, or no images."""
        if not Path(self.layout.data.format(data=data)).is_dir():
            return []
        try:
            return trained(digests(self.study.data[data], Inspection(self.digests)))
        except (UserError, OSError):  # the same is said where all images are looked at
            return []

    def status(self) -> Status:
        study = self.study
        found = Status(
            data=[self._data(name) for name in study.data],
            aside=self.aside,
            left=left_phases(study, self.trained),
            before=[*phases_set_aside(study), *runs_set_aside(study)],
            others=not_named(study),
        )
        for run in study.runs.values():
            for seed in study.seeds:
                found.phases[run.name, seed] = [self._phase(run.name, seed, number) for number in run.plan.numbers]
        return found

    def _data(self, name: str) -> DataStatus:
        folder = Path(self.layout.data.format(data=name))
        if folder.is_dir():
            self._images(name)
        verdicts = [self.standing.judge(result, f"the arrays of {name}") for result in self.results.of_data(name)]
        why = [reason for verdict in verdicts for reason in verdict.why]
        made = any(made_of(folder, record) for record in ("convert", "enlarge"))
        if why:
            state = "stale"
        elif any(verdict.missing for verdict in verdicts):
            state = "removed" if made else "waiting"
            why = ["the next run makes the arrays again"] if made else []
        else:
            state = "done"
        return DataStatus(name=name, state=state, why=in_words(why), folder=folder, unseen=self.unseen.get(name))

    def _phase(self, run: str, seed: int, number: int) -> PhaseStatus:
        of = SimpleNamespace(run=run, seed=seed, phase=number)
        folder, iterations = Path(self.layout.phase_folder(of, number)), self.on.task(of).iterations
        owner = self.layout.owners[run, seed, number]
        shown = owner if owner != run else None
        if {Path(self.study.results, name) for name in (run, owner)} & set(self.aside):
            return PhaseStatus(number=number, folder=folder, state="waiting", iterations=iterations, owner=shown)
        results = self.results.of_phase(run, seed, number)
        verdicts = {result.title: self.standing.judge(result, f"phase {number}") for result in results}
        kept = checkpoints.found(folder)
        name = checkpoints.name_of(self.layout, self.on, of) if kept and not verdicts["training"].blocked else None
        ours = next((checkpoint for checkpoint in kept if checkpoint.folder.name == name), None)
        if is_held(folder):
            state, why, needed = "running", list[str](), kept
        elif verdicts["training"].waits:
            state, why, needed = _unfinished(verdicts["training"], ours, kept, known=name is not None)
        else:
            state, why = _trained(verdicts)
            needed = [ours] if ours and state == "trained" else []
        under_way = {"running": ours or next(iter(kept), None), "interrupted": ours}.get(state)
        psnr, psnr_input, doubt = _psnr(folder / "psnr.csv", number)
        return PhaseStatus(
            number=number,
            folder=folder,
            state=state,
            iterations=iterations,
            at=under_way.step if under_way else None,
            why="; ".join(filter(None, [*why, *doubt])),
            psnr=psnr,
            psnr_input=psnr_input,
            seconds=_seconds(folder / "training.json"),
            seconds_left=self._seconds_left(under_way, of) if state == "running" and under_way else None,
            unneeded=() if shown else tuple(one.folder for one in kept if one not in needed),
            owner=shown,
        )

    def _seconds_left(self, checkpoint: Checkpoint, of: SimpleNamespace) -> float | None:
        return checkpoints.seconds_left(
            checkpoint, self.on.task(of), self.study.training.checkpoint_seconds, time.time()
        )


def _unfinished(
    training: Verdict, ours: Checkpoint | None, kept: list[Checkpoint], known: bool
) -> tuple[str, list[str], list[Checkpoint]]:
    """State of a phase that is to be trained, why, and the checkpoints that it may need.

    Args:
        ours: the one that it goes on from.
        known: whether all that it reads is there, so that other checkpoints are known to be another config's.
    """
    if ours and ours.step is not None:
        return "interrupted", [], [ours]
    state, why = ("stale", [in_words(training.why)]) if training.why else ("waiting", [])
    if kept and kept[0].step is not None:
        maybe = "is of another config" if known else "counts if what it reads comes out as it was"
        why.append(f"the checkpoint at iteration {kept[0].step} {maybe}")
    return state, why, [] if known else kept


def _trained(verdicts: Mapping[str, Verdict]) -> tuple[str, list[str]]:
    """State of a phase whose training stands, and what else there is to say."""
    why = [f"{title}: {reason}" for title, verdict in verdicts.items() for reason in verdict.why]
    state = "stale" if why else "trained" if verdicts["measurements"].missing else "done"
    gone = [title for title, verdict in verdicts.items() if verdict.missing and title.startswith("LR_")]
    return state, [in_words(why), *(f"the next run makes {title}" for title in gone)]


def _psnr(file: Path, phase: int) -> tuple[float | None, float | None, list[str]]:
    """PSNR RGB after a phase and for no network, and what is wrong with the file of measurements."""
    if not file.is_file():
        return None, None, []
    try:
        return *composed(file, phase), []
    except (UserError, OSError, ValueError, AttributeError) as error:
        return None, None, [f"psnr.csv cannot be read: {' '.join(str(error).split())}"]


def _seconds(file: Path) -> float | None:
    try:
        return float(json.loads(file.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
