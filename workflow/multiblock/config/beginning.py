"""A first config for pictures that nobody has looked at yet: what is found in their folders decides what it says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from multiblock.config.first_config import Split, Written, text_of
from multiblock.config.study import load
from multiblock.data.arrangement import Folders, arrange
from multiblock.data.dataset import is_named, left_out
from multiblock.data.imageset import SPLITS
from multiblock.data.inspection import Inspection, inspect
from multiblock.data.leaks import groups
from multiblock.data.survey import Survey, Surveyed, about, about_reading, divide, pictures, same_in_both
from multiblock.errors import UserError
from multiblock.files import Digests

DEFAULT_SCALE = 2
"""How many times as small LR is made where only HR is given, unless a user says."""
ENOUGH = 10
"""Pictures below which it is said that they are few."""
LARGE = 2**29
"""HR pixels of images to train on, beyond which windows of them are taken where LR is made."""
_ARRAYS = 12
"""Bytes of all arrays for each HR pixel, about: HR, LR at its size, and the sets that two phases make."""
_WINDOWS = 2**28
"""HR pixels of all windows together, about."""
_SIDES, _MOST = (512, 256), 16
"""Sides of windows, and the most of one photograph."""
_PURPOSE = {"train": "to train on", "validation": "to look at while training", "test": "to test on"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a user says: the name of the data set, its folders, and, if at all, the scale; the seed of the split."""

    name: str
    hr: Sequence[Path]
    lr: Path | None = None
    scale: int | None = None
    seed: int = 1


@dataclass(kw_only=True)
class Beginning:
    """A config and what led to it.

    Args:
        text: of the file.
        lines: what was found, for people.
    """

    text: str
    lines: list[str] = field(default_factory=list)


def begin(asked: Asked) -> Beginning:
    """Look at the folders, and write the config that goes with them; it loads, and its images pass the first check.

    No picture is changed, moved or copied.

    Raises:
        UserError: there is nothing to train on, too little to split, or what was found does not go together.
    """
    inspection = Inspection(Digests(Path("/dev/null")))
    arrangement = arrange(asked.hr, asked.lr)
    _check_scale(asked, arrangement.splits)
    survey = Survey(inspection)
    found, scale = _look(asked, arrangement.splits, survey)
    lines = [line for split in found for line in about(found[split], arrangement.splits[split], scale)]
    for folder in arrangement.beside:
        lines.append(f"{folder}: holds images too, which are not read; give it to --hr beside the other to take both")
    lines += about_reading(survey)
    if "test" in found:
        lines += _leave_out_tested(found, survey)
    _check_skip(found, survey.skip)
    splits, said = _split(found, arrangement.splits, asked.seed)
    lines += [*said, *_windows(splits["train"], found["train"])]
    lines += [f"left out: {name}: {reason}" for name, reason in survey.skip.items()]
    written = Written(name=asked.name, scale=scale, seed=asked.seed, splits=splits, skip=survey.skip)
    inspection.close()
    text = text_of(written)
    return Beginning(text=text, lines=[*lines, *_checked(text, inspection)])


def _check_scale(asked: Asked, folders: Mapping[str, Folders]) -> None:
    if asked.scale == 1 and folders["train"].lr is None:
        raise UserError("--scale: found 1, but there is no LR; allowed are 2, 3, 4 to make LR from HR")


def _look(asked: Asked, splits: Mapping[str, Folders], survey: Survey) -> tuple[dict[str, Surveyed], int]:
    """What is in the folders of each split, and the scale of all."""
    scale, found = asked.scale, {}
    for split in (split for split in SPLITS if split in splits):
        found[split] = survey.of(splits[split], scale or (None if splits[split].lr else DEFAULT_SCALE))
        scale = found[split].scale or scale
    return found, scale or DEFAULT_SCALE


def _check_skip(found: Mapping[str, Surveyed], skip: Mapping[str, str]) -> None:
    """Files are left out by name, which must not take away one of the same name that is of use."""
    for split in found.values():
        for file in (*split.files.values(), *split.partners.values()):
            if is_named(file, skip):
                reason = skip.get(file.name) or skip[file.stem]
                raise UserError(
                    f"{file}: has the name of a file elsewhere that has to be left out ({reason}), and files are left "
                    "out by name; rename one of the two, or move that one away"
                )


def _leave_out_tested(found: dict[str, Surveyed], survey: Survey) -> Iterator[str]:
    """Training images that are test images too are left out: they would make the test worthless."""
    for file, other in same_in_both(found["train"], found["test"]).items():
        del found["train"].files[file.stem]
        found["train"].partners.pop(file, None)
        survey.skip[file.name] = f"has the pixels of {other}, a test image"
        yield f"{file}: is {other}, a test image; it is not trained on"
    found["train"].looks = [look for look in found["train"].looks if look.file.stem in found["train"].files]


def _split(
    found: Mapping[str, Surveyed], folders: Mapping[str, Folders], seed: int
) -> tuple[dict[str, Split], list[str]]:
    """Which images each split takes, and what is said of it; splits that have no folder take theirs from train's."""
    looks, missing = found["train"].looks, [split for split in SPLITS if split not in found]
    together = groups(looks)
    if len(together) <= len(missing):
        raise UserError(
            f"{folders['train'].hr[0]}: found {pictures(len(together))} that can be used and differ; at least "
            f"{len(missing) + 1} are needed: one to train on, {' and '.join(_PURPOSE[split] for split in missing)}; "
            f"some {ENOUGH} make a training that says something"
        )
    drawn = divide(together, seed, missing)
    lines = [
        f"one picture in several sizes or encodings, kept in one split: {', '.join(look.file.name for look in group)}"
        for group in together
        if len(group) > 1
    ]
    splits = {}
    for split in SPLITS:
        own = found.get(split, found["train"])
        splits[split] = Split(
            folders=folders.get(split, folders["train"]),
            lr_name=own.lr_name,
            count=len(drawn.get(split, own.files)) - (split == "train") * sum(map(len, drawn.values())),
            only=drawn.get(split),
            without=missing if split == "train" else [],
        )
    counts = ", ".join(f"{splits[split].count} {_PURPOSE[split]}" for split in SPLITS)
    lines.append(f"split{f' with seed {seed}' if missing else ', as the folders say'}: {counts}")
    if len(looks) < ENOUGH:
        lines.append(f"{pictures(len(looks))} are few: what is measured on so few says little of others")
    return splits, lines


def _windows(train: Split, found: Surveyed) -> Iterator[str]:
    """Take windows of large photographs, whose arrays would fill the disk; pairs are taken whole."""
    sizes = list(found.sizes.values())
    pixels = sum(height * width for height, width in sizes)
    if pixels <= LARGE:
        return
    side = next((side for side in _SIDES if side <= min(map(min, sizes))), None)
    if train.folders.lr is not None or side is None:
        yield f"arrays of these images will take about {_ARRAYS * pixels / 2**30:.0f} GiB; `take` in train takes fewer"
        return
    each = max(1, min(_MOST, round(_WINDOWS / (train.count * side**2))))
    train.crops = each, side
    yield (
        f"large pictures: {each} windows of {side} x {side} pixels are taken of each to train on (crops); whole, "
        f"arrays would take about {_ARRAYS * pixels / 2**30:.0f} GiB"
    )


def _checked(text: str, inspection: Inspection) -> Iterator[str]:
    """See that a config loads, and that its images pass what is checked before a training; what it leaves out."""
    study = load(yaml.safe_load(text))
    for name, data in study.data.items():
        inspect(data, inspection, study.largest_patch(name))
        yield from (line for line in left_out(data) if "by skip" not in line)  # which is said file by file
