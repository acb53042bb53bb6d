"""Many images: how fast files become arrays on one core and two, and what a start costs with 20,000 of them."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from bench import ROOT, How, Table, spread, times_as_fast
from PIL import Image

CONVERT = """
import sys
from pathlib import Path
from multiblock import config
from multiblock.data.convert import convert
folder, threads = Path(sys.argv[1]), int(sys.argv[2])
study = config.load(config.read([folder / "config.yaml"]))
print("begins", flush=True)
convert(study.data["many"], folder / "arrays" / "HR", folder / "arrays" / "LR", threads)
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
"""A conversion in a process of its own, which says when it begins and the most memory it held."""
DIFFERENT = 100
"""Images of which the others are links."""


def make_images(folder: Path, height: int, width: int, count: int) -> None:
    """PNG files with structure and noise under ``folder/train``, and three under ``folder/test``; a config for them."""
    for split, number in (("train", count), ("test", 3)):
        (folder / split).mkdir(parents=True)
        different = min(number, DIFFERENT if max(height, width) > 100 else number)
        with ProcessPoolExecutor() as pool:
            list(pool.map(partial(_make, folder / split, height, width), range(different), chunksize=10))
        for other in range(different, number):
            os.link(folder / split / f"{other % different}.png", folder / split / f"{other}.png")
    keys = {
        "results": str(folder / "results"),
        "data": {
            "name": "many",
            "scale": 2,
            "train": {"hr": str(folder / "train")},
            "validation": 2,
            "test": {"hr": str(folder / "test")},
        },
        "blocks": {"small": {"network": "mcan", "channels": 4, "residual_blocks": 1}},
        "recipes": {"tiny": [{"optimiser": "adam", "lr": 1e-4, "iterations": 20, "batch": 4, "patch": 16}]},
        "runs": {"many": {"chain": ["small"], "plan": [{"span": 1, "stages": "tiny"}]}},
        "training": {"below_input": "go_on"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(keys))


def _make(folder: Path, height: int, width: int, number: int) -> None:
    random = np.random.default_rng((number, folder.name == "test"))
    coarse = random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    pixels += random.integers(-3, 4, pixels.shape, dtype=np.int8)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png", compress_level=1)


def measure(how: How) -> Table:
    """800 images of 2040 x 1404 pixels, LR made by bicubic: one thread and two take turns."""
    height, width, count = (140, 204, 8) if how.quick else (1404, 2040, 800)
    folder = how.work / "conversion"
    make_images(folder, height, width, count)
    found: dict[int, list[tuple[float, float, float]]] = {1: [], 2: []}
    for _ in range(1 if how.quick else min(how.repeats, 2)):
        for threads, runs in found.items():
            runs.append(_convert(folder, threads))
    seconds = {threads: [run[0] for run in runs] for threads, runs in found.items()}
    rows = [
        {
            "threads": threads,
            "seconds": spread(seconds[threads], unit=1, digits=0),
            "images a second": f"{count / statistics.median(seconds[threads]):.1f}",
            "times as fast as one": f"{times_as_fast(seconds[1], seconds[threads]):.2f}",
            "threads able to run": f"{statistics.median(run[1] for run in runs):.2f}",
            "memory [MiB]": f"{max(run[2] for run in runs):.0f}",
        }
        for threads, runs in found.items()
    ]
    different = min(count, DIFFERENT)
    about = f"{count} PNG files of {width} x {height} pixels ({different} different ones) become HR and LR x2."
    notes = [
        "*Threads able to run*: how many run or would if they had a core, looked at every 5 ms from outside. A thread "
        "that waits for another one is not among them, so this is what cores that nobody else uses would bring.",
    ]
    return Table("conversion", about, rows, notes)


def _convert(folder: Path, threads: int) -> tuple[float, float, float]:
    """Seconds, threads able to run, and MiB of a conversion."""
    shutil.rmtree(folder / "arrays", ignore_errors=True)
    os.sync()
    command = [sys.executable, "-c", CONVERT, str(folder), str(threads)]
    able = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        begun = time.perf_counter()
        while process.poll() is None:
            able.append(sum(map(_able_to_run, Path(f"/proc/{process.pid}/task").glob("*/stat"))))
            time.sleep(0.005)
        seconds = time.perf_counter() - begun
        memory = int(process.stdout.read()) / 1024
    return seconds, sum(able) / len(able), memory


def _able_to_run(file: Path) -> bool:
    try:
        return file.read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:
        return False


def measure_many(how: How) -> Table:
    """What a start costs with 20,000 small images, against 20."""
    counts = (20,) if how.quick else (20, 20_000)
    folders = {count: how.work / f"many{count}" for count in counts}
    phase = "results/many/seed1/phase1"
    times: dict[int, dict[str, list[float]]] = {}
    for count, folder in folders.items():
        make_images(folder, 64, 64, count)
        first = _snakemake(folder, "-n")
        convert = _snakemake(folder, "--cores", "2", f"{folder}/results/data/many/HR/train.npy")
        times[count] = {"first `snakemake -n`": [first], "conversion, by Snakemake, two cores": [convert]}
        _snakemake(folder, "--cores", "2", f"{folder}/{phase}/weights.safetensors")
    for _ in range(1 if how.quick else how.repeats):
        for count, folder in folders.items():
            times[count].setdefault("`snakemake -n` from the second on", []).append(_snakemake(folder, "-n"))
            again = ("--forcerun", "phase1_1", "--", f"{folder}/{phase}/weights.safetensors")
            _snakemake(folder, "--cores", "2", *again)
            record = json.loads((folder / phase / "training.json").read_text())
            began = record["segments"][-1]["seconds"]["start"]  # of this call: what stood is gone on from
            times[count].setdefault("start of a training, to its first iteration", []).append(began)
    rows = [
        {"what": what, **{f"{count:,} images [s]": _seconds(times[count][what]) for count in counts}}
        for what in times[counts[0]]
    ]
    return Table("many_images", "PNG files of 64 x 64 pixels, HR alone, x2.", rows)


def _seconds(times: Sequence[float]) -> str:
    return spread(times, unit=1, digits=1) if len(times) > 1 else f"{times[0]:.1f}"


def _snakemake(folder: Path, *arguments: str) -> float:
    """Seconds of a call of Snakemake, start and end included."""
    command = [sys.executable, "-m", "snakemake", "--quiet", "all", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--configfile", str(folder / "config.yaml"), *arguments]
    environment = {**os.environ, "SNAKEMAKE_PROFILE": str(ROOT / "profiles" / "default")}
    begun = time.perf_counter()
    subprocess.run(command, check=True, env=environment, capture_output=True)
    return time.perf_counter() - begun
