"""The power of a design with folds, by simulation, from how kept studies scattered; and what its intervals hold.

    python benchmarks/power.py [DIFFERENCES ...] [--folds 5] [--seeds 3] [--images 95] [--find 0.05]

DIFFERENCES are tables of kept studies, `differences.csv`; all of them, where none is named. Each pair of runs in them
that has several seeds and images has the measurements of its images in `psnr/` beside the table. From the differences
in PSNR RGB come the variances of what is peculiar to a seed (a network), to an image, and of the rest, by analysis of
variance for crossed effects (negative ones are 0). Of each pair 4000 studies with folds are drawn with these variances
and a true difference of FIND dB, and the share counted whose 95 % interval over seeds and images leaves 0 out on the
right side. Beside it stands what the kept study finds in 8 of 10 cases, and what the one with folds does.

Then, whatever was kept: the shares of such studies, and of those with one seed, whose intervals hold the true
difference. Both are printed as Markdown.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from multiblock.report.differences import errors, finds, half_width, paired
from multiblock.report.markdown import Table
from multiblock.report.phases import of_phase, read

KEPT, STUDIES = Path(__file__).parent.parent / "results" / "reference", 4000

SCATTER = {
    "networks alone": (1.0, 0.0, 0.0),
    "images alone": (0.0, 1.0, 0.0),
    "networks and images, 1 to 3": (1.0, 3.0, 0.0),
    "the rest alone": (0.0, 0.0, 1.0),
}


def main() -> None:
    """Print the table."""
    options = _parser().parse_args()
    folds, rows = np.arange(options.images) % options.folds, []
    for file in options.tables:
        table = pd.read_csv(file)
        for row in table[(table.metric == "psnr_rgb") & (table.seeds > 1) & (table.images > 1)].itertuples():
            apart = kept(file, row.run, row.seeds) - kept(file, row.baseline, row.seeds)
            if np.ptp(apart):
                scatter = deviations(apart)
                made = drawn(scatter, folds, options.seeds)
                found = [paired(apart).finds, smallest(made, folds), power(made + options.find, folds)]
                rows.append([file.parent.name, f"{row.run} over {row.baseline}", *scatter, *found])
    print(f"Command: `{' '.join(['python benchmarks/power.py', *sys.argv[1:]])}`\n\n# power\n")
    heads = ["study", "pair", "sd of seeds", "of images", "of the rest", "kept study finds", "with folds"]
    figures = np.array([row[2:] for row in rows])
    rows.append(["median", f"{len(rows)} pairs", *np.median(figures, axis=0)])
    cells = [[*row[:2], *(f"{value:.3f}" for value in row[2:7]), f"{row[7]:.2f}"] for row in rows]
    print(Table([*heads, f"power for {options.find:g} dB"], cells))
    print(f"\nPower of 0.8 or more: {np.mean(figures[:, -1] >= 0.8):.0%} of the pairs\n\n# coverage\n")
    rows = [[name, *(f"{share:.3f}" for share in coverage(of, folds, options.seeds))] for name, of in SCATTER.items()]
    print(Table(["what scatters", "over seeds", "over images", f"both, {options.seeds} seeds", "one seed"], rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables = sorted(KEPT.glob("*/differences.csv"))
    parser.add_argument("tables", nargs="*", type=Path, metavar="DIFFERENCES", default=tables)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="two or more")
    parser.add_argument("--images", type=int, default=95)
    parser.add_argument("--find", type=float, default=0.05, help="true difference in dB")
    return parser


def kept(table: Path, run: str, seeds: int) -> np.ndarray:
    """PSNR RGB of the last phase, (seeds, images)."""
    found = [read(table.parent / "psnr" / f"{run}_seed{seed}.csv") for seed in range(1, seeds + 1)]
    return np.array([of_phase(rows, rows.phase.iloc[-1]).sort_index().psnr_rgb_composed for rows in found])


def deviations(differences: np.ndarray) -> tuple[float, float, float]:
    """Standard deviations of what is peculiar to a seed and to an image, and of the rest, of (seeds, images)."""
    seeds, images = differences.shape
    means = differences.mean(axis=1, keepdims=True), differences.mean(axis=0, keepdims=True)
    rest = ((differences - means[0] - means[1] + differences.mean()) ** 2).sum() / ((seeds - 1) * (images - 1))
    of_seeds, of_images = means[0].var(ddof=1) - rest / images, means[1].var(ddof=1) - rest / seeds
    return float(np.sqrt(max(of_seeds, 0))), float(np.sqrt(max(of_images, 0))), float(np.sqrt(rest))


def drawn(scatter: tuple[float, float, float], folds: np.ndarray, seeds: int) -> np.ndarray:
    """Differences of studies with folds in which there is none, (studies, seeds, images)."""
    rng = np.random.default_rng(1)
    of_networks = rng.normal(size=(STUDIES, seeds, folds.max() + 1))[..., folds]
    of_images, rest = (rng.normal(size=(STUDIES, many, len(folds))) for many in (1, seeds))
    return np.asarray(scatter[0] * of_networks + scatter[1] * of_images + scatter[2] * rest)


def power(made: np.ndarray, folds: np.ndarray) -> float:
    """The share of studies whose interval is above 0."""
    return float((made.mean(axis=(1, 2)) > half_width(*errors(made, folds)[2])).mean())


def coverage(scatter: tuple[float, float, float], folds: np.ndarray, seeds: int) -> Iterator[float]:
    """The shares of studies that hold the truth: over seeds, over images, over both, and over both with one seed."""
    for count in (seeds, 1):
        made = drawn(scatter, folds, count)
        over_seeds, over_images, both = errors(made, folds)
        for found in [(over_seeds,), (over_images,), both] if over_seeds else [both]:
            yield float((np.abs(made.mean(axis=(1, 2))) <= half_width(*found) + 1e-12).mean())


def smallest(made: np.ndarray, folds: np.ndarray) -> float:
    """What studies find in 8 of 10 cases, by the errors that they have in the mean."""
    return finds(*(replace(one, size=np.sqrt(np.mean(one.size**2))) for one in errors(made, folds)[2]))


if __name__ == "__main__":
    main()
