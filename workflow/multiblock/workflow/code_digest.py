"""Which code a result depends on: a digest of Python files and of all package modules that they import.

Snakemake reruns a job when its script changes, not when a module does that the script imports. The rules
therefore carry this digest. Comments, docstrings and layout do not count.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent.parent


@cache
def of_code(*roots: Path) -> str:
    """The digest of the files ``roots`` and of everything of the package that they import, directly or not."""
    found: set[Path] = set()
    waiting = [root.resolve() for root in roots]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imports(file)
    lines = sorted(f"{file.name} {_code(file)}" for file in found)
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()


def module(name: str) -> Path:
    """The file of a module of the package, named from its top: ``training.loop``."""
    path = PACKAGE.joinpath(*name.split(".")) if name else PACKAGE
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@cache
def _imports(file: Path) -> list[Path]:
    """The package's files that a file imports."""
    names: list[str] = []
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    inside = (name.removeprefix("multiblock").removeprefix(".") for name in names if name.startswith("multiblock"))
    return [path for name in inside if name and (path := module(name)).is_file()]


@cache
def _code(file: Path) -> str:
    """A file's code without comments, docstrings (of constants too) and layout."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)]
    return hashlib.blake2b(ast.dump(tree).encode(), digest_size=16).hexdigest()


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
