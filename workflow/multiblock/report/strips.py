"""Strips of pictures: a test image as input, after each phase, and as HR."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from multiblock.data.images import read
from multiblock.data.imageset import ImageSet
from multiblock.report import markdown
from multiblock.report.figures import save
from multiblock.report.measured import INPUT
from multiblock.report.measured import read as read_measured


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
        titles: the network as it stands after each phase.
        zoom: side in pixels of the detail to enlarge.
        out: folder to write ``<image>.png`` into.
    """
    inputs, references = ImageSet(lr), ImageSet(hr)
    seed = min(seed for seed, _ in pictures)
    scores = pd.concat(read_measured(measured[key]) for key in measured if key[0] == seed)
    scores = scores.drop_duplicates(["phase", "image"]).set_index(["phase", "image"]).psnr_rgb_composed
    out.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(references.names[:count]):
        row = [(f"input\n{score(scores[INPUT, name])}", np.asarray(inputs[number]))]
        for phase, title in titles.items():
            made = read(pictures[seed, phase] / f"{name}.png")
            row.append((f"phase {phase}: {title}\n{score(scores[str(phase), name])}", made))
        row.append(("HR\n", np.asarray(references[number])))
        strip(row, zoom, out / f"{name}.png")


def score(psnr: float) -> str:
    """PSNR RGB (floats, no border cut) for a title."""
    return "identical to HR" if np.isinf(psnr) else f"{markdown.psnr(psnr, digits=2)} dB RGB"


def strip(pictures: Sequence[tuple[str, np.ndarray]], zoom: int, file: Path) -> None:
    """Pictures side by side, see :func:`grid`."""
    grid([pictures], zoom, file)


def grid(rows: Sequence[Sequence[tuple[str, np.ndarray | None]]], zoom: int, file: Path) -> None:
    """Rows of pictures side by side, each above its enlarged detail.

    Args:
        rows: of equal length; title and pixels (H, W, 3), uint8, or None where there is no picture; the last of each is
            HR. Smaller ones are shown at HR's size.
        zoom: side in pixels of the detail, which is the place of HR with the strongest edges.
    """
    whole = rows[0][-1][1]
    assert whole is not None
    height, width = whole.shape[:2]
    side = min(zoom, height, width)
    top, left = busiest(whole, side)
    size = (2.4 * len(rows[0]), len(rows) * (2.4 * (height / width + 1) + 0.5))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(2 * len(rows), len(rows[0]))
    for axes in panels.flat:
        axes.axis("off")
    for row, entires, details in zip(rows, panels[::2], panels[1::2], strict=True):
        for (title, pixels), entire, detail in zip(row, entires, details, strict=True):
            entire.set_title(title, fontsize=9)
            if pixels is None:
                continue
            scale = height // pixels.shape[0]
            y, x, small = top // scale, left // scale, side // scale
            entire.imshow(pixels)  # one that is shown smaller is smoothed
            entire.add_patch(Rectangle((x, y), small, small, fill=False, color="yellow", lw=1))
            detail.imshow(pixels[y : y + small, x : x + small], interpolation="nearest")
    save(figure, file, dpi=110)


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
