"""What two photographs both show, as the largest upright rectangle of HR."""

import numpy as np

from multiblock.align.transform import Transform, mapped

_NEAR = 1e-4
"""Pixels that are nothing but rounding."""


def common(transform: Transform, lr_shape: tuple[int, ...], margin: float, scale: int) -> tuple[int, int, int, int]:
    """Top, left, height and width in HR of the largest rectangle all of which LR shows; sides are multiples of scale.

    Args:
        margin: LR pixels to keep from LR's edges.
        scale: of HR over the LR to be made.

    The sides are 0 where there is none.
    """
    height, width = transform.size
    lower, upper = margin, np.array([lr_shape[1], lr_shape[0]]) - 1 - margin
    if (upper <= lower).any():
        return 0, 0, 0, 0
    frame = np.array([(lower, lower), (upper[0], lower), upper, (lower, upper[1])])
    back = mapped(np.linalg.inv(transform.matrix), frame)  # LR's frame in HR: four straight edges
    left, top, right, bottom = _largest(back, width - 1, height - 1)
    left, top, right, bottom = *np.ceil([left - _NEAR, top - _NEAR]), *np.floor([right + _NEAR, bottom + _NEAR])
    while right > left and bottom > top:
        corners = mapped(transform.matrix, np.array([(left, top), (right, top), (right, bottom), (left, bottom)]))
        if (corners >= margin - _NEAR).all() and (corners <= upper + _NEAR).all():
            break
        left, top, right, bottom = left + 1, top + 1, right - 1, bottom - 1
    if right <= left or bottom <= top:
        return 0, 0, 0, 0
    tall, wide = (max(0, int(last - first + 1)) // scale * scale for first, last in ((top, bottom), (left, right)))
    return int(top), int(left), tall, wide


def share(transform: Transform, lr_shape: tuple[int, ...]) -> float:
    """Share of HR's area that LR shows, by a grid of points."""
    height, width = transform.size
    parts = (np.arange(64) + 0.5) / 64
    points = np.stack(np.meshgrid(parts * width - 0.5, parts * height - 0.5), axis=-1)
    there = transform(points)
    inside = (there >= -0.5) & (there <= np.array([lr_shape[1], lr_shape[0]]) - 0.5)
    return float(inside.all(axis=-1).mean())


def _largest(polygon: np.ndarray, right: float, bottom: float) -> np.ndarray:
    """Left, top, right and bottom of the largest rectangle in a convex polygon (n, 2) and in HR.

    A rectangle lies within an edge where that one of its corners does which lies farthest out: a linear condition. The
    logarithm of its area is concave, so that there is one largest.
    """
    from scipy.optimize import minimize

    middle = polygon.mean(axis=0)
    edges, following = polygon, np.roll(polygon, -1, axis=0)
    outward = np.stack([following[:, 1] - edges[:, 1], edges[:, 0] - following[:, 0]], axis=1)
    outward *= np.sign(((edges - middle) * outward).sum(axis=1))[:, None]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    outward = np.concatenate([outward, [(-1, 0), (0, -1), (1, 0), (0, 1)]])
    most = np.concatenate([(edges * outward[: len(edges)]).sum(axis=1), [0, 0, right, bottom]])
    conditions = np.concatenate([np.minimum(outward, 0), np.maximum(outward, 0)], axis=1)
    unit = max(right, bottom)
    start = _inside(conditions, most / unit)
    if start is None:
        return np.zeros(4)
    found = minimize(
        lambda r: -np.log(max(r[2] - r[0], 1e-9)) - np.log(max(r[3] - r[1], 1e-9)),
        start,
        jac=lambda r: (
            np.array([1, 0, -1, 0]) / max(r[2] - r[0], 1e-9) + np.array([0, 1, 0, -1]) / max(r[3] - r[1], 1e-9)
        ),
        constraints={"type": "ineq", "fun": lambda r: most / unit - conditions @ r, "jac": lambda _: -conditions},
        method="SLSQP",
        options={"maxiter": 200, "ftol": 1e-10},
    )
    return np.asarray(found.x) * unit


def _inside(conditions: np.ndarray, most: np.ndarray) -> np.ndarray | None:
    """The largest square that meets the conditions, as a start; None where nothing does."""
    from scipy.optimize import linprog

    # Left, top and side of the square: right = left + side, bottom = top + side.
    squares = conditions @ np.array([(1, 0, 0), (0, 1, 0), (1, 0, 1), (0, 1, 1)])
    found = linprog((0, 0, -1), A_ub=squares, b_ub=most, bounds=[(None, None), (None, None), (0, None)])
    if found.status != 0 or found.x[2] <= 0:
        return None
    left, top, side = found.x
    return np.array([left, top, left + side, top + side])
