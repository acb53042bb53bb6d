"""The data of charts: series of points with a note each; the page draws them."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiblock.report import curves
from multiblock.report.losses import history

_DASHES = {curves.COMPOSED: "", curves.STAGED: "6 4", curves.PART: "2 4"}
_LINES = {
    curves.COMPOSED: "Solid: the whole network on LR.",
    curves.STAGED: "Dashed: staged, the blocks of a phase on cached images.",
    curves.PART: "Dotted curves: a part of the network.",
}
_SEEN = {curves.COMPOSED: "", curves.STAGED: ", staged", curves.PART: ", part of the network"}

_ITERATIONS = "iterations, phase after phase"

Chart = dict[str, Any]


def compute(seen: pd.DataFrame, runs: Sequence[str], no_network: float | None) -> Chart:
    """PSNR of the validation images against block-pixels and seconds: a series a run, means over the seeds.

    Args:
        seen: looks at the validation images, as :func:`multiblock.report.curves.looks` gives them.
        no_network: PSNR RGB in dB of these images without any network.
    """
    bands = curves.bands(seen)
    series = []
    for number, run in enumerate(runs):
        rows, lines = bands[bands.run == run], list[dict[str, Any]]()
        changes = (rows.network != rows.network.shift()).cumsum()
        for _, part in rows.groupby(changes):
            seen_as = part.network.iloc[0]
            points = [
                {
                    "x": [int(row.block_pixels), round(row.seconds, 1)],
                    "y": round(row.psnr_rgb_validation, 4),
                    "band": [round(row.low, 4), round(row.high, 4)] if row.seeds > 1 else None,
                    "note": f"phase {row.phase}, iteration {row.iteration:,}{_SEEN[seen_as]}",
                }
                for row in part.itertuples()
            ]
            lines.append({"points": points, "dash": _DASHES[seen_as]})
        if lines:
            series.append({"name": run, "colour": number, "lines": lines})
    return {
        "title": "Validation PSNR against compute",
        "xs": [{"label": "block-pixels of training"}, {"label": "seconds of iterations and of making LR_k"}],
        "y": {"label": "PSNR RGB of the validation images, dB", "log": False},
        "series": series,
        "lines": _line(no_network),
        "marks": [],
    }


def learning(phases: Mapping[tuple[int, int], Path]) -> list[Chart]:
    """Learning curves: validation PSNR, then the training loss, each kind on axes of its own; phase after phase.

    Args:
        phases: the folder of each (seed, phase), which holds history and training record.
    """
    rows = {key: history(folder / "history.csv", folder / "training.json") for key, folder in phases.items()}
    begins, total = dict[int, int](), 0
    for phase in sorted({phase for _, phase in rows}):
        begins[phase] = total
        total += max((int(of.iteration.max()) for (_, p), of in rows.items() if p == phase and len(of)), default=0)
    marks = [{"x": begin, "label": f"phase {phase}"} for phase, begin in begins.items()]
    xs = [{"label": _ITERATIONS, "most": total}]
    kinds = list(dict.fromkeys(kind for of in rows.values() for kind in of.kind.dropna()))
    psnr = _chart("Validation PSNR", "PSNR RGB of the validation images, dB", False, xs, marks)
    psnr["series"] = _series(rows, begins, "psnr_rgb_validation", None)
    psnr["lines"] = _line(no_network(phases.values()))
    found = [psnr] if psnr["series"] else []
    for kind in kinds:
        chart = _chart(f"Training loss: {kind}", f"training loss, {kind}; log scale", True, xs, marks)
        chart["series"] = _series(rows, begins, "loss", kind)
        found.append(chart)
    return found


def _chart(title: str, label: str, log: bool, xs: list[dict[str, Any]], marks: list[dict[str, Any]]) -> Chart:
    return {"title": title, "xs": xs, "y": {"label": label, "log": log}, "series": [], "lines": [], "marks": marks}


def _series(
    rows: Mapping[tuple[int, int], pd.DataFrame], begins: Mapping[int, int], column: str, kind: str | None
) -> list[dict[str, Any]]:
    """A series a phase, with a line a seed and, of a loss, a stage."""
    series = []
    for phase, begin in begins.items():
        lines = []
        for (seed, number), of in sorted(rows.items(), key=lambda item: item[0]):
            known = of[np.isfinite(of[column].astype(float))] if number == phase else of[:0]
            known = known[known.kind == kind] if kind else known
            if kind:
                known = known[known[column] > 0]  # a logarithm
            for _, part in known.groupby("stage") if kind else [(None, known)]:
                points = [_point(row, column, begin, seed) for row in part.itertuples()]
                lines += [{"points": points, "dash": ""}] if points else []
        if lines:
            series.append({"name": f"phase {phase}", "colour": phase - 1, "lines": lines})
    return series


def _point(row: Any, column: str, begin: int, seed: int) -> dict[str, Any]:
    value = float(getattr(row, column))
    return {
        "x": [begin + int(row.iteration)],
        "y": float(f"{value:.6g}"),
        "band": None,
        "note": f"seed {seed}, iteration {row.iteration:,}, stage {row.stage}, lr {row.lr:.3g}",
    }


def losses(table: pd.DataFrame, runs: Sequence[str]) -> list[Chart]:
    """Training losses of runs, each kind on axes of its own, means over the seeds: a series a run.

    Args:
        table: as :func:`multiblock.report.losses.losses` gives it.
    """
    kinds = list(dict.fromkeys(kind for run in runs for kind in table[f"kind_{run}"].dropna()))
    found = []
    for kind in kinds:
        chart = _chart(
            f"Training loss: {kind}", f"training loss, {kind}; log scale", True, [{"label": _ITERATIONS}], []
        )
        for number, run in enumerate(runs):
            lines = list(_stretches(table, run, kind))
            if lines:
                chart["series"].append({"name": run, "colour": number, "lines": lines})
        found.append(chart)
    return found


def _stretches(table: pd.DataFrame, run: str, kind: str) -> Iterator[dict[str, Any]]:
    """A line for each stretch of a run with a loss of that kind: stages of another kind leave a gap."""
    own = table[table[f"loss_{run}"].notna()]
    fits = own[f"kind_{run}"] == kind
    for _, part in own[fits].groupby((fits != fits.shift()).cumsum()[fits]):
        points = [
            {"x": [int(x)], "y": float(f"{y:.6g}"), "band": None, "note": f"iteration {int(x):,}"}
            for x, y in part[["iteration", f"loss_{run}"]].to_numpy(float)
            if y > 0
        ]
        if points:
            yield {"points": points, "dash": ""}


def thinned(charts: Sequence[Chart], most: int) -> tuple[list[Chart], bool]:
    """Charts of about ``most`` points together, and whether any were left out: evenly, the last of a line never."""
    count = sum(len(line["points"]) for chart in charts for of in chart["series"] for line in of["lines"])
    step = math.ceil(count / most)
    if step <= 1:
        return list(charts), False
    return [{**chart, "series": [_every(step, of) for of in chart["series"]]} for chart in charts], True


def for_template(drawn: Sequence[Chart], most: int) -> dict[str, Any]:
    """Charts of about ``most`` points together as the templates name them; the first is PSNR against compute."""
    (compute_chart, *others), left_out = thinned(drawn, most)
    return {"compute": compute_chart, "lines": _about_lines(compute_chart), "learning": others, "thinned": left_out}


def _about_lines(chart: Chart) -> str:
    """What the kinds of lines are that a chart has."""
    drawn = {line["dash"] for of in chart["series"] for line in of["lines"]}
    return " ".join(said for kind, said in _LINES.items() if _DASHES[kind] in drawn)


def _every(step: int, series: Mapping[str, Any]) -> dict[str, Any]:
    return {**series, "lines": [{**line, "points": line["points"][::-step][::-1]} for line in series["lines"]]}


def _line(value: float | None) -> list[dict[str, Any]]:
    known = value is not None and math.isfinite(value)
    return [{"y": round(float(value or 0), 4), "label": "no network"}] if known else []


def no_network(phases: Any) -> float | None:
    """PSNR RGB in dB of the validation images without any network; None where no record says it."""
    for folder in phases:
        record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        if (plain := record.get("psnr_rgb_validation_input")) is not None:
            return float(plain)
    return None
