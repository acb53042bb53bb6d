"""What a job tells the Snakemake that started it: how far it is, and whether it has said why it ended.

A job keeps one small file up to date in a folder that Snakemake made for this. A job that finds no such folder, as on
another machine, tells nothing; nothing depends on it.
"""

import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

FOLDER = "MULTIBLOCK_TELLS"
"""Environment variable: the folder."""

_PAUSE = 0.2
"""Seconds between two writes."""


class Tells(logging.Handler):
    """Keeps what the records of a job say of its progress, in their attribute ``progress``.

    Args:
        log: the job's log file, by which Snakemake knows it.
    """

    def __init__(self, log: str | Path) -> None:
        super().__init__(logging.DEBUG)
        self._file = _file(Path(os.environ[FOLDER]), log)
        self._known: dict[str, Any] = {}
        self._written = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Note the progress that a record tells of; others tell of none."""
        if progress := getattr(record, "progress", None):
            self._known |= progress
            if "ended" in progress or time.monotonic() - self._written > _PAUSE:
                self._write()

    def ended(self, how: str) -> None:
        """Note that the job has said itself why it ends: ``error`` or ``stop``."""
        self._known["ended"] = how
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        part = self._file.with_suffix(".part")
        try:
            part.write_text(json.dumps(self._known), encoding="utf-8")
            os.replace(part, self._file)
        except OSError:  # a full disk, or Snakemake is gone: no reason to end
            pass


def listener(log: str | Path) -> Tells | None:
    """What takes the records of the job with that log file; None where nobody listens."""
    return Tells(log) if os.environ.get(FOLDER) and Path(os.environ[FOLDER]).is_dir() else None


def read(folder: Path, log: str) -> dict[str, Any]:
    """What the job with that log file has told; nothing yet where there is nothing."""
    try:
        told = json.loads(_file(folder, log).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def forget(folder: Path, log: str) -> None:
    """Take away what an earlier job with that log file has told."""
    _file(folder, log).unlink(missing_ok=True)


def _file(folder: Path, log: str | Path) -> Path:
    return folder / f"{hashlib.blake2b(str(log).encode(), digest_size=8).hexdigest()}.json"
