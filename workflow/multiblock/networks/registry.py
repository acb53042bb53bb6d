"""Find networks by name, read their options without running them, build them, and read what they say of themselves.

A family is a folder beside this file: ``carn/network.py`` holds ``CARN``, a class named like the folder (case and
underscores do not count). A network of a user's own is one file, ``network: my_blocks/dense.py``, with a class named
like the file. ``network: spandrel:SPAN`` is one of that library; see :mod:`multiblock.networks.library`. Such a class

- takes its options as keyword-only arguments with defaults, annotated as ``int``, ``float``, ``bool``, ``str``,
  ``tuple[int, ...]`` or ``Literal[...]``,
- maps a batch (N, 3, H, W) in [0, 1] to (N, 3, s*H, s*W), where s is its option ``scale`` (1 without one), and
  does not clamp,
- describes itself by the attributes of :class:`NetworkSpec`.

Nothing here imports PyTorch until a network is built, so that a config is checked at once.
"""

import ast
import importlib
import inspect
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any, Literal

from multiblock.errors import UserError, listed, nearest
from multiblock.files import check_expected
from multiblock.networks import library, own

if TYPE_CHECKING:
    from torch import nn

LARGEST_OPTION = 65_536
"""The largest whole number that an option can be; no computer has the memory for that many channels or layers."""

_HERE = Path(__file__).parent


@cache
def names() -> tuple[str, ...]:
    """The built-in families, by name."""
    return tuple(sorted(file.parent.name for file in _HERE.glob("*/network.py")))


def source(network: str) -> Path:
    """The file that holds ``network``, a built-in name or a path ending in ``.py``.

    Raises:
        UserError: there is no such file or built-in network.
    """
    if network.endswith(".py"):
        if not os.path.isfile(network):  # Path.is_file raises where a name is too long
            raise UserError(f"{network}: no such file; a network's file or one of {listed(names())} is allowed")
        return Path(network)
    if library.is_one(network):
        return library.class_of(network)[0]
    if network not in names():
        raise UserError(
            f"unknown network '{network}'{nearest(network, names())}; "
            f"allowed are {listed(names())}, spandrel:NAME, or the path of a Python file"
        )
    return _HERE / network / "network.py"


def digest(network: str) -> str:
    """The digest of a network's code, byte by byte, as :func:`multiblock.networks.own.code_files` finds its files.

    Raises:
        UserError: there is no such network, or a file is not Python.
    """
    if library.is_one(network):
        return library.digest(network)
    file = source(network)
    with _readable(file):
        return own.digest_of_code(file)


def is_of_others(network: str) -> bool:
    """Whether a network is no part of this package: one of a user's own, or of a library."""
    return network.endswith(".py") or library.is_one(network)


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        if isinstance(error, SyntaxError):
            where = Path(error.filename or file).name  # of the file itself Python knows no name
            other = "" if where in ("<unknown>", file.name) else f"{where}, "
            line = f"line {error.lineno}: " if error.lineno else ""  # not of what is wrong with the whole file
            reason = f"{other}{line}{error.msg}"
        raise UserError(f"{file}: is not a Python file: {reason}; one with a class named like it is needed") from None


def _class(network: str) -> ast.ClassDef:
    if library.is_one(network):
        return library.class_of(network)[1]
    file = source(network)
    with _readable(file):
        return _class_in(own.read(file), Path(network).stem.replace("_", "").lower(), file)


@cache
def _class_in(text: str, wanted: str, file: Path) -> ast.ClassDef:
    """The class of a file's text that is called ``wanted``."""
    tree = ast.parse(text)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name.replace("_", "").lower() == wanted:
            return node
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    raise UserError(f"{file}: found {listed(classes) or 'no class'}; a class named like the file is needed")


def options(network: str) -> Mapping[str, tuple[str, Any]]:
    """The options of a network: name to (type, default), read from its source without running it.

    Raises:
        UserError: there is no such network, or its options are not written as they have to be.
    """
    if library.is_one(network):
        return library.options(network)
    found = _options_of(_class(network))
    if found is None:
        raise UserError(f"{source(network)}: an option's default is computed; plain values are needed")
    return found


@cache
def _options_of(node: ast.ClassDef) -> Mapping[str, tuple[str, Any]] | None:
    """The options of a class; None where a default is computed."""
    init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    if init is None:
        return {}
    try:
        return {
            argument.arg: (
                ast.unparse(argument.annotation) if argument.annotation else "Any",
                ast.literal_eval(default) if default else ...,
            )
            for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)
        }
    except (ValueError, TypeError, RecursionError):
        return None


def summary(network: str) -> str:
    """The first paragraph of a network's docstring, or the name of its class."""
    node = _class(network)
    text = (ast.get_docstring(node) or node.name).partition("Args:")[0]
    return " ".join(text.strip().partition("\n\n")[0].split())


def explanations(network: str) -> dict[str, str]:
    """The explanations of a network's options in its docstring, by name."""
    text = inspect.cleandoc(ast.get_docstring(_class(network)) or "").partition("Args:\n")[2]
    text = re.split(r"\n(?=\S)", text)[0]
    entries = re.findall(r"^ {4}(\w[\w, ]*): (.*(?:\n {5,}.*)*)", text, re.MULTILINE)
    return {name: " ".join(words.split()) for names, words in entries for name in names.split(", ")}


def _explained(network: str, option: str) -> str:
    words = explanations(network).get(option)
    return f": {words}" if words else ""


def check_options(network: str, given: Mapping[str, Any], key: str) -> None:
    """Check that ``network`` exists and takes the options ``given``.

    Raises:
        UserError: it does not; the message starts with the config key ``key``.
    """
    try:
        known = options(network)
    except UserError as error:
        raise UserError(f"{key}.network: {error}") from None
    for name, value in given.items():
        if name not in known:
            raise UserError(
                f"{key}.{name}: {network} has no such option{nearest(name, known)}; allowed are {listed(known)}"
            )
        kind = "str" if name.endswith("_weights") else known[name][0]  # a file, which is checked and read
        theirs = library.is_one(network)  # whose types are those of defaults, which fractions and zeros stand in for
        if not (theirs and kind == "int" and isinstance(value, float)):
            _check_value(value, kind, f"{key}.{name}", 0 if theirs and name != "scale" else 1)
    for name, (_, default) in known.items():
        if default is ... and name not in given:
            raise UserError(f"{key}.{name}: is missing; {network} needs it{_explained(network, name)}")


def _check_value(value: Any, kind: str, key: str, least: int = 1) -> None:
    """Check an option's value against its annotation; annotations that are not known here allow everything.

    Args:
        least: the smallest whole number.
    """
    if kind.startswith("Literal["):
        allowed = ast.literal_eval(f"({kind.removeprefix('Literal[').removesuffix(']')},)")
        if value not in allowed:
            raise UserError(
                f"{key}: found {shown(value)}{nearest(str(value), map(str, allowed))}; allowed are {listed(allowed)}"
            )
    elif kind == "tuple[int, ...]":
        if not isinstance(value, list | tuple):
            raise UserError(f"{key}: found {shown(value)}; allowed is a list of whole numbers")
        for number, item in enumerate(value):
            _check_value(item, "int", f"{key}, entry {number + 1}")
    elif plain := {"int": int, "float": int | float, "bool": bool, "str": str}.get(kind):
        if not isinstance(value, plain) or isinstance(value, bool) != (kind == "bool"):
            raise UserError(f"{key}: found {shown(value)}; allowed is a value of type {kind}")
        if kind == "int" and not least <= int(value) <= LARGEST_OPTION:
            raise UserError(f"{key}: found {value}; allowed is at least {least}, at most {LARGEST_OPTION}")


def build(network: str, given: Mapping[str, Any]) -> "nn.Module":
    """Build a network with PyTorch's default initialisation; code of a user's own is run.

    Its ``code_digest`` says of which code it is.

    Raises:
        UserError: unknown network or option, or code that ends in an error when it is imported.
    """
    check_options(network, given, network)
    made_of = digest(network)
    if library.is_one(network):
        check_expected(f"network {network}", made_of)
        return _as_built(library.build(network, given), network, given, made_of)
    if network.endswith(".py"):
        module = own.load(source(network), made_of)
        if digest(network) != made_of:
            raise UserError(f"{network}: was changed while it was read; start again")
    else:
        module = importlib.import_module(f"{__package__}.{network}.network")
    check_expected(f"network {network}", made_of)
    return _as_built(getattr(module, _class(network).name)(**given), network, given, made_of)


def _as_built(built: "nn.Module", network: str, given: Mapping[str, Any], made_of: str) -> "nn.Module":
    """A network with the attributes that it has from its options and its code."""
    built.scale = given.get("scale", options(network).get("scale", ("int", 1))[1])
    built.code_digest = made_of  # type: ignore[assignment]
    return built


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A network described by the attributes that its class has; those with a default here may be missing there.

    Args:
        scale: how many times the network enlarges; its option ``scale``, or 1.
        receptive_field: side in input pixels of what one output pixel sees, layers that pool over the image not
            counted.
        output_layer: name of the last convolution, which starts called ``..._zeroed`` zero.
        grid: tiles of an image begin at multiples of so many pixels.
        layout: memory layout of feature maps in which the network is faster.
        pretrained: parts that start from published weights, each with their file.
        pools_over_image: kinds of layers that see the whole image, such as channel attention (a layer says so by
            ``sees_whole_image``) and instance norm: in a tile they see the tile instead.
    """

    scale: int
    receptive_field: int
    output_layer: str
    grid: int = 1
    layout: Literal["channels_last", "contiguous"] = "channels_last"
    pretrained: Mapping[str, str] = field(default_factory=dict)
    pools_over_image: tuple[str, ...] = ()


def describe(network: "nn.Module") -> NetworkSpec:
    """The description of a network that :func:`build` has built.

    Raises:
        UserError: the class lacks an attribute, or has one of the wrong kind.
    """
    pooling = (type(layer).__name__ for layer in network.modules() if sees_whole_image(layer))
    return NetworkSpec(
        scale=_attribute(network, "scale", int),
        receptive_field=_attribute(network, "receptive_field", int),
        output_layer=_attribute(network, "output_layer", str),
        grid=getattr(network, "grid", 1),
        layout=getattr(network, "layout", "channels_last"),
        pretrained=getattr(network, "pretrained", {}),
        pools_over_image=tuple(dict.fromkeys(pooling)),
    )


def sees_whole_image(layer: "nn.Module") -> bool:
    """Whether a layer takes something of the whole image: it says so itself, or it is an instance norm."""
    from torch.nn.modules.instancenorm import _InstanceNorm

    return getattr(layer, "sees_whole_image", False) or isinstance(layer, _InstanceNorm)


def _attribute(network: "nn.Module", name: str, kind: type) -> Any:
    value = getattr(network, name, None)
    if not isinstance(value, kind) or isinstance(value, bool):
        words = {int: "a whole number", str: "text"}
        raise UserError(f"{type(network).__name__}.{name}: found {value!r}; a network needs {words[kind]} there")
    return value
