"""Differences between runs of a study on the test images: paired, with 95 % intervals of their means.

Seeds and test images are crossed random factors, as every seed is measured on every image: the difference of seed s on
image i is the true difference, plus what is peculiar to the seed, plus what is peculiar to the image, plus a rest.
Three questions have three intervals:

- *over seeds*: other seeds, these very images. Student's t interval of the differences a seed (means over the images).
- *over images*: other images, these very networks. Student's t interval of the differences an image (means over the
  seeds).
- *over both*: other seeds on other images. The half-widths of the two intervals are added as the sides of a right
  angle: half-width = sqrt(half over seeds ** 2 + half over images ** 2).

The last is Banerjee's interval for a sum of means with variances of their own (Sankhya 22, 1960). With normal effects
it covers the truth in at least 95 % of all studies, whatever the share of seeds and images in the scatter, and it is
never narrower than either of the others. It is too wide where the rest rules, which both half-widths hold. A bootstrap
that draws seeds and images again is not used: with three seeds it covers less than it promises (docs/comparison.md).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiblock.report.markdown import as_json

CONFIDENCE = 0.95

COMPARED = ("psnr_rgb", "psnr_y", "ssim_y")
"""Metrics that are compared, composed; the first decides."""

BOTH, SEEDS_ALONE, ONE_SEED, NONE = "over seeds and images", "over seeds, on one image", "one seed", "none"
"""Methods: what the 95 % interval is taken over, or why there is none."""

COLUMNS = (
    *("run", "baseline", "metric", "difference", "sd_over_seeds", "ci95_low", "ci95_high", "method"),
    *("over_seeds_low", "over_seeds_high", "over_images_low", "over_images_high", "seeds", "images"),
    *("seeds_left_out", "images_left_out", "by_seed", "by_image", "why_not"),
)

Interval = tuple[float, float]
"""Both ends of a confidence interval."""

Figures = Mapping[str, Mapping[int, pd.DataFrame]]
"""The figures by image of each run and seed, as :func:`multiblock.report.phases.of_phase` gives them."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Mean and intervals of paired differences.

    Args:
        mean: over seeds and images.
        sd: standard deviation over the seeds of their means over the images (n - 1); None with one seed.
        over_seeds, over_images, over_both: intervals of the mean; None where there are fewer than two to go by.
    """

    mean: float
    sd: float | None
    over_seeds: Interval | None
    over_images: Interval | None
    over_both: Interval | None

    @property
    def headline(self) -> Interval | None:
        """Over seeds and images; over seeds where there is one image; none with one seed."""
        return self.over_both or self.over_seeds


def paired(differences: np.ndarray) -> Paired:
    """Mean and intervals of differences (seeds, images)."""
    mean, seeds = float(differences.mean()), differences.mean(axis=1)

    def around(half: np.ndarray | None) -> Interval | None:
        return None if half is None else (mean - float(half), mean + float(half))

    of_seeds, of_images, both = half_widths(differences)
    return Paired(
        mean=mean,
        sd=float(seeds.std(ddof=1)) if len(seeds) > 1 else None,
        over_seeds=around(of_seeds),
        over_images=around(of_images),
        over_both=around(both),
    )


def half_widths(differences: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Half the widths of the intervals over seeds, over images and over both, of differences (..., seeds, images)."""
    seeds, images = student(differences.mean(axis=-1)), student(differences.mean(axis=-2))
    return seeds, images, None if seeds is None or images is None else np.hypot(seeds, images)


def student(values: np.ndarray) -> np.ndarray | None:
    """Half the width of Student's t interval of the mean of independent values (..., n); None for fewer than two."""
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    count = values.shape[-1]
    if count < 2:
        return None
    return np.asarray(stdtrit(count - 1, (1 + CONFIDENCE) / 2) * values.std(axis=-1, ddof=1) / np.sqrt(count))


def differences(
    figures: Figures,
    pairs: Sequence[tuple[str, str]],
    left_out: Mapping[str, Sequence[str]],
    measures: Sequence[str] = (),
) -> pd.DataFrame:
    """One row a pair of runs and metric; positive where the first is above the other, named in ``baseline``.

    Args:
        pairs: the runs to compare.
        left_out: for each metric the images that no mean of the study counts.
        measures: what is compared beside :data:`COMPARED`; of some of them lower is better.

    Returns:
        ``ci95_low`` and ``ci95_high`` are the interval that counts, ``method`` names it. ``by_seed`` and
        ``by_image`` (JSON) are the means that the intervals are made of. ``why_not`` is the reason why there is no
        difference, in words.
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
        "seeds_left_out": as_json(apart),
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
    row["images_left_out"] = as_json(gone)
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
