"""Take a network apart: what it makes of the test images after each of its blocks, before a phase and after it."""

import csv
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multiblock.data import images
from multiblock.data.imageset import ImageSet
from multiblock.data.pixels import as_float, to_bytes
from multiblock.files import atomic_write
from multiblock.inference import tiles
from multiblock.inference.evaluation import no_network
from multiblock.inference.metrics import METRICS, measure
from multiblock.model import chain as chains
from multiblock.model.chain import Chain

log = logging.getLogger(__name__)

COLUMNS = ("when", "block", "image", "clamped", "picture", *METRICS)
"""``when``: ``input`` for the input itself, which is block 0; else ``before`` or ``after``. ``picture``: where it lies
in the folder of pictures, if it was kept. Measures follow."""


def take_apart(
    *,
    networks: Mapping[str, Path],
    last: int,
    lr: Path,
    hr: Path,
    border: int,
    device: torch.device,
    memory_gib: float,
    table: Path,
    pictures: Path,
    count: int,
    trusted: Iterable[Path] = (),
    measures: Sequence[str] = (),
) -> None:
    """Measure N_1, N_2(N_1), ... as they stand in each network, on LR, without rounding in between.

    The output of a block that is not clamped goes on as it is, and so it is measured in PSNR RGB; what is measured on
    8 bits, and shown, is cut to [0, 1].

    Args:
        networks: ``before`` and ``after`` a phase, or ``after`` alone where nothing was trained before: the weights
            file, of which the blocks up to ``last`` count, those that it has.
        last: the last block that the phase trained.
        lr, hr: test sets of LR_0 and of HR.
        border: pixels cut at each side for PSNR-Y, SSIM-Y and measures.
        table: CSV to write, a row a network, block and image.
        pictures: folder to write outputs into, as PNG.
        count: of how many images, the first of the set, pictures are kept.
        trusted: Python files of blocks whose code may run.
        measures: names of measures of perceived quality to take beside PSNR and SSIM.

    Raises:
        UserError: a block makes pixels that are not finite, or an image is too small to measure.
    """
    trusted = tuple(trusted)
    loaded = {when: chains.load(file, trusted).to(device) for when, file in networks.items()}
    inputs, references = ImageSet(lr), ImageSet(hr)
    measured = partial(measure, border=border, measures=measures)
    rows: list[dict[str, Any]] = []
    for number, name in enumerate(references.names):
        reference = as_float(references[number])
        plain = measured(no_network(inputs[number], len(reference)), reference, what=f"LR of {name}")
        rows.append({"when": "input", "block": 0, "image": name, **_rounded(plain)})
        for when, network in loaded.items():
            for block, clamped, result in _outputs(network, last, inputs[number], device, memory_gib, name):
                figures = measured(result, reference, what=f"{name}, as block {block} of {networks[when]} makes it")
                row: dict[str, Any] = {
                    "when": when,
                    "block": block,
                    "image": name,
                    "clamped": "yes" if clamped else "no",
                }
                if number < count:
                    row["picture"] = f"{when}_N_{block}/{name}.png"
                    images.write(pictures / row["picture"], to_bytes(result))
                rows.append({**row, **_rounded(figures)})
    with atomic_write(table) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, (*COLUMNS, *measures), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    sizes = {when: min(last, len(network.specs)) for when, network in loaded.items()}
    log.info("%s", "; ".join(f"{when}: {size} blocks, one after another" for when, size in sizes.items()))


def _outputs(
    network: Chain, last: int, image: np.ndarray, device: torch.device, memory_gib: float, name: str
) -> Iterator[tuple[int, bool, np.ndarray]]:
    """Each block up to ``last``, whether it is clamped, and what the blocks up to it make of an image."""
    for block in range(1, min(last, len(network.specs)) + 1):
        alone = network.part(block, block)
        image = tiles.run(alone, image, device, memory_gib, f"{name}, block {block}")
        yield block, alone.clamped[0], image


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {metric: round(value, 5) for metric, value in figures.items()}
