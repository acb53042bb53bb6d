"""Test images as pictures: strips of input, what each phase made, and HR; maps of what is still missing."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from multiblock.data.images import read
from multiblock.data.imageset import ImageSet
from multiblock.data.resize import enlarge
from multiblock.inference.measures import gray
from multiblock.report import markdown, phases
from multiblock.report.figures import save
from multiblock.report.phases import INPUT, Key

COLUMNS = ("seed", "phase", "image", "derivative", "correlation")
"""Columns of the table of residuals. ``derivative``: mean of the map, in levels of 8 bits; ``correlation``: with the
same map of HR itself."""


def strips(
    *,
    lr: Path,
    hr: Path,
    pictures: Mapping[Key, Path],
    measured: Mapping[Key, Path],
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
    # Of an image that several seeds were tested on the first.
    scores = pd.concat(phases.read(measured[key]) for key in sorted(measured))
    scores = scores.drop_duplicates(["phase", "image"]).set_index(["phase", "image"]).psnr_rgb_composed
    out.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(references.names[:count]):
        row = [(f"input\n{score(scores[INPUT, name])}", np.asarray(inputs[number]))]
        for phase, title in titles.items():
            made = read(phases.picture(pictures, phase, name))
            row.append((f"phase {phase}: {title}\n{score(scores[str(phase), name])}", made))
        row.append(("HR\n", np.asarray(references[number])))
        grid([row], zoom, out / f"{name}.png")


def score(psnr: float) -> str:
    """PSNR RGB (floats, no border cut) for a title."""
    return "identical to HR" if np.isinf(psnr) else f"{markdown.psnr(psnr, digits=2)} dB RGB"


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


# -- Residuals ---------------------------------------------------------------------------------------------------------


def derivative(plane: np.ndarray) -> np.ndarray:
    """At each pixel the mean absolute difference from its four neighbours, at the border from those that are there."""
    total, count = np.zeros(plane.shape), np.zeros(plane.shape)
    for axis in (0, 1):
        steps = np.abs(np.diff(plane, axis=axis))
        first, second = (slice(None, -1), slice(1, None))
        for side in (first, second):
            place = (side, slice(None)) if axis == 0 else (slice(None), side)
            total[place] += steps
            count[place] += 1
    return total / np.maximum(count, 1)


def residual_map(picture: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The map (H, W) in levels of 8 bits; picture and reference (H, W, 3) are uint8."""
    return derivative(gray(reference) - gray(picture))


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of two maps, -1 to 1: how clearly one shows the structure of the other.

    NaN where one of them is the same everywhere.
    """
    one, other = one - one.mean(), other - other.mean()
    size = np.sqrt((one**2).sum() * (other**2).sum())
    return float((one * other).sum() / size) if size > 0 else float("nan")


def residuals(*, lr: Path, hr: Path, pictures: Mapping[Key, Path], count: int, zoom: int, out: Path) -> pd.DataFrame:
    """Measure the maps of all test images, and draw those of the first ``count`` of them, of the first seed.

    The multiblock study takes the first derivative of the gray residual between HR and LR, "only the pixel and its 4
    neighbours", and sees the structure of the picture in it: what is missing changes along edges. The less of it is
    left the better.

    A figure shows the maps without a network, before the last phase and after it, white where they reach what only
    0.5 % of the first one's pixels reach; then HR.

    Args:
        lr, hr: test sets of LR_0 and of HR.
        pictures: folder of the results of each (seed, phase), 8 bits.
        zoom: side in pixels of the detail to enlarge.
        out: folder to write ``<image>.png`` into.

    Returns:
        One row a seed, phase (``input``: no network) and image.
    """
    inputs, references = ImageSet(lr), ImageSet(hr)
    seeds = sorted({seed for seed, _ in pictures})
    shown = [INPUT, *map(str, sorted({phase for _, phase in pictures})[-2:])]
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, name in enumerate(references.names):
        sharp = np.asarray(references[number])
        structure = derivative(gray(sharp))
        maps: dict[str, tuple[np.ndarray, str]] = {}
        for seed, phase, picture in _pictures(np.asarray(inputs[number]), len(sharp), name, seeds, pictures):
            found = residual_map(picture, sharp)
            mean, alike = float(found.mean()), likeness(found, structure)
            rows.append((seed, phase, name, round(mean, 5), round(alike, 5)))
            if number < count and phase in shown and phase not in maps:
                maps[phase] = found, f"mean {mean:.3f}, like HR {alike:.2f}"
        if maps:
            _draw(maps, sharp, zoom, out / f"{name}.png")
    rows.sort(key=lambda row: (row[0], 0 if row[1] == INPUT else int(row[1])))
    return pd.DataFrame(rows, columns=COLUMNS)


def _pictures(
    low: np.ndarray, height: int, name: str, seeds: list[int], pictures: Mapping[Key, Path]
) -> Iterator[tuple[int, str, np.ndarray]]:
    """The pictures of an image: of each seed the input at HR's size, and what each phase made."""
    scale = height // len(low)
    plain = enlarge(low, scale) if scale > 1 else low
    for seed in seeds:
        found = {phase: pictures[seed, phase] / f"{name}.png" for phase in sorted({phase for _, phase in pictures})}
        if not next(iter(found.values())).is_file():  # the image is of another fold
            continue
        yield seed, INPUT, plain
        for phase, picture in found.items():
            yield seed, str(phase), read(picture)


def _draw(maps: Mapping[str, tuple[np.ndarray, str]], sharp: np.ndarray, zoom: int, file: Path) -> None:
    white = max(float(np.quantile(maps[INPUT][0], 0.995)), 1.0)
    row: list[tuple[str, np.ndarray | None]] = []
    for phase, (found, text) in maps.items():
        levels = (found / white * 255).clip(0, 255).astype(np.uint8)
        title = "input" if phase == INPUT else f"after phase {phase}"
        row.append((f"{title}\n{text}", np.repeat(levels[..., None], 3, axis=2)))
    grid([[*row, (f"HR\nmaps: white is {white:.0f} of 255", sharp)]], zoom, file)
