"""The figures of a run and of a study as pictures: PSNR by phase, learning curves, losses, differences."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import color_sequences, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multiblock.files import atomic_write
from multiblock.report import markdown, sentences
from multiblock.report.comparison import Comparison, warning
from multiblock.report.curves import STYLES, Chart, Line, against_compute, bands, final, learning, side_by_side
from multiblock.report.phases import Key, TrainingFiles
from multiblock.report.tables import pooled

COLOURS = color_sequences["tab10"]
rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10, "savefig.dpi": 150})

INTERVALS = {
    "ci95": ("95 % interval: other seeds, other images", 0.0, 5, "0.2"),
    "over_seeds": ("other seeds alone", 0.14, 2, COLOURS[0]),
    "over_images": ("other images alone", 0.24, 2, COLOURS[1]),
}
"""The words of each interval, its distance below the run's line, its width in points, its colour."""

COLUMNS = 4
"""Columns of the legend of a comparison."""

NEAR = 0.5
"""The second panel of a comparison begins so many dB below the baseline's last PSNR."""


def save(figure: Figure, file: Path, **options: Any) -> None:
    """Write a figure whole."""
    with atomic_write(file) as part:
        figure.savefig(part, **options)


# -- A run -------------------------------------------------------------------------------------------------------------


def psnr_by_phase(table: pd.DataFrame, file: Path) -> None:
    """PSNR RGB after each phase, composed and staged, a line a seed and their mean; the first point is the input."""
    phases = list(table.phase.drop_duplicates())
    spans = table.groupby("phase").span.first()
    by_seed = pooled(table)
    means = by_seed.groupby("phase")[["psnr_rgb_composed", "psnr_rgb_staged"]].mean().loc[phases]
    shown = means.replace(np.inf, np.nan)  # of identical images: has no place on the axis
    figure = Figure(figsize=(1.9 + 1.25 * len(phases), 4.4), layout="constrained")
    axes = figure.subplots()
    x = np.arange(len(phases))
    seeds = table.seed.nunique()
    if seeds > 1:
        for _, rows in by_seed.groupby("seed"):
            axes.plot(x, rows.psnr_rgb_composed.replace(np.inf, np.nan), color=COLOURS[0], alpha=0.25, lw=1)
    axes.plot(x, shown.psnr_rgb_composed, "o-", color=COLOURS[0], lw=2, label="composed: the network on LR")
    axes.plot(x[1:], shown.psnr_rgb_staged[1:], "s--", color=COLOURS[1], ms=5, lw=1, label="staged: on cached images")
    if shown.psnr_rgb_composed.notna().iloc[0]:
        axes.axhline(shown.psnr_rgb_composed.iloc[0], color="0.6", lw=1, ls=":")
    _annotate(axes, means.psnr_rgb_composed, set(table[table.below_no_network != ""].phase))
    names = ["input\n(no network)"] + [f"phase {phase}\n{_blocks(spans[phase])}" for phase in phases[1:]]
    axes.set_xticks(x, names)
    axes.margins(x=0.08, y=0.25)
    axes.set_ylabel("PSNR RGB of the test images [dB]")
    figure.legend(frameon=False, loc="outside upper center", ncols=2, fontsize=9)
    noise = "; one seed: differences under about 0.1 dB are not distinguishable" if seeds == 1 else ""
    figure.supxlabel(f"floats, no rounding, no border cut{noise}", fontsize=8, color="0.4")
    save(figure, file)


def _annotate(axes: Axes, psnr: pd.Series, below: set[str]) -> None:
    """Write each phase's PSNR and what it gained over the input beside its point."""
    lowest = psnr[np.isfinite(psnr)].min() if np.isfinite(psnr).any() else 0.0
    for place, (phase, value) in enumerate(psnr.items()):
        lines = [markdown.psnr(value, digits=2), markdown.gain(value, psnr.iloc[0], digits=2) if place else ""]
        lines += ["BELOW\nNO NETWORK"] if phase in below else []
        at = (place, value if np.isfinite(value) else lowest)
        style: dict[str, Any] = {"color": "tab:red", "weight": "bold"} if phase in below else {}
        style["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        text = "\n".join(filter(None, lines))
        axes.annotate(text, at, (0, 9), textcoords="offset points", ha="center", fontsize=9, **style)


def _blocks(span: str) -> str:
    return f"blocks {span}" if "-" in span else f"block {span}"


def learning_curves(phases: Mapping[Key, TrainingFiles], file: Path) -> None:
    """Training losses, each kind on axes of its own, and validation PSNR, the phases one after another."""
    psnr, *losses = learning(phases)
    charts = [*(losses or [replace(psnr, y=("training loss", "none"), log=True, lines=(), level=None)]), psnr]
    figure = Figure(figsize=(9, 3.2 + 2.8 * (len(charts) - 1)), layout="constrained")
    panels = figure.subplots(len(charts), 1, sharex=True)
    for chart, axes in zip(charts, panels, strict=True):
        for line in chart.lines:
            style = {"color": COLOURS[line.colour % len(COLOURS)], "ms": 3, "lw": 1}
            axes.plot(line.points.iteration, line.points.y, ".-" if chart.log else "o-", **style)
        axes.set(ylabel="\n".join(chart.y), **({"yscale": "log"} if chart.log else {}))
        if chart.level is not None:
            axes.axhline(chart.level, color="0.6", lw=1, ls=":", label="input (no network)")
            axes.legend(frameon=False, fontsize=8)
    panels[-1].set_xlabel(psnr.xs["iteration"])
    for phase, begin in psnr.begins.items():
        for axes in panels:
            axes.axvline(begin, color="0.8", lw=1, zorder=0)
        panels[0].annotate(f"phase {phase}", (begin, 1.01), xycoords=("data", "axes fraction"), fontsize=9)
    save(figure, file)


# -- A study -----------------------------------------------------------------------------------------------------------


def losses(table: pd.DataFrame, runs: Sequence[str], reference: pd.DataFrame | None, file: Path) -> None:
    """Training losses of some runs of a study, beside those of ``reference``, a table with the same column names.

    Losses of different kinds are drawn below one another, on axes of their own: their values do not compare.
    """
    charts = side_by_side(table, runs) or [Chart(title="", xs={}, y=("training loss", "none"), log=True)]
    wide = 1 if reference is None else 2
    figure = Figure(figsize=(1 + 5.5 * wide, 1.2 + 3.6 * len(charts)), layout="constrained")
    panels = figure.subplots(len(charts), wide, squeeze=False, sharex="col")
    for chart, axes in zip(charts, panels[:, 0], strict=True):
        for run in runs:
            _losses_of_run(axes, [line for line in chart.lines if line.name == run])
        axes.set(ylabel="\n".join(chart.y), yscale="log")
    panels[-1, 0].set_xlabel("iterations")
    if reference is not None:
        panels[0, 0].set_title("here")
        panels[0, 1].set(title="reference", xlabel="epochs", ylabel="training loss, as given", yscale="log")
        panels[0, 1].tick_params(labelbottom=True)
        for colour, run in enumerate(runs):
            if f"loss_{run}" in reference:
                points = pd.DataFrame({"iteration": range(1, len(reference) + 1), "y": reference[f"loss_{run}"]})
                _losses_of_run(panels[0, 1], [Line(name=run, colour=colour, points=points)])
        for axes in panels[1:, 1]:
            axes.axis("off")
    save(figure, file)


def _losses_of_run(axes: Axes, lines: Sequence[Line]) -> None:
    """The curve of a run, which may have gaps."""
    known = sum(line.points.y.notna().sum() for line in lines)
    for number, line in enumerate(lines):
        style: dict[str, Any] = {"lw": 1.2, "marker": "o" if known < 12 else None, "ms": 3}
        style |= {"color": COLOURS[line.colour % len(COLOURS)], "label": line.name if number == 0 else None}
        if known:
            axes.plot(line.points.iteration, line.points.y, **style)
            axes.legend(frameon=False, fontsize=8)


def differences(found: Comparison, file: Path) -> None:
    """PSNR RGB over the baseline, or over another run, a line a pair: the difference, its intervals, a dot a seed."""
    rows = found.differences[found.differences.metric == "psnr_rgb"]
    figure = Figure(figsize=(9, 1.7 + 0.9 * max(len(rows), 1)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="0.5", lw=1, ls=":")
    for place, row in enumerate(rows.itertuples()):
        _difference(axes, place, row)
        if warned := warning(found.spent[row.run], found.spent[row.baseline], row.baseline):
            style: dict[str, Any] = {"color": "tab:red", "fontsize": 8, "ha": "right"}
            axes.annotate(warned, (1, place - 0.3), xycoords=("axes fraction", "data"), **style)
    over = ["" if row.baseline == found.baseline else f"\nover {row.baseline}" for row in rows.itertuples()]
    names = [
        f"{row.run}{other}\n{row.why_not or sentences.size(row)}"
        for row, other in zip(rows.itertuples(), over, strict=True)
    ]
    base = f"{found.baseline}{', or over the run named there' if any(over) else ''}"
    axes.set_yticks(range(len(rows)), names, fontsize=9)
    axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel=f"PSNR RGB over {base} [dB], floats, no border cut")
    handles = [Line2D([], [], lw=width, color=colour, label=words) for words, _, width, colour in INTERVALS.values()]
    handles.append(Line2D([], [], marker="o", ms=4, ls="", mfc="none", color=COLOURS[0], label="a seed"))
    figure.legend(handles=handles, frameon=False, loc="outside upper center", ncols=4, fontsize=8)
    save(figure, file)


def _difference(axes: Axes, place: int, row: Any) -> None:
    """The line of one pair, ``place`` from above."""
    if row.why_not:
        return
    for name, (_, below, width, colour) in INTERVALS.items():
        low, high = (getattr(row, f"{name}_{end}") for end in ("low", "high"))
        if pd.notna(low):
            axes.plot([low, high], [place + below] * 2, lw=width, color=colour, solid_capstyle="butt")
    seeds = list(json.loads(row.by_seed).values())
    axes.plot(seeds, [place + INTERVALS["over_seeds"][1]] * len(seeds), "o", ms=4, mfc="none", color=COLOURS[0])
    axes.plot(row.difference, place, "D", ms=7, color="white", mec="0.2")
    text = f"{row.difference:+.3f} dB" + (" (one seed: no interval over seeds)" if pd.isna(row.ci95_low) else "")
    axes.annotate(text, (row.difference, place), (0, 8), textcoords="offset points", ha="center", fontsize=9)


def curves(looks: pd.DataFrame, found: Comparison, against: str, file: Path) -> None:
    """Validation PSNR against what was spent: a line a run, means over the seeds, and a band from least to most.

    The first panel shows all from just below "no network" on, the second what is near the baseline's last PSNR. A
    number is written at the end of each phase.

    Args:
        looks: as :func:`multiblock.report.curves.looks` gives them.
        against: ``block_pixels`` or ``seconds``.
    """
    runs, means = list(found.runs.run), bands(looks)
    chart = against_compute(looks, runs, found.validation_input)
    colours = COLOURS if len(runs) <= len(COLOURS) else color_sequences["tab20"]
    figure = Figure(figsize=(11, 4.2 + 0.2 * math.ceil((len(runs) + len(STYLES)) / COLUMNS)), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True)
    for line in chart.lines:
        for axes in panels:
            _stretch(axes, line, against, colours[line.colour % len(colours)])
    _limits(panels, chart, means, final(means[means.run == found.baseline]), found.baseline)
    panels[0].set_ylabel("\n".join(chart.y))
    figure.supxlabel(chart.xs[against], fontsize=10)
    drawn = {line.network for line in chart.lines}
    handles = [Line2D([], [], color=colours[n % len(colours)], lw=2, label=run) for n, run in enumerate(runs)]
    handles += [
        Line2D([], [], color="0.3", ls=style.line, lw=1, label=style.legend)
        for network, style in STYLES.items()
        if network in drawn
    ]
    figure.legend(handles=handles, frameon=False, loc="outside upper center", ncols=COLUMNS, fontsize=8)
    save(figure, file)


def _limits(panels: Iterable[Axes], chart: Chart, means: pd.DataFrame, target: float | None, baseline: str) -> None:
    """Set the y axes of both panels, and draw the levels of the baseline's last PSNR and of no network."""
    whole, near = panels
    if target is None:
        return
    for axes in (whole, near):
        axes.axhline(target, color="0.4", lw=1, ls=(0, (1, 3)), zorder=0)
    highest = max(means.high.max(), target)
    near.set_ylim(target - NEAR, highest + 0.1 * (highest - target + NEAR))
    near.set_title(f"near the last PSNR of {baseline}, {target:.3f} dB", fontsize=9)
    if chart.level is not None:
        whole.axhline(chart.level, color="0.6", lw=1, ls=":", zorder=0)
        lowest = max(means.low.min(), min(chart.level, target) - NEAR)
        whole.set_ylim(min(lowest, chart.level) - 0.1, None)
        whole.set_title(f"all looks from {lowest:.2f} dB on; dotted: no network, {chart.level:.2f} dB", fontsize=9)


def _stretch(axes: Axes, line: Line, against: str, colour: Any) -> None:
    """A stretch of a run, its phases each a line of its own, numbered at its end."""
    for phase, rows in line.points.groupby("phase", sort=False):
        x, ls = rows[against], STYLES[line.network].line
        axes.plot(x, rows.y, color=colour, lw=1.4, ls=ls, marker="." if len(rows) < 12 else None, ms=4)
        if (rows.seeds > 1).any():
            axes.fill_between(x, rows.low, rows.high, color=colour, alpha=0.18, lw=0)
        end = (x.iloc[-1], rows.y.iloc[-1])
        axes.plot(*end, "o", color=colour, ms=5)
        offset: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "color": colour, "clip_on": True}
        axes.annotate(str(phase), end, (3, 4), annotation_clip=True, **offset)
