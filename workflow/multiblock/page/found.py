"""What was found, in one sentence with its numbers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multiblock.errors import listed
from multiblock.report import markdown
from multiblock.report.comparison import Comparison
from multiblock.report.measured import INPUT, of_phase
from multiblock.report.measured import read as read_measured
from multiblock.report.sentences import size
from multiblock.report.statistics import paired
from multiblock.report.tables import BELOW, mean_over_seeds


def of_run(table: pd.DataFrame, measured: Mapping[int, Path], blocks: int) -> str:
    """What a run gained over no network, how sure that is, and what its last phase brought; as Markdown.

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
    sure = _sure(_gains(measured, names[-1], left_out))
    gain = psnr.iloc[-1] - psnr.iloc[0]
    said = f"{network} reaches {psnr.iloc[-1]:.3f} dB PSNR RGB on the test images, **{gain:+.3f} dB over the input**"
    said += f" of {psnr.iloc[0]:.3f} dB ({sure})"
    if len(names) > 2:
        what = "joint phase" if "-" in str(means.span.iloc[-1]) else "last phase"
        last, before = psnr.iloc[-1] - psnr.iloc[-2], psnr.iloc[-2] - psnr.iloc[0]
        said += f"; the phases before brought {before:+.3f} dB, the {what} {last:+.3f} dB"
    below = bool((table.below_no_network != "").any())
    return f"{said}{f'. **{BELOW} after a phase: see the table**' if below else ''}."


def _gains(measured: Mapping[int, Path], phase: str, left_out: Sequence[str]) -> np.ndarray:
    """Gains over the input in dB, (seeds, images), of the images that the means of the table count."""
    rows = []
    for _, file in sorted(measured.items()):
        images = read_measured(file)
        after, before = (of_phase(images, name).psnr_rgb_composed.drop(left_out) for name in (phase, INPUT))
        rows.append((after - before.reindex(after.index)).to_numpy(float))
    gains = np.array(rows)
    return gains[:, np.isfinite(gains).all(axis=0)]


def _sure(gains: np.ndarray) -> str:
    seeds, images = gains.shape
    size = f"{markdown.count(seeds, 'seed')} x {markdown.count(images, 'image')}"
    if not images:
        return size
    sure = paired(gains)
    if sure.over_both:
        return f"95 % interval {_ends(sure.over_both)}, {size}"
    if seeds == 1:
        alone = f"95 % interval over the images alone {_ends(sure.over_images)}; " if sure.over_images else ""
        return f"{alone}{size}: with one seed differences under about 0.1 dB are not distinguishable"
    return f"95 % interval over seeds, on this one image, {_ends(sure.over_seeds)}, {size}" if sure.over_seeds else size


def _ends(interval: Any) -> str:
    return f"{interval.low:+.3f} to {interval.high:+.3f}"


_WORDS = {
    "above": "{} above {}",
    "below": "{} below {}",
    "apart": "{} cannot be told apart from {}",
    "unknown": "of {} against {} nothing sure can be said",
}


def of_study(found: Comparison, sentences: list[str]) -> tuple[str, list[str]]:
    """The sentence of a study, and the further ones that it sums up.

    Args:
        sentences: a sentence a pair of runs, as :func:`multiblock.report.comparison_markdown.sentences_of` gives them.
    """
    table = found.differences
    rgb = table[table.metric == "psnr_rgb"]
    if len(rgb) == 1:
        return sentences[0], sentences[1:]
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
    start = f"Against **{found.baseline}** ({markdown.psnr(base, unit=' dB')} PSNR RGB)"
    sizes = dict.fromkeys(size(row) for row in rgb.itertuples() if not row.why_not)
    how = ["95 % intervals"] if rgb.ci95_low.notna().any() else []
    how += [" or ".join(sizes)] if sizes else []
    said = f"{start}: {'; '.join(parts)}" + (f" ({', '.join(how)})" if how else "")
    return said + (f". Made equal in compute: {'; '.join(equal)}." if equal else "."), sentences


def _group(row: Any) -> str:
    if row.why_not or pd.isna(row.ci95_low):
        return "unknown"
    return "apart" if row.ci95_low <= 0 <= row.ci95_high else "above" if row.difference > 0 else "below"
