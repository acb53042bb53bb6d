"""What a job tells the Snakemake that started it: how far it is, and whether it has said why it ended.

A job keeps one small file up to date in a folder that Snakemake made for this; for jobs on other machines it lies
beside Snakemake's own files, which they share. A job that finds no such folder tells nothing; nothing depends on it.
"""

import hashlib
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from multiblock.files import new_temporary_folder

FOLDER = "MULTIBLOCK_TELLS"
"""Environment variable: the folder."""

_PAUSE = 0.2
"""Seconds between two writes."""


def new_folder(elsewhere: bool) -> Path:
    """A new folder for jobs to tell in.

    Args:
        elsewhere: whether jobs run on other machines.
    """
    shared = Path(".snakemake").resolve()
    if elsewhere:
        shared.mkdir(exist_ok=True)
    return new_temporary_folder(shared if elsewhere else None)


def is_for_a_person(record: logging.LogRecord) -> bool:
    """Whether a line is shown where the terminal has few; all are in the log file.

    That is what went otherwise than asked for: warnings, stops, and what was converted or left out.
    """
    return record.levelno >= logging.WARNING or record.name.endswith(".remarks")


class Tells(logging.Handler):
    """Keeps what the records of a job say of its progress, in their attribute ``progress``, and the lines for a person.

    Args:
        log: the job's log file, by which Snakemake knows it.
    """

    def __init__(self, log: str | Path) -> None:
        super().__init__(logging.DEBUG)
        self._file = _file(Path(os.environ[FOLDER]), log)
        self._known: dict[str, Any] = {}
        self._written = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Note the progress that a record tells of, if it does, and its line if a person should see it."""
        if is_for_a_person(record):
            self._known["said"] = [*self._known.get("said", []), record.getMessage()]
            self._write()
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
