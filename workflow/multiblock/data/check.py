"""Look at all images of a data set, whatever is wrong with some of them."""

from dataclasses import dataclass, field

from multiblock.data.counter import ImageCounter
from multiblock.data.dataset import DatasetConfig, find, left_out
from multiblock.data.pair_checks import PairCheck, pair_checks
from multiblock.data.reader import PairReader
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


def check(data: DatasetConfig) -> Found:
    """Read all images of a data set, measure its pairs, and compare its splits.

    Raises:
        UserError: see :func:`multiblock.data.dataset.find`.
    """
    splits, reader = find(data), PairReader(data)
    found = Found(name=data.name, images=sum(map(len, splits.values())), left_out=left_out(data))
    with ImageCounter(found.images, f"data {data.name}: images read") as counter:
        for split, items in splits.items():
            for item in items:
                counter.step()
                try:
                    full, partner = reader.read(split, item)
                except UserError as error:
                    found.errors.append(error)
                    continue
                if partner is not None:
                    found.pairs.append((split, item.name, pair_checks(partner, full)))
    found.remarks = reader.remarks.lines()
    try:
        found.shared = reader.shared()
    except UserError as error:
        found.errors.append(error)
    return found
