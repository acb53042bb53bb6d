"""Whether images of one split lie in another too: what was trained on, or chosen by, is no measure.

The same image is found by its file's bytes and by its decoded pixels, so under another name or format too; the same
picture in another size or encoding by a small picture of it. A window that was cut out of a larger photograph is not
found.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multiblock.data.dataset import DatasetConfig, ImagePair
from multiblock.data.imageset import SPLITS
from multiblock.errors import UserError

SIDE = 32
"""Of the small picture, in pixels."""
ALIKE = 0.8
"""Least correlation of the edges in two small pictures of one picture. Among 830 photographs of five public sets it was
at most 0.56 for different ones, and at least 0.84 for one at half or 1.7 times its size or as a JPEG of quality 30,
but for a single one that is nearly flat."""
_FLAT = 2.0
"""Least standard deviation of a small picture, of 255: what has no edges is like all else that has none."""
_STRETCH = 1.03
"""What rounding may do to the ratio of the sides when a picture is resized."""
_NAMED = 5
"""Pairs that are named one by one."""


@dataclass(frozen=True, eq=False)
class Look:
    """What is kept of an HR image to know it again.

    Args:
        file: where it comes from.
        digest: of its decoded pixels.
        ratio: width over height.
        edges: differences of neighbours in a small picture of it, (2 * (SIDE - 1) ** 2,), float16, of length 1; None
            for a flat one.
    """

    file: Path
    digest: str
    ratio: float
    edges: np.ndarray | None


def look(file: Path, pixels: np.ndarray) -> Look:
    """Look at decoded pixels (H, W, 3), uint8."""
    height, width = pixels.shape[:2]
    content = hashlib.blake2b(f"{height} {width} ".encode(), digest_size=16)
    content.update(np.ascontiguousarray(pixels).reshape(-1).data)
    return Look(file, content.hexdigest(), width / height, _edges(pixels))


def _edges(pixels: np.ndarray) -> np.ndarray | None:
    step = max(1, min(pixels.shape[:2]) // (16 * SIDE))  # large images are looked at with gaps
    gray = pixels[::step, ::step].mean(axis=2, dtype=np.float32)
    if min(gray.shape) < SIDE:
        return None
    small = _means(_means(gray).T).T
    if small.std() < _FLAT:
        return None
    edges = np.concatenate([np.diff(small, axis=0)[:, :-1].ravel(), np.diff(small, axis=1)[:-1].ravel()])
    return (edges / np.linalg.norm(edges)).astype(np.float16)


def _means(values: np.ndarray) -> np.ndarray:
    """Means over ``SIDE`` stretches of the first axis, of equal length; at their ends values count by parts."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)])
    ends = np.linspace(0, len(values), SIDE + 1)
    whole = np.minimum(ends.astype(int), len(values) - 1)
    reached = total[whole] + (ends - whole)[:, None] * values[whole]
    return np.diff(reached, axis=0) * SIDE / len(values)


def check_files(files: Mapping[str, Mapping[Path, str]], name: str) -> None:
    """Compare digests of the files of each split.

    Raises:
        UserError: a test image is one of the training images.
    """
    known = {digest: file for file, digest in files["train"].items()}
    same = [(file, known[digest]) for file, digest in files["test"].items() if digest in known]
    if same:
        raise _in_training(same, len(files["test"]), name)


def _in_training(same: Sequence[tuple[Path, Path]], count: int, name: str) -> UserError:
    return UserError(
        f"data {name}: {len(same)} of {count} test images are training images too, which makes their scores "
        f"worthless: {_named(same)}"
    )


def _named(same: Sequence[tuple[Path, Path]]) -> str:
    pairs = "; ".join(f"{one} is {other}" if one != other else str(one) for one, other in same[:_NAMED])
    return f"{pairs}; and {len(same) - _NAMED} more" if len(same) > _NAMED else pairs


class Looks:
    """What is kept of the HR images of each split of a data set, each file once."""

    def __init__(self, data: DatasetConfig) -> None:
        self._held_out = not isinstance(data.validation, Mapping)
        self._looks: dict[str, dict[Path, Look]] = {split: {} for split in SPLITS}

    def add(self, split: str, item: ImagePair, pixels: np.ndarray) -> None:
        """Look at the whole image that an item is, or is a window of.

        Windows that are held out for validation are left out: training windows of the same photographs are expected.
        """
        if item.hr not in self._looks[split] and not (split == "validation" and self._held_out and item.side):
            self._looks[split][item.hr] = look(item.hr, pixels)

    def __getitem__(self, split: str) -> list[Look]:
        return list(self._looks[split].values())


def compare(looks: Looks, name: str) -> list[str]:
    """What is to be warned of: images that two splits share, and pictures that are much alike.

    Args:
        looks: at the images of the data set.
        name: of the data set.

    Raises:
        UserError: a test image has the pixels of a training image.
    """
    same = _pairs(looks["test"], looks["train"], _equal)
    if same:
        raise _in_training(same, len(looks["test"]), name)
    found = []
    for one, other in (("validation", "train"), ("test", "validation")):
        if equal := _pairs(looks[one], looks[other], _equal):
            found.append(f"{len(equal)} of {len(looks[one])} {one} images are {other} images too: {_named(equal)}")
    for one, other in (("test", "train"), ("validation", "train"), ("test", "validation")):
        alike = _pairs(looks[one], looks[other], _alike)
        found += [
            f"{a} ({one}) and {b} ({other}) seem to be one picture in two sizes or encodings" for a, b in alike[:_NAMED]
        ]
        if len(alike) > _NAMED:
            found.append(f"and {len(alike) - _NAMED} more such pairs of {one} and {other}")
    return [f"data {name}: {line}" for line in found]


def groups(looks: Sequence[Look]) -> list[list[Look]]:
    """Looks at one picture together, whatever its size and encoding; all others alone. In order of their first."""
    edges = np.zeros((len(looks), 2 * (SIDE - 1) ** 2), np.float32)
    for row, look in zip(edges, looks, strict=True):
        row[:] = 0 if look.edges is None else look.edges
    ratios, group = np.array([look.ratio for look in looks]), list(range(len(looks)))
    for number, look in enumerate(looks):
        stretch = ratios[:number] / look.ratio
        same = (edges[:number] @ edges[number] > ALIKE) & (stretch > 1 / _STRETCH) & (stretch < _STRETCH)
        for other in range(number):
            if same[other] or looks[other].digest == look.digest:
                joined = {group[number], group[other]}
                group = [min(joined) if one in joined else one for one in group]
    return [[look for look, one in zip(looks, group, strict=True) if one == first] for first in sorted(set(group))]


def _pairs(
    these: Sequence[Look], those: Sequence[Look], finder: Callable[[Look, Sequence[Look]], Look | None]
) -> list[tuple[Path, Path]]:
    return [(one.file, other.file) for one in these if (other := finder(one, those))]


def _equal(one: Look, others: Sequence[Look]) -> Look | None:
    return next((other for other in others if other.digest == one.digest), None)


def _alike(one: Look, others: Sequence[Look]) -> Look | None:
    """The one that is most alike, but not equal."""
    if one.edges is None:
        return None
    candidates = [
        (other, other.edges)
        for other in others
        if other.edges is not None and other.digest != one.digest and 1 / _STRETCH < one.ratio / other.ratio < _STRETCH
    ]
    if not candidates:
        return None
    likeness = np.stack([edges for _, edges in candidates]).astype(np.float32) @ one.edges.astype(np.float32)
    best = int(likeness.argmax())
    return candidates[best][0] if likeness[best] > ALIKE else None
