"""The test images of a run or a study in all their forms, from the files of results."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from multiblock.data.images import read
from multiblock.data.imageset import ImageSet
from multiblock.page.pictures import Pixels, Shown, look
from multiblock.page.viewer import of_files

INPUT, TARGET = "input", "target (HR)"

KEPT = 300_000_000
"""Bytes up to which pictures stay in memory; more are read again where they are needed again."""


def of_test(*, lr: Path, hr: Path, made: Mapping[str, Path], side: int, before: int = 0) -> list[Shown]:
    """Every test image as input, as each network makes it, and as target.

    Args:
        lr, hr: test sets of LR_0 and of HR.
        made: what made them, in words, to the folder of its pictures.
        side: of the places that are looked at first, in pixels.
        before: the index of the picture that the last network's is compared with; 0 is the input.
    """
    inputs, references = ImageSet(lr), ImageSet(hr)
    labels = [INPUT, *made, TARGET]
    keep = references.pixels.size * len(labels) <= KEPT
    return [
        look(name, labels, Loader(inputs, references, number, list(made.values()), keep), True, side, before)
        for number, name in enumerate(references.names)
    ]


class Loader:
    """Reads the pictures of one test image when it is called.

    Args:
        number: of the image in both sets.
        folders: of the pictures that networks made.
        keep: whether they stay in memory.
    """

    def __init__(
        self, inputs: ImageSet, references: ImageSet, number: int, folders: Sequence[Path], keep: bool
    ) -> None:
        self._inputs, self._references, self._number, self._folders = inputs, references, number, folders
        self._keep = keep
        self._kept: Pixels | None = None

    def __call__(self) -> Pixels:
        """The input at the size of HR, what each network made, and HR."""
        if self._kept is None:
            name, low, sharp = (of[self._number] for of in (self._references.names, self._inputs, self._references))
            made = [read(folder / f"{name}.png") for folder in self._folders]
            pixels = of_files((np.asarray(low), *made, np.asarray(sharp)))
            if not self._keep:
                return pixels
            self._kept = pixels
        return self._kept
