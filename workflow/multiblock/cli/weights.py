"""``multiblock import`` and ``multiblock export``: weights from their authors, and for other programs."""

import argparse
from pathlib import Path
from typing import Any

from multiblock.cli.printing import add_weights_arguments
from multiblock.errors import UserError

_FORMS = ("onnx", "ncnn", "authors")


def add(commands: Any) -> None:
    """Add both subcommands to the parser."""
    _add_import(commands)
    _add_export(commands)


def _add_import(commands: Any) -> None:
    parser = commands.add_parser(
        "import",
        help="turn weights that their authors published into ours",
        description="Write weights that the authors of a network published as a file that evaluate, upscale, export "
        "and the start of a phase take. Every name is matched; what does not fit is an error.",
    )
    parser.add_argument("file", type=Path, help="file of the authors (.pth, .pt or .safetensors)")
    parser.add_argument("--as", dest="network", help="which network it is (multiblock models); found out if not named")
    parser.add_argument("--scale", type=int, help="its scale, where the weights do not say it")
    parser.add_argument("-o", "--out", type=Path, required=True, help="file to write, ending in .safetensors")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there already")
    parser.set_defaults(run=run_import)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export",
        help="write trained weights for other programs",
        description="Write trained weights for other programs: as an ONNX file that onnxruntime, chaiNNer and others "
        "run on pictures of any size, or as files of ncnn for Upscayl, compared with PyTorch before they are kept; or "
        "under the parameter names of a network's authors. A model card (.md) goes beside the file.",
    )
    add_weights_arguments(parser)
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        help="file to write: .onnx, .param (.bin goes beside it), .pth or .safetensors",
    )
    parser.add_argument("--form", choices=_FORMS, default="onnx", help="onnx (default), ncnn, or the authors' names")
    parser.add_argument(
        "--block", type=int, help="the block to write under its authors' names, where there are several"
    )
    parser.add_argument("--licence", "--license", help="licence of the weights (SPDX), which only you can state")
    parser.add_argument("--author", action="append", default=[], help="who made the weights; can be given again")
    parser.add_argument("--tag", action="append", default=[], help="what it is for, as in photo; can be given again")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there; never the weights themselves")
    parser.set_defaults(run=run_export)


def run_import(options: argparse.Namespace) -> None:
    """Read the authors' weights, rename them, and write them."""
    from multiblock.export.command import check_not_the_weights
    from multiblock.files import check_writable, keeping
    from multiblock.model.published import import_weights

    if options.out.suffix != ".safetensors":
        raise UserError(f"{options.out}: found '{options.out.suffix}'; allowed is a file that ends in .safetensors")
    check_not_the_weights(options.file, options.out)
    check_writable(options.out, options.overwrite)
    given = {} if options.scale is None else {"scale": options.scale}
    chain, form = import_weights(options.file, options.network, given)
    with keeping(options.overwrite):
        chain.save(options.out)
    network = options.network or chain.specs[0].network
    print(f"{options.out}: {network} x{chain.scale}, {chain.parameters_count:,} parameters, as {form.source}")


def run_export(options: argparse.Namespace) -> None:
    """Read weights, convert them, compare the results, and write them."""
    from multiblock.export import command, ncnn_file, onnx_file
    from multiblock.files import keeping
    from multiblock.model import chain, finished

    if options.block is not None and options.form != "authors":
        raise UserError(f"--block: is for --form authors; a file of {options.form} holds the whole chain")
    file = finished.find(options.weights)
    command.check_out(file, options.out, options.form, options.overwrite)
    if options.form != "authors":
        {"onnx": onnx_file, "ncnn": ncnn_file}[options.form].check_packages()
    network = chain.load(file, options.trust_code)
    about = finished.about(file)
    print(about, flush=True)
    stated = command.Stated(licence=options.licence, authors=options.author, tags=options.tag)
    say = lambda line: print(line, flush=True)  # noqa: E731
    with keeping(options.overwrite):
        if options.form == "authors":
            command.to_authors(network, about, options.out, options.block, stated, say)
        else:
            enlarge = network.enlargement(file, options.enlarge)
            write = command.to_onnx if options.form == "onnx" else command.to_ncnn
            write(network, about, options.out, enlarge, stated, say)
