"""``multiblock init``: look at folders of pictures, and write a first config for them."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from multiblock.cli.printing import whole
from multiblock.config.reading import argument
from multiblock.errors import UserError


def add(commands: Any) -> None:
    """Add the subcommand to the parser."""
    parser = commands.add_parser(
        "init",
        help="look at folders of pictures, and write a first config for them",
        description="Look at folders of pictures (sizes, pairs, what can be read, what is there twice) and write a "
        "config that runs as it is, with whole pictures to train on, to look at and to test on. No picture is "
        "changed, moved or copied.",
    )
    parser.add_argument("name", metavar="NAME", type=argument("data.name"), help="of the data set and the study")
    parser.add_argument(
        "--hr",
        nargs="+",
        required=True,
        type=Path,
        metavar="DIR",
        help="folder of photographs or of HR images, or one with train/HR, train/LR, test/HR, ... in it",
    )
    parser.add_argument("--lr", type=Path, metavar="DIR", help="folder of their LR images, matched by name")
    parser.add_argument(
        "--scale",
        type=argument("data.scale"),
        help="how many times LR is smaller; else found from the sizes of pairs, and 2 where LR is made",
    )
    parser.add_argument(
        "--camera", action="store_true", help="make LR as cameras and phones do (blur, noise, JPEG), not by bicubic"
    )
    parser.add_argument(
        "--from",
        dest="published",
        type=Path,
        metavar="FILE",
        help="tune the network in a file of weights, which others published or this program wrote, in a run's folder, "
        "or one that ships, as x2",
    )
    parser.add_argument("--seed", type=whole(0, 999_999_999), default=1, help="draws the split (1)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the config (NAME.yaml)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print what is found, write the config, and name the next two commands."""
    from multiblock.config.first_config import Asked, begin
    from multiblock.files import check_writable, keeping, write_text
    from multiblock.model.finished import find

    file = options.output or Path(f"{options.name}.yaml")
    if file.exists():
        raise UserError(f"{file}: is there already, and is not overwritten; give another NAME, or -o FILE")
    check_writable(file)
    names = ("name", "hr", "lr", "scale", "seed", "camera")
    published = options.published and find(options.published)
    beginning = begin(Asked(**{name: getattr(options, name) for name in names}, published=published))
    for line in beginning.lines:
        print(line)
    with keeping(overwrite=False):
        write_text(file, beginning.text)
    print(f"wrote {file}; next, in the folder of the project:")
    name = shlex.quote(str(file))
    print(f"  multiblock plan {name}")
    if options.camera:
        print(
            f"  multiblock check {name} --patches patches.png    # LR as it is drawn; --beside DIR adds your pictures"
        )
    print(f"  snakemake --cores all --configfile {name}")
