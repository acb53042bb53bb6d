"""The figures of a run: PSNR by phase, learning curves, and strips of pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import color_sequences, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from multiblock.data.images import read
from multiblock.data.imageset import ImageSet
from multiblock.files import atomic_write

COLOURS = color_sequences["tab10"]
rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10, "savefig.dpi": 150})


def psnr_by_phase(table: pd.DataFrame, file: Path) -> None:
    """PSNR RGB after each phase, composed and staged, a line a seed and their mean; the first point is the input."""
    phases = list(table.phase.drop_duplicates())
    spans = table.groupby("phase").span.first()
    means = table.groupby("phase")[["psnr_rgb_composed", "psnr_rgb_staged"]].mean().loc[phases]
    figure = Figure(figsize=(1.9 + 1.25 * len(phases), 4.2), layout="constrained")
    axes = figure.subplots()
    x = np.arange(len(phases))
    if table.seed.nunique() > 1:
        for _, rows in table.groupby("seed"):
            axes.plot(x, rows.psnr_rgb_composed, color=COLOURS[0], alpha=0.25, lw=1)
    axes.plot(x, means.psnr_rgb_composed, "o-", color=COLOURS[0], lw=2, label="composed: the network on LR")
    axes.plot(x[1:], means.psnr_rgb_staged[1:], "s--", color=COLOURS[1], ms=5, lw=1, label="staged: on cached images")
    for i, value in enumerate(means.psnr_rgb_composed):
        gain = "" if i == 0 else f"\n{value - means.psnr_rgb_composed.iloc[0]:+.2f}"
        axes.annotate(f"{value:.2f}{gain}", (i, value), (0, 9), textcoords="offset points", ha="center", fontsize=9)
    axes.axhline(means.psnr_rgb_composed.iloc[0], color="0.6", lw=1, ls=":")
    names = ["input\n(no network)"] + [f"phase {phase}\n{_blocks(spans[phase])}" for phase in phases[1:]]
    axes.set_xticks(x, names)
    axes.margins(x=0.08, y=0.2)
    axes.set_ylabel("PSNR RGB of the test images [dB]")
    axes.legend(frameon=False, loc="upper left")
    _save(figure, file)


def _blocks(span: str) -> str:
    return f"blocks {span}" if "-" in span else f"block {span}"


def learning_curves(histories: Mapping[tuple[int, int], Path], file: Path) -> None:
    """Training loss, a line a stage, and validation PSNR over the iterations, the phases one after another."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    begins: dict[int, int] = {}
    phases = sorted({phase for _, phase in histories})
    rows = {key: pd.read_csv(path) for key, path in histories.items()}
    total = 0
    for phase in phases:
        begins[phase] = total
        total += max(int(rows[key].iteration.max()) if len(rows[key]) else 0 for key in rows if key[1] == phase)
    for (_, phase), row in rows.items():
        colour = COLOURS[(phase - 1) % len(COLOURS)]
        x = row.iteration + begins[phase]
        for _, stage in row.groupby("stage"):  # a line a stage: each may have a loss of its own
            above.plot(stage.iteration + begins[phase], stage.loss, ".-", color=colour, ms=3, lw=1)
        seen = row.psnr_rgb_validation.notna()
        below.plot(x[seen], row.psnr_rgb_validation[seen], "o-", color=colour, ms=3, lw=1)
    above.set_yscale("log")
    above.set_ylabel("training loss")
    below.set_ylabel("validation PSNR RGB [dB]")
    below.set_xlabel("iterations, phase after phase")
    for phase in phases:
        for axes in (above, below):
            axes.axvline(begins[phase], color="0.8", lw=1, zorder=0)
        above.annotate(f"phase {phase}", (begins[phase], 1.01), xycoords=("data", "axes fraction"), fontsize=9)
    _save(figure, file)


def losses(table: pd.DataFrame, runs: Sequence[str], reference: pd.DataFrame | None, file: Path) -> None:
    """Training losses of some runs of a study, beside those of ``reference``, a table with the same column names."""
    panels = [("here", table, table.iteration, "iterations")]
    if reference is not None:
        panels.append(("reference", reference, pd.Series(range(1, len(reference) + 1)), "epochs"))
    figure = Figure(figsize=(1 + 5.5 * len(panels), 4.8), layout="constrained")
    for place, (title, values, x, unit) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, run in enumerate(runs):
            column = f"loss_{run}"
            if column in values:
                known = values[column].notna()
                marker = "o" if known.sum() < 12 else None
                colour = COLOURS[number % len(COLOURS)]
                place.plot(x[known], values[column][known], lw=1.2, marker=marker, ms=3, label=run, color=colour)
        place.set(title=title, xlabel=unit, ylabel="training loss", yscale="log")
        place.legend(frameon=False, fontsize=8)
    _save(figure, file)


def strips(
    *,
    lr: Path,
    hr: Path,
    pictures: Mapping[tuple[int, int], Path],
    measured: Mapping[tuple[int, int], Path],
    titles: Mapping[int, str],
    count: int,
    zoom: int,
    out: Path,
) -> None:
    """A strip of pictures for each of the first ``count`` test images, of the first seed.

    Args:
        lr, hr: test sets of LR_0 and of HR.
        pictures: folder of the results of each (seed, phase).
        measured: evaluation CSV of each (seed, phase).
        titles: what each phase made.
        zoom: side in pixels of the detail to enlarge.
        out: folder to write ``<image>.png`` into.
    """
    inputs, references = ImageSet(lr), ImageSet(hr)
    seed = min(seed for seed, _ in pictures)
    scores = pd.concat(pd.read_csv(measured[key], dtype=str) for key in measured if key[0] == seed)
    scores = scores.drop_duplicates(["phase", "image"]).set_index(["phase", "image"]).psnr_rgb_composed.astype(float)
    out.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(references.names[:count]):
        row = [(f"input\n{scores['input', name]:.2f} dB", np.asarray(inputs[number]))]
        for phase, title in titles.items():
            row.append((f"{title}\n{scores[str(phase), name]:.2f} dB", read(pictures[seed, phase] / f"{name}.png")))
        row.append(("HR\n", np.asarray(references[number])))
        strip(row, zoom, out / f"{name}.png")


def strip(pictures: Sequence[tuple[str, np.ndarray]], zoom: int, file: Path) -> None:
    """Pictures side by side, each above its enlarged detail.

    Args:
        pictures: title and pixels (H, W, 3), uint8; the last is HR. Smaller ones are shown at HR's size.
        zoom: side in pixels of the detail, which is the place of HR with the strongest edges.
    """
    height, width = pictures[-1][1].shape[:2]
    side = min(zoom, height, width)
    top, left = busiest(pictures[-1][1], side)
    size = (2.4 * len(pictures), 2.4 * (height / width + 1) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(2, len(pictures))
    for (title, pixels), entire, detail in zip(pictures, axes[0], axes[1], strict=True):
        scale = height // pixels.shape[0]
        y, x, small = top // scale, left // scale, side // scale
        _show(entire, pixels)
        entire.set_title(title, fontsize=9)
        entire.add_patch(Rectangle((x, y), small, small, fill=False, color="yellow", lw=1))
        _show(detail, pixels[y : y + small, x : x + small])
    _save(figure, file, dpi=110)


def _show(axes: Axes, pixels: np.ndarray) -> None:
    axes.imshow(pixels, interpolation="nearest")
    axes.axis("off")


def busiest(pixels: np.ndarray, side: int) -> tuple[int, int]:
    """Top and left of the square with the strongest edges."""
    gray = pixels.astype(np.float64).mean(axis=2)
    edges = np.zeros_like(gray)
    edges[:-1] += np.abs(np.diff(gray, axis=0))
    edges[:, :-1] += np.abs(np.diff(gray, axis=1))
    sums = np.pad(edges.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    boxes = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    top, left = np.unravel_index(boxes.argmax(), boxes.shape)
    return int(top), int(left)


def _save(figure: Figure, file: Path, **options: Any) -> None:
    with atomic_write(file) as part:
        figure.savefig(part, **options)
