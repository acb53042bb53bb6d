"""The front of quality against seconds: what each arm of studies/front.yaml reaches in each budget.

    python benchmarks/front.py [STUDY ...] [--kept FOLDER]

STUDY are kept folders of the study at several budgets (`benchmarks/keep_study.py`), front, front_3 and front_9 where
none is named; those that are not there are left out. The table goes to the terminal as Markdown; FOLDER/front gets
the picture `front.png`: test PSNR against how long a run takes, a line an arm, a bar from the least to the most over
seeds. As budgets may be of several machines, lengths are those of growing in iterations, as a multiple of the shortest.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from power import KEPT, kept

from multiblock.report import figures
from multiblock.report.markdown import Table

HOLM = 0.05


def main() -> None:
    """Print the table, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="STUDY", default=["front", "front_3", "front_9"])
    parser.add_argument("--kept", type=Path, default=KEPT)
    options = parser.parse_args()
    there = [name for name in options.studies if (options.kept / name / "comparison.csv").is_file()]
    if not there:
        parser.error(f"{options.kept}: found none of {', '.join(options.studies)}; keep a finished study there first")
    for name in options.studies:
        if name not in there:
            print(f"{name}: is not kept, and is left out", file=sys.stderr)
    table = pd.concat([of_budget(options.kept / name) for name in there], ignore_index=True)
    table["length"] = table.growing / table.growing.min()
    draw(table, options.kept / "front" / "front.png")
    print(as_markdown(table))


def of_budget(folder: Path) -> pd.DataFrame:
    """A row a run: seconds planned, test PSNR RGB by seed, and its difference from the baseline with what is sure."""
    runs, apart = pd.read_csv(folder / "comparison.csv"), pd.read_csv(folder / "differences.csv")
    apart = apart[apart.metric == "psnr_rgb"].set_index("run")
    seconds = json.loads((folder / "seconds.json").read_text())
    rows = []
    for run in runs.itertuples():
        seeds = kept(folder / "comparison.csv", run.run, run.seeds).mean(axis=1)
        row = {"study": folder.name, "run": run.run, "seconds": seconds[run.run], "parameters": run.parameters}
        row["growing"] = runs.set_index("run").iterations["growing"]
        row |= {"psnr_rgb": seeds.mean(), "least": seeds.min(), "most": seeds.max()}
        if run.run in apart.index:
            found = apart.loc[run.run]
            row |= {name: found[name] for name in ("difference", "ci95_low", "ci95_high", "p_holm", "finds_80")}
        rows.append(row)
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, file: Path) -> None:
    """The picture; seconds on a logarithmic axis."""
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots()
    for number, (run, rows) in enumerate(table.groupby("run", sort=False)):
        spread = np.abs(rows[["least", "most"]].to_numpy().T - rows.psnr_rgb.to_numpy())
        style = {"color": figures.COLOURS[number], "marker": "o", "markersize": 4, "capsize": 2, "linewidth": 1.5}
        axes.errorbar(rows.length, rows.psnr_rgb, spread, label=run, **style)
    axes.set_xscale("log")
    ticks = sorted(set(table.length))
    axes.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axes.minorticks_off()
    axes.set(
        xlabel="time of a run, as a multiple of the shortest budget (logarithmic)",
        ylabel="PSNR RGB of the test images [dB]",
    )
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    figures.save(figure, file)


def as_markdown(table: pd.DataFrame) -> Table:
    """The rows of all budgets, those of one together."""
    cells = []
    for row in table.itertuples():
        interval = "" if pd.isna(row.ci95_low) else f"{row.ci95_low:+.3f} to {row.ci95_high:+.3f}"
        apart = "" if pd.isna(row.difference) else f"{row.difference:+.3f}"
        sure = "" if pd.isna(row.p_holm) else f"{row.p_holm:.3f}{' *' if row.p_holm < HOLM else ''}"
        finds = "" if pd.isna(row.finds_80) else f"{row.finds_80:.3f}"
        cells.append(
            [f"{row.seconds:.0f}", row.run, f"{row.parameters:,}", f"{row.psnr_rgb:.3f}", apart, interval, sure, finds]
        )
    heads = ["seconds", "run", "parameters", "PSNR RGB", "over growing", "95 % interval", "p, corrected", "finds"]
    return Table(heads, cells)


if __name__ == "__main__":
    main()
