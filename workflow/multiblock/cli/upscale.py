"""``multiblock upscale``: run a trained network on pictures."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiblock.cli.printing import add_device_arguments, add_weights_arguments
from multiblock.errors import UserError

if TYPE_CHECKING:
    from multiblock.inference.folder import Made


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "upscale",
        help="run a trained network on pictures",
        description="Run a trained network on pictures. A result keeps its picture's colour profile, EXIF data, "
        "transparency, dots per inch and bits a channel; what it cannot keep is said. Pictures are never replaced.",
    )
    add_weights_arguments(parser)
    parser.add_argument("images", nargs="+", type=Path, help="image files, and folders of them; subfolders are kept")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the results")
    parser.add_argument(
        "--format",
        choices=["lossless", "same", "png"],
        default="lossless",
        help="lossless (default): TIFF stays TIFF, all else becomes PNG; same: the picture's own, JPEG with quality 95 "
        "and full colour, WebP lossless; png",
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="mean of the results for the picture in its eight turns and mirrorings: a little better, eight times as "
        "slow",
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="FILE.html",
        help="write a page that shows each picture before and after, for a browser",
    )
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    there.add_argument("--skip-existing", action="store_true", help="leave results that are there already as they are")
    add_device_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Upscale each picture."""
    from multiblock import network
    from multiblock.files import check_writable, keeping
    from multiblock.inference import folder, targets

    if options.compare:
        if options.compare.suffix.lower() not in (".html", ".htm"):
            raise UserError(f"--compare: found {options.compare}; allowed is a file ending in .html")
        check_writable(options.compare, options.overwrite)
    jobs, notes = targets.plan(options.images, options.out, options.format, options.overwrite, options.skip_existing)
    for note in notes:
        print(f"multiblock: {note}", file=sys.stderr)
    loaded = network.load(options.weights, options.device, options.trust_code, options.enlarge)
    print(loaded.about, flush=True)
    # Before any work, which may take hours.
    for job in jobs[:1]:
        check_writable(job.target, options.overwrite)
    upscaler = loaded.upscaler(ensemble=options.ensemble, memory_gib=options.memory_gib)
    made: list[Made] = []

    def done(one: "Made") -> None:
        made.append(one)
        bar.say(str(one))

    with keeping(options.overwrite):
        try:
            with folder.in_megapixels(jobs) as bar:
                folder.run(upscaler, jobs, done=done, complain=bar.complain, progress=bar.step)
        finally:
            if options.compare and made:
                _compare(made, options.compare)


def _compare(made: Sequence["Made"], page: Path) -> None:
    from multiblock.page.viewer import before_after

    left_out = before_after("Before and after", [(one.job.source, one.job.target) for one in made], page)
    count = f"{len(made)} picture{'s' if len(made) > 1 else ''} before and after"
    print(f"{page}: {count}{f'. {left_out}' if left_out else ''}", flush=True)
