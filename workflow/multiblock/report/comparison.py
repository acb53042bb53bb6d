"""The runs of a study side by side: what each reached and spent, and how sure it is that it differs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from multiblock.inference.measures import MEASURES
from multiblock.report import compute
from multiblock.report.compute import Spent
from multiblock.report.curves import reach
from multiblock.report.differences import COMPARED, differences
from multiblock.report.measured import INPUT, means, of_phase
from multiblock.report.measured import read as read_measured
from multiblock.report.tables import PARTS_OF_TIME, portion


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The tables of a comparison.

    Args:
        runs: one row a run: means, standard deviations over the seeds, compute and times.
        differences: one row a pair of runs and metric, see :func:`multiblock.report.differences.differences`.
        reach: one row a run, see :func:`multiblock.report.curves.reach`.
        spent: what each run spent, see :func:`multiblock.report.compute.of_run`.
        baseline: the run that all others are held against.
        measures: of perceived quality, that all runs have.
        validation_input: PSNR RGB in dB of its validation images without any network; None where not recorded.
    """

    runs: pd.DataFrame
    differences: pd.DataFrame
    reach: pd.DataFrame
    spent: Mapping[str, Spent]
    baseline: str
    measures: tuple[str, ...]
    validation_input: float | None


def comparison(
    tables: Mapping[str, pd.DataFrame],
    measured: Mapping[str, Mapping[int, Path]],
    looks: pd.DataFrame,
    baseline: str,
    pairs: Sequence[tuple[str, str]],
) -> Comparison:
    """Compare the last phases of runs, composed, as their last iterations left them.

    What a run took is what it would take alone; what was *spent* on it counts a phase that n runs share as 1/n, so that
    the sum over the runs is what the study took.

    Args:
        tables: the per-phase table of each run.
        measured: the evaluation CSV of each run's last phase, by seed.
        looks: at the validation images, as :func:`multiblock.report.curves.looks` gives them.
        baseline: the run that all others are held against.
        pairs: the runs whose differences are given: all with the baseline, and what else is to be compared.
    """
    last = {run: str(table.phase.iloc[-1]) for run, table in tables.items()}
    images = {run: {seed: read_measured(file) for seed, file in files.items()} for run, files in measured.items()}
    figures = {
        (run, seed, place): of_phase(rows, place)
        for run, seeds in images.items()
        for seed, rows in seeds.items()
        for place in (INPUT, last[run])
    }
    found, left_out = means(figures)
    spent = {run: compute.of_run(table) for run, table in tables.items()}
    measures = tuple(name for name in MEASURES if f"{name}_composed" in next(iter(found.values())))
    columns = {name: f"{name}_composed" for name in (*COMPARED, *measures)}
    rows = []
    for run, table in tables.items():
        before = pd.DataFrame([found[run, seed, INPUT] for seed in measured[run]])
        after = pd.DataFrame([found[run, seed, last[run]] for seed in measured[run]])
        row = {"run": run, "seeds": len(after), "psnr_rgb_input": round(before.psnr_rgb_composed.mean(), 4)}
        row |= {name: round(after[column].mean(), 4) for name, column in columns.items()}
        row |= {f"{name}_sd": _deviation(after[column]) for name, column in columns.items()}
        row |= _spent(spent[run], spent[baseline], baseline) | _times(table, tables[baseline])
        row |= _spent_once(table)
        row["below_no_network"] = _below(table)
        row["left_out"] = json.dumps(left_out, ensure_ascii=False) if left_out else ""
        rows.append(row)
    whole = ("parameters", "iterations", "block_pixels", "generation_block_pixels")
    same = looks[looks.run.isin(_same_validation(tables, baseline))]
    reached = reach(same, baseline, spent[baseline]["block_pixels"] or 0)
    return Comparison(
        runs=pd.DataFrame(rows).astype(dict.fromkeys(whole, "Int64")).merge(reached, how="left", on="run"),
        differences=differences(
            {run: {seed: figures[run, seed, last[run]] for seed in measured[run]} for run in tables},
            pairs,
            left_out,
            measures,
        ),
        reach=reached,
        spent=spent,
        baseline=baseline,
        measures=measures,
        validation_input=next(iter(tables[baseline].psnr_rgb_validation_input.dropna()), None),
    )


def _deviation(values: pd.Series) -> float | None:
    """Standard deviation over the seeds, where there are several and all are finite."""
    return round(float(values.std(ddof=1)), 4) if len(values) > 1 and values.max() < float("inf") else None


def _spent(run: Spent, base: Spent, baseline: str) -> dict[str, object]:
    """The columns of compute that are the same each time, and how they relate to the baseline's."""
    amounts = ("parameters", "iterations", "block_pixels", "generation_block_pixels", "training_flops")
    row: dict[str, object] = {name: None if (amount := run[name]) is None else round(amount) for name in amounts}
    for name in ("block_pixels", "with_generation", "training_flops"):
        relation = compute.ratio(run, base, name)
        row[f"{name}_ratio"] = None if relation is None else round(relation, 4)
    return {**row, "compute_warning": compute.warning(run, base, baseline)}


def _spent_once(table: pd.DataFrame) -> dict[str, float]:
    """What was really spent on a run: a phase that n runs share counts as 1/n, so that sums are the study's."""
    seeds, share = table.seed.nunique(), portion(table)
    return {
        "block_pixels_spent": round(float((table.block_pixels * share).sum() / seeds)),
        "seconds_spent": round(float((table.seconds * share).sum() / seeds), 1),
    }


def _times(table: pd.DataFrame, base: pd.DataFrame) -> dict[str, float | None]:
    spent = compute.of_run(table)
    parts = {name: spent[name] for name in ("seconds", *PARTS_OF_TIME) if spent[name] is not None}
    relative = _iteration_seconds(table) / (_iteration_seconds(base) or 1)
    times = {name: round(seconds, 1) for name, seconds in parts.items() if seconds is not None}
    return {**times, "iteration_seconds": _iteration_seconds(table), "relative_time": round(relative, 2)}


def _iteration_seconds(table: pd.DataFrame) -> float:
    """Mean time of a training iteration, without looks at the validation images."""
    spent = compute.iteration_seconds(table).sum()
    return round(float(spent / max(table.iterations.sum(), 1)), 5)


def _below(table: pd.DataFrame) -> str:
    """The phases that ended below no network, with their seeds."""
    below = table[table.below_no_network != ""]
    return "; ".join(f"phase {row.phase}, seed {row.seed} ({row.below_no_network})" for row in below.itertuples())


def _same_validation(tables: Mapping[str, pd.DataFrame], baseline: str) -> list[str]:
    """The runs that look at the baseline's validation images, by the PSNR that these have without any network."""
    plain = {run: set(table.psnr_rgb_validation_input.dropna().round(3)) for run, table in tables.items()}
    return [run for run, seen in plain.items() if seen == plain[baseline]]
