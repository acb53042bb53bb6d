"""``multiblock align``: pairs from two photographs of each scene."""

import argparse
from pathlib import Path
from typing import Any

from multiblock.cli.printing import number, print_table, template, whole
from multiblock.errors import UserError


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "align",
        help="make pairs of LR and HR from two photographs of each scene",
        description="Two photographs of each scene, as from a short and a long lens, matched by name: LR is brought "
        "onto HR's pixels, both are cut to what both show, and pairs that do not fit are dropped, with the reason. HR "
        "is cut, and else stays as it is. Exit status 1 where no pair is left.",
    )
    parser.add_argument("lr", type=Path, metavar="LR_DIR", help="folder of photographs of lower resolution")
    parser.add_argument("hr", type=Path, metavar="HR_DIR", help="folder of photographs of higher resolution")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for LR/, HR/, pairs.csv and pairs.html")
    parser.add_argument("--lr-name", type=template, default="{name}", help="how LR files are called, as {name}_wide")
    parser.add_argument("--scale", type=whole(1, 4), default=1, help="HR over the LR that is made (default: 1)")
    parser.add_argument(
        "--match-colour",
        action="store_true",
        help="give LR HR's brightness and colours, by a gain and offset a channel",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace pairs that are there already")
    limits = parser.add_argument_group("what drops a pair")
    for name, least, most, default, text in _LIMITS:
        limits.add_argument(
            f"--{name}", type=number(least, most), default=default, metavar="N", help=f"{text} (default: {default:g})"
        )
    parser.set_defaults(run=run)


_LIMITS = (
    ("most-residual", 0.01, 10, 0.5, "a residual, in the median, of more HR pixels"),
    ("least-correlation", 0, 1, 0.7, "a correlation below it"),
    ("most-moved", 0, 1, 0.1, "a larger share of windows that do not fit, as of moved things"),
    ("least-overlap", 0.01, 1, 0.25, "LR showing a smaller share of HR"),
    ("most-turn", 0.1, 180, 10, "LR turned by more degrees"),
)


def run(options: argparse.Namespace) -> None:
    """Align the pairs, then print what became of each."""
    from multiblock.align import page, pairs
    from multiblock.align.pair import Options
    from multiblock.align.residual import Limits
    from multiblock.data.images import Remarks

    jobs, notes = pairs.plan(options.lr, options.hr, options.out, options.lr_name, options.overwrite)
    limits = Limits(
        residual=options.most_residual,
        correlation=options.least_correlation,
        moved=options.most_moved,
        overlap=options.least_overlap,
        turn=options.most_turn,
    )
    wanted = Options(scale=options.scale, match_colour=options.match_colour, limits=limits)
    outcomes, remarks = [], Remarks()
    try:
        for outcome in pairs.run(jobs, wanted, remarks, options.overwrite):
            outcomes.append(outcome)
    finally:  # what is done is kept, however it ends
        for line in (*notes, *(line for _, line in remarks.lines())):
            print(line)
        if outcomes:
            print_table(page.rows(outcomes))
    kept = sum(not outcome.reason for outcome in outcomes)
    print(f"{kept} of {len(outcomes)} pairs kept; {options.out / page.PAGE} shows them")
    if not kept:
        raise UserError(f"{options.lr} and {options.hr}: no pair fits; the table says why")
    print(*pairs.config_lines(options.out, options.scale), sep="\n")
