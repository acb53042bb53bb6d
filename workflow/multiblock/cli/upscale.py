"""``multiblock upscale``: run a trained network on images."""

import argparse
from pathlib import Path
from typing import Any

from multiblock.cli.printing import add_device_arguments
from multiblock.cli.weights import add_weights_arguments


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser("upscale", help="run a trained network on images")
    add_weights_arguments(parser)
    parser.add_argument("images", nargs="+", type=Path, help="image files")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the results (PNG)")
    add_device_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Enlarge each image."""
    import torch

    from multiblock.data import images
    from multiblock.data.pixels import to_bytes
    from multiblock.data.resize import enlarge
    from multiblock.inference import tiles
    from multiblock.model import chain
    from multiblock.runtime.device import choose

    device = choose(options.device, "auto", gpus=1, threads=torch.get_num_threads()).device
    network = chain.load(options.weights, options.trust_code).to(device)
    times = network.enlargement(options.weights, options.enlarge)
    options.out.mkdir(parents=True, exist_ok=True)
    for file in options.images:
        pixels = images.read(file)
        if times > 1:
            pixels = enlarge(pixels, times)
        result = tiles.run(network, pixels, device, options.memory_gib)
        target = options.out / f"{file.stem}.png"
        images.write(target, to_bytes(result))
        print(f"{target}: {result.shape[1]} x {result.shape[0]}")
