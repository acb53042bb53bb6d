"""What became of each pair, as a table for a terminal and as a CSV."""

import csv
import io
import math
from collections.abc import Sequence

from multiblock.align.pair import Options, Outcome

HEADER = (
    "name", "verdict", "reason", "notes", "scale", "width", "height", "top", "left",
    "transform", "zoom", "turn", "stretch", "perspective", *(f"h{r}{c}" for r in "123" for c in "123"),
    "blur", "unsure", "residual_median", "residual_p90", "not_fitting", "windows", "correlation", "detail",
    "colour_matched", "gain_red", "gain_green", "gain_blue", "offset_red", "offset_green", "offset_blue",
)  # fmt: skip
"""Columns of the CSV. Lengths are HR pixels, ``turn`` degrees, offsets shares of white; ``h11`` to ``h33`` take HR's
pixels (x, y, 1) to LR's, as the photographs are turned upright."""


def as_csv(outcomes: Sequence[Outcome], options: Options) -> str:
    """All that was found of each pair, a row each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for outcome in outcomes:
        values = _values(outcome, options)
        writer.writerow([_cell(values.get(column, "")) for column in HEADER])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.8g}"
    return value


def _values(outcome: Outcome, options: Options) -> dict[str, object]:
    verdict = "dropped" if outcome.reason else "kept"
    values: dict[str, object] = {"name": outcome.name, "verdict": verdict, "reason": outcome.reason}
    values |= {"notes": "; ".join(outcome.notes), "scale": options.scale}
    values |= {"blur": outcome.blur, "unsure": outcome.unsure}
    if outcome.place:
        top, left, height, width = outcome.place
        values |= {"width": width, "height": height, "top": top, "left": left}
    if transform := outcome.transform:
        values |= {"transform": transform.kind, "zoom": transform.zoom, "turn": transform.turn}
        values |= {"stretch": transform.stretch, "perspective": transform.perspective}
        names = (f"h{r}{c}" for r in "123" for c in "123")
        values |= dict(zip(names, map(float, transform.matrix.ravel()), strict=True))
    if found := outcome.found:
        values |= {"residual_median": found.median, "residual_p90": found.p90, "not_fitting": found.off}
        values |= {"windows": found.windows, "correlation": found.correlation, "detail": found.detail}
    if match := outcome.match:
        values["colour_matched"] = "yes" if options.match_colour and not outcome.reason else "no"
        for what, numbers in (("gain", match.gains), ("offset", match.offsets)):
            three = numbers * 3 if len(numbers) == 1 else numbers
            values |= {f"{what}_{colour}": n for colour, n in zip(("red", "green", "blue"), three, strict=True)}
    return values


def rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """A header and a row a pair, for a terminal."""
    header = ("pair", "transform", "zoom", "turn", "residual", "90 %", "correlation", "gain", "size", "verdict")
    return [header, *map(_row, outcomes)]


def figures(outcome: Outcome) -> list[tuple[str, str]]:
    """What was measured of a pair, each with its name, as it is read by people."""
    cells = dict.fromkeys(("transform", "zoom", "turn", "residual", "90 %", "correlation", "gain", "size"), "-")
    if transform := outcome.transform:
        cells |= {"transform": transform.kind, "zoom": f"{transform.zoom:.3f}", "turn": f"{transform.turn:+z.2f}"}
    if found := outcome.found:
        cells |= {"residual": _number(found.median, ".2f"), "90 %": _number(found.p90, ".2f")}
        cells["correlation"] = _number(found.correlation, ".3f")
    if outcome.match:
        cells["gain"] = "/".join(f"{gain:.2f}" for gain in outcome.match.gains)
    if outcome.place:
        cells["size"] = f"{outcome.place[3]} x {outcome.place[2]}"
    return list(cells.items())


def verdict(outcome: Outcome) -> str:
    """Kept or dropped, why, and what is to be said besides."""
    said = [outcome.reason] * bool(outcome.reason) + outcome.notes
    word = "dropped" if outcome.reason else "kept"
    return f"{word}: {'; '.join(said)}" if said else word


def _row(outcome: Outcome) -> tuple[str, ...]:
    return (outcome.name, *(cell for _, cell in figures(outcome)), verdict(outcome))


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)
