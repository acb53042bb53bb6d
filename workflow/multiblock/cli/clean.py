"""``multiblock clean``: list what no config needs, and remove it where it is told to."""

import argparse
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from multiblock.cli.configs import add_config_argument, study_of
from multiblock.cli.printing import in_bytes, print_table
from multiblock.files import lock

_ARRAYS = (
    "The next run makes the arrays again, and finds that trainings are up to date where the arrays come out the same; "
    "LR_k made on another kind of machine may differ, and what follows is then trained again."
)


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "clean",
        help="list or remove what no config needs",
        description="List what could be removed from the results folder, and what each takes: results that the config "
        "does not name, nor another one whose runs the folder shows, finished or begun. What the config names always "
        "stays. Nothing is removed without --yes.",
    )
    add_config_argument(parser)
    parser.add_argument("--arrays", action="store_true", help="also arrays of images and LR_k, which can be made again")
    parser.add_argument("--yes", action="store_true", help="remove it")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print what could be removed, and remove it with ``--yes``; nothing of it may be at work meanwhile."""
    from multiblock.inference.targets import not_made_here
    from multiblock.workflow.status import Status

    study, _ = study_of(options)
    results = Path(study.results)
    if not results.is_dir():
        print(f"{results}: is not there, so that there is nothing to remove")
        return
    found = Status(study)
    items, stay = [], []
    for item in (*found.unnamed(), *(found.arrays() if options.arrays else [])):
        others = not_made_here(item.folder / "upscaled")
        if others:
            stay.append(f"{item.folder}: stays, as files in it were not made here; move them away: {others[0]}")
        else:
            items.append(item)
    sizes = [item.size for item in items]
    rows = [(str(item.folder), in_bytes(size), item.what) for item, size in zip(items, sizes, strict=True)]
    print_table([("in", "takes", "is"), *rows] if rows else [("there is nothing to remove",)])
    for data in found.data() if options.arrays else ():
        if data.unseen:
            print(f"{data.name}: its arrays stay, as they could not be made again: {data.unseen}")
    print(*stay, sep="\n", end="\n" * bool(stay))
    if options.yes:
        with ExitStack() as held:
            for item in items:
                held.enter_context(lock(item.folder, "making this result"))
            for item in items:
                shutil.rmtree(item.folder)
    if items:
        total = in_bytes(sum(sizes))
        print(f"removed {total}" if options.yes else f"{total} in all; nothing is removed without --yes")
    if items and options.arrays:
        print(_ARRAYS)
