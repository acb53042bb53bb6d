"""Files that the phases of a run left, and what is in them: measurements of each image, histories, training records."""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from multiblock.data.dataset import FOLDED
from multiblock.errors import UserError
from multiblock.inference import metrics
from multiblock.inference.measures import MEASURES
from multiblock.inference.metrics import HOW, METRICS, columns

INPUT = "input"
"""The "phase" of the rows that hold what no network gives."""

Key = tuple[int, int]
"""Seed and number of a phase."""

_Files = TypeVar("_Files")


@dataclass(frozen=True, kw_only=True)
class TrainingFiles:
    """The files that the training of a phase left.

    Args:
        history: the CSV of losses and looks at the validation images.
        training: the training record, a JSON file.
    """

    history: Path
    training: Path

    def record(self) -> dict[str, Any]:
        """The training record."""
        return dict(json.loads(self.training.read_text(encoding="utf-8")))

    def rows(self) -> pd.DataFrame:
        """The training history, with the column ``kind`` of the loss that each row holds, see :func:`kind`."""
        rows = pd.read_csv(self.history)
        kinds = {number: kind(stage["loss"]) for number, stage in enumerate(self.record()["stages"], 1)}
        return rows.assign(kind=rows.stage.map(kinds).astype(object))


@dataclass(frozen=True, kw_only=True)
class PhaseFiles(TrainingFiles):
    """The files that a phase left, trained and measured.

    Args:
        measured: the evaluation CSV.
        pictures: the folder of what the network made of the test images.
    """

    measured: Path
    pictures: Path


def kind(loss: Mapping[str, float]) -> str:
    """A stage's loss in words: ``l1``, or ``l1 + 0.01 content``. Only values of one kind compare."""
    return " + ".join(name if weight == 1 else f"{weight:g} {name}" for name, weight in loss.items())


def by_seed(phases: Mapping[Key, _Files]) -> dict[int, list[_Files]]:
    """The files of each seed's phases, in the order of the phases; seeds come in the order that they are given in."""
    found: dict[int, list[_Files]] = {seed: [] for seed, _ in phases}
    for seed, phase in sorted(phases):
        found[seed].append(phases[seed, phase])
    return found


def read(file: Path) -> pd.DataFrame:
    """The measurements of a phase: ``phase`` and ``image`` as text, the rest as numbers.

    An image may be called ``NA``, ``null`` or ``001``: its name is what was written.

    Raises:
        UserError: a figure is missing or is not a number.
    """
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    values = columns((*METRICS, *measures_in(table)))
    try:
        table = table.astype(dict.fromkeys(values, float))
    except (KeyError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as measurements: {error}") from None
    for row in table.itertuples():
        if any(pd.isna(getattr(row, value)) for value in values):
            raise UserError(f"{file}: image {row.image}: found NaN; the weights that made it may hold NaN")
    return table


def of_phase(table: pd.DataFrame, phase: int | str) -> pd.DataFrame:
    """The figures of one phase, or of ``input``, by image."""
    values = columns((*METRICS, *measures_in(table)))
    return table[table.phase == str(phase)].set_index("image")[list(values)]


def has_folds(figures: Iterable[pd.DataFrame]) -> bool:
    """Whether figures by image of a run's seeds are those of folds: of other images each."""
    return len({frozenset(table.index) for table in figures}) > 1


def pooled(figures: Mapping[int, pd.DataFrame]) -> dict[int, pd.DataFrame]:
    """Figures by image of a run's seeds, those of a seed's folds together, with the ``fold`` of each image.

    Without folds they are as they were, and all are of fold 0.
    """
    if not has_folds(figures.values()):
        return {seed: table.assign(fold=0) for seed, table in figures.items()}
    found: dict[int, list[pd.DataFrame]] = {}
    for seed, table in sorted(figures.items()):
        found.setdefault(seed // FOLDED, []).append(table.assign(fold=seed % FOLDED))
    return {seed: pd.concat(tables) for seed, tables in found.items()}


def picture(pictures: Mapping[Key, Path], phase: int, name: str) -> Path:
    """What a phase made of a test image, in the first seed that was tested on it: with folds one of its own fold."""
    files = [folder / f"{name}.png" for (_, one), folder in sorted(pictures.items()) if one == phase]
    return next((file for file in files if file.is_file()), files[0])


def measures_in(table: pd.DataFrame) -> list[str]:
    """The measures of perceived quality that a table has figures of, by name; PSNR and SSIM are in every table."""
    return [name for name in MEASURES if set(columns([name])) <= set(table.columns)]


def means(rows: Mapping[Any, pd.DataFrame]) -> tuple[dict[Any, dict[str, float]], dict[str, list[str]]]:
    """Means over the images, the same images in all rows; see :func:`multiblock.inference.metrics.means`.

    Args:
        rows: figures by image, as :func:`of_phase` gives them.

    Returns:
        The means of each row, of measures those that all rows have, and for each metric the images that are left out,
        where there are any.
    """
    found: dict[Any, dict[str, float]] = {key: {} for key in rows}
    left_out: dict[str, list[str]] = {}
    common = [name for name in MEASURES if rows and all(name in measures_in(table) for table in rows.values())]
    for metric in (*METRICS, *common):
        places = [(key, f"{metric}_{how}") for key in rows for how in HOW]
        values, names = metrics.means([rows[key][column].to_dict() for key, column in places])
        for (key, column), value in zip(places, values, strict=True):
            found[key][column] = round(value, 5 if metric in MEASURES else 4)
        if names:
            left_out[metric] = names
    return found, left_out


def composed(file: Path, phase: int) -> tuple[float, float]:
    """PSNR RGB in dB of the test images after a phase, and without a network, from the CSV of its measurements.

    Raises:
        UserError, OSError, ValueError, AttributeError: it cannot be read as one.
    """
    table = read(file)
    found, _ = means({name: of_phase(table, name) for name in (phase, INPUT)})
    return found[phase]["psnr_rgb_composed"], found[INPUT]["psnr_rgb_composed"]


def pixels(indices: Iterable[Path]) -> int:
    """The number of pixels that all images of a data set have together.

    Args:
        indices: the index of each split's image set (a CSV with height and width).
    """
    total = 0
    for index in indices:
        with index.open(newline="", encoding="utf-8") as file:
            total += sum(int(row["height"]) * int(row["width"]) for row in csv.DictReader(file))
    return total
