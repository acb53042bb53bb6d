"""Networks of the library spandrel, by the names of its architectures: ``spandrel:SPAN``, ``spandrel:SwinIR``.

Where its second package, spandrel_extra_arches, is installed, whose networks have licences of their own, those are here
too. Their classes are found and their options read without importing the library, as those of a network of a user's own
are. The weights of a block are those of the library's network, under ``net.``.
"""

import ast
import importlib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from multiblock.errors import UserError, listed, nearest
from multiblock.files import digest_of, digest_of_bytes

if TYPE_CHECKING:
    from torch import Tensor, nn

PREFIX = "spandrel:"

_PACKAGES = ("spandrel", "spandrel_extra_arches")

_SCALE = ("scale", "upscale", "upscaling_factor", "upsampling", "upscale_factor", "scale_factor", "sr_rate", "up_scale")
"""What architectures call the option that is ``scale`` here."""

_PADDING = "by reflection"
"""What :mod:`multiblock.networks.library_block` adds to images of other sizes; in what a network is known by."""

_IN_NAME = re.compile(r"UpCunet(\d)x")
"""RealCUGAN is a class for each scale, which has no option."""

_OF_ITS_OWN = {"SAFMNBCIE": "upscaling_factor"}
"""Options that are called like a scale and are none: how many pixels it puts into channels."""

_CHANNELS = ("num_in_ch", "num_out_ch", "in_nc", "out_nc", "in_chans", "out_chans", "in_ch", "out_ch", "colors")
"""Options without a default that are 3 for RGB."""


def is_one(network: str) -> bool:
    """Whether a network is one of the library."""
    return network.startswith(PREFIX)


def names() -> tuple[str, ...]:
    """The library's architectures, with the prefix; none where it is not installed."""
    return tuple(f"{PREFIX}{name}" for name in sorted(_architectures()))


def _architectures() -> dict[str, Path]:
    """Architecture to its folder, of each package that is installed."""
    found: dict[str, Path] = {}
    for package in _PACKAGES:
        if not (spec := find_spec(package)) or not spec.origin:
            break  # the second is nothing without the first
        files = Path(spec.origin).parent.glob("architectures/[!_]*/__init__.py")
        found |= {file.parent.name: file.parent for file in files}
    return found


def class_of(network: str) -> tuple[Path, ast.ClassDef]:
    """The file and the class of a network.

    Raises:
        UserError: the library is not installed, has no such architecture, or one of several classes.
    """
    if not names():
        raise UserError("spandrel: is not installed; it is by: pip install spandrel einops --no-deps")
    if (whole := _architecture(network)) not in names():
        raise UserError(f"unknown network '{network}'{nearest(whole, names())}; allowed are {listed(names())}")
    classes, described = _classes_in(_folder(network))
    wanted = network.removeprefix(whole).removeprefix(".") or described
    if wanted not in classes:
        allowed = listed(f"{whole}.{name}" for name in classes)
        raise UserError(f"{network}: is no network of one class; allowed are {allowed}")
    return classes[wanted]


def _architecture(network: str) -> str:
    """A network without the class that its name may end in: ``spandrel:PLKSR`` of ``spandrel:PLKSR.RealPLKSR``."""
    return network.partition(".")[0]


def _folder(network: str) -> Path:
    return _architectures()[_architecture(network).removeprefix(PREFIX)]


@cache
def _classes_in(folder: Path) -> tuple[dict[str, tuple[Path, ast.ClassDef]], str]:
    """The classes that an architecture's folder imports, and the name of the one that it describes.

    ``class SPANArch(Architecture[SPAN])`` describes ``SPAN``. Some describe several; then the name is none of them.
    """
    tree = ast.parse((folder / "__init__.py").read_text("utf-8"))
    described = [base for node in tree.body if isinstance(node, ast.ClassDef) for base in node.bases]
    name = next((ast.unparse(base.slice) for base in described if isinstance(base, ast.Subscript)), "")
    found = {}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom) or node.level != 1:
            continue
        for alias in node.names:
            file = folder.joinpath(*str(node.module).split(".")).with_suffix(".py")
            for one in ast.parse(file.read_text("utf-8")).body:
                if isinstance(one, ast.ClassDef) and one.name == alias.name:
                    found[alias.asname or alias.name] = file, one
    return found, name


def options(network: str) -> Mapping[str, tuple[str, Any]]:
    """The options of a network: name to (type, default). Those whose default is computed cannot be given."""
    node = class_of(network)[1]
    fixed = scales(network)
    found: dict[str, tuple[str, Any]] = {"scale": ("int", *fixed)} if len(fixed) == 1 else {}
    called = _arguments(node)
    scale = _scale_of(network, called)
    for name, (kind, default) in called.items():
        if name != scale:
            found[name] = kind, default
        else:  # IPT has a head for each of several
            found["scale"] = "int", default[0] if isinstance(default, list) else default
    return found


def _scale_of(network: str, called: Iterable[str]) -> str | None:
    """What a network calls the option that is ``scale`` here, if it has one."""
    other = _OF_ITS_OWN.get(_architecture(network).removeprefix(PREFIX))
    return next((name for name in called if name in _SCALE and name != other), None)


def scales(network: str) -> tuple[int, ...]:
    """How many times a network may be asked to enlarge; not every one can do all."""
    fixed = _IN_NAME.match(class_of(network)[1].name)
    return (int(fixed[1]),) if fixed else tuple(range(1, 9))


def _arguments(node: ast.ClassDef) -> dict[str, tuple[str, Any]]:
    init = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    found: dict[str, tuple[str, Any]] = {}
    if init is None:
        return found
    plain = init.args.args[1:]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(init.args.defaults)) + list(init.args.defaults)
    given = zip([*plain, *init.args.kwonlyargs], [*defaults, *init.args.kw_defaults], strict=True)
    for argument, default in given:
        try:
            value = ast.literal_eval(default) if default else 3 if argument.arg in _CHANNELS else ...
        except ValueError:
            continue
        kind = ast.unparse(argument.annotation) if argument.annotation else type(value).__name__
        found[argument.arg] = ("Any" if kind in ("ellipsis", "NoneType") else kind, value)
    return found


def digest(network: str) -> str:
    """The digest of a network's code: its files, and the version of the library, which has parts that many share."""
    class_of(network)
    folder = _folder(network)
    files = sorted(folder.rglob("*.py"))
    lines = [version("spandrel"), _PADDING, *(f"{file.relative_to(folder)} {digest_of(file)}" for file in files)]
    return digest_of_bytes("\n".join(lines).encode())


def build(network: str, given: Mapping[str, Any]) -> "nn.Module":
    """Build a network, with the initialisation that the library gives it.

    Raises:
        UserError: the library cannot be imported.
    """
    import torch

    from multiblock.networks.library_block import LibraryBlock

    file, node = class_of(network)
    called = _arguments(node)
    own = {"scale": _scale_of(network, called) or "scale"}
    values = {name: value for name, (_, value) in called.items() if value is not ...}
    values |= {called_so: value for name, value in given.items() if (called_so := own.get(name, name)) in called}
    if isinstance(called.get(scale := own["scale"], ("", ...))[1], list):
        values[scale] = [given["scale"]] if "scale" in given else values[scale]
    if factor := values.get("shuffle_factor"):  # ESRGAN's scale is that after it has put pixels into channels
        values[scale] *= factor
    folder = _folder(network)
    inside = ".".join(file.relative_to(folder).with_suffix("").parts)
    where = torch.get_default_device()
    with _imported(), torch.device("cpu"):  # as many ask for values while they are built
        module = importlib.import_module(".".join(folder.parts[-3:]))
        made = getattr(importlib.import_module(f"{module.__name__}.{inside}"), node.name)(**values)
        return LibraryBlock(made, getattr(module, f"{folder.name}Arch")().load).to(where)


class Recognised(NamedTuple):
    """A network that the library has found out from weights: its name here, options, and the weights as it has them.

    It also reads names that other code has for the same network, as Real-ESRGAN's for ESRGAN.
    """

    network: str
    options: dict[str, Any]
    weights: "Mapping[str, Tensor]"


def recognised(weights: Mapping[str, "Tensor"]) -> Recognised | None:
    """The network whose weights these are; None where the library knows none, or is not there."""
    if not names():
        return None
    from multiblock.networks import library_block

    with _imported():
        registry = importlib.import_module("spandrel").MAIN_REGISTRY
        if find_spec(_PACKAGES[1]):
            importlib.import_module(_PACKAGES[1]).install(ignore_duplicates=True)
        try:
            found = registry.load(dict(weights))
        except Exception:  # whatever its detection leads to
            return None
    network = f"{PREFIX}{found.architecture.id}"
    library_block.check_can_be_block(found)
    classes, described = _classes_in(_folder(network))
    if described not in classes:
        network += f".{type(found.model).__name__}"
    known = _arguments(class_of(network)[1])
    given = getattr(found.model, "hyperparameters", {})
    plain = {name: value for name, value in given.items() if name in known and value != known[name][1]}
    scale = _scale_of(network, known)
    options = {name: value for name, value in plain.items() if name != scale}
    if scale:
        options["scale"] = found.scale  # in any case: left out, it would be that of the data
    return Recognised(network, options, found.model.state_dict())


def _normalize(images: "Tensor", mean: list[float], std: list[float]) -> "Tensor":
    """Images (N, C, H, W) less the mean of each channel, over its standard deviation."""
    return (images - images.new_tensor(mean).view(-1, 1, 1)) / images.new_tensor(std).view(-1, 1, 1)


@contextmanager
def _imported() -> Iterator[None]:
    """Import the library without torchvision, of which two architectures that enlarge nothing need a function each.

    The library imports all architectures at once, and torchvision of another build than PyTorch's cannot be imported.
    ``normalize``, for RestoreFormer, is here; ``rotate``, for LaMa, which takes a mask and cannot be a block, is not.

    Raises:
        UserError: another package that it needs is not there.
    """
    stands_in = {}
    if "spandrel" not in sys.modules and not find_spec("torchvision"):
        for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
            stands_in[name] = ModuleType(name)
        functions = {"InterpolationMode": None, "rotate": None, "normalize": _normalize}
        vars(stands_in["torchvision.transforms.functional"]).update(functions)
    sys.modules |= stands_in
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what PyTorch warns of in the library's code is its matter
            yield
    except ImportError as error:
        raise UserError(f"spandrel: cannot be imported: {error}; pip install spandrel einops --no-deps") from error
    finally:
        for name in stands_in:
            del sys.modules[name]
