"""What a first look at pictures found, in words."""

from collections.abc import Iterator, Sequence

from multiblock.data.arrangement import Folders
from multiblock.data.pair_checks import PairCheck, of_all
from multiblock.data.survey import Survey, Surveyed


def about(found: Surveyed, folders: Folders, scale: int) -> Iterator[str]:
    """What the folders of a split hold, and how LR lies against HR."""
    sizes = sorted(found.sizes.values(), key=lambda size: size[0] * size[1])
    shown = " to ".join(f"{width} x {height}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))
    where = ", ".join(map(str, folders.hr))
    if folders.lr is None:
        yield f"{where}: {pictures(len(found.files))}, {shown} pixels; LR is made from them at scale {scale}"
        return
    size = "of equal size" if scale == 1 else f"LR {scale} times as small"
    yield f"{where} and {folders.lr}: {len(found.files)} pairs, HR {shown} pixels, {size}"
    if found.lr_name != "{name}":
        yield f"LR files are called {found.lr_name}, where {{name}} is the HR file's name"
    yield from _about_pairs(list(found.checks.values()))


def pictures(count: int) -> str:
    """``1 picture``, ``2 pictures``."""
    return "1 picture" if count == 1 else f"{count} pictures"


def _about_pairs(checks: Sequence[PairCheck]) -> Iterator[str]:
    """How LR lies against HR."""
    shifts = [max(abs(check.down), abs(check.right)) for check in checks if check.down == check.down]
    correlations = [check.correlation for check in checks if check.correlation == check.correlation]
    if shifts:
        yield (
            f"pairs measured: correlation {min(correlations):.2f} to {max(correlations):.2f}, "
            f"shifted by up to {max(shifts):.1f} pixels"
        )
    doubtful = [check for check in checks if check.verdict == "doubtful"]
    if doubtful:
        yield f"{len(doubtful)} of {len(checks)} pairs are doubtful, as: {'; '.join(doubtful[0].reasons)}"
        if any(
            "shifted" in reason or "turned" in reason or "times as large" in reason for reason in doubtful[0].reasons
        ):
            yield "`multiblock align` brings pairs that are displaced onto one grid"
    yield from of_all(checks)


def about_reading(survey: Survey) -> Iterator[str]:
    """What is converted when files are read, and what is left out for its ending."""
    if survey.turned:
        yield f"{pictures(survey.turned)} to be turned as the camera noted (EXIF)"
    for _, line in survey.remarks.lines():
        yield line
