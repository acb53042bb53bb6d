"""Pairs of runs of a study, most against its baseline: paired differences on the test images, with intervals."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from multiblock.report.statistics import Interval, paired

COMPARED = ("psnr_rgb", "psnr_y", "ssim_y")
"""What is compared, composed; the first rules."""

BOTH, SEEDS_ALONE, ONE_SEED, NONE = "over seeds and images", "over seeds, on one image", "one seed", "none"
"""Of what the 95 % interval is, or why there is none."""

COLUMNS = (
    *("run", "baseline", "metric", "difference", "sd_over_seeds", "ci95_low", "ci95_high", "method"),
    *("over_seeds_low", "over_seeds_high", "over_images_low", "over_images_high", "seeds", "images"),
    *("seeds_left_out", "images_left_out", "by_seed", "by_image", "why_not"),
)

Figures = Mapping[str, Mapping[int, pd.DataFrame]]
"""Of each run and seed, the figures by image, as :func:`multiblock.report.measured.of_phase` gives them."""


def differences(
    figures: Figures,
    pairs: Sequence[tuple[str, str]],
    left_out: Mapping[str, Sequence[str]],
    measures: Sequence[str] = (),
) -> pd.DataFrame:
    """One row a pair of runs and metric; positive where the first is above the other, which stands as ``baseline``.

    Args:
        pairs: the runs to compare.
        left_out: for each metric the images that no mean of the study counts.
        measures: what is compared beside :data:`COMPARED`; of some of them lower is better.

    Returns:
        ``ci95_low`` and ``ci95_high`` are the interval that counts, ``method`` says which it is. ``by_seed`` and
        ``by_image`` (JSON) are the means that the intervals are made of. ``why_not`` says in words why there is no
        difference.
    """
    rows = []
    for run, other in pairs:
        for metric in (*COMPARED, *measures):
            found = _row(figures[run], figures[other], metric, left_out.get(metric, ()), other)
            rows.append({"run": run, "baseline": other, "metric": metric, **found})
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"method": str, "why_not": str})


def _row(
    run: Mapping[int, pd.DataFrame], base: Mapping[int, pd.DataFrame], metric: str, left_out: Sequence[str], name: str
) -> dict[str, object]:
    seeds = [seed for seed in base if seed in run]
    apart = sorted(run.keys() ^ base.keys())
    row: dict[str, object] = {
        "seeds": len(seeds),
        "seeds_left_out": json.dumps(apart) if apart else "",
        "images": 0,
        "images_left_out": "",
        "method": NONE,
        "why_not": "",
    }
    if not seeds:
        return {**row, "why_not": f"no seed in common with {name}"}
    one, other = (
        np.array([arm[seed][f"{metric}_composed"].reindex(base[seeds[0]].index) for seed in seeds])
        for arm in (run, base)
    )
    names = list(base[seeds[0]].index)
    if any(set(arm[seed].index) != set(names) for arm in (run, base) for seed in seeds):
        return {**row, "why_not": f"other test images than {name}"}
    kept = np.isfinite(one).all(axis=0) & np.isfinite(other).all(axis=0) & ~np.isin(names, list(left_out))
    row["images"] = int(kept.sum())
    gone = [image for image, stays in zip(names, kept, strict=True) if not stays]
    row["images_left_out"] = json.dumps(gone, ensure_ascii=False) if gone else ""
    if not kept.any():
        return {**row, "why_not": "no test image that does not equal HR in one of them"}
    return row | _statistics((one - other)[:, kept], seeds, [image for image in names if image not in gone])


def _statistics(apart: np.ndarray, seeds: Sequence[int], images: Sequence[str]) -> dict[str, object]:
    """The columns that come from differences (seeds, images)."""
    found = paired(apart)
    by_seed = {str(seed): round(float(mean), 5) for seed, mean in zip(seeds, apart.mean(axis=1), strict=True)}
    by_image = {image: round(float(mean), 5) for image, mean in zip(images, apart.mean(axis=0), strict=True)}
    return {
        "difference": round(found.mean, 5),
        "sd_over_seeds": None if found.sd is None else round(found.sd, 5),
        **_ends("ci95", found.headline),
        "method": BOTH if found.over_both else SEEDS_ALONE if found.over_seeds else ONE_SEED,
        **_ends("over_seeds", found.over_seeds),
        **_ends("over_images", found.over_images),
        "by_seed": json.dumps(by_seed),
        "by_image": json.dumps(by_image, ensure_ascii=False),
    }


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {f"{name}_{end}": None if at is None else round(at, 5) for end, at in (("low", low), ("high", high))}
