"""``multiblock check``: measure the pairs of a config's data sets, and look for images that splits share."""

import argparse
import math
from typing import Any

from multiblock.cli.configs import add_config_argument, study_of
from multiblock.cli.printing import print_table
from multiblock.errors import UserError, one_line
from multiblock.workflow.threads import cores_here, threads_of_a_conversion


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "check",
        help="measure all pairs of the data sets, and look for images that splits share",
        description="Read all images of the data sets of a config, measure each pair of LR and HR, and say what is "
        "doubtful. Exit status 1 where a pair is wrong or a test image is a training image too.",
    )
    add_config_argument(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print what is found in each data set, then the verdict."""
    from multiblock.data.inspection import check

    study, _ = study_of(options)
    threads = threads_of_a_conversion(study.convert_threads, cores_here())
    bad = [data.name for data in study.data.values() if not _fine(check(data, threads))]
    if bad:
        raise UserError(f"data {', '.join(bad)}: cannot be trained on as it is; see above")


def _fine(found: Any) -> bool:
    """Print what was found in a data set, and return whether it can be trained on."""
    from multiblock.data.pair_checks import of_all

    print(f"data {found.name}")
    if found.pairs:
        header = ("split", "image", "correlation", "down", "right", "zoom", "turn", "stops", "channels", "detail")
        print_table([(*header, "verdict"), *(_row(*pair) for pair in found.pairs)], indent="  ")
    for line in found.left_out:
        print(f"  {line}")
    for _, line in found.remarks:
        print(f"  {line}")
    checks = [check for *_, check in found.pairs]
    warnings = [*of_all(checks), *found.shared]
    for line in warnings:
        print(f"  warning: {line}")
    for error in found.errors:
        print(f"  error: {one_line(error)}")
    doubtful, wrong = (sum(check.verdict == word for check in checks) for word in ("doubtful", "wrong"))
    if doubtful or wrong or warnings or found.errors:
        others = f"; {len(warnings)} warnings and {len(found.errors)} errors" if warnings or found.errors else ""
        print(f"  {doubtful} doubtful and {wrong} wrong of {len(checks)} pairs{others}")
    elif checks:
        print(f"  all fine: {len(checks)} pairs")
    else:
        print(f"  all fine: {found.images} images; LR is made from HR, so that there are no pairs to compare")
    return not (wrong or found.errors)


def _row(split: str, name: str, check: Any) -> tuple[str, ...]:
    # With "z" what rounds to zero has no minus sign.
    shift = {"down": "+z.1f", "right": "+z.1f", "zoom": ".3f", "turn": "+z.1f"}
    numbers = {"correlation": "z.3f", **shift, "stops": "+z.2f"}
    cells = [_number(getattr(check, key), form) for key, form in numbers.items()]
    verdict = ": ".join(filter(None, (check.verdict, "; ".join(check.reasons))))
    return (split, name, *cells, check.order, _number(check.detail, ".2f"), verdict)


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)
