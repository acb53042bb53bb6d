"""The text of a first config: about a dozen lines, each with why it stands there."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from multiblock.data.arrangement import Folders
from multiblock.errors import printable

_WIDTH = 110

_REASONS = 4
"""Files whose reason for being left out stands in the config."""


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


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a config says; ``skip`` are the files to leave out, each with the reason."""

    name: str
    scale: int
    seed: int
    splits: Mapping[str, Split]
    skip: Mapping[str, str] = field(default_factory=dict)


def text_of(written: Written) -> str:
    """The file, which loads as it stands."""
    return "\n".join(_lines(written)) + "\n"


def _lines(written: Written) -> Iterator[str]:
    pairs, scale, splits = written.splits["train"].folders.lr is not None, written.scale, written.splits
    yield f"# {written.name}: written by `multiblock init`; change what you like. All keys: docs/config.md."
    yield "# What is left out has its default: three small blocks, trained in four phases, as in config.yaml."
    yield f"study: {flow(written.name)}"
    yield "data:"
    yield f"  name: {flow(written.name)}"
    why = "found from the sizes of LR and HR" if pairs else "LR is made from HR by MATLAB's bicubic"
    yield f"  scale: {scale}  # {'LR and HR are of equal size' if scale == 1 else why}"
    if written.skip:
        yield "  # Left out:"
        yield from (
            _line(printable(f"  #   {name}: {reason}")) for name, reason in list(written.skip.items())[:_REASONS]
        )
        if (more := len(written.skip) - _REASONS) > 0:
            yield f"  #   and {more} more"
        yield from _mapping("skip", {"skip": list(written.skip)}, bare=True)
    train, validation, test = (splits[split] for split in ("train", "validation", "test"))
    also = ", and each that is added to the folder" if train.without else ""
    yield f"  # To train on: {_count(train.count, pairs)}{also}."
    yield from _mapping("train", _keys(train))
    drawn = f", drawn with seed {written.seed}"
    yield f"  # Looked at while training: {_count(validation.count, pairs)}{drawn if validation.only else ''}."
    yield from _mapping("validation", _keys(validation))
    yield f"  # Measured at the end, never trained on: {_count(test.count, pairs)}{drawn if test.only else ''}."
    yield from _mapping("test", _keys(test))


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
    """A folder as the config names it: from the project on where it lies in it, else in full."""
    full = os.path.abspath(folder)
    inside = os.path.relpath(full)
    return inside if Path("Snakefile").is_file() and not inside.startswith("..") else full


def _name(file: Path) -> str:
    """A file without its ending, but where that is a number to those who read configs, as 12e5."""
    return file.name if re.fullmatch(r"\d+[eE]\d+", file.stem) else file.stem


def _mapping(name: str, keys: Mapping[str, Any], bare: bool = False) -> Iterator[str]:
    """A key with a mapping, in one line where it fits; ``bare`` for a list alone."""
    one = f"  {name}: {flow(keys[name] if bare else dict(keys))}"
    if len(one) <= _WIDTH:
        yield one
        return
    indent = "    "
    if not bare:
        yield f"  {name}:"
    for key, value in keys.items():
        start = f"  {key}: " if bare else f"{indent}{key}: "
        if not isinstance(value, list) or len(start + flow(value)) <= _WIDTH:
            yield start + flow(value)
            continue
        yield f"{start}["
        yield from _wrapped([flow(item) for item in value], " " * (len(start) - len(start.lstrip()) + 2))
        yield " " * (len(start) - len(start.lstrip())) + "]"


def _wrapped(items: Sequence[str], indent: str) -> Iterator[str]:
    line = indent
    for item in items:
        if len(line) + len(item) + 2 > _WIDTH and line.strip():
            yield line.rstrip()
            line = indent
        line += f"{item}, "
    yield line.rstrip()


def flow(value: Any) -> str:
    """A value as YAML in one line; text is quoted where it has to be, and where it begins like a number."""
    text = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...")


class _Dumper(yaml.SafeDumper):
    """Quotes 009 too, which is text in one version of YAML and a number in another."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if re.match(r"[\d.+-]", text) else None)


_Dumper.add_representer(str, _text)
