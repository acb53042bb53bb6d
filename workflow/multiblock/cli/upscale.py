"""``multiblock upscale``: run a trained network on pictures."""

import argparse
import sys
from pathlib import Path
from typing import Any

from multiblock.cli.printing import add_device_arguments
from multiblock.cli.weights import add_weights_arguments
from multiblock.errors import one_line


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "upscale",
        help="run a trained network on pictures",
        description="Run a trained network on pictures. A result keeps its picture's colour profile, EXIF data, "
        "transparency, dots per inch and bits a channel; what it cannot keep is said. Pictures are never replaced.",
    )
    add_weights_arguments(parser)
    parser.add_argument("images", nargs="+", type=Path, help="image files")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--format",
        choices=["lossless", "same", "png"],
        default="lossless",
        help="lossless (default): TIFF stays TIFF, all else becomes PNG; same: the picture's own, JPEG with quality 95 "
        "and full colour, WebP lossless; png",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    add_device_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Upscale each picture."""
    import torch

    from multiblock.inference import upscale
    from multiblock.model import chain
    from multiblock.runtime.device import choose

    jobs = upscale.plan(options.images, options.out, options.format, options.overwrite)
    device = choose(options.device, "auto", gpus=1, threads=torch.get_num_threads()).device
    network = chain.load(options.weights, options.trust_code).to(device)
    upscale.run(
        network,
        jobs,
        device,
        options.memory_gib,
        enlarge=network.enlargement(options.weights, options.enlarge),
        say=lambda line: print(line, flush=True),
        complain=lambda error: print(f"multiblock: error: {one_line(error)}", file=sys.stderr),
    )
