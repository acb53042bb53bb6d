"""What a comparison says in words, a sentence a run."""

import json
from typing import Any

import pandas as pd

from multiblock.report import compute, differences
from multiblock.report.compute import Spent, times
from multiblock.report.markdown import count

DIGITS = (2, 3, 4)


def of_difference(row: Any, run: Spent, base: Spent) -> str:
    """How a run stands to the baseline in PSNR RGB, how sure that is, and whether both spent the same.

    Args:
        row: of the table of differences.
        run, base: what both spent.
    """
    if row.why_not:
        return f"{row.run}: no difference from {row.baseline} can be given: {row.why_not}."
    measured = f"{size(row)}{_left_out(row)}"
    spent = _spent(run, base, row.baseline)
    if not any(json.loads(row.by_seed).values()) and not any(json.loads(row.by_image).values()):
        return f"{row.run} has the same figures as {row.baseline}, {measured}, {spent}."
    if row.method == differences.ONE_SEED:
        alone = "" if pd.isna(row.over_images_low) else f" (over the images alone: {_interval(row, 'over_images')})"
        return (
            f"{row.run} is {_above(row)}, {measured}: with one seed no interval over seeds can be given, and "
            f"differences under about 0.1 dB are not distinguishable{alone}; {spent}."
        )
    about = " on this one image" if row.method == differences.SEEDS_ALONE else ""
    interval = f"95 % interval{about} {_interval(row, 'ci95')}"
    if row.ci95_low <= 0 <= row.ci95_high:
        apart = f"difference {_signed(row)} dB"
        return f"{row.run} cannot be told apart from {row.baseline}: {apart}, {interval}, {measured}, {spent}."
    return f"{row.run} is {_above(row)}, {interval}, {measured}, {spent}."


def of_reach(row: Any, baseline: str, itself: float) -> str:
    """What a run took to come to the baseline's last PSNR of the validation images.

    Args:
        row: of the table that :func:`multiblock.report.curves.reach` gives.
        itself: ``reach_ratio`` of the baseline, which may waver around its last PSNR for long.
    """
    goal = f"the last validation PSNR of {baseline} ({row.reach_psnr:.3f} dB)"
    if pd.isna(row.reach_ratio):
        # Not "never reaches 23.817 dB: its highest is 23.817 dB".
        missing = row.reach_psnr - row.best_psnr
        short = "less than 0.001 dB below" if missing < 0.001 else f"{row.best_psnr:.3f} dB"
        return f"{row.run} never reaches {goal}: its highest is {short}."
    way = f"after {row.reach_block_pixels:.3g} block-pixels, {times(row.reach_ratio)} x all that {baseline} spent"
    if row.run == baseline:
        return f"{row.run} itself first comes to its last validation PSNR ({row.reach_psnr:.3f} dB) {way}."
    each = f"; seed by seed, {row.reach_seeds} of {row.reach_of} reach it"
    if row.reach_seeds:
        each += f", at {times(row.reach_ratio_least)} x to {times(row.reach_ratio_most)} x"
    own = f" (where {baseline} itself first came there at {times(itself)} x)"
    return f"{row.run} reaches {goal} {way}{own}{each if row.reach_of > 1 else ''}."


def _above(row: Any) -> str:
    """``0.10 dB above plain``."""
    where = "above" if row.difference >= 0 else "below"
    return f"{abs(row.difference):.{_digits(row)}f} dB {where} {row.baseline}"


def _signed(row: Any) -> str:
    return f"{row.difference:+.{_digits(row)}f}"


def _interval(row: Any, name: str) -> str:
    digits = _digits(row)
    return f"{getattr(row, f'{name}_low'):.{digits}f} to {getattr(row, f'{name}_high'):.{digits}f}"


def _digits(row: Any) -> int:
    """So many that neither the difference nor an end of an interval is rounded to nothing."""
    interval = "over_images" if row.method == differences.ONE_SEED else "ci95"
    shown = (row.difference, *(getattr(row, f"{interval}_{end}") for end in ("low", "high")))
    values = [abs(value) for value in shown if not pd.isna(value) and value]
    return next((n for n in DIGITS if all(value >= 0.5 * 10**-n for value in values)), DIGITS[-1])


def _spent(run: Spent, base: Spent, baseline: str) -> str:
    if said := compute.warning(run, base, baseline):
        return f"but it {said}"
    flops = compute.is_equal(compute.ratio(run, base, "training_flops"))
    return f"at equal block-pixels{' and training FLOPs' if flops else ''}"


def size(row: Any) -> str:
    """``3 seeds x 5 images``."""
    return f"{count(row.seeds, 'seed')} x {count(row.images, 'image')}"


def _left_out(row: Any) -> str:
    """What of seeds and images did not count."""
    found = []
    if row.seeds_left_out:
        found.append(f"seeds of one of them alone left out: {', '.join(map(str, json.loads(row.seeds_left_out)))}")
    if row.images_left_out:
        found.append(f"{count(len(json.loads(row.images_left_out)), 'image')} left out, equal to HR")
    return f" ({'; '.join(found)})" if found else ""
