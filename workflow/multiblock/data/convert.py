"""Turn image files into image sets, reading every file once."""

import logging
from functools import lru_cache
from pathlib import Path

from multiblock.data import images, resize
from multiblock.data.dataset import DatasetConfig, check_partner, find, left_out
from multiblock.data.degradations import DEGRADATIONS
from multiblock.data.imageset import SPLITS, ImageSet, write_set
from multiblock.data.pair_checks import pair_checks
from multiblock.errors import listed

log = logging.getLogger(__name__)


def convert(data: DatasetConfig, hr: Path, lr: Path) -> None:
    """Write the HR and LR sets of all splits of ``data`` into the folders ``hr`` and ``lr``.

    HR is cut (top left) to a multiple of the scale; validation and test images to ``max_side`` as well. LR is the
    partner's file, or made from HR where there is none.

    Raises:
        UserError: an image cannot be read, or the two of a pair differ in size.
    """
    for file in left_out(data):
        log.info("%s: left out, its ending is none of %s", file, listed(images.SUFFIXES))
    degrade = DEGRADATIONS[data.degradation].make
    # The windows of one image come one after another: it is decoded once.
    decoded = lru_cache(maxsize=1)(images.read)
    for split, items in find(data).items():
        limit = None if split == "train" else data.max_side // data.scale * data.scale
        windows = [item.window(*images.size(item.hr)) for item in items]
        sizes = [_cut_size(window[2:], data.scale, limit) for window in windows]
        small = [(height // data.scale, width // data.scale) for height, width in sizes]
        with write_set(hr / f"{split}.npy", sizes) as hr_set, write_set(lr / f"{split}.npy", small) as lr_set:
            for item, (top, left, *whole), (height, width), (low, narrow) in zip(
                items, windows, sizes, small, strict=True
            ):
                full = decoded(item.hr)[top : top + height, left : left + width]
                if item.lr is None:
                    partner = degrade(full, data.scale, item)
                else:
                    partner = images.read(item.lr)
                    # It may have changed since it was looked at.
                    check_partner(item, partner.shape[:2], whole, data.scale)
                    partner = partner[:low, :narrow]
                    for doubt in pair_checks(partner, full):
                        log.warning("warning: %s and %s: %s", item.lr, item.hr, doubt)
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
        with write_set(enlarged / f"{split}.npy", sizes) as target:
            for name, pixels in zip(source.names, source, strict=True):
                target.add(name, resize.enlarge(pixels, scale))
