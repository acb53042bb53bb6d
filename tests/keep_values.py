"""Tiny conversions, trainings and measurements, whose figures are kept in ``kept/values.json``.

    python tests/keep_values.py [KIND ...]

keeps the values of the kinds of results that are named, or of all: new values where a kind's number in
``multiblock/versions.py`` was raised, and what was not kept before. Values that have moved under the same number are
refused: either the change was not meant to change what is computed, or the number has to be raised. Where it is the
tiny training itself that was changed, its line is taken out of the file first.

Everything is computed in float64, although the package's own arithmetic is float32: then the figures agree to nine
digits and more on every make of processor, while any change of what is computed moves them. For that, ``float()`` of
tensors is ``double()`` while they are made, and new tensors have 64 bits; the code that runs is the package's own.
"""

import csv
import hashlib
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from conftest import icc_profile
from multiblock import config
from multiblock.data.convert import convert, enlarge
from multiblock.data.imageset import SPLITS, write_set
from multiblock.data.resize import DEGRADATIONS
from multiblock.inference.cache import generate
from multiblock.inference.evaluation import evaluate, take_apart
from multiblock.inference.folder import upscale_folder
from multiblock.inference.measures import MEASURES
from multiblock.inference.upscaling import Upscaler
from multiblock.model import chain as chains
from multiblock.model.chain import Chain
from multiblock.model.metadata import Provenance
from multiblock.plan import Block, Stage, Task
from multiblock.runtime.device import choose
from multiblock.training.losses import LOSSES
from multiblock.training.optimisers import OPTIMISERS
from multiblock.training.ranks import ALONE, Ranks
from multiblock.training.schedules import SCHEDULES
from multiblock.training.starts import STARTS
from multiblock.training.trainer import Settings, train
from multiblock.versions import VERSIONS

KEPT = Path(__file__).parent / "kept" / "values.json"
NETWORK = str(Path(__file__).parent / "kept" / "kept_block.py")
CPU = torch.device("cpu")

Values = list[str | float]
"""Of one training, conversion or measurement: texts and whole numbers agree exactly, others to nine digits."""


@contextmanager
def float64() -> Iterator[None]:
    """Tensors have 64 bits where the package asks for 32."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        del torch.Tensor.float  # PyTorch's own is inherited
        torch.set_default_dtype(torch.float32)


# What everything is made of


def pixels(height: int, width: int, seed: int) -> np.ndarray:
    """A picture with slopes, edges, and some black and white, (H, W, 3), uint8; made of whole numbers alone."""
    y, x, channel = np.ogrid[:height, :width, :3]
    slopes = (x * (5 + seed) + y * (3 + channel) + x * y * (1 + seed % 3) // 8 + 40 * channel) % 301
    edges = 90 * ((x // 7 + y // 5 + seed) % 2)
    return (slopes + edges - 60).clip(0, 255).astype(np.uint8)


def blurred(image: np.ndarray) -> np.ndarray:
    """Each pixel is the mean of itself and two neighbours, rounded down."""
    return ((image.astype(int) + np.roll(image, 1, 0) + np.roll(image, 1, 1)) // 3).astype(np.uint8)


def sets(folder: Path) -> Path:
    """Image sets: HR; LR of its size; LR2 of half its size; LR16, which is LR as float16 and a little too bright.

    The third image of each split is black in LR and HR.
    """
    for split, first in zip(SPLITS, (0, 3, 6), strict=True):
        high = [pixels(36, 44, first), pixels(32, 40, first + 1), np.zeros((32, 32, 3), np.uint8)]
        made = {"HR": high, "LR": [blurred(image) for image in high], "LR2": [image[::2, ::2] for image in high]}
        made["LR16"] = [(image / 240 - 0.02).astype(np.float16) for image in made["LR"]]
        for name, images in made.items():
            (folder / name).mkdir(exist_ok=True)
            sizes = [image.shape[:2] for image in images]
            with write_set(folder / name / f"{split}.npy", sizes, str(images[0].dtype)) as writer:
                for number, image in enumerate(images):
                    writer.add(f"image{number}", image)
    return folder


def spread(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Numbers from -1 to 1 that look random, of that shape; made of whole numbers alone."""
    numbers = (np.arange(1, math.prod(shape) + 1) * 2654435761 + seed * 805459861) % 2**32
    return torch.from_numpy(numbers / 2**31 - 1).reshape(shape)


def block(width: int = 4, scale: int = 1) -> Block:
    """The network of kept values."""
    return Block(network=NETWORK, options={"width": width, "scale": scale})


def network(file: Path, blocks: tuple[Block, ...], clamped: list[bool]) -> Path:
    """A file of weights that nobody has trained."""
    chain = Chain.build(blocks, clamped)
    for seed, tensor in enumerate(chain.blocks.state_dict().values()):
        if tensor.is_floating_point():
            tensor.copy_(0.3 * spread(tensor.shape, seed))
    for module in chain.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(0.9)
    chain.save(file, Provenance(enlarge=1))
    return file


def vgg16(file: Path) -> Path:
    """A file with weights of VGG-16's shapes, by torchvision's names."""
    places, widths = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21), (64,) * 2 + (128,) * 2 + (256,) * 3 + (512,) * 3
    weights, channels = {}, 3
    for place, width in zip(places, widths, strict=True):
        weights[f"features.{place}.weight"] = spread((width, channels, 3, 3)) * math.sqrt(2 / (3 * channels))
        weights[f"features.{place}.bias"] = spread((width,)) / 10
        channels = width
    torch.save({name: weight.to(torch.float32) for name, weight in weights.items()}, file)
    return file


# Trainings

SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "precision": "float32",
    "layout": "contiguous",
    "compile": "never",
    "deterministic": False,
    "keep": "last",
    "history_every": 2,
    "validate_every": 3,
}


def stage(**changes: Any) -> Stage:
    """Three iterations."""
    usual = {"iterations": 3, "optimiser": "adam", "lr": 2e-3, "batch": 2, "patch": 12, "loss": {"l1": 1.0}}
    return Stage(**{**usual, "clamp": "none", **changes})


def task(
    *stages: Stage, scale: int = 1, blocks: int = 1, first: int = 1, starts: tuple[int | str, ...] = (), **changes: Any
) -> Task:
    """A phase that trains the blocks from ``first`` to the last."""
    usual = {"seed": 3, "phase": 2 if 1 in starts else 1, "blocks": (block(scale=scale),) * blocks, "last": blocks}
    usual |= {"stages": stages or (stage(),), "starts": starts or ("default",) * blocks}
    return Task(**{**usual, "first": first, **changes})


def trained(
    folder: Path,
    what: Task,
    out: Path,
    lr: str = "LR",
    ranks: Ranks = ALONE,
    precision: str = "float32",
    **changes: Any,
) -> Values:
    """Train, and return the figures of the weights that were kept, the clamps, and the history."""
    out.mkdir()
    train(
        what,
        Settings(**{**SETTINGS, **changes}),
        choose("cpu", precision, gpus=0, threads=1),
        inputs=folder / lr,
        targets=folder / "HR",
        weights={1: folder / "weights.safetensors"} if 1 in what.starts else {},
        out=out,
        checkpoint_seconds=60,
        memory_gib=1,
        lr=folder / lr,
        ranks=ranks,
    )
    if not ranks.first:
        return []
    about = json.loads((out / "training.json").read_text())
    clamped = chains.load(out / "weights.safetensors", [NETWORK]).clamped
    history = (out / "history.csv").read_text().splitlines()[1:]
    return [*figures(out / "weights.safetensors"), str(clamped), about["kept"]["iteration"], *map(_shorter, history)]


def figures(weights: Path) -> Values:
    """Two sums over all weights, which any change of any weight moves."""
    tensors = load_file(weights)
    flat = torch.cat([tensors[name].reshape(-1).to(torch.float64) for name in sorted(tensors)])
    return [float(flat.square().sum()), float((flat * spread(flat.shape)).sum())]


def _shorter(row: str) -> str:
    """A row of the history with two digits less of the loss: the last one may be rounded otherwise elsewhere."""
    iteration, number, rate, loss, psnr, norm = row.split(",")
    return ",".join((iteration, number, f"{float(rate):.6g}", f"{float(loss):.6g}", psnr, norm))


def tasks(folder: Path) -> Iterator[tuple[str, Task, dict[str, Any]]]:
    """What is trained: its name, the task, and what else is given."""
    file = str(folder / "weights.safetensors")  # of two blocks
    for name, term in LOSSES.items():
        given = {"loss": {name: 1.0} if term.alone else {"l1": 1.0, name: 0.1}, "patch": 16}
        yield f"loss {name}", task(stage(**given, vgg16=str(folder / "vgg16.pth") if term.on_features else None)), {}
    yield "loss of three terms", task(stage(loss={"l1": 1.0, "l2": 0.5, "tv": 0.01})), {}

    options: dict[str, dict[str, Any]] = {
        "adam": {"betas": [0.8, 0.99], "eps": 1e-4, "weight_decay": 0.1, "amsgrad": True},
        "adamw": {"betas": [0.8, 0.99], "eps": 1e-4, "weight_decay": 0.1, "amsgrad": True},
        "adadelta": {"rho": 0.8, "eps": 1e-4, "weight_decay": 0.1},
        "sgd": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    }
    for name in OPTIMISERS:
        lr = {"adadelta": 1.0, "sgd": 0.05}.get(name, 2e-3)
        yield f"optimiser {name}", task(stage(optimiser=name, lr=lr, iterations=4)), {}
        yield f"options of {name}", task(stage(optimiser=name, lr=lr, iterations=4, options=options.get(name, {}))), {}

    schedules: dict[str, dict[str, Any]] = {
        "cosine": {"to": 1e-4, "restarts": 1},
        "step": {"every": 2, "factor": 0.3},
        "plateau": {"patience": 0, "factor": 0.5},
    }
    for name in SCHEDULES:
        every = {"validate_every": 1, "history_every": 1}
        schedule = {"kind": name, **schedules.get(name, {})}
        yield f"schedule {name}", task(stage(schedule=schedule, iterations=6, lr=0.05)), every
        schedule = {"kind": name, **({"every": 2} if name == "step" else {})}
        yield f"schedule {name} by its defaults", task(stage(schedule=schedule, iterations=4)), every
    yield "warm-up", task(stage(iterations=4, warmup=3, schedule={"kind": "cosine"})), {"history_every": 1}

    for name in STARTS:
        fresh = not name.startswith("inherit")
        yield f"start {name}", task(blocks=1 if fresh else 2, starts=(name,) if fresh else ("default", name)), {}
        yield f"start {name} after phase 1", task(blocks=2, first=2, starts=(1, name)), {}
    yield "start from a file", task(starts=(file,)), {}
    yield "start from another block of a file", task(starts=(f"{file}#2",)), {}
    yield "start of weights alone", task(stage(iterations=0, clamp="last"), starts=("orthogonal",)), {}
    yield "another seed", task(seed=4), {}

    for clamp in ("all", "last", "none"):
        yield f"clamp {clamp}", task(stage(clamp=clamp, iterations=4, lr=0.02), blocks=2), {}
    yield "intermediate", task(stage(intermediate=[0.5], clamp="all"), blocks=2), {}
    yield "intermediate without clamps", task(stage(intermediate=[0.5]), blocks=2), {}

    yield "average", task(stage(ema=0.9, iterations=2), stage(ema=0.05, iterations=2)), {}
    yield "average that ends", task(stage(ema=0.9, iterations=2), stage(iterations=2)), {}
    yield "average of the best", task(stage(ema=0.1, iterations=4, lr=0.05)), {"keep": "best", "validate_every": 1}
    yield "best", task(stage(iterations=5, lr=0.05)), {"keep": "best", "validate_every": 1}
    both = (stage(iterations=2), stage(iterations=3, lr=0.05, clamp="last"))  # the first is better, and not kept
    yield "best with the last clamps", task(*both, starts=("orthogonal_zeroed",)), {"keep": "best", "validate_every": 1}
    yield "clip", task(stage(clip=0.05)), {}
    yield "clip of nothing", task(stage(clip=50.0)), {}
    parts: dict[str, dict[str, Any]] = {"first": {"freeze": 2}, "middle": {"lr": 1e-4, "freeze": 3}}
    yield "frozen parts", task(stage(parts=parts, iterations=4), blocks=2), {}
    yield "rates of parts", task(stage(parts={"middle": {"lr": 1e-4}, "last": {"lr": 5e-3}})), {}
    yield "parts under a schedule", task(stage(parts={"last": {"lr": 5e-3}}, schedule={"kind": "cosine"})), {}

    for augment in ("flips", "none"):
        yield f"augment {augment}", task(stage(augment=augment)), {}
    yield "enlarging", task(scale=2), {"lr": "LR2"}
    yield "float16", task(), {"lr": "LR16"}
    yield "channels last", task(), {"layout": "channels_last"}


def trainings(folder: Path) -> dict[str, Values]:
    """All of them, a training by two processes, and the number format of convolutions."""
    vgg16(folder / "vgg16.pth")
    with float64():
        made = {
            name: trained(folder, what, folder / f"training {number}", **given)
            for number, (name, what, given) in enumerate(tasks(folder))
        }
    return {**made, "two processes": by_two(folder), "bfloat16": formats(folder)}


def by_two(folder: Path) -> Values:
    """Two processes, whose shares of a batch of three differ."""
    words = [sys.executable, __file__, "--process"]
    others = [subprocess.Popen([*words, str(rank), str(folder)], stdout=subprocess.PIPE) for rank in (0, 1)]
    printed = [process.communicate()[0] for process in others]
    return json.loads(printed[0])


def process(rank: int, folder: Path) -> Values:
    """One of the two."""
    stages = stage(batch=3, clip=0.5, ema=0.9, iterations=2), stage(batch=3, intermediate=[0.5])
    with float64():
        ranks = Ranks.join(rank, 2, folder / "meeting")
        return trained(folder, task(*stages, blocks=2), folder / f"process {rank}", ranks=ranks)


def formats(folder: Path) -> Values:
    """Number formats of what convolutions and a chain make while it trains in bfloat16, and on validation images."""
    seen: dict[str, None] = {}

    def note(module: torch.nn.Module, _: object, made: torch.Tensor) -> None:
        if isinstance(module, torch.nn.Conv2d | Chain):
            when = "training" if module.training else "validation"
            seen[f"{type(module).__name__} in {when}: {made.dtype}"] = None

    hook = torch.nn.modules.module.register_module_forward_hook(note)
    try:
        trained(folder, task(), folder / "bfloat16", precision="bfloat16")
    finally:
        hook.remove()
    return sorted(seen)


# Conversions


def digest(*arrays: np.ndarray) -> str:
    """Of whole numbers, or of floats that were rounded by far more than processors differ."""
    made = hashlib.sha256()
    for array in arrays:
        made.update(f"{array.dtype} {array.shape}".encode())
        made.update(np.ascontiguousarray(array).tobytes())
    return made.hexdigest()[:16]


def digests_of_sets(folder: Path) -> Values:
    """Of each split in a folder: the index, and a digest of the pixels."""
    made: Values = []
    for split in SPLITS:
        rows = (folder / f"{split}.csv").read_text().splitlines()[1:]
        made += [
            f"{split}: {', '.join(row.rpartition(',')[0] for row in rows)}",
            digest(np.load(folder / f"{split}.npy")),
        ]
    return made


def pictures(folder: Path) -> Path:
    """Image files of all kinds."""
    folder.mkdir()
    for number in range(5):
        Image.fromarray(pixels(75, 83, number)).save(folder / f"plain{number}.png")
    Image.fromarray(pixels(75, 83, 5)[..., 0]).save(folder / "grey.png")
    Image.fromarray(pixels(75, 83, 6)[..., 0].astype(np.uint16) * 211).save(folder / "grey16.png")
    Image.fromarray(np.dstack([pixels(75, 83, 7), pixels(75, 83, 8)[..., :1]])).save(folder / "transparent.png")
    Image.fromarray(pixels(75, 83, 9)).convert("P", palette=Image.Palette.WEB).save(folder / "palette.png")
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(pixels(75, 83, 10)).save(folder / "turned.jpg", exif=turned, quality=92)
    Image.fromarray(pixels(75, 83, 11)).save(folder / "profile.tif", icc_profile=icc_profile("p3", 1.8))
    return folder


def conversions(folder: Path) -> dict[str, Values]:
    """Pairs, degradations, windows, and files of all kinds."""
    files = str(pictures(folder / "pictures"))
    for name in ("whole", "halves"):
        (folder / name).mkdir()
    for number in range(4):
        image = pixels(74, 82, number)
        Image.fromarray(image).save(folder / "whole" / f"{number}.png")
        Image.fromarray(blurred(image)[::2, ::2]).save(folder / "halves" / f"{number}_small.png")
    some = {"hr": files, "only": [f"plain{number}" for number in range(5)]}
    pairs = {"hr": str(folder / "whole"), "lr": str(folder / "halves"), "lr_name": "{name}_small"}
    made = {}

    def add(name: str, scale: int, train: dict[str, Any], more: dict[str, Any] | None = None, **data: Any) -> None:
        test = {"hr": files, "only": ["grey"]}
        full = {"name": "kept", "scale": scale, "train": train, "validation": 1, "test": test, **data}
        study = config.load({"data": full, **(more or {})})
        out = folder / name
        convert(study.runs["kept"].data, out / "HR", out / "LR")
        made[name] = digests_of_sets(out / "HR") + digests_of_sets(out / "LR")

    add("pairs", 2, pairs)
    for scale in (2, 3, 4):
        add(f"bicubic x{scale}", scale, some)
    for degradation in DEGRADATIONS:
        add(f"degradation {degradation}", 2, some, degradation=degradation)
    add("files of all kinds", 2, {"hr": files}, test={"hr": str(folder / "whole")}, validation=0.3)
    add("windows", 2, {**some, "take": 3, "crops": 2, "crop_side": 40}, validation=2)
    add("fewer and smaller", 2, some, {"shrink": {"images": 2, "side": 50}})
    return made


def enlargements(folder: Path) -> dict[str, Values]:
    """LR enlarged."""
    made = {}
    for scale in (2, 3, 4):
        enlarge(folder / "LR2", folder / f"enlarged{scale}", scale)
        made[f"x{scale}"] = digests_of_sets(folder / f"enlarged{scale}")
    return made


# What networks make


def networks(folder: Path) -> dict[str, Path]:
    """Weights files: two blocks that keep the size, and two of which the first enlarges."""
    return {
        "same size": network(folder / "same.safetensors", (block(), block()), [True, False]),
        "enlarging": network(folder / "twice.safetensors", (block(scale=2), block()), [False, True]),
    }


def generations(folder: Path) -> dict[str, Values]:
    """Cached sets of both kinds, of whole images and in tiles."""
    made = {}
    with float64():
        files = networks(folder)
        for number, (cache, memory, (name, file)) in enumerate(
            (cache, memory, one) for cache in ("uint8", "float16") for memory in (1, 1e-5) for one in files.items()
        ):
            out, lr = folder / f"cached{number}", "LR2" if name == "enlarging" else "LR16"
            given = {"cache": cache, "device": CPU, "memory_gib": memory, "trusted": [Path(NETWORK)]}
            blocks = (1, 2) if memory == 1 else (1,)  # what tiles make has 32 bits
            generate(files=dict.fromkeys(blocks, file), inputs=folder / lr, out=out, **given)
            made[f"{cache}, {name}, {'whole' if memory == 1 else 'tiles'}"] = digests_of_sets(out)
    return made


def table(file: Path) -> Values:
    """The rows of a CSV."""
    with file.open(newline="") as opened:
        return [",".join(row) for row in csv.reader(opened)]


def digests_of_pictures(folder: Path) -> Values:
    """Of each picture in a folder and below it: the name, and a digest of what it shows."""
    found = sorted(file for file in folder.rglob("*") if file.suffix in (".png", ".tif", ".jpg"))
    return [f"{file.relative_to(folder)} {digest(np.asarray(Image.open(file)))}" for file in found]


def evaluations(folder: Path) -> dict[str, Values]:
    """Tables and pictures of test images."""
    made = {}
    with float64():
        for name, file in networks(folder).items():
            out, lr = folder / f"evaluated {name}", "LR2" if name == "enlarging" else "LR"
            given = {"lr": folder / lr / "test.npy", "hr": folder / "HR" / "test.npy", "border": 2, "device": CPU}
            given |= {"memory_gib": 1, "trusted": [Path(NETWORK)], "measures": list(MEASURES)}
            given |= {"weights": file, "table": out / "psnr.csv", "pictures": out / "images"}
            evaluate(phase=2, first=2, last=2, cached=folder / "LR16" / "test.npy", **given)
            made[name] = table(out / "psnr.csv") + digests_of_pictures(out)
    return made


def taken_apart(folder: Path) -> dict[str, Values]:
    """Each block of a network before and after a phase."""
    out = folder / "apart"
    with float64():
        files = networks(folder)
        take_apart(
            networks={"before": files["same size"], "after": network(folder / "after", (block(),) * 2, [False, True])},
            last=2,
            lr=folder / "LR" / "test.npy",
            hr=folder / "HR" / "test.npy",
            border=1,
            device=CPU,
            memory_gib=1,
            table=out / "psnr_by_block.csv",
            pictures=out,
            count=2,
            trusted=[Path(NETWORK)],
            measures=list(MEASURES),
        )
    return {"before and after": table(out / "psnr_by_block.csv") + digests_of_pictures(out)}


def upscaled(folder: Path) -> dict[str, Values]:
    """Pictures of all kinds, as they are, enlarged before, and as a mean over their turns."""
    images, made = pictures(folder / "photos"), {}
    with float64():
        for name, file in networks(folder).items():
            chain = chains.load(file, [NETWORK])
            for ensemble, larger in ((False, 1), (True, 1)) if chain.scale > 1 else ((False, 2), (False, 1)):
                given = {"ensemble": ensemble, "enlarge": larger, "memory_gib": 1.0}
                key = f"{name}{', mean over turns' * ensemble}{f', enlarged x{larger}' * (larger > 1)}"
                out = folder / "upscaled" / key
                upscale_folder(
                    Upscaler(chain=chain, device=CPU, **given),
                    images=images,
                    table=out / "pictures.csv",
                    form="lossless",
                    results=folder / "upscaled",
                    about="",
                    made_of={},
                )
                made[key] = table(out / "pictures.csv") + digests_of_pictures(out)
    return made


# Keeping them

MAKERS: dict[str, Callable[[Path], dict[str, Values]]] = {
    "convert": conversions,
    "enlarge": enlargements,
    "train": trainings,
    "generate": generations,
    "evaluate": evaluations,
    "take_apart": taken_apart,
    "upscale": upscaled,
}
"""By the kind of result in ``VERSIONS`` that they hold: from a folder to the values by name."""


def make(kind: str) -> dict[str, Values]:
    """The values of a kind, as the code is now."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with float64():
            network(sets(place) / "weights.safetensors", (block(), block()), [True, True])
        return MAKERS[kind](place)


def read() -> dict[str, dict[str, Any]]:
    """What is kept: of each kind its version and its values by name."""
    return json.loads(KEPT.read_text()) if KEPT.is_file() else {}


def moved(values: Mapping[str, Values], kept: Mapping[str, Values]) -> list[str]:
    """The names of values that are in both and are not the same."""
    return [name for name in values if name in kept and not same(values[name], kept[name])]


def same(values: Values, kept: Values) -> bool:
    """Whether texts and whole numbers are equal, and other numbers to nine digits."""

    def close(one: str | float, other: str | float) -> bool:
        if isinstance(one, float) and isinstance(other, float):
            return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
        return one == other

    return len(values) == len(kept) and all(map(close, values, kept))


def advice(kind: str, names: list[str]) -> str:
    """What to do where values have moved."""
    some = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return (
        f"what `{kind}` computes has changed: {some}. If that is meant, raise VERSIONS['{kind}'] in "
        f"workflow/multiblock/versions.py and keep the new values: python tests/keep_values.py {kind}"
    )


def main(kinds: list[str]) -> str | None:
    """Keep the values of these kinds; what is wrong, if anything is."""
    kept, refused = read(), []
    for kind in kinds or MAKERS:
        values, before = make(kind), kept.get(kind, {"version": None, "values": {}})
        if before["version"] == VERSIONS[kind] and (names := moved(values, before["values"])):
            refused.append(advice(kind, names))
            continue
        kept[kind] = {"version": VERSIONS[kind], "values": values}
    KEPT.write_text(as_text(kept))
    return "\n".join(refused) or None


def as_text(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """JSON with a line for each value's name."""
    lines = []
    for kind, one in kept.items():
        values = ",\n".join(f"   {json.dumps(name)}: {json.dumps(value)}" for name, value in one["values"].items())
        lines.append(f' {json.dumps(kind)}: {{\n  "version": {one["version"]},\n  "values": {{\n{values}\n  }}\n }}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--process"]:
        print(json.dumps(process(int(sys.argv[2]), Path(sys.argv[3]))))
    else:
        sys.exit(main(sys.argv[1:]))
