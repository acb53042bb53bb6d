"""Names of image files: their order, what two must differ by, and hints where they differ by what is hard to see."""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from multiblock.errors import UserError, nearest

LONGEST_NAME = 240
"""Bytes of a name without ending: what is made of an image is named after it, with a little more, in at most 255."""


def order(file: Path) -> tuple[list[int | str], str]:
    """Numbers count as numbers; names of equal numbers, as 1 and 01, have an order too."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", file.name)], file.name


def check_name(file: Path) -> None:
    """What is made of an image is named after it, in CSV files too."""
    if file.name.isascii() and file.name.isprintable() and len(file.name) <= LONGEST_NAME:  # nearly all, quickly
        return
    # Control characters, surrogates (bytes that are no UTF-8), line and paragraph separators.
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in file.name):
        raise UserError(f"{file}: has a name with control characters, or one that is no UTF-8; rename it")
    if (length := len(os.fsencode(file.stem))) > LONGEST_NAME:
        raise UserError(f"{file}: has a name of {length} bytes without its ending; allowed are {LONGEST_NAME}")


def alike(name: str, names: Iterable[str]) -> str:
    """A hint at the one of ``names`` that was probably meant, with what sets it apart where that is hard to see."""
    names = list(names)
    for other in names:
        if _composed(name) == _composed(other):
            return f"; '{other}' there is written with its accents {_form(other)}, here {_form(name)}"
    for other in names:
        if key(name) == key(other):
            return f"; '{other}' there differs in capitals"
    return nearest(name, names)


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _form(name: str) -> str:
    """How the accents of a name are written, which no terminal shows: as macOS does, or as most others do."""
    return "composed (NFC)" if name == _composed(name) else "as letters of their own (NFD)"


def key(name: str) -> str:
    """What names have in common that some disk takes for the same."""
    return name.lower() if name.isascii() else _composed(_composed(name).casefold())
