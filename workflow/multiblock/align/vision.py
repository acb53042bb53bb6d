"""OpenCV, an extra: imported where it is used, with one clear line where it is missing."""

from typing import Any

from multiblock.errors import UserError


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
