"""Check every image of a data set by its header, and sum up in a digest what its arrays depend on."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multiblock.data import images, leaks
from multiblock.data.dataset import SMALLEST_MEASURED, DatasetConfig, ImagePair, check_partner, find
from multiblock.data.walk import Progress
from multiblock.errors import UserError
from multiblock.files import Digests


class Inspection:
    """What is known of image files: only new and changed ones are read again, and each is looked at once.

    Args:
        digests: keep it.
    """

    def __init__(self, digests: Digests) -> None:
        self._digests = digests
        self._counter: Progress | None = None
        self._seen: dict[Path, tuple[str, int, int]] = {}
        self._found: dict[str, dict[str, list[ImagePair]]] = {}

    def find(self, data: DatasetConfig) -> dict[str, list[ImagePair]]:
        """The images of each split; see :func:`multiblock.data.dataset.find`."""
        known = repr(data)
        if known not in self._found:
            self._found[known] = find(data, self.size)
        return self._found[known]

    def look(self, file: Path) -> tuple[str, int, int]:
        """The digest of a file's bytes, and its height and width in pixels.

        Raises:
            UserError: the file cannot be read, or is no image.
        """
        if file not in self._seen:
            try:
                note = self._digests.known(file)
            except OSError as error:
                raise UserError(f"{file}: cannot be read: {error.strerror}") from None
            digest, (height, width) = note if note and len(note) > 1 else self._read(file)
            self._seen[file] = digest, height, width
        return self._seen[file]

    def size(self, file: Path) -> tuple[int, int]:
        """Height and width of an image file in pixels; see :meth:`look`."""
        return self.look(file)[1:]

    def _read(self, file: Path) -> list[Any]:
        """Read all of a file, which takes a while for many: its digest and its size."""
        images.check_regular(file)
        self._counter = self._counter or Progress(None, "new and changed image files read")
        try:
            note = self._digests.note(file)
        except OSError as error:
            raise UserError(f"{file}: cannot be read as an image: {error.strerror}") from None
        if len(note) == 1:
            self._digests.append(file, images.size(file))
        self._counter.step()
        return self._digests.note(file)

    def close(self) -> None:
        """Take away what shows how far it is."""
        if self._counter:
            self._counter.close()
            self._counter = None


def inspect(data: DatasetConfig, inspection: Inspection, patch: int) -> str:
    """Check every file of a data set by its header, and return a digest of all that its arrays depend on.

    Args:
        patch: side in pixels, at HR size, of the largest patch that training will cut.

    Raises:
        UserError: see :func:`find`; or a file is no image, the sizes of a pair do not match, an image is too small
            to be trained or measured on, or a test image is one of the training images.
    """
    digest = DatasetDigest(data)
    found = inspection.find(data)
    files: dict[str, dict[Path, str]] = {split: {} for split in found}
    for split, items in found.items():
        for item in items:
            mark, height, width = inspection.look(item.hr)
            files[split][item.hr] = mark
            if item.side and min(height, width) < item.side:
                raise UserError(
                    f"{item.hr}: found {width} x {height} pixels; windows of {item.side} x {item.side} need more"
                )
            height, width = item.window(height, width)[2:]
            digest.add(split, item, mark)
            needed = patch if split == "train" else SMALLEST_MEASURED
            if min(height, width) // data.scale * data.scale < needed:
                purpose = f"cut patches of {patch} pixels" if split == "train" else "measure SSIM"
                raise UserError(
                    f"{item.hr}: found {width} x {height} pixels; to {purpose}, {needed} x {needed} are needed"
                )
            if item.lr is not None:
                mark, *size = inspection.look(item.lr)
                digest.add_partner(mark)
                check_partner(item, size, (height, width), data.scale)
    inspection.close()
    leaks.check_files(files, data.name)
    return str(digest)


class DatasetDigest:
    """A digest of all that the arrays of a data set depend on: settings, names of images, and contents of files.

    Images are added split by split, in the order in which :func:`multiblock.data.dataset.find` gives them.
    """

    def __init__(self, data: DatasetConfig) -> None:
        settings = f"{data.scale} {data.degradation} {data.max_side} "
        self._digest = hashlib.blake2b(settings.encode(), digest_size=16)

    def add(self, split: str, item: ImagePair, hr: str) -> None:
        """Add an image, with the digest of its HR file."""
        self._digest.update(f"{split} {item.name} {item.side} {hr}".encode())

    def add_partner(self, lr: str) -> None:
        """Add the digest of the LR file of the image that was added last."""
        self._digest.update(lr.encode())

    def __str__(self) -> str:
        return self._digest.hexdigest()


def digests(data: DatasetConfig, inspection: Inspection) -> dict[str, list[str]]:
    """Digests of the HR images of each split, one an image or window."""
    found = inspection.find(data)
    return {split: [inspection.look(item.hr)[0] for item in items] for split, items in found.items()}


def trained(images: Mapping[str, Sequence[str]]) -> list[str]:
    """Those of :func:`digests` that are trained with: of the train and validation splits."""
    return [*images["train"], *images["validation"]]
