"""What was measured of each image, read back as it was written, and means that can be compared."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from multiblock.errors import UserError, listed
from multiblock.inference import metrics
from multiblock.inference.measures import MEASURES
from multiblock.inference.metrics import HOW, METRICS, columns

INPUT = "input"
"""The "phase" of the rows that say what no network gives."""


def read(file: Path) -> pd.DataFrame:
    """The measurements of a phase: ``phase`` and ``image`` as text, the rest as numbers.

    An image may be called ``NA``, ``null`` or ``001``: its name is what was written.

    Raises:
        UserError: a figure is missing or no number.
    """
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    values = columns((*METRICS, *measures_in(table)))
    try:
        table = table.astype(dict.fromkeys(values, float))
    except (KeyError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as measurements: {error}") from None
    for row in table.itertuples():
        if any(pd.isna(getattr(row, value)) for value in values):
            raise UserError(f"{file}: image {row.image}: found NaN; the weights that made it may hold NaN")
    return table


def of_phase(table: pd.DataFrame, phase: int | str) -> pd.DataFrame:
    """The figures of one phase, or of ``input``, by image."""
    values = columns((*METRICS, *measures_in(table)))
    return table[table.phase == str(phase)].set_index("image")[list(values)]


def measures_in(table: pd.DataFrame) -> list[str]:
    """The measures of perceived quality that a table has figures of, by name; PSNR and SSIM are in every table."""
    return [name for name in MEASURES if set(columns([name])) <= set(table.columns)]


def means(rows: Mapping[Any, pd.DataFrame]) -> tuple[dict[Any, dict[str, float]], dict[str, list[str]]]:
    """Means over the images, the same images in all rows; see :func:`multiblock.inference.metrics.means`.

    Args:
        rows: figures by image, as :func:`of_phase` gives them.

    Returns:
        The means of each row, of measures those that all rows have, and for each metric the images that are left out,
        where there are any.
    """
    found: dict[Any, dict[str, float]] = {key: {} for key in rows}
    left_out: dict[str, list[str]] = {}
    common = [name for name in MEASURES if rows and all(name in measures_in(table) for table in rows.values())]
    for metric in (*METRICS, *common):
        places = [(key, f"{metric}_{how}") for key in rows for how in HOW]
        values, names = metrics.means([rows[key][column].to_dict() for key, column in places])
        for (key, column), value in zip(places, values, strict=True):
            found[key][column] = round(value, 5 if metric in MEASURES else 4)
        if names:
            left_out[metric] = names
    return found, left_out


_NAMES = {
    **{"psnr_rgb": "PSNR RGB", "psnr_y": "PSNR-Y", "ssim_y": "SSIM-Y", "psnr_rgb8": "PSNR RGB8"},
    **{name: measure.title for name, measure in MEASURES.items()},
}


def about_left_out(texts: Iterable[str]) -> str:
    """What to say under a table of the images that its means leave out.

    Args:
        texts: JSON, of each metric the names of images; empty where there are none.
    """
    found: dict[str, dict[str, None]] = {}  # image to the metrics that leave it out
    for text in filter(None, texts):
        for metric, names in json.loads(text).items():
            for name in names:
                found.setdefault(name, {})[_NAMES[metric]] = None
    if not found:
        return ""
    images = "; ".join(f"`{name}` (of {listed(metrics)})" for name, metrics in found.items())
    return (
        f"**Left out of the means in every row:** {images}. There an input or a result equals HR: its PSNR is infinite "
        "and would rule the mean."
    )


def titles_of(measures: Iterable[str]) -> list[str]:
    """Measures as the heads of a table name them."""
    return [MEASURES[name].headed for name in measures]


def about_measures(measures: Iterable[str]) -> str:
    """What to say under a table of the measures of perceived quality in it; nothing where there are none."""
    said = "; ".join(f"{MEASURES[name].title} {MEASURES[name].what}" for name in measures)
    return f"Measures of perceived quality, 8 bits, the same border cut: {said}." if said else ""


def pixels(indices: Iterable[Path]) -> int:
    """Pixels of all images of a data set together.

    Args:
        indices: the index of each split's image set (a CSV with height and width).
    """
    total = 0
    for index in indices:
        with index.open(newline="", encoding="utf-8") as file:
            total += sum(int(row["height"]) * int(row["width"]) for row in csv.DictReader(file))
    return total


def composed(file: Path, phase: int) -> tuple[float, float]:
    """PSNR RGB in dB of the test images after a phase, and without a network, from the CSV of its measurements.

    Raises:
        UserError, OSError, ValueError, AttributeError: it cannot be read as one.
    """
    table = read(file)
    found, _ = means({name: of_phase(table, name) for name in (phase, INPUT)})
    return found[phase]["psnr_rgb_composed"], found[INPUT]["psnr_rgb_composed"]
