"""The multiblock study at full size on several sets of pairs, kept as tables with their header.

    python benchmarks/full_size.py NAME=FOLDER [NAME=FOLDER ...] [--runs RUN ...] [--over FILE ...] [--out FOLDER]

Each FOLDER holds train/HR, train/LR, test/HR and test/LR, as studies/mcan.yaml wants them. The study (three phases
of 15,000 iterations and a joint one of 10,000, beside training in one go) runs on each; what was interrupted goes on
by the same command. For each set OUT/mcan_NAME.md has command, machine and versions above the tables of the runs and
their comparison. `--runs mcan mcan_one_go` trains these two alone; `--jobs 2` trains two phases at once.
`--over studies/short.yaml` tries it at a small size. `--minutes 12` measures steps on this machine, and scales the
iterations of all runs by one factor so that those of all seeds fit; the plan is kept as OUT/NAME_plan.yaml, by which
the same command goes on.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from bench import ROOT, command, machine

from multiblock import config

STUDY = ROOT / "studies" / "mcan.yaml"


def main() -> None:
    """Run the study on each set and keep its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--over", nargs="*", type=Path, default=[], help="configs merged over the study's")
    parser.add_argument("--runs", nargs="+", metavar="RUN", help="of the study; all if none is named")
    parser.add_argument("--minutes", type=float, help="of training on each set, for all runs and seeds together")
    parser.add_argument("--jobs", type=int, default=1, help="phases at once; more than there are GPUs share them")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "full_size")
    options = parser.parse_args()
    for given in options.sets:
        name, _, folder = given.partition("=")
        if not (Path(folder) / "train" / "HR").is_dir():
            parser.error(f"{given}: {folder or 'nothing'} holds no train/HR; wanted is NAME=FOLDER")
        keep(name, Path(folder).resolve(), options)


def keep(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Run the study on the pairs in ``folder`` and write ``mcan_<name>.md``."""
    out = options.out.resolve()
    results, runs = out / name, out / f"{name}.yaml"
    out.mkdir(parents=True, exist_ok=True)
    runs.write_text(yaml.safe_dump(_study(options.runs) | {"data_root": str(folder)}, sort_keys=False))
    configs = [runs, *(file.resolve() for file in options.over)]
    if options.minutes:
        configs.append(_plan(configs, options.minutes, out / f"{name}_plan.yaml"))
    arguments = [sys.executable, "-m", "snakemake", "--cores", "all", "--resources", f"gpu={options.jobs}"]
    arguments += ["--configfile", *configs, "--config", f"results={results}"]
    begun = time.monotonic()
    if status := subprocess.run(list(map(str, arguments)), cwd=ROOT).returncode:
        sys.exit(f"{name}: Snakemake ended with status {status}; the same command goes on; no table was kept yet")
    minutes = (time.monotonic() - begun) / 60
    device = "cuda" if torch.cuda.is_available() else "cpu"
    study = config.load(config.read(configs))
    sections = [
        f"Command: `{_typed(options.sets)}`; {minutes:.0f} minutes in this call.",
        *machine(device, torch.get_num_threads()),
        f"Seeds: {', '.join(map(str, study.seeds))}. Weights of the last iteration; nothing is chosen on test images.",
    ]
    tables = [results / run / "psnr_by_phase.md" for run in study.runs]
    if len(study.runs) > 1:
        tables.append(results / f"{study.name}_comparison.md")
    text = "\n".join(sections) + "\n\n" + "\n".join(table.read_text() for table in tables)
    (out / f"mcan_{name}.md").write_text(text)
    print(text)


def _plan(configs: list[Path], minutes: float, file: Path) -> Path:
    """The file with the iterations that fit, measured the first time; runs that another sizes take as long as that."""
    if not file.is_file():
        study = config.load(config.read(configs))
        share = minutes / (len(study.runs) * len(study.seeds))
        given = ["plan", *map(str, configs), "--minutes", f"{share:g}"]
        done = subprocess.run([sys.executable, "-m", "multiblock", *given], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{minutes:g} minutes cannot be planned; nothing was trained")
        file.write_text(done.stdout)
    print("\n".join(line for line in file.read_text().splitlines() if line.startswith("#")), flush=True)
    return file


def _typed(sets: list[str]) -> str:
    """The command, without where the pairs lie on this machine."""
    text = command("benchmarks/full_size.py")
    for given in sets:
        text = text.replace(given, f"{given.partition('=')[0]}=FOLDER")
    return text


def _study(runs: list[str] | None) -> dict[str, Any]:
    """The study as its file has it, of these runs alone."""
    study = config.read([STUDY])
    if runs:
        if unknown := set(runs) - set(study["runs"]):
            sys.exit(f"--runs: found {', '.join(sorted(unknown))}; allowed are {', '.join(study['runs'])}")
        study["runs"] = {run: study["runs"][run] for run in runs}
        for run, has in study["runs"].items():
            if (partner := has.get("equal_to")) not in (None, *runs):
                print(f"{run}: {partner}, by whose block-pixels it is sized, is left out; its stages are as written")
                del has["equal_to"]
        if study["report"]["baseline"] not in runs:
            del study["report"]
    return study


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
