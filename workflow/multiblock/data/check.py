"""Look at all images of a data set, whatever is wrong with some of them."""

import warnings
from dataclasses import dataclass, field

from multiblock.data import leaks, reader
from multiblock.data.dataset import DatasetConfig, ImagePair, find, left_out
from multiblock.data.pair_checks import PairCheck, pair_checks
from multiblock.data.reader import Photograph, Read
from multiblock.data.remarks import Remarks
from multiblock.data.walk import Progress, in_order
from multiblock.errors import UserError


@dataclass(kw_only=True)
class Found:
    """What was found in a data set.

    Args:
        name: the data set's.
        images: how many there are.
        pairs: split, name and measurements of each pair.
        left_out: what is said of files that are not read for their endings.
        remarks: what was converted while reading, with levels as :mod:`logging` counts.
        shared: warnings of images that two splits share.
        errors: what keeps the data set from being trained on.
    """

    name: str
    images: int = 0
    pairs: list[tuple[str, str, PairCheck]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    remarks: list[tuple[int, str]] = field(default_factory=list)
    shared: list[str] = field(default_factory=list)
    errors: list[UserError] = field(default_factory=list)


def check(data: DatasetConfig, threads: int = 1) -> Found:
    """Read all images of a data set, measure its pairs, and compare its splits.

    Args:
        threads: images that are read at a time.

    Raises:
        UserError: see :func:`multiblock.data.dataset.find`.
    """
    splits, remarks, looks = find(data), Remarks(), leaks.Looks()
    found = Found(name=data.name, images=sum(map(len, splits.values())), left_out=left_out(data))
    photographs = [each for split, items in splits.items() for each in reader.photographs(split, items)]
    with Progress(found.images, f"data {data.name}: images read") as counter, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as in a conversion
        looked = in_order(lambda photograph: _look(data, photograph), photographs, threads)
        for photograph, (read, checks) in zip(photographs, looked, strict=True):
            for remark in read.remarks:
                remarks(*remark)
            looks.add(photograph.split, read.look)
            found.errors += [read.error] if read.error else []
            found.pairs += [(photograph.split, item.name, check) for item, check in checks.items()]
            counter.step(len(photograph.items))
    found.remarks = remarks.lines()
    try:
        found.shared = leaks.compare(looks, data.name)
    except UserError as error:
        found.errors.append(error)
    return found


def _look(data: DatasetConfig, photograph: Photograph) -> tuple[Read, dict[ImagePair, PairCheck]]:
    """Read a photograph, and measure its pairs."""
    read = reader.read(data, photograph)
    pairs = zip(photograph.items, read.pairs, strict=False)  # fewer where one could not be read
    checks = {item: pair_checks(partner, full) for item, (full, partner) in pairs if partner is not None}
    read.pairs = []  # pixels that nobody needs any more
    return read, checks
