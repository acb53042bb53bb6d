"""Pictures through ``multiblock upscale`` as a user types it: time and memory for one of 24 megapixels."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from bench import BLOCKS, How, Table
from PIL import Image
from skimage import data

from multiblock.model.chain import Chain
from multiblock.model.metadata import Provenance
from multiblock.plan import Block

CASES: tuple[tuple[str, int, int, tuple[int, int], bool], ...] = (
    ("default", 3, 2, (6000, 4000), False),
    ("default", 3, 2, (3000, 2000), True),
    ("MCAN", 1, 1, (6000, 4000), False),
)
"""Network, blocks, how many times the picture is enlarged first, width and height, and whether as an ensemble."""


def measure(how: How) -> Table:
    """Each in a process of its own, once: a large picture takes minutes on a CPU."""
    rows = []
    for name, blocks, enlarge, size, ensemble in CASES:
        width, height = (96, 64) if how.quick else size
        photograph, weights = _photograph(how.work / f"{width}.jpg", width, height), how.work / f"{name}.safetensors"
        _chain(BLOCKS[name], blocks).save(weights, about=Provenance(enlarge=enlarge))
        seconds, peak = _upscale(weights, photograph, how, ["--ensemble"] if ensemble else [])
        rows.append(
            {
                "network": f"{blocks} x {name}" + (f", picture enlarged x{enlarge} first" if enlarge > 1 else ""),
                "picture": f"{width} x {height}",
                "result [megapixels]": f"{width * height * enlarge**2 / 1e6:,.0f}",
                "ensemble": "yes" if ensemble else "no",
                "seconds": f"{seconds:,.0f}",
                "peak memory [MiB]": f"{peak:,.0f}",
            }
        )
    about = (
        "`multiblock upscale` with its defaults (--memory-gib 2.5), from a JPEG to a PNG, with weights as they are "
        "before any training. The picture is scikit-image's retina, enlarged. Time and peak memory are those of the "
        "whole command, PyTorch's import, reading and writing included; one run each."
    )
    return Table("pictures", about, rows)


def _chain(block: dict[str, Any], blocks: int) -> Chain:
    torch.manual_seed(0)
    options = {option: value for option, value in block.items() if option != "network"}
    return Chain.build([Block(network=block["network"], options=options)] * blocks, [True] * blocks)


def _photograph(file: Path, width: int, height: int) -> Path:
    Image.fromarray(data.retina()).resize((width, height), Image.Resampling.BICUBIC).save(file, quality=95)
    return file


def _upscale(weights: Path, photograph: Path, how: How, more: list[str]) -> tuple[float, float]:
    """Seconds, and MiB of memory at most."""
    command = [sys.executable, "-m", "multiblock", "upscale", weights, photograph, "-o", how.work / "out"]
    command += ["--overwrite", "--device", how.device, *more]
    begun = time.perf_counter()
    started = subprocess.Popen([str(word) for word in command], env={**os.environ, "OMP_NUM_THREADS": str(how.threads)})
    _, status, used = os.wait4(started.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(map(str, command))} failed")
    return time.perf_counter() - begun, used.ru_maxrss / 1024
