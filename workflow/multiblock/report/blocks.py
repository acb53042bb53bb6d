"""Networks that a phase has trained over several blocks, taken apart: after each block, before that phase and after
it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from multiblock.data.dataset import FOLDED
from multiblock.data.images import read
from multiblock.data.imageset import ImageSet
from multiblock.inference import metrics
from multiblock.inference.measures import measures_in
from multiblock.inference.metrics import METRICS
from multiblock.plan import through
from multiblock.report import markdown
from multiblock.report.markdown import Table
from multiblock.report.phases import INPUT, Key, has_folds
from multiblock.report.strips import grid, score

STATES = ("before", "after")

CONVENTION = (
    "Means over the test images. PSNR in dB. PSNR RGB: floats as the network gives them, no rounding, no border cut; "
    "what lies beyond [0, 1] counts where a block is not clamped. PSNR-Y and SSIM-Y: cut to [0, 1], 8 bits, a border "
    "of {border} cut. After: the blocks as the phase has trained them together, all on LR, one after another. "
    "Clamped: whether the block's output is cut to [0, 1] before the next block reads it; pictures are always cut."
)

BEFORE = "Before: the same blocks as the phases before left them; one that none of them trained has no figures."


def by_block(measured: Mapping[Key, Path]) -> pd.DataFrame:
    """One row a seed, phase, network (``when``), block and image.

    Args:
        measured: the table of each (seed, phase) that trained several blocks.
    """
    parts = []
    for (seed, phase), file in measured.items():
        rows = pd.read_csv(file, dtype=str, keep_default_na=False).astype({"block": int})
        rows = rows.astype(dict.fromkeys((*METRICS, *measures_in(rows)), float))
        parts.append(rows.assign(seed=seed, phase=phase))
    table = pd.concat(parts, ignore_index=True)
    return table[["seed", "phase", *(name for name in table if name not in ("seed", "phase"))]]


def means(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Means of one phase over images and seeds, by ``when`` and ``block``; of the same images in every row.

    Returns:
        The means, and for each metric the images that are left out, where there are any.
    """
    names, left_out = (*METRICS, *measures_in(table)), {}
    groups = {key: rows.set_index("image") for key, rows in table.groupby(["when", "block", "seed"], sort=False)}
    found = pd.DataFrame(index=pd.MultiIndex.from_tuples(groups, names=["when", "block", "seed"]), columns=names)
    for name in names:
        values, without = metrics.means([rows[name].to_dict() for rows in groups.values()])
        found[name] = values
        if without:
            left_out[name] = without
    return found.groupby(["when", "block"]).mean(), left_out


def as_markdown(table: pd.DataFrame, run: str, border: int) -> str:
    """A table a phase, means over the test images, and PSNR RGB of each image."""
    names = measures_in(table)
    parts: list[str | Table] = [f"# {run}: networks taken apart"]
    left_out = []
    folds = has_folds(rows.set_index("image") for _, rows in table.groupby("seed"))
    for phase, rows in table.groupby("phase"):
        found, without = means(rows.assign(seed=rows.seed // FOLDED) if folds else rows)
        left_out.append(markdown.as_json(without))
        clamped = rows.drop_duplicates(["when", "block"]).set_index(["when", "block"]).clamped
        parts += [f"## Phase {phase}", _means(found, clamped, names), _images(rows)]
    parts += [
        markdown.NOTES,
        markdown.left_out(left_out),
        f"{CONVENTION.format(border=markdown.count(border, 'pixel'))} {markdown.about_seeds(table.seed, folds)}",
    ]
    parts += [BEFORE if "before" in set(table.when) else ""]
    return markdown.document([*parts, markdown.about_measures(names)])


def _means(found: pd.DataFrame, clamped: pd.Series, measures: Sequence[str]) -> Table:
    """One phase's means: a row a block, before and after side by side."""
    states = _states(found.index.get_level_values("when"))
    others = ("psnr_y", "ssim_y", *measures)
    heads = ["network", *(f"PSNR RGB {when}" for when in states), *(["change"] if len(states) > 1 else [])]
    heads += [f"{title} {when}" for title in (*markdown.heads_of(others), "clamped") for when in states]
    rows = []
    for block in sorted({block for _, block in found.index}):
        keys = [(when, block) if block else (INPUT, 0) for when in states]
        figures = found.reindex(keys)
        psnr = figures.psnr_rgb.tolist()
        cells = [*map(markdown.psnr, psnr)]
        if len(states) > 1:
            cells.append(markdown.gain(psnr[1], psnr[0]) if block else "")
        for name in others:
            cells += [markdown.metric(name, value) for value in figures[name]]
        cells += [clamped.get(key, "") for key in keys]
        rows.append([through(block) if block else "no network", *cells])
    return Table(heads, rows)


def _states(found: Iterable[str]) -> list[str]:
    """Whether there is something before the phase, or only after it."""
    return [when for when in STATES if when in set(found)]


def _images(rows: pd.DataFrame) -> str:
    """PSNR RGB of each image, means over the seeds."""
    psnr = rows.groupby(["image", "when", "block"], sort=False).psnr_rgb.mean()
    keys = [(when, block) for when in (INPUT, *STATES) for block in sorted(rows[rows.when == when].block.unique())]
    heads = ["image", *("no network" if when == INPUT else f"{when}: {through(block)}" for when, block in keys)]
    table = [[name, *(markdown.psnr(psnr[name, *key]) for key in keys)] for name in rows.image.unique()]
    return f"PSNR RGB of each test image:\n\n{Table(heads, table)}"


def strips(
    table: pd.DataFrame,
    *,
    lr: Path,
    hr: Path,
    pictures: Mapping[Key, Path],
    count: int,
    zoom: int,
    out: Path,
) -> None:
    """Draw the network before and after each phase, for the first ``count`` test images of the first seed.

    Args:
        table: what :func:`by_block` gives.
        lr, hr: test sets of LR_0 and of HR.
        pictures: folder of the blocks' pictures of each (seed, phase).
        zoom: side in pixels of the detail to enlarge.
        out: folder to write ``phase<p>_<image>.png`` into.
    """
    inputs, references = ImageSet(lr), ImageSet(hr)
    seeds = table.groupby("image").seed.min()
    out.mkdir(parents=True, exist_ok=True)
    for phase, rows in table[table.seed == table.image.map(seeds)].groupby("phase"):
        found = rows.set_index(["when", "block", "image"])
        for number, name in enumerate(references.names[:count]):
            low, sharp = np.asarray(inputs[number]), np.asarray(references[number])
            shown: list[list[tuple[str, np.ndarray | None]]] = []
            for when in _states(rows.when):
                row: list[tuple[str, np.ndarray | None]] = [(f"input\n{score(found.psnr_rgb[INPUT, 0, name])}", low)]
                for block in sorted(rows[rows.when == "after"].block.unique()):
                    row.append(_picture(found, (when, block, name), pictures[seeds[name], phase]))
                shown.append([*row, ("HR\n", sharp)])
            grid(shown, zoom, out / f"phase{phase}_{name}.png")


def _picture(found: pd.DataFrame, key: tuple[str, int, str], folder: Path) -> tuple[str, np.ndarray | None]:
    """The title and the pixels of what a block made of an image."""
    when, block, _ = key
    title = f"{when}: {through(block)}"
    if key not in found.index:
        return f"{title}\nnot trained yet", None
    return f"{title}\n{score(found.psnr_rgb[key])}", read(folder / found.picture[key])
