"""What a pair has to keep to, and what is said of one that does not."""

from dataclasses import dataclass

from multiblock.align.residual import Residual
from multiblock.align.transform import Transform

SMALLEST = 64
"""Least side in HR pixels of what both photographs show."""
MOST_STRETCH, MOST_PERSPECTIVE = 0.05, 0.2
LARGEST_ZOOM = 8.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits that a user may move.

    Args:
        residual: most HR pixels, in the median, that windows lie off, and that the map may be off (two standard
            deviations).
        correlation: least correlation of LR and HR.
        moved: most of the windows, as a share, that show something else or lie off.
        overlap: least share of HR that LR has to show.
        turn: most degrees that LR is turned.
    """

    residual: float = 0.5
    correlation: float = 0.7
    moved: float = 0.1
    overlap: float = 0.25
    turn: float = 10.0


def against_map(transform: Transform, limits: Limits) -> str:
    """What speaks against a map; nothing where it is plausible."""
    turn, zoom = transform.turn, transform.zoom
    if not 1 / LARGEST_ZOOM <= zoom <= LARGEST_ZOOM:
        return f"HR shows things {zoom:.2g} times as large as LR; allowed are {1 / LARGEST_ZOOM:g} to {LARGEST_ZOOM:g}"
    if transform.mirrored:
        return "LR is mirrored"
    if abs(turn) > limits.turn:
        quarter = abs(abs(turn) - 90) < 15 or abs(turn) > 165
        why = "; one of the two may have lost its orientation (EXIF)" if quarter else ""
        return f"LR is turned by {turn:+z.1f} degrees; allowed are {limits.turn:g}{why}"
    if transform.stretch > MOST_STRETCH:
        return f"LR is stretched by {transform.stretch:.1%} in one direction; allowed are {MOST_STRETCH:.0%}"
    if transform.perspective > MOST_PERSPECTIVE:
        return (
            f"the scale differs by {transform.perspective:.0%} between corners; allowed are {MOST_PERSPECTIVE:.0%}: "
            "the camera was moved"
        )
    return ""


def against_result(found: Residual, unsure: float, limits: Limits) -> str:
    """What speaks against a pair as it came out; nothing where it fits."""
    if not found.windows or found.median != found.median:
        return "nothing in it can be compared" if not found.windows else "LR and HR show something else everywhere"
    if found.off > limits.moved:
        return (
            f"{found.off:.0%} of its {found.windows} windows do not fit; allowed are {limits.moved:.0%}: things moved, "
            "or lie at different distances"
        )
    if found.median > limits.residual:
        return f"residual {found.median:.2f} pixels in the median; allowed are {limits.residual:g}"
    if not found.correlation >= limits.correlation:
        return f"correlation {found.correlation:.2f}; allowed are {limits.correlation:g} or more"
    if 2 * unsure > limits.residual:  # two standard deviations
        return (
            f"its place is known to {2 * unsure:.2f} pixels only; allowed are {limits.residual:g}: it has too little "
            "detail"
        )
    return ""
