"""``multiblock import``: turn weights that their authors published into ours."""

import argparse
from pathlib import Path
from typing import Any

from multiblock.errors import UserError


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "import",
        help="turn weights that their authors published into ours",
        description="Write weights that the authors of a network published as a file that evaluate, upscale, export "
        "and the start of a phase take. Every name is matched; what does not fit is an error.",
    )
    parser.add_argument("file", type=Path, help="file of the authors (.pth, .pt or .safetensors)")
    parser.add_argument("--as", dest="network", required=True, help="which network it is; see multiblock models")
    parser.add_argument("--scale", type=int, help="its scale; the network's default if none is named")
    parser.add_argument("-o", "--out", type=Path, required=True, help="file to write, ending in .safetensors")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, rename, write."""
    from multiblock.export.authors import import_weights

    if options.out.suffix != ".safetensors":
        raise UserError(f"{options.out}: found '{options.out.suffix}'; allowed is a file that ends in .safetensors")
    given = {} if options.scale is None else {"scale": options.scale}
    chain, form = import_weights(options.file, options.network, given)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    chain.save(options.out)
    print(f"{options.out}: {options.network} x{chain.scale}, {chain.parameters_count:,} parameters, as {form.source}")
