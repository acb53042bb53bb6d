"""``multiblock evaluate``: score weights on a folder of images."""

import argparse
from pathlib import Path
from typing import Any

from multiblock.cli.printing import add_device_arguments, print_table
from multiblock.errors import UserError
from multiblock.files import write_text


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser("evaluate", help="score weights on a folder of images, under every convention")
    parser.add_argument("weights", type=Path, help="weights.safetensors of a phase, or what import wrote")
    parser.add_argument("--hr", type=Path, required=True, help="folder of HR images")
    parser.add_argument("--lr", type=Path, help="folder of LR images; made by MATLAB's bicubic if none is named")
    parser.add_argument("--lr-name", default="{name}", help="how LR files are called, as {name}x3")
    parser.add_argument("--scale", type=int, help="HR over LR; the network's if it enlarges, else 1")
    parser.add_argument("--border", type=int, help="pixels cut for PSNR-Y and SSIM-Y; the scale if none is named")
    parser.add_argument("-o", "--out", type=Path, help="CSV to write, a row an image")
    add_device_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measure under every convention, beside no network."""
    import pandas as pd
    import torch

    from multiblock.data.dataset import items_of
    from multiblock.inference import evaluation
    from multiblock.model import chain
    from multiblock.runtime.device import choose

    device = choose(options.device, "auto", gpus=1, threads=torch.get_num_threads()).device
    network = chain.load(options.weights).to(device)
    scale = options.scale or network.scale
    if network.scale not in (1, scale):
        raise UserError(f"--scale: found {scale}; {options.weights} enlarges x{network.scale}")
    border = scale if options.border is None else options.border
    source = {"hr": str(options.hr)}
    if options.lr:
        source |= {"lr": str(options.lr), "lr_name": options.lr_name}
    elif scale == 1:
        raise UserError("--lr: is missing; where LR and HR have one size it cannot be made")
    rows = evaluation.score(network, items_of(source), scale, border, device, options.memory_gib)
    table = pd.DataFrame(rows)
    if options.out:
        write_text(options.out, table.to_csv(index=False))
    named = {
        "psnr_rgb": "PSNR RGB, floats, whole image",
        "psnr_rgb8": "PSNR RGB, 8 bits, whole image",
        "psnr_y": f"PSNR-Y, 8 bits, border {border}",
        "ssim_y": f"SSIM-Y, 8 bits, border {border}",
    }
    means = table.groupby("what")[list(named)].mean()
    print_table(
        [
            (f"mean of {table.image.nunique()} images", "no network", "network"),
            *((text, f"{means[key]['input']:.4f}", f"{means[key]['network']:.4f}") for key, text in named.items()),
        ]
    )
