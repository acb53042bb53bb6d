"""Turn image files into image sets, reading every file once."""

import logging
from pathlib import Path

from multiblock.data import images, resize
from multiblock.data.imageset import SPLITS, ImageSet, Writer
from multiblock.data.sources import Data, find, left_out
from multiblock.errors import listed

log = logging.getLogger(__name__)


def convert(data: Data, hr: Path, lr: Path) -> None:
    """Write the HR and LR sets of all splits of ``data`` into the folders ``hr`` and ``lr``.

    HR is cut (top left) to a multiple of the scale; validation and test images to ``max_side`` as well. LR is the
    partner's file, or made from HR where there is none.

    Raises:
        UserError: an image cannot be read, or the two of a pair differ in size.
    """
    for file in left_out(data):
        log.info("%s: left out, its ending is none of %s", file, listed(images.SUFFIXES))
    for split, items in find(data).items():
        limit = None if split == "train" else data.max_side // data.scale * data.scale
        sizes = [_cut_size(images.size(item.hr), data.scale, limit) for item in items]
        small = [(height // data.scale, width // data.scale) for height, width in sizes]
        with Writer(hr / f"{split}.npy", sizes) as hr_set, Writer(lr / f"{split}.npy", small) as lr_set:
            for item, (height, width), (low, narrow) in zip(items, sizes, small, strict=True):
                full = images.read(item.hr)[:height, :width]
                if item.lr is None:
                    partner = resize.shrink(full, data.scale)
                else:
                    partner = images.read(item.lr)[:low, :narrow]
                hr_set.add(item.name, full)
                lr_set.add(item.name, partner)
        log.info("%s: %d images of %s", split, len(items), data.name)


def _cut_size(size: tuple[int, int], scale: int, limit: int | None) -> tuple[int, int]:
    height, width = (min(side, limit or side) // scale * scale for side in size)
    return height, width


def enlarge(lr: Path, enlarged: Path, scale: int) -> None:
    """Write the sets of the folder ``lr``, enlarged by bicubic interpolation, into the folder ``enlarged``."""
    for split in SPLITS:
        source = ImageSet(lr / f"{split}.npy")
        sizes = [(entry.height * scale, entry.width * scale) for entry in source.entries]
        with Writer(enlarged / f"{split}.npy", sizes) as target:
            for name, pixels in zip(source.names, source, strict=True):
                target.add(name, resize.enlarge(pixels, scale))
