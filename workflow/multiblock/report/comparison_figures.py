"""The figures of a comparison: differences with their intervals, and what was reached for what was spent."""

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import color_sequences
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multiblock.report import compute, curves, sentences
from multiblock.report.comparison import Comparison
from multiblock.report.figures import COLOURS, save

INTERVALS = {
    "ci95": ("95 % interval: other seeds, other images", 0.0, 5, "0.2"),
    "over_seeds": ("other seeds alone", 0.14, 2, COLOURS[0]),
    "over_images": ("other images alone", 0.24, 2, COLOURS[1]),
}
"""Of each interval: its words, how far below the run's line it stands, its width in points, its colour."""

STYLES = {curves.COMPOSED: "-", curves.STAGED: "--", curves.PART: ":"}
WORDS = {
    curves.COMPOSED: "the network on LR",
    curves.STAGED: "its last blocks on cached images (staged)",
    curves.PART: "a span with trained blocks after it",
}

AXES = {
    "block_pixels": "block-pixels of training",
    "seconds": "seconds of training iterations, and of LR_k if recorded",
}

COLUMNS = 4
"""Of the legend."""

NEAR = 0.5
"""How far below the baseline's last PSNR the second panel begins, in dB."""


def of_differences(found: Comparison, file: Path) -> None:
    """PSNR RGB over the baseline, or over another run, a line a pair: the difference, its intervals, a dot a seed."""
    rows = found.differences[found.differences.metric == "psnr_rgb"]
    figure = Figure(figsize=(9, 1.7 + 0.9 * max(len(rows), 1)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="0.5", lw=1, ls=":")
    for place, row in enumerate(rows.itertuples()):
        _difference(axes, place, row)
        if warning := compute.warning(found.spent[row.run], found.spent[row.baseline], row.baseline):
            style: dict[str, Any] = {"color": "tab:red", "fontsize": 8, "ha": "right"}
            axes.annotate(warning, (1, place - 0.3), xycoords=("axes fraction", "data"), **style)
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
    """One run's line, ``place`` from above."""
    if row.why_not:
        return
    for name, (_, below, width, colour) in INTERVALS.items():
        low, high = (getattr(row, f"{name}_{end}") for end in ("low", "high"))
        if pd.notna(low):
            axes.plot([low, high], [place + below] * 2, lw=width, color=colour, solid_capstyle="butt")
    seeds = list(json.loads(row.by_seed).values())
    axes.plot(seeds, [place + INTERVALS["over_seeds"][1]] * len(seeds), "o", ms=4, mfc="none", color=COLOURS[0])
    axes.plot(row.difference, place, "D", ms=7, color="white", mec="0.2")
    text = f"{row.difference:+.3f} dB" + (" (one seed: no interval over seeds)" if row.seeds == 1 else "")
    axes.annotate(text, (row.difference, place), (0, 8), textcoords="offset points", ha="center", fontsize=9)


def of_curves(looks: pd.DataFrame, found: Comparison, against: str, file: Path) -> None:
    """Validation PSNR against what was spent: a line a run, means over the seeds, and a band from least to most.

    The first panel shows all from just below "no network" on, the second what is near the baseline's last PSNR. A
    number stands at the end of each phase.

    Args:
        looks: as :func:`multiblock.report.curves.looks` gives them.
        against: ``block_pixels`` or ``seconds``.
    """
    means, runs = curves.bands(looks), list(found.runs.run)
    many = COLOURS if len(runs) <= len(COLOURS) else color_sequences["tab20"]
    colours = {run: many[number % len(many)] for number, run in enumerate(runs)}
    figure = Figure(figsize=(11, 4.2 + 0.2 * math.ceil((len(runs) + len(STYLES)) / COLUMNS)), layout="constrained")
    whole, near = figure.subplots(1, 2, sharex=True)
    for run, colour in colours.items():
        for axes in (whole, near):
            _curve(axes, means[means.run == run], against, colour)
    target = curves.final(means[means.run == found.baseline])
    if target is not None:
        for axes in (whole, near):
            axes.axhline(target, color="0.4", lw=1, ls=(0, (1, 3)), zorder=0)
        highest = max(means.high.max(), target)
        near.set_ylim(target - NEAR, highest + 0.1 * (highest - target + NEAR))
        near.set_title(f"near the last PSNR of {found.baseline}, {target:.3f} dB", fontsize=9)
    plain = found.validation_input
    if plain is not None and target is not None:
        whole.axhline(plain, color="0.6", lw=1, ls=":", zorder=0)
        lowest = max(means.low.min(), min(plain, target) - NEAR)
        whole.set_ylim(min(lowest, plain) - 0.1, None)
        whole.set_title(f"all looks from {lowest:.2f} dB on; dotted: no network, {plain:.2f} dB", fontsize=9)
    whole.set_ylabel("validation PSNR RGB [dB]\nfloats, no border cut")
    figure.supxlabel(AXES[against], fontsize=10)
    styles = [how for how in STYLES if how in set(means.network)]
    handles = [Line2D([], [], color=colour, lw=2, label=run) for run, colour in colours.items()]
    handles += [Line2D([], [], color="0.3", ls=STYLES[how], lw=1, label=WORDS[how]) for how in styles]
    figure.legend(handles=handles, frameon=False, loc="outside upper center", ncols=COLUMNS, fontsize=8)
    save(figure, file)


def _curve(axes: Axes, means: pd.DataFrame, against: str, colour: Any) -> None:
    """The phases of one run, each a line of its own, numbered at its end."""
    for phase, rows in means.groupby("phase", sort=False):
        x, style = rows[against], STYLES[rows.network.iloc[0]]
        marker = "." if len(rows) < 12 else None
        axes.plot(x, rows.psnr_rgb_validation, color=colour, lw=1.4, ls=style, marker=marker, ms=4)
        if (rows.seeds > 1).any():
            axes.fill_between(x, rows.low, rows.high, color=colour, alpha=0.18, lw=0)
        end = (x.iloc[-1], rows.psnr_rgb_validation.iloc[-1])
        axes.plot(*end, "o", color=colour, ms=5)
        offset: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "color": colour, "clip_on": True}
        axes.annotate(str(phase), end, (3, 4), annotation_clip=True, **offset)
