"""Score a network on image files, under every convention, beside no network."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from multiblock.data import images
from multiblock.data.dataset import ImagePair
from multiblock.data.pixels import as_float
from multiblock.data.resize import enlarge, shrink
from multiblock.errors import UserError, listed, one_line
from multiblock.files import check_writable
from multiblock.inference import tiles
from multiblock.inference.measures import MEASURES, measures_in
from multiblock.inference.metrics import METRICS, means, measure
from multiblock.model.chain import Chain

COLUMNS = ("image", "what", *METRICS)

Row = dict[str, Any]
Measured = Callable[..., dict[str, float]]


def score(
    network: Chain,
    items: Sequence[ImagePair],
    scale: int,
    border: int,
    device: torch.device,
    memory_gib: float,
    problems: list[str],
    measures: Sequence[str] = (),
) -> Iterator[Row]:
    """Measure ``network`` on image files; one that cannot be measured does not stop those after it.

    Args:
        items: HR files, cut (top left) to a multiple of ``scale``, with their LR files; LR is made by MATLAB's
            bicubic where there is none.
        scale: how many times HR is as large as LR. A network that keeps the size gets LR enlarged first.
        border: pixels cut at each side for PSNR-Y, SSIM-Y and measures.
        problems: gets a line for each image that cannot be measured.
        measures: names of measures of perceived quality to take beside PSNR and SSIM.

    Yields:
        Two rows an image, ``input`` and ``network``.
    """
    measured = partial(measure, border=border, measures=measures)
    for item in items:
        try:
            yield from _score(network, item, scale, measured, device, memory_gib)
        except (UserError, OSError) as error:
            problems.append(one_line(error))


def _score(
    network: Chain, item: ImagePair, scale: int, measured: Measured, device: torch.device, memory_gib: float
) -> list[Row]:
    full = images.read(item.hr)
    height, width = (side // scale for side in full.shape[:2])
    full = full[: height * scale, : width * scale]
    if not full.size:
        raise UserError(f"{item.hr}: is smaller than the scale {scale}")
    low = shrink(full, scale) if item.lr is None else images.read(item.lr)
    if low.shape[:2] != (height, width):
        raise UserError(
            f"{item.lr}: found {low.shape[1]} x {low.shape[0]} pixels; at x{scale} {item.hr} allows {width} x {height}"
        )
    plain = enlarge(low, scale) if scale > 1 else low
    reference = as_float(full)
    before = measured(as_float(plain), reference, what=str(item.hr))
    result = tiles.run(network, plain if network.scale == 1 else low, device, memory_gib, str(item.hr))
    after = measured(result, reference, what=f"{item.hr}, as the network makes it")
    return [{"image": item.name, "what": what, **figures} for what, figures in (("input", before), ("network", after))]


def as_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV; PSNR is ``inf`` where an image equals HR."""
    text = io.StringIO()
    writer = csv.DictWriter(text, (*COLUMNS, *measures_in(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def summary(rows: Sequence[Row], border: int) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Means of the rows as a table of text, a line a convention, and what is to be said under it."""
    named = {
        "psnr_rgb": "PSNR RGB, floats, whole image",
        "psnr_rgb8": "PSNR RGB, 8 bits, whole image",
        "psnr_y": f"PSNR-Y, 8 bits, border {border}",
        "ssim_y": f"SSIM-Y, 8 bits, border {border}",
        **{name: f"{MEASURES[name].headed}, 8 bits, border {border}" for name in measures_in(rows[0])},
    }
    count = len({row["image"] for row in rows})
    table = [(f"mean of {count} image{'s' if count != 1 else ''}", "no network", "network")]
    notes = []
    for metric, text in named.items():
        columns = [{row["image"]: row[metric] for row in rows if row["what"] == what} for what in ("input", "network")]
        (plain, after), left_out = means(columns)
        table.append((text, _shown(plain), _shown(after)))
        if left_out:
            notes.append(f"{text}: without {listed(left_out)}, where input or result equals HR (PSNR infinite)")
    return table, notes


def _shown(value: float) -> str:
    return "identical" if value == float("inf") else f"{value:.4f}"


def check_out(file: Path) -> None:
    """Find out before any work whether a CSV can be written.

    Raises:
        UserError: its name does not end in ``.csv``: what else stands there may be a picture or weights.
        OSError: it cannot be written.
    """
    if file.suffix.lower() != ".csv":
        raise UserError(f"{file}: is no place for a table; allowed are names that end in .csv")
    if file.is_dir():
        raise UserError(f"{file}: is a folder; allowed is the name of a file")
    check_writable(file)
