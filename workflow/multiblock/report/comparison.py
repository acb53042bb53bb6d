"""The runs of a study side by side."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from multiblock.report import markdown
from multiblock.report.measured import INPUT, about_left_out, means, of_phase
from multiblock.report.measured import read as read_measured
from multiblock.report.tables import BELOW, COMPUTE, ONE_SEED, REMEDY, portion


def comparison(
    tables: Mapping[str, pd.DataFrame], measured: Mapping[str, Sequence[Path]], baseline: str
) -> pd.DataFrame:
    """One row a run: its last phase, with a 95 % confidence interval over the seeds, and the compute it took.

    What a run took is what it would take alone; what was *spent* on it counts a phase that n runs share as 1/n, so that
    the sum over the runs is what the study took.

    Args:
        tables: the per-phase table of each run.
        measured: the evaluation CSVs of each run's last phase, one a seed.
        baseline: the run that the time of an iteration is put in relation to.
    """
    figures: dict[tuple[str, int, str], pd.DataFrame] = {}
    for run, files in measured.items():
        last = str(tables[run].phase.iloc[-1])
        for seed, file in enumerate(files):
            images = read_measured(file)
            figures |= {(run, seed, place): of_phase(images, place) for place in (INPUT, last)}
    found, left_out = means(figures)
    rows = []
    for run, table in tables.items():
        seeds, last = len(measured[run]), str(table.phase.iloc[-1])
        before = pd.DataFrame([found[run, seed, INPUT] for seed in range(seeds)])
        after = pd.DataFrame([found[run, seed, last] for seed in range(seeds)])
        psnr, size = after.psnr_rgb_composed, table.parameters_chain.iloc[-1]
        rows.append(
            {
                "run": run,
                "seeds": seeds,
                "psnr_rgb_input": round(before.psnr_rgb_composed.mean(), 4),
                "psnr_rgb": round(psnr.mean(), 4),
                "psnr_rgb_ci95": round(_half_interval(psnr), 4) if seeds > 1 and psnr.max() < float("inf") else None,
                "psnr_y": round(after.psnr_y_composed.mean(), 4),
                "ssim_y": round(after.ssim_y_composed.mean(), 4),
                "parameters": None if pd.isna(size) else int(size),
                "block_pixels": int(table.block_pixels.sum() // seeds),
                "seconds": round(float(table.seconds.sum() / seeds), 1),
                "iteration_seconds": _iteration_seconds(table),
                "relative_time": round(_iteration_seconds(table) / (_iteration_seconds(tables[baseline]) or 1), 2),
                "generation_block_pixels": int(table.generation_block_pixels.sum() // seeds),
                "block_pixels_spent": round(float((table.block_pixels * portion(table)).sum() / seeds)),
                "seconds_spent": round(float((table.seconds * portion(table)).sum() / seeds), 1),
                "below_no_network": _below(table),
                "left_out": json.dumps(left_out, ensure_ascii=False) if left_out else "",
            }
        )
    return pd.DataFrame(rows).astype({"parameters": "Int64"})


def _below(table: pd.DataFrame) -> str:
    """The phases that ended below no network, with their seeds."""
    below = table[table.below_no_network != ""]
    return "; ".join(f"phase {row.phase}, seed {row.seed} ({row.below_no_network})" for row in below.itertuples())


def _iteration_seconds(table: pd.DataFrame) -> float:
    """Mean time of a training iteration, without looks at the validation images."""
    spent = (table.seconds - table.validation_seconds).sum()
    return round(float(spent / max(table.iterations.sum(), 1)), 5)


def _half_interval(values: pd.Series) -> float:
    """Half the width of the 95 % confidence interval of a mean (Student's t)."""
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)


def _about_shared(table: pd.DataFrame) -> str:
    """What the study really took, where its runs share phases."""
    took, spent = table.block_pixels.sum(), table.block_pixels_spent.sum()
    if spent >= took:
        return ""
    return (
        f"Phases that runs share are trained once: the study took {spent:.3g} block-pixels and "
        f"{table.seconds_spent.sum():.0f} seconds of training a seed, where its runs sum up to {took:.3g} and "
        f"{table.seconds.sum():.0f}."
    )


def as_markdown(table: pd.DataFrame) -> str:
    """The comparison as Markdown."""
    columns = [
        "run",
        "PSNR RGB of the input",
        "PSNR RGB",
        "PSNR-Y",
        "SSIM-Y",
        "parameters of the whole network",
        "block-pixels of training",
        "block-pixels of LR_k",
        "seconds",
        "relative time of an iteration",
        "seeds",
    ]
    rows = []
    for row in table.itertuples():
        interval = "" if pd.isna(row.psnr_rgb_ci95) else f" ± {row.psnr_rgb_ci95:.3f}"
        figures = [markdown.psnr(row.psnr_rgb_input), markdown.psnr(row.psnr_rgb) + interval, markdown.psnr(row.psnr_y)]
        size = "not recorded" if pd.isna(row.parameters) else f"{row.parameters:,}"
        spent = [f"{row.block_pixels:.3g}", f"{row.generation_block_pixels:.3g}", f"{row.seconds:.0f}"]
        rows.append(
            [
                row.run + (f" **{BELOW}**" if row.below_no_network else ""),
                *figures,
                f"{row.ssim_y:.4f}",
                size,
                *spent,
                f"{row.relative_time:.2f}",
                row.seeds,
            ]
        )
    found = "; ".join(f"run {row.run}: {row.below_no_network}" for row in table.itertuples() if row.below_no_network)
    below = f"**{BELOW}: {found}. {REMEDY}**" if found else ""
    noise = ONE_SEED if table.seeds.max() == 1 else "± is the 95 % confidence interval over the seeds."
    notes = "Last phase of each run, composed, last iteration, means over the test images. "
    notes += f"PSNR RGB in dB: floats, no rounding, no border cut; PSNR-Y and SSIM-Y: 8 bits, a border cut. {noise}"
    compute = f"{COMPUTE} All of them are sums over the phases, means over the seeds."
    parts = [
        markdown.table(columns, rows),
        markdown.NOTES,
        below,
        about_left_out(table.left_out.unique()),
        notes,
        compute,
        _about_shared(table),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"
