"""The training losses of a study's runs side by side; losses of different kinds are told apart."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd


def kind(loss: Mapping[str, float]) -> str:
    """A stage's loss in words: ``l1``, or ``l1 + 0.01 content``. Only values of one kind compare."""
    return " + ".join(name if weight == 1 else f"{weight:g} {name}" for name, weight in loss.items())


def history(file: Path, record: Path) -> pd.DataFrame:
    """A phase's training history, with the column ``kind`` of the loss that each row tells of.

    Args:
        file: the history, a CSV.
        record: the training record, which names the stages' losses.
    """
    rows = pd.read_csv(file)
    kinds = {n: kind(stage["loss"]) for n, stage in enumerate(json.loads(record.read_text("utf-8"))["stages"], 1)}
    return rows.assign(kind=rows.stage.map(kinds).astype(object))


def losses(runs: Mapping[str, Sequence[Sequence[Path]]]) -> pd.DataFrame:
    """The training losses of all runs: a row where a history has one, and for each run the columns ``loss_<run>``
    and, further to the right, ``kind_<run>``.

    Args:
        runs: of each run, for each seed the folders of its phases in order, which hold history and training record;
            the loss is the mean over the seeds, and phases follow one another.
    """
    values, kinds = [], []
    for run, seeds in runs.items():
        curves = [_curve(phases) for phases in seeds]
        values.append(pd.concat([curve.loss for curve in curves], axis=1).mean(axis=1).rename(f"loss_{run}"))
        # The seeds of a run have the same stages.
        kinds.append(pd.concat([curve.kind for curve in curves], axis=1).bfill(axis=1).iloc[:, 0].rename(f"kind_{run}"))
    return pd.concat([*values, *kinds], axis=1).sort_index().rename_axis("iteration").reset_index()


def _curve(phases: Sequence[Path]) -> pd.DataFrame:
    parts, before = [], 0
    for folder in phases:
        rows = history(folder / "history.csv", folder / "training.json")
        parts.append(rows[["loss", "kind"]].set_axis(rows.iteration + before))
        before += int(rows.iteration.max()) if len(rows) else 0
    return pd.concat(parts)
