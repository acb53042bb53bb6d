"""Keep the tables and figures of a finished study, with command, commit, machine, versions and seeds above them.

    python benchmarks/keep_study.py CONFIG [CONFIG ...] --results FOLDER [--set KEY=VALUE] [--note TEXT] [--out FOLDER]

CONFIG are the study's files as they were given to Snakemake, and `--set` what it got by --config beside data_root and
results; FOLDER is where its results are. OUT (results/reference by default) gets a folder of the study's name: the
comparison as README.md, its tables and figures, the table of each run's phases, and of each run and seed the
measurements of every test image after the last phase, from which every cell can be computed again; of runs of equal
seconds what was planned, and the times. Of a study of one run README.md is the table of its phases. No picture of a
data set is kept.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch
from bench import ROOT, machine

from multiblock import config
from multiblock.config import Study
from multiblock.config.reading import overrides
from multiblock.workflow import seconds
from multiblock.workflow.store import Store

OF_STUDY = ("comparison.csv", "comparison.png", "differences.csv", "curves.csv", "curves.png")
OF_RUN = ("psnr_by_phase.md", "psnr_by_phase.csv", "psnr_by_block.md", "psnr_by_block.csv", "residuals.csv")


def main() -> None:
    """Keep one study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+", type=Path, metavar="CONFIG")
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="such as precision=float32")
    parser.add_argument("--note", default="", help="what else is to be known, such as what else the machine did")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "reference")
    options = parser.parse_args()
    given = overrides(dict(one.split("=", 1) for one in options.set))
    study = seconds.decided(config.load(config.read(options.configs) | given), Store(options.results))
    if not _found(study, options.results).is_file():
        parser.error(f"{_found(study, options.results)}: is not there; a study that is finished is needed")
    keep(study, options)


def _found(study: Study, results: Path) -> Path:
    """What the study found: the comparison of its runs, or the table of its only one."""
    if len(study.runs) == 1:
        return results / next(iter(study.runs)) / "psnr_by_phase.md"
    return results / f"{study.name}_comparison.md"


def keep(study: Study, options: argparse.Namespace) -> None:
    """Write the study's folder anew."""
    out, results = options.out / study.name, options.results
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    records = [json.loads(file.read_text()) for run in study.runs for file in _of_run(results, run, "training.json")]
    files, settings = " ".join(map(str, options.configs)), " ".join(["data_root=DIR", *options.set])
    commits = ", ".join(sorted({str(record["commit"]) for record in records}))
    threads = {segment["threads"] for record in records for segment in record["segments"]}
    lines = [
        f"Command: `snakemake --cores all --configfile {files} --config {settings}`, commit {commits}.",
        *machine("cuda" if torch.cuda.is_available() else "cpu", max(threads)),
        f"Seeds: {', '.join(map(str, study.seeds))}. {options.note}",
        "Every image's figures after the last phase are in `psnr/`.",
    ]
    if len(study.runs) > 1:
        lines.append("Curves: `curves.png`; intervals: `comparison.png`.")
        for name in OF_STUDY:
            shutil.copy(results / f"{study.name}_{name}", out / name)
    (out / "README.md").write_text("\n".join([*lines, "", f"# {study.name}", "", _found(study, results).read_text()]))
    if planned := _seconds(study):
        (out / "seconds.json").write_text(json.dumps(planned, indent=1) + "\n")
        shutil.copy(results / f"{study.name}_times.csv", out / "times.csv")  # how good a run was at any time
    (out / "psnr").mkdir()
    for run in study.runs:
        for name in filter(lambda name: (results / run / name).is_file(), OF_RUN):
            shutil.copy(results / run / name, out / f"{run}_{name}")
        last = len(study.runs[run].plan.phases)
        for seed in study.seeds:
            file = results / run / f"seed{seed}" / f"phase{last}" / "psnr.csv"
            shutil.copy(file, out / "psnr" / f"{run}_seed{seed}.csv")
    print(out)


def _seconds(study: Study) -> dict[str, float]:
    """The seconds of each run as planned, where runs are to take as long as another one."""
    planned = {}
    for name, run in study.runs.items():
        if run.equal_to and run.equal_to.unit == "seconds" and (found := run.equal_to.reckoned):
            planned |= {run.equal_to.run: round(found.there, 1), name: round(found.here, 1)}
    return planned


def _of_run(results: Path, run: str, name: str) -> list[Path]:
    return sorted((results / run).glob(f"seed*/phase*/{name}"))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
