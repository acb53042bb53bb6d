"""The tables of a run and of a study, from the per-image measurements of each phase."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from multiblock.files import write_text
from multiblock.inference.metrics import VALUES

TIMES = ("seconds", "validation_seconds", "iteration_seconds", "relative_time")
"""Columns that are not the same when the same is done again. They stand in a CSV of their own."""

CONVENTION = (
    "Means over the test images. PSNR RGB: floats, no rounding, no border cut. PSNR-Y and SSIM-Y: 8 bits, "
    "a border of {border} pixels cut. Composed: the network run on LR as a user runs it. Staged: the phase's "
    "blocks alone on the cached images they were trained on."
)


def psnr_by_phase(measured: Mapping[tuple[int, int], Path], trained: Mapping[tuple[int, int], Path]) -> pd.DataFrame:
    """One row a seed and phase, means over the test images; the first row of each seed is phase ``input``.

    Args:
        measured: the evaluation CSV of each (seed, phase).
        trained: the training record of each (seed, phase).
    """
    rows = []
    for (seed, phase), file in sorted(measured.items()):
        images = pd.read_csv(file, dtype={"phase": str, "image": str})
        if phase == 1:
            rows.append({"seed": seed, "phase": "input", **_means(images[images.phase == "input"])})
        record = json.loads(trained[seed, phase].read_text())
        first, last = record["span"]
        rows.append(
            {
                "seed": seed,
                "phase": str(phase),
                **_means(images[images.phase == str(phase)]),
                "span": f"{first}-{last}" if first != last else str(first),
                "parameters": record["parameters"],
                "iterations": record["iterations"],
                "block_pixels": record["block_pixels"],
                "seconds": record["seconds"],
                "validation_seconds": record["validation_seconds"],
            }
        )
    return pd.DataFrame(rows).astype({"parameters": "Int64", "iterations": "Int64", "block_pixels": "Int64"})


def write(table: pd.DataFrame, key: Sequence[str], file: Path, times: Path) -> None:
    """Write a table as CSV: all that is the same each time into ``file``, and times, by ``key``, into ``times``."""
    columns = [column for column in TIMES if column in table]
    write_text(file, table.drop(columns=columns).to_csv(index=False))
    write_text(times, table[[*key, *columns]].to_csv(index=False))


def read(file: Path, times: Path) -> pd.DataFrame:
    """A table that :func:`psnr_by_phase` made, from its two CSVs."""
    table = pd.read_csv(file, dtype={"phase": str, "span": str})
    return table.merge(pd.read_csv(times, dtype={"phase": str}), on=["seed", "phase"])


def _means(images: pd.DataFrame) -> dict[str, float]:
    return {value: round(float(images[value].mean()), 4) for value in VALUES}


def mean_over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """One row a phase: the mean over seeds of every figure, in the order of the phases."""
    order = table.phase.drop_duplicates()
    spans = table.groupby("phase").span.first()
    return table.drop(columns=["seed", "span"]).groupby("phase").mean().assign(span=spans).loc[order].reset_index()


def as_markdown(table: pd.DataFrame, run: str, border: int) -> str:
    """The per-phase table as Markdown, with what each phase brought over the input and over the phase before."""
    means = mean_over_seeds(table)
    psnr = means.psnr_rgb_composed
    lines = [
        f"# {run}: what each phase brought",
        "",
        "| phase | blocks | PSNR RGB composed | over the input | over the phase before | PSNR RGB staged "
        "| PSNR-Y composed | SSIM-Y composed | block-pixels | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for i, row in means.iterrows():
        first = i == 0
        cells = [
            "no network" if first else row.phase,
            "" if first else row.span,
            f"{psnr[i]:.3f}",
            "" if first else f"{psnr[i] - psnr[0]:+.3f}",
            "" if first else f"{psnr[i] - psnr[i - 1]:+.3f}",
            f"{row.psnr_rgb_staged:.3f}",
            f"{row.psnr_y_composed:.3f}",
            f"{row.ssim_y_composed:.4f}",
            "" if first else f"{row.block_pixels:.3g}",
            "" if first else f"{row.seconds:.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    seeds = ", ".join(map(str, table.seed.unique()))
    lines += ["", f"PSNR in dB. {CONVENTION.format(border=border)} Seeds: {seeds}; figures are means over the seeds."]
    return "\n".join(lines) + "\n"


def comparison(tables: Mapping[str, pd.DataFrame], baseline: str) -> pd.DataFrame:
    """One row a run: its last phase, with a 95 % confidence interval over the seeds, and the compute it took.

    Args:
        baseline: the run that the time of an iteration is put in relation to.
    """
    rows = []
    for run, table in tables.items():
        seeds = table.seed.nunique()
        first, last = table.groupby("seed").first(), table.groupby("seed").last()
        rows.append(
            {
                "run": run,
                "seeds": seeds,
                "psnr_rgb_input": round(first.psnr_rgb_composed.mean(), 4),
                "psnr_rgb": round(last.psnr_rgb_composed.mean(), 4),
                "psnr_rgb_ci95": round(_half_interval(last.psnr_rgb_composed), 4) if seeds > 1 else None,
                "psnr_y": round(last.psnr_y_composed.mean(), 4),
                "ssim_y": round(last.ssim_y_composed.mean(), 4),
                "parameters": int(last.parameters.iloc[0]),
                "block_pixels": int(table.block_pixels.sum() // seeds),
                "seconds": round(float(table.seconds.sum() / seeds), 1),
                "iteration_seconds": _iteration_seconds(table),
                "relative_time": round(_iteration_seconds(table) / (_iteration_seconds(tables[baseline]) or 1), 2),
            }
        )
    return pd.DataFrame(rows)


def _iteration_seconds(table: pd.DataFrame) -> float:
    """Mean time of a training iteration, without looks at the validation images."""
    spent = (table.seconds - table.validation_seconds).sum()
    return round(float(spent / max(table.iterations.sum(), 1)), 5)


def comparison_as_markdown(table: pd.DataFrame) -> str:
    """The comparison as Markdown."""
    lines = [
        "| run | PSNR RGB of the input | PSNR RGB | PSNR-Y | SSIM-Y | parameters | block-pixels | seconds "
        "| relative time of an iteration | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table.itertuples():
        interval = f" ± {row.psnr_rgb_ci95:.3f}" if row.seeds > 1 else ""
        lines.append(
            f"| {row.run} | {row.psnr_rgb_input:.3f} | {row.psnr_rgb:.3f}{interval} | {row.psnr_y:.3f} "
            f"| {row.ssim_y:.4f} | {row.parameters:,} | {row.block_pixels:.3g} | {row.seconds:.0f} "
            f"| {row.relative_time:.2f} | {row.seeds} |"
        )
    note = "Last phase of each run, composed, last iteration; ± is the 95 % confidence interval over the seeds. "
    note += "PSNR RGB in dB: floats, no rounding, no border cut. Block-pixels: the training compute of all phases."
    return "\n".join([*lines, "", note]) + "\n"


def _half_interval(values: pd.Series) -> float:
    """Half the width of the 95 % confidence interval of a mean (Student's t)."""
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)


def losses(histories: Mapping[str, Sequence[Sequence[Path]]]) -> pd.DataFrame:
    """The training losses of all runs side by side: a column ``loss_<run>``, a row where a history has one.

    Args:
        histories: of each run, for each seed the history of each phase in order; the column is the mean over the
            seeds, and phases follow one another.
    """
    columns = []
    for run, seeds in histories.items():
        curves = [_loss_curve(phases) for phases in seeds]
        columns.append(pd.concat(curves, axis=1).mean(axis=1).rename(f"loss_{run}"))
    return pd.concat(columns, axis=1).sort_index().rename_axis("iteration").reset_index()


def _loss_curve(phases: Sequence[Path]) -> pd.Series:
    parts, before = [], 0
    for file in phases:
        rows = pd.read_csv(file)
        parts.append(pd.Series(rows.loss.to_numpy(), index=rows.iteration + before))
        before += int(rows.iteration.max()) if len(rows) else 0
    return pd.concat(parts)
