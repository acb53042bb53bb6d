"""What Python code computes, as a digest: how it is laid out, explained and worded does not count.

Left out are comments, docstrings, layout, log lines, prints and warnings, the messages of errors, type annotations,
and the lines of imports: a name stands for what it was imported as, so that a module of this package can move. The
digest is the same under every version of Python.

Pure text and files: nothing here runs the code.
"""

import ast
import hashlib
from collections.abc import Iterable
from importlib.util import decode_source
from pathlib import Path
from typing import Any

PACKAGE = __name__.partition(".")[0]

_LOGGERS = {"log", "logger", "logging", "warnings"}
_MEANT = {"ClassVar", "InitVar", "KW_ONLY"}
"""Annotations that a dataclass goes by."""

_SKIPPED = {"ctx", "kind", "type_comment", "type_ignores", "type_params", "returns", "annotation", "simple"}


def digest_of_code(text: str) -> str:
    """The digest of a module's text.

    Raises:
        SyntaxError: it is no Python.
    """
    tree = _without_types(ast.parse(text))
    return hashlib.blake2b(_written(tree, _imported_names(tree)).encode(), digest_size=16).hexdigest()


def digest_of_file(file: Path) -> str:
    """The digest of a file's code and of the neighbours that it imports, directly or not.

    Raises:
        OSError, SyntaxError, ValueError: a file cannot be read, or is no Python.
    """
    files = {path.relative_to(file.parent).as_posix(): path for path in with_neighbours(file)}
    lines = (f"{name} {digest_of_code(read(path))}" for name, path in sorted(files.items()))
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


def read(file: Path) -> str:
    """A Python file's text, in the encoding that it names."""
    return decode_source(file.read_bytes())


def with_neighbours(file: Path) -> list[Path]:
    """A file, and the files of its own folder that it imports, directly or not; in the order they are met."""
    folder, found, waiting = file.parent, [], [file]
    while waiting:
        path = waiting.pop(0)
        if path not in found:
            found.append(path)
            waiting += [place for name in _modules(path, folder) for place in files_of(name, folder)]
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


def _modules(file: Path, folder: Path) -> Iterable[str]:
    """The modules that a file imports, those named relative to it as seen from ``folder``."""
    for node in ast.walk(ast.parse(read(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = file.parent.relative_to(folder).parts
            above = here[: len(here) + 1 - node.level] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ([base] if base else [])
            yield from (f"{base}.{alias.name}".removeprefix(".") for alias in node.names)


def _without_types(tree: ast.Module) -> ast.Module:
    """The tree, with plain assignments in place of annotated ones, but for those that make the fields of a class."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) and isinstance(body := getattr(node, "body", None), list):
            node.body = [  # type: ignore[attr-defined]
                ast.Assign(targets=[s.target], value=s.value) if isinstance(s, ast.AnnAssign) else s
                for s in body
                if not isinstance(s, ast.AnnAssign) or s.value
            ]
    return tree


def _imported_names(tree: ast.Module) -> dict[str, str]:
    """What names that were imported stand for; modules of this package by their last name alone."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            module = "" if node.level or (node.module or "").partition(".")[0] == PACKAGE else f"{node.module}."
            names |= {alias.asname or alias.name: module + alias.name for alias in node.names}
    return names


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
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Pass):
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
