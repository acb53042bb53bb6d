"""``multiblock models``: list the networks, or explain one."""

import argparse
import csv
import sys
from typing import Any

from multiblock.cli.printing import print_table
from multiblock.errors import listed
from multiblock.networks import registry, zoo


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser("models", help="list the networks, or explain one")
    parser.add_argument("name", nargs="?", help="explain this network's options")
    parser.add_argument("--csv", action="store_true", help="print CSV, a row a network and scale")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the table of networks, as text or CSV, or what one of them is."""
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
    print_table([header, *cells])
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
    from multiblock.model import complexity

    block = zoo.sample(entry.name, **({"scale": scale} if scale and scale > 1 else {}))
    counted = complexity.of(block.network, block.options)
    figures = (counted.parameters, counted.parameters_executed, round(counted.gflops, 9), counted.receptive_field)
    row = (entry.name, block.scale, *figures, entry.what, entry.source)
    return dict(zip(_MODEL_COLUMNS, row, strict=True))


def _explain(entry: zoo.Entry) -> None:
    """One network: what it is, and its options with their defaults."""
    print(f"{entry.name}: {entry.what}\n{entry.source}; scales {listed(entry.scales)}\n")
    words = registry.explanations(entry.family)
    for option, (kind, default) in registry.options(entry.family).items():
        default = entry.options.get(option, default)
        shown = "needed" if default is ... else default
        print(f"  {option}: {kind} = {shown}\n      {words.get(option, '')}")
