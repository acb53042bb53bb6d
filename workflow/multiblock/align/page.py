"""What became of each pair: a table for a terminal, a CSV, and a page that shows each pair as a slider.

All that the page shows is in it.
"""

import base64
import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
from PIL import Image

from multiblock.align.pair import Options, Outcome
from multiblock.data import images

KINDS = ("LR", "HR")
CSV, PAGE = "pairs.csv", "pairs.html"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Two photographs of one name, and where the pair goes."""

    name: str
    lr: Path
    hr: Path
    out: Path

    def target(self, kind: str) -> Path:
        """The file that is written of LR or HR."""
        return self.out / kind / f"{self.name}.png"


# -- Tables ------------------------------------------------------------------------------------------------------------

HEADER = (
    "name", "verdict", "reason", "notes", "scale", "width", "height", "top", "left",
    "transform", "zoom", "turn", "stretch", "perspective", *(f"h{r}{c}" for r in "123" for c in "123"),
    "blur", "unsure", "residual_median", "residual_p90", "not_fitting", "windows", "correlation", "detail",
    "colour_matched", "gain_red", "gain_green", "gain_blue", "offset_red", "offset_green", "offset_blue",
)  # fmt: skip
"""Columns of the CSV. Lengths are HR pixels, ``turn`` degrees, offsets shares of white; ``h11`` to ``h33`` take HR's
pixels (x, y, 1) to LR's, as the photographs are turned upright."""


def as_csv(outcomes: Sequence[Outcome], options: Options) -> str:
    """All that was found of each pair as CSV, a row each."""
    text = StringIO()
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
    """Kept or dropped, why, and what is doubtful besides."""
    reasons = [outcome.reason] * bool(outcome.reason) + outcome.notes
    word = "dropped" if outcome.reason else "kept"
    return f"{word}: {'; '.join(reasons)}" if reasons else word


def _row(outcome: Outcome) -> tuple[str, ...]:
    return (outcome.name, *(cell for _, cell in figures(outcome)), verdict(outcome))


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


# -- Page --------------------------------------------------------------------------------------------------------------

WHOLE, DETAIL = 640, 360
"""Longest side of the whole picture as it is shown, and side of a part of it at full size, in pixels."""
MOST_PICTURES = 150
"""Pairs that are shown as pictures: a page of more would take long to open."""
_QUALITY = 82


@dataclass(frozen=True, kw_only=True)
class View:
    """LR and HR of one size, as addresses that hold the picture."""

    title: str
    lr: str
    hr: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A pair as the page has it."""

    outcome: Outcome
    views: tuple[View, ...] = ()


def shown(outcome: Outcome, job: Job) -> Shown:
    """A pair with its pictures, read from the files that were written: in sRGB, as they are trained on."""
    if outcome.reason:
        return Shown(outcome=outcome)

    def quietly(*_: object) -> None:
        """Nothing is logged: what is converted was, when the photographs were read."""

    lr, hr = (Image.fromarray(images.read(job.target(kind), quietly)) for kind in ("LR", "HR"))
    lr = lr.resize(hr.size, Image.Resampling.BICUBIC)
    factor = min(1.0, WHOLE / max(hr.size))
    size = (max(1, round(hr.width * factor)), max(1, round(hr.height * factor)))
    whole = _view("the whole pair", lr.resize(size, Image.Resampling.BOX), hr.resize(size, Image.Resampling.BOX))
    if factor == 1.0:
        return Shown(outcome=outcome, views=(whole,))
    box = _most_detail(hr)
    return Shown(outcome=outcome, views=(whole, _view("a part, pixel by pixel", lr.crop(box), hr.crop(box))))


def _view(title: str, lr: Image.Image, hr: Image.Image) -> View:
    return View(title=title, lr=_address(lr), hr=_address(hr), width=hr.width, height=hr.height)


def _address(image: Image.Image) -> str:
    content = BytesIO()
    image.save(content, "WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()


def _most_detail(image: Image.Image) -> tuple[int, int, int, int]:
    """The part of the picture where most happens, as Pillow's box."""
    gray = np.asarray(image.convert("L"), np.float32)
    changes = np.abs(np.diff(gray, axis=0))[:, 1:] + np.abs(np.diff(gray, axis=1))[1:]
    sums = np.pad(changes.cumsum(axis=0, dtype=np.float64).cumsum(axis=1), ((1, 0), (1, 0)))
    height, width = (min(DETAIL, length) for length in changes.shape)
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = (int(place) for place in np.unravel_index(inside.argmax(), inside.shape))
    return left, top, left + width, top + height


def render(pairs: Sequence[Shown], options: Options) -> str:
    """The page as HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("multiblock.align", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    kept = [pair for pair in pairs if not pair.outcome.reason]
    return environment.get_template("page.html.j2").render(
        pairs=pairs,
        pictured=set(map(id, kept[:MOST_PICTURES])),
        kept=len(kept),
        most=MOST_PICTURES,
        options=options,
        figures=figures,
        verdict=verdict,
        identity=id,
    )
