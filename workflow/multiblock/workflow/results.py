"""The results of a study and the address of each: what it is made of, known before anything runs.

    address = rule-digest(kind, version of the kind, settings that count, what it reads of other results)

What is named here decides whether a result is made again, and nothing else does: no time of a file, no record of what
was there before. Phases of several runs that are made of the same have one address, so they are trained once.

An entry of a kind of result is one method of :class:`Results`. What the job then computes is the function of the same
name in :mod:`multiblock.workflow.making`.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from multiblock.config import Run, Study
from multiblock.data.dataset import FOLDED
from multiblock.plan import INPUT, CachedSet, Task
from multiblock.versions import VERSIONS

TRAINED = ("weights.safetensors", "history.csv", "training.json")
"""What a phase leaves."""

STUDY_TABLES = ("comparison", "differences", "times", "curves", "curves_times", "losses")
"""The CSVs of a study of several runs, by the end of their names."""


@dataclass(frozen=True)
class Of:
    """What a result belongs to, as far as it does: a data set, or a run, its seed, phase and block."""

    data: str | None = None
    run: str | None = None
    seed: int | None = None
    phase: int | None = None
    block: int | None = None

    def __str__(self) -> str:
        named = {"seed": "seed ", "phase": "phase ", "block": "LR_"}
        return ", ".join(f"{named.get(name, '')}{value}" for name, value in asdict(self).items() if value is not None)


@dataclass(frozen=True)
class Read:
    """A file or folder of another result that a job reads."""

    of: "Result"
    name: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What one job makes.

    Args:
        kind: its entry in :data:`multiblock.versions.VERSIONS`.
        rule: Snakemake's rule that makes it.
        of: what it is of; of equal phases, the first one. It is no part of the address.
        settings: all plain values that it depends on.
        reads: what it reads of other results, by names that a person knows, such as ``phase1/weights.safetensors``.
        makes: names of the files and folders that it consists of.
        outside: files from elsewhere that it reads, each with its digest; they count.
    """

    kind: str
    rule: str
    of: Of
    settings: Mapping[str, Any]
    reads: Mapping[str, Read]
    makes: tuple[str, ...]
    outside: Mapping[str, str]

    @cached_property
    def made_of(self) -> dict[str, Any]:
        """All that the address is made of, in plain values."""
        return {
            "kind": self.kind,
            "version": VERSIONS[self.kind],
            "settings": json.loads(json.dumps(self.settings)),  # tuples are lists, as when they are read again
            "outside": dict(self.outside),
            "reads": {role: {"address": read.of.address, "name": read.name} for role, read in self.reads.items()},
        }

    @cached_property
    def address(self) -> str:
        """The name of its folder in the store."""
        text = json.dumps(self.made_of, sort_keys=True)
        return f"{self.rule}-{digest_of_text(text)[:20]}"


_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


def _once(find: Callable[Concatenate["Results", _Given], _Found]) -> Callable[Concatenate["Results", _Given], _Found]:
    """Find something of a study once: what a phase reads leads through all phases before it."""

    @wraps(find)
    def found(self: "Results", *given: _Given.args, **named: _Given.kwargs) -> _Found:
        key = (find.__name__, given, tuple(named.items()))
        if key not in self.found:
            self.found[key] = find(self, *given, **named)
        known: _Found = self.found[key]
        return known

    return found


class Outside:
    """Digests by name: ``images DATA``, ``file PATH``, ``network NAME``, ``pictures`` to upscale.

    Args:
        known: digests that another process has taken.
        look: takes the digest of something that is not known.
    """

    def __init__(self, known: Mapping[str, str], look: Callable[[str], str]) -> None:
        self.known, self._look = dict(known), look
        self.unseen: dict[str, str] = {}
        """Data sets whose images cannot be looked at, and why."""

    def __getitem__(self, name: str) -> str:
        if name not in self.known:
            self.known[name] = self._look(name)
        return self.known[name]


class Results:
    """All results of a study; each method gives one, by what it is of."""

    def __init__(self, study: Study, outside: Outside) -> None:
        self.study, self.outside = study, outside
        self.found: dict[tuple[Any, ...], Any] = {}
        self._by_address: dict[str, Result] = {}

    def of(self, kind: str, of: Of) -> Result:
        """The result of a kind, as :meth:`all` gives it."""
        arguments = [value for value in asdict(of).values() if value is not None]
        return getattr(self, kind)(*arguments)

    def _result(
        self,
        kind: str,
        of: Of,
        settings: Mapping[str, Any],
        reads: Mapping[str, Read],
        makes: tuple[str, ...],
        rule: str | None = None,
        networks: tuple[str, ...] = (),
        files: tuple[str, ...] = (),
    ) -> Result:
        """One result; of those with one address the first one that was asked for."""
        names = [*(f"network {name}" for name in dict.fromkeys(networks)), *(f"file {Path(name)}" for name in files)]
        made = Result(
            kind=kind,
            rule=rule or kind,
            of=of,
            settings=settings,
            reads=reads,
            makes=makes,
            outside={name: self.outside[name] for name in names},
        )
        return self._by_address.setdefault(made.address, made)

    # Data

    @_once
    def convert(self, data: str) -> Result:
        """HR and LR of a data set as arrays."""
        return self._result("convert", Of(data=data), {"images": self.outside[f"images {data}"]}, {}, ("HR", "LR"))

    @_once
    def enlarge(self, data: str) -> Result:
        """LR at the size of HR."""
        reads = {"LR": Read(self.convert(data), "LR")}
        return self._result("enlarge", Of(data=data), {"scale": self.study.data[data].scale}, reads, ("LR_enlarged",))

    @_once
    def folds(self, data: str) -> Result:
        """Which fold each training image is in."""
        planned = self.study.data[data]
        settings = {"folds": planned.folds, "family": planned.family}
        return self._result("folds", Of(data=data), settings, {"HR": Read(self.convert(data), "HR")}, ("folds.csv",))

    def fold(self, run: str, seed: int) -> tuple[dict[str, int], dict[str, Read]]:
        """With folds, the one that a seed's networks are tested on, and where its images are named."""
        data = self.study.runs[run].data
        if not data.folds:
            return {}, {}
        return {"fold": seed % FOLDED}, {"folds": Read(self.folds(data.name), "folds.csv")}

    def hr(self, run: Run) -> Read:
        """HR of a run."""
        return Read(self.convert(run.data.name), "HR")

    def lr(self, run: Run) -> Read:
        """LR_0 in the form that a run's chain starts from."""
        made = self.enlarge(run.data.name) if run.input == "LR_enlarged" else self.convert(run.data.name)
        return Read(made, run.input)

    # Phases

    def task(self, run: str, seed: int, phase: int) -> Task:
        """What a phase has to do."""
        return self.study.runs[run].plan.task(phase, seed)

    def cached(self, run: str, seed: int, phase: int) -> Read:
        """The image set that a phase reads."""
        made = self.study.runs[run].plan.reads_set(phase)
        if made.phase == INPUT:
            return self.lr(self.study.runs[run])
        return Read(self.generate(run, seed, made.phase, made.block), f"LR_{made.block}")

    def weights(self, run: str, seed: int, phases: Iterator[int] | tuple[int, ...]) -> dict[str, Read]:
        """The weights files of phases."""
        return {
            f"phase{phase}/{TRAINED[0]}": Read(self.train(run, seed, phase), TRAINED[0])
            for phase in dict.fromkeys(phases)
        }

    @_once
    def train(self, run: str, seed: int, phase: int) -> Result:
        """Weights, history and record of a phase."""
        task, study, planned = self.task(run, seed, phase), self.study, self.study.runs[run]
        counts = {name: getattr(study, name) for name in ("device", "precision", "layout", "compile", "deterministic")}
        counts["keep"] = study.training.keep
        if study.training.keep == "best" or any(stage.schedule.get("kind") == "plateau" for stage in task.stages):
            # What is seen of the validation images decides, so when and how they are looked at counts.
            counts |= {"validate_every": study.training.validate_every, "memory_gib": study.inference.memory_gib}
        reads = {"input": self.cached(run, seed, phase), "HR": self.hr(planned), "LR": self.lr(planned)}
        fold, folds = self.fold(run, seed)
        reads |= self.weights(run, seed, planned.plan.reads_weights(phase)) | folds
        settings = {"task": task.counts, **counts, **fold}
        of, networks = Of(run=run, seed=seed, phase=phase), _networks(task)
        return self._result("train", of, settings, reads, TRAINED, f"phase{phase}_1", networks, task.files)

    @_once
    def generate(self, run: str, seed: int, phase: int, block: int) -> Result:
        """The cached set LR_k that is made after a phase."""
        task, inference = self.task(run, seed, phase), self.study.inference
        blocks = self.study.runs[run].plan.set_weights(CachedSet(phase=phase, block=block))
        # How the memory divides images into tiles changes what is pooled over an image.
        settings = {"blocks": blocks, "cache": inference.cache, "memory_gib": inference.memory_gib}
        reads = {"input": self.cached(run, seed, phase), **self.weights(run, seed, tuple(blocks.values()))}
        of = Of(run=run, seed=seed, phase=phase, block=block)
        makes = (f"LR_{block}", f"LR_{block}.json")
        return self._result("generate", of, settings, reads, makes, f"phase{phase}_2", _networks(task))

    @_once
    def evaluate(self, run: str, seed: int, phase: int) -> Result:
        """Measurements and pictures of the test images after a phase."""
        planned, of = self.study.runs[run], Of(run=run, seed=seed, phase=phase)
        span = planned.plan.phase(phase)
        fold, folds = self.fold(run, seed)
        settings = {"first": span.first, "last": span.last, **self._measured(planned), **fold}
        reads = {"input": self.cached(run, seed, phase), "HR": self.hr(planned), "LR": self.lr(planned)}
        reads |= self.weights(run, seed, (phase,)) | folds
        networks = _networks(self.task(run, seed, phase))
        return self._result("evaluate", of, settings, reads, ("psnr.csv", "images"), networks=networks)

    @_once
    def take_apart(self, run: str, seed: int, phase: int) -> Result:
        """The same block by block, before a joint phase, if anything was trained then, and after it."""
        planned, of = self.study.runs[run], Of(run=run, seed=seed, phase=phase)
        fold, folds = self.fold(run, seed)
        settings = {
            "last": planned.plan.phase(phase).last,
            "images": self.study.report.images,
            **self._measured(planned),
            **fold,
        }
        phases = (phase - 1, phase) if phase > 1 else (phase,)
        reads = {"HR": self.hr(planned), "LR": self.lr(planned), **self.weights(run, seed, phases), **folds}
        networks = _networks(self.task(run, seed, phase))
        return self._result("take_apart", of, settings, reads, ("psnr_by_block.csv", "blocks"), networks=networks)

    def _measured(self, run: Run) -> dict[str, Any]:
        """How pictures are made and measured."""
        return {
            "border": self.study.border(run),
            "memory_gib": self.study.inference.memory_gib,
            "measures": list(self.study.evaluation.measures),
        }

    # Runs

    def seeds_and_phases(self, run: str, upto: int | None = None) -> list[tuple[int, int]]:
        """All (seed, phase) of a run, or those of its phases 1..upto."""
        phases = self.study.runs[run].plan.numbers
        return [(seed, phase) for seed in self.study.seeds for phase in phases if phase <= (upto or phase)]

    def joint_phases(self, run: str) -> list[tuple[int, int]]:
        """The (seed, phase) of a run that train several blocks together."""
        plan = self.study.runs[run].plan
        return [(seed, phase) for seed, phase in self.seeds_and_phases(run) if len(plan.phase(phase).span) > 1]

    def shared_with(self, run: str) -> dict[int, list[str]]:
        """The other runs that have the same phase, for each phase of a run that others have too."""
        found = {phase: self.study.equal_phases[run, phase] for phase in self.study.runs[run].plan.numbers}
        others = {phase: [other for other in equal if other != run] for phase, equal in found.items()}
        return {phase: runs for phase, runs in others.items() if runs}

    @_once
    def _phases(self, run: str, *names: str, prefix: str = "") -> dict[str, Read]:
        """Files and folders of all phases of a run, called as a person finds them."""
        found = {}
        for seed, phase in self.seeds_and_phases(run):
            trained, measured = self.train(run, seed, phase), self.evaluate(run, seed, phase)
            for name in names:
                made = trained if name in TRAINED else measured
                found[f"{prefix}seed{seed}/phase{phase}/{name}"] = Read(made, name)
        return found

    def _sets(self, run: str) -> dict[str, Read]:
        return {"HR": self.hr(self.study.runs[run]), "LR": self.lr(self.study.runs[run])}

    def _titles(self, run: str) -> dict[int, str]:
        """The network as it is after each phase, as the study writes it."""
        plan = self.study.runs[run].plan
        return {phase: plan.title(phase) for phase in plan.numbers}

    def generated(self, run: str) -> dict[int, int]:
        """How many blocks are run over all images to make the sets LR_k after each phase of a run."""
        plan = self.study.runs[run].plan
        return {
            phase: sum(len(plan.set_weights(CachedSet(phase=phase, block=k))) for k in plan.makes_sets(phase))
            for phase in plan.numbers
        }

    @_once
    def table(self, run: str) -> Result:
        """PSNR by phase, means over the test images."""
        planned = self.study.runs[run]
        settings = {
            "run": run,
            "border": self.study.border(planned),
            "titles": self._titles(run),
            "generated": self.generated(run),
            "shared": self.shared_with(run),
        }
        reads = self._phases(run, "psnr.csv", "training.json") | {"HR": self.hr(planned)}
        for seed, phase in self.seeds_and_phases(run):
            for k in planned.plan.makes_sets(phase):
                reads[f"seed{seed}/phase{phase}/LR_{k}.json"] = Read(self.generate(run, seed, phase, k), f"LR_{k}.json")
        makes = ("psnr_by_phase.csv", "times.csv", "psnr_by_phase.md")
        return self._result("table", Of(run=run), settings, reads, makes)

    def _tables(self, run: str, prefix: str = "") -> dict[str, Read]:
        made = self.table(run)
        return {f"{prefix}{name}": Read(made, name) for name in ("psnr_by_phase.csv", "times.csv")}

    @_once
    def figures(self, run: str) -> Result:
        """PSNR by phase, learning curves, and strips of pictures."""
        report = self.study.report
        settings = {"titles": self._titles(run), "images": report.images, "zoom": report.zoom}
        reads = self._tables(run) | self._phases(run, "psnr.csv", "history.csv", "training.json", "images")
        makes = ("psnr_by_phase.png", "learning_curves.png", "strips")
        return self._result("figures", Of(run=run), settings, reads | self._sets(run), makes)

    @_once
    def page(self, run: str) -> Result:
        """The page of a run, and a small one for Snakemake's report."""
        planned = self.study.runs[run]
        settings = {
            "run": run,
            "border": self.study.border(planned),
            "titles": self._titles(run),
            "plan": planned.plan.described(),
            "zoom": self.study.report.zoom,
        }
        reads = self._tables(run) | self._phases(run, "psnr.csv", "history.csv", "training.json", "images")
        makes = ("report.html", "report_small.html")
        return self._result("page", Of(run=run), settings, reads | self._sets(run), makes)

    @_once
    def by_block(self, run: str) -> Result:
        """What each block does of networks that a phase has trained over several blocks."""
        report, border = self.study.report, self.study.border(self.study.runs[run])
        settings = {"run": run, "border": border, "images": report.images, "zoom": report.zoom}
        reads = self._sets(run)
        for seed, phase in self.joint_phases(run):
            made = self.take_apart(run, seed, phase)
            reads |= {f"seed{seed}/phase{phase}/{name}": Read(made, name) for name in made.makes}
        makes = ("psnr_by_block.csv", "psnr_by_block.md", "blocks")
        return self._result("by_block", Of(run=run), settings, reads, makes)

    @_once
    def residuals(self, run: str) -> Result:
        """Where what HR has and a picture lacks changes from pixel to pixel."""
        settings = {"images": self.study.report.images, "zoom": self.study.report.zoom}
        reads = self._phases(run, "images") | self._sets(run)
        return self._result("residuals", Of(run=run), settings, reads, ("residuals.csv", "residuals"))

    @_once
    def tensorboard(self, run: str) -> Result:
        """The histories of a run as TensorBoard reads them."""
        return self._result("tensorboard", Of(run=run), {}, self._phases(run, "history.csv"), ("tensorboard",))

    @_once
    def upscale(self, run: str) -> Result:
        """A user's own pictures, through the network that a run ends with."""
        study, plan, asked = self.study, self.study.runs[run].plan, self.study.upscale
        settings = {
            "pictures": self.outside["pictures"],
            "ensemble": asked.ensemble,
            "format": asked.format,
            "memory_gib": study.inference.memory_gib,
        }
        reads = self.weights(run, study.seeds[0], (plan.numbers[-1],))
        networks = tuple(block.network for block in plan.blocks)
        of = Of(run=run)
        return self._result("upscale", of, settings, reads, ("upscaled",), "upscale_pictures", networks)

    # The study

    def _all_runs(self, *names: str) -> dict[str, Read]:
        """The tables of all runs, and files of all their phases."""
        found: dict[str, Read] = {}
        for run in self.study.runs:
            found |= self._tables(run, f"{run}/") | self._phases(run, *names, prefix=f"{run}/")
        return found

    @_once
    def compare(self) -> Result:
        """The runs of a study side by side."""
        name = self.study.name
        settings = {"study": name, "baseline": self.study.baseline, "pairs": self.study.pairs}
        settings |= {**self._keys(), **self._sized()}
        reads = self._all_runs("psnr.csv", "history.csv", "training.json")
        makes = tuple(f"{name}_{table}.csv" for table in STUDY_TABLES if table != "losses")
        makes += tuple(f"{name}_{end}" for end in ("comparison.md", "comparison.png", "curves.png", "curves_times.png"))
        return self._result("compare", Of(), settings, reads, makes)

    def _keys(self) -> dict[str, Any]:
        """The runs with their seeds and phases."""
        return {"runs": {run: self.seeds_and_phases(run) for run in self.study.runs}}

    def _sized(self) -> dict[str, Any]:
        """The runs that are sized by the seconds of another, each with that one; nothing where there are none."""
        sized = ((run, made.equal_to) for run, made in self.study.runs.items())
        found = {run: by.run for run, by in sized if by and by.unit == "seconds"}
        return {"in_seconds": found} if found else {}

    @_once
    def study_page(self) -> Result:
        """The page of a study, and a small one for Snakemake's report."""
        study, name = self.study, self.study.name
        settings = {
            "study": name,
            "plans": {run: planned.plan.described() for run, planned in study.runs.items()},
            "baseline": study.baseline,
            "pairs": study.pairs,
            "zoom": study.report.zoom,
            **self._keys(),
            **self._sized(),
        }
        reads = self._all_runs("psnr.csv", "history.csv", "training.json", "images")
        for run in study.runs:
            reads |= {f"{run}/{form}": read for form, read in self._sets(run).items()}
        for table in STUDY_TABLES:  # the page has links to them
            made = self.losses() if table == "losses" else self.compare()
            reads[f"{name}_{table}.csv"] = Read(made, f"{name}_{table}.csv")
        makes = (f"{name}_report.html", f"{name}_report_small.html")
        return self._result("study_page", Of(), settings, reads, makes)

    @_once
    def losses(self) -> Result:
        """The training losses of all runs as one table, and figures of some of them side by side."""
        study, reference = self.study, self.study.report.reference_losses
        settings = {"study": study.name, "groups": dict(study.loss_figures), **self._keys()}
        reads: dict[str, Read] = {}
        for run in study.runs:
            reads |= self._phases(run, "history.csv", "training.json", prefix=f"{run}/")
        makes, files = (f"{study.name}_losses.csv", f"{study.name}_losses"), (reference,) if reference else ()
        return self._result("losses", Of(), settings, reads, makes, files=files)

    @_once
    def budget(self) -> Result:
        """Parameters, GFLOPs, PSNR an image and ranking score, as the lightweight x3 study reports them."""
        study = self.study
        plans = {run: planned.plan for run, planned in study.runs.items()}
        settings = {
            "study": study.name,
            "blocks": {run: [asdict(block) for block in plan.blocks] for run, plan in plans.items()},
            "limit": study.report.budget_gflops,
            **self._keys(),
        }
        reads = {
            f"{run}/seed{seed}/phase{len(plan.phases)}/psnr.csv": Read(
                self.evaluate(run, seed, len(plan.phases)), "psnr.csv"
            )
            for run, plan in plans.items()
            for seed in study.seeds
        }
        networks = tuple(block.network for plan in plans.values() for block in plan.blocks)
        makes = (f"{study.name}_budget.csv", f"{study.name}_budget.md")
        return self._result("budget", Of(), settings, reads, makes, networks=networks)

    # All together

    def of_phase(self, run: str, seed: int, phase: int) -> list[Result]:
        """What a phase of a run leaves, in the order in which it is made."""
        sets = [self.generate(run, seed, phase, k) for k in self.study.runs[run].plan.makes_sets(phase)]
        found = [self.train(run, seed, phase), *sets, self.evaluate(run, seed, phase)]
        if self.study.report.blocks and (seed, phase) in self.joint_phases(run):
            found.append(self.take_apart(run, seed, phase))
        return found

    def of_run(self, run: str) -> list[Result]:
        """What is written of a whole run."""
        report = self.study.report
        found = [self.table(run), self.figures(run), self.page(run)]
        found += [self.by_block(run)] if report.blocks and self.joint_phases(run) else []
        found += [self.residuals(run)] if report.residuals else []
        found += [self.tensorboard(run)] if report.tensorboard else []
        return found + ([self.upscale(run)] if self.study.upscale.images else [])

    def of_study(self) -> list[Result]:
        """What is written above the runs: where there is something to compare, and the budget."""
        several = [self.compare(), self.losses(), self.study_page()] if len(self.study.runs) > 1 else []
        return several + ([self.budget()] if self.study.report.budget_gflops is not None else [])

    @_once
    def shown(self) -> dict[str, Read]:
        """Where a person finds each result: paths below the results folder, each with what it shows there."""
        found: dict[str, Read] = {}

        def show(folder: str, made: Result, log: str) -> None:
            found.update({f"{folder}{name}": Read(made, name) for name in made.makes})
            found[log] = Read(made, LOG)

        for name, data in self.study.data.items():
            show(f"data/{name}/", self.convert(name), f"data/{name}/logs/convert.log")
            if data.folds:
                show(f"data/{name}/", self.folds(name), f"data/{name}/logs/folds.log")
            if any(run.input == "LR_enlarged" for run in self.study.runs.values() if run.data.name == name):
                show(f"data/{name}/", self.enlarge(name), f"data/{name}/logs/enlarge.log")
        phases = [(number, run.name) for run in self.study.runs.values() for number in run.plan.numbers]
        for number, run in sorted(phases, key=lambda phase: phase[0]):
            for seed in self.study.seeds:
                for made in self.of_phase(run, seed, number):
                    folder = f"{run}/seed{seed}/phase{number}/"
                    log = f"generate_{made.makes[0]}" if made.kind == "generate" else made.kind
                    show(folder, made, f"{folder}logs/{log}.log")
        for run in self.study.runs:
            for made in self.of_run(run):
                show(f"{run}/", made, f"{run}/logs/{made.kind}.log")
        for made in self.of_study():
            end = {"compare": "comparison", "study_page": "page"}.get(made.kind, made.kind)
            show("", made, f"data/logs/{self.study.name}_{end}.log")
        return found

    @_once
    def all(self) -> list[Result]:
        """Every result once, each after what it reads."""
        return list({read.of.address: read.of for read in self.shown().values()}.values())


ARRAYS = ("convert", "enlarge", "folds", "generate")
"""Kinds of results that come out the same whenever they are made of the same."""

LOG = "job.log"
"""What a job has logged, in its result's folder."""


def digest_of_text(text: str) -> str:
    """A digest of a text."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _networks(task: Task) -> tuple[str, ...]:
    return tuple(block.network for block in task.blocks)
