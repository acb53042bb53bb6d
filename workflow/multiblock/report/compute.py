"""What the runs of a study spent, and in what they are equal to its baseline."""

from collections.abc import Mapping

import pandas as pd

from multiblock.plan import EQUAL
from multiblock.report.measured import INPUT
from multiblock.report.tables import PARTS_OF_TIME

FORWARD = 1 / 3
"""What a block-pixel of making LR_k, forward alone, is of one of training, forward and backward."""

AMOUNTS = {
    "block_pixels": "block-pixels",
    "training_flops": "training FLOPs",
    "iterations": "iterations",
    "parameters": "parameters",
    "seconds": "seconds",
}
"""What arms can be equal in, as words say it. Seconds are those of training with its looks at validation images."""

Spent = Mapping[str, float | None]
"""The amounts of a run; None where its tables do not say it."""


def of_run(table: pd.DataFrame) -> dict[str, float | None]:
    """What a run spent: sums over the phases, means over the seeds; ``parameters`` are those of the whole network.

    ``with_generation`` is training and making LR_k together, in block-pixels of training.

    Args:
        table: the per-phase table of the run.
    """
    seeds, phases = table.seed.nunique(), table[table.phase != INPUT]
    found: dict[str, float | None] = {}
    for name in ("block_pixels", "training_flops", "iterations", "seconds", "generation_block_pixels", *PARTS_OF_TIME):
        known = name in phases and phases[name].notna().all()
        found[name] = float(phases[name].sum()) / seeds if known else None
    size = phases.parameters_chain.iloc[-1]
    found["parameters"] = None if pd.isna(size) else float(size)
    found["with_generation"] = (found["block_pixels"] or 0) + FORWARD * (found["generation_block_pixels"] or 0)
    return found


def iteration_seconds(rows: pd.DataFrame) -> pd.Series:
    """Seconds of the training iterations of phases: as recorded, else all but the looks at the validation images."""
    return rows.seconds_iterations.fillna(rows.seconds - rows.seconds_validation)


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
    """In what a run is equal to the baseline, within :data:`multiblock.plan.EQUAL`."""
    return [words for name, words in AMOUNTS.items() if is_equal(ratio(run, base, name))]


def unequal(run: Spent, base: Spent) -> list[str]:
    """In what it is not, and by how much: ``iterations 1.61 x``."""
    found = ((words, ratio(run, base, name)) for name, words in AMOUNTS.items())
    return [
        f"{words} {times(relation)} x" for words, relation in found if relation is not None and not is_equal(relation)
    ]


def warning(run: Spent, base: Spent, baseline: str) -> str:
    """That a run spent more or less than the baseline, in words; nothing where both spent the same.

    Training is named first, by itself, unless both spent as much of it; then, where that makes a difference, what it
    is with the making of LR_k.
    """
    training, whole, flops = (ratio(run, base, name) for name in ("block_pixels", "with_generation", "training_flops"))
    if training is None or whole is None or all(is_equal(one) for one in (training, whole, flops or 1.0)):
        return ""
    said = f"spent {times(training)} x the block-pixels of {baseline}"
    if is_equal(training):
        said = f"spent {times(whole)} x the block-pixels of {baseline} with the making of LR_k, as many without it"
        if is_equal(whole):
            return f"spent {times(flops or 1.0)} x the training FLOPs of {baseline}, at equal block-pixels"
    elif not is_equal(whole / training):
        said += f" ({times(whole)} x with the making of LR_k)"
    return said + (f" and {times(flops)} x its training FLOPs" if flops and not is_equal(flops) else "")


def times(relation: float) -> str:
    """A ratio in words: ``1.37``, and small ones with two digits."""
    return f"{relation:.2f}" if relation >= 0.1 else f"{relation:.2g}"
