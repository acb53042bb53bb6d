"""Turn image files into image sets, reading every file once."""

import logging
from collections.abc import Mapping
from pathlib import Path

from multiblock.data import images, resize
from multiblock.data.counter import ImageCounter
from multiblock.data.dataset import DatasetConfig, ImagePair, find, left_out
from multiblock.data.degradations import DEGRADATIONS
from multiblock.data.imageset import SPLITS, ImageSet, write_set
from multiblock.data.pair_checks import PairCheck, of_all, pair_checks
from multiblock.data.reader import PairReader
from multiblock.errors import UserError

log = logging.getLogger(__name__)


def convert(data: DatasetConfig, hr: Path, lr: Path) -> None:
    """Write the HR and LR sets of all splits of ``data`` into the folders ``hr`` and ``lr``.

    HR is cut (top left) to a multiple of the scale; validation and test images to ``max_side`` as well. LR is the
    partner's file, or made from HR where there is none. What was converted, and what is doubtful, is logged.

    Raises:
        UserError: an image cannot be read, the two of a pair differ in size or do not belong together, or a test image
            is one of the training images.
    """
    for line in left_out(data):
        log.info("%s", line)
    found, reader = find(data), PairReader(data)
    with ImageCounter(sum(map(len, found.values())), f"data {data.name}: images converted") as counter:
        for split, items in found.items():
            sizes = [reader.size(split, item, *images.size(item.hr)) for item in items]
            small = [(height // data.scale, width // data.scale) for height, width in sizes]
            checks: dict[ImagePair, PairCheck] = {}
            with (
                write_set(hr / f"{split}.npy", sizes) as hr_set,
                write_set(lr / f"{split}.npy", small) as lr_set,
            ):
                for item in items:
                    counter.step()
                    full, partner = reader.read(split, item)
                    if partner is None:
                        partner = DEGRADATIONS[data.degradation].make(full, data.scale, item)
                    else:
                        checks[item] = pair_checks(partner, full)
                    hr_set.add(item.name, full)
                    lr_set.add(item.name, partner)
                _judge(checks)
            log.info("%s: %d images of %s", split, len(items), data.name)
    reader.remarks.say()
    for line in reader.shared():
        log.warning("warning: %s", line)


_NAMED = 5
"""Doubtful pairs of a split that are named in the log."""


def _judge(checks: Mapping[ImagePair, PairCheck]) -> None:
    """Warn of the doubtful pairs of a split, and refuse wrong ones."""
    said = [
        (check.verdict, f"{item.lr} and {item.hr}: {reason}")
        for item, check in checks.items()
        for reason in check.reasons
    ]
    wrong = [line for verdict, line in said if verdict == "wrong"]
    if wrong:
        more = f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(f"{wrong[0]}{more}; multiblock check CONFIG measures all pairs")
    for _, line in said[:_NAMED]:
        log.warning("warning: %s", line)
    if len(said) > _NAMED:
        log.warning("warning: and %d more of this kind; multiblock check CONFIG shows all", len(said) - _NAMED)
    for line in of_all(list(checks.values())):
        log.warning("warning: %s: %s", next(iter(checks)).hr.parent, line)


def enlarge(lr: Path, enlarged: Path, scale: int) -> None:
    """Write the sets of the folder ``lr``, enlarged by bicubic interpolation, into the folder ``enlarged``."""
    for split in SPLITS:
        source = ImageSet(lr / f"{split}.npy")
        sizes = [(entry.height * scale, entry.width * scale) for entry in source.entries]
        with write_set(enlarged / f"{split}.npy", sizes) as target:
            for name, pixels in zip(source.names, source, strict=True):
                target.add(name, resize.enlarge(pixels, scale))
