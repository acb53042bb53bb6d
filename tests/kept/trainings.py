"""Tiny trainings of every kind, in float64, through the package's own trainer."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import forked
from kept.material import NETWORK, Values, block, float64, spread
from multiblock.model import chain as chains
from multiblock.model.chain import Chain
from multiblock.plan import Stage, Task
from multiblock.runtime.device import choose
from multiblock.training.losses import LOSSES
from multiblock.training.optimisers import OPTIMISERS
from multiblock.training.ranks import ALONE, Ranks
from multiblock.training.schedules import SCHEDULES
from multiblock.training.starts import STARTS
from multiblock.training.trainer import Settings, train

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
    alike = stage(schedule={"kind": "plateau", "patience": 0}, lr=1e-30, parts={"middle": {"freeze": 3}})
    yield "plateau of equal looks", task(alike), {"validate_every": 1, "history_every": 1}
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
    words = [sys.executable, "-m", "kept.trainings"]
    tests = {"cwd": Path(__file__).parent.parent, "stdout": subprocess.PIPE}
    others = [forked.Popen([*words, str(rank), str(folder)], **tests) for rank in (0, 1)]
    try:
        printed = [process.communicate(timeout=300)[0] for process in others]
    finally:
        for process in others:  # one whose other is gone would wait for it
            process.kill()
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


if __name__ == "__main__":
    print(json.dumps(process(int(sys.argv[1]), Path(sys.argv[2]))))
