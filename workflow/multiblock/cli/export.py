"""``multiblock export``: write trained weights for other programs."""

import argparse
from pathlib import Path
from typing import Any

from multiblock.cli.weights import add_weights_arguments
from multiblock.errors import UserError

_FORMS = ("onnx", "authors")


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "export",
        help="write trained weights for other programs",
        description="Write trained weights for other programs: as an ONNX file that onnxruntime, chaiNNer and others "
        "run on pictures of any size, compared with PyTorch before it is kept; or under the parameter names of a "
        "network's authors. A model card (.md) and a record for OpenModelDB (.json) go beside the file.",
    )
    add_weights_arguments(parser)
    parser.add_argument("-o", "--out", type=Path, required=True, help="file to write: .onnx, or .pth or .safetensors")
    parser.add_argument("--form", choices=_FORMS, default="onnx", help="onnx (default), or the authors' names")
    parser.add_argument(
        "--block", type=int, help="the block to write under its authors' names, where there are several"
    )
    parser.add_argument("--licence", "--license", help="licence of the weights (SPDX), which only you can state")
    parser.add_argument("--author", action="append", default=[], help="who made the weights; can be given again")
    parser.add_argument("--tag", action="append", default=[], help="what it is for, as in photo; can be given again")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there; never the weights themselves")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Read, convert, compare, write."""
    from multiblock.export import command, onnx_file
    from multiblock.model import chain, finished

    if options.block is not None and options.form != "authors":
        raise UserError("--block: is for --form authors; an ONNX file holds the whole chain")
    file = finished.find(options.weights)
    command.plan(file, options.out, options.form, options.overwrite)
    if options.form == "onnx":
        onnx_file.check_packages()
    network = chain.load(file, options.trust_code)
    print(finished.about(file), flush=True)
    stated = command.Stated(licence=options.licence, authors=options.author, tags=options.tag)
    say = lambda line: print(line, flush=True)  # noqa: E731
    if options.form == "authors":
        command.to_authors(network, file, options.out, options.block, stated, say)
    else:
        enlarge = network.enlargement(file, options.enlarge)
        command.to_onnx(network, file, options.out, enlarge, stated, say)
