"""The runs of a finished study on other pictures, on which nothing was chosen.

    python benchmarks/confirm.py CONFIG [CONFIG ...] --results FOLDER --hr FOLDER [--lr FOLDER] --name NAME

CONFIG are the study's files as they were given to Snakemake, `--results` is where its results are. Each run's network
after its last phase, of each seed, is measured on all pictures of `--hr`, whose LR is in `--lr` or made by MATLAB's
bicubic. OUT/STUDY (results/reference by default) gets NAME.csv, a row a run, seed and picture, and NAME.md: PSNR RGB
(floats, whole picture, no border cut) and differences from the baseline with 95 % intervals over seeds and pictures.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from bench import ROOT, machine

from multiblock import config
from multiblock.data.dataset import ImagePair, items_of
from multiblock.inference import evaluation
from multiblock.model import chain, finished
from multiblock.report.differences import holm, paired
from multiblock.report.markdown import Table


def main() -> None:
    """Measure, and keep table and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", type=Path, metavar="CONFIG")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--hr", required=True)
    parser.add_argument("--lr")
    parser.add_argument("--name", required=True, help="what the pictures are called")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "reference")
    options = parser.parse_args()
    study = config.load(config.read(options.configs))
    items = items_of({"hr": options.hr, **({"lr": options.lr, "lr_name": "{name}"} if options.lr else {})})
    rows = []
    for name, run in study.runs.items():
        for seed in study.seeds:
            file = finished.find(options.results / name / f"seed{seed}" / f"phase{len(run.plan.phases)}")
            for row in _measured(file, items, run.data.scale):
                rows.append({"run": name, "seed": seed, **row})
    table = pd.DataFrame(rows)
    out = options.out / study.name
    out.mkdir(parents=True, exist_ok=True)
    table.to_csv(out / f"{options.name}.csv", index=False, float_format="%.5f")
    text = "\n".join(
        [
            f"Command: `python benchmarks/confirm.py {' '.join(map(str, options.configs))} --results FOLDER --hr DIR"
            f"{' --lr DIR' if options.lr else ''} --name {options.name}`.",
            *machine("cpu", torch.get_num_threads()),
            f"Seeds: {', '.join(map(str, study.seeds))}. {len(items)} pictures; figures of each: `{options.name}.csv`.",
            f"\n# {study.name} on {options.name}\n",
            str(_compared(table, study.baseline)),
        ]
    )
    (out / f"{options.name}.md").write_text(text + "\n")
    print(text)


def _measured(file: Path, items: Sequence[ImagePair], scale: int) -> list[dict[str, Any]]:
    """PSNR RGB of each picture, without a network (``input``) and with this one (``network``)."""
    problems: list[str] = []
    scores = list(evaluation.score(chain.load(file), items, scale, scale, torch.device("cpu"), 2.5, problems))
    if problems:
        raise SystemExit("; ".join(problems))
    return pd.DataFrame(scores).pivot(index="image", columns="what", values="psnr_rgb").reset_index().to_dict("records")


def _compared(table: pd.DataFrame, baseline: str) -> Table:
    """A row a run; p corrected for the number of comparisons by Holm's procedure."""
    arrays = {run: of.pivot(index="seed", columns="image", values="network") for run, of in table.groupby("run")}
    apart = {run: paired((arrays[run] - arrays[baseline]).to_numpy()) for run in dict.fromkeys(table.run)}
    corrected = holm(pd.Series({run: found.p for run, found in apart.items() if run != baseline}))
    rows = [["no network", f"{table.input.mean():.3f}", "", "", "", ""]]
    for run, found in apart.items():
        cells = [""] * 4
        if run != baseline and found.headline:
            low, high = found.headline
            cells = [f"{found.mean:+.3f}", f"{low:+.3f} to {high:+.3f}", f"{corrected[run]:.3f}", f"{found.finds:.3f}"]
        rows.append([run, f"{arrays[run].to_numpy().mean():.3f}", *cells])
    return Table(["run", "PSNR RGB", f"over {baseline}", "95 % interval", "p, corrected", "finds"], rows)


if __name__ == "__main__":
    main()
