"""What is to be said of image files, gathered: one line a kind of remark, however many files it holds for."""

import logging
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

Remark = Callable[[int, str, Path], None]
"""Takes the level of a remark (as :mod:`logging` counts), what is said, and the file that it is said of."""


def at_once(level: int, what: str, file: Path) -> None:
    """Say it of this file alone."""
    log.log(level, "%s%s: %s", _WORDS.get(level, ""), file, what)


class Remarks:
    """Remarks to be said together, as ``photos/a.jpg and 199 more: what``."""

    def __init__(self) -> None:
        self._files: dict[tuple[int, str], dict[Path, None]] = {}

    def __call__(self, level: int, what: str, file: Path) -> None:
        """Keep a remark; the same one of the same file counts once."""
        self._files.setdefault((level, what), {})[file] = None

    def lines(self) -> list[tuple[int, str]]:
        """All remarks with their levels, warnings first."""
        kinds = sorted(self._files.items(), key=lambda kind: -kind[0][0])
        return [(level, f"{_WORDS.get(level, '')}{_counted(list(files))}: {what}") for (level, what), files in kinds]

    def say(self) -> None:
        """Log all remarks, and forget them."""
        for level, line in self.lines():
            log.log(level, "%s", line)
        self._files.clear()


_WORDS = {logging.WARNING: "warning: "}


def _counted(files: list[Path]) -> str:
    return f"{files[0]} and {len(files) - 1} more" if len(files) > 1 else str(files[0])
