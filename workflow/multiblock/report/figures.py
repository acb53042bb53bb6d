"""The figures of a run and of a study: PSNR by phase, learning curves, losses side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import color_sequences, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from multiblock.files import atomic_write
from multiblock.report import markdown
from multiblock.report.losses import history

COLOURS = color_sequences["tab10"]
rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10, "savefig.dpi": 150})


def psnr_by_phase(table: pd.DataFrame, file: Path) -> None:
    """PSNR RGB after each phase, composed and staged, a line a seed and their mean; the first point is the input."""
    phases = list(table.phase.drop_duplicates())
    spans = table.groupby("phase").span.first()
    means = table.groupby("phase")[["psnr_rgb_composed", "psnr_rgb_staged"]].mean().loc[phases]
    shown = means.replace(np.inf, np.nan)  # of identical images: has no place on the axis
    figure = Figure(figsize=(1.9 + 1.25 * len(phases), 4.4), layout="constrained")
    axes = figure.subplots()
    x = np.arange(len(phases))
    seeds = table.seed.nunique()
    if seeds > 1:
        for _, rows in table.groupby("seed"):
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


def learning_curves(
    histories: Mapping[tuple[int, int], Path], trained: Mapping[tuple[int, int], Path], file: Path
) -> None:
    """Training losses, each kind on axes of its own, and validation PSNR, the phases one after another.

    Args:
        histories: the training history of each (seed, phase).
        trained: the training record of each (seed, phase).
    """
    rows = {key: history(path, trained[key]) for key, path in histories.items()}
    begins, total = {}, 0
    for phase in sorted({phase for _, phase in rows}):
        begins[phase] = total
        total += max(int(row.iteration.max()) if len(row) else 0 for (_, p), row in rows.items() if p == phase)
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row.kind)) or ["none"]
    figure = Figure(figsize=(9, 3.2 + 2.8 * len(kinds)), layout="constrained")
    panels = figure.subplots(len(kinds) + 1, 1, sharex=True)
    of_kind, below = dict(zip(kinds, panels, strict=False)), panels[-1]
    for (_, phase), row in rows.items():
        style = {"color": COLOURS[(phase - 1) % len(COLOURS)], "ms": 3, "lw": 1}
        for _, stage in row.groupby("stage"):
            of_kind[stage.kind.iloc[0]].plot(stage.iteration + begins[phase], stage.loss, ".-", **style)
        seen = row.psnr_rgb_validation.replace(np.inf, np.nan).notna()
        below.plot(row.iteration[seen] + begins[phase], row.psnr_rgb_validation[seen], "o-", **style)
    for kind, axes in of_kind.items():
        axes.set(yscale="log", ylabel=f"training loss\n{kind}")
    _no_network(below, trained)
    below.set(ylabel="validation PSNR RGB [dB]\nfloats, no border cut", xlabel="iterations, phase after phase")
    for phase, begin in begins.items():
        for axes in panels:
            axes.axvline(begin, color="0.8", lw=1, zorder=0)
        panels[0].annotate(f"phase {phase}", (begin, 1.01), xycoords=("data", "axes fraction"), fontsize=9)
    save(figure, file)


def _no_network(axes: Axes, trained: Mapping[tuple[int, int], Path]) -> None:
    """A line where the validation images are without any network, where the records say it."""
    for record in trained.values():
        plain = json.loads(record.read_text(encoding="utf-8")).get("psnr_rgb_validation_input")
        if plain is not None and np.isfinite(plain):
            axes.axhline(plain, color="0.6", lw=1, ls=":", label="input (no network)")
            axes.legend(frameon=False, fontsize=8)
            return


def losses(table: pd.DataFrame, runs: Sequence[str], reference: pd.DataFrame | None, file: Path) -> None:
    """Training losses of some runs of a study, beside those of ``reference``, a table with the same column names.

    Losses of different kinds stand below one another, on axes of their own: their values do not compare.
    """
    kinds = list(dict.fromkeys(kind for run in runs for kind in table[f"kind_{run}"].dropna())) or ["none"]
    wide = 1 if reference is None else 2
    figure = Figure(figsize=(1 + 5.5 * wide, 1.2 + 3.6 * len(kinds)), layout="constrained")
    panels = figure.subplots(len(kinds), wide, squeeze=False, sharex="col")
    for kind, axes in zip(kinds, panels[:, 0], strict=True):
        for number, run in enumerate(runs):
            own = table[table[f"loss_{run}"].notna()]
            # Stages of another kind leave a gap in the curve.
            _curve(axes, own.iteration, own[f"loss_{run}"].where(own[f"kind_{run}"] == kind), number, run)
        axes.set(ylabel=f"training loss\n{kind}", yscale="log")
    panels[-1, 0].set_xlabel("iterations")
    if reference is not None:
        panels[0, 0].set_title("here")
        panels[0, 1].set(title="reference", xlabel="epochs", ylabel="training loss, as given", yscale="log")
        panels[0, 1].tick_params(labelbottom=True)
        for number, run in enumerate(runs):
            if f"loss_{run}" in reference:
                _curve(panels[0, 1], pd.Series(range(1, len(reference) + 1)), reference[f"loss_{run}"], number, run)
        for axes in panels[1:, 1]:
            axes.axis("off")
    save(figure, file)


def _curve(axes: Axes, x: pd.Series, values: pd.Series, number: int, run: str) -> None:
    """The curve of a run, the ``number``-th of the figure, which gives it its colour."""
    if values.notna().any():
        marker = "o" if values.notna().sum() < 12 else None
        axes.plot(x, values, lw=1.2, marker=marker, ms=3, label=run, color=COLOURS[number % len(COLOURS)])
        axes.legend(frameon=False, fontsize=8)


def save(figure: Figure, file: Path, **options: Any) -> None:
    """Write a figure whole."""
    with atomic_write(file) as part:
        figure.savefig(part, **options)
