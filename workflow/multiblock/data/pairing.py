"""What the files of pairs say by their names and sizes: how LR is called, and how many times it is smaller."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from multiblock.errors import UserError

SCALES = (1, 2, 3, 4)
PLAIN = "{name}"
_ASKED = 50
"""Names by which a pattern is looked for."""
_FEW = 4
"""LR pixels by which a size may be off for it to be a slip of cropping."""

Size = tuple[int, int]
"""Height and width in pixels."""


def lr_name(hr: Sequence[str], lr: Sequence[str]) -> str:
    """How LR files are called, as ``{name}x2``: the pattern that finds the most partners.

    Args:
        hr, lr: names of files without ending.

    Raises:
        UserError: no pattern finds the partners of at least half of the HR files.
    """
    known = set(lr)
    if 2 * sum(name in known for name in hr) >= len(hr):
        return PLAIN
    patterns: Counter[str] = Counter()
    for name in hr[:_ASKED]:
        for other in lr:
            before, found, after = other.partition(name)
            if found and not {"{", "}"} & set(before + after):
                patterns[f"{before}{PLAIN}{after}"] += 1
    # A name such as 1 is in many others: the pattern that is meant is one that many of the names asked for gave.
    likely = [pattern for pattern, _ in patterns.most_common(_ASKED)]
    matches = {pattern: sum(pattern.format(name=name) in known for name in hr) for pattern in likely}
    best = max(matches, key=lambda pattern: matches[pattern], default=PLAIN)
    if 2 * matches.get(best, 0) < len(hr):
        raise UserError(
            f"names do not pair: HR files are called as {hr[0]}, LR files as {lr[0]}; allowed are the same names, or "
            "LR names that have the HR file's in them, as in {name}x2"
        )
    return best


def scale_that_fits(low: Size, full: Size) -> int | None:
    """How many times LR of that size is smaller than HR; None where it is by no allowed number."""
    return next((scale for scale in SCALES if tuple(side // scale for side in full) == tuple(low)), None)


def common_scale(sizes: Mapping[Path, tuple[Size, Size]], wanted: int | None) -> int:
    """The scale of pairs, from their sizes.

    Args:
        sizes: those of LR and HR by HR file.
        wanted: the scale that a user names.

    Raises:
        UserError: no scale fits more than half of the pairs, or none fits the one that is wanted.
    """
    scales = {file: scale_that_fits(*pair) for file, pair in sizes.items()}
    counts = Counter(scale for scale in scales.values() if scale)
    if wanted is not None:
        if not counts[wanted]:
            file = next(iter(sizes))
            raise UserError(f"--scale: found {wanted}, which fits no pair: {misfit(file, *sizes[file], wanted)}")
        return wanted
    if not counts:
        file = next(iter(sizes))
        raise UserError(misfit(file, *sizes[file], None))
    scale, count = counts.most_common(1)[0]
    if 2 * count > len(sizes):
        return scale
    if len(counts) > 1:
        found = ", ".join(f"{number} at {one}" for one, number in counts.most_common())
        raise UserError(f"pairs of several scales: {found}; give the one that is meant with --scale")
    file = next(file for file, one in scales.items() if one is None)
    raise UserError(
        f"{count} of {len(sizes)} pairs are at scale {scale}; the others not: {misfit(file, *sizes[file], scale)}"
    )


def misfit(file: Path, low: Size, full: Size, scale: int | None) -> str:
    """Why the sizes of a pair do not fit, and what can be done.

    Args:
        scale: that of the other pairs; None where there is none.
    """
    text = f"{file}: HR is {_size(full)} pixels, LR {_size(low)}"
    ratio = full[0] / low[0], full[1] / low[1]
    nearest = scale or min(SCALES, key=lambda one: abs(ratio[0] - one) + abs(ratio[1] - one))
    allowed = tuple(side // nearest for side in full)
    turned, other = low[::-1], scale_that_fits(low, full)
    if other:
        return f"{text}, which is scale {other}"
    if scale_that_fits(turned, full):
        return f"{text}: one of the two lies on its side; turn LR as HR is turned"
    if max(ratio) < 1:
        return f"{text}, which is larger; the folders of HR and LR may be swapped"
    if all(abs(one - other) <= _FEW for one, other in zip(low, allowed, strict=True)):
        return (
            f"{text}; scale {nearest} allows LR of {_size(allowed)}: one of the two was cut or rounded otherwise; "
            f"cut LR to {_size(allowed)} pixels, or HR to {_size(tuple(nearest * side for side in low))}"
        )
    return (
        f"{text}, {ratio[1]:.3g} times as wide and {ratio[0]:.3g} as high; allowed are 1, 2, 3, 4 times. "
        "`multiblock align` brings pairs of other sizes, or that are displaced, onto one grid"
    )


def _size(size: Sequence[int]) -> str:
    return f"{size[1]} x {size[0]}"
