"""Look at the pictures of a user for the first time: which can be read, what they are, and what is to be left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from multiblock.data import images, leaks, pairing
from multiblock.data.arrangement import Folders
from multiblock.data.dataset import SMALLEST_MEASURED, visible
from multiblock.data.inspection import Inspection
from multiblock.data.names import check_name, key, order
from multiblock.data.pair_checks import PairCheck, pair_checks
from multiblock.data.remarks import Remarks
from multiblock.data.walk import Progress
from multiblock.errors import UserError, one_line

_EXIF_ORIENTATION = 0x0112
_TURNED = range(2, 9)


@dataclass(kw_only=True)
class Surveyed:
    """What was found in the folders of one split.

    Args:
        files: HR files by name without ending, in order; without those that are left out.
        partners: LR files by HR file; none where there is no LR.
        sizes: height and width of HR files as they were read.
        lr_name: how LR files are called.
        scale: how many times LR is smaller; None where there is no LR.
        looks: at the HR images that could be read.
        checks: measurements of pairs.
    """

    files: dict[str, Path]
    partners: dict[Path, Path] = field(default_factory=dict)
    sizes: dict[Path, pairing.Size] = field(default_factory=dict)
    lr_name: str = pairing.PLAIN
    scale: int | None = None
    looks: list[leaks.Look] = field(default_factory=list)
    checks: dict[Path, PairCheck] = field(default_factory=dict)


class Survey:
    """Looks at folders one after another.

    ``skip`` holds the names of files to leave out with the reason for each; ``remarks`` what is converted when files
    are read; ``turned`` how many a camera noted an orientation in.

    Args:
        inspection: knows sizes and digests of files.
    """

    def __init__(self, inspection: Inspection) -> None:
        self.skip: dict[str, str] = {}
        self.remarks = Remarks()
        self.turned = 0
        self._inspection = inspection

    def of(self, folders: Folders, scale: int | None) -> Surveyed:
        """Look at the folders of a split, by headers and then by reading all.

        Args:
            scale: the one that is wanted; None to find it from sizes.

        Raises:
            UserError: nothing is left, names do not pair, or sizes fit no scale.
        """
        found = Surveyed(files=self._listing(folders.hr))
        if folders.lr is not None:
            self._pair(found, folders.lr, scale)
        factor = found.scale or scale or 1
        least = -(-SMALLEST_MEASURED // factor) * factor  # which is no less than the default recipe's patch
        for name, file in list(found.files.items()):
            if min(self.size(file)) < least:
                height, width = self.size(file)
                self._leave_out(found, name, f"{width} x {height} pixels; {least} x {least} are needed")
        self._read(found)
        if not found.files:
            why = "; ".join(f"{name}: {reason}" for name, reason in list(self.skip.items())[:3])
            raise UserError(f"{folders.hr[0]}: holds no image that can be used: {why}")
        return found

    def _listing(self, folders: Sequence[Path]) -> dict[str, Path]:
        """The images of folders by name; of two of one name in a folder the larger, or that of the plainer ending."""
        listing: dict[str, Path] = {}
        for folder in folders:
            files = [file for file in visible(folder) if file.suffix.lower() in images.SUFFIXES]
            for file in sorted(files, key=order):
                check_name(file)
                if not self._header(file):
                    continue
                same = listing.get(key(file.stem))
                if same and same.parent != file.parent:
                    raise UserError(
                        f"{file}: has the same name as {same}; images are known by their names; rename one of the two, "
                        "or give one folder"
                    )
                if same:
                    file, same = sorted((file, same), key=self._worth)[::-1]
                    self.skip[same.name] = f"{file.name} has the same name"
                listing[key(file.stem)] = file
        return {file.stem: file for file in sorted(listing.values(), key=order)}

    def _worth(self, file: Path) -> tuple[int, int]:
        """What tells two files of one name apart: pixels, then how plain the format is."""
        height, width = self.size(file)
        return height * width, -images.SUFFIXES.index(file.suffix.lower())

    def _header(self, file: Path) -> bool:
        """Whether the header of a file can be read."""
        try:
            self._inspection.look(file)
        except UserError as error:
            self.skip[file.name] = _reason(error, file)
            return False
        return True

    def size(self, file: Path) -> pairing.Size:
        """Height and width of an image, as they will be read."""
        return self._inspection.look(file)[1:]

    def _pair(self, found: Surveyed, folder: Path, wanted: int | None) -> None:
        """Find the partners, and the scale that fits most of them; what does not fit is left out."""
        low = self._listing([folder])
        if not low or not found.files:
            raise UserError(f"{folder if found.files else 'HR'}: holds no image that can be read")
        found.lr_name = pairing.lr_name(list(found.files), list(low))
        partners = {name: low.pop(found.lr_name.format(name=name), None) for name in found.files}
        for name in low:
            self.skip[name] = "LR without HR"
        for name, partner in partners.items():
            if partner is None:
                self._leave_out(found, name, f"HR without LR, as no {found.lr_name.format(name=name)} is in {folder}")
            else:
                found.partners[found.files[name]] = partner
        sizes = {file: (self.size(partner), self.size(file)) for file, partner in found.partners.items()}
        found.scale = pairing.common_scale(sizes, wanted)
        for file, pair in sizes.items():
            if pairing.scale_that_fits(*pair) != found.scale:
                self._leave_out(found, file.stem, pairing.misfit(file, *pair, found.scale).partition(": ")[2])

    def _leave_out(self, found: Surveyed, name: str, reason: str) -> None:
        """Leave an image out, with its partner."""
        file = found.files.pop(name)
        partner = found.partners.pop(file, None)
        self.skip[name if partner else file.name] = reason
        if partner and partner.stem != name:
            self.skip[partner.stem] = f"LR of {name}"

    def _read(self, found: Surveyed) -> None:
        """Read all pixels: what is broken shows only then."""
        with Progress(len(found.files), "pictures looked at") as counter:
            for name, file in list(found.files.items()):
                counter.step()
                try:
                    pixels = images.read(file, self.remarks)
                    turned = _is_turned(file)
                    partner = found.partners.get(file)
                    low = images.read(partner, self.remarks) if partner else None
                except UserError as error:
                    self._leave_out(found, name, _reason(error, file))
                    continue
                look = leaks.look(file, pixels)
                if low is not None:
                    assert found.scale
                    height, width = (side * found.scale for side in low.shape[:2])
                    check = pair_checks(low, pixels[:height, :width])
                    if check.verdict == "wrong":
                        self._leave_out(found, name, "; ".join(check.reasons))
                        continue
                    found.checks[file] = check
                self.turned += turned
                found.looks.append(look)
                found.sizes[file] = pixels.shape[0], pixels.shape[1]


def _is_turned(file: Path) -> bool:
    """Whether a camera noted that it was held otherwise."""
    with images.opened(file) as image:
        return image.getexif().get(_EXIF_ORIENTATION) in _TURNED


def _reason(error: UserError, file: Path) -> str:
    return one_line(error).removeprefix(f"{file}: ")


def same_in_both(train: Surveyed, test: Surveyed) -> Mapping[Path, Path]:
    """Training images that have the pixels of a test image, with that one."""
    known = {look.digest: look.file for look in test.looks}
    return {look.file: known[look.digest] for look in train.looks if look.digest in known}
