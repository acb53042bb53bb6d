"""``multiblock models``: list the networks, or explain one, or a file of weights."""

import argparse
import csv
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from multiblock.cli.printing import print_table
from multiblock.errors import UserError, listed
from multiblock.model import finished, metadata
from multiblock.networks import library, registry, zoo
from multiblock.plan import Block


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "models",
        help="list the networks, or explain one",
        description="Without a name: every network with parameters, GFLOPs, receptive field and source. With one: what "
        "it is and which options it takes; of weights, how they were trained and which PSNR they had.",
    )
    parser.add_argument(
        "name", nargs="?", help="explain this network, Python file, or weights: a file or a run's folder"
    )
    parser.add_argument("--csv", action="store_true", help="print CSV, a row a network and scale")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the table of networks, as text or CSV, or what one of them is."""
    if options.name:
        weights = options.name.endswith(".safetensors") or options.name in finished.shipped()
        if weights or (os.sep in options.name and Path(options.name).is_dir()):
            _explain_weights(finished.find(Path(options.name)))
        elif registry.is_of_others(options.name):
            _explain_of_others(options.name)
        else:
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
    print_table([header, *cells])
    print("\nEach at its study's scale. GFLOPs: 2 x multiply-adds for an input of 256 x 256. Sees: receptive field.")
    known = library.names() or ["none, as it is not installed: pip install spandrel einops --no-deps"]
    print(f"Of the library spandrel, of which some restore pictures and do not enlarge them: {listed(known)}")


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
    from multiblock.model import complexity

    block = zoo.sample(entry.name, **({"scale": scale} if scale and scale > 1 else {}))
    counted = complexity.of(block.network, block.options)
    figures = (counted.parameters, counted.parameters_executed, round(counted.gflops, 9), counted.receptive_field)
    row = (entry.name, block.scale, *figures, entry.what, entry.source)
    return dict(zip(_MODEL_COLUMNS, row, strict=True))


def _explain(entry: zoo.Entry) -> None:
    """Print what one network is, how large, and its options with their defaults."""
    print(f"{entry.name}: {entry.what}\n{entry.source}; scales {listed(entry.scales)}")
    _print_size(zoo.sample(entry.name))
    _print_options(entry.family, entry.options)


def _explain_of_others(file: str) -> None:
    """Print what a network of a user's own, or of a library, is; its code is run to count it."""
    print(f"{file}: {registry.summary(file)}")
    needed = [option for option, (_, default) in registry.options(file).items() if default is ...]
    if needed:
        print(f"not counted, as {listed(needed)} must be given")
    else:
        block = zoo.block(file, {}, file)
        try:
            _print_size(block)
        except Exception as error:  # whatever their code leads to
            reason = " ".join(str(error).split())
            if library.is_one(file):  # many want other options than their defaults, which are shown
                print(f"not counted, as its defaults are no block: {reason}")
            elif isinstance(error, UserError):
                raise
            else:
                reason = f"{type(error).__name__}: {reason}"
                raise UserError(f"{file}: cannot be run on 256 x 256 pixels: {reason}") from error
    _print_options(file, {})


def _print_size(block: Block) -> None:
    """Print parameters, GFLOPs and receptive field of a network with its options."""
    from multiblock.model import complexity

    counted = complexity.of(block.network, block.options)
    sees = f"receptive field {counted.receptive_field}"
    if library.is_one(block.network):  # what it sees is not known
        sees = f"tiles overlap by {counted.receptive_field // 2} pixels"
    print(
        f"x{block.scale}: {counted.parameters:,} parameters, {counted.gflops:.1f} GFLOPs for 256 x 256 pixels, {sees}"
    )


def _print_options(network: str, given: Mapping[str, Any]) -> None:
    """Print the options of a network with their defaults, and what each means."""
    words = registry.explanations(network)
    print()
    for option, (kind, default) in registry.options(network).items():
        default = given.get(option, default)
        shown = "needed" if default is ... else default
        print(f"  {option}: {kind} = {shown}")
        if option in words:
            print(f"      {words[option]}")


def _explain_weights(file: Path) -> None:
    """Print what a file of weights states about itself; none of it runs."""
    known = metadata.read(file)
    print(f"{file}: multiblock {known.version}")
    for number, block, clamp in zip(known.numbers, known.blocks, known.clamped, strict=True):
        options = listed(f"{name}={value}" for name, value in block.options.items())
        print(f"  block {number}: {block.network} {options}{', clamped' if clamp else ''}")
    for name, value in asdict(known.about).items():
        if name == "stated":
            if not value:
                print("  enlarge: not stated; upscale, evaluate and export ask for --enlarge")
        elif value not in (None, ()):
            print(f"  {name}: {listed(value) if isinstance(value, tuple) else value}")
