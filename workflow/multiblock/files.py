"""Write files so that a final name never stands for half a file, and never for two writers' work."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from multiblock.errors import UserError


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A temporary path to write to, in the same folder and with the same ending; ``file`` once the block ends well.

    What was written is flushed to the disk, then renamed in one step. Where the block fails, or the process is
    killed, ``file`` stays as it was; what a killed process left is overwritten the next time.

    Raises:
        UserError: another process is writing the same file.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with claim(part_of(file), file, "writing it"), removed_on_failure(file) as part:
        yield part
        settle(part, file)


def part_of(file: Path) -> Path:
    """Where a file is until it is whole."""
    return file.with_name(f".part-{file.name}")


@contextmanager
def removed_on_failure(file: Path) -> Iterator[Path]:
    """The temporary path of ``file``, which is removed where the block fails; errors of the disk name ``file``."""
    part = part_of(file)
    try:
        yield part
    except BaseException as error:
        part.unlink(missing_ok=True)
        disk = error.__context__ if isinstance(error, RuntimeError) else error  # PyTorch's error covers the disk's
        if isinstance(disk, OSError) and disk.errno and not disk.filename:
            raise OSError(disk.errno, disk.strerror, str(file)) from error
        raise


def claim(file: Path, what: Path, doing: str) -> TextIO:
    """Hold ``file``, made if it is not there, for this process; what it holds names the process.

    The claim ends when the returned file is closed or the process ends, however it ends.

    Raises:
        UserError: another process holds it; the message says that it is ``doing`` something to ``what``.
    """
    opened = file.open("a+")
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        opened.seek(0)
        raise UserError(f"{what}: process {opened.read(20)} is {doing} already; wait for it, or end it") from None
    opened.truncate(0)
    opened.write(str(os.getpid()))
    opened.flush()
    return opened


def settle(part: Path, file: Path) -> None:
    """Flush ``part`` to the disk, then make it ``file`` in one step."""
    _flush(part)
    part.replace(file)
    _flush(file.parent)


def digest_of(file: Path) -> str:
    """A digest of what a file holds, read piece by piece."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write_text(file: Path, text: str) -> None:
    """Write a text file whole."""
    with whole(file) as part:
        part.write_text(text, encoding="utf-8")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
