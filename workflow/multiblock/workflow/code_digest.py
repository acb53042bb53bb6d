"""Which code a result depends on, named by intent: digests of the modules whose arithmetic makes it.

Imports do not count: a helper that only words messages, finds files or draws bars changes no weights. So a module that
does count is named here, in one list a kind of result. What a digest sees of a module is its code without comments,
docstrings, layout, annotations, imports, log calls and the words of errors: rewording or moving retrains nothing.
"""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from multiblock.networks import registry

PACKAGE = Path(__file__).parent.parent

_NETWORK = ("model.chain:Chain.forward", "networks.layers", "networks.attention")
_INFERENCE = (*_NETWORK, "inference.tiles", "runtime.precision:full_precision", "data.tensors", "data.pixels")
_TABLE = ("report.measured", "report.markdown", "inference.metrics:means")

PARTS: dict[str, tuple[str, ...]] = {
    "conversion": (
        "data.convert",
        "data.degradations",
        "data.reader",
        "data.images",
        "data.colour",
        "data.depth",
        "data.resize",
        "data.dataset:ImagePair",
        "data.imageset:Writer",
    ),
    "enlargement": ("data.convert:enlarge", "data.resize", "data.imageset:Writer"),
    "training": (
        *_NETWORK,
        "training.step",
        "runtime.precision:set_tf32",
        "training.losses",
        "training.objective",
        "training.vgg16",
        "training.optimisers",
        "training.schedules",
        "training.freezing",
        "training.start",
        "training.starts",
        "data.sampler",
        "data.tensors",
    ),
    "validation": (*_INFERENCE, "inference.metrics:psnr_rgb", "inference.metrics:_psnr"),
    "generation": (*_INFERENCE, "inference.cache", "data.imageset:Writer"),
    "evaluation": (*_INFERENCE, "inference.evaluation", "inference.metrics", "data.resize"),
    "table": ("report.tables", *_TABLE),
    "figures": ("report.figures", "report.strips", "report.losses", *_TABLE),
    "comparison": ("report.comparison", "report.tables", *_TABLE),
    "losses": ("report.losses", "report.figures"),
    "budget": ("report.budget", "model.complexity", *_TABLE),
}
"""Modules, or parts of modules (``module:Class.method``), by the kind of result that they make."""


@cache
def of(part: str, *networks: str) -> str:
    """The digest of the code of a kind of result, and of the networks (families or files) that take part in it."""
    sources = [_source(name) for name in PARTS[part]]
    for network in sorted(set(networks)):
        sources += [_normal(ast.parse(file.read_text())) for file in _files(network)]
    return hashlib.blake2b("\n".join(sources).encode(), digest_size=8).hexdigest()


def _files(network: str) -> Iterable[Path]:
    """The files that hold a network: all of a family's folder but its entries in the zoo."""
    file = registry.source(network)
    if network.endswith(".py"):
        return [file]
    return sorted(other for other in file.parent.glob("*.py") if other.name != "__init__.py")


@cache
def _source(name: str) -> str:
    module, _, inside = name.partition(":")
    node: ast.AST = ast.parse(PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text())
    for part in filter(None, inside.split(".")):
        body: list[ast.stmt] = node.body  # type: ignore[attr-defined]
        node = next(child for child in body if getattr(child, "name", None) == part)
    return _normal(node)


def _normal(node: ast.AST) -> str:
    return ast.dump(_Arithmetic().visit(node))


class _Arithmetic(ast.NodeTransformer):
    """Leave out of a syntax tree all that computes nothing."""

    def visit_Import(self, node: ast.Import) -> None:
        """Left out."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Left out."""

    def visit_keyword(self, node: ast.keyword) -> ast.AST | None:
        """What an entry of a registry says of itself is left out, and what it refuses."""
        return None if node.arg in ("what", "wrong") else self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Docstrings, texts that explain constants, and log calls are left out."""
        value = node.value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            return None
        called = value.func if isinstance(value, ast.Call) else None
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id == "log":
            return None
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """What is raised counts, its words do not."""
        raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        return ast.Raise(exc=raised, cause=None)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Without its annotation."""
        return ast.arg(arg=node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Without its annotation."""
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """An annotated value is a value; an annotation alone is none, save for the fields of a dataclass."""
        node.annotation = ast.Constant(value=None)
        return self.generic_visit(node)
