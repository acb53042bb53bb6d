"""What kept values are made of, and how arrays, tables and pictures are kept: all the same on every processor."""

import csv
import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from multiblock.data.imageset import SPLITS, write_set
from multiblock.model.chain import Chain
from multiblock.model.metadata import Provenance
from multiblock.plan import Block

NETWORK = str(Path(__file__).parent / "kept_block.py")

Values = list[str | float]
"""Of one training, conversion or measurement: texts and whole numbers agree exactly, others to nine digits."""


@contextmanager
def float64() -> Iterator[None]:
    """Tensors have 64 bits where the package asks for 32."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        del torch.Tensor.float  # PyTorch's own is inherited
        torch.set_default_dtype(torch.float32)


# -- Images and networks -----------------------------------------------------------------------------------------------


def pixels(height: int, width: int, seed: int) -> np.ndarray:
    """A picture with slopes, edges, and some black and white, (H, W, 3), uint8; made of whole numbers alone."""
    y, x, channel = np.ogrid[:height, :width, :3]
    slopes = (x * (5 + seed) + y * (3 + channel) + x * y * (1 + seed % 3) // 8 + 40 * channel) % 301
    edges = 90 * ((x // 7 + y // 5 + seed) % 2)
    return (slopes + edges - 60).clip(0, 255).astype(np.uint8)


def blurred(image: np.ndarray) -> np.ndarray:
    """Each pixel is the mean of itself and two neighbours, rounded down."""
    return ((image.astype(int) + np.roll(image, 1, 0) + np.roll(image, 1, 1)) // 3).astype(np.uint8)


def sets(folder: Path) -> Path:
    """Image sets: HR; LR of its size; LR2 of half its size; LR16, which is LR as float16 and a little too bright.

    The third image of each split is black in LR and HR.
    """
    for split, first in zip(SPLITS, (0, 3, 6), strict=True):
        high = [pixels(36, 44, first), pixels(32, 40, first + 1), np.zeros((32, 32, 3), np.uint8)]
        made = {"HR": high, "LR": [blurred(image) for image in high], "LR2": [image[::2, ::2] for image in high]}
        made["LR16"] = [(image / 240 - 0.02).astype(np.float16) for image in made["LR"]]
        for name, images in made.items():
            (folder / name).mkdir(exist_ok=True)
            sizes = [image.shape[:2] for image in images]
            with write_set(folder / name / f"{split}.npy", sizes, str(images[0].dtype)) as writer:
                for number, image in enumerate(images):
                    writer.add(f"image{number}", image)
    return folder


def spread(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Numbers from -1 to 1 that look random, of that shape; made of whole numbers alone."""
    numbers = (np.arange(1, math.prod(shape) + 1) * 2654435761 + seed * 805459861) % 2**32
    return torch.from_numpy(numbers / 2**31 - 1).reshape(shape)


def block(width: int = 4, scale: int = 1) -> Block:
    """The network of kept values."""
    return Block(network=NETWORK, options={"width": width, "scale": scale})


def network(file: Path, blocks: tuple[Block, ...], clamped: list[bool]) -> Path:
    """A file of weights that nobody has trained."""
    chain = Chain.build(blocks, clamped)
    for seed, tensor in enumerate(chain.blocks.state_dict().values()):
        if tensor.is_floating_point():
            tensor.copy_(0.3 * spread(tensor.shape, seed))
    for module in chain.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.fill_(0.9)
    chain.save(file, Provenance(enlarge=1))
    return file


# -- How results are kept ----------------------------------------------------------------------------------------------


def digest(*arrays: np.ndarray) -> str:
    """Of whole numbers, or of floats that were rounded by far more than processors differ."""
    made = hashlib.sha256()
    for array in arrays:
        made.update(f"{array.dtype} {array.shape}".encode())
        made.update(np.ascontiguousarray(array).tobytes())
    return made.hexdigest()[:16]


def digests_of_sets(folder: Path) -> Values:
    """Of each split in a folder: the index, and a digest of the pixels."""
    made: Values = []
    for split in SPLITS:
        rows = (folder / f"{split}.csv").read_text().splitlines()[1:]
        made += [
            f"{split}: {', '.join(row.rpartition(',')[0] for row in rows)}",
            digest(np.load(folder / f"{split}.npy")),
        ]
    return made


def table(text: str) -> Values:
    """The cells of a CSV, row by row; numbers that are not whole are numbers, all else is text."""
    return [_cell(cell) for row in csv.reader(text.splitlines()) for cell in row]


def _cell(cell: str) -> str | float:
    try:
        number = float(cell)
    except ValueError:
        return cell
    return number if math.isfinite(number) and not cell.lstrip("-").isdecimal() else cell


def digests_of_pictures(folder: Path) -> Values:
    """Of each picture in a folder and below it: the name, and a digest of what it shows."""
    found = sorted(file for file in folder.rglob("*") if file.suffix in (".png", ".tif", ".jpg"))
    return [f"{file.relative_to(folder)} {digest(np.asarray(Image.open(file)))}" for file in found]
