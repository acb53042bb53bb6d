"""Find images that are in two splits: what was trained on, or chosen by, measures nothing.

The same image is found by its file's bytes and by its decoded pixels, so under another name or format too; the same
picture in another size or encoding by a small picture of it. A window that was cut out of a larger photograph is not
found.
"""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from multiblock.data.dataset import DatasetConfig, ImagePair
from multiblock.data.imageset import SPLITS
from multiblock.errors import UserError

SIDE = 32
"""Side of the small picture in pixels."""
ALIKE = 0.8
"""The least correlation of the edges in two small pictures of one picture. Among 830 photographs of five public sets it
was at most 0.56 for different ones, and at least 0.84 for one at half or 1.7 times its size or as a JPEG of quality 30,
but for a single one that is nearly flat."""
_FLAT = 2.0
"""The least standard deviation of a small picture, of 255: what has no edges is like all else that has none."""
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


def as_plain(look: Look) -> dict[str, Any]:
    """A look in plain values, without its file."""
    edges = None if look.edges is None else b64encode(look.edges.astype("<f2").tobytes()).decode()
    return {"digest": look.digest, "ratio": look.ratio, "edges": edges}


def from_plain(file: Path, plain: Mapping[str, Any]) -> Look:
    """The look at a file that :func:`as_plain` made plain values of."""
    edges = None if plain["edges"] is None else np.frombuffer(b64decode(plain["edges"]), "<f2").astype(np.float16)
    return Look(file, plain["digest"], plain["ratio"], edges)


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
    tested = files.get("test", {})
    same = [(file, known[digest]) for file, digest in tested.items() if digest in known]
    if same:
        raise _in_training(same, len(tested), name)


def _in_training(same: Sequence[tuple[Path, Path]], count: int, name: str) -> UserError:
    return UserError(
        f"data {name}: {len(same)} of {count} test images are training images too, which makes their scores "
        f"worthless: {_named(same)}"
    )


def _named(same: Sequence[tuple[Path, Path]]) -> str:
    pairs = "; ".join(f"{one} is {other}" if one != other else str(one) for one, other in same[:_NAMED])
    return f"{pairs}; and {len(same) - _NAMED} more" if len(same) > _NAMED else pairs


def is_wanted(data: DatasetConfig, split: str, item: ImagePair) -> bool:
    """Whether the whole image that an item is, or is a window of, is looked at.

    Windows that are held out for validation are left out: training windows of the same photographs are expected.
    """
    return not (split == "validation" and not isinstance(data.validation, Mapping) and item.side)


class Looks:
    """What is kept of the HR images of each split, each file once."""

    def __init__(self) -> None:
        self._looks: dict[str, dict[Path, Look]] = {split: {} for split in SPLITS}

    def add(self, split: str, look: Look | None) -> None:
        """Keep a look, if there is one."""
        if look:
            self._looks[split].setdefault(look.file, look)

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
    same = _equal(looks["test"], looks["train"])
    if same:
        raise _in_training(same, len(looks["test"]), name)
    found = []
    for one, other in (("validation", "train"), ("test", "validation")):
        if equal := _equal(looks[one], looks[other]):
            found.append(f"{len(equal)} of {len(looks[one])} {one} images are {other} images too: {_named(equal)}")
    for one, other in (("test", "train"), ("validation", "train"), ("test", "validation")):
        alike = _alike(looks[one], looks[other])
        found += [
            f"{a} ({one}) and {b} ({other}) seem to be one picture in two sizes or encodings" for a, b in alike[:_NAMED]
        ]
        if len(alike) > _NAMED:
            found.append(f"and {len(alike) - _NAMED} more such pairs of {one} and {other}")
    return [f"data {name}: {line}" for line in found]


def groups(looks: Sequence[Look], families: Sequence[str] = ()) -> list[list[Look]]:
    """Looks at one picture together, whatever its size and encoding; all others alone. In order of their first.

    Args:
        families: what each look is of, where those of one family stay together too.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first_of = dict[str, int]()
    pairs = [(first_of.setdefault(look.digest, number), number) for number, look in enumerate(looks)]
    pairs += [(first_of.setdefault(f"of {family}", number), number) for number, family in enumerate(families)]
    pairs += [(one, other) for one, other, _ in _close(looks, looks)]
    graph = coo_array((np.ones(len(pairs)), np.array(pairs).reshape(-1, 2).T), shape=(len(looks), len(looks)))
    together: dict[int, list[Look]] = {}
    for look, group in zip(looks, connected_components(graph, directed=False)[1].tolist(), strict=True):
        together.setdefault(group, []).append(look)
    return list(together.values())


def _equal(these: Sequence[Look], those: Sequence[Look]) -> list[tuple[Path, Path]]:
    """Files of the same pixels."""
    known: dict[str, Path] = {}
    for other in those:
        known.setdefault(other.digest, other.file)
    return [(one.file, known[one.digest]) for one in these if one.digest in known]


def _alike(these: Sequence[Look], those: Sequence[Look]) -> list[tuple[Path, Path]]:
    """Each of these with the one of those that is most alike, but not equal."""
    best: dict[int, tuple[float, int]] = {}
    for one, other, likeness in _close(these, those):
        if these[one].digest != those[other].digest and likeness > best.get(one, (0.0, 0))[0]:
            best[one] = likeness, other
    return [(these[one].file, those[best[one][1]].file) for one in sorted(best)]


_TOGETHER = 512
"""Looks that are compared at a time: a product of matrices, of which the parts stay in the processor's cache."""


def _close(these: Sequence[Look], those: Sequence[Look]) -> Iterator[tuple[int, int, float]]:
    """The numbers of looks of which the edges correlate by more than ``ALIKE`` and the sides agree, and by how much."""
    for first, ones in _blocks(these):
        mine = np.array([these[number].ratio for number in ones])
        edges = _edges_of(these, ones)
        for _, others in _blocks(those[: first + _TOGETHER] if those is these else those):
            stretch = mine[:, None] / np.array([those[number].ratio for number in others])
            likeness = edges @ _edges_of(those, others).T
            close = (likeness > ALIKE) & (stretch > 1 / _STRETCH) & (stretch < _STRETCH)
            for one, other in zip(*(numbers.tolist() for numbers in np.nonzero(close)), strict=True):
                yield ones[one], others[other], float(likeness[one, other])


def _blocks(looks: Sequence[Look]) -> Iterator[tuple[int, list[int]]]:
    """Numbers of looks that have edges, so many at a time."""
    for first in range(0, len(looks), _TOGETHER):
        last = min(first + _TOGETHER, len(looks))
        if numbers := [number for number in range(first, last) if looks[number].edges is not None]:
            yield first, numbers


def _edges_of(looks: Sequence[Look], numbers: Iterable[int]) -> np.ndarray:
    return np.array([looks[number].edges for number in numbers], np.float32)
