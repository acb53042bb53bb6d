"""Write files so that no final name ever belongs to half a file, lock folders, and know files by their content."""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from multiblock.errors import UserError

log = logging.getLogger(__name__)


@contextmanager
def atomic_write(file: Path) -> Iterator[Path]:
    """A temporary path to write to, in the same folder and with the same ending; it becomes ``file`` in the end.

    What was written is flushed to the disk, then renamed in one step. Where the block fails, or the process is
    killed, ``file`` stays as it was; what a killed process left is removed the next time.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    for other in file.parent.glob(_part_name(file, "*")):
        if _is_left(other):
            other.unlink(missing_ok=True)
    with removed_on_failure(file) as part:
        yield part
        settle(part, file)


def part_of(file: Path) -> Path:
    """The path of a file until it is whole; each process has one of its own."""
    return file.with_name(_part_name(file, f"{os.getpid()}@{_machine()}"))


@cache
def _machine() -> str:
    """A short word for this machine, which process numbers belong to."""
    return digest_of_bytes(os.uname().nodename.encode(), 4)


_LONG = 24 * 3600
"""Seconds after which a temporary file of another machine, whose processes cannot be seen here, is left over."""


def _is_left(part: Path) -> bool:
    """Whether the process that wrote a temporary file is gone."""
    process, _, machine = part.name.split("-")[1].partition("@")
    if machine in ("", _machine()):
        return not is_running(process)
    with suppress(OSError):
        return time.time() - part.stat().st_mtime > _LONG
    return False


def _part_name(file: Path, process: object) -> str:
    # A digest, as a name with anything before it may be too long for the disk.
    return f".part-{process}-{digest_of_bytes(os.fsencode(file.name), 6)}{file.suffix}"


def is_running(process: int | str) -> bool:
    """Whether there is a process of that number on this machine."""
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def removed_on_failure(file: Path) -> Iterator[Path]:
    """The temporary path of ``file``, which is removed where the block fails; errors of the disk name ``file``."""
    part = part_of(file)
    try:
        yield part
    except BaseException as error:
        part.unlink(missing_ok=True)
        disk = error.__context__ if isinstance(error, RuntimeError) else error  # PyTorch's error covers the disk's
        if isinstance(disk, OSError) and disk.errno and disk.filename in (None, "", str(part)):
            raise OSError(disk.errno, disk.strerror, str(file)) from error
        raise


def check_writable(file: Path, overwrite: bool = False) -> None:
    """Find out before any work whether a file that a user named can be written: its folder is made.

    Args:
        overwrite: whether a file that is there may be replaced.

    Raises:
        UserError: it is a folder, or is there and may not be replaced.
        OSError: it cannot be written; it names the file.
    """
    if file.is_dir():
        raise UserError(f"{file}: is a folder; allowed is the name of a file")
    if os.path.lexists(file) and not overwrite:
        raise UserError(f"{file}: exists already; name another file, or replace it with --overwrite")
    file.parent.mkdir(parents=True, exist_ok=True)
    with removed_on_failure(file) as part:
        part.touch()
        part.unlink()


_replaces = ContextVar("replaces", default=True)


@contextmanager
def keeping(overwrite: bool) -> Iterator[None]:
    """Within this context a file that is there is replaced only if ``overwrite``, else writing it is a UserError.

    So commands write files that users name: they may appear after :func:`check_writable` has not found them.
    """
    token = _replaces.set(overwrite)
    try:
        yield
    finally:
        _replaces.reset(token)


def settle(part: Path, file: Path) -> None:
    """Flush ``part`` to the disk, then make it ``file`` in one step, readable for all whom the umask lets read.

    Raises:
        UserError: ``file`` is there, and this is within :func:`keeping`.
    """
    _flush(part)
    os.umask(mask := os.umask(0))
    part.chmod(0o666 & ~mask)  # some libraries write for their user alone
    if not _replaces.get():
        _take_name(file, part)
    part.replace(file)
    part.unlink(missing_ok=True)  # two names of one file stay two
    _flush(file.parent)


def _take_name(file: Path, part: Path) -> None:
    """Give ``part`` a second name that no file has; where there are no links, an empty file takes it for now."""
    try:
        with suppress(OSError):
            os.link(part, file)
            return
        file.touch(exist_ok=False)
    except FileExistsError:
        raise UserError(f"{file}: exists already: it has appeared meanwhile, and is left as it is") from None


def _flush(path: Path) -> None:
    """Flush a file or a folder to the disk; not all file systems can flush a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def new_temporary_folder(place: Path | None = None) -> Path:
    """A new folder for what is not kept, which its maker removes; those that killed processes left are removed first.

    Args:
        place: the folder to make it in; the system's for temporary files if none is given.
    """
    for other in Path(place or tempfile.gettempdir()).glob(f"multiblock-*@{_machine()}-*"):
        if _is_left(other):
            shutil.rmtree(other, ignore_errors=True)  # it may be another user's
    return Path(tempfile.mkdtemp(prefix=f"multiblock-{os.getpid()}@{_machine()}-", dir=place))


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder that is removed at the end of the block."""
    folder = new_temporary_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def lock(folder: Path, doing: str, wait: float = 0) -> Iterator[None]:
    """Hold ``folder`` for this process, so that no other does the same there; it ends with the process at the latest.

    Where the file system has no locks, the file ``.lock`` in the folder takes their place, which is logged.

    Args:
        doing: what is done there, as in "training".
        wait: seconds to wait for another process, which may be about to end.

    Raises:
        UserError: another process holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = FileLock(folder / ".lock")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            held.acquire(timeout=wait)
        except Timeout:
            raise UserError(f"{folder}: another process is {doing} there already; wait for it, or end it") from None
    for warning in caught if doing else ():
        log.warning("%s: %s", folder, warning.message)
    try:
        yield
    finally:
        held.release()


def is_held(folder: Path) -> bool:
    """Whether a process, this one too, holds ``folder``; nothing is written where none ever has."""
    try:
        with lock(folder, "") if (folder / ".lock").exists() else nullcontext():
            return False
    except UserError:
        return True
    except OSError:  # where nobody can write, nobody is at work
        return False


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links count as links, and what is not there as none."""
    inside = os.walk(path) if path.is_dir() and not path.is_symlink() else [("", [], [str(path)])]
    total = 0
    for folder, _, names in inside:
        for name in names:
            with suppress(OSError):  # others may be at work there
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def write_text(file: Path, text: str) -> None:
    """Write a text file whole; see :func:`atomic_write`."""
    with atomic_write(file) as part:
        part.write_text(text, encoding="utf-8")


def read_json(file: Path) -> dict[str, Any]:
    """What a JSON file of keys holds; nothing where it cannot be read as one."""
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def in_place_of(file: Path) -> str | None:
    """What a download may leave in place of a file, with what helps; None for anything else."""
    with file.open("rb") as opened:
        begins = opened.read(512)
    if not begins:
        return "empty"
    if begins.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS; `git lfs pull` gets the file itself"
    if begins.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        return "a web page; the address of the file itself is another"
    return None


def digest_of(file: Path) -> str:
    """A digest of what a file holds, read piece by piece."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def digest_of_bytes(content: bytes | memoryview, size: int = 16) -> str:
    """A digest of so many bytes; of 16 it is that which :func:`digest_of` gives for a file of that content."""
    return hashlib.blake2b(content, digest_size=size).hexdigest()


_EXPECTED: dict[str, str] = {}


@contextmanager
def expecting(digests: Mapping[str, str]) -> Iterator[None]:
    """Note what is to be read within this context: digests by name, ``network NAME`` or ``file PATH``.

    What has no digest may be anything.
    """
    _EXPECTED.update(digests)
    try:
        yield
    finally:
        _EXPECTED.clear()


def check_expected(name: str, digest: str) -> None:
    """See that what has been read is what was to be read.

    Raises:
        UserError: it is another one.
    """
    if _EXPECTED.get(name, digest) != digest:
        what = name.partition(" ")[2]
        raise UserError(f"{what}: was changed while the workflow was at work; start again, to go by what it is now")


class Digests:
    """Digests of files by their content, and what else is known of them, kept in a small file.

    A file is read again only where its size, time, inode or time of change differ from what they were: a file that
    was touched or moved has the digest it had, and one that was replaced by another of the same size and time has
    not.

    Args:
        memory: the file (JSON) to keep them in; one that cannot be read is begun again.
        digest: makes the digest of a file.
    """

    def __init__(self, memory: Path, digest: Callable[[Path], str] = digest_of) -> None:
        self._memory = memory
        self._digest = digest
        self._known: dict[str, list[Any]] = read_json(memory)
        self._learnt = False

    def of(self, file: Path) -> str:
        """The digest of a file's content.

        Raises:
            OSError: it cannot be read.
        """
        return self.note(file)[0]

    def note(self, file: Path) -> list[Any]:
        """The digest, then what a caller has appended to it; both are gone once the file has changed."""
        stamp = self._stamp(file)
        known = self._known.get(str(file))
        if not known or known[:4] != stamp:
            known = self._known[str(file)] = [*stamp, [self._digest(file)]]
            self._learnt = True
        return known[4]

    def append(self, file: Path, value: Any) -> None:
        """Keep a plain value with a file's digest."""
        self.note(file).append(value)
        self._learnt = True

    def known(self, file: Path) -> list[Any] | None:
        """What :meth:`note` gives, if the file need not be read for it; else None.

        Raises:
            OSError: it is not there.
        """
        known, stamp = self._known.get(str(file)), self._stamp(file)
        return known[4] if known and known[:4] == stamp else None

    @staticmethod
    def _stamp(file: Path) -> list[int]:
        status = file.stat()
        return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]

    def save(self) -> None:
        """Write what was learnt."""
        if self._learnt:
            write_text(self._memory, json.dumps(self._known))
            self._learnt = False
