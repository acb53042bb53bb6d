"""All keys of a config, a class a section: what a key allows, its default, and in the lines below it what it does.

From here come the checks and their messages, the defaults, the reference (docs/config.md) and the bounds of the command
line. What losses, optimisers, schedules, degradations, measures and ways to start there are, and what each takes, is
read from their tables.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiblock.config.rules import (
    FLAG,
    Rule,
    allowed,
    either,
    list_of,
    mapping,
    mapping_of,
    names_in,
    needed,
    number,
    of_types,
    optional,
    path,
    setting,
    text,
    whole,
    words,
)
from multiblock.config.sizing import UNITS
from multiblock.data.camera import Camera
from multiblock.data.degradations import DEGRADATIONS
from multiblock.inference.measures import MEASURES, NOT_HERE
from multiblock.training.losses import LOSSES
from multiblock.training.optimisers import OPTIMISERS
from multiblock.training.schedules import SCHEDULES
from multiblock.training.starts import STARTS

NAME = text(r"^[A-Za-z0-9_-]{1,100}$", "1 to 100 of the letters a to z and A to Z, digits, _ and -")
RUN_NAME = text(
    r"^(?!data$|reference$|benchmarks$)[A-Za-z0-9_-]{1,100}$",
    "1 to 100 of the letters a to z and A to Z, digits, _ and -, but not data, reference or benchmarks",
)
AUTO_OR_THREADS = either(words("auto"), whole(1))

_names_keys = dataclass(init=False, repr=False, eq=False)
"""For a class that names keys and is never made; of the other classes a study holds one each."""


def each(table: Mapping[str, Any], between: str = " ") -> Callable[[], str]:
    """What a table says of each of its entries, as what the sentence of a key ends in."""
    return lambda: "; ".join(f"`{name}`{between}{entry.what}" for name, entry in table.items()) + "."


def _options_of_each() -> str:
    return "; ".join(f"`{name}`: {_options(entry.options)}" for name, entry in OPTIMISERS.items()) + "."


def _each_schedule() -> str:
    found = (f"`kind: {name}` {entry.what}: {_options(entry.options)}" for name, entry in SCHEDULES.items())
    return "; ".join(found) + "."


def _options(options: Mapping[str, Rule]) -> str:
    """Options with what each may be, and in brackets what holds if it is left out."""
    found = []
    for name, rule in options.items():
        default = f" ({json.dumps(rule['default'])})" if "default" in rule else ""
        found.append(f"{name}{default}, {allowed(rule)}")
    return "; ".join(found)


# -- Images ----------------------------------------------------------------------------------------------------

PHOTOGRAPHS = ["astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel"]
PHOTOGRAPHS += ["hubble_deep_field", "ihc", "retina", "rocket"]


@_names_keys
class ImagesKeys:
    """Where images come from: `hr` alone (LR is made by `degradation`), `hr` and `lr` (pairs matched by name), or
    `photographs`.
    """

    hr: str | list[str] = optional(of_types(path(), list_of(path(), 1)))
    """Folder of HR images (PNG, JPEG, TIFF, BMP, WebP; HEIC with the extra `heic`), or a list of folders."""
    lr: str = optional(path())
    """Folder of LR images."""
    lr_name: str = setting(
        text(r"^[^{}]*\{name\}[^{}]*$", "a name with {name} in it once, and no other { or }"),
        "{name}",
        idle_without="lr",
    )
    """How an LR file is called, without its ending; `{name}` is the HR file's name without ending."""
    photographs: list[str] = optional(list_of(words(*PHOTOGRAPHS), 1, differ=True))
    """Photographs that ship inside scikit-image."""
    only: list[str] = optional(list_of(text(), 1, differ=True))
    """Take the images of these names alone, each with or without its ending, so that one folder can serve several
    splits."""
    without: list[str] = optional(list_of(words("validation", "test"), 1, differ=True))
    """In `data.train`: leave out the images that these splits take from the same folder. An image that is added to
    the folder is then one to train on."""
    take: int = optional(whole(1))
    """Take so many of the images, evenly spaced, instead of all."""
    min_side: int = setting(whole(1), 1, idle_without="min_side")
    """Leave out images with a side of fewer pixels, instead of ending with an error."""
    crops: int = optional(whole(1, 1000))
    """Take so many square windows of each image, at random places drawn once, instead of the image."""
    crop_side: int = setting(whole(8), 256, idle_without="crops")
    """Side of these windows in pixels."""


@_names_keys
class CameraKeys:
    """What the degradation `camera` draws from, uniformly between the two numbers of each list, the smaller first.
    Each image is blurred, resized, given noise and stored as a JPEG, and by chance all of it once more: the two-order
    form of Real-ESRGAN (Wang et al., 2021) and BSRGAN (Zhang et al., 2021), whose ranges are the defaults. `--patches`
    of `multiblock check` shows what comes out.
    """

    blur: list[float] = setting(list_of(number(0, 10), 2, 2), list(Camera.blur))
    """Standard deviation of the blur in pixels of HR, up to 10: a Gaussian, round or with two axes, or the disc of a
    lens out of focus. As Real-ESRGAN's."""
    resize: list[float] = setting(list_of(number(0.25, 4), 2, 2), list(Camera.resize))
    """Where there is a second order: side of the image in between, as a multiple of LR's, from 0.25 to 4; resized by
    area, bilinear or bicubic. Real-ESRGAN draws 0.15 to 1.5 of HR's side at x4, which is 0.6 to 6 of LR's; a larger
    image than the double takes time, and shrinking averages its noise away."""
    noise: list[float] = setting(list_of(number(0, 100), 2, 2), list(Camera.noise))
    """Standard deviation of the noise at mid-grey, up to 100 of 255: the same everywhere, or as photons make it,
    growing with the root of the brightness, or this one on the mosaic of a sensor, from which colours are then
    interpolated. As Real-ESRGAN's; the mosaic is BSRGAN's."""
    jpeg: list[int] = setting(list_of(whole(1, 100), 2, 2), [int(quality) for quality in Camera.jpeg])
    """Quality of the JPEG, from 1; 100 is no JPEG. As both studies have it."""
    second: float = setting(number(0, 1), Camera.second)
    """Probability of the second order, as of a picture that was sent on. Its blur and noise are drawn from the lower
    half of their ranges. Real-ESRGAN has it always, ResShift (Yue et al., 2023) in half of the images."""


@_names_keys
class DataKeys:
    """A data set."""

    name: str = setting(NAME, "images")
    """Name of the data set; its arrays are in `results/data/<name>/`."""
    scale: int = setting(words(1, 2, 3, 4), 1)
    """How many times LR is smaller than HR; 1 for pairs of equal size."""
    degradation: str = setting(names_in(DEGRADATIONS), "bicubic", each(DEGRADATIONS))
    """How LR is made where only HR is given."""
    camera: CameraKeys = optional(CameraKeys)
    """Ranges of the degradation `camera`, where they are not to be the defaults."""
    train: ImagesKeys = needed(ImagesKeys)
    """Images to train on."""
    validation: float | ImagesKeys = setting(of_types(number(above=0), ImagesKeys), 0.1)
    """Images to look at while training. A number below 1 holds out that share of the training images, a whole
    number that many; or images of their own."""
    test: ImagesKeys = optional(ImagesKeys)
    """Images to measure on; training never sees them. Needed where there are no `folds`."""
    folds: int = optional(whole(2, 9))
    """In place of `test`: deal the training images to so many folds, and train each run once for each seed and fold.
    Each image is tested once a seed, whole, by the network that was trained without its fold. Near copies are in one
    fold; `results/data/<name>/folds.csv` says which. Fold 2 of seed 1 is seed 12."""
    family: str = optional(text(r"^[^{}]*\{name\}[^{}]*$", "a name with {name} in it once, and no other { or }"))
    """With `folds`: how images that belong together are called, as `{name}_*` where `a_1` and `a_2` are cut from one
    photograph: `*` is any text, and those of one `{name}` are in one fold."""
    skip: list[str] = optional(list_of(text(), 1, differ=True))
    """Names of files that are left out of all folders of the data set, with or without their ending, as
    `IMG_0007.HEIC` where `IMG_0007.JPG` is the same photograph, or `IMG_0008` where a file cannot be read."""
    max_side: int = setting(whole(32), 1500)
    """Validation and test images are cut to this many pixels a side (top left), as in the study."""


# -- Blocks and plans ------------------------------------------------------------------------------------------


@_names_keys
class BlockKeys:
    """A network and options of its own beside the key, or a file of weights."""

    open = True

    network: str = optional(path())
    """Name of a network (`multiblock models` lists them) or path of a Python file."""
    file: str = optional(path())
    """In place of `network`: a file of weights that others published, or that a phase or `multiblock import` wrote.
    Network and options are those of the file, and the block starts from its weights whatever `start` of its phase
    says. FILE#2 is block 2 of a file of several. Where weights are for several scales, the data's is taken, or that
    of the key `scale`."""


def _loss(_: Mapping[str, Any]) -> Rule:
    alone = words(*(name for name, entry in LOSSES.items() if entry.alone))
    return either(alone, mapping({name: number(0) for name in LOSSES}, least=1))


def _options_of_the_optimiser(stage: Mapping[str, Any]) -> Rule:
    known = OPTIMISERS.get(str(stage.get("optimiser")))
    return mapping(known.options) if known else {"type": "object"}


def _options_of_the_schedule(stage: Mapping[str, Any]) -> Rule:
    schedule = stage.get("schedule")
    if not schedule or not isinstance(schedule, dict):
        return {"type": "object"}
    if known := SCHEDULES.get(str(schedule.get("kind"))):
        needed = [option for option, rule in known.options.items() if "default" not in rule]
        return mapping({"kind": text(), **known.options}, needed)
    return {"type": "object", "properties": {"kind": names_in(SCHEDULES)}, "required": ["kind"]}


@_names_keys
class StageKeys:
    """A stretch of a phase; each stage begins with a new optimiser."""

    iterations: int = needed(whole(0))
    """How many batches; 0 takes the weights as they are."""
    optimiser: str = setting(names_in(OPTIMISERS), "adam", each(OPTIMISERS, ": "))
    """Name of the optimiser."""
    lr: float = setting(number(above=0), 1e-4)
    """Learning rate. The study uses 1 for adadelta, whose losses jump then; clip its gradients."""
    batch: int = setting(whole(1), 16)
    """Patches in a batch."""
    patch: int = setting(whole(8), 48)
    """Side of an input patch in pixels."""
    augment: str = setting(words("all", "flips", "none"), "all")
    """Turn and mirror patches at random in all eight ways, by `flips` alone, or not at all."""
    loss: str | dict[str, float] = setting(_loss, "l1", each(LOSSES))
    """A term, or a mapping of terms to weights."""
    clamp: str | bool = setting(either(words("all", "last", "none"), FLAG), "all")
    """Which blocks of the span have their output cut to [0, 1] (N_k+): `all`, the `last` one or `none` (N_k).
    `true` stands for `all`, `false` for `none`."""
    options: dict[str, Any] = setting(_options_of_the_optimiser, {}, _options_of_each)
    """Further arguments of the optimiser as PyTorch names them; in brackets what holds if one is left out, else
    PyTorch's default does."""
    schedule: dict[str, Any] = setting(_options_of_the_schedule, {}, _each_schedule)
    """How the learning rate changes within the stage; in brackets what holds if an option is left out."""
    warmup: int = optional(whole(0))
    """The learning rate rises in a line over the stage's first so many iterations: what the schedule makes of it is
    multiplied by (i + 1) / `warmup` in iteration i, counted from 0. Left out, it does not."""
    clip: float = optional(number(above=0))
    """Largest norm of the gradient of all weights together; a longer one is scaled down to it. history.csv has the
    norm before. Left out, nothing is scaled."""
    ema: float = optional(number(above=0, below=1))
    """Decay of the exponential moving average of the weights, such as 0.999. Training goes on with the weights
    themselves; those that are validated and kept are their average. It lives on through the following stages of the
    phase that have an `ema` too; a stage without ends it. Left out, the weights are validated and kept."""
    intermediate: float | list[float] = optional(either(number(0), list_of(number(0))))
    """Weights of further terms in a joint phase: the stage's loss of what each block before the last makes, against
    the same target. One number for all of them, or a list with one for each. Left out, only what the last block
    makes counts."""
    recompute: str = optional(words("blocks"))
    """`blocks` keeps nothing but the pictures between the blocks of the span for the backward pass, and computes each
    block again there: memory of about one block, a third more time, the same weights to the last bit. What is trained
    already is not trained again for it. It needs `compile: never`. Networks that change their buffers as they run,
    such as batch norms, are refused. Left out, everything is kept."""
    accumulate: int | str = optional(either(whole(2), words("auto")))
    """Computes the gradient of each batch in so many parts, one after another, and takes one step with their sum: the
    gradient of the whole batch, but for rounding, in the memory of a part. `auto` takes as few as the free memory
    allows when the stage begins, says how many, and keeps to them. It needs `compile: never`. Networks with batch norms
    are refused. Left out, the batch is computed at once."""
    parts: dict[str, Any] = setting(mapping_of(mapping({"lr": number(above=0), "freeze": whole(1)}, least=1)), {})
    """Parts of the blocks by name (`encoder`), each with an `lr` of its own, or frozen for the stage's first
    `freeze` iterations, or both."""


@_names_keys
class PhaseKeys:
    """Trains one span of the chain."""

    span: int | str = needed(of_types({"type": "integer"}, text()))
    """One block (`2`) or several (`1-3`), counted from 1."""
    start: str = setting(path(), "orthogonal", each(STARTS, ": "))
    """How a block starts that no earlier phase has trained; a block that was trained before always goes on from
    there. Allowed is a file of weights that a phase or `multiblock import` wrote or that others published
    (FILE.safetensors: block k takes the file's block k; FILE.safetensors#1 takes its block 1), or one of these
    ways."""
    gpus: int = optional(whole(1, 64))
    """GPUs that train this phase together, in place of the run's `gpus`."""
    stages: str | list[StageKeys] = needed(of_types(text(), list_of(StageKeys, 1)))
    """Name of a recipe, or a list of stages."""


@_names_keys
class RunKeys:
    """One chain of blocks with one plan on one data set."""

    chain: list[str] = needed(list_of(text(), 1, 100))
    """Names of blocks, in order. Only the first may enlarge; it does so by the data's scale, unless it has a
    `scale` of its own."""
    plan: list[PhaseKeys] = needed(list_of(PhaseKeys, 1, 100))
    """The phases, in order."""
    data: DataKeys = optional(DataKeys)
    """Images of this run alone, instead of the study's `data`."""
    equal_to: str | dict[str, str] = optional(of_types(text(), mapping({"run": text(), "in": words(*UNITS)}, ["run"])))
    """A run of the study, on the same data and with iterations of its own, that this one is to equal in training
    compute. All iterations written here are then scaled by one factor, so that only their proportions count: the
    sums are equal to half an iteration of one stage. What a stage counts in iterations beside that (`every`,
    `freeze`, `warmup`) is scaled along. `in: block_pixels`, which the name of the run alone means, is iterations x
    batch x output pixels x blocks trained; `in: flops` is counted floating-point operations, forward and backward,
    where blocks differ in size; `in: seconds` is time on this machine: iterations, looks at the validation images, the
    making of LR_k and the starts of processes, by steps that are measured before the first training and kept with the
    results. It needs `compile: never` and one GPU a phase. A study that `shrink` makes smaller stays equal: the run
    that is named is shrunk, then this one is sized by it."""
    gpus: int = setting(whole(1, 64), 1, idle_without="gpus")
    """GPUs that train each phase of this run together, a process each: every batch is shared among them, so that
    `batch` means the same however many there are. It needs `--resources gpu=N`, with N at least as large; where a
    job is given fewer, it takes those. Without a GPU the processes share the CPU's threads. Networks with batch
    norms or dropout are refused. Weights differ as with another number of threads; what is trained already is not
    trained again."""


# -- What the workflow does with them --------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Training:
    """How training is watched; none of this changes the weights, save `keep`."""

    keep: str = setting(words("last", "best"), "last")
    """Weights that a phase ends with: those of its last iteration, or those that did best on the validation images
    among the validated iterations with the last stage's clamp setting. Never the test images."""
    history_every: int = setting(whole(1), 50)
    """Iterations between two rows of history.csv."""
    validate_every: int = setting(whole(1), 200)
    """Iterations between two looks at the validation images; the last iteration is always looked at."""
    below_input: str = setting(words("stop", "go_on"), "stop")
    """What happens after a phase that ends below what no network at all gives on the validation images. `stop` ends
    the run there, as later phases would only go on from it, if it is below by more than 0.1 dB; other runs and seeds
    go on. `go_on` trains them all the same."""
    checkpoint_seconds: float = setting(number(above=0), 60)
    """Seconds between two checkpoints; a kill loses at most the iterations since the last one. It is longer on a
    disk that is so slow that checkpoints would take over 2 % of the time."""
    vgg16: str | None = optional(path())
    """File of VGG-16 as torchvision publishes it (vgg16-397923af.pth). Only the losses `content` and `style` need
    it."""


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How whole images go through a network."""

    cache: str = setting(words("uint8", "float16"), "uint8")
    """Number format of the cached sets LR_k. `float16` keeps values between and beyond 0..255."""
    memory_gib: float = setting(number(0.05), 2.5)
    """Memory for the feature maps of one image; an image that needs more is done in overlapping tiles, which is
    reported. On a GPU half of its free memory counts, if that is more. Images and weights come on top."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How results are measured."""

    border: int | str = setting(either(words("scale"), whole(0, 8)), "scale")
    """Pixels cut at each side before PSNR-Y, SSIM-Y and `measures`; `scale` is the data's scale, as is usual."""
    measures: tuple[str, ...] = setting(list_of(names_in(MEASURES, NOT_HERE), differ=True), [], each(MEASURES))
    """Measures of perceived quality to take beside PSNR and SSIM, on 8 bits; none needs a download."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the report shows."""

    images: int = setting(whole(1), 2)
    """How many test images, in their order by name, get a strip of pictures."""
    zoom: int = setting(whole(8), 64)
    """Side in pixels of the square that the strips show enlarged."""
    baseline: str | None = optional(text())
    """Run that the comparison holds all others against; the first, if none is named."""
    losses: Mapping[str, list[str]] | None = optional(mapping_of(list_of(text(), 1), NAME))
    """Figures of training losses by a name of your choice, each a list of runs; all in one, if there are none."""
    reference_losses: str | None = optional(path())
    """CSV with columns `loss_<run>`, a row an epoch, that these figures show beside the study's own."""
    budget_gflops: float | None = optional(number(above=0))
    """GFLOPs that a network may take for an input of 256 x 256; given, the study ends in a table of parameters,
    GFLOPs, PSNR an image and ranking score."""
    blocks: bool = setting(FLAG, False)
    """Take each network that a phase has trained over several blocks apart: pictures, PSNR and SSIM after each of
    its blocks, before the phase and after it."""
    residuals: bool = setting(FLAG, False)
    """Show where what HR has and the picture lacks changes from pixel to pixel: the first derivative of the
    residual, without a network, before the last phase and after it."""
    tensorboard: bool = setting(FLAG, False)
    """Write the history of each phase for TensorBoard too, a folder each of `<run>/tensorboard/`; needs the extra
    `tensorboard`."""


@dataclass(frozen=True, kw_only=True)
class Upscale:
    """Pictures that each run's network, as it is at the end, is tried on."""

    images: Path | None = optional(path(pattern=".", allowed="the name of a folder"))
    """Folder of pictures under `data_root`; subfolders count. Results are in `results/<run>/upscaled/`, made by the
    last phase of the first seed."""
    ensemble: bool = setting(FLAG, False, idle_without="images")
    """The mean of what the network makes of a picture in its eight turns and mirrorings; eight times as slow."""
    format: str = setting(words("lossless", "same", "png"), "lossless", idle_without="images")
    """Kind of the files that are made; `lossless` keeps TIFF and makes PNG of all else, `same` keeps the picture's
    own."""


@_names_keys
class ShrinkKeys:
    """Makes any study smaller, to try it out; see studies/short.yaml. What comes out of a shrunk study is not a result
    of the study.
    """

    iterations: float = setting(number(most=1, above=0), 1, idle_without="iterations")
    """Factor on the iterations of each stage (rounded up)."""
    max_iterations: int = optional(whole(1))
    """Most iterations of each stage."""
    batch: int = optional(whole(1))
    """Largest batch."""
    patch: int = optional(whole(8))
    """Largest patch side."""
    images: int = optional(whole(1))
    """Most images in each of train, validation and test."""
    side: int = optional(whole(32))
    """Largest side of a validation or test image; the top left corner is kept."""
    seeds: int = optional(whole(1))
    """Most seeds."""


# -- All of it -------------------------------------------------------------------------------------------------

_DATA = {
    "name": "photographs",
    "scale": 2,
    "train": {"photographs": ["astronaut", "brick", "camera", "gravel", "hubble_deep_field", "ihc", "retina"]},
    "validation": {"photographs": ["rocket"]},
    "test": {"photographs": ["chelsea", "coffee"]},
}
_PATCHES = {"optimiser": "adam", "batch": 8, "patch": 32}
_RECIPES = {
    "single": [
        {"lr": 2e-3, "iterations": 700, **_PATCHES, "clamp": False},
        {"lr": 4e-4, "iterations": 300, **_PATCHES, "loss": "l2"},
    ],
    "joint": [
        {"lr": 1e-3, "iterations": 900, **_PATCHES, "loss": "l2"},
        {"lr": 2e-4, "iterations": 500, **_PATCHES, "loss": "l2"},
    ],
}
_PLAN = [
    {"span": 1, "stages": "single"},
    {"span": 2, "start": "inherit_zeroed", "stages": "single"},
    {"span": 3, "start": "inherit_zeroed", "stages": "single"},
    {"span": "1-3", "stages": "joint"},
]


@_names_keys
class ConfigKeys:
    """Every key of a run's configuration, with its type, bounds and default. Keys that are not listed here are
    errors. In the name of a file or folder, `~` is your own folder.
    """

    study: str = setting(NAME, "default")
    """Name of the study; the table that compares its runs is called `<study>_comparison.csv`."""
    results: str = setting(
        path(pattern=r"^[^{}]+$", allowed="a path of at least one character, without { and }", longest=500), "results"
    )
    """Folder for everything that is made."""
    data_root: str = setting(path(), ".")
    """Folder that relative image folders start from, so that a study moves to another disk by one value."""
    seeds: list[int] = setting(list_of(whole(0), 1, differ=True), [1])
    """Each run is trained once for each seed; a seed fixes weights, patches and their order."""
    device: str = setting(words("auto", "cpu", "cuda"), "auto")
    """Where training runs. `auto` takes the GPU where there is one and the job holds a `gpu` resource."""
    precision: str = setting(words("auto", "float32", "tf32", "bfloat16"), "auto")
    """Number format of the convolutions in training; weights, clamp, loss and what makes the image are always
    float32. `auto` is bfloat16 on GPUs and CPUs that are faster with it, else float32; the first start chooses it for
    a results folder. `tf32` is float32 whose products a GPU rounds to ten bits. Images are always made and measured in
    float32."""
    layout: str = setting(words("auto", "channels_last", "contiguous"), "auto")
    """How feature maps are laid out in memory while training. `auto` is what is faster for the networks of the
    phase, mostly channels_last."""
    compile: str = setting(words("auto", "always", "never"), "auto")
    """Whether a phase's network is compiled before it is trained, which takes half a minute. `auto` compiles where
    stages take long enough to win it back. On a GPU, an iteration is also recorded as one CUDA graph, unless
    `never`."""
    threads: int | str = setting(AUTO_OR_THREADS, "auto")
    """CPU threads of a job that trains or measures. `auto` shares the cores that Snakemake was given among the GPUs
    that it was given, so that there are jobs for all; without a GPU a job takes all cores."""
    convert_threads: int | str = setting(AUTO_OR_THREADS, "auto")
    """CPU threads, and so images at a time, of a job that turns image files into arrays. `auto` takes the cores
    that Snakemake was given, but at most 8: each thread holds a few images in memory. What is made does not depend
    on it."""
    deterministic: bool = setting(FLAG, False)
    """Use only operations that give the same bytes each time on a GPU too (slower there)."""
    data: DataKeys = setting(DataKeys, _DATA)
    """The images of all runs that have no `data` of their own. Changing it converts and trains again."""
    blocks: dict[str, BlockKeys] = setting(
        mapping_of(BlockKeys, NAME, 1), {"small": {"network": "mcan", "channels": 16, "residual_blocks": 2}}
    )
    """Building blocks by a name of your choice. `network` is a network of the zoo or the path of a Python file that
    holds one; all other keys are that network's options (`multiblock models NAME` explains them). Options called
    `..._weights` are files of published weights that a part starts from, or `random`. `file` is a whole network that
    is trained already."""
    recipes: dict[str, list[StageKeys]] = setting(mapping_of(list_of(StageKeys, 1), NAME), _RECIPES)
    """Lists of stages by a name of your choice, for `stages` of a phase."""
    runs: dict[str, RunKeys] = setting(
        mapping_of(RunKeys, RUN_NAME, 1), {"default": {"chain": ["small", "small", "small"], "plan": _PLAN}}
    )
    """The runs of the study by name. A run is one chain of blocks with one plan on one data set. In a file that
    names none, the default run is called after its data set."""
    training: Training = setting(Training, {})
    """See below."""
    inference: Inference = setting(Inference, {})
    """See below."""
    evaluation: Evaluation = setting(Evaluation, {})
    """See below."""
    report: Report = setting(Report, {})
    """See below."""
    upscale: Upscale = setting(Upscale, {})
    """See below."""
    shrink: ShrinkKeys = setting(ShrinkKeys, {})
    """See below."""


SECTIONS: dict[str, type] = {
    "Top level": ConfigKeys,
    "training": Training,
    "inference": Inference,
    "evaluation": Evaluation,
    "report": Report,
    "upscale": Upscale,
    "shrink": ShrinkKeys,
    "data": DataKeys,
    "data.camera": CameraKeys,
    "data.train, data.validation, data.test": ImagesKeys,
    "blocks.NAME": BlockKeys,
    "runs.NAME": RunKeys,
    "runs.NAME.plan": PhaseKeys,
    "recipes.NAME, or stages of a phase": StageKeys,
}
"""The classes of keys by where their keys are in a config."""
