"""The runs of a study side by side: what each reached and spent, and the intervals of their differences."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from multiblock.errors import listed
from multiblock.inference.measures import MEASURES
from multiblock.plan import EQUAL
from multiblock.report import markdown, phases
from multiblock.report.curves import any_time, reach
from multiblock.report.differences import COMPARED, differences
from multiblock.report.phases import INPUT
from multiblock.report.tables import PARTS_OF_TIME, iteration_seconds, portion

FORWARD = 1 / 3
"""The work of a block-pixel of making LR_k, forward alone, as a part of one of training, forward and backward."""

AMOUNTS = {
    "block_pixels": "block-pixels",
    "training_flops": "training FLOPs",
    "iterations": "iterations",
    "parameters": "parameters",
    "seconds": "seconds",
}
"""Amounts that runs can be equal in, and their names. Seconds are those of training with its looks at validation
images."""

TIMED = 0.1
"""The share by which what runs took may differ that were sized by seconds: plans go by speeds measured before."""

Spent = Mapping[str, float | None]
"""The amounts of a run; None where its tables do not hold them."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The tables of a comparison.

    Args:
        runs: one row a run: means, standard deviations over the seeds, compute and times.
        differences: one row a pair of runs and metric, see :func:`multiblock.report.differences.differences`.
        reach: one row a run, see :func:`multiblock.report.curves.reach` and :func:`multiblock.report.curves.any_time`.
        spent: what each run spent, see :func:`spent_on`.
        baseline: the run that all others are held against.
        measures: of perceived quality, that all runs have.
        validation_input: PSNR RGB in dB of its validation images without any network; None where not recorded.
        unlike: what the runs were trained on, where that differs; empty where it does not.
    """

    runs: pd.DataFrame
    differences: pd.DataFrame
    reach: pd.DataFrame
    spent: Mapping[str, Spent]
    baseline: str
    measures: tuple[str, ...]
    validation_input: float | None
    unlike: str = ""


def comparison(
    tables: Mapping[str, pd.DataFrame],
    measured: Mapping[str, Mapping[int, Path]],
    looks: pd.DataFrame,
    baseline: str,
    pairs: Sequence[tuple[str, str]],
    trained: Mapping[str, Mapping[phases.Key, phases.TrainingFiles]],
    in_seconds: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare the last phases of runs, composed, as their last iterations left them.

    With folds, the test images of a seed are those of all its folds, each measured on the network of its own.

    What a run took is what it would take alone; what was *spent* on it counts a phase that n runs share as 1/n, so that
    the sum over the runs is what the study took.

    Args:
        tables: the per-phase table of each run.
        measured: the evaluation CSV of each run's last phase, by seed.
        looks: at the validation images, as :func:`multiblock.report.curves.looks` gives them.
        baseline: the run that all others are held against.
        pairs: the runs whose differences are given: all with the baseline, and what else is to be compared.
        trained: what the training of each phase left, by run.
        in_seconds: runs that are sized by the seconds of another, each with that one.
    """
    last = {run: str(table.phase.iloc[-1]) for run, table in tables.items()}
    images = {run: {seed: phases.read(file) for seed, file in files.items()} for run, files in measured.items()}
    figures = {
        (run, seed, place): rows
        for run, seeds in images.items()
        for place in (INPUT, last[run])
        for seed, rows in phases.pooled({seed: phases.of_phase(all, place) for seed, all in seeds.items()}).items()
    }
    seeds_of = {run: [seed for one, seed, place in figures if (one, place) == (run, INPUT)] for run in tables}
    found, left_out = phases.means(figures)
    sized = in_seconds or {}
    group = {run: list(tables).index(sized.get(run, run)) for run in tables if run in (*sized, *sized.values())}
    spent = {run: {**spent_on(table), "seconds_group": group.get(run)} for run, table in tables.items()}
    measures = tuple(name for name in MEASURES if f"{name}_composed" in next(iter(found.values())))
    columns = {name: f"{name}_composed" for name in (*COMPARED, *measures)}
    rows = []
    for run, table in tables.items():
        before = pd.DataFrame([found[run, seed, INPUT] for seed in seeds_of[run]])
        after = pd.DataFrame([found[run, seed, last[run]] for seed in seeds_of[run]])
        row = {"run": run, "seeds": len(after), "psnr_rgb_input": round(before.psnr_rgb_composed.mean(), 4)}
        row |= {name: round(after[column].mean(), 4) for name, column in columns.items()}
        row |= {f"{name}_sd": _deviation(after[column]) for name, column in columns.items()}
        row |= _spent(spent[run], spent[baseline], baseline) | _times(spent[run], table, tables[baseline])
        row |= _spent_once(table)
        row["below_no_network"] = _below(table)
        row["left_out"] = markdown.as_json(left_out)
        rows.append(row)
    whole = ("parameters", "iterations", "block_pixels", "generation_block_pixels")
    same = looks[looks.run.isin(_same_validation(tables, baseline))]
    reached = reach(same, baseline, spent[baseline]["block_pixels"] or 0)
    plain = next(iter(tables[baseline].psnr_rgb_validation_input.dropna()), None)
    reached = reached.merge(any_time(same, plain), how="left", on="run")
    return Comparison(
        runs=pd.DataFrame(rows).astype(dict.fromkeys(whole, "Int64")).merge(reached, how="left", on="run"),
        differences=differences(
            {run: {seed: figures[run, seed, last[run]] for seed in seeds_of[run]} for run in tables},
            {run: {seed: figures[run, seed, INPUT] for seed in seeds_of[run]} for run in tables},
            pairs,
            left_out,
            measures,
        ),
        reach=reached,
        spent=spent,
        baseline=baseline,
        measures=measures,
        validation_input=plain,
        unlike=unlike({run: [files.record() for files in of_run.values()] for run, of_run in trained.items()}),
    )


_MACHINE = {"name": "device", "precision": "precision", "layout": "layout", "threads": "threads"}
"""Fields of a stretch of a training that decide how its sums are rounded, and what they are called."""


def unlike(trained: Mapping[str, Iterable[Mapping[str, Any]]]) -> str:
    """A sentence on what the runs were trained on, where that is not the same for all of them; else empty.

    Args:
        trained: the training records of each run.
    """
    parts = []
    for field, title in _MACHINE.items():
        found: dict[str, list[str]] = {}
        for run, records in trained.items():
            values = {str(one[field]) for record in records for one in record.get("segments") or () if field in one}
            found.setdefault(" and ".join(sorted(values)), []).append(run)
        if len(found) > 1:
            parts.append(f"{title}: " + ", ".join(f"{value} ({listed(runs)})" for value, runs in found.items()))
    if not parts:
        return ""
    return (
        f"**The runs were not trained on the same: {'; '.join(parts)}.** Their sums were rounded otherwise, and may "
        "differ by that alone as much as with another seed."
    )


def _deviation(values: pd.Series) -> float | None:
    """Standard deviation over the seeds, where there are several and all are finite."""
    return round(float(values.std(ddof=1)), 4) if len(values) > 1 and values.max() < float("inf") else None


def _spent(run: Spent, base: Spent, baseline: str) -> dict[str, object]:
    """The columns of compute that are the same each time, and how they relate to the baseline's."""
    amounts = ("parameters", "iterations", "block_pixels", "generation_block_pixels", "training_flops")
    row: dict[str, object] = {name: None if (amount := run[name]) is None else round(amount) for name in amounts}
    for name in ("block_pixels", "with_generation", "training_flops"):
        relation = ratio(run, base, name)
        row[f"{name}_ratio"] = None if relation is None else round(relation, 4)
    return {**row, "compute_warning": warning(run, base, baseline)}


def _spent_once(table: pd.DataFrame) -> dict[str, float]:
    """The amounts really spent on a run: a phase that n runs share counts as 1/n, so that sums are the study's."""
    seeds, share = table.seed.nunique(), portion(table)
    return {
        "block_pixels_spent": round(float((table.block_pixels * share).sum() / seeds)),
        "seconds_spent": round(float((table.seconds * share).sum() / seeds), 1),
    }


def _times(spent: Spent, table: pd.DataFrame, base: pd.DataFrame) -> dict[str, float | None]:
    parts = {name: spent[name] for name in ("seconds", *PARTS_OF_TIME) if spent[name] is not None}
    relative = _an_iteration(table) / (_an_iteration(base) or 1)
    times = {name: round(seconds, 1) for name, seconds in parts.items() if seconds is not None}
    return {**times, "iteration_seconds": _an_iteration(table), "relative_time": round(relative, 2)}


def _an_iteration(table: pd.DataFrame) -> float:
    """Mean time of a training iteration, without looks at the validation images."""
    spent = iteration_seconds(table).sum()
    return round(float(spent / max(table.iterations.sum(), 1)), 5)


def _below(table: pd.DataFrame) -> str:
    """The phases that ended below no network, with their seeds."""
    below = table[table.below_no_network != ""]
    return "; ".join(f"phase {row.phase}, seed {row.seed} ({row.below_no_network})" for row in below.itertuples())


def _same_validation(tables: Mapping[str, pd.DataFrame], baseline: str) -> list[str]:
    """The runs that look at the baseline's validation images, by the PSNR that these have without any network."""
    plain = {run: set(table.psnr_rgb_validation_input.dropna().round(3)) for run, table in tables.items()}
    return [run for run, seen in plain.items() if seen == plain[baseline]]


# -- What was spent ----------------------------------------------------------------------------------------------------


def spent_on(table: pd.DataFrame) -> dict[str, float | None]:
    """The amounts that a run spent: sums over phases, means over seeds; ``parameters`` are those of the whole network.

    ``with_generation`` is training and making LR_k together, in block-pixels of training; ``seconds_whole`` is the same
    in seconds, with starts.

    Args:
        table: the per-phase table of the run.
    """
    seeds, trained = table.seed.nunique(), table[table.phase != INPUT]
    found: dict[str, float | None] = {}
    for name in ("block_pixels", "training_flops", "iterations", "seconds", "generation_block_pixels", *PARTS_OF_TIME):
        known = name in trained and trained[name].notna().all()
        found[name] = float(trained[name].sum()) / seeds if known else None
    size = trained.parameters_chain.iloc[-1]
    found["parameters"] = None if pd.isna(size) else float(size)
    found["with_generation"] = (found["block_pixels"] or 0) + FORWARD * (found["generation_block_pixels"] or 0)
    found["seconds_whole"] = sum(found[name] or 0 for name in ("seconds", "seconds_generation", "seconds_start"))
    return found


def ratio(run: Spent, base: Spent, name: str) -> float | None:
    """A run's amount in relation to the baseline's; None where one of them is not recorded."""
    own, other = run.get(name), base.get(name)
    if own is None or other is None:
        return None
    return 1.0 if own == other else own / other if other else float("inf")


def is_equal(relation: float | None) -> bool:
    """Whether a ratio is that of equal amounts."""
    return relation is not None and abs(relation - 1) <= EQUAL + 1e-9


def equal(run: Spent, base: Spent) -> list[str]:
    """The amounts that a run and the baseline have in common, within :data:`multiblock.plan.EQUAL`."""
    return [words for name, words in AMOUNTS.items() if is_equal(ratio(run, base, name))]


def unequal(run: Spent, base: Spent) -> list[str]:
    """The amounts that they do not have in common, and by how much: ``iterations 1.61 x``."""
    found = ((words, ratio(run, base, name)) for name, words in AMOUNTS.items())
    return [
        f"{words} {times(relation)} x" for words, relation in found if relation is not None and not is_equal(relation)
    ]


def timed(run: Spent, base: Spent) -> float | None:
    """What a run took in relation to the baseline, with starts and LR_k; None where no plan made that equal."""
    group = run.get("seconds_group")
    return None if group is None or group != base.get("seconds_group") else ratio(run, base, "seconds_whole")


def alike(run: Spent, base: Spent) -> str:
    """The amounts of training that a run without a warning has in common with the baseline, in words.

    Of runs that are sized by seconds it says the others, too.
    """
    if (taken := timed(run, base)) is not None:
        found = ((AMOUNTS[name], ratio(run, base, name)) for name in ("block_pixels", "training_flops"))
        others = [f"{times(one)} x the {words}" for words, one in found if one is not None and not is_equal(one)]
        words = "equal seconds" if is_equal(taken) else f"equal seconds ({times(taken)} x as taken)"
        return words + (f", with {' and '.join(others)}" if others else "")
    training, whole = ratio(run, base, "block_pixels") or 1.0, ratio(run, base, "with_generation") or 1.0
    words = f"equal block-pixels{' and training FLOPs' if is_equal(ratio(run, base, 'training_flops')) else ''}"
    return words if is_equal(whole / training) else f"{words} ({times(whole)} x with the making of LR_k)"


def warning(run: Spent, base: Spent, baseline: str) -> str:
    """A warning that a run was trained for more or less than the baseline; nothing where both were for the same.

    Of runs that are sized by seconds these decide. Of others training alone does, as a run is sized by it; what it is
    with the making of LR_k is added where that makes a difference.
    """
    if (taken := timed(run, base)) is not None:
        return (
            "" if abs(taken - 1) <= TIMED else f"took {times(taken)} x the seconds of {baseline}, planned to be equal"
        )
    training, whole, flops = (ratio(run, base, name) for name in ("block_pixels", "with_generation", "training_flops"))
    if training is None or whole is None or all(is_equal(one) for one in (training, flops or 1.0)):
        return ""
    if training == float("inf"):
        return f"was trained, and {baseline} was not"
    if is_equal(training):
        return f"spent {times(flops or 1.0)} x the training FLOPs of {baseline}, at equal block-pixels"
    text = f"spent {times(training)} x the block-pixels of {baseline}"
    if not is_equal(whole / training):
        text += f" ({times(whole)} x with the making of LR_k)"
    return text + (f" and {times(flops)} x its training FLOPs" if flops and not is_equal(flops) else "")


def times(relation: float) -> str:
    """A ratio in words: ``1.37``, and small ones with two digits."""
    return f"{relation:.2f}" if relation >= 0.1 else f"{relation:.2g}"
