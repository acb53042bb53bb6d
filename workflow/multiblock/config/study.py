"""The study that a configuration says: its settings and its runs, each with data and plan."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from multiblock.config import plans
from multiblock.config.keys import Evaluation, Inference, Report, Training, Upscale
from multiblock.config.reading import examined
from multiblock.config.rules import Place, key, related
from multiblock.config.sizing import EqualTo, check_timed, equal_to, sized, spent
from multiblock.data.camera import Anew, Camera
from multiblock.data.dataset import FOLDED, DatasetConfig
from multiblock.data.imageset import SPLITS
from multiblock.errors import Problems, UserError, listed, nearest
from multiblock.inference.measures import measures_in
from multiblock.model.metadata import Provenance
from multiblock.plan import INPUT, Plan, format_span


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

    def anew(self, phase: int) -> Anew | None:
        """How a phase makes the patches that it reads of HR; None where it takes them from a set."""
        data = self.data
        if data.camera is None or "lr" in data.train or self.plan.reads_set(phase).phase != INPUT:
            return None
        return Anew(camera=data.camera, scale=data.scale, enlarged=self.enlarge)

    def provenance(self, phase: int, seed: int) -> Provenance:
        """What is known of the weights of a phase before it is trained, for the file that keeps them."""
        return Provenance(
            enlarge=self.enlarge,
            data=self.data.name + (f" without fold {seed % FOLDED} of {self.data.folds}" if self.data.folds else ""),
            scale=self.data.scale,
            degradation="files" if "lr" in self.data.train else self.data.degradation,
            plan=tuple(format_span(one.first, one.last) for one in self.plan.phases[:phase]),
            phase=phase,
            seed=seed,
            iterations=self.plan.task(phase, seed).iterations,
        )


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything that a configuration says.

    With folds, ``seeds`` has a number for each seed and fold: 12 is fold 2 of seed 1. A network of seed 12 is tested on
    the images of fold 2, trained without them, and draws as seed 12.
    """

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
    precision_reason: str = "configured"

    @property
    def data(self) -> dict[str, DatasetConfig]:
        """The data sets of all runs by name."""
        return {run.data.name: run.data for run in self.runs.values()}

    @cached_property
    def equal_phases(self) -> dict[tuple[str, int], tuple[str, ...]]:
        """For each run and number of a phase the runs whose phase of that number is the same, in their order.

        Every phase needs all phases before it, directly or by others: each of them trained a block that the network
        has by now. So two phases are equal where their runs are equal up to there.
        """
        known: dict[Any, int] = {}  # each way to begin by a number: a sweep has thousands of phases
        beginnings = {}
        for run in self.runs.values():
            beginning = known.setdefault(_hashable((run.data, run.input)), len(known))
            for number in run.plan.numbers:
                beginning = known.setdefault((beginning, _hashable(run.plan.task(number, 0))), len(known))
                beginnings[run.name, number] = beginning
        equal: dict[int, list[str]] = {}
        for (run_name, _), beginning in beginnings.items():
            equal.setdefault(beginning, []).append(run_name)
        return {one: tuple(equal[beginning]) for one, beginning in beginnings.items()}

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
        sides = (
            stage.patch * (run.plan.scale if phase.first == 1 else 1)
            for run in self.runs.values()
            if run.data.name == data
            for phase in run.plan.phases
            for stage in phase.stages
            if stage.iterations
        )
        return max(sides, default=1)


def _hashable(value: Any) -> Any:
    """What is equal for equal values, and can be a key of a mapping."""
    if is_dataclass(value):
        return type(value), *(_hashable(getattr(value, field.name)) for field in fields(value) if field.compare)
    if isinstance(value, Mapping):
        return frozenset((name, _hashable(item)) for name, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    return value


_OF_JOBS = ("device", "precision", "layout", "compile", "deterministic", "threads", "convert_threads")


def load(config: Mapping[str, Any]) -> Study:
    """Check a configuration and derive the study from it.

    Raises:
        UserError: all that is wrong, each as a line naming the key. What cannot be checked before something else is
            mended comes after that.
    """
    full, wrong = examined(config)
    problems = Problems()
    problems.found += [message for _, message in wrong]

    def is_right(*places: Place) -> bool:
        return not any(related(place, other) for place in places for other, _ in wrong)

    for name in full["blocks"] if isinstance(full["blocks"], dict) else ():
        if is_right(("blocks", name)):
            with problems.noted():
                plans.block(name, full)
    runs: dict[str, Run] = {}
    for name, run in full["runs"].items() if isinstance(full["runs"], dict) else ():
        own, data, plan = isinstance(run, dict) and "data" in run, None, None
        place = ("runs", name, "data") if own else ("data",)
        if is_right(place, ("data_root",), ("shrink",)):
            with problems.noted():
                data = _dataset(run["data"] if own else full["data"], key(*place), full)
        if is_right(*_read_by_the_plan(name, run)):
            with problems.noted():
                plan = plans.plan(run, f"runs.{name}", data.scale if data else None, full)
        if data and plan and is_right(("runs", name)):
            with problems.noted():
                runs[name] = _run(name, full["runs"], data, plan)
    with problems.noted():
        _check_data(runs)
    runs = _sized(runs, full["compile"], problems)
    if is_right(("report",), ("runs",), ("study",)):
        _check_report(full, problems)
    if is_right(("results",)):
        with problems.noted():
            _check_results(full["results"])
    if is_right(("results",), ("data_root",), ("upscale",)):
        with problems.noted():
            _check_apart(full["upscale"], "upscale", ["images"], full)
    problems.end()
    seeds, folds = full["seeds"][: full["shrink"].get("seeds")], next(iter(runs.values())).data.folds
    measures, pictures = full["evaluation"]["measures"], full["upscale"].get("images")
    return Study(
        name=full["study"],
        results=str(Path(full["results"])),
        seeds=tuple(FOLDED * seed + fold for seed in seeds for fold in range(1, folds + 1)) if folds else tuple(seeds),
        runs=runs,
        training=Training(**full["training"]),
        inference=Inference(**full["inference"]),
        # In the order of the registry: the same measures in another order are the same.
        evaluation=Evaluation(**{**full["evaluation"], "measures": tuple(measures_in(measures))}),
        report=Report(**full["report"]),
        upscale=Upscale(**{**full["upscale"], "images": pictures and Path(full["data_root"]) / pictures}),
        **{name: full[name] for name in _OF_JOBS},
    )


def _read_by_the_plan(name: str, run: Any) -> list[Place]:
    """The places of a config that say what a run's plan is."""
    found: list[Place] = [("runs", name, key) for key in ("chain", "plan", "gpus", "equal_to")]
    found += [("shrink",), ("training", "vgg16")]
    with suppress(TypeError, KeyError):  # then a place of the run itself is wrong
        found += [("blocks", block) for block in run["chain"]]
        found += [("recipes", phase["stages"]) for phase in run["plan"] if isinstance(phase["stages"], str)]
    return found


def _run(name: str, runs: Mapping[str, Any], data: DatasetConfig, plan: Plan) -> Run:
    enlarged = plan.scale == 1 and data.scale > 1
    plans.check_start_files(plan, data.scale if enlarged else 1, name)
    return Run(
        name=name,
        chain=tuple(runs[name]["chain"]),
        data=data,
        plan=plan,
        input="LR_enlarged" if enlarged else "LR",
        equal_to=equal_to(name, runs),
    )


def _dataset(data: Mapping[str, Any], key: str, full: Mapping[str, Any]) -> DatasetConfig:
    """The data set that the config has at ``key``, with its folders under ``data_root``.

    Raises:
        UserError: keys that do not go together.
    """
    root, shrink, problems = Path(full["data_root"]), full["shrink"], Problems()
    problems.found += _not_together(data, key)
    sources: dict[str, Any] = dict.fromkeys(SPLITS)
    for split in [split for split in SPLITS if split in data]:
        with problems.noted():
            sources[split] = _source(data[split], f"{key}.{split}", root)
            _check_apart(data[split], f"{key}.{split}", ("hr", "lr"), full)
    problems.end()
    return DatasetConfig(
        name=data["name"],
        scale=data["scale"],
        degradation=data["degradation"],
        max_side=min(data["max_side"], shrink.get("side", data["max_side"])),
        max_images=shrink.get("images"),
        skip=tuple(data.get("skip", ())),
        folds=data.get("folds"),
        family=data.get("family"),
        camera=_camera(data),
        **sources,
    )


def _camera(data: Mapping[str, Any]) -> Camera | None:
    """The ranges of the degradation ``camera``; None with others."""
    if data["degradation"] != "camera":
        return None
    # As floats, so that what is equal has one address.
    given: dict[str, Any] = {
        name: tuple(map(float, one)) if isinstance(one, list) else float(one)
        for name, one in data.get("camera", {}).items()
    }
    return Camera(**given)


def _not_together(data: Mapping[str, Any], key: str) -> Iterator[str]:
    """What is wrong with keys of splits that say something of one another."""
    own = {split: data[split] for split in SPLITS if isinstance(data.get(split), Mapping)}
    yield from _folds_or_test(data, key)
    yield from _wrong_ranges(data, key)
    for split, source in own.items():
        if split != "train" and "without" in source:
            yield f"{key}.{split}.without: found {listed(source['without'])}; allowed is it in {key}.train"
    for split in data["train"].get("without", ()):
        if split not in own:
            which = f"holds out {data[split]} of the training images already" if split in data else "is not there"
            yield f"{key}.train.without: found {split}, which {which}; allowed are splits with images of their own"
    made = [split for split, source in own.items() if source.keys() & {"hr", "photographs"} and "lr" not in source]
    if made and data["scale"] == 1:
        yield f"{key}.scale: found 1, but {key}.{made[0]} has no lr; allowed are 2, 3, 4 to make LR from HR"


def _wrong_ranges(data: Mapping[str, Any], key: str) -> Iterator[str]:
    """What is wrong with the ranges of the degradation ``camera``."""
    if "camera" in data and data["degradation"] != "camera":
        yield f"{key}.camera: found with degradation {data['degradation']}; allowed is it with degradation: camera"
    for name, value in data.get("camera", {}).items():
        if isinstance(value, list) and value[0] > value[1]:
            yield f"{key}.camera.{name}: found {value}; allowed is the smaller number first"


def _folds_or_test(data: Mapping[str, Any], key: str) -> Iterator[str]:
    """What is wrong with the keys that say what is tested."""
    if "folds" not in data:
        if "test" not in data:
            yield f"{key}: key 'test' is missing; or 'folds', by which each training image is tested"
        if "family" in data:
            yield f"{key}.family: found without folds, of which alone it says something; allowed is it with folds"
    elif "test" in data:
        yield (
            f"{key}.folds: found together with {key}.test, and folds test the training images; allowed is one of the "
            "two: name test images that folds are to test in train too, and take a key back by `test: null`"
        )
    elif "crops" in data["train"]:
        yield f"{key}.train.crops: found together with folds, which test whole images; allowed is it without folds"


def _source(source: Any, key: str, root: Path) -> Any:
    """Where the images of a split come from: checked keys, or how many training images are held out."""
    if not isinstance(source, Mapping):
        if source >= 1 and source != int(source):
            raise UserError(f"{key}: found {source}; allowed is a share below 1 or a whole number")
        return source
    kinds = [k for k in ("hr", "lr", "photographs") if k in source]
    if kinds not in (["hr"], ["hr", "lr"], ["photographs"]):
        raise UserError(f"{key}: found {listed(kinds) or 'nothing'}; allowed are hr, hr with lr, or photographs")
    if "lr" in source and "crops" in source:
        raise UserError(f"{key}.crops: found together with lr; windows are cut from hr or photographs alone")
    if "only" in source and "photographs" in source:
        raise UserError(
            f"{key}.only: found together with photographs, which names images itself; allowed is it with hr"
        )
    return {**source, **{name: _under(root, source[name]) for name in ("hr", "lr") if name in source}}


def _check_apart(given: Any, key: str, names: Iterable[str], full: Mapping[str, Any]) -> None:
    """See that no images are taken from the folder of results, where files are made, replaced and removed.

    Args:
        given: keys, of which those called ``names`` are folders under ``data_root``.

    Raises:
        UserError: some are.
    """
    if not (isinstance(given, Mapping) and isinstance(full["results"], str)):
        return
    results, root = Path(full["results"]).resolve(), Path(full["data_root"]).resolve()
    ours = {"store", "data", *(full["runs"] if isinstance(full["runs"], Mapping) else ())}
    for name in names:
        folders = given.get(name) or []
        for folder in [folders] if isinstance(folders, str) else folders:
            place = (root / folder).resolve()
            inside = place.relative_to(results).parts if place.is_relative_to(results) else ()
            if inside and (inside[0] in ours or not root.is_relative_to(results)):
                raise UserError(
                    f"{key}.{name}: found {folder}, which is in {full['results']}, where results are made and removed; "
                    "allowed is a folder elsewhere, to which the images can be copied"
                )


def _under(root: Path, folder: str | list[str]) -> str | list[str]:
    return [str(root / one) for one in folder] if isinstance(folder, list) else str(root / folder)


def _sized(runs: Mapping[str, Run], compile: str, problems: Problems) -> dict[str, Run]:
    """The runs, those that are sized by another one with the iterations that follow from that.

    Where that is by seconds, they are those that are written: what is measured is laid over the study later.
    """
    found = dict(runs)
    for name, run in runs.items():
        if run.equal_to and (other := runs.get(run.equal_to.run)):
            with problems.noted():
                if other.data != run.data:
                    raise UserError(
                        f"runs.{name}.equal_to: found '{other.name}', which trains on {other.data.name}, this run on "
                        f"{run.data.name}; allowed are runs on the same data"
                    )
                unit = run.equal_to.unit
                if unit == "seconds" and run.anew(1):
                    raise UserError(
                        f"runs.{name}.equal_to: found in: seconds, which do not count what degradation camera takes to "
                        "draw patches; allowed with it are in: block_pixels and in: flops"
                    )
                if unit == "seconds":
                    for one in (other, run):
                        check_timed(one.plan, compile, one.name)
                    continue
                found[name] = replace(run, plan=sized(run.plan, spent(other.plan, unit, other.name), unit, name))
    return found


def _check_data(runs: Mapping[str, Run]) -> None:
    named: dict[str, DatasetConfig] = {}
    for run in runs.values():
        if named.setdefault(run.data.name, run.data) != run.data:
            raise UserError(
                f"runs.{run.name}.data.name: '{run.data.name}' is the name of a different data set already; "
                "give each data set its own name"
            )
        if run.data.folds != (folds := next(iter(named.values())).folds):
            raise UserError(
                f"runs.{run.name}.data.folds: found {run.data.folds or 'none'}, and {folds or 'none'} in the run "
                "before; allowed is one number for all runs of a study, as they share its seeds"
            )


def _check_report(full: Mapping[str, Any], problems: Problems) -> None:
    """Check what the report's keys say of runs and files."""
    report, runs = full["report"], full["runs"]
    if (figures := f"{full['study']}_losses") in runs:
        problems.found.append(f"runs.{figures}: the study's figures are called so already; allowed is any other name")
    named = {f"losses.{figure}": chosen for figure, chosen in report.get("losses", {}).items()}
    if "baseline" in report:
        named["baseline"] = [report["baseline"]]
    for where, chosen in named.items():
        for run in chosen:
            if run not in runs:
                problems.found.append(
                    f"report.{where}: unknown run '{run}'{nearest(run, runs)}; known are {listed(runs)}"
                )
    if "reference_losses" in report:
        with problems.noted():
            plans.needs_file(report["reference_losses"], "report.reference_losses")


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
