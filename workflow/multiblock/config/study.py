"""Read a configuration and turn it into the study's plans.

What the schema cannot say (names that refer to one another, plans that fit together) is checked here, before
anything runs.
"""

import copy
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from multiblock.config import starts
from multiblock.config.schema import checked, plain_values, shown
from multiblock.data.dataset import DatasetConfig
from multiblock.data.imageset import SPLITS
from multiblock.errors import UserError, listed, nearest
from multiblock.model.metadata import Provenance
from multiblock.networks import registry, zoo
from multiblock.plan import STARTS, Block, Phase, Plan, Stage, format_span, is_file, parse_span, split_file

PERCEPTUAL = {"content", "style"}
"""The terms of a loss that look through VGG-16."""

VGG16_FILE = "vgg16-397923af.pth"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One chain with one plan on one data set; ``input`` names the form of LR that the chain starts from."""

    name: str
    data: DatasetConfig
    plan: Plan
    input: str

    @property
    def enlarge(self) -> int:
        """How many times LR is enlarged before it enters the chain."""
        return self.data.scale if self.input == "LR_enlarged" else 1

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
    runs: dict[str, Run]
    training: dict[str, Any]
    inference: dict[str, Any]
    evaluation: dict[str, Any]
    report: dict[str, Any]

    @property
    def data(self) -> dict[str, DatasetConfig]:
        """The data sets of all runs by name."""
        return {run.data.name: run.data for run in self.runs.values()}

    @property
    def baseline(self) -> str:
        """The run that times are put in relation to."""
        return self.report.get("baseline", next(iter(self.runs)))

    @property
    def loss_figures(self) -> dict[str, list[str]]:
        """The figures of training losses: name to runs."""
        return self.report.get("losses") or {"all": list(self.runs)}

    def border(self, run: Run) -> int:
        """Pixels cut at each side before PSNR-Y and SSIM-Y of ``run``."""
        border = self.evaluation["border"]
        return run.data.scale if border == "scale" else border

    def largest_patch(self, data: str) -> int:
        """Side in pixels, at HR size, of the largest patch that any run cuts from the data set ``data``."""
        return max(
            stage.patch * (run.plan.scale if phase.first == 1 else 1)
            for run in self.runs.values()
            if run.data.name == data
            for phase in run.plan.phases
            for stage in phase.stages
        )


def read(files: Iterable[Path]) -> dict[str, Any]:
    """Read YAML files and merge them, later ones over earlier ones.

    Raises:
        UserError: a file cannot be read, or is no YAML mapping.
    """
    merged: dict[str, Any] = {}
    for file in files:
        try:
            content = yaml.safe_load(file.read_text())
        except Exception as error:  # the reader lets more than its own errors through: a 13th month is a ValueError
            raise UserError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}") from None
        if not isinstance(content, dict | None):
            raise UserError(f"{file}: found {type(content).__name__}; allowed is a mapping of keys")
        try:
            _merge(merged, plain_values(content or {}))
        except UserError as error:
            raise UserError(f"{file}: {error}") from None
    return merged


def _merge(base: dict[str, Any], extra: Mapping[str, Any]) -> None:
    for key, value in extra.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = copy.deepcopy(value)


def load(config: Mapping[str, Any]) -> Study:
    """Check a configuration and derive the study from it.

    Raises:
        UserError: the first thing that is wrong, as one line naming the key.
    """
    full = checked(config)
    shrink = full["shrink"]
    for name in full["blocks"]:
        _block(name, full)
    runs = {name: _run(name, run, full) for name, run in full["runs"].items()}
    _check_report(full["report"], runs)
    _check_results(full["results"])
    if (figures := f"{full['study']}_losses") in runs:
        raise UserError(f"runs.{figures}: the study's figures are called so already; allowed is any other name")
    named: dict[str, DatasetConfig] = {}
    for run in runs.values():
        if named.setdefault(run.data.name, run.data) != run.data:
            raise UserError(
                f"runs.{run.name}.data.name: '{run.data.name}' is the name of a different data set already; "
                "give each data set its own name"
            )
    return Study(
        name=full["study"],
        results=str(Path(full["results"])),
        seeds=tuple(full["seeds"][: shrink.get("seeds")]),
        runs=runs,
        **{key: full[key] for key in ("device", "precision", "layout", "compile", "deterministic", "threads")},
        **{key: full[key] for key in ("training", "inference", "evaluation", "report")},
    )


def _check_results(folder: str) -> None:
    try:
        Path(folder).stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UserError(f"results: {folder}: {error.strerror}; a folder that can be made is needed") from None


def _check_report(report: Mapping[str, Any], runs: Mapping[str, Run]) -> None:
    named = {f"losses.{figure}": chosen for figure, chosen in report.get("losses", {}).items()}
    if "baseline" in report:
        named["baseline"] = [report["baseline"]]
    for key, chosen in named.items():
        for run in chosen:
            if run not in runs:
                raise UserError(f"report.{key}: unknown run '{run}'{nearest(run, runs)}; known are {listed(runs)}")
    if "reference_losses" in report:
        _needs_file(report["reference_losses"], "report.reference_losses")


def _block(name: str, full: Mapping[str, Any], scale: int = 1) -> Block:
    """The block that the config calls ``name``; ``scale`` is what it enlarges by if the config does not say."""
    key = f"blocks.{name}"
    options = {option: value for option, value in full["blocks"][name].items() if option != "network"}
    built = zoo.block(full["blocks"][name]["network"], options, key, scale)
    for option, value in built.options.items():
        if value in built.files:
            _needs_file(value, f"{key}.{option}", registry.explanations(built.network).get(option, ""))
    return built


def _needs_file(file: str, key: str, wanted: str = "") -> None:
    if not os.path.isfile(file):  # Path.is_file raises where a name is too long
        raise UserError(f"{key}: {file}: no such file{'; wanted is: ' if wanted else ''}{wanted}")
    if "{" in file or "}" in file:
        raise UserError(f"{key}: found {file}; allowed are names without braces, which Snakemake reads as wildcards")


def _run(name: str, run: Mapping[str, Any], full: Mapping[str, Any]) -> Run:
    key, blocks = f"runs.{name}", full["blocks"]
    for block in run["chain"]:
        if block not in blocks:
            raise UserError(f"{key}.chain: unknown block '{block}'{nearest(block, blocks)}; known are {listed(blocks)}")
    data = _data(run.get("data", full["data"]), f"{key}.data" if "data" in run else "data", full)
    # The first block enlarges as the data asks, if it can.
    scales = [data.scale] + [1] * len(run["chain"])
    chain = tuple(_block(block, full, scale) for block, scale in zip(run["chain"], scales, strict=False))
    phases = tuple(_phase(phase, f"{key}.plan.{i}", full) for i, phase in enumerate(run["plan"]))
    try:
        plan = Plan(blocks=chain, phases=phases)
    except UserError as error:
        raise UserError(f"{key}.{error}") from None
    if plan.scale not in (1, data.scale):
        raise UserError(
            f"{key}.chain: block 1 enlarges x{plan.scale}, but the data's scale is {data.scale}; "
            f"allowed are a block that keeps the size or enlarges x{data.scale}"
        )
    enlarged = plan.scale == 1 and data.scale > 1
    starts.check(plan, data.scale if enlarged else 1, f"{key}.plan")
    return Run(name=name, data=data, plan=plan, input="LR_enlarged" if enlarged else "LR")


def _phase(phase: Mapping[str, Any], key: str, full: Mapping[str, Any]) -> Phase:
    first, last = parse_span(phase["span"], f"{key}.span")
    start = phase["start"]
    if is_file(start):
        _needs_file(split_file(start)[0], f"{key}.start")
    elif start not in STARTS:
        raise UserError(
            f"{key}.start: found {start!r}{nearest(start, STARTS)}; allowed are {listed(STARTS)}, "
            "a file that ends in .safetensors, or its block k as FILE.safetensors#k"
        )
    stages, place = phase["stages"], f"{key}.stages"
    if isinstance(stages, str):
        recipes = full["recipes"]
        if stages not in recipes:
            hint = nearest(stages, recipes)
            raise UserError(f"{place}: unknown recipe '{stages}'{hint}; known are {listed(recipes)}")
        stages, place = recipes[stages], f"recipes.{stages}"
    return Phase(
        first=first,
        last=last,
        start=start,
        stages=tuple(_stage(stage, f"{place}.{i}", full) for i, stage in enumerate(stages)),
    )


def _stage(stage: Mapping[str, Any], key: str, full: Mapping[str, Any]) -> Stage:
    """A stage, made smaller where the study is shrunk."""
    shrink, loss, vgg16 = full["shrink"], stage["loss"], full["training"].get("vgg16")
    loss = {loss: 1.0} if isinstance(loss, str) else {term: float(weight) for term, weight in loss.items()}
    perceptual = sorted(PERCEPTUAL & loss.keys())
    if perceptual and vgg16 is None:
        raise UserError(
            f"{key}.loss: {listed(perceptual)} needs VGG-16; set training.vgg16 to the path of {VGG16_FILE}, "
            "as torchvision publishes it"
        )
    if perceptual:
        _needs_file(vgg16, "training.vgg16")

    def fewer(iterations: int) -> int:
        return min(math.ceil(iterations * shrink["iterations"]), shrink.get("max_iterations", iterations))

    smaller = {
        "lr": float(stage["lr"]),
        "iterations": fewer(stage["iterations"]),
        "batch": min(stage["batch"], shrink.get("batch", stage["batch"])),
        "patch": min(stage["patch"], shrink.get("patch", stage["patch"])),
        "loss": loss,
        "schedule": {k: fewer(v) if k == "every" else v for k, v in stage["schedule"].items()},
        "parts": {
            name: {k: fewer(v) if k == "freeze" else v for k, v in part.items()}
            for name, part in stage["parts"].items()
        },
        "vgg16": vgg16 if perceptual else None,
    }
    return Stage(**{**stage, **smaller})


def _under(root: Path, folder: str | Sequence[str]) -> str | list[str]:
    return str(root / folder) if isinstance(folder, str) else [str(root / one) for one in folder]


def _data(data: Mapping[str, Any], key: str, full: Mapping[str, Any]) -> DatasetConfig:
    """Check what the schema cannot say of a data set, and set its folders under ``data_root``."""
    checked_splits: dict[str, Any] = {}
    for split in SPLITS:
        source = data[split]
        if not isinstance(source, Mapping):
            if source >= 1 and source != int(source):
                raise UserError(f"{key}.{split}: found {source}; allowed is a share below 1 or a whole number")
            checked_splits[split] = source
            continue
        kinds = [k for k in ("hr", "lr", "photographs") if k in source]
        if kinds not in (["hr"], ["hr", "lr"], ["photographs"]):
            found = listed(kinds) or "nothing"
            raise UserError(f"{key}.{split}: found {found}; allowed are hr, hr with lr, or photographs")
        if "lr" not in source and data["scale"] == 1:
            raise UserError(
                f"{key}.scale: found 1, but {key}.{split} has no lr; allowed are 2, 3, 4 to make LR from HR"
            )
        if "lr" in source and "crops" in source:
            raise UserError(
                f"{key}.{split}.crops: found together with lr; windows are cut from hr or photographs alone"
            )
        try:
            root = Path(full["data_root"]).expanduser()
        except RuntimeError:
            raise UserError(
                f"data_root: found {shown(full['data_root'])}; after ~, the name of a user is needed"
            ) from None
        folders = {k: _under(root, source[k]) for k in ("hr", "lr") if k in source}
        checked_splits[split] = {**source, **folders}
    shrink = full["shrink"]
    return DatasetConfig(
        name=data["name"],
        scale=data["scale"],
        degradation=data["degradation"],
        max_side=min(data["max_side"], shrink.get("side", data["max_side"])),
        max_images=shrink.get("images"),
        **checked_splits,
    )
