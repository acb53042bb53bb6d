"""What Python code computes, as a digest: how it is laid out, explained and worded does not count.

Left out are comments, docstrings, layout, log lines, prints and warnings, the messages of errors, type annotations,
and the lines of imports: a name stands for what it was imported as, so that a module of this package can move. The
digest is the same under every version of Python.

Pure text and files: nothing here runs the code.
"""

import ast
import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import decode_source
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]

_LOGGERS = {"log", "logger", "logging", "warnings"}
_MEANT = {"ClassVar", "InitVar", "KW_ONLY"}
"""Annotations that a dataclass goes by."""

_SKIPPED = {"ctx", "kind", "type_comment", "type_ignores", "type_params", "returns", "annotation", "simple"}


@cache
def digest_of_code(text: str, part: str = "", beside: frozenset[str] = frozenset()) -> str:
    """The digest of a module's text.

    Args:
        beside: names of arguments that compute nothing where they are given, such as what a registry's entry says.
        part: a class or function of it, as in ``Chain.forward``; or an entry of a table of it, as in ``LOSSES[l1]``,
            with all that the entry names in the module; the whole module if none is named.

    Raises:
        SyntaxError: it is no Python.
        ValueError: it has no such part.
    """
    tree = _without_types(ast.parse(text))
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            call.keywords = [keyword for keyword in call.keywords if keyword.arg not in beside]
    table, _, key = part.removesuffix("]").partition("[")
    nodes = _entry(tree, table, key) if key else [_part(tree, part)]
    names = _imported_names(tree)
    return digest_of_text("\n".join(_written(node, names) for node in nodes))


def _part(tree: ast.AST, part: str) -> ast.AST:
    """A class or function of a module."""
    for name in filter(None, part.split(".")):
        found = [child for child in getattr(tree, "body", []) if getattr(child, "name", None) == name]
        if not found:
            raise ValueError(f"{part}: there is no {name}")
        tree = found[0]
    return tree


def _entry(tree: ast.Module, table: str, key: str) -> list[ast.AST]:
    """An entry of a table, and what it names in the module, directly or not, by name; other entries do not count."""
    defined: dict[str, ast.AST] = {}
    for child in tree.body:
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            defined[child.name] = child
        elif isinstance(child, ast.Assign) and isinstance(child.targets[0], ast.Name):
            defined[child.targets[0].id] = child.value
    entries = defined.get(table)
    if not isinstance(entries, ast.Dict):
        raise ValueError(f"{table}: there is no table of that name")
    found = [value for k, value in zip(entries.keys, entries.values, strict=True) if getattr(k, "value", k) == key]
    if not found:
        raise ValueError(f"{table}: there is no {key}")
    named: dict[str, ast.AST] = {}
    waiting: list[ast.AST] = [found[0]]
    while waiting:
        for node in ast.walk(waiting.pop()):
            # A field of a class is no function of the same name.
            name = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else None
            if name in defined and name not in named and name != table:
                named[name] = defined[name]
                waiting.append(defined[name])
    return [found[0], *(node for _, node in sorted(named.items()))]


def digest_of_files(files: Iterable[Path], root: Path) -> str:
    """The digest of the code of files, by their paths in the folder ``root``.

    Raises:
        OSError, SyntaxError, ValueError: a file cannot be read, or is no Python.
    """
    paths = {path.relative_to(root).as_posix(): path for path in files}
    return digest_of_text("\n".join(f"{name} {digest_of_code(read(path))}" for name, path in sorted(paths.items())))


def digest_of_text(text: str) -> str:
    """The digest of a text as it is."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def read(file: Path) -> str:
    """A Python file's text, in the encoding that it names."""
    return decode_source(file.read_bytes())


def with_neighbours(
    file: Path, root: Path | None = None, follow: Callable[[Path], bool] = lambda _: True
) -> list[Path]:
    """A file, and the files that it imports from a folder, directly or not; in the order they are met.

    Args:
        root: the folder; the file's own if none is given.
        follow: says of a file that is imported whether it counts; what only others import does not.
    """
    root, found, waiting = root or file.parent, [], [file]
    while waiting:
        path = waiting.pop(0)
        if path not in found:
            found.append(path)
            waiting += [place for name in _modules(path, root) for place in files_of(name, root) if follow(place)]
    return found


def files_of(module: str, folder: Path) -> list[Path]:
    """The files in ``folder`` that ``import module`` reads; none where the module lies elsewhere."""
    found, place = [], folder
    for name in module.split("."):
        place = place / name
        file = next((f for f in (place / "__init__.py", place.parent / f"{name}.py") if f.is_file()), None)
        if file:
            found.append(file)
        elif not place.is_dir():
            break
    return found


def _modules(file: Path, root: Path) -> list[str]:
    """The modules that a file imports, by their names as seen from ``root``."""
    here = file.parent.relative_to(root).parts if file.is_relative_to(root) else ()
    try:
        names = (_absolute(level, name, here) for level, name in _imports(read(file)))
        return [name for name in names if name]
    except SyntaxError as error:
        error.filename = str(file)
        raise


def _absolute(level: int, name: str, here: tuple[str, ...]) -> str:
    """A name without the dots before it, which lead ``level`` - 1 folders up from the folder ``here``."""
    above = here[: len(here) + 1 - level] if level else ()
    return ".".join([*above, *([name] if name else [])])


@cache
def _imports(text: str) -> list[tuple[int, str]]:
    """What a module's text imports: the number of dots before a name, and the name."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = f"{node.module}." if node.module else ""
            found += [(node.level, name) for name in (base[:-1], *(base + alias.name for alias in node.names))]
    return found


def _without_types(tree: ast.Module) -> ast.Module:
    """The tree, with plain assignments in place of annotated ones, but for those that make the fields of a class."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) and isinstance(body := getattr(node, "body", None), list):
            node.body = [  # type: ignore[attr-defined]
                ast.Assign(targets=[s.target], value=s.value) if isinstance(s, ast.AnnAssign) and s.value else s
                for s in body
                if not isinstance(s, ast.AnnAssign) or s.value
            ]
    return tree


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """What names that were imported stand for; modules of this package by their last name alone.

    A name that is imported in several places, as with ``except ImportError``, stands for all that it may be.
    """
    names: dict[str, dict[str, None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    names.setdefault(alias.asname, {})[alias.name] = None
        elif isinstance(node, ast.ImportFrom):
            module = "" if node.level or (node.module or "").partition(".")[0] == PACKAGE else f"{node.module}."
            for alias in node.names:
                names.setdefault(alias.asname or alias.name, {})[module + alias.name] = None
    return {name: " or ".join(meanings) for name, meanings in names.items()}


def _written(node: Any, names: dict[str, str]) -> str:
    """A part of the tree as text, without what does not count."""
    if isinstance(node, list):
        return f"[{' '.join(_written(item, names) for item in node if not _is_beside(item))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Name):
        return f"Name({names.get(node.id, node.id)})"
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names:
        return f"Name({names[node.value.id]}.{node.attr})"
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        fields["exc"] = node.exc.func
    if isinstance(node, ast.Assert):
        fields["msg"] = None
    meant = isinstance(node, ast.AnnAssign) and _MEANT & {
        getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node.annotation)
    }
    kept = (
        f"{name}={_written(value, names)}"
        for name, value in sorted(fields.items())
        if value not in (None, []) and (name not in _SKIPPED or (meant and name == "annotation"))
    )
    return f"{type(node).__name__}({' '.join(kept)})"


def _is_beside(node: Any) -> bool:
    """Whether a statement computes nothing: an import, a text, a log line, a logger, ``pass``, types alone."""
    if isinstance(node, ast.ImportFrom):
        return node.names[0].name != "*"  # which names that binds is not known
    if isinstance(node, ast.Import | ast.Pass):
        return True
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" and not node.orelse
    value = getattr(node, "value", None) if isinstance(node, ast.Expr | ast.Assign) else None
    if isinstance(node, ast.Assign):
        return isinstance(value, ast.Call) and ast.unparse(value.func) == "logging.getLogger"
    if isinstance(value, ast.Constant):
        return isinstance(value.value, str) or value.value is ...
    if not isinstance(value, ast.Call) or any(isinstance(part, ast.NamedExpr | ast.Await) for part in ast.walk(value)):
        return False
    called = ast.unparse(value.func)
    return called == "print" or called.partition(".")[0] in _LOGGERS
