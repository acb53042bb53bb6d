"""The ``multiblock`` command: what is useful outside the workflow."""

import argparse
import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from multiblock import __version__, config, networks, zoo
from multiblock.errors import UserError, listed, one_line
from multiblock.files import write_text
from multiblock.plan import INPUT, Plan, format_span
from multiblock.reference import reference


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; wrong input ends with one line on standard error and exit status 1."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, OSError) as error:
        print(f"multiblock: error: {one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="multiblock", description="Super-resolution networks trained in phases: tools beside the workflow."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    plan = commands.add_parser("plan", help="check a config and print its phases")
    plan.add_argument("config", nargs="*", type=Path, default=[Path("config.yaml")], help="files, merged in order")
    plan.set_defaults(run=_plan)

    models = commands.add_parser("models", help="list the networks, or explain one")
    models.add_argument("name", nargs="?", help="explain this network's options")
    models.add_argument("--csv", action="store_true", help="print CSV, a row a network and scale")
    models.set_defaults(run=_models)

    imported = commands.add_parser("import", help="turn weights that their authors published into ours")
    imported.add_argument("file", type=Path, help="file of the authors (.pth, .pt or .safetensors)")
    imported.add_argument("--as", dest="network", required=True, help="which network it is; see multiblock models")
    imported.add_argument("--scale", type=int, help="its scale; the network's default if none is named")
    imported.add_argument("-o", "--out", type=Path, required=True, help="file to write, ending in .safetensors")
    imported.set_defaults(run=_import)

    evaluate = commands.add_parser("evaluate", help="score weights on a folder of images, under every convention")
    evaluate.add_argument("weights", type=Path, help="weights.safetensors of a phase, or what import wrote")
    evaluate.add_argument("--hr", type=Path, required=True, help="folder of HR images")
    evaluate.add_argument("--lr", type=Path, help="folder of LR images; made by MATLAB's bicubic if none is named")
    evaluate.add_argument("--lr-name", default="{name}", help="how LR files are called, as {name}x3")
    evaluate.add_argument("--scale", type=int, help="HR over LR; the network's if it enlarges, else 1")
    evaluate.add_argument("--border", type=int, help="pixels cut for PSNR-Y and SSIM-Y; the scale if none is named")
    evaluate.add_argument("-o", "--out", type=Path, help="CSV to write, a row an image")
    _add_device(evaluate)
    evaluate.set_defaults(run=_evaluate)

    upscale = commands.add_parser("upscale", help="run a trained network on images")
    upscale.add_argument("weights", type=Path, help="weights.safetensors of a phase")
    upscale.add_argument("images", nargs="+", type=Path, help="image files")
    upscale.add_argument("-o", "--out", type=Path, required=True, help="folder for the results (PNG)")
    upscale.add_argument(
        "--enlarge", type=int, choices=[1, 2, 3, 4], default=1, help="enlarge first by bicubic interpolation"
    )
    _add_device(upscale)
    upscale.set_defaults(run=_upscale)

    keys = commands.add_parser("reference", help="print the reference of all config keys as Markdown")
    keys.set_defaults(run=lambda _: print(reference(), end=""))
    return parser


def _add_device(command: argparse.ArgumentParser) -> None:
    """Where a network runs, and in how much memory."""
    command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    command.add_argument("--memory-gib", type=float, default=2.5, help="memory for feature maps; more is done in tiles")


def _plan(options: argparse.Namespace) -> None:
    study = config.load(config.read(options.config))
    for run in study.runs.values():
        seeds = ", ".join(map(str, study.seeds))
        print(f"run {run.name}: {len(run.plan.blocks)} blocks on {run.data.name}, seeds {seeds}")
        header = ("phase", "trains", "starts from", "reads", "makes", "iterations", "block-pixels", "then rerun")
        _print_table([header, *(_phase(run.plan, number) for number in run.plan.numbers)], indent="  ")


def _phase(plan: Plan, number: int) -> tuple[str, ...]:
    """A row of the plan's table."""
    phase, task, read = plan.phase(number), plan.task(number, 0), plan.reads_set(number)
    starts = [task.starts[block - 1] for block in phase.span]
    return (
        str(number),
        format_span(phase.first, phase.last),
        ", ".join(f"phase {start}" if isinstance(start, int) else start for start in dict.fromkeys(starts)),
        "LR_0" if read.phase == INPUT else f"LR_{read.block} of phase {read.phase}",
        ", ".join(f"LR_{block}" for block in plan.makes_sets(number)) or "-",
        str(task.iterations),
        f"{task.block_pixels:.3g}",
        ", ".join(map(str, plan.reruns(number)[1:])) or "-",
    )


def _models(options: argparse.Namespace) -> None:
    if options.name:
        _explain(zoo.find(options.name))
        return
    if options.csv:
        writer = csv.DictWriter(sys.stdout, _MODEL_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for entry in zoo.ENTRIES.values():
            for scale in entry.scales:
                writer.writerow(_model(entry, scale))
        return
    rows = [_model(entry) for entry in zoo.ENTRIES.values()]
    header = ("name", "scale", "parameters", "GFLOPs", "sees", "what", "source")
    cells = [
        (
            str(row["name"]),
            f"x{row['scale']}",
            f"{row['parameters']:,}",
            f"{row['gflops_256']:.1f}",
            str(row["receptive_field"]),
            str(row["what"]),
            str(row["source"]),
        )
        for row in rows
    ]
    _print_table([header, *cells])
    print("\nEach at its study's scale. GFLOPs: 2 x multiply-adds for an input of 256 x 256. Sees: receptive field.")


_MODEL_COLUMNS = (
    "name",
    "scale",
    "parameters",
    "parameters_executed",
    "gflops_256",
    "receptive_field",
    "what",
    "source",
)


def _model(entry: zoo.Entry, scale: int | None = None) -> dict[str, object]:
    """A row of the table of networks."""
    from multiblock import complexity

    block = zoo.sample(entry.name, **({"scale": scale} if scale and scale > 1 else {}))
    counted = complexity.of(block.network, block.options)
    figures = (counted.parameters, counted.parameters_executed, round(counted.gflops, 9), counted.receptive_field)
    row = (entry.name, block.scale, *figures, entry.what, entry.source)
    return dict(zip(_MODEL_COLUMNS, row, strict=True))


def _explain(entry: zoo.Entry) -> None:
    """One network: what it is, and its options with their defaults."""
    print(f"{entry.name}: {entry.what}\n{entry.source}; scales {listed(entry.scales)}\n")
    words = networks.explanations(entry.family)
    for option, (kind, default) in networks.options(entry.family).items():
        default = entry.options.get(option, default)
        shown = "needed" if default is ... else default
        print(f"  {option}: {kind} = {shown}\n      {words.get(option, '')}")


def _import(options: argparse.Namespace) -> None:
    from multiblock.published import import_weights

    if options.out.suffix != ".safetensors":
        raise UserError(f"{options.out}: found '{options.out.suffix}'; allowed is a file that ends in .safetensors")
    given = {} if options.scale is None else {"scale": options.scale}
    chain, form = import_weights(options.file, options.network, given)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    chain.save(options.out)
    print(f"{options.out}: {options.network} x{chain.scale}, {chain.parameters_count:,} parameters, as {form.source}")


def _evaluate(options: argparse.Namespace) -> None:
    import pandas as pd
    import torch

    from multiblock import chain, evaluation
    from multiblock.data.sources import items_of
    from multiblock.training.device import choose

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
    _print_table(
        [
            (f"mean of {table.image.nunique()} images", "no network", "network"),
            *((text, f"{means[key]['input']:.4f}", f"{means[key]['network']:.4f}") for key, text in named.items()),
        ]
    )


def _print_table(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Rows as columns of equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print((indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip())


def _upscale(options: argparse.Namespace) -> None:
    import torch

    from multiblock import chain, inference
    from multiblock.data import images
    from multiblock.data.resize import enlarge
    from multiblock.metrics import to_bytes
    from multiblock.training.device import choose

    device = choose(options.device, "auto", gpus=1, threads=torch.get_num_threads()).device
    network = chain.load(options.weights).to(device)
    options.out.mkdir(parents=True, exist_ok=True)
    for file in options.images:
        pixels = images.read(file)
        if options.enlarge > 1:
            pixels = enlarge(pixels, options.enlarge)
        result = inference.run(network, pixels, device, options.memory_gib)
        target = options.out / f"{file.stem}.png"
        images.write(target, to_bytes(result))
        print(f"{target}: {result.shape[1]} x {result.shape[0]}")
