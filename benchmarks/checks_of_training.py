"""Checks of a GPU: whole trainings, killed, compiled, two at once, and without memory."""

import json
import signal
import time
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import BLOCKS
from checks import LeftOut, NotHeld, Options, little_memory, needs_gpu, require
from feeding import make_images
from training import task_of, train_task

from multiblock.errors import UserError

_STAGES: tuple[dict[str, Any], ...] = (
    {"iterations": 30, "batch": 4, "patch": 32, "lr": 1e-3, "clamp": "none"},
    {"iterations": 30, "batch": 6, "patch": 24, "lr": 5e-4, "loss": "l2", "parts": {"head": {"freeze": 10}}},
    {"iterations": 20, "batch": 4, "patch": 32, "lr": 2e-4, "ema": 0.9, "clip": 0.1},
)
"""Another clamp, batch, loss and patch in each; a part that is frozen for a while; an average of the weights."""

_SGD = tuple({**stage, "optimiser": "sgd", "lr": 20 * stage["lr"]} for stage in _STAGES)
"""The same by plain gradient descent: Adam divides small gradients by themselves, and so their rounding too."""


def change_of_stage(options: Options) -> str:
    """A training of three stages, compiled anew for each, beside the same one eager: losses stay together."""
    eager, compiled = (
        _record(_train(options, compile, {"precision": "float32", "compile": compile}, BLOCKS["default"], _SGD))
        for compile in ("never", "always")
    )
    stages = [one["compiled"] for one in compiled["segments"][-1]["stages"]]
    require(all(stages), f"compiled were {stages}")
    ours, theirs = (np.array(_losses(options, compile)) for compile in ("always", "never"))
    apart = float(np.abs(ours / theirs - 1).max())
    require(apart < 2e-3, f"losses are up to {apart:.2%} apart")
    gain = abs(compiled["psnr_rgb_validation"] - eager["psnr_rgb_validation"])
    require(gain < 1e-3, f"PSNR of validation images is {gain:.3f} dB apart")
    return f"{len(stages)} compiled pieces; losses at most {apart:.1e} apart, PSNR {gain:.4f} dB"


def kill(options: Options) -> str:
    """Killed (-9) within each stage and started again, with ``deterministic``: the bytes of one never disturbed."""
    done = []
    for compile in ("auto", "always"):
        keywords = {"compile": compile, "deterministic": True, "checkpoint_seconds": 0}
        whole = _trained(options, f"{compile} whole", keywords)
        name, kills = f"{compile} killed", 0
        for stop in (12, 45, 70) if compile == "auto" else (45,):
            kills += _killed_after(stop, options, name, keywords)
        out = _trained(options, name, keywords)
        for file in ("weights.safetensors", "history.csv"):
            require((out / file).read_bytes() == (whole / file).read_bytes(), f"compile {compile}: {file} differs")
        segments = len(_record(out)["segments"])
        require(segments > 1, "it was never interrupted")
        done.append(f"compile {compile}: {kills} kills, {segments} stretches")
    return "; ".join(done) + ": the same bytes"


def two_jobs(options: Options) -> str:
    """Two processes at once on one GPU: both end, with the same bytes, and one says that it shares."""
    started = [_start(options, f"job {number}", {"deterministic": True}) for number in (1, 2)]
    for process in started:
        process.join()
        require(process.exitcode == 0, f"a process ended with {process.exitcode}")
    made = [_out(options, f"job {number}") for number in (1, 2)]
    same = len({(out / "weights.safetensors").read_bytes() for out in made}) == 1
    require(same, "the same training on one GPU gave two results")
    reasons = [_record(out)["segments"][-1]["device_reason"] for out in made]
    alone = options.how.device == "cpu" or torch.cuda.device_count() > 1
    require(alone or any("shared with" in reason for reason in reasons), f"neither says that it shares: {reasons}")
    return f"the same bytes; {' / '.join(dict.fromkeys(reasons))}"


def two_gpus(options: Options) -> str:
    """A training that two GPUs share goes the way of one: losses stay together."""
    if options.how.device == "cuda" and torch.cuda.device_count() < 2:
        raise LeftOut("there is one GPU here")
    for processes in (1, 2):
        keywords = {"precision": "float32", "compile": "never", "processes": processes}
        record = _record(_train(options, f"in {processes}", keywords, BLOCKS["default"], _SGD))
        require(record["segments"][-1]["processes"] == processes, "it ran in another number of processes")
    one, two = (np.array(_losses(options, f"in {processes}")) for processes in (1, 2))
    apart = float(np.abs(two / one - 1).max())
    require(apart < 2e-3, f"losses are up to {apart:.2%} apart")
    return f"losses at most {apart:.1e} apart"


def memory_in_training(options: Options) -> str:
    """A batch that does not fit ends in one line."""
    needs_gpu(options.how)
    little_memory(gib=1)
    stage = {"iterations": 2, "batch": 64, "patch": 64, "lr": 1e-4}
    try:
        _train(options, "too large", {}, BLOCKS["MCAN"], (stage,))
    except UserError as error:
        require("\n" not in str(error) and "batch 64" in str(error), f"it says {error}")
        return str(error)
    raise NotHeld("a batch that needs more than the GPU has was trained")


def _out(options: Options, name: str) -> Path:
    return options.how.work / "trained" / name


def _trained(options: Options, name: str, keywords: Mapping[str, Any]) -> Path:
    return _train(options, name, keywords, BLOCKS["default"], _STAGES)


def _train(
    options: Options,
    name: str,
    keywords: Mapping[str, Any],
    block: Mapping[str, Any],
    stages: Sequence[Mapping[str, Any]],
) -> Path:
    """Train a block to leave photographs as they are."""
    pixels, out = options.how.work / "pixels", _out(options, name)
    for split in ("train", "validation"):
        if not (pixels / f"{split}.npy").exists():
            make_images(pixels, 160, 200, 3, split)
    out.mkdir(parents=True, exist_ok=True)
    train_task(task_of(block, stages), pixels, pixels, out, options.how, history_every=1, **keywords)
    return out


def _record(out: Path) -> dict[str, Any]:
    return json.loads((out / "training.json").read_text())


def _losses(options: Options, name: str) -> list[float]:
    rows = (_out(options, name) / "history.csv").read_text().splitlines()
    place = rows[0].split(",").index("loss")
    return [float(row.split(",")[place]) for row in rows[1:]]


def _start(options: Options, name: str, keywords: Mapping[str, Any]) -> Any:
    process = get_context("spawn").Process(target=_trained, args=(options, name, dict(keywords)))
    process.start()
    return process


def _killed_after(iterations: int, options: Options, name: str, keywords: Mapping[str, Any]) -> int:
    """Kill a training once it has a checkpoint of so many iterations; how many were killed, 0 or 1."""
    process = _start(options, name, keywords)
    while process.is_alive():
        steps = [int(file.stem.split("-")[0]) for file in _out(options, name).glob("working/[0-9]*-*.pt")]
        if max(steps, default=0) >= iterations:
            process.kill()
            break
        time.sleep(0.005)
    process.join()
    return int(process.exitcode == -signal.SIGKILL)
