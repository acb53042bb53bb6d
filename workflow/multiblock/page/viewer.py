"""The viewer of pictures: its data, and a page that holds nothing else."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multiblock.data.resize import enlarge
from multiblock.errors import UserError
from multiblock.page import rendering
from multiblock.page.pictures import Pixels, Shown, look, written

Pictures = Sequence[tuple[str, np.ndarray]]
"""Pictures of one image, each with what it is."""

SIDE = 64
"""Of the places that are looked at first, in pixels, where nothing is said."""


def data(images: Sequence[Shown], budget: int, most: int | None = None) -> dict[str, Any]:
    """What the viewer shows, in at most ``budget`` bytes, and a sentence on what of the images it does not show.

    Args:
        most: show no more than so many windows, see :func:`multiblock.page.pictures.cuts`.
    """
    cuts = written(images, budget, most) if budget else []
    return {"cuts": cuts, "note": _left_out(images, cuts, budget)}


def _left_out(images: Sequence[Shown], cuts: Sequence[dict[str, Any]], budget: int) -> str:
    whole = sum(cut["whole"] == [cut["width"], cut["height"]] for cut in cuts)
    shown = len({cut["name"] for cut in cuts})
    if whole == len(images):
        return ""
    room = (
        f"All pictures without loss take more than the {budget / rendering.MEGABYTE:.1f} MB that the page has for them"
    )
    if not cuts:
        return f"{room}: none is shown."
    targets = any(image.target for image in images)
    most, largest = ("gained and lost", "gains and losses") if targets else ("changed", "changes")
    parts = [f"{room}, so windows are shown, which hold the places where the images {most} the most."]
    if shown < len(images):
        parts.append(f"They are of {shown} of {len(images)} images, those with the largest {largest}.")
    return " ".join(parts)


def page(
    title: str,
    images: Sequence[tuple[str, Pictures | Callable[[], Pictures]]],
    out: Path,
    *,
    target: bool = False,
    side: int = SIDE,
    limit: int = rendering.LIMIT,
) -> str:
    """Write a page that shows pictures before and after, and nothing else.

    Args:
        title: of the page.
        images: of each image its name and its pictures, or what gives them, so that of many large ones one at a time
            is in memory. Each comes with what it is: (H, W, 3), uint8, float in [0, 1] or uint16; gray ones (H, W) are
            shown as RGB. One that is smaller by a whole factor is enlarged by bicubic
            interpolation, which its label then says.
        out: the HTML file.
        target: whether the last picture of each image is what the others should be; then the page says PSNR.
        side: of the places that are looked at first, in pixels.
        limit: bytes of the page. Where whole pictures would take more, windows are shown, which the page says.

    Returns:
        What the page says of that; empty where it shows all.

    Raises:
        UserError: an image has fewer than two pictures, or they do not have one size.
    """
    shown = [_look(name, pictures, target, side) for name, pictures in images]
    found: dict[str, Any] = {}

    def fill(budget: int) -> dict[str, Any]:
        found.update(data(shown, budget))
        return found

    rendering.write(out, rendering.within("compare.html.j2", limit, fill, title=title), limit)
    return str(found["note"])


def _look(name: str, given: Pictures | Callable[[], Pictures], target: bool, side: int) -> Shown:
    def load() -> list[tuple[str, np.ndarray]]:
        pictures = given() if callable(given) else given
        if len(pictures) < 2:
            raise UserError(f"{name}: found {len(pictures)} picture; a comparison needs two or more")
        return of_one_size(name, pictures)

    labels = [label for label, _ in load()]
    return look(name, labels, lambda: tuple(pixels for _, pixels in load()), target, side)


def of_one_size(name: str, pictures: Pictures) -> list[tuple[str, np.ndarray]]:
    """Pictures as (H, W, 3), uint8, all of the largest one's size.

    Raises:
        UserError: one is not smaller by a whole factor, the same for both sides, or is no picture.
    """
    plain = [(label, eight_bits(name, label, pixels)) for label, pixels in pictures]
    height, width = max((pixels.shape[:2] for _, pixels in plain), key=lambda size: size[0] * size[1])
    return [_enlarged(name, label, pixels, (height, width)) for label, pixels in plain]


def _enlarged(name: str, label: str, pixels: np.ndarray, size: tuple[int, int]) -> tuple[str, np.ndarray]:
    scale = size[0] // pixels.shape[0]
    if (pixels.shape[0] * scale, pixels.shape[1] * scale) != size:
        found = f"{pixels.shape[1]} x {pixels.shape[0]} pixels"
        raise UserError(
            f"{name}: {label} has {found}, the largest picture {size[1]} x {size[0]}; allowed are pictures of one "
            "size, or smaller by a whole factor"
        )
    return (f"{label}, bicubic x{scale}", enlarge(pixels, scale)) if scale > 1 else (label, pixels)


def eight_bits(name: str, label: str, pixels: np.ndarray) -> np.ndarray:
    """A picture as (H, W, 3), uint8."""
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise UserError(f"{name}: {label} has the shape {pixels.shape}; allowed are (H, W, 3) and (H, W)")
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        return np.asarray((pixels.astype(np.uint32) * 255 + 32767) // 65535, np.uint8)
    return np.asarray(np.rint(np.nan_to_num(pixels.astype(np.float64)).clip(0, 1) * 255), np.uint8)


def of_files(pictures: Pixels) -> Pixels:
    """Pictures of test images as they lie in results: LR at the size of HR."""
    return tuple(pixels for _, pixels in of_one_size("", [("", pixels) for pixels in pictures]))
