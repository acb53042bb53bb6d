"""The budget of a network, as the lightweight x3 study reports it: size, work, and a score that weighs them against
PSNR."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from multiblock.files import write_text
from multiblock.inference.metrics import means
from multiblock.model import complexity
from multiblock.plan import Block
from multiblock.report import markdown, phases
from multiblock.report.markdown import Table
from multiblock.report.phases import INPUT


def budget(measured: Sequence[Path], blocks: Sequence[Mapping[str, Any]], limit: float) -> dict[str, Any]:
    """The study's figures for one trained network.

    Args:
        measured: the evaluation CSV of the run's last phase, of each seed; figures are means over the seeds.
        blocks: the blocks of its chain, as plain values.
        limit: GFLOPs that are allowed, for an input of 256 x 256 pixels.

    Returns:
        Parameters that are executed, GFLOPs, PSNR RGB8 of each test image and their mean, the sum of the images'
        MSE at peak 255, the ranking score exp(PSNR - 20) / (GFLOPs x million parameters), and whether the limit
        holds.
    """
    table = pd.concat(map(phases.read, measured))
    images, plain = (
        rows.groupby("image", sort=False).psnr_rgb8_composed.mean()
        for rows in (table[table.phase != INPUT], table[table.phase == INPUT])
    )
    (mean, before), left_out = means([images.to_dict(), plain.to_dict()])
    counted = complexity.of_chain([Block(**block) for block in blocks])
    score = math.exp(mean - 20) / (counted.gflops * counted.parameters_executed / 1e6)
    return {
        "parameters": counted.parameters_executed,
        "gflops": round(counted.gflops, 9),
        "images": {name: round(float(value), 4) for name, value in images.items()},
        "psnr_rgb8": round(mean, 4),
        "psnr_rgb8_input": round(before, 4),
        "mse_sum": round(float((255**2 * 10 ** (-images / 10)).sum()), 3),
        "ranking_score": round(score, 1),
        "limit_gflops": limit,
        "within_limit": counted.gflops <= limit,
        "left_out": markdown.as_json({"psnr_rgb8": left_out} if left_out else {}),
    }


def as_table(budgets: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """One row a run, a column an image."""
    rows = []
    for run, figures in budgets.items():
        plain = {key: value for key, value in figures.items() if key != "images"}
        rows.append({"run": run, **plain, **{f"psnr_{image}": value for image, value in figures["images"].items()}})
    return pd.DataFrame(rows)


def as_markdown(budgets: Mapping[str, Mapping[str, Any]]) -> str:
    """The budget as Markdown: a table of all runs, then PSNR a line an image."""
    columns = ["run", "parameters", "GFLOPs", "within the limit", "PSNR RGB8", "over the input", "sum of MSE"]
    rows = []
    for run, f in budgets.items():
        size = [f"{f['parameters']:,}", f"{f['gflops']:.9g}", "yes" if f["within_limit"] else "no"]
        psnr = [markdown.psnr(f["psnr_rgb8"]), markdown.gain(f["psnr_rgb8"], f["psnr_rgb8_input"])]
        rows.append([run, *size, *psnr, f"{f['mse_sum']:.3f}", f"{f['ranking_score']:.1f}"])
    names = dict.fromkeys(image for f in budgets.values() for image in f["images"])
    nothing = float("nan")  # a run that was not tested on an image
    images = [[name, *(markdown.psnr(f["images"].get(name, nothing)) for f in budgets.values())] for name in names]
    limit = next(iter(budgets.values()))["limit_gflops"]
    about = (
        f"PSNR in dB: RGB, 8 bits, whole image, no border cut. GFLOPs: 2 x multiply-adds for an input of 256 x 256; "
        f"the limit is {limit:g}. Ranking score: exp(PSNR - 20) / (GFLOPs x million parameters). Sum of MSE: over the "
        "images, peak 255."
    )
    tables = [Table([*columns, "ranking score"], rows), Table(["image", *budgets], images)]
    return markdown.document(
        [*tables, markdown.NOTES, markdown.left_out(f["left_out"] for f in budgets.values()), about]
    )


def write(budgets: Mapping[str, Mapping[str, Any]], csv: Path, markdown: Path) -> None:
    """Write both forms."""
    write_text(csv, as_table(budgets).to_csv(index=False))
    write_text(markdown, as_markdown(budgets))
