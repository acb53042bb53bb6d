"""What each result depends on, in words: written before jobs start, and compared with what the result was made of.

Beside a result stand two small files. ``.depends/NAME.json`` says what it is to be made of: parts of the config,
digests of code and of files from elsewhere. It is an input of the job, and what decides whether the job runs: it gets
a new time where the result is made of something else, and a very old one where it is not. ``.made/NAME.json`` says
what it was made of: the same, and digests of the job's inputs and outputs. So content decides, not the times of files,
and results that were copied without Snakemake's own notes are still known for what they are.
"""

import atexit
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from multiblock.data.imageset import was_changed
from multiblock.files import Digests, new_temporary_folder, read_json, write_text
from multiblock.model.metadata import digest_of_result
from multiblock.workflow.links import target

_LONG_AGO = 1
"""A time in seconds, older than every result."""


class Records:
    """The records of a workflow that starts.

    Args:
        digests: of files, by content.
        write: whether the files may be written; a report, for example, leaves them as they are.
        plans: whether nothing will run: files are then written elsewhere, for the time of this process. A workflow
            that is at work meanwhile, maybe with another config, notes what they say as what it makes results of.
        say: tells the user a line.
        real: gives the path of a file that may be in the folder of a phase that another run owns.
    """

    def __init__(
        self,
        digests: Digests,
        write: bool,
        say: Callable[[str], None],
        real: Callable[[Path], Path] = Path,
        plans: bool = False,
    ) -> None:
        self._digests, self._write, self._say, self._real, self._plans = digests, write, say, real, plans
        self._other_versions: set[str] = set()
        self._written: dict[Path, Path] = {}

    def depends(self, folder: Path, name: str, on: Callable[[], Mapping[str, Any]]) -> str:
        """Write what the result ``name`` in ``folder`` depends on; the path of that record, for ``input`` of a rule."""
        own = folder / ".depends" / f"{name}.json"
        if self._write and own not in self._written:
            plain = json.loads(json.dumps(on()))  # tuples are lists, as they are when they are read again
            made = read_json(made_file(own))
            stands = made.get("depends") == plain and not any(self._changed(folder, made))
            self._written[own] = self._written_to(own, plain, stands)
            if stands:
                self._compare_versions(made)
        return str(self._written.get(own, own))

    def _written_to(self, own: Path, plain: Mapping[str, Any], stands: bool) -> Path:
        """Write a record, with a time that says whether its result stands; where it lies."""
        folder = own.parent.parent
        # Where nothing is to run, the folder may still be that of another run, which wants something else in it.
        if not self._plans and not target(folder):
            return _put(own, plain, stands)
        if stands and _is_put(own, plain):
            return own
        inside = Path(folder.relative_to(folder.anchor)).parts[-3:]
        return _put(Path(self._elsewhere, *inside, own.name), plain, stands)

    @cached_property
    def _elsewhere(self) -> Path:
        folder = new_temporary_folder()
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def _compare_versions(self, made: Mapping[str, Any]) -> None:
        """Say, once, where results were made with other versions of what computes; they are kept."""
        for package in ("torch", "numpy"):
            before, now = made.get("versions", {}).get(package), version(package)
            if before and before != now and (text := f"{package} {before}") not in self._other_versions:
                self._other_versions.add(text)
                self._say(f"there are results that were made with {text}; {now} is here; they are kept as they are")

    def reasons(self, folder: Path, name: str, on: Callable[[], Mapping[str, Any]], inputs: Iterable[str]) -> list[str]:
        """Why the result ``name`` in ``folder`` is to be made anew, in words; nothing where it stands.

        Args:
            on: gives what it depends on.
            inputs: the files that its job reads.
        """
        made = read_json(made_file(folder / ".depends" / f"{name}.json"))
        if not made:
            return ["nothing says what it was made of"]
        found = list(differences(made.get("depends"), json.loads(json.dumps(on()))))
        # Another loss or network is other code too, which needs no words of its own.
        found = [reason for reason in found if reason != _DIGESTS["code"]] or found
        read, noted = {name_from(folder, file) for file in _known(inputs)}, set(made.get("inputs", {}))
        found += [f"reads {name}, now" for name in sorted(read - noted)]
        found += [f"no longer reads {name}" for name in sorted(noted - read)]
        return found + list(self._changed(folder, made))

    def _changed(self, folder: Path, made: Mapping[str, Any]) -> Iterator[str]:
        """Inputs and outputs that are not what they were, in words.

        One that is missing is Snakemake's to notice, unless it lies in a folder that is an output as a whole.
        """
        for kind in ("inputs", "outputs", "inside"):
            for name, digest in made.get(kind, {}).items():
                file = self._real(Path(os.path.normpath(folder / name)))
                if file.is_file() and self._digests.of(file) != digest:
                    yield f"{name} has changed"
                elif kind == "outputs" and name.endswith(".csv") and was_changed(file):
                    yield f"{name.removesuffix('.csv')}.npy has changed"
                elif kind == "inside" and not file.is_file():
                    yield f"{name} is missing"


def _put(file: Path, plain: Mapping[str, Any], stands: bool) -> Path:
    if not stands or read_json(file) != plain:
        text = json.dumps(plain, indent=2, sort_keys=True) + "\n"
        write_text(file, text if stands else text + _other_blanks(), flushed=False)
    if stands:
        os.utime(file, (_LONG_AGO, _LONG_AGO))
    return file


def _is_put(file: Path, plain: Mapping[str, Any]) -> bool:
    """Whether a record says already that its result stands, as made of this."""
    return file.is_file() and file.stat().st_mtime == _LONG_AGO and read_json(file) == plain


def _other_blanks() -> str:
    """Blanks that were never there before: Snakemake passes over a newer file that has the checksum of the last run."""
    return f"{time.time_ns():b}".replace("0", " ").replace("1", "\t") + "\n"


def differences(before: Any, now: Any, place: str = "") -> Iterator[str]:
    """What differs between two plain values, in words: ``stage 2 lr: 0.001, now 0.002``."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*before, *now]):
            below = name if place in ("", "task", "settings") else f"{place} {name}"
            yield from differences(before.get(name), now.get(name), below)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, pair in enumerate(zip(before, now, strict=True), 1):
            yield from differences(*pair, f"{place.removesuffix('s')} {number}")
    elif before != now:
        what = place.split()[0] if place else ""
        if what in _DIGESTS:  # digests say nothing to anyone
            yield _DIGESTS[what].format(place.removeprefix("files "))
        else:
            yield f"{place}: {_shown(before)}, now {_shown(now)}"


_DIGESTS = {"code": "the code has changed", "images": "the images have changed", "files": "{} has changed"}
"""What is known by a digest, and how its change is said."""


def _shown(value: Any) -> str:
    text = "nothing" if value is None else f"{len(value)} of them" if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


class Record:
    """The record of one job's result.

    Args:
        depends: the file that :meth:`Records.depends` wrote.
        inputs, outputs: the files and folders that the job reads and makes.
        folder: one whose files belong to the result, beside those that are its outputs.
    """

    def __init__(self, depends: Path, inputs: Iterable[str], outputs: Iterable[str], folder: str | None = None) -> None:
        self._depends = depends
        self._outputs = list(outputs)
        self._made = [*self._outputs, *([folder] if folder else [])]
        self._folder = depends.parent.parent
        read = list(inputs)
        self._now = {"depends": read_json(depends), "inputs": _digests(self._folder, [*read, *_inside(read)])}

    def stands(self) -> bool:
        """Whether the result is there, and was made of what it is to be made of."""
        made = read_json(made_file(self._depends))
        return (
            all(os.path.exists(file) for file in self._outputs)
            and {key: made.get(key) for key in self._now} == self._now
            and made.get("outputs") == _digests(self._folder, self._outputs)
            and not any(was_changed(Path(file)) for file in self._outputs if file.endswith(".csv"))
            and made.get("inside", {}).items() <= _digests(self._folder, _inside(self._made)).items()
        )

    def touch(self) -> None:
        """Let the result be newer than its inputs."""
        for file in self._outputs:
            os.utime(file)

    def withdraw(self) -> None:
        """The result is to be made anew whatever it was made of; that holds until it is."""
        made_file(self._depends).unlink(missing_ok=True)

    def note(self, versions: Mapping[str, str]) -> None:
        """The result is made; ``versions`` of packages are kept with it."""
        outputs, inside = (_digests(self._folder, files) for files in (self._outputs, _inside(self._made)))
        made = {**self._now, "outputs": outputs, "inside": inside, "versions": dict(versions)}
        write_text(made_file(self._depends), json.dumps(made, indent=2, sort_keys=True) + "\n")


def made_file(depends: Path) -> Path:
    """Where the job notes what it made the result of."""
    return depends.parent.with_name(".made") / depends.name


def _digests(folder: Path, files: Iterable[str]) -> dict[str, str]:
    """Digests by path from ``folder``, so that results can be moved; folders are left out."""
    plain = (Path(file) for file in _known(files))
    return {name_from(folder, file): digest_of_result(file) for file in plain if file.is_file()}


def _inside(paths: Iterable[str]) -> list[str]:
    """The files in those of the paths that are folders."""
    found = (file for path in map(Path, paths) if path.is_dir() for file in sorted(path.rglob("*")))
    return [str(file) for file in found if file.is_file() and not file.name.startswith(".")]


_OF_A_PHASE = re.compile(r"((?:\.\./)*)\.\./[^/]+/(seed\d+/phase\d+/.+)")


def name_from(folder: Path, file: str | Path) -> str:
    """The path of a file from the folder of a result, the same whichever run owns the phase that the file is of.

    A phase's files are called as if they lay in the run's own folder: ``../phase1/weights.safetensors``.
    """
    name = os.path.relpath(file, folder)
    if elsewhere := _OF_A_PHASE.fullmatch(name):
        name = os.path.relpath(folder / elsewhere[1] / elsewhere[2], folder)
    return name


def _known(files: Iterable[str]) -> Iterator[str]:
    """The files that are known by their digest: not arrays, as the index beside each holds digests of its pixels.

    They are compared where the array is newer: :func:`multiblock.data.imageset.was_changed`.
    """
    return (file for file in files if not file.endswith(".npy"))


def made_of(folder: Path, name: str) -> dict[str, Any]:
    """What the result ``name`` in ``folder`` was made of, beside files; empty where nothing says so."""
    return dict(read_json(made_file(folder / ".depends" / f"{name}.json")).get("depends", {}))
