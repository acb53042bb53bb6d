"""Look at the pictures of a user for the first time, describe them, and divide them into splits.

The look finds which pictures can be read, what they are, and what is to be left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from multiblock.data import arrangement, images, leaks
from multiblock.data.arrangement import Folders
from multiblock.data.dataset import SMALLEST_MEASURED, check_name, key, order, visible
from multiblock.data.images import Remarks
from multiblock.data.inspection import Inspection
from multiblock.data.pair_checks import PairCheck, of_all, pair_checks
from multiblock.data.walk import Progress
from multiblock.errors import UserError, one_line
from multiblock.files import digest_of_bytes


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
    sizes: dict[Path, arrangement.Size] = field(default_factory=dict)
    lr_name: str = arrangement.PLAIN
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

    def size(self, file: Path) -> arrangement.Size:
        """Height and width of an image, as they will be read."""
        return self._inspection.look(file)[1:]

    def _pair(self, found: Surveyed, folder: Path, wanted: int | None) -> None:
        """Find the partners, and the scale that fits most of them; what does not fit is left out."""
        low = self._listing([folder])
        if not low or not found.files:
            raise UserError(f"{folder if found.files else 'HR'}: holds no image that can be read")
        found.lr_name = arrangement.lr_name(list(found.files), list(low))
        partners = {name: low.pop(found.lr_name.format(name=name), None) for name in found.files}
        for name in low:
            self.skip[name] = "LR without HR"
        for name, partner in partners.items():
            if partner is None:
                self._leave_out(found, name, f"HR without LR, as no {found.lr_name.format(name=name)} is in {folder}")
            else:
                found.partners[found.files[name]] = partner
        sizes = {file: (self.size(partner), self.size(file)) for file, partner in found.partners.items()}
        found.scale = arrangement.common_scale(sizes, wanted)
        for file, pair in sizes.items():
            if arrangement.scale_that_fits(*pair) != found.scale:
                self._leave_out(found, file.stem, arrangement.misfit(file, *pair, found.scale).partition(": ")[2])

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
                    turned = images.is_turned(file)
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


def _reason(error: UserError, file: Path) -> str:
    return one_line(error).removeprefix(f"{file}: ")


def same_in_both(train: Surveyed, test: Surveyed) -> Mapping[Path, Path]:
    """Training images that have the pixels of a test image, with that one."""
    known = {look.digest: look.file for look in test.looks}
    return {look.file: known[look.digest] for look in train.looks if look.digest in known}


# -- In words ----------------------------------------------------------------------------------------------------------


def about(found: Surveyed, folders: Folders, scale: int) -> Iterator[str]:
    """What the folders of a split hold, and how LR is displaced against HR."""
    sizes = sorted(found.sizes.values(), key=lambda size: size[0] * size[1])
    shown = " to ".join(f"{width} x {height}" for height, width in dict.fromkeys((sizes[0], sizes[-1])))
    where = ", ".join(map(str, folders.hr))
    if folders.lr is None:
        yield f"{where}: {pictures(len(found.files))}, {shown} pixels; LR is made from them at scale {scale}"
        return
    size = "of equal size" if scale == 1 else f"LR {scale} times as small"
    yield f"{where} and {folders.lr}: {len(found.files)} pairs, HR {shown} pixels, {size}"
    if found.lr_name != "{name}":
        yield f"LR files are called {found.lr_name}, where {{name}} is the HR file's name"
    yield from _about_pairs(list(found.checks.values()))


def pictures(count: int) -> str:
    """``1 picture``, ``2 pictures``."""
    return "1 picture" if count == 1 else f"{count} pictures"


def _about_pairs(checks: Sequence[PairCheck]) -> Iterator[str]:
    """How LR is displaced against HR."""
    shifts = [max(abs(check.down), abs(check.right)) for check in checks if check.down == check.down]
    correlations = [check.correlation for check in checks if check.correlation == check.correlation]
    if shifts:
        yield (
            f"pairs measured: correlation {min(correlations):.2f} to {max(correlations):.2f}, "
            f"shifted by up to {max(shifts):.1f} pixels"
        )
    doubtful = [check for check in checks if check.verdict == "doubtful"]
    if doubtful:
        yield f"{len(doubtful)} of {len(checks)} pairs are doubtful, as: {'; '.join(doubtful[0].reasons)}"
        if any(
            "shifted" in reason or "turned" in reason or "times as large" in reason for reason in doubtful[0].reasons
        ):
            yield "`multiblock align` brings pairs that are displaced onto one grid"
    yield from of_all(checks)


def about_reading(survey: Survey) -> Iterator[str]:
    """What is converted when files are read, and what is left out for its ending."""
    if survey.turned:
        yield f"{pictures(survey.turned)} to be turned as the camera noted (EXIF)"
    for _, line in survey.remarks.lines():
        yield line


# -- Division ----------------------------------------------------------------------------------------------------------

_SHARE = 10
"""One of so many pictures is for the test, and one for validation."""
_MOST = {"test": 50, "validation": 10}
"""Counts beyond which more images tell little more, and measuring them takes long."""


def wanted(split: str, count: int) -> int:
    """How many of ``count`` pictures a split should have, ``test`` or ``validation``."""
    return min(_MOST[split], max(1, round(count / _SHARE)))


def divide(together: Sequence[Sequence[leaks.Look]], seed: int, splits: Sequence[str]) -> dict[str, list[Path]]:
    """The files of each of ``splits``; all others are to train on.

    The order in which pictures are drawn follows from the seed and from each one's own name. What is one picture in
    several sizes or encodings stays together; such pictures are drawn last, as they would count several times.

    Args:
        together: looks at the pictures, those at one picture in one list: see :func:`multiblock.data.leaks.groups`.

    Raises:
        ValueError: there are too few different pictures for that many splits.
    """
    count = sum(map(len, together))
    if len(together) <= len(splits):
        raise ValueError(f"{len(together)} different pictures for {len(splits)} splits beside train")
    drawn = sorted(together, key=lambda group: (len(group) > 1, _draw(seed, min(look.file.name for look in group))))
    found: dict[str, list[Path]] = {split: [] for split in splits}
    for left, split in enumerate(reversed(splits), 1):
        needed = len(splits) - left + 1  # groups that the splits after this one, and train, still need
        while len(found[split]) < wanted(split, count) and len(drawn) > needed:
            found[split] += [look.file for look in drawn.pop(0)]
    return found


def _draw(seed: int, name: str) -> str:
    return digest_of_bytes(f"{seed} {name}".encode(), 8)
