"""Pictures in memory through a network: each result has its picture's colours, and what goes with it.

NumPy arrays, Pillow images and PyTorch tensors come back as what they were.
"""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from multiblock.data.picture import Picture, in_memory
from multiblock.data.resize import enlarge as enlarged_by_bicubic
from multiblock.errors import UserError
from multiblock.inference import tiles
from multiblock.inference.tiles import Step, Tiling
from multiblock.model.chain import Chain

Kind = TypeVar("Kind", np.ndarray, Image.Image, Tensor)
"""What a picture can be; a result is of the same kind."""


@dataclass(frozen=True, kw_only=True)
class Upscaler:
    """A chain, and how pictures go through it.

    Args:
        enlarge: how many times pictures are enlarged by bicubic interpolation before the chain sees them.
        memory_gib: see :func:`multiblock.inference.tiles.run_by_region`.
        ensemble: whether results are means over the eight turns of a picture.
    """

    chain: Chain
    device: torch.device
    enlarge: int = 1
    memory_gib: float = 2.5
    ensemble: bool = False

    @property
    def scale(self) -> int:
        """How many times a result is as large as its picture."""
        return self.chain.scale * self.enlarge

    def values(self, pixels: np.ndarray, step: Step = lambda _: None) -> tuple[np.ndarray, Tiling]:
        """What becomes of pixels (H, W, 1 or 3); see :func:`multiblock.inference.tiles.run_by_region`."""
        given = self.chain, pixels, self.device, self.memory_gib
        return tiles.run_by_region(*given, enlarge=self.enlarge, ensemble=self.ensemble, step=step)

    def picture(self, picture: Picture, step: Step = lambda _: None) -> tuple[Picture, Tiling]:
        """What becomes of a picture; alpha is enlarged by bicubic interpolation.

        Raises:
            UserError: the network gives values that are no numbers.
        """
        made, tiling = self.values(picture.pixels, step)
        alpha = picture.alpha
        if alpha is not None and self.scale > 1:
            alpha = enlarged_by_bicubic(alpha, self.scale)
        return replace(picture, pixels=made, alpha=alpha), tiling


_ALLOWED = "allowed are a NumPy array, a Pillow image or a PyTorch tensor"
_ARRAYS = "allowed are (H, W, 3), or (H, W) for gray"
_BEYOND = 1e-5
"""How far floats may be outside [0, 1]: what resizing or a colour conversion leaves by rounding."""


def upscaled(upscaler: Upscaler, image: Any) -> Any:
    """What a network makes of a picture, of the kind that it was given; see :meth:`multiblock.Network.upscale`.

    Raises:
        UserError: it is of another kind, shape or type than is allowed, or holds values beyond [0, 1], or NaN.
    """
    if isinstance(image, np.ndarray):
        return _array(upscaler, image)
    if isinstance(image, Tensor):
        return _tensor(upscaler, image)
    if isinstance(image, Image.Image):
        return _pillow(upscaler, image)
    raise UserError(f"upscale: found {type(image).__name__}; {_ALLOWED}; files are read by Pillow's Image.open")


def _array(upscaler: Upscaler, image: np.ndarray) -> np.ndarray:
    native = image.dtype.newbyteorder("=")
    if native not in (np.uint8, np.uint16) and native.kind != "f":
        raise UserError(f"upscale: found an array of {image.dtype}; allowed are uint8, uint16, and floats in [0, 1]")
    if image.ndim != 2 and (image.ndim != 3 or image.shape[2] != 3):
        raise UserError(f"upscale: found an array of shape {_shape(image.shape)}; {_ARRAYS}{_hint(image.shape)}")
    _check_size(image.shape[:2])
    # Plain: subclasses such as np.matrix do other things; PyTorch takes no foreign byte order.
    pixels = np.asarray(image, native).reshape(*image.shape[:2], -1)
    if image.dtype.kind == "f":
        pixels = pixels.astype(np.float32)
        _check_range(float(pixels.min()), float(pixels.max()))
        pixels = pixels.clip(0, 1)
    made, tiling = upscaler.values(pixels)
    tiles.warn_of_tiles("an image", tiling)
    return (made if image.ndim == 3 else made[..., 0]).astype(image.dtype, copy=False)


def _hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[2] == 4:
        return "; leave alpha out, as image[..., :3], or give a Pillow image, whose alpha is kept"
    if len(shape) == 3 and shape[0] in (1, 3):
        return "; channels come last, as image.transpose(1, 2, 0) has them"
    if len(shape) == 3 and shape[2] == 1:
        return "; leave the last axis out, as image[..., 0]"
    return "; several images are given one by one" if len(shape) == 4 else ""


def _tensor(upscaler: Upscaler, images: Tensor) -> Tensor:
    if not images.is_floating_point():
        raise UserError(f"upscale: found a tensor of {images.dtype}; allowed are floats in [0, 1], as images / 255")
    if images.ndim != 4 or images.shape[1] != 3:
        hint = "; one image is images[None]" if images.ndim == 3 and images.shape[0] == 3 else ""
        raise UserError(f"upscale: found a tensor of shape {_shape(images.shape)}; allowed is (N, 3, H, W){hint}")
    if not len(images):
        raise UserError("upscale: found a tensor of no images; at least one is needed")
    _check_size(images.shape[2:])
    plain = images.detach().float()
    _check_range(float(plain.min()), float(plain.max()))
    made = []
    for image in plain:
        values, tiling = upscaler.values(image.clamp(0, 1).permute(1, 2, 0).cpu().numpy())
        tiles.warn_of_tiles("an image", tiling)
        made.append(torch.from_numpy(values).permute(2, 0, 1))
    return torch.stack(made).to(images.device, images.dtype)


def _pillow(upscaler: Upscaler, image: Image.Image) -> Image.Image:
    _check_size((image.height, image.width))
    picture, tiling = upscaler.picture(in_memory(image))
    tiles.warn_of_tiles("an image", tiling)
    return _as_pillow(picture, image)


def _as_pillow(picture: Picture, image: Image.Image) -> Image.Image:
    """A result as Pillow has it, with what goes with the image that it was made of in ``info``."""
    pixels = picture.pixels
    if picture.alpha is not None:
        pixels = np.concatenate([pixels, picture.alpha], axis=2)
    made = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    made.info = {name: value for name, value in image.info.items() if name != "transparency"}
    if picture.exif and "exif" not in made.info:  # TIFF keeps it elsewhere
        made.info["exif"] = picture.exif.tobytes()
    return made


def _check_size(sides: tuple[int, ...]) -> None:
    if 0 in sides:
        raise UserError(f"upscale: found an image of {sides[1]} x {sides[0]} pixels; at least one pixel is needed")


def _check_range(least: float, most: float) -> None:
    """See that floats are in [0, 1], which NaN is not."""
    if not (least >= -_BEYOND and most <= 1 + _BEYOND):
        hint = "; images of 0 to 255 are divided by 255, or given as uint8" if 1.5 < most <= 255 and least >= 0 else ""
        raise UserError(f"upscale: found floats from {least:.6g} to {most:.6g}; allowed are 0 to 1{hint}")


def _shape(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
