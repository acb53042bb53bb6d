"""The ``multiblock`` command: what is useful outside the workflow."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from multiblock import __version__, config, networks
from multiblock.errors import UserError
from multiblock.plan import INPUT, Plan, format_span
from multiblock.reference import reference


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; wrong input ends with one line on standard error and exit status 1."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except UserError as error:
        print(f"multiblock: error: {error}", file=sys.stderr)
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

    blocks = commands.add_parser("blocks", help="list the built-in networks with their options")
    blocks.set_defaults(run=_blocks)

    upscale = commands.add_parser("upscale", help="run a trained network on images")
    upscale.add_argument("weights", type=Path, help="weights.safetensors of a phase")
    upscale.add_argument("images", nargs="+", type=Path, help="image files")
    upscale.add_argument("-o", "--out", type=Path, required=True, help="folder for the results (PNG)")
    upscale.add_argument(
        "--enlarge", type=int, choices=[1, 2, 3, 4], default=1, help="enlarge first by bicubic interpolation"
    )
    upscale.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    upscale.add_argument("--memory-gib", type=float, default=4, help="memory for feature maps; more is done in tiles")
    upscale.set_defaults(run=_upscale)

    keys = commands.add_parser("reference", help="print the reference of all config keys as Markdown")
    keys.set_defaults(run=lambda _: print(reference(), end=""))
    return parser


def _plan(options: argparse.Namespace) -> None:
    study = config.load(config.read(options.config))
    for run in study.runs.values():
        seeds = ", ".join(map(str, study.seeds))
        print(f"run {run.name}: {len(run.plan.blocks)} blocks on {run.data.name}, seeds {seeds}")
        header = ("phase", "trains", "starts from", "reads", "makes", "iterations", "block-pixels", "then rerun")
        rows = [header, *(_phase(run.plan, number) for number in run.plan.numbers)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        for row in rows:
            print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


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


def _blocks(_: argparse.Namespace) -> None:
    for name in networks.names():
        block = networks.build(name, {})
        count = sum(parameter.numel() for parameter in block.parameters())
        summary = (type(block).__doc__ or "").splitlines()[0]
        print(f"{name}: {summary}")
        print(f"  {count:,} parameters, receptive field {block.receptive_field} at its defaults")
        for option, (kind, default) in networks.options(name).items():
            print(f"  {option}: {kind} = {default}")


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
