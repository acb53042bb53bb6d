"""Measure what a phase has made on the test images, beside what no network at all would give."""

import csv
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from multiblock.data import images
from multiblock.data.imageset import ImageSet
from multiblock.data.pixels import as_float, to_bytes
from multiblock.data.resize import enlarge
from multiblock.errors import listed
from multiblock.files import atomic_write
from multiblock.inference import tiles
from multiblock.inference.metrics import HOW, METRICS, VALUES, columns, means, measure
from multiblock.model import chain as chains

log = logging.getLogger(__name__)

COLUMNS = ("phase", "image", *VALUES, "tiles")
"""``tiles``: in how many the composed picture was made; 1 is the whole image. Measures that are asked for follow."""

Figures = Mapping[str, float]


def evaluate(
    *,
    phase: int,
    first: int,
    last: int,
    weights: Path,
    lr: Path,
    cached: Path,
    hr: Path,
    border: int,
    device: torch.device,
    memory_gib: float,
    table: Path,
    pictures: Path,
    trusted: Iterable[Path] = (),
    measures: Sequence[str] = (),
) -> None:
    """Write one row an image: first the input itself, phase ``input``, then what phase ``phase`` makes of it.

    *Composed* is the network as it stands after the phase, all blocks that its file holds, on LR, as a user runs it,
    without rounding in between; *staged* is the span ``first..last`` alone on the cached set that it was trained on.

    Args:
        weights: the phase's weights file.
        lr: test set of LR_0.
        cached: test set that the span reads, LR_{first-1}.
        hr: test set of HR.
        border: pixels cut at each side for PSNR-Y, SSIM-Y and measures.
        table: CSV to write; PSNR is ``inf`` for an image that equals HR.
        pictures: folder to write the composed results into, as PNG.
        trusted: Python files of blocks whose code may run.
        measures: names of measures of perceived quality to take beside PSNR and SSIM.

    Raises:
        UserError: the network makes pixels that are not finite, or an image is too small to measure.
    """
    network = chains.load(weights, trusted).to(device)
    span = network.part(first, last)
    inputs, references = ImageSet(lr), ImageSet(hr)
    staged_inputs = ImageSet(cached) if first > 1 else inputs
    pictures.mkdir(parents=True, exist_ok=True)
    measured = partial(measure, border=border, measures=measures)
    before: dict[str, Figures] = {}
    composed: dict[str, Figures] = {}
    staged: dict[str, Figures] = {}
    tilings: dict[str, tiles.Tiling] = {}
    for number, name in enumerate(references.names):
        reference = as_float(references[number])
        before[name] = measured(no_network(inputs[number], len(reference)), reference, what=f"LR of {name}")
        result, tilings[name] = tiles.infer(network, inputs[number], device, memory_gib)
        made = f"{name}, as {weights} makes it"
        composed[name] = staged[name] = measured(result, reference, what=made)
        images.write(pictures / f"{name}.png", to_bytes(result))
        if len(span.specs) < len(network.specs):
            alone = tiles.run(span, staged_inputs[number], device, memory_gib)
            staged[name] = measured(alone, reference, what=f"{made} of its cached image")
        log.debug("%s", name, extra={"progress": {"done": len(composed), "of": len(references), "note": "test images"}})
    rows = [_row("input", name, figures, figures, 1, measures) for name, figures in before.items()]
    rows += [
        _row(str(phase), name, figures, staged[name], tilings[name].tiles, measures)
        for name, figures in composed.items()
    ]
    with atomic_write(table) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*COLUMNS, *columns(measures)))
        writer.writerows(rows)
    if line := tiles.said(tilings):
        log.info("phase %d: %s", phase, line)
    _log_gain(phase, before, composed)


def _log_gain(phase: int, before: Mapping[str, Figures], composed: Mapping[str, Figures]) -> None:
    """Say what the phase's network brought, over the images on which both have a finite PSNR."""
    columns = [{name: figures["psnr_rgb"] for name, figures in one.items()} for one in (before, composed)]
    (plain, psnr), left_out = means(columns)
    if not np.isfinite([plain, psnr]).all():
        log.warning("phase %d: no gain can be given: each test image equals HR before the network or after it", phase)
        return
    count = len(composed) - len(left_out)
    log.info("phase %d: %+.3f dB RGB over the input, mean of %d test images", phase, psnr - plain, count)
    if left_out:
        log.warning("left out of the mean, as input or result equals HR (PSNR infinite): %s", listed(left_out))
    if psnr < plain:
        log.info("phase %d: BELOW NO NETWORK: %.3f dB RGB, the input itself has %.3f dB", phase, psnr, plain)


def no_network(low: np.ndarray, height: int) -> np.ndarray:
    """The input at the size of HR: as it is, or enlarged by bicubic interpolation."""
    scale = height // low.shape[0]
    return as_float(enlarge(low, scale) if scale > 1 else low)


def _row(
    phase: str, image: str, composed: Figures, staged: Figures, in_tiles: int, measures: Sequence[str]
) -> list[object]:
    made = dict(zip(HOW, (composed, staged), strict=True))
    values, more = (
        [round(made[how][metric], 5) for metric in metrics for how in HOW] for metrics in (METRICS, measures)
    )
    return [phase, image, *values, in_tiles, *more]
