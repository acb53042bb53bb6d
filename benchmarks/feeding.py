"""How long a batch takes to come: decoding for each patch, whole arrays behind a DataLoader, and ours."""

import statistics
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from bench import How, Table, paired, spread, times_as_fast
from others import Decoded, Loaded, loader
from PIL import Image

from multiblock.data.imageset import ImageSet, write_set
from multiblock.data.sampler import Sampler

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg", "ihc.png", "gravel.png")
BATCH, PATCH, WORKERS = 16, 48, 2


def make_images(folder: Path, height: int, width: int, count: int, split: str = "train") -> None:
    """Photographs of scikit-image at one size: as PNG, as .npy, and as our set, under ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with write_set(folder / f"{split}.npy", [(height, width)] * count) as writer:
        for number in range(count):
            file = str(files("skimage").joinpath("data", PHOTOGRAPHS[number % len(PHOTOGRAPHS)]))
            pixels = np.asarray(Image.open(file).convert("RGB").resize((width, height), Image.Resampling.BICUBIC))
            Image.fromarray(pixels).save(folder / f"{number}.png", compress_level=6)
            np.save(folder / f"{number}.npy", pixels)
            writer.add(str(number), pixels)


def measure(how: How) -> Table:
    """Eight images of 2000 x 1400 pixels, LR and HR, batch 16, patch 48."""
    height, width, count = (280, 400, 2) if how.quick else (1400, 2000, 8)
    for name in ("LR", "HR"):
        make_images(how.work / name, height, width, count)
    device = torch.device(how.device)
    lr, hr = (ImageSet(how.work / name / "train.npy") for name in ("LR", "HR"))
    ours = Sampler(lr, hr, 1, seed=1, phase=1, device=device)
    ways = {
        "PNG decoded for each patch, in the training process": _loaded(how, Decoded, ".png", 0, 1),
        f"np.load for each patch, DataLoader with {WORKERS} workers": _loaded(how, Loaded, ".npy", WORKERS, 16),
        f"ours: {ours.about.split(' of pixels ')[1]}": _ours(how, ours, 100),
    }
    if how.device == "cuda":
        mapped = Sampler(lr, hr, 1, seed=1, phase=1, device=device, resident=False)
        ways["ours: mapped from disk, pinned"] = _ours(how, mapped, 100)
    times = paired(ways, how.repeats, warm_up=1)
    fast = times[list(ways)[2]]
    rows = [
        {
            "feeding": name,
            "ms a batch": spread(seconds, digits=3),
            "ours is faster by": f"{times_as_fast(seconds, fast):,.1f} x",
            "patches a second": f"{BATCH / statistics.median(seconds):,.0f}",
        }
        for name, seconds in times.items()
    ]
    about = f"{count} pairs of {width} x {height} pixels, batch {BATCH}, patch {PATCH}, random turns and flips."
    return Table("feeding", about, rows, repeated=True)


def _loaded(how: How, kind: type, ending: str, workers: int, batches: int) -> Callable[[], float]:
    """Seconds a batch; what the workers make ahead of time is drawn before the clock starts."""
    lr, hr = (sorted((how.work / name).glob(f"[0-9]{ending}")) for name in ("LR", "HR"))

    def way() -> float:
        ahead = 2 * workers + 1
        drawn = iter(loader(kind(lr, hr, PATCH, BATCH * (ahead + batches + 2 * workers)), BATCH, workers))
        for _ in range(ahead if workers else 0):
            next(drawn)
        begun = time.perf_counter()
        for _ in range(batches):
            low, high = next(drawn)
            low, high = low.to(how.device), high.to(how.device)
        how.wait()
        seconds = (time.perf_counter() - begun) / batches
        del drawn  # ends the workers
        return seconds

    return way


def _ours(how: How, sampler: Sampler, batches: int) -> Callable[[], float]:
    def way() -> float:
        how.wait()
        begun = time.perf_counter()
        for iteration in range(batches):
            sampler.batch(iteration, BATCH, PATCH)
        how.wait()
        return (time.perf_counter() - begun) / batches

    return way
