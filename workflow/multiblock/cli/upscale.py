"""``multiblock upscale``: run a trained network on pictures."""

import argparse
import sys
from pathlib import Path
from typing import Any

from multiblock.cli.printing import add_device_arguments
from multiblock.cli.weights import add_weights_arguments


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "upscale",
        help="run a trained network on pictures",
        description="Run a trained network on pictures. A result keeps its picture's colour profile, EXIF data, "
        "transparency, dots per inch and bits a channel; what it cannot keep is said. Pictures are never replaced.",
    )
    add_weights_arguments(parser)
    parser.add_argument("images", nargs="+", type=Path, help="image files, and folders of them; subfolders are kept")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--format",
        choices=["lossless", "same", "png"],
        default="lossless",
        help="lossless (default): TIFF stays TIFF, all else becomes PNG; same: the picture's own, JPEG with quality 95 "
        "and full colour, WebP lossless; png",
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="mean of the results for the picture in its eight turns and mirrorings: a little better, eight times as "
        "slow",
    )
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    there.add_argument("--skip-existing", action="store_true", help="leave results that are there already as they are")
    add_device_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Upscale each picture."""
    from multiblock import network
    from multiblock.inference import places, upscale
    from multiblock.inference.progress import PictureBar

    plan = places.plan(options.images, options.out, options.format, options.overwrite, options.skip_existing)
    for note in plan.notes:
        print(f"multiblock: {note}", file=sys.stderr)
    loaded = network.load(options.weights, options.device, options.trust_code, options.enlarge)
    print(loaded.about, flush=True)
    upscaler = loaded.upscaler(ensemble=options.ensemble, memory_gib=options.memory_gib)
    with PictureBar((job.source for job in plan.jobs), "upscaling") as bar:
        upscale.run(upscaler, plan.jobs, say=bar.say, complain=bar.complain, progress=bar.step)
