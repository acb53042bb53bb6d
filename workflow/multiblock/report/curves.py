"""PSNR of the validation images against what was spent, and what it takes to come as far as the baseline.

What is seen of the validation images is the span that a phase trains: the whole network as it stands (``composed``),
the whole of it but with the images after the blocks before the span taken from the cache (``staged``), or a span with
trained blocks after it (``part``), which says nothing of the network.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiblock.report import compute

COMPOSED, STAGED, PART = "composed", "staged", "part"

COLUMNS = ("run", "seed", "phase", "iteration", "block_pixels", "seconds", "psnr_rgb_validation", "network")

REACH = (
    *("run", "reach_psnr", "best_psnr", "reach_block_pixels", "reach_ratio", "reach_seeds", "reach_of"),
    *("reach_ratio_least", "reach_ratio_most"),
)


def looks(runs: Mapping[str, Mapping[int, Sequence[Path]]], tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a look at the validation images: what the run had spent by then, phase after phase, and PSNR RGB in dB.

    ``block_pixels`` are those of training. ``seconds`` are those of training iterations and, where the tables say it,
    of making LR_k; within a phase they go with the block-pixels. Looks with an infinite PSNR are left out.

    Args:
        runs: of each run and seed, the folders of its phases in order, which hold history and training record.
        tables: the per-phase table of each run.
    """
    parts = [
        _of_seed(folders, tables[run][tables[run].seed == seed]).assign(run=run, seed=seed)
        for run, seeds in runs.items()
        for seed, folders in seeds.items()
    ]
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)] if parts else pd.DataFrame(columns=list(COLUMNS))


def _of_seed(folders: Sequence[Path], table: pd.DataFrame) -> pd.DataFrame:
    parts, pixels, seconds = [], 0, 0.0
    for number, folder in enumerate(folders, 1):
        record = json.loads((folder / "training.json").read_text(encoding="utf-8"))
        rows = pd.read_csv(folder / "history.csv")
        rows = rows[np.isfinite(rows.psnr_rgb_validation.astype(float))]  # no iterations, no type
        share = _share(record["stages"], rows.iteration)
        spent = table[table.phase == str(number)]
        training = float(compute.iteration_seconds(spent).iloc[0])
        parts.append(
            pd.DataFrame(
                {
                    "phase": number,
                    "iteration": rows.iteration,
                    "block_pixels": pixels + np.rint(share * record["block_pixels"]).astype(np.int64),
                    "seconds": (seconds + share * training).round(1),
                    "psnr_rgb_validation": rows.psnr_rgb_validation.astype(float),
                    "network": _network(record),
                }
            )
        )
        pixels += record["block_pixels"]
        made = spent.get("seconds_generation", pd.Series(dtype=float)).fillna(0).sum()
        seconds += training + float(made)
    return pd.concat(parts)


def _share(stages: Sequence[Mapping[str, Any]], iterations: pd.Series) -> np.ndarray:
    """How much of a phase's block-pixels are spent after so many iterations, from 0 to 1."""
    stages = [stage for stage in stages if stage["iterations"]]
    done = np.cumsum([0, *(stage["iterations"] for stage in stages)])
    work = np.cumsum([0, *(stage["iterations"] * stage["batch"] * stage["patch"] ** 2 for stage in stages)])
    return np.interp(iterations, done, work / max(work[-1], 1))


def _network(record: Mapping[str, Any]) -> str:
    first, last = record["span"]
    if last < record.get("blocks", last):
        return PART
    return COMPOSED if first == 1 else STAGED


def bands(seen: pd.DataFrame) -> pd.DataFrame:
    """One row a run and look: means over the seeds, and ``low`` and ``high``, the least and the most PSNR of a seed."""
    groups = seen.groupby(["run", "phase", "iteration", "network"], sort=False)
    psnr = groups.psnr_rgb_validation
    means = groups[["block_pixels", "seconds", "psnr_rgb_validation"]].mean()
    return means.assign(low=psnr.min(), high=psnr.max(), seeds=psnr.count()).reset_index()


def reached(seen: pd.DataFrame, target: float) -> float | None:
    """Block-pixels at which a curve first comes to ``target`` dB; None where it never does.

    Between two looks a straight line; where the first look is there already, its block-pixels.

    Args:
        seen: the looks of one seed, or means over the seeds; those at a part of the network do not count.
    """
    whole = seen[seen.network != PART]
    psnr, pixels = (whole[name].to_numpy(float) for name in ("psnr_rgb_validation", "block_pixels"))
    there = np.flatnonzero(psnr >= target)
    if not len(there):
        return None
    before = slice(max(there[0] - 1, 0), there[0] + 1)
    return float(np.interp(target, psnr[before], pixels[before]))


def final(seen: pd.DataFrame) -> float | None:
    """PSNR at the last look at a whole network; None where there is none."""
    whole = seen[seen.network != PART].psnr_rgb_validation
    return float(whole.iloc[-1]) if len(whole) else None


def reach(seen: pd.DataFrame, baseline: str, total: float) -> pd.DataFrame:
    """One row a run: what it takes to come to the baseline's last PSNR of the validation images.

    The curve is the mean over the seeds, and so is the baseline's PSNR: one seed's curve comes there by luck sooner.

    Args:
        seen: as :func:`looks` gives them, of runs with the same validation images.
        total: block-pixels that the baseline spent.

    Returns:
        ``reach_psnr`` (what is to be reached), ``reach_block_pixels`` and ``reach_ratio``, in relation to ``total``
        (empty where it is never reached), ``best_psnr`` of the run, and, each seed against the baseline's of the same
        number, ``reach_seeds`` that reach it, of ``reach_of`` seeds, the first and the last at ``reach_ratio_least``
        and ``reach_ratio_most``.
    """
    means, rows = bands(seen), []
    target = final(means[means.run == baseline])
    for run in seen.run.unique():
        own = means[means.run == run]
        if target is None or final(own) is None:
            continue
        at = reached(own, target)
        each = _each_seed(seen, run, baseline)
        ratios = [pixels / total for pixels in each if pixels is not None]
        row = {"run": run, "reach_psnr": target, "best_psnr": own[own.network != PART].psnr_rgb_validation.max()}
        row |= {"reach_block_pixels": at and round(at), "reach_ratio": None if at is None else at / total}
        row |= {"reach_seeds": len(ratios), "reach_of": len(each)}
        row |= {"reach_ratio_least": min(ratios, default=None), "reach_ratio_most": max(ratios, default=None)}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(REACH)).round(4)


def _each_seed(seen: pd.DataFrame, run: str, baseline: str) -> list[float | None]:
    """For each seed of both, where the run reaches the baseline's last PSNR of that seed."""
    own, base = (dict(list(seen[seen.run == name].groupby("seed"))) for name in (run, baseline))
    targets = {seed: final(base[seed]) for seed in own if seed in base}
    return [reached(own[seed], target) for seed, target in targets.items() if target is not None]
