"""Tables as Markdown, and the words of a figure that has no number."""

from collections.abc import Sequence

import pandas as pd


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Rows of cells under their columns, or nothing where there is none.

    A cell stands as it is written: ``001`` and ``1e5`` are no numbers.
    """
    if not columns:
        return ""
    frame = pd.DataFrame([list(map(_cell, row)) for row in rows], columns=list(map(_cell, columns)), dtype=object)
    return frame.to_markdown(index=False, disable_numparse=True)


NOTES = "<!-- notes -->"
"""Stands before what is said under a table, which Snakemake's report shows as the caption; it reads this Markdown as
reStructuredText, which bold and code have in common."""


def _cell(value: object) -> str:
    # A bar would end the cell, a < could begin a tag.
    return str(value).replace("|", "\\|").replace("<", "&lt;")


def psnr(value: float, digits: int = 3, unit: str = "") -> str:
    """A PSNR in dB; an infinite one is that of identical images, one that is not there is left empty."""
    if pd.isna(value):
        return ""
    return "identical" if value == float("inf") else f"{value:.{digits}f}{unit}"


def gain(value: float, before: float, digits: int = 3) -> str:
    """What was gained over ``before``, where both are finite."""
    difference = value - before if abs(value) < float("inf") and abs(before) < float("inf") else float("nan")
    return "" if pd.isna(difference) else f"{difference:+.{digits}f}"


def count(number: int, what: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number} {what}{'s' if number != 1 else ''}"
