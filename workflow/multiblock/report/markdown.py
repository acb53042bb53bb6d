"""Figures, tables and notes as all reports write them, in Markdown."""

import json
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import pandas as pd

from multiblock.errors import listed
from multiblock.inference.measures import MEASURES

NOTES = "<!-- notes -->"
"""Separates a table from the notes under it, which Snakemake's report shows as the caption; it reads this Markdown as
reStructuredText, which bold and code have in common."""

ONE_SEED = "One seed: no interval can be given, and differences under about 0.1 dB are not distinguishable."

NOT_RECORDED = "not recorded"
"""The cell of what results of older versions do not hold."""

_PLAIN = {"psnr_rgb": "PSNR RGB", "psnr_y": "PSNR-Y", "ssim_y": "SSIM-Y", "psnr_rgb8": "PSNR RGB8"}


class Table(NamedTuple):
    """Rows of cells under their heads; neither where there is nothing to show."""

    heads: list[str]
    rows: list[list[Any]]

    def __str__(self) -> str:
        """The table in Markdown, each cell as it is given: ``001`` and ``1e5`` are not numbers."""
        if not self.heads:
            return ""
        frame = pd.DataFrame([map(_cell, row) for row in self.rows], columns=list(map(_cell, self.heads)), dtype=object)
        return frame.to_markdown(index=False, disable_numparse=True)


def _cell(value: object) -> str:
    # A bar would end the cell, a < could begin a tag.
    return str(value).replace("|", "\\|").replace("<", "&lt;")


def document(parts: Iterable[str | Table]) -> str:
    """Paragraphs and tables as the text of a file; those that are empty are left out."""
    return "\n\n".join(filter(None, map(str, parts))) + "\n"


def number(value: float | None, form: str, missing: str = "") -> str:
    """A number in a form such as ``.3g``, or ``missing`` where there is none."""
    return missing if pd.isna(value) else format(value, form)


def psnr(value: float, digits: int = 3, unit: str = "") -> str:
    """A PSNR in dB; an infinite one is that of identical images, one that is missing is left empty."""
    if pd.isna(value):
        return ""
    return "identical" if value == float("inf") else f"{value:.{digits}f}{unit}"


def metric(name: str, value: float) -> str:
    """A figure of a metric: PSNR with three digits, SSIM and measures of perceived quality with four."""
    return psnr(value) if name.startswith("psnr") else number(value, ".4f")


def gain(value: float, before: float, digits: int = 3) -> str:
    """The gain over ``before``, where both are finite."""
    difference = value - before if abs(value) < float("inf") and abs(before) < float("inf") else float("nan")
    return "" if pd.isna(difference) else f"{difference:+.{digits}f}"


def count(number: int, what: str) -> str:
    """A number of things: ``1 seed``, ``3 seeds``."""
    return f"{number} {what}{'s' if number != 1 else ''}"


def as_json(names: Collection[Any]) -> str:
    """Names in a cell of a CSV, as JSON; nothing where there are none."""
    return json.dumps(names, ensure_ascii=False) if names else ""


def about_seeds(seeds: Iterable[int], folds: bool = False) -> str:
    """The note on the seeds of a table; with one seed, on how little that is."""
    if folds:
        return (
            f"Seeds and folds: {', '.join(map(str, dict.fromkeys(seeds)))}, where 12 is fold 2 of seed 1: each image "
            "is tested once a seed, by the network that was trained without its fold. PSNR and SSIM are means over the "
            "images of all folds and over the seeds, all else is that of one network."
        )
    one, *more = dict.fromkeys(seeds)
    return f"Seeds: {', '.join(map(str, (one, *more)))}; figures are means over the seeds." if more else ONE_SEED


def left_out(texts: Iterable[str]) -> str:
    """The note on the images that the means of a table leave out.

    Args:
        texts: JSON, of each metric the names of images; empty where there are none.
    """
    found: dict[str, dict[str, None]] = {}  # image to the metrics that leave it out
    for text in filter(None, texts):
        for metric, names in json.loads(text).items():
            for name in names:
                found.setdefault(name, {})[_PLAIN.get(metric) or MEASURES[metric].title] = None
    if not found:
        return ""
    images = "; ".join(f"`{name}` (of {listed(metrics)})" for name, metrics in found.items())
    return (
        f"**Left out of the means in every row:** {images}. There an input or a result equals HR: its PSNR is infinite "
        "and would rule the mean."
    )


def heads_of(metrics: Iterable[str]) -> list[str]:
    """Metrics as the heads of a table name them."""
    return [_PLAIN.get(name) or MEASURES[name].headed for name in metrics]


def about_measures(measures: Iterable[str]) -> str:
    """The note on the measures of perceived quality in a table; nothing where there are none."""
    about = "; ".join(f"{MEASURES[name].title} {MEASURES[name].what}" for name in measures)
    return f"Measures of perceived quality, 8 bits, the same border cut: {about}." if about else ""
