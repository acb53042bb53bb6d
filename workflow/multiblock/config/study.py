"""The study that a configuration says: its settings and its runs, each with data and plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from multiblock.config import plans, start_files
from multiblock.config.datasets import dataset, under_root
from multiblock.config.schema import checked
from multiblock.config.sizing import EqualTo, equal_to, sized, spent
from multiblock.data.dataset import DatasetConfig
from multiblock.errors import UserError, listed, nearest
from multiblock.inference.measures import measures_in
from multiblock.model.metadata import Provenance
from multiblock.plan import Plan, format_span


@dataclass(frozen=True, kw_only=True)
class Run:
    """One chain with one plan on one data set; ``input`` names the form of LR that the chain starts from.

    ``chain`` are the names that the config gives the blocks; ``equal_to`` says what the plan's iterations are sized by.
    """

    name: str
    chain: tuple[str, ...]
    data: DatasetConfig
    plan: Plan
    input: str
    equal_to: EqualTo | None = None

    @property
    def enlarge(self) -> int:
        """How many times LR is enlarged before it enters the chain."""
        return self.data.scale if self.input == "LR_enlarged" else 1

    def beginning(self, phase: int, seed: int = 0) -> tuple[Any, ...]:
        """All that the results of a phase follow from, apart from the settings of the study.

        Every phase needs all phases before it, directly or by others: each of them trained a block that the network
        has by now. So two phases are equal where their runs are equal up to there.
        """
        return self.data, self.input, *(self.plan.task(number, seed) for number in range(1, phase + 1))

    def provenance(self, phase: int, seed: int) -> Provenance:
        """What is known of the weights of a phase before it is trained, for the file that keeps them."""
        return Provenance(
            enlarge=self.enlarge,
            data=self.data.name,
            scale=self.data.scale,
            degradation="files" if "lr" in self.data.train else self.data.degradation,
            plan=tuple(format_span(one.first, one.last) for one in self.plan.phases[:phase]),
            phase=phase,
            seed=seed,
            iterations=self.plan.task(phase, seed).iterations,
        )


@dataclass(frozen=True, kw_only=True)
class Training:
    """How training is watched; see the keys of ``training``."""

    keep: str
    history_every: int
    validate_every: int
    below_input: str
    checkpoint_seconds: float
    vgg16: str | None = None


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How whole images go through a network; see the keys of ``inference``."""

    cache: str
    memory_gib: float


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How results are measured; see the keys of ``evaluation``."""

    border: int | str
    measures: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the report shows; see the keys of ``report``."""

    images: int
    zoom: int
    blocks: bool
    residuals: bool
    tensorboard: bool
    baseline: str | None = None
    losses: Mapping[str, list[str]] | None = None
    reference_losses: str | None = None
    budget_gflops: float | None = None


@dataclass(frozen=True, kw_only=True)
class Upscale:
    """Pictures to try the networks on; see the keys of ``upscale``. ``images`` lies under ``data_root``."""

    images: Path | None
    ensemble: bool
    format: str


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that a configuration says."""

    name: str
    results: str
    seeds: tuple[int, ...]
    device: str
    precision: str
    layout: str
    compile: str
    deterministic: bool
    threads: int | str
    convert_threads: int | str
    runs: dict[str, Run]
    training: Training
    inference: Inference
    evaluation: Evaluation
    report: Report
    upscale: Upscale

    @property
    def data(self) -> dict[str, DatasetConfig]:
        """The data sets of all runs by name."""
        return {run.data.name: run.data for run in self.runs.values()}

    @cached_property
    def equal_phases(self) -> dict[tuple[str, int], tuple[str, ...]]:
        """For each run and number of a phase the runs whose phase of that number is the same, in their order."""
        known = {
            (run.name, number): (number, _hashable(run.beginning(number)))
            for run in self.runs.values()
            for number in run.plan.numbers
        }
        equal: dict[Any, list[str]] = {}  # found by hash: a sweep has thousands of phases
        for (run, _), beginning in known.items():
            equal.setdefault(beginning, []).append(run)
        return {one: tuple(equal[beginning]) for one, beginning in known.items()}

    @property
    def baseline(self) -> str:
        """The run that all others are held against."""
        return self.report.baseline or next(iter(self.runs))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs of runs that are compared: each run with the baseline, then each with the one that it is equal to,
        where the two are no pair yet."""
        pairs = [(name, self.baseline) for name in self.runs if name != self.baseline]
        equal = [(run.name, run.equal_to.run) for run in self.runs.values() if run.equal_to]
        return pairs + [pair for pair in equal if pair not in pairs and pair[::-1] not in pairs]

    @property
    def loss_figures(self) -> Mapping[str, list[str]]:
        """The figures of training losses: name to runs."""
        return self.report.losses or {"all": list(self.runs)}

    def border(self, run: Run) -> int:
        """Pixels cut at each side before PSNR-Y and SSIM-Y of ``run``."""
        border = self.evaluation.border
        return border if isinstance(border, int) else run.data.scale

    def largest_patch(self, data: str) -> int:
        """Side in pixels, at HR size, of the largest patch that any run cuts from the data set ``data``."""
        return max(
            stage.patch * (run.plan.scale if phase.first == 1 else 1)
            for run in self.runs.values()
            if run.data.name == data
            for phase in run.plan.phases
            for stage in phase.stages
        )


def _hashable(value: Any) -> Any:
    """What is equal for equal values, and can be a key of a mapping."""
    if is_dataclass(value):
        return type(value), *(_hashable(getattr(value, field.name)) for field in fields(value))
    if isinstance(value, Mapping):
        return frozenset((name, _hashable(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    return value


def load(config: Mapping[str, Any]) -> Study:
    """Check a configuration and derive the study from it.

    Raises:
        UserError: the first thing that is wrong, as one line naming the key.
    """
    full = checked(config)
    for name in full["blocks"]:
        plans.block(name, full)
    runs = {name: _run(name, full) for name in full["runs"]}
    report = Report(**full["report"])
    _check_names(full["study"], runs)
    runs = _sized(runs)
    _check_report(report, runs)
    _check_results(full["results"])
    return Study(
        name=full["study"],
        results=str(Path(full["results"])),
        seeds=tuple(full["seeds"][: full["shrink"].get("seeds")]),
        runs=runs,
        training=Training(**full["training"]),
        inference=Inference(**full["inference"]),
        evaluation=_evaluation(**full["evaluation"]),
        report=report,
        upscale=_upscale(full["data_root"], **full["upscale"]),
        **{key: full[key] for key in ("device", "precision", "layout", "compile", "deterministic")},
        **{key: full[key] for key in ("threads", "convert_threads")},
    )


def _run(name: str, full: Mapping[str, Any]) -> Run:
    run, place = full["runs"][name], f"runs.{name}"
    own = "data" in run
    data = dataset(run["data"] if own else full["data"], f"{place}.data" if own else "data", full)
    plan = plans.plan(run, place, data.scale, full)
    enlarged = plan.scale == 1 and data.scale > 1
    start_files.check(plan, data.scale if enlarged else 1, name)
    return Run(
        name=name,
        chain=tuple(run["chain"]),
        data=data,
        plan=plan,
        input="LR_enlarged" if enlarged else "LR",
        equal_to=equal_to(name, full["runs"]),
    )


def _sized(runs: dict[str, Run]) -> dict[str, Run]:
    """The runs, those that are sized by another one with the iterations that follow from that."""
    found = {}
    for name, run in runs.items():
        if other := run.equal_to and runs[run.equal_to.run]:
            if other.data != run.data:
                raise UserError(
                    f"runs.{name}.equal_to: found '{other.name}', which trains on {other.data.name}, this run on "
                    f"{run.data.name}; allowed are runs on the same data"
                )
            assert run.equal_to
            unit = run.equal_to.unit
            run = replace(run, plan=sized(run.plan, spent(other.plan, unit, other.name), unit, name))
        found[name] = run
    return found


def _evaluation(border: int | str, measures: Sequence[str]) -> Evaluation:
    # In the order of the registry: the same measures in another order are the same.
    return Evaluation(border=border, measures=tuple(measures_in(measures)))


def _upscale(data_root: str, images: str | None = None, **more: Any) -> Upscale:
    return Upscale(images=None if images is None else under_root(data_root, images), **more)


def _check_names(study: str, runs: Mapping[str, Run]) -> None:
    if (figures := f"{study}_losses") in runs:
        raise UserError(f"runs.{figures}: the study's figures are called so already; allowed is any other name")
    named: dict[str, DatasetConfig] = {}
    for run in runs.values():
        if named.setdefault(run.data.name, run.data) != run.data:
            raise UserError(
                f"runs.{run.name}.data.name: '{run.data.name}' is the name of a different data set already; "
                "give each data set its own name"
            )


def _check_report(report: Report, runs: Mapping[str, Run]) -> None:
    named = {f"losses.{figure}": chosen for figure, chosen in (report.losses or {}).items()}
    if report.baseline is not None:
        named["baseline"] = [report.baseline]
    for key, chosen in named.items():
        for run in chosen:
            if run not in runs:
                raise UserError(f"report.{key}: unknown run '{run}'{nearest(run, runs)}; known are {listed(runs)}")
    if report.reference_losses is not None:
        plans.needs_file(report.reference_losses, "report.reference_losses")


def _check_results(folder: str) -> None:
    if Path(folder).parts[:1] == ("default",):
        raise UserError(
            f"results: found '{folder}': Snakemake would take a folder called default for its own settings the next "
            "time; allowed is any other name"
        )
    try:
        Path(folder).stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UserError(f"results: {folder}: {error.strerror}; a folder that can be made is needed") from None
