"""How often the intervals of a comparison cover the truth: made-up studies whose true difference is 0."""

from typing import Any

import numpy as np
from bench import How, Table

from multiblock.report.differences import half_widths

SIZES = ((2, 5), (3, 5), (5, 5), (3, 20))
"""Seeds and images of a study."""

SCATTER = {
    "seeds alone": (1.0, 0.0, 0.0),
    "images alone": (0.0, 1.0, 0.0),
    "seeds and images": (1.0, 1.0, 0.0),
    "seeds, images and rest": (1.0, 1.0, 1.0),
    "images three times as much": (1.0, 3.0, 1.0),
    "rest alone": (0.0, 0.0, 1.0),
}
"""Standard deviations of what is peculiar to a seed, to an image, and to the two together."""

SKEWED = ("images alone", "seeds and images")
"""Also measured with effects of images that are not normal."""


def measure(how: How) -> Table:
    """The intervals of the comparison, and a bootstrap that draws seeds and images anew, which it does not use."""
    studies, resamplings = (200, 50) if how.quick else (20_000, 1_000)
    rows = [
        _row(size, scatter, skewed, studies, resamplings)
        for size in SIZES
        for scatter, skewed in [*((name, False) for name in SCATTER), *((name, True) for name in SKEWED)]
    ]
    about = (
        f"Share of {studies:,} made-up studies in which a 95 % interval holds the true difference. Effects are normal, "
        "but for *skewed*, where those of images are exponential. *Both* is the interval that a comparison names. "
        f"Bootstrap: percentiles of {resamplings:,} resamplings of seeds and of images, {studies // 10:,} studies."
    )
    return Table("coverage", about, rows)


def _row(size: tuple[int, int], scatter: str, skewed: bool, studies: int, resamplings: int) -> dict[str, Any]:
    rng, (seeds, images) = np.random.default_rng(1), size
    of_images = rng.exponential(size=(studies, 1, images)) - 1 if skewed else rng.normal(size=(studies, 1, images))
    effects = (rng.normal(size=(studies, seeds, 1)), of_images, rng.normal(size=(studies, seeds, images)))
    made = sum((much * effect for much, effect in zip(SCATTER[scatter], effects, strict=True)), np.zeros(()))
    apart = np.abs(made.mean(axis=(1, 2)))
    covered = [float(np.mean(apart <= half + 1e-12)) for half in half_widths(made) if half is not None]
    named = dict(zip(("over seeds", "over images", "both"), covered, strict=True))
    boot = _bootstrap(made[: studies // 10], resamplings, rng)
    shares = {name: f"{share:.3f}" for name, share in {**named, "bootstrap": boot}.items()}
    return {"seeds x images": f"{seeds} x {images}", "what scatters": scatter + ", skewed" * skewed, **shares}


def _bootstrap(made: np.ndarray, resamplings: int, rng: np.random.Generator) -> float:
    """The share of studies (studies, seeds, images) whose bootstrap interval holds 0."""
    _, seeds, images = made.shape
    # How often each seed and each image is drawn, as weights of a mean.
    of_seeds = rng.multinomial(seeds, [1 / seeds] * seeds, size=resamplings) / seeds
    of_images = rng.multinomial(images, [1 / images] * images, size=resamplings) / images
    means = np.einsum("nsi,rs,ri->nr", made, of_seeds, of_images, optimize=True)
    low, high = np.percentile(means, [2.5, 97.5], axis=1)
    return float(np.mean((low <= 1e-12) & (high >= -1e-12)))
