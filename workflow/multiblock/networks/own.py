"""Code of networks: which files it is in, and how a block of a user's own, one Python file, is imported.

Such a block is a module like any other. Python finds it again by its name (for dataclasses, pickling and compilation),
and an ``import`` of a file beside the block finds that file: the folder is a package, whose name holds a digest of the
code. Files of one name in two folders, or a file that was edited, are different modules.
"""

import ast
import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from hashlib import blake2b
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import decode_source, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from multiblock.errors import UserError
from multiblock.files import digest_of

_PACKAGE = Path(__file__).resolve().parent.parent

_NO_ARITHMETIC = {_PACKAGE / name for name in ("errors.py", "files.py", "plan.py")}
"""Files of this package that networks may import, and whose edits change nothing that a network computes."""

_FOLDERS: dict[str, Path] = {}
"""The packages that stand for folders, by name."""


def read(file: Path) -> str:
    """A Python file's text, in the encoding that it names."""
    return decode_source(file.read_bytes())


def code_files(file: Path) -> list[Path]:
    """The files that a network's code is in: its own and those that it imports, directly or not.

    Files in its folder and modules of this package count. What Python finds elsewhere, such as PyTorch, does not.

    Raises:
        OSError, SyntaxError, ValueError: a file cannot be read, or is not Python.
    """
    file = file.resolve()
    found, waiting = [], [file]
    while waiting:
        path = waiting.pop(0)
        if path not in found:
            found.append(path)
            waiting += [one for one in _imported(path, file.parent) if _counts(one, file.parent)]
    return found


def digest_of_code(file: Path) -> str:
    """The digest of a network's code: the bytes of its files, by their names in its folder or in this package.

    Raises:
        OSError, SyntaxError, ValueError: as :func:`code_files` does.
    """
    folder = file.resolve().parent
    lines = []
    for path in code_files(file):
        name = path.relative_to(_PACKAGE.parent if path.is_relative_to(_PACKAGE) else folder)
        lines.append(f"{name} {digest_of(path)}")
    return _digest_of_text("\n".join(sorted(lines)))


def _digest_of_text(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _counts(file: Path, folder: Path) -> bool:
    if file.is_relative_to(_PACKAGE):
        # An __init__ holds entries and forms of published names, by which no network computes.
        return file.name != "__init__.py" and file not in _NO_ARITHMETIC
    return file.is_relative_to(folder)


def _imported(file: Path, folder: Path) -> list[Path]:
    """The files that a file imports, looked for as :class:`_Loader` does: from the network's folder, or relative."""
    try:
        names = _imports(read(file))
    except SyntaxError as error:
        error.filename = str(file)
        raise
    found = []
    for level, name in names:
        places = [file.parents[min(level, len(file.parents)) - 1]] if level else [folder, _PACKAGE.parent]
        found += [one for place in places for one in files_of(name, place)]
    return found


@cache
def _imports(text: str) -> list[tuple[int, str]]:
    """The names that a module's text imports, each with the number of dots before it; some are those of modules."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = f"{node.module}." if node.module else ""
            found += [(node.level, base + alias.name) for alias in node.names]
    return found


def files_of(module: str, folder: Path) -> list[Path]:
    """The files in ``folder`` that ``import module`` reads, packages first; none where the module is elsewhere."""
    found, place = [], folder
    for name in module.split("."):
        place = place / name
        file = next((f for f in (place / "__init__.py", place.parent / f"{name}.py") if f.is_file()), None)
        if file:
            found.append(file)
        elif not place.is_dir():
            break
    return found


def load(file: Path, digest: str) -> ModuleType:
    """The module of a file, which is run unless the same code has been run before.

    Args:
        digest: the digest of the code, as :func:`digest_of_code` gives it.

    Raises:
        UserError: the code ends in an error.
    """
    file = file.resolve()
    package = f"multiblock_own_{_digest_of_text(str(file.parent))[:8]}_{digest}"
    _FOLDERS[package] = file.parent
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # before the one that would read the folder as it is
    try:
        return importlib.import_module(f"{package}.{file.stem}")
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the user's code leads to
        where = f" (line {place[1]} of {place[0].name})" if (place := _place(error)) else ""
        raise UserError(f"{file}: cannot be imported: {type(error).__name__}: {error}{where}") from error


@contextmanager
def no_exit() -> Iterator[None]:
    """Keep a user's code from ending the program without words, as by ``sys.exit``; exits of others are left alone.

    Raises:
        UserError: it tried to, within this context.
    """
    try:
        yield
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        if not (place := _place(error)):
            raise
        text = f": {error}" if str(error) else ""
        raise UserError(
            f"{place[0]}: ends the program in line {place[1]} ({type(error).__name__}{text}); a network's code may "
            "raise errors, and not exit"
        ) from error


def _place(error: BaseException) -> tuple[Path, int] | None:
    """The file of a user and the line where an error came up; None if that was in no such file."""
    place, trace = None, error.__traceback__
    while trace:
        if str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] in _FOLDERS:
            place = Path(trace.tb_frame.f_code.co_filename), trace.tb_lineno
        trace = trace.tb_next
    return place


class _Finder:
    """Finds the packages that stand for folders, and the modules in them."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec of the module ``name``, which Python asks each finder for; None for modules of others."""
        package, _, inside = name.partition(".")
        if package not in _FOLDERS:
            return None
        place = _FOLDERS[package].joinpath(*inside.split(".")) if inside else _FOLDERS[package]
        folder = ModuleSpec(name, None, is_package=True)
        folder.submodule_search_locations = [str(place)]
        if not inside:
            return folder
        for file, locations in ((place / "__init__.py", [str(place)]), (place.parent / f"{place.name}.py", None)):
            if file.is_file():
                loader = _Loader(name, str(file))
                return spec_from_file_location(name, file, loader=loader, submodule_search_locations=locations)
        return folder if place.is_dir() else None


class _Loader(SourceFileLoader):
    """Reads a file of such a folder; what it imports from the folder is imported from the package."""

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file as it is now; Python's cache of compiled files knows nothing of the package."""
        path = self.get_filename(fullname)
        tree = _Imports(fullname.partition(".")[0]).visit(ast.parse(self.get_data(path), path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


class _Imports(ast.NodeTransformer):
    """``import neighbour`` becomes ``import package.neighbour as neighbour``."""

    def __init__(self, package: str) -> None:
        self.package = package

    def _inside(self, module: str | None) -> bool:
        return bool(module and files_of(module, _FOLDERS[self.package]))

    def visit_Import(self, node: ast.Import) -> Any:
        """Rewrite each name by itself; ``import a.b`` binds ``a``."""
        done: list[ast.stmt] = []
        for alias in node.names:
            if self._inside(alias.name):
                whole, top = f"{self.package}.{alias.name}", alias.name.partition(".")[0]
                if alias.asname or top == alias.name:
                    names = [ast.alias(whole, alias.asname or alias.name)]
                else:
                    names = [ast.alias(whole, f"_{top}"), ast.alias(f"{self.package}.{top}", top)]
            else:
                names = [alias]
            done += [ast.copy_location(ast.Import([name]), node) for name in names]
        return done

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        """Rewrite a module's name to that in the package; relative ones are so already."""
        if not node.level and self._inside(node.module):
            node.module = f"{self.package}.{node.module}"
        return node
