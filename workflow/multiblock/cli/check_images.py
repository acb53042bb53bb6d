"""``multiblock check``: measure the pairs of a config's data sets, look for images that splits share, show patches."""

import argparse
import math
from pathlib import Path
from typing import Any

from multiblock.cli.configs import add_config_argument, study_of
from multiblock.cli.printing import print_table
from multiblock.config import Study
from multiblock.errors import UserError, listed, one_line
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
    parser.add_argument(
        "--patches",
        type=Path,
        metavar="FILE.png",
        help="measure nothing, and show what the degradation camera makes of twenty patches, each beside its HR",
    )
    parser.add_argument("--beside", type=Path, metavar="DIR", help="with --patches: patches of these pictures below")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print what is found in each data set, then the verdict."""
    from multiblock.data.inspection import check

    study, _ = study_of(options)
    if options.patches:
        _show(study, options.patches, options.beside)
        return
    if options.beside:
        raise UserError("--beside: found without --patches FILE.png, which shows them; allowed is it with that")
    threads = threads_of_a_conversion(study.convert_threads, cores_here())
    bad = [data.name for data in study.data.values() if not _fine(check(data, threads))]
    if bad:
        raise UserError(f"data {', '.join(bad)}: cannot be trained on as it is; see above")


def _show(study: Study, file: Path, beside: Path | None) -> None:
    """Write the sheet of patches of the data set with the degradation camera."""
    from multiblock.files import check_writable, keeping
    from multiblock.report.camera_sheet import sheet

    if file.suffix.lower() != ".png":
        raise UserError(f"--patches: found {file}; allowed is a name that ends in .png")
    drawn = [data for data in study.data.values() if data.camera]
    if len(drawn) != 1:
        found = listed(data.name for data in drawn) or "none"
        raise UserError(f"--patches: data sets with degradation: camera: found {found}; exactly one is needed")
    check_writable(file)
    with keeping(overwrite=False):
        sheet(drawn[0], file, beside)
    print(f"wrote {file}: HR and LR of twenty patches{', and patches of ' + str(beside) if beside else ''}")


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
