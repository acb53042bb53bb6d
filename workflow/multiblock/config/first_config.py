"""A first config for pictures that nobody has looked at yet: what is found in their folders, and the text that says it.

The text is about a dozen lines, each with the reason for what it says.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml

from multiblock.config.plans import about_file
from multiblock.config.reading import block, flow
from multiblock.config.study import load
from multiblock.data.arrangement import Folders, arrange
from multiblock.data.dataset import is_named, left_out
from multiblock.data.imageset import SPLITS
from multiblock.data.inspection import Inspection, inspect
from multiblock.data.leaks import groups
from multiblock.data.survey import Survey, Surveyed, about, about_reading, divide, pictures, same_in_both
from multiblock.errors import UserError, listed, printable
from multiblock.files import Digests
from multiblock.plan import clamps

DEFAULT_SCALE = 2
"""How many times as small LR is made where only HR is given, unless a user says."""
ENOUGH = 10
"""Pictures below which a line says that they are few."""
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
    """What a user gives: the name of the data set, its folders, the scale where it is known, the seed of the split,
    whether LR is made as cameras do, and the file of a network that is to be tuned."""

    name: str
    hr: Sequence[Path]
    lr: Path | None = None
    scale: int | None = None
    seed: int = 1
    camera: bool = False
    published: Path | None = None


@dataclass(kw_only=True)
class Beginning:
    """A config and what led to it.

    Args:
        text: what the file holds.
        lines: what was found, for people.
    """

    text: str
    lines: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Split:
    """The images of a split.

    Args:
        count: how many they are.
        only: the files that it takes of its folders; None for all.
        without: splits whose images it leaves out.
        crops: how many windows of each image, and their side; None for whole images.
    """

    folders: Folders
    lr_name: str
    count: int
    only: Sequence[Path] | None = None
    without: Sequence[str] = ()
    crops: tuple[int, int] | None = None


_OF_BICUBIC = (
    "a network that learns from LR made by bicubic enlarges clean, sharp pictures, as those that were shrunk before",
    "blur and noise of a phone or camera it has never seen; for those --camera makes LR with both, or, better, give it "
    "pairs: multiblock align makes them of photographs with two lenses",
)
_OF_CAMERA = (
    "a network that learns from LR with blur, noise and JPEG, drawn at random, takes them away from pictures of phones",
    "of clean, sharp pictures it makes less than one that learns from bicubic; pairs of your own camera are better yet",
)


_SHARP = {"blur": [0.2, 1.5], "noise": [1, 12], "second": 0.3}
"""Ranges of the degradation ``camera`` that bring more than bicubic on pairs of a sharp camera: studies/camera.yaml."""


def begin(asked: Asked) -> Beginning:
    """Look at the folders, and write the config that goes with them; it loads, and its images pass the first check.

    No picture is changed, moved or copied.

    Raises:
        UserError: there is nothing to train on, too little to split, what was found does not go together, or the file
            of a network cannot be read as one.
    """
    if asked.published:
        asked = replace(asked, scale=_scale_of(asked.published, asked.scale))
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
    splits, more = _split(found, arrangement.splits, asked.seed)
    lines += [*more, *_windows(splits["train"], found["train"])]
    lines += [f"left out: {name}: {reason}" for name, reason in survey.skip.items()]
    if arrangement.splits["train"].lr is None:
        lines += _OF_CAMERA if asked.camera else _OF_BICUBIC
    if asked.published:
        lines.append(f"{asked.published}: is measured as it is, then tuned; multiblock plan --minutes 5 sizes it")
    inspection.close()
    text = "\n".join(_text(asked, scale, splits, survey.skip)) + "\n"
    return Beginning(text=text, lines=[*lines, *_checked(text, inspection)])


def _scale_of(file: Path, asked: int | None) -> int | None:
    """The scale of the data for the network in a file: what it was trained for, and any where that is not known."""
    known = about_file(file, asked or 1)
    enlarges = known.about.scale or known.blocks[0].scale
    if enlarges > 1 and asked not in (None, enlarges):
        raise UserError(f"--scale: found {asked}; allowed is {enlarges}, by which the network in {file} enlarges")
    return enlarges if enlarges > 1 else asked


def _check_scale(asked: Asked, folders: Mapping[str, Folders]) -> None:
    if asked.scale == 1 and folders["train"].lr is None:
        raise UserError("--scale: found 1, but there is no LR; allowed are 2, 3, 4 to make LR from HR")
    if asked.camera and folders["train"].lr is not None:
        raise UserError(f"--camera: found with LR in {folders['train'].lr}; allowed is it where LR is made from HR")


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
    """Which images each split takes, and lines on it; splits that have no folder take theirs from train's."""
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
        yield from (line for line in left_out(data) if "by skip" not in line)  # which is in the lines file by file


# -- The text ---------------------------------------------------------------------------------------------------

_TUNING = """\
blocks:
  # Network, options and the weights to start from are those of the file.
{blocks}
  small: {{network: mcan, channels: 16, residual_blocks: 2}}
recipes:
  as_it_is: [{{iterations: 0{clamp}}}]
  # A rate of 1.0e-4 leaves more of what the network knew, and gains less in so short a time.
  tune:
    - {{iterations: 600, lr: 1.0e-3, batch: 8, patch: 24, clamp: none, clip: 0.1, warmup: 40,
       schedule: {{kind: cosine, to: 1.0e-6}}}}
  behind:
    - {{iterations: 2500, lr: 2.0e-3, batch: 8, patch: 48, clamp: none, clip: 0.02, warmup: 100,
       schedule: {{kind: cosine, to: 1.0e-5}}}}
runs:
  {name}:
    chain: [{chain}]
    plan:
      - {{span: {all}, stages: as_it_is}}  # measured as it is published, to compare with
      - {{span: {all}, stages: tune}}
  # A small block behind the published network, for one that cannot be tuned or is not to be: phase 2 learns from what
  # it makes, kept as LR_{count}. Phase 3, all of it together, is the plan in between; without it, it stays as it is.
  # behind:
  #   chain: [{chain}, small]
  #   plan:
  #     - {{span: {all}, stages: as_it_is}}
  #     - {{span: {behind}, start: orthogonal_zeroed, stages: behind}}
  #     - {{span: 1-{behind}, stages: tune}}"""
"""The rest of a config that goes on from a published network."""

_WIDTH = 110
_REASONS = 4
"""Files whose reason for being left out is in the config."""


def _text(asked: Asked, scale: int, splits: Mapping[str, Split], skip: Mapping[str, str]) -> Iterator[str]:
    """The lines of the config, which loads as it is."""
    pairs = splits["train"].folders.lr is not None
    yield f"# {asked.name}: written by `multiblock init`; change what you like. All keys: docs/config.md."
    if not asked.published:
        yield "# What is left out has its default: three small blocks, trained in four phases, as in config.yaml."
    yield f"study: {flow(asked.name)}"
    yield "data:"
    yield f"  name: {flow(asked.name)}"
    made = "as cameras make it" if asked.camera else "by MATLAB's bicubic"
    why = "found from the sizes of LR and HR" if pairs else f"LR is made from HR {made}"
    yield f"  scale: {scale}  # {'LR and HR are of equal size' if scale == 1 else why}"
    if asked.camera:
        yield "  degradation: camera  # blur, noise and JPEG, drawn anew for each patch: docs/own-data.md"
        yield "  # Ranges of a sharp camera by day; without this line, the literature's, which are much stronger."
        yield f"  camera: {flow(_SHARP)}"
    if skip:
        yield "  # Left out:"
        yield from (_line(printable(f"  #   {name}: {reason}")) for name, reason in list(skip.items())[:_REASONS])
        if (more := len(skip) - _REASONS) > 0:
            yield f"  #   and {more} more"
        yield from _mapping("skip", list(skip))
    train, validation, test = (splits[split] for split in ("train", "validation", "test"))
    also = ", and each that is added to the folder" if train.without else ""
    yield f"  # To train on: {_count(train.count, pairs)}{also}."
    yield from _mapping("train", _keys(train))
    drawn = f", drawn with seed {asked.seed}"
    yield f"  # Looked at while training: {_count(validation.count, pairs)}{drawn if validation.only else ''}."
    yield from _mapping("validation", _keys(validation))
    yield f"  # Measured at the end, never trained on: {_count(test.count, pairs)}{drawn if test.only else ''}."
    yield from _mapping("test", _keys(test))
    if asked.published:
        yield _tuning(asked.name, asked.published, scale)


def _tuning(name: str, file: Path, scale: int) -> str:
    """The rest of a config that goes on from the network in a file, block by block."""
    known = about_file(file, scale)
    numbers, clamp = known.numbers, _clamp(known.clamped)
    count, path = len(numbers), _path(file)
    places = {f"published{k}": f"{path}#{k}" for k in numbers} if count > 1 else {"published": path}
    return _TUNING.format(
        name=flow(name),
        blocks="\n".join(f"  {block}: {{file: {flow(place)}}}" for block, place in places.items()),
        chain=", ".join(places),
        all=f"1-{count}" if count > 1 else "1",
        count=count,
        clamp="" if clamp == "all" else f", clamp: {clamp}",
        behind=count + 1,
    )


def _clamp(clamped: Sequence[bool]) -> str:
    """What a stage calls it where these blocks of a chain end in a cut to [0, 1].

    Raises:
        UserError: some blocks do that no stage cuts alone.
    """
    word = next((one for one in ("all", "last", "none") if clamps(one, len(clamped)) == [*clamped]), None)
    if word is None:
        cut = listed("cut" if one else "not cut" for one in clamped)
        raise UserError(
            f"--from: found a network whose blocks are {cut} to [0, 1]; allowed are all, none, or the last alone, as a "
            "stage has it"
        )
    return word


def _count(count: int, pairs: bool) -> str:
    return f"{count} {'pair' if pairs else 'picture'}{'' if count == 1 else 's'}"


def _line(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 4].rstrip()} ..."


def _keys(split: Split) -> dict[str, Any]:
    hr = [_path(folder) for folder in split.folders.hr]
    keys: dict[str, Any] = {"hr": hr[0] if len(hr) == 1 else hr}
    if split.folders.lr is not None:
        keys["lr"] = _path(split.folders.lr)
        if split.lr_name != "{name}":
            keys["lr_name"] = split.lr_name
    if split.without:
        keys["without"] = list(split.without)
    if split.crops:
        keys["crops"], keys["crop_side"] = split.crops
    if split.only is not None:
        keys["only"] = [_name(file) for file in sorted(split.only)]
    return keys


def _path(folder: Path) -> str:
    """A folder as the config names it: from the project on where it is inside, else in full."""
    full = os.path.abspath(folder)
    inside = os.path.relpath(full)
    return inside if Path("Snakefile").is_file() and not inside.startswith("..") else full


def _name(file: Path) -> str:
    """A file without its ending, but where that is a number to those who read configs, as 12e5."""
    return file.name if re.fullmatch(r"\d+[eE]\d+", file.stem) else file.stem


def _mapping(name: str, value: Any) -> list[str]:
    """A key of the data with its value, in one line where it fits."""
    one = f"  {name}: {flow(value)}"
    return [one] if len(one) <= _WIDTH else indent(block({name: value}, _WIDTH), "  ").splitlines()
