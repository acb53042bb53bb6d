"""Whole trainings: time against iterations, memory against the size of the data, and fast against float32."""

import json
import statistics
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from bench import BLOCKS, How, Table, in_process, memory_mib, paired, spread, timed
from whole_images import MEMORY_GIB, converted

from multiblock import config
from multiblock.data.imageset import write_set
from multiblock.inference.evaluation import evaluate
from multiblock.model import chain as chains
from multiblock.model.chain import Chain
from multiblock.plan import Task
from multiblock.runtime.device import choose
from multiblock.training import checkpoint
from multiblock.training.checkpoint import State
from multiblock.training.step import make_optimiser
from multiblock.training.trainer import Settings, train
from multiblock.workflow.ranks import Order, together

MCAN, SMALL = BLOCKS["MCAN"], BLOCKS["default"]

SETTLED = {"schedule": {"kind": "cosine"}, "ema": 0.99}
"""How a training ends that is to be compared: PSNR no longer jumps by a tenth of a dB from iteration to iteration."""


def _task(block: dict, iterations: int, seed: int, batch: int, patch: int, lr: float = 2e-3) -> Task:
    """Phase 1 of one block, as in the default run: free, then clamped, on LR that keeps its size; it ends settled."""
    common = {"batch": batch, "patch": patch}
    stages = [
        {"iterations": -(-7 * iterations // 10), "lr": lr, "clamp": False, **common},
        {"iterations": 3 * iterations // 10, "lr": lr / 5, "loss": "l2", **common, **SETTLED},
    ]
    return task_of(block, stages, seed)


def task_of(block: Mapping[str, Any], stages: Sequence[Mapping[str, Any]], seed: int = 1) -> Task:
    """Phase 1 of a run of one block, from the stages that a config has."""
    plan = [{"span": 1, "stages": [dict(stage) for stage in stages]}]
    study = config.load({"blocks": {"b": dict(block)}, "runs": {"r": {"chain": ["b"], "plan": plan}}})
    return study.runs["r"].plan.task(1, seed)


def train_task(
    task: Task,
    inputs: Path,
    targets: Path,
    out: Path,
    how: How,
    *,
    precision: str = "auto",
    layout: str = "auto",
    compile: str = "auto",
    deterministic: bool = False,
    history_every: int = 500,
    checkpoint_seconds: float = 60,
    processes: int = 1,
) -> dict[str, Any]:
    """Train, and return the record of it; several processes share each batch, on a GPU each where there are any."""
    settings = Settings(
        device=how.device,
        precision=precision,
        layout=layout,
        compile=compile,
        deterministic=deterministic,
        keep="last",
        history_every=history_every,
        validate_every=10**9,
    )
    out.mkdir(parents=True, exist_ok=True)
    training: dict[str, Any] = {
        "task": task,
        "settings": settings,
        "inputs": inputs,
        "targets": targets,
        "weights": {},
        "out": out,
        "checkpoint_seconds": checkpoint_seconds,
        "memory_gib": MEMORY_GIB,
    }
    if processes == 1:
        train(device=choose(how.device, precision, 1, how.threads), **training)
    else:
        place = {"device": how.device, "precision": precision, "gpus": processes, "threads": processes * how.threads}
        together(Order(**place, log=out / "log", label="", training=training))
    return json.loads((out / "training.json").read_text())


# -- Growth ------------------------------------------------------------------------------------------------------------


def measure_growth(how: How) -> Table:
    """Time against iterations, and memory against the size of the arrays."""
    sizes = (4, 40) if how.quick else (40, 4000)
    lengths = (4,) if how.quick else (200, 400, 800, 1600)
    rows, anonymous = [], []
    for megabytes in sizes:
        folder = how.work / f"arrays{megabytes}"
        _arrays(folder, megabytes)
        _, most = in_process(_watched, lengths[0], folder, how)
        anonymous.append(most)
        rows.append(
            {
                "what": f"{megabytes:,} MB of arrays, {lengths[0]} iterations",
                "seconds": "",
                "ms an iteration": "",
                "anonymous memory [MiB]": f"{most:,.0f}",
            }
        )
    folder = how.work / f"arrays{sizes[0]}"
    for iterations in lengths:
        seconds, most = in_process(_watched, iterations, folder, how)
        rows.append(
            {
                "what": f"{iterations:,} iterations, {sizes[0]} MB",
                "seconds": f"{seconds:.2f}",
                "ms an iteration": f"{1e3 * seconds / iterations:.2f}",
                "anonymous memory [MiB]": f"{most:,.0f}",
            }
        )
    about = "The default block, batch 8, patch 32. Anonymous memory: the most that the process held besides files."
    note = (
        f"{sizes[1]:,} MB against {sizes[0]} MB of arrays: {anonymous[1] - anonymous[0]:+,.0f} MiB of anonymous memory."
    )
    return Table("growth", about, rows, [note])


def _arrays(folder: Path, megabytes: int) -> None:
    """LR and HR, together so large, of images of 2000 x 1000 pixels (or one smaller one)."""
    height, width = (1000, 2000) if megabytes >= 12 else (400, 500)
    count = max(1, megabytes * 10**6 // (2 * height * width * 3))
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for name in ("LR", "HR"):
        for split, images in (("train", count), ("validation", 1)):
            with write_set(folder / name / f"{split}.npy", [(height, width)] * images) as writer:
                for number in range(images):
                    writer.add(str(number), pixels)


def _watched(iterations: int, folder: Path, how: How) -> tuple[float, float]:
    """Seconds of the iterations, and the most anonymous memory in MiB, looked at every 10 ms."""
    most, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.01):
            most = max(most, memory_mib("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        task = _task(SMALL, iterations, seed=1, batch=2 if how.quick else 8, patch=32)
        # Validation images would only add what inference takes; a small one is looked at once, at the end.
        _small_validation(folder)
        record = train_task(task, folder / "LR", folder / "HR", folder / "out", how)
    finally:
        done.set()
        watcher.join()
    return record["seconds_iterations"], most


def _small_validation(folder: Path) -> None:
    for name in ("LR", "HR"):
        with write_set(folder / name / "validation.npy", [(64, 64)]) as writer:
            writer.add("small", np.zeros((64, 64, 3), np.uint8))


# -- Checkpoints -------------------------------------------------------------------------------------------------------


def measure_checkpoints(how: How) -> Table:
    """What a checkpoint costs: weights and Adam's moments, flushed to the disk, with its checksum."""
    interval = config.checked({})["training"]["checkpoint_seconds"]
    rows = []
    for name, block, spans in (("default", SMALL, 1), ("MCAN", MCAN, 1), ("MCAN, joint phase of three", MCAN, 3)):
        task = _task(block, 10, seed=1, batch=2, patch=16)
        span = Chain.build(task.blocks * spans, [True] * spans).to(how.device)
        optimiser = make_optimiser(task.stages[0], span)
        span(torch.rand(1, 3, 16, 16, device=how.device)).sum().backward()
        optimiser.step()
        folder = how.work / "checkpoints" / name
        folder.mkdir(parents=True)
        state = State(step=1, weights=span.blocks.state_dict(), optimiser=optimiser.state_dict())
        times = paired({"save": timed(lambda state=state, to=folder: checkpoint.save(to, state), how)}, how.repeats)[
            "save"
        ]
        rows.append(
            {
                "span": name,
                "MB": f"{next(folder.glob('*.pt')).stat().st_size / 1e6:.1f}",
                "ms": spread(times, digits=1),
                f"share of {interval} s": f"{statistics.median(times) / interval:.3%}",
            }
        )
    about = (
        f"One checkpoint, of which a training writes one every {interval} s by default (training.checkpoint_seconds)."
    )
    return Table("checkpoints", about, rows, repeated=True)


# -- Agreement ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """A block, and how long and on what it is trained for the agreement."""

    block: dict
    iterations: int
    lr: float
    batch: int = 8
    patch: int = 32


WITH_SKIP = {"default": Compared(SMALL, 2_000, 2e-3), "MCAN": Compared(MCAN, 2_000, 2e-4, 16, 48)}
"""They add the image to what they compute. MCAN's size is for GPUs."""

WITHOUT_SKIP = {
    "IMDN_RTC": Compared({"network": "imdn_rtc"}, 500, 1e-3),
    "RCAN, 2 groups of 2 blocks, 16 channels": Compared(
        {"network": "rcan", "groups": 2, "blocks": 2, "channels": 16}, 500, 5e-4
    ),
}
"""All of the image passes their layers; RCAN's work on values from 0 to 255."""

WAYS: Mapping[str, dict[str, str]] = {
    "float32": {"precision": "float32", "layout": "contiguous"},
    "bfloat16": {"precision": "bfloat16"},
    "float32 summed otherwise": {"precision": "float32", "layout": "channels_last"},
}
"""The last shows what another order of the same sums makes of a training: no difference below it means anything. None
is compiled, which would not pay for so few iterations; on a GPU each iteration is one CUDA graph."""


def measure_agreement(how: How) -> Table:
    """PSNR at the end of training, bfloat16 against float32, over three seeds."""
    name = "MCAN" if how.device == "cuda" else "default"
    return _agreement("agreement", {name: WITH_SKIP[name]}, how)


def measure_agreement_without_skip(how: How) -> Table:
    """The same for networks through whose layers all of the image passes."""
    return _agreement("agreement_without_skip", WITHOUT_SKIP, how)


def _agreement(title: str, cases: Mapping[str, Compared], how: How) -> Table:
    if how.quick:
        cases = {name: replace(case, iterations=4, batch=2, patch=16) for name, case in cases.items()}
    rows, notes, described = [], [], set()
    for name, case in cases.items():
        differences = []
        for seed in (1,) if how.quick else (1, 2, 3):
            scores = {way: _trained_score(name, case, way, seed, how, described) for way in WAYS}
            differences.append([scores[way] - scores["float32"] for way in list(WAYS)[1:]])
            rows.append(
                {
                    "block": name,
                    "seed": seed,
                    **{f"{way}, PSNR RGB [dB]": f"{score:.4f}" for way, score in scores.items()},
                    "difference [dB]": " and ".join(f"{difference:+.4f}" for difference in differences[-1]),
                }
            )
        notes.append(
            f"{name}: {case.iterations:,} iterations, batch {case.batch}, patch {case.patch}; "
            "mean differences "
            + " and ".join(f"{statistics.mean(ways):+.4f}" for ways in zip(*differences, strict=True))
            + " dB."
        )
    about = (
        "Trained in bfloat16 and in float32, and in float32 in another layout, whose sums are taken in another order: "
        "what differs less than these two is no difference. On photographs of the default run. PSNR RGB of its test "
        "photographs: floats, whole image, the network run in float32."
    )
    return Table(title, about, rows, [*notes, *sorted(described)])


def trained_chain(name: str, block: dict, iterations: int, lr: float, how: How) -> Chain:
    """A network that was trained for a while in float32 on the photographs of the default run."""
    _trained_score(name, Compared(block, iterations, lr, *((2, 16) if how.quick else ())), "float32", 1, how, set())
    return chains.load(how.work / "agreement" / f"{name} float32 1" / "weights.safetensors")


def _trained_score(name: str, case: Compared, way: str, seed: int, how: How, described: set[str]) -> float:
    sets = converted(how)
    task = _task(case.block, case.iterations, seed, case.batch, case.patch, case.lr)
    inputs = sets / "LR" if task.blocks[0].scale > 1 else _enlarged(sets)
    out = how.work / "agreement" / f"{name} {way} {seed}"
    record = train_task(task, inputs, sets / "HR", out, how, **WAYS[way])
    ran = record["segments"][-1]
    described.add(
        f"{way}: device {ran['device']} ({ran['name']}), precision {ran['precision']}, {ran['threads']} threads."
    )
    return _score(out, inputs, sets / "HR", how)


def _enlarged(sets: Path) -> Path:
    from multiblock.data.convert import enlarge

    if not (sets / "LR_enlarged").exists():
        enlarge(sets / "LR", sets / "LR_enlarged", 2)
    return sets / "LR_enlarged"


def _score(out: Path, inputs: Path, targets: Path, how: How) -> float:
    """Mean PSNR RGB of the test images."""
    evaluate(
        phase=1,
        first=1,
        last=1,
        weights=out / "weights.safetensors",
        lr=inputs / "test.npy",
        cached=inputs / "test.npy",
        hr=targets / "test.npy",
        border=2,
        device=choose(how.device, "float32", 1, how.threads).device,
        memory_gib=MEMORY_GIB,
        table=out / "psnr.csv",
        pictures=out / "images",
    )
    table = pd.read_csv(out / "psnr.csv", dtype={"phase": str})
    return float(table[table.phase == "1"].psnr_rgb_composed.mean())
