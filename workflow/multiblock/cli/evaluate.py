"""``multiblock evaluate``: score weights on a folder of images."""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from multiblock.cli.printing import add_device_arguments, add_weights_arguments, print_table, template, whole
from multiblock.errors import UserError
from multiblock.files import keeping, write_text
from multiblock.inference.measures import MEASURES, NOT_HERE


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="score weights on a folder of images, under every convention",
        description="Print PSNR and SSIM of a trained network on pairs of images, beside LR enlarged by bicubic.",
    )
    add_weights_arguments(parser)
    parser.add_argument("--hr", type=Path, required=True, help="folder of HR images")
    parser.add_argument("--lr", type=Path, help="folder of LR images; made by MATLAB's bicubic if none is named")
    parser.add_argument("--lr-name", type=template, help="how LR files are called, as {name}x3; {name} if not given")
    parser.add_argument("--scale", type=whole(1, 4), help="HR over LR; what the weights make of it")
    parser.add_argument(
        "--border", type=whole(0, 8), help="pixels cut for PSNR-Y and SSIM-Y; the scale if none is named"
    )
    parser.add_argument(
        "--measures",
        nargs="+",
        type=measure,
        choices=MEASURES,
        default=[],
        help="measures of perceived quality to take beside",
    )
    parser.add_argument(
        "--explain",
        nargs="?",
        type=figure,
        const=0.0,
        metavar="PSNR",
        help="PSNR under eight conventions of the field in place of the usual table, beside the figure of a paper",
    )
    parser.add_argument("-o", "--out", type=Path, help="CSV to write, a row an image")
    parser.add_argument("--overwrite", action="store_true", help="replace a CSV that is there already")
    add_device_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measure under every convention, beside no network."""
    import torch

    from multiblock.data.dataset import items_of
    from multiblock.inference import evaluation
    from multiblock.model import chain, finished
    from multiblock.runtime.device import choose

    if options.out:
        evaluation.check_out(options.out, options.overwrite)
    file = finished.find(options.weights)
    device = choose(options.device, "auto", gpus=1, threads=torch.get_num_threads()).device
    network = chain.load(file, options.trust_code).to(device)
    print(finished.about(file), flush=True)
    asked = options.enlarge
    unknown = asked is None and network.scale == 1 and network.about.enlarge is None
    of_one_size = options.scale == 1 or (options.scale is None and options.lr is not None)
    if unknown and (network.about.stated or of_one_size):
        asked = options.scale or 1  # it takes what it is given, which has to have the size of HR
    scale = network.scale * network.enlargement(file, asked)
    if options.scale not in (None, scale):
        raise UserError(f"--scale: found {options.scale}; {file} makes x{scale} of LR; allowed is {scale}")
    border = scale if options.border is None else options.border
    items = items_of(_source(options, scale))
    if options.explain is not None:
        return _explain(options, network, items, scale, device)
    rows: list[evaluation.Row] = []
    problems: list[str] = []
    try:
        measures = list(dict.fromkeys(options.measures))
        for row in evaluation.score(network, items, scale, border, device, options.memory_gib, problems, measures):
            rows.append(row)
    finally:  # what is done is kept, however it ends
        if rows:
            try:
                if options.out:
                    with keeping(options.overwrite):
                        write_text(options.out, evaluation.scores_as_csv(rows))
            finally:
                table, notes = evaluation.summary(rows, border)
                print_table(table)
                print(*notes, sep="\n", end="\n" if notes else "")
    _check(problems, len(items), bool(rows))


def _check(problems: Sequence[str], count: int, scored: bool) -> None:
    """See that all images were scored.

    Raises:
        UserError: some were not.
    """
    if problems:
        kept = "the others are scored above" if scored else "nothing is scored"
        raise UserError(f"{len(problems)} of {count} images cannot be scored; {kept}: {'; '.join(problems)}")


def measure(text: str) -> str:
    """The name of a measure."""
    if why := NOT_HERE.get(text.lower()):
        raise argparse.ArgumentTypeError(f"found {text}, which {why}")
    return text


def figure(text: str) -> float:
    """A PSNR in dB as a paper prints it."""
    with suppress(ValueError):
        if 5 <= float(text) <= 100:
            return float(text)
    raise argparse.ArgumentTypeError(f"found {text}; allowed is a PSNR in dB from 5 to 100")


def _explain(options: argparse.Namespace, network: Any, items: Sequence[Any], scale: int, device: Any) -> None:
    """Print the conventions side by side."""
    from multiblock.inference import conventions, evaluation

    for name in ("out", "measures", "border"):
        if getattr(options, name):
            raise UserError(f"--{name}: does not go with --explain, which has conventions of its own; leave one out")
    problems: list[str] = []
    errors = evaluation.explain(network, items, scale, device, options.memory_gib, problems)
    if errors:
        table, notes = conventions.table(errors, scale, options.explain or None)
        print_table(table)
        print(*notes, sep="\n", end="\n" if notes else "")
    _check(problems, len(items), bool(errors))


def _source(options: argparse.Namespace, scale: int) -> dict[str, str]:
    """The folders as a data set's source."""
    if options.lr:
        return {"hr": str(options.hr), "lr": str(options.lr), "lr_name": options.lr_name or "{name}"}
    if options.lr_name:
        raise UserError("--lr-name: names files of the folder --lr, which is missing")
    if scale == 1:
        raise UserError("--lr: is missing; where LR and HR have one size it cannot be made")
    return {"hr": str(options.hr)}
