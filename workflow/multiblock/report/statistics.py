"""The 95 % interval of a mean difference between two runs, where every seed was measured on every image.

Seeds and test images are crossed random factors: the difference of seed s on image i is the true difference, plus
what is peculiar to the seed, plus what is peculiar to the image, plus a rest. Three questions have three intervals:

- *over seeds*: other seeds, these very images. Student's t interval of the differences a seed (means over the images).
- *over images*: other images, these very networks. Student's t interval of the differences an image (means over the
  seeds).
- *over both*: other seeds on other images. The half-widths of the two intervals are added as the sides of a right
  angle: half-width = sqrt(half over seeds ** 2 + half over images ** 2).

The last is Banerjee's interval for a sum of means with variances of their own (Sankhya 22, 1960). With normal effects
it covers the truth in at least 95 % of all studies, whatever the share of seeds and images in the scatter, and it is
never narrower than either of the others. It is too wide where the rest rules, which both half-widths hold. A bootstrap
that draws seeds and images anew is not used: with three seeds it covers less than it says (docs/comparison.md).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Both ends of a confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Paired:
    """What paired differences say.

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
        return None if half is None else Interval(mean - float(half), mean + float(half))

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
