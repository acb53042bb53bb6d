"""Measure what a phase has made on the test images, beside what no network at all would give."""

import csv
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multiblock.data import images
from multiblock.data.dataset import ImagePair
from multiblock.data.imageset import ImageSet
from multiblock.data.pixels import as_float, to_bytes
from multiblock.data.resize import enlarge, shrink
from multiblock.errors import UserError
from multiblock.files import atomic_write
from multiblock.inference import tiles
from multiblock.inference.metrics import METRICS, VALUES, measure
from multiblock.model import chain as chains
from multiblock.model.chain import Chain

log = logging.getLogger(__name__)

COLUMNS = ("phase", "image", *VALUES)


def evaluate(
    *,
    phase: int,
    first: int,
    weights: Path,
    lr: Path,
    cached: Path,
    hr: Path,
    border: int,
    device: torch.device,
    memory_gib: float,
    table: Path,
    pictures: Path,
) -> None:
    """Write one row an image: first the input itself, phase ``input``, then what phase ``phase`` makes of it.

    *Composed* is the network 1..last on LR, as a user runs it, without rounding in between; *staged* the span
    ``first..last`` alone on the cached set that it was trained on.

    Args:
        weights: the phase's weights file.
        lr: test set of LR_0.
        cached: test set that the span reads, LR_{first-1}.
        hr: test set of HR.
        border: pixels cut at each side for PSNR-Y and SSIM-Y.
        table: CSV to write.
        pictures: folder to write the composed results into, as PNG.
    """
    network = chains.load(weights).to(device)
    span = network.part(first, len(network.specs))
    inputs, references = ImageSet(lr), ImageSet(hr)
    staged_inputs = ImageSet(cached) if first > 1 else None
    pictures.mkdir(parents=True, exist_ok=True)
    before, after = [], []
    for number, name in enumerate(references.names):
        reference = as_float(references[number])
        nothing = measure(_no_network(inputs[number], reference.shape[0]), reference, border)
        before.append(("input", name, *_doubled(nothing, nothing)))
        result = tiles.run(network, inputs[number], device, memory_gib)
        images.write(pictures / f"{name}.png", to_bytes(result))
        composed = staged = measure(result, reference, border)
        if staged_inputs:
            staged = measure(tiles.run(span, staged_inputs[number], device, memory_gib), reference, border)
        after.append((phase, name, *_doubled(composed, staged)))
    with atomic_write(table) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(before + after)
    gain = np.mean([row[2] for row in after]) - np.mean([row[2] for row in before])
    log.info("phase %d: %+.3f dB RGB over the input, mean of %d test images", phase, gain, len(after))


def score(
    network: Chain, items: Sequence[ImagePair], scale: int, border: int, device: torch.device, memory_gib: float
) -> Iterator[dict[str, Any]]:
    """Measure ``network`` on image files, under every convention: two rows an image, ``input`` and ``network``.

    Args:
        items: HR files, cut (top left) to a multiple of ``scale``, with their LR files; LR is made by MATLAB's
            bicubic where there is none.
        scale: how many times HR is as large as LR. A network that keeps the size gets LR enlarged first.
        border: pixels cut at each side for PSNR-Y and SSIM-Y.

    Raises:
        UserError: an image cannot be read, or LR has another size than HR / scale.
    """
    for item in items:
        full = images.read(item.hr)
        height, width = (side // scale for side in full.shape[:2])
        full = full[: height * scale, : width * scale]
        low = shrink(full, scale) if item.lr is None else images.read(item.lr)
        if low.shape[:2] != (height, width):
            raise UserError(
                f"{item.lr}: found {low.shape[1]} x {low.shape[0]} pixels; at x{scale} {item.hr} allows "
                f"{width} x {height}"
            )
        plain = enlarge(low, scale) if scale > 1 else low
        given = plain if network.scale == 1 else low
        reference = as_float(full)
        results = {"input": as_float(plain), "network": tiles.run(network, given, device, memory_gib)}
        for what, result in results.items():
            yield {"image": item.name, "what": what, **measure(result, reference, border)}


def _no_network(low: np.ndarray, height: int) -> np.ndarray:
    """The input at the size of HR: as it is, or enlarged by bicubic interpolation."""
    scale = height // low.shape[0]
    return as_float(enlarge(low, scale) if scale > 1 else low)


def _doubled(composed: dict[str, float], staged: dict[str, float]) -> list[float]:
    return [round(how[metric], 5) for metric in METRICS for how in (composed, staged)]
