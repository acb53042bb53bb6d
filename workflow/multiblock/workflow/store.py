"""The store: a folder for each result, named by its address, and links to it where a person looks.

    results/store/<address>/        what a job made; made.json, written last, says of what, by what, and digests of it
    results/<run>/seed1/phase2/...  links to files and folders there
    results/store/shown.json        which address each of these paths shows

**Made means up to date**: a result counts if its folder has ``made.json``, its files are what that says, and what it
read is still what it was. Nothing here depends on the config, so two configs never disturb each other's results.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiblock.errors import UserError, listed
from multiblock.files import digest_of, is_held, lock, part_of, read_json, write_text
from multiblock.model.metadata import digest_of_result
from multiblock.workflow.results import LOG, Read, Result

MADE, DOUBTED, AGAIN = "made.json", "doubted.json", "again"
"""The mark of a whole result; the same where a start found that it does not count; that of one to be made again."""

WORKING, SHOWN = "working", "shown.json"
"""The folder of checkpoints; the file of the paths shown."""

_OF_SNAKEMAKE = ".snakemake_timestamp"

_COPIED = 64 * 2**20
"""The largest file, in bytes, that is copied to where a person looks, on file systems without links."""


@dataclass(frozen=True)
class Verdict:
    """Whether a result is up to date; ``why`` it is not, in words; whether a file of it was changed by others."""

    made: bool
    why: str = ""
    damaged: bool = False


class Store:
    """The store of a results folder.

    Args:
        results: the folder; the store is in it.
    """

    def __init__(self, results: Path) -> None:
        self.results, self.root = results, results / "store"
        self._known: dict[str, dict[str, Any]] = {}

    def folder(self, address: str) -> Path:
        """The folder of a result."""
        return self.root / address

    def mark(self, address: str) -> Path:
        """The file that says that a result is whole."""
        return self.root / address / MADE

    def path(self, read: Read) -> Path:
        """The file or folder that a job reads."""
        return self.root / read.of.address / read.name

    def made(self, address: str) -> dict[str, Any]:
        """What the mark of a result says; empty where it is not whole."""
        if address not in self._known:
            found = read_json(self.mark(address))
            if not found:
                return {}
            self._known[address] = found
        return self._known[address]

    def noted(self, address: str) -> dict[str, Any]:
        """The same, where the result does not count at present too."""
        return self.made(address) or read_json(self.folder(address) / DOUBTED)

    def addresses(self) -> list[str]:
        """All folders in the store: results that are whole, begun, or set apart."""
        return sorted(one.name for one in self.root.glob("*-*") if one.is_dir())

    # What counts

    def verdict(self, result: Result) -> Verdict:
        """Whether a result is up to date."""
        made = self.noted(result.address)
        if not made:
            return Verdict(False)
        if wrong := self._wrong(result.address, made):
            return Verdict(False, _in_words(wrong), damaged="has changed" in wrong.values())
        if (self.folder(result.address) / AGAIN).exists():
            return Verdict(False, "asked for")
        for role, read in result.reads.items():
            now = self._held_by(read)
            if now is not None and now != made["reads"][role]["digest"]:
                return Verdict(False, f"{role} was made again and is different now")
        return Verdict(True)

    def _wrong(self, address: str, made: Mapping[str, Any]) -> dict[str, str]:
        """The files that are not what they were, each with what is wrong.

        One that has only another time, as a copy may, gets back its own: Snakemake goes by times, and those that were
        noted are in the order in which results were made.
        """
        folder, wrong = self.folder(address), {}
        for name, noted in made["files"].items():
            try:
                status = (folder / name).stat()
            except OSError:
                wrong[name] = "is missing"
                continue
            if (status.st_size, status.st_mtime_ns) == (noted["size"], noted["time"]):
                continue
            if status.st_size != noted["size"] or digest_of(folder / name) != noted["digest"]:
                wrong[name] = "has changed"
            else:
                _set_time(folder / name, noted["time"])
        return wrong

    def _held_by(self, read: Read) -> str | None:
        """A digest of what a job reads of another result; None where that is not whole."""
        made = self.made(read.of.address)
        return (made and _digest_of_part(made["files"], read.name)) or None

    def settle(
        self, results: Iterable[Result], say: Callable[[str], None], forced: Collection[str] = (), plans: bool = False
    ) -> dict[str, Verdict]:
        """Judge all results, in the order in which they are made, before Snakemake looks at their marks.

        The mark of a result that does not count is renamed, until it does; a result whose files were changed by others
        is renamed and kept. Times are put in the order in which results are made, as Snakemake goes by them and copies
        may have any. What a process makes at present is left to it.

        Args:
            forced: addresses of results that are to be made again in any case.
            plans: only to say what would run, so that files stay where they are.
        """
        found: dict[str, Verdict] = {}
        for result in results:
            address, verdict = result.address, self.verdict(result)
            if verdict.made and address in forced:
                verdict = Verdict(False, "asked for")
            found[address] = verdict
            with suppress(OSError):  # results that are for reading only
                if is_held(self.folder(address)):
                    continue
                if verdict.made:
                    self._move_mark(address, DOUBTED, MADE)
                    self._order(result)
                    continue
                if verdict.damaged:
                    apart = self._apart(address)
                    say(f"{self.folder(address)}: {verdict.why}; it is {'to be ' * plans}kept as {apart}")
                    if not plans:
                        self.folder(address).rename(apart)
                self._known.pop(address, None)
                self._move_mark(address, MADE, DOUBTED)
        return found

    def _move_mark(self, address: str, old: str, new: str) -> None:
        with suppress(FileNotFoundError):
            (self.folder(address) / old).rename(self.folder(address) / new)

    def _order(self, result: Result) -> None:
        made = self.made(result.address)
        if any(self.made(read.of.address).get("time", 0) > made["time"] for read in result.reads.values()):
            self.refresh(result.address)
            return
        # By the time of a folder Snakemake knows when all in it was made.
        for place in (self.mark(result.address), *map(self.folder(result.address).joinpath, result.makes)):
            for path in (place, place / _OF_SNAKEMAKE) if place.is_dir() or place.name == MADE else ():
                if os.path.exists(path) and path.stat().st_mtime_ns != made["time"]:
                    _set_time(path, made["time"])

    def _apart(self, address: str) -> Path:
        """Where a result is kept that was changed after it was made."""
        number = 1
        while (apart := self.root / f"{address}.damaged{number}").exists():
            number += 1
        return apart

    def unmake(self, address: str) -> None:
        """The result is made from now on; its files stay until the new ones are there."""
        self._known.pop(address, None)
        for mark in (MADE, DOUBTED):
            (self.folder(address) / mark).unlink(missing_ok=True)

    def ask_again(self, address: str) -> None:
        """The result is to be made again whatever it was made of; that holds until it is."""
        self.folder(address).mkdir(parents=True, exist_ok=True)
        (self.folder(address) / AGAIN).touch()

    def note(self, result: Result, by: Mapping[str, Any]) -> None:
        """The result is made: write its mark.

        Args:
            by: versions of what made it, the commit, and what else is to be known.
        """
        folder, files = self.folder(result.address), {}
        for name in result.makes:
            place = folder / name
            for file in _files_in(place):
                files[str(file.relative_to(folder))] = _about(file)
        reads = {
            role: {**about, "digest": self._held_by(result.reads[role])}
            for role, about in result.made_of["reads"].items()
        }
        self._write(result.address, {**result.made_of, "reads": reads, "files": files, "by": dict(by)})
        (folder / AGAIN).unlink(missing_ok=True)
        shutil.rmtree(folder / WORKING, ignore_errors=True)

    def refresh(self, address: str) -> None:
        """The result is up to date and is to look newer than all that it was made of."""
        made, now = self.noted(address), time.time_ns()
        for name, noted in made["files"].items():
            _set_time(self.folder(address) / name, now)
            noted["time"] = (self.folder(address) / name).stat().st_mtime_ns
        self._write(address, made)

    def _write(self, address: str, made: dict[str, Any]) -> None:
        made["time"] = time.time_ns() // 1000 * 1000  # as fine as any file system keeps it
        write_text(self.mark(address), json.dumps(made, indent=1, sort_keys=True) + "\n")
        _set_time(self.mark(address), made["time"])
        (self.folder(address) / DOUBTED).unlink(missing_ok=True)
        self._known[address] = made

    @contextmanager
    def held(self, address: str, say: Callable[[str], None]) -> Iterator[None]:
        """Hold a result for this process, once no other workflow makes it."""
        folder = self.folder(address)
        if is_held(folder):
            say(f"waits for another workflow that makes {folder}")
            while is_held(folder):
                time.sleep(0.5)
        with lock(folder, "making this result", wait=3600):
            self._known.clear()
            yield

    def check(self, result: Result) -> None:
        """See that what a job reads is there and is what it was when it was made.

        Raises:
            UserError: it is not.
        """
        for role, read in result.reads.items():
            made = self.made(read.of.address)
            if not made:
                raise UserError(f"{self.path(read)}: is not whole any more, and {role} is read; start again")
            if wrong := self._wrong(read.of.address, made):
                raise UserError(f"{self.folder(read.of.address)}: {_in_words(wrong)} since it was made; start again")

    def step(self, address: str) -> int | None:
        """The iterations at the newest checkpoint of a training that was begun, by the names of files alone."""
        names = sorted((file.name[:9] for file in (self.root / address / WORKING).glob("?????????-*.pt")), reverse=True)
        return next((int(name) for name in names if name.isdecimal()), None)

    # What a person sees

    def shown(self) -> dict[str, list[str]]:
        """Paths below the results folder, each with the address that it shows and the name of what it shows there."""
        return {path: list(place) for path, place in read_json(self.root / SHOWN).items()}

    def show(self, shown: Mapping[str, Read], runs: Iterable[str]) -> None:
        """Let the paths of a study show its results; those that are not made yet show nothing.

        Args:
            shown: what each path is to show.
            runs: names of the runs, whose folders show nothing else from now on.

        Raises:
            UserError: something that is not a link, or not a folder above one, is in the way.
        """
        folders, links, known = tuple(f"{run}/" for run in runs), can_link(self.root), self.shown()
        wanted = {path: [read.of.address, read.name] for path, read in shown.items()}
        for path in [*wanted, *(path for path in known if path.startswith(folders) and path not in wanted)]:
            shows = [known.get(path), wanted.get(path)]
            if links or shows[0] != shows[1]:
                self._make_room(path, [place for place in shows if place], links and path in wanted)
        with lock(self.root, "noting what is shown", wait=60):
            before = self.shown()
            gone = {path for path in before if path.startswith(folders)} - set(wanted)
            now = {path: place for path, place in before.items() if path not in gone} | wanted
            if now != before:
                write_text(self.root / SHOWN, json.dumps(now, indent=0, sort_keys=True) + "\n")
        for path in gone:
            self._hide(self.results / path)
        for path, (address, name) in wanted.items():
            self._point(path, address, name)

    def _make_room(self, path: str, shows: Iterable[list[str]], needed: bool) -> None:
        """Remove what is in the place of a link, if it is a copy of what the link showed or is to show."""
        place = self.results / path
        above = next(folder for folder in place.parents if os.path.lexists(folder))
        if not above.is_dir():
            raise UserError(f"{above}: is in the way of a folder of results; move it away")
        if not os.path.lexists(place) or place.is_symlink():
            return
        if any(_is_copy(place, self.root / address / name) for address, name in shows):
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        elif needed:
            raise UserError(
                f"{place}: is in the way of a link into {self.root}, maybe of an older version of this program; move "
                "it away, and nothing of it is lost"
            )

    def show_result(self, address: str) -> None:
        """Show a result that has just been made, where the last start of a workflow wanted it."""
        for path, (shown, name) in self.shown().items():
            if shown == address:
                self._point(path, address, name)

    def _point(self, path: str, address: str, name: str) -> None:
        """Make a path a link to a result that is whole, relative, so that results can be moved."""
        link, place = self.results / path, self.root / address / name
        if (not self.mark(address).exists() and name != LOG) or not place.exists():
            self._hide(link)
            return
        link.parent.mkdir(parents=True, exist_ok=True)
        text = os.path.relpath(place, link.parent)
        if os.path.realpath(link.parent / text) != os.path.realpath(place):  # a folder above is a link to elsewhere
            text = os.path.abspath(place)
        if link.is_symlink() and os.readlink(link) == text:
            return
        part = part_of(link)
        with suppress(FileNotFoundError):
            part.unlink()
        try:
            part.symlink_to(text, target_is_directory=place.is_dir())
            part.replace(link)
        except OSError:
            _copy(place, link)

    def _hide(self, link: Path) -> None:
        """Remove a link into the store, and folders above it that are empty then."""
        if not link.is_symlink():
            return
        link.unlink()
        for folder in link.parents:
            if folder == self.results or not folder.is_dir() or any(folder.iterdir()):
                return
            folder.rmdir()

    def named(self) -> set[str]:
        """The addresses that some path shows or will show; runs whose folders were removed by hand show nothing."""
        there = {path.partition("/")[0] for path in self.shown() if (self.results / path.partition("/")[0]).exists()}
        return {
            address for path, (address, _) in self.shown().items() if "/" not in path or path.partition("/")[0] in there
        }


def _in_words(wrong: Mapping[str, str]) -> str:
    return listed(f"{name} {what}" for name, what in wrong.items())


def can_link(folder: Path) -> bool:
    """Whether the file system of a folder has links."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = part_of(folder / "link")
    try:
        probe.symlink_to("nowhere")
    except OSError:
        return False
    probe.unlink()
    return True


def _is_copy(copy: Path, place: Path) -> bool:
    """Whether a file, or all files in a folder, are those at another place."""
    pairs = [(file, place / file.relative_to(copy)) for file in _files_in(copy)]
    return all(original.is_file() and digest_of(original) == digest_of(file) for file, original in pairs)


def _copy(place: Path, copy: Path) -> None:
    """A copy in place of a link: of a file, or of the small files in a folder; large ones are read in the store."""
    for file in _files_in(place):
        if file.stat().st_size <= _COPIED:
            to = copy if place.is_file() else copy / file.relative_to(place)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, to)


def _files_in(place: Path) -> list[Path]:
    """A file, or all files in a folder; hidden ones belong to programs."""
    inside = [place] if place.is_file() else sorted(place.rglob("*"))
    return [file for file in inside if file.is_file() and not file.name.startswith(".")]


def _about(file: Path) -> dict[str, Any]:
    """Digest, size and time of a file; ``holds`` where what counts for others is less than all of it."""
    digest, status = digest_of(file), file.stat()
    about = {"digest": digest, "size": status.st_size, "time": status.st_mtime_ns}
    holds = digest_of_result(file)
    return about if holds == digest else {**about, "holds": holds}


def _digest_of_part(files: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """A digest of one file, or of all files in a folder, of the files of a result."""
    inside = {
        file: about.get("holds", about["digest"])
        for file, about in files.items()
        if file == name or file.startswith(f"{name}/")
    }
    return hashlib.blake2b(json.dumps(inside, sort_keys=True).encode(), digest_size=16).hexdigest()


def _set_time(file: Path, time_ns: int) -> None:
    with suppress(OSError):
        os.utime(file, ns=(time_ns, time_ns))
