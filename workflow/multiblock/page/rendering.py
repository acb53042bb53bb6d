"""Templates, styles, programs and charts of the pages, put together into one file that asks for nothing else."""

import json
import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from multiblock.errors import UserError
from multiblock.files import write_text
from multiblock.report.curves import STYLES, Chart, Line

HERE = Path(__file__).parent

MEGABYTE = 1_000_000

LIMIT = 15 * MEGABYTE
"""Bytes of a page."""

SMALL = 1_400_000
"""Bytes of a page inside Snakemake's report, which leaves larger ones blank where it is a single file."""

POINTS, POINTS_IN_SMALL = 20_000, 4_000
"""Points of all charts of a page together."""

_STYLES = ("page.css", "viewer.css")
_PROGRAMS = ("page.js", "viewer.js", "controls.js", "charts.js")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data": as_data, "rich": rich}
    return environment


def render(template: str, **values: Any) -> str:
    """A page as text: ``template`` filled with values, with all it needs inside."""
    styles, programs = (
        "\n".join((HERE / "static" / name).read_text(encoding="utf-8") for name in names)
        for names in (_STYLES, _PROGRAMS)
    )
    # They are of the package, not data, so nothing in them is escaped.
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(styles),
            program=Markup('"use strict";\n(() => {\n' + programs + "\nstart();\n})();"),
            **values,
        )
    )


def as_data(value: Any) -> Markup:
    """A value as JSON for the inside of a script element: nothing in it ends the element or begins another."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def rich(text: object) -> Markup:
    """A sentence of the project's own Markdown as HTML: bold, italics, code; all else is text."""
    found = re.split(r"(\*\*.+?\*\*|`[^`]+`|\*[^*\s](?:[^*]*[^*\s])?\*)", str(text), flags=re.DOTALL)
    return Markup("").join(map(_marked, found))


def _marked(text: str) -> Markup:
    for mark, name in (("**", "strong"), ("`", "code"), ("*", "em")):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            return Markup("<{0}>{1}</{0}>").format(Markup(name), text.removeprefix(mark).removesuffix(mark))
    return escape(text)


def write(out: Path, text: str, limit: int = LIMIT) -> None:
    """Write a page whole.

    Raises:
        UserError: it is larger than ``limit`` bytes, without any picture.
    """
    if (size := len(text.encode())) > limit:
        raise UserError(f"{out}: the page would take {size / MEGABYTE:.1f} MB; allowed are {limit / MEGABYTE:.1f} MB")
    write_text(out, text)


def write_small(out: Path, text: str, title: str, elsewhere: str) -> None:
    """Write the form of a page for Snakemake's report; where it is too large, a page that names the full one alone.

    Args:
        elsewhere: where the full page is.
    """
    if len(text.encode()) > SMALL:
        text = render("elsewhere.html.j2", title=title, elsewhere=elsewhere)
    write(out, text, SMALL)


def within(template: str, limit: int, fill: Any, **values: Any) -> str:
    """A page of at most ``limit`` bytes: its pictures get what the rest of it leaves.

    Args:
        fill: takes bytes and gives the viewer's data of no more than that.
    """
    bare = len(render(template, viewer=fill(0), **values).encode())
    return render(template, viewer=fill(max(0, limit - bare - limit // 100)), **values)


# -- Charts ------------------------------------------------------------------------------------------------------------


def charts(drawn: Sequence[Chart], most: int) -> dict[str, Any]:
    """Charts of about ``most`` points together as the templates name them; the first is PSNR against compute.

    Charts of validation PSNR without any look are left out, but for the first.
    """
    first, *others = drawn
    count = sum(len(line.points) for chart in drawn for line in chart.lines)
    step = max(1, math.ceil(count / most))
    notes = [style.note for network, style in STYLES.items() if network in {line.network for line in first.lines}]
    return {
        "compute": chart_data(first, step),
        "lines": " ".join(notes),
        "learning": [chart_data(chart, step) for chart in others if chart.lines],
        "thinned": step > 1,
    }


def chart_data(chart: Chart, step: int = 1) -> dict[str, Any]:
    """A chart in plain values, a series a name, with every ``step``-th of its points; the last of a line always."""
    series: dict[str, dict[str, Any]] = {}
    for line in chart.lines:
        points = _points(chart, line, step)
        if points:
            of = series.setdefault(line.name, {"name": line.name, "colour": line.colour, "lines": []})
            of["lines"].append({"points": points, "dash": STYLES[line.network].dash})
    return {
        "title": chart.title,
        "xs": [{"label": label, "most": chart.most} for label in chart.xs.values()],
        "y": {"label": ", ".join(chart.y) + ("; log scale" if chart.log else ""), "log": chart.log},
        "series": list(series.values()),
        "lines": [] if chart.level is None else [{"y": round(chart.level, 4), "label": "no network"}],
        "marks": [{"x": begin, "label": f"phase {phase}"} for phase, begin in chart.begins.items()],
    }


def _points(chart: Chart, line: Line, step: int) -> list[dict[str, Any]]:
    # What is not finite, and 0 on a logarithmic axis, has no place.
    known = line.points[line.points.y.map(lambda y: math.isfinite(y) and (y > 0 or not chart.log))]
    return [
        {
            "x": [_short(round(getattr(row, column), 1), 12) for column in chart.xs],
            "y": _short(row.y),
            "band": [_short(row.low), _short(row.high)] if getattr(row, "seeds", 1) > 1 else None,
            "note": row.note,
        }
        for row in known[::-1][::step][::-1].itertuples()
    ]


def _short(value: float, digits: int = 6) -> float:
    """A number of so many digits that takes as few characters as can be."""
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() else short
