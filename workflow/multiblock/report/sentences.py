"""The findings of a run and of a comparison of runs, in sentences with their numbers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiblock.errors import listed
from multiblock.report import differences, markdown
from multiblock.report.comparison import Comparison, Spent, alike, times, warning
from multiblock.report.markdown import count
from multiblock.report.phases import INPUT, of_phase, pooled, read
from multiblock.report.tables import BELOW, mean_over_seeds

DIGITS = (2, 3, 4)


def of_comparison(found: Comparison) -> list[str]:
    """A sentence a pair on the test images, then one a run on the way there; none where there is but one run."""
    if len(found.runs) == 1:
        return []
    pairs = _psnr_rgb(found)
    lines = [
        of_difference(row, found.spent[row.run], found.spent[row.baseline], pairs.p.count())
        for row in pairs.itertuples()
    ]
    itself = found.reach[found.reach.run == found.baseline].reach_ratio
    lines += [of_reach(row, found.baseline, itself.iloc[0]) for row in found.reach.itertuples()]
    lines += [
        f"{run} looks at other validation images than {found.baseline}, or at none: what it takes cannot be compared."
        for run in found.runs.run
        if len(found.reach) and run not in set(found.reach.run)
    ]
    return lines


def _psnr_rgb(found: Comparison) -> pd.DataFrame:
    return found.differences[found.differences.metric == "psnr_rgb"]


def unequal(found: Comparison) -> str:
    """A warning that the runs did not spend the same, as Markdown; nothing where they did."""
    warned = [f"{run} {text}" for run, text in zip(found.runs.run, found.runs.compute_warning, strict=True) if text]
    return f"**Compute is not equal: {'; '.join(warned)}.**" if warned else ""


def of_difference(row: Any, run: Spent, base: Spent, pairs: int = 1) -> str:
    """The sentence on a difference in PSNR RGB from the baseline, its interval, whether both spent the same, and what
    such a study finds.

    Args:
        row: a row of the table of differences.
        run, base: the amounts that both spent.
        pairs: how many differences the study has p values of.
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
    about = {differences.SEEDS_ALONE: " on this one image", differences.FOLDS_ALONE: " over the folds of one seed"}
    interval = f"95 % interval{about.get(row.method, '')} {_interval(row, 'ci95')}"
    design = f"; this design finds {row.finds_80:.2g} dB in {10 * differences.FOUND:.0f} of 10 cases"
    if row.ci95_low <= 0 <= row.ci95_high:
        least, most = (f"{abs(end):.{_digits(row)}f}" for end in (row.ci95_low, row.ci95_high))
        excluded = f"a gain of more than {most} dB and a loss of more than {least} dB are excluded"
        return (
            f"{row.run} cannot be told apart from {row.baseline}: difference {_signed(row)} dB, {interval}, "
            f"{measured}, {spent}; {excluded}{design}."
        )
    return f"{row.run} is {_above(row)}, {interval}, {measured}, {spent}{_corrected(row, pairs)}{design}."


def _corrected(row: Any, pairs: int) -> str:
    """Whether a difference is left when p is corrected for the number of pairs."""
    if pairs == 1:
        return ""
    stays = "survives" if row.p_holm < 1 - differences.CONFIDENCE else "does not survive"
    return f"; it {stays} Holm's correction for {pairs} comparisons (p {row.p:.2g}, corrected {row.p_holm:.2g})"


def of_reach(row: Any, baseline: str, itself: float) -> str:
    """The sentence on the compute that a run took to come to the baseline's last PSNR of the validation images.

    Args:
        row: a row of the table that :func:`multiblock.report.curves.reach` gives.
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
    """The difference in words: ``0.10 dB above plain``."""
    where = "above" if row.difference >= 0 else "below"
    return f"{abs(row.difference):.{_digits(row)}f} dB {where} {row.baseline}"


def _signed(row: Any) -> str:
    return f"{row.difference:+.{_digits(row)}f}"


def _interval(row: Any, name: str) -> str:
    digits = _digits(row)
    return f"{getattr(row, f'{name}_low'):.{digits}f} to {getattr(row, f'{name}_high'):.{digits}f}"


def _digits(row: Any) -> int:
    """Decimals, so many that neither the difference nor an end of an interval is rounded to nothing."""
    interval = "over_images" if row.method == differences.ONE_SEED else "ci95"
    shown = (row.difference, *(getattr(row, f"{interval}_{end}") for end in ("low", "high")))
    values = [abs(value) for value in shown if not pd.isna(value) and value]
    return next((n for n in DIGITS if all(value >= 0.5 * 10**-n for value in values)), DIGITS[-1])


def _spent(run: Spent, base: Spent, baseline: str) -> str:
    warned = warning(run, base, baseline)
    return f"but it {warned}" if warned else f"at {alike(run, base)}"


def size(row: Any) -> str:
    """The number of seeds and images compared: ``3 seeds x 5 images``, or ``3 seeds x 95 images in 5 folds``."""
    return _many(row.seeds, row.images, row.folds)


def _many(seeds: int, images: int, folds: int) -> str:
    return f"{count(seeds, 'seed')} x {count(images, 'image')}{in_folds(folds)}"


def in_folds(folds: int) -> str:
    """What is said of the folds after a number of images, where there are any."""
    return f" in {folds} folds" if folds > 1 else ""


def _left_out(row: Any) -> str:
    """The seeds and images that did not count."""
    found = []
    if row.seeds_left_out:
        found.append(f"seeds of one of them alone left out: {', '.join(map(str, json.loads(row.seeds_left_out)))}")
    if row.images_left_out:
        found.append(f"{count(len(json.loads(row.images_left_out)), 'image')} left out, equal to HR")
    return f" ({'; '.join(found)})" if found else ""


def of_run(table: pd.DataFrame, measured: Mapping[int, Path], blocks: int) -> str:
    """The sentence on a run's gain over no network, its interval, and what its last phase brought; as Markdown.

    Args:
        table: the per-phase table of the run.
        measured: the evaluation CSV of the last phase, by seed.
        blocks: of the chain.
    """
    means = mean_over_seeds(table)
    psnr, names = means.psnr_rgb_composed, list(means.phase)
    network = f"The chain of {blocks} blocks" if blocks > 1 else "The network"
    if not np.isfinite(psnr).all():
        return f"{network} and its input cannot be compared: there is no test image that differs from HR in both."
    left_out = json.loads(next(filter(None, table.left_out), "{}")).get("psnr_rgb", [])
    sure = _sure(*_gains(measured, names[-1], left_out))
    gain = psnr.iloc[-1] - psnr.iloc[0]
    sentence = (
        f"{network} reaches {psnr.iloc[-1]:.3f} dB PSNR RGB on the test images, **{gain:+.3f} dB over the input**"
    )
    sentence += f" of {psnr.iloc[0]:.3f} dB ({sure})"
    if len(names) > 2:
        what = "joint phase" if "-" in str(means.span.iloc[-1]) else "last phase"
        last, before = psnr.iloc[-1] - psnr.iloc[-2], psnr.iloc[-2] - psnr.iloc[0]
        sentence += f"; the phases before brought {before:+.3f} dB, the {what} {last:+.3f} dB"
    below = bool((table.below_no_network != "").any())
    return f"{sentence}{f'. **{BELOW} after a phase: see the table**' if below else ''}."


def _gains(measured: Mapping[int, Path], phase: str, left_out: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Gains over the input in dB, (seeds, images), of the images that the means of the table count, and their folds."""
    images = {seed: read(file) for seed, file in sorted(measured.items())}
    after, before = (
        pooled({seed: of_phase(rows, name).drop(left_out, errors="ignore") for seed, rows in images.items()})
        for name in (phase, INPUT)
    )
    names = next(iter(after.values())).index
    psnr = [np.array([rows.psnr_rgb_composed.reindex(names) for rows in of.values()]) for of in (after, before)]
    with np.errstate(invalid="ignore"):  # infinite in both
        gains, folds = psnr[0] - psnr[1], next(iter(after.values())).fold.to_numpy()
    kept = np.isfinite(gains).all(axis=0)
    return gains[:, kept], folds[kept]


def _sure(gains: np.ndarray, folds: np.ndarray) -> str:
    seeds, images = gains.shape
    many = _many(seeds, images, len(set(folds)))
    if not images:
        return many
    sure = differences.paired(gains, folds)
    if sure.over_both:
        return f"95 % interval {_ends(sure.over_both)}, {many}"
    if seeds == 1:
        alone = f"95 % interval over the images alone {_ends(sure.over_images)}; " if sure.over_images else ""
        return f"{alone}{many}: with one seed differences under about 0.1 dB are not distinguishable"
    return f"95 % interval over seeds, on this one image, {_ends(sure.over_seeds)}, {many}" if sure.over_seeds else many


def _ends(interval: differences.Interval) -> str:
    return "{:+.3f} to {:+.3f}".format(*interval)


_WORDS = {
    "above": "{} above {}",
    "below": "{} below {}",
    "apart": "{} cannot be told apart from {}",
    "unknown": "{} has no interval against {}",
}


def of_study(found: Comparison) -> str:
    """The one sentence of a study; where there is one pair of runs, that of the pair."""
    rgb = _psnr_rgb(found)
    below = list(found.runs.run[found.runs.below_no_network != ""])
    whose = "all runs" if len(below) == len(found.runs) else listed(below)
    loud = f"**{BELOW} after a phase of {whose}: see the notes.** " if below else ""
    if len(rgb) == 1:
        return loud + of_comparison(found)[0]
    groups: dict[str, list[str]] = {name: [] for name in _WORDS}
    equal = []
    for row in rgb.itertuples():
        named = f"{row.run} ({row.difference:+.3f} dB)" if not row.why_not else str(row.run)
        if row.baseline == found.baseline:
            groups[_group(row)].append(named)
        else:
            equal.append(_WORDS[_group(row)].format(named, row.baseline))
    parts = [_WORDS[name].format(listed(runs), "it") for name, runs in groups.items() if runs]
    base = found.runs[found.runs.run == found.baseline].psnr_rgb.iloc[0]
    start = f"{loud}Against **{found.baseline}** ({markdown.psnr(base, unit=' dB')} PSNR RGB)"
    sizes = dict.fromkeys(size(row) for row in rgb.itertuples() if not row.why_not)
    how = ["95 % intervals"] if rgb.ci95_low.notna().any() else []
    how += [" or ".join(sizes)] if sizes else []
    sentence = f"{start}: {'; '.join(parts)}" + (f" ({', '.join(how)})" if how else "")
    return sentence + (f". Made equal in compute: {'; '.join(equal)}." if equal else ".")


def _group(row: Any) -> str:
    if row.why_not or pd.isna(row.ci95_low):
        return "unknown"
    return "apart" if row.ci95_low <= 0 <= row.ci95_high else "above" if row.difference > 0 else "below"
