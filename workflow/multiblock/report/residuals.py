"""Where what HR has and a picture lacks changes from pixel to pixel: the multiblock study's map of the residual.

The study takes the first derivative of the gray residual between HR and LR, "only the pixel and its 4 neighbours", and
sees the structure of the picture in it: what is missing changes along edges. The less of it is left the better.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from multiblock.data.images import read
from multiblock.data.imageset import ImageSet
from multiblock.data.resize import enlarge
from multiblock.inference.measures import gray
from multiblock.report.measured import INPUT
from multiblock.report.strips import grid

COLUMNS = ("seed", "phase", "image", "derivative", "correlation")
"""``derivative``: mean of the map, in levels of 8 bits; ``correlation``: with the same map of HR itself."""


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


def residuals(
    *, lr: Path, hr: Path, pictures: Mapping[tuple[int, int], Path], count: int, zoom: int, out: Path
) -> pd.DataFrame:
    """Measure the maps of all test images, and draw those of the first ``count`` of them, of the first seed.

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
            if number < count and seed == seeds[0] and phase in shown:
                maps[phase] = found, f"mean {mean:.3f}, like HR {alike:.2f}"
        if maps:
            _draw(maps, sharp, zoom, out / f"{name}.png")
    rows.sort(key=lambda row: (row[0], 0 if row[1] == INPUT else int(row[1])))
    return pd.DataFrame(rows, columns=COLUMNS)


def _pictures(
    low: np.ndarray, height: int, name: str, seeds: list[int], pictures: Mapping[tuple[int, int], Path]
) -> Iterator[tuple[int, str, np.ndarray]]:
    """The pictures of an image: of each seed the input at HR's size, and what each phase made."""
    scale = height // len(low)
    plain = enlarge(low, scale) if scale > 1 else low
    for seed in seeds:
        yield seed, INPUT, plain
        for phase in sorted(phase for one, phase in pictures if one == seed):
            yield seed, str(phase), read(pictures[seed, phase] / f"{name}.png")


def _draw(maps: Mapping[str, tuple[np.ndarray, str]], sharp: np.ndarray, zoom: int, file: Path) -> None:
    white = max(float(np.quantile(maps[INPUT][0], 0.995)), 1.0)
    row: list[tuple[str, np.ndarray | None]] = []
    for phase, (found, text) in maps.items():
        levels = (found / white * 255).clip(0, 255).astype(np.uint8)
        title = "input" if phase == INPUT else f"after phase {phase}"
        row.append((f"{title}\n{text}", np.repeat(levels[..., None], 3, axis=2)))
    grid([[*row, (f"HR\nmaps: white is {white:.0f} of 255", sharp)]], zoom, file)
