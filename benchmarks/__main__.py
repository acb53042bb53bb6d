"""How fast multiblock is, against what others do, measured in the same run.

    python benchmarks [PART ...] [--repeats N] [--threads N] [--device cpu|cuda] [--quick] [--out FOLDER]
    python benchmarks claims

Each part writes a table, as Markdown with its header and as CSV, into results/benchmarks. What is compared takes
turns, after a warm-up that does not count, so that a change of the machine's speed hits all alike. With `--device cuda`
and no GPU it says so and ends with 0. ``claims`` measures nothing: it looks for the figures that documents quote in the
tables that are kept, and ends with 1 where one is not there (claims.py).
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import alignment
import claims
import conversion
import default_run
import feeding
import pictures
import recompute
import steps
import torch
import training
import whole_images
from bench import ROOT, How, Table, command

PARTS: Mapping[str, Callable[[How], Table]] = {
    "feeding": feeding.measure,
    "steps": steps.measure,
    "limits": steps.measure_limits,
    "agreement": training.measure_agreement,
    "agreement_without_skip": training.measure_agreement_without_skip,
    "growth": training.measure_growth,
    "checkpoints": training.measure_checkpoints,
    "default_run": default_run.measure,
    "tiles": whole_images.measure_tiles,
    "whole_images": whole_images.measure,
    "pictures": pictures.measure,
    "carn": steps.measure_carn,
    "recompute": recompute.measure,
    "alignment": alignment.measure,
    "conversion": conversion.measure,
    "many_images": conversion.measure_many,
}


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all if none is named")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--pairs", type=Path, metavar="DIR", help="registered pairs, DIR/LR and DIR/HR, for alignment")
    parser.add_argument("--quick", action="store_true", help="at a tiny size, only to see that it runs")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks")
    options = parser.parse_args()
    if options.parts == ["claims"]:
        sys.exit(claims.report())
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here: nothing to measure")
        return
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="multiblock-benchmark-") as work:
        how = How(options.repeats, options.threads, options.device, options.quick, Path(work), options.pairs)
        for part in options.parts or PARTS:
            PARTS[part](how).write(options.out, command(), how)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
