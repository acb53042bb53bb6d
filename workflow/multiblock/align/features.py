"""The first guess of the map between two photographs: features that are found in both, and a map that most follow.

SIFT (Lowe 2004) finds features in any scale and turn; MAGSAC++ (Barath et al. 2020) the map. Both are OpenCV's, and
give the same each time: keypoints are sorted, and random numbers begin at the same seed. OpenCV is an extra, imported
where it is used.
"""

from typing import Any

import numpy as np

from multiblock.align.transform import resized
from multiblock.errors import UserError

LONGEST = 1600
"""Photographs are brought to at most so many pixels a side: refinement does the rest."""
MOST_FEATURES = 4000
LEAST_AGREE = 15
_RATIO = 0.8
"""A feature counts where its nearest is so much nearer than the second nearest (Lowe's ratio)."""
_OFF = 3.0
"""Most pixels of the shrunk LR by which a feature is off the map."""


def opencv() -> Any:
    """The module ``cv2``, with the seed of its random numbers set.

    Raises:
        UserError: it is not installed, or its libraries cannot be loaded.
    """
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f'align: OpenCV cannot be imported ({error}); install it with: pip install "multiblock[align]"'
        ) from None
    cv2.setRNGSeed(0)
    return cv2


def first_guess(hr: np.ndarray, lr: np.ndarray) -> tuple[np.ndarray, int]:
    """The map (3, 3) of HR's pixels to LR's, good to a few pixels, and how many features agree with it.

    Args:
        hr, lr: (H, W), float32, 0 to 255.

    Raises:
        UserError: too few features are found or agree.
    """
    cv2 = opencv()
    (points, marks, to_hr), (others, their_marks, to_lr) = (_features(cv2, image) for image in (hr, lr))
    for name, found in (("HR", points), ("LR", others)):
        if len(found) < LEAST_AGREE:
            raise UserError(f"{len(found)} features are found in {name}, {LEAST_AGREE} are needed: it has no detail")
    here, there = _matches(cv2, marks, their_marks)
    matrix, agree = None, 0
    if len(here) >= LEAST_AGREE:
        matrix, mask = cv2.findHomography(
            points[here], others[there], cv2.USAC_MAGSAC, _OFF, confidence=0.9999, maxIters=20000
        )
        follow = mask.ravel() > 0
        agree = 0 if matrix is None else min(_distinct(points[here][follow]), _distinct(others[there][follow]))
    if matrix is None or agree < LEAST_AGREE:
        raise UserError(
            f"{agree} of {min(len(points), len(others))} features agree, {LEAST_AGREE} are needed: they do not show "
            "the same scene, or too little of it, or nothing in it that does not repeat itself (as windows of a facade "
            "do): leave the pair out, or take it with something else in view"
        )
    return resized(matrix, 1 / to_hr, 1 / to_lr), agree


def _distinct(points: np.ndarray) -> int:
    """How many places there are: one place may have features of several turns."""
    return len(np.unique(np.round(points), axis=0))


def _features(cv2: Any, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Places (n, 2) and descriptors (n, 128) of features in the shrunk image, and by how much it was shrunk."""
    factor = min(1.0, LONGEST / max(image.shape))
    if factor < 1:
        size = tuple(max(1, round(side * factor)) for side in image.shape[::-1])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    low, high = np.percentile(image, (0.5, 99.5))
    even = ((image - low) * (255 / max(high - low, 8))).clip(0, 255).astype(np.uint8)
    keypoints, marks = cv2.SIFT_create(nfeatures=MOST_FEATURES, contrastThreshold=0.02).detectAndCompute(even, None)
    if not keypoints:
        return np.empty((0, 2), np.float32), np.empty((0, 128), np.float32), factor
    order = sorted(range(len(keypoints)), key=lambda i: (*keypoints[i].pt, keypoints[i].size, keypoints[i].angle))
    return np.array([keypoints[i].pt for i in order], np.float32), marks[order], factor


def _matches(cv2: Any, marks: np.ndarray, others: np.ndarray) -> tuple[list[int], list[int]]:
    """Features of the first whose nearest in the second is nearest by far: their numbers in both.

    Of those that have the same nearest the best counts alone: where a picture repeats itself, as a facade does, many
    lead to one, and a map that takes them all there would have them agree.
    """
    found = cv2.BFMatcher().knnMatch(marks, others, k=2)
    near = [pair[0] for pair in found if len(pair) == 2 and pair[0].distance < _RATIO * pair[1].distance]
    best: dict[int, Any] = {}
    for match in near:
        other = best.setdefault(match.trainIdx, match)
        best[match.trainIdx] = min(match, other, key=lambda one: one.distance)
    near = sorted(best.values(), key=lambda match: match.queryIdx)
    return [match.queryIdx for match in near], [match.trainIdx for match in near]
