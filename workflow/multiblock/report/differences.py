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

With F folds, images are nested in folds: a network of S x F sees the n_f images of its fold alone, and what is peculiar
to it is in the mean with the weight w_f = n_f / N. The mean is still that over all N images. Then

- *over seeds*: what is peculiar to a network is seen between the seeds of one fold, the images being the same there.
  The variance v of the means of a fold, pooled over the folds, has F (S - 1) degrees of freedom, and that of the mean
  is v / S * sum of w_f ** 2. One fold gives what stands above.
- *over images*: of the N differences an image, with N - 1 degrees of freedom. What is peculiar to the networks of a
  fold is in them too, which makes the interval wider, if at all.
- *over both*: as above. The two variances are independent, as the one is of what is left when the means over the seeds
  are taken away, and the other of these means.

One seed in folds has no interval over seeds, as no fold has two networks. It has one *over both*: each fold is another
network on other images, so Student's t interval of the differences a fold, with F - 1 degrees of freedom.
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

FOUND = 0.8
"""Share of studies in which a difference of ``finds_80`` is told from none."""

BOTH, SEEDS_ALONE, ONE_SEED, NONE = "over seeds and images", "over seeds, on one image", "one seed", "none"
FOLDS_ALONE = "over folds, of one seed"
"""Methods: what the 95 % interval is taken over, or why there is none."""

COLUMNS = (
    *("run", "baseline", "metric", "difference", "sd_over_seeds", "ci95_low", "ci95_high", "method"),
    *("over_seeds_low", "over_seeds_high", "over_images_low", "over_images_high", "seeds", "images"),
    *("seeds_left_out", "images_left_out", "by_seed", "by_image", "why_not"),
    *("folds", "p", "p_holm", "finds_80"),
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
        p: of the headline, see :func:`p_value`.
        finds: the smallest true difference that is found in :data:`FOUND` of such studies, see :func:`finds`.
    """

    mean: float
    sd: float | None
    over_seeds: Interval | None
    over_images: Interval | None
    over_both: Interval | None
    p: float | None
    finds: float | None

    @property
    def headline(self) -> Interval | None:
        """Over seeds and images; over seeds where there is one image; none with one seed."""
        return self.over_both or self.over_seeds


@dataclass(frozen=True)
class Error:
    """A standard error (...) that was estimated with ``freedom`` degrees of freedom."""

    size: np.ndarray
    freedom: int


def paired(differences: np.ndarray, folds: np.ndarray | None = None) -> Paired:
    """Mean and intervals of differences (seeds, images).

    Args:
        folds: of each image its fold; None where every seed is one network, measured on all images.
    """
    mean, seeds = float(differences.mean()), differences.mean(axis=1)
    of_seeds, of_images, both = errors(differences, folds)

    def around(*found: Error | None) -> Interval | None:
        if not found or None in found:
            return None
        half = float(half_width(*filter(None, found)))
        return mean - half, mean + half

    headline = both or ((of_seeds,) if of_seeds else ())
    return Paired(
        mean=mean,
        sd=float(seeds.std(ddof=1)) if len(seeds) > 1 else None,
        over_seeds=around(of_seeds),
        over_images=around(of_images),
        over_both=around(*both),
        p=p_value(mean, *headline) if headline else None,
        finds=finds(*headline) if headline else None,
    )


def errors(
    differences: np.ndarray, folds: np.ndarray | None = None
) -> tuple[Error | None, Error | None, tuple[Error, ...]]:
    """The standard errors of the mean of differences (..., seeds, images), as the head of this file derives them.

    Args:
        folds: see :func:`paired`.

    Returns:
        Over seeds, over images, and those that are added over both; None, or nothing, where there are fewer than two to
        go by.
    """
    seeds, images = differences.shape[-2:]
    folds = np.zeros(images) if folds is None else np.asarray(folds)
    inside = [folds == fold for fold in np.unique(folds)]
    means = np.stack([differences[..., one].mean(axis=-1) for one in inside], axis=-1)  # (..., seeds, folds)
    weight = sum(one.mean() ** 2 for one in inside)
    of_seeds = of_images = None
    if seeds > 1:
        pooled = means.var(axis=-2, ddof=1).mean(axis=-1)
        of_seeds = Error(np.sqrt(pooled * weight / seeds), len(inside) * (seeds - 1))
    if images > 1:
        of_images = Error(differences.mean(axis=-2).std(axis=-1, ddof=1) / np.sqrt(images), images - 1)
    if of_seeds and of_images:
        return of_seeds, of_images, (of_seeds, of_images)
    if len(inside) > 1:
        return None, of_images, (Error(np.sqrt(means[..., 0, :].var(axis=-1, ddof=1) * weight), len(inside) - 1),)
    return of_seeds, of_images, ()


def half_width(*found: Error, outside: float = 1 - CONFIDENCE) -> np.ndarray:
    """Half the width of the interval of a mean: Student's with one error, Banerjee's with several.

    Args:
        outside: the share of studies in which the truth is outside, above 0 and at most 1.
    """
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    return np.sqrt(sum((stdtrit(one.freedom, outside / 2) * one.size) ** 2 for one in found))


_LEAST_P = 1e-9


def p_value(mean: float, *found: Error) -> float:
    """The ``outside`` of the interval that ends at 0: what is below 0.05 has a 95 % interval without 0.

    With one error that is the p value of Student's t test. Banerjee's interval is turned round: it is the narrower the
    larger ``outside`` is, so there is one that ends there, and it is sought. Banerjee's inequality holds for each
    share, so where there is no difference p is below 0.05, or any other value, in at most so many of all studies.

    Returns:
        At least 1e-9.
    """
    from scipy.optimize import brentq

    def beyond(log: float) -> float:
        return float(half_width(*found, outside=np.exp(log))) - abs(mean)

    least = np.log(_LEAST_P)
    if not mean:
        return 1.0
    return _LEAST_P if beyond(least) <= 0 else float(np.exp(brentq(beyond, least, 0.0)))


def finds(*found: Error, share: float = FOUND) -> float:
    """The smallest true difference of which the 95 % interval leaves 0 out in a share of studies of this design.

    The true standard errors are taken to be those that were found, so this is as rough as they are. A mean is normal
    around the true difference d, with the variance that is the sum of the errors'; independently, each error squared is
    its truth times chi-square over its degrees of freedom. So the share is the mean of Phi((d - half-width) / error)
    over the half-widths that these give, taken at quantiles of the chi-squares. With one error it is the power of
    Student's t test (noncentral t; Johnson and Welch, Biometrika 31, 1940).

    Returns:
        The difference; 0 where nothing scatters.
    """
    from scipy.optimize import brentq
    from scipy.special import chdtri, ndtr, stdtrit

    quantiles, squares = (np.arange(_QUANTILES) + 0.5) / _QUANTILES, np.zeros(())
    for one in found:
        reach = stdtrit(one.freedom, (1 + CONFIDENCE) / 2) * one.size
        squares = np.add.outer(squares, reach**2 * chdtri(one.freedom, quantiles) / one.freedom)
    error = np.sqrt(sum(one.size**2 for one in found))
    halves = np.sqrt(squares)
    if error == 0:
        return 0.0
    return float(brentq(lambda d: ndtr((d - halves) / error).mean() - share, 0.0, halves.max() + 10 * error))


_QUANTILES = 200


def holm(values: pd.Series) -> pd.Series:
    """P values of several comparisons, corrected for their number by Holm's step-down (Scand. J. Statist. 6, 1979).

    Of m values the k-th smallest is multiplied by m - k + 1, and none is below one before it. That what is below 0.05
    holds an error at all is as rare as 0.05, whatever the comparisons have in common.
    """
    rising = values.dropna().sort_values()
    return (rising * np.arange(len(rising), 0, -1)).cummax().clip(upper=1.0).reindex(values.index)


def differences(
    figures: Figures,
    plain: Figures,
    pairs: Sequence[tuple[str, str]],
    left_out: Mapping[str, Sequence[str]],
    measures: Sequence[str] = (),
) -> pd.DataFrame:
    """One row a pair of runs and metric; positive where the first is above the other, named in ``baseline``.

    Args:
        plain: the figures with no network, which tell other pictures of the same names, or other LR of them.
        pairs: the runs to compare.
        left_out: for each metric the images that no mean of the study counts.
        measures: what is compared beside :data:`COMPARED`; of some of them lower is better.

    Returns:
        ``ci95_low`` and ``ci95_high`` are the interval that counts, ``method`` names it. ``by_seed`` and
        ``by_image`` (JSON) are the means that the intervals are made of. ``why_not`` is the reason why there is no
        difference, in words. ``p`` is that of the interval that counts, ``p_holm`` corrects it for all pairs, of the
        metric that decides; ``finds_80`` is what :func:`finds` gives.
    """
    rows = []
    for run, other in pairs:
        for metric in (*COMPARED, *measures):
            found = _row(figures[run], figures[other], metric, left_out.get(metric, ()), other)
            if not (found["why_not"] or _alike(plain[run], plain[other])):
                found = {**_NOTHING, "seeds": found["seeds"], "why_not": f"other test images, or LR, than {other}"}
            rows.append({"run": run, "baseline": other, "metric": metric, **found})
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"method": str, "why_not": str, "p": float})
    table["p_holm"] = holm(table.p[table.metric == COMPARED[0]]).map(_short).reindex(table.index)
    return table.assign(p=table.p.map(_short))


def _short(p: float) -> float:
    return float(f"{p:.3g}")


_NOTHING = {"seeds_left_out": "", "images": 0, "images_left_out": "", "method": NONE, "why_not": "", "folds": 1}
"""The columns of a pair without a difference."""

_SAME = 0.01
"""dB within which an image has the same PSNR with no network on every machine."""


def _alike(run: Mapping[int, pd.DataFrame], base: Mapping[int, pd.DataFrame]) -> bool:
    """Whether the images with no network are those of another run."""
    one, other = (next(iter(arm.values()))["psnr_rgb_composed"] for arm in (run, base))
    with np.errstate(invalid="ignore"):
        return bool(np.isclose(one.reindex(other.index), other, rtol=0, atol=_SAME, equal_nan=True).all())


def _row(
    run: Mapping[int, pd.DataFrame], base: Mapping[int, pd.DataFrame], metric: str, left_out: Sequence[str], name: str
) -> dict[str, object]:
    seeds = [seed for seed in base if seed in run]
    apart = sorted(run.keys() ^ base.keys())
    row: dict[str, object] = {**_NOTHING, "seeds": len(seeds), "seeds_left_out": as_json(apart)}
    if not seeds:
        return {**row, "why_not": f"no seed in common with {name}"}
    one, other = (
        np.array([arm[seed][f"{metric}_composed"].reindex(base[seeds[0]].index) for seed in seeds])
        for arm in (run, base)
    )
    names = list(base[seeds[0]].index)
    folds = base[seeds[0]].fold
    if any(arm[seed].fold.to_dict() != folds.to_dict() for arm in (run, base) for seed in seeds):
        return {**row, "why_not": f"other test images than {name}"}
    kept = np.isfinite(one).all(axis=0) & np.isfinite(other).all(axis=0) & ~np.isin(names, list(left_out))
    row["images"] = int(kept.sum())
    gone = [image for image, stays in zip(names, kept, strict=True) if not stays]
    row["images_left_out"] = as_json(gone)
    if not kept.any():
        return {**row, "why_not": "no test image that does not equal HR in one of them"}
    return row | _statistics((one - other)[:, kept], seeds, folds[kept])


def _statistics(apart: np.ndarray, seeds: Sequence[int], folds: pd.Series) -> dict[str, object]:
    """The columns that come from differences (seeds, images); ``folds`` is the fold of each image, by name."""
    found = paired(apart, folds.to_numpy())
    images, several = list(folds.index), folds.nunique()
    by_seed = {str(seed): round(float(mean), 5) for seed, mean in zip(seeds, apart.mean(axis=1), strict=True)}
    by_image = {image: round(float(mean), 5) for image, mean in zip(images, apart.mean(axis=0), strict=True)}
    return {
        "difference": round(found.mean, 5),
        "sd_over_seeds": None if found.sd is None else round(found.sd, 5),
        **_ends("ci95", found.headline),
        "method": _method(found),
        "folds": several,
        "p": found.p,
        "finds_80": None if found.finds is None else round(found.finds, 5),
        **_ends("over_seeds", found.over_seeds),
        **_ends("over_images", found.over_images),
        "by_seed": json.dumps(by_seed),
        "by_image": json.dumps(by_image, ensure_ascii=False),
    }


def _method(found: Paired) -> str:
    if found.over_both:
        return BOTH if found.over_seeds else FOLDS_ALONE
    return SEEDS_ALONE if found.over_seeds else ONE_SEED


def _ends(name: str, interval: Interval | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {f"{name}_{end}": None if at is None else round(at, 5) for end, at in (("low", low), ("high", high))}
