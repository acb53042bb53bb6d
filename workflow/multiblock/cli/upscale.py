"""``multiblock upscale``: run a trained network on pictures."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiblock.cli.printing import WEIGHTS, add_device_arguments, add_reading_arguments
from multiblock.errors import UserError, listed

if TYPE_CHECKING:
    from multiblock.inference.folder import Made


_NETWORKS = "a network is a run's folder as results/default, or a file of weights"


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "upscale",
        help="run trained networks on pictures",
        description="Run trained networks on pictures. A result keeps its picture's colour profile, EXIF data, "
        "transparency, dots per inch and bits a channel; what it cannot keep is said. Pictures are never replaced.",
    )
    parser.add_argument(
        "given",
        nargs="+",
        type=Path,
        metavar="NETWORK ... PICTURE",
        help=f"networks, each {WEIGHTS}; then image files, and folders of them, whose subfolders are kept",
    )
    add_reading_arguments(parser)
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="folder for the results; of several networks, one in it for each"
    )
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
        nargs="?",
        const=Path(),
        metavar="FILE.html",
        help="write a page, for a browser, that shows each picture as it was and as each network makes it; "
        "compare.html in the folder of the results if no file is named",
    )
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    there.add_argument("--skip-existing", action="store_true", help="leave results that are there already as they are")
    add_device_arguments(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Upscale each picture by each network."""
    from multiblock import network
    from multiblock.files import check_writable, keeping
    from multiblock.inference import folder, targets
    from multiblock.model import finished

    networks, pictures = _told_apart(options.given)
    names = finished.named_apart(networks) if len(networks) > 1 else ["after"]
    places = [options.out / name for name in names] if len(networks) > 1 else [options.out]
    there = options.overwrite, options.skip_existing
    planned = [targets.plan(pictures, place, options.format, *there, but=options.out) for place in places]
    page = options.out / "compare.html" if options.compare == Path() else options.compare
    if page and page.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--compare: found {page}; allowed is a file ending in .html")
    for note in dict.fromkeys(note for _, notes in planned for note in notes):
        print(f"multiblock: {note}", file=sys.stderr)
    loaded = [network.load(path, options.device, options.trust_code, options.enlarge) for path in networks]
    for one in loaded:
        print(one.about, flush=True)
    if page:
        _check_scales(dict(zip(names, (one.scale for one in loaded), strict=True)))
        check_writable(page, options.overwrite)
    work, of = [], dict[Path, str]()
    for one, name, (jobs, _) in zip(loaded, names, planned, strict=True):
        upscaler = one.upscaler(ensemble=options.ensemble, memory_gib=options.memory_gib)
        work += [(upscaler, job) for job in jobs]
        of |= {job.target: name for job in jobs}
        for job in jobs[:1]:  # before any work, which may take hours
            check_writable(job.target, options.overwrite)
    made: dict[Path, dict[str, Path]] = {}

    def done(one: "Made") -> None:
        made.setdefault(one.job.source, {})[of[one.job.target]] = one.job.target
        bar.say(str(one))

    with keeping(options.overwrite):
        try:
            with folder.in_megapixels([job for _, job in work]) as bar:
                folder.run(work, done=done, complain=bar.complain, progress=bar.step)
        finally:
            if page and made:
                _compare(made, page)


def _told_apart(given: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The networks and the pictures among what is named, by their kind; where none is a network, the first is meant.

    Raises:
        UserError: something that is not called as a picture is is not there, or there is no picture.
    """
    from multiblock.data import images
    from multiblock.model import finished

    networks = [path for path in given if finished.is_named(path)]
    if not networks and given[0].suffix.lower() in images.SUFFIXES:
        raise UserError(f"upscale: found no network beside {listed(given)}; {_NETWORKS}")
    networks = networks or [given[0]]
    pictures = [path for path in given if path not in networks]
    for path in pictures:
        if path.suffix.lower() not in images.SUFFIXES and not os.path.lexists(path):
            raise UserError(f"{path}: is not there; allowed are pictures, folders of them, and networks; {_NETWORKS}")
    if not pictures:
        raise UserError(f"upscale: found no picture beside {listed(networks)}; at least one is needed")
    return networks, pictures


def _check_scales(scales: Mapping[str, int]) -> None:
    """See that a page can show results of several networks at one size.

    Raises:
        UserError: it cannot.
    """
    if any(max(scales.values()) % scale for scale in scales.values()):
        found = ", ".join(f"{name} x{scale}" for name, scale in scales.items())
        raise UserError(f"--compare: found {found}; allowed are networks whose scales are divisors of the largest")


def _compare(made: Mapping[Path, Mapping[str, Path]], page: Path) -> None:
    from multiblock.page.viewer import before_after

    names = list(dict.fromkeys(name for results in made.values() for name in results))
    title = f"Before and after{f': {listed(names)}' if len(names) > 1 else ''}"
    left_out = before_after(title, made, page)
    count = f"{len(made)} picture{'s' if len(made) > 1 else ''} before and after"
    print(f"{page}: {count}{f'. {left_out}' if left_out else ''}", flush=True)
