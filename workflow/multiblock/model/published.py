"""Weights that others published as a chain of ours: which network they are of is found out, and every name matched."""

import logging
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from multiblock.errors import UserError, listed
from multiblock.model import metadata
from multiblock.model.chain import Chain
from multiblock.model.chain import load as load_chain
from multiblock.model.metadata import Metadata, Provenance
from multiblock.model.state_dict import read
from multiblock.networks import library, zoo
from multiblock.networks.family import Form, rename
from multiblock.plan import Block

log = logging.getLogger(__name__)


def load_block(file: Path, number: int, scale: int = 1, trusted: Iterable[Path | str] = ()) -> nn.Module:
    """Block ``number`` of a file of weights: of this program, or as others published them, which is block 1.

    Args:
        scale: which one to take where weights that others published are for several scales.
        trusted: Python files whose code may run, as :func:`multiblock.model.chain.load` has it.

    Raises:
        UserError: as that function and :func:`import_weights` do, or the file has no such block.
    """
    if metadata.is_ours(file):
        return load_chain(file, trusted, only=number).blocks[str(number)]
    made = import_weights(file, None, {}, scale)[0]
    metadata.check_has(made.metadata, number, file)
    return made.blocks["1"]


def about(file: Path, scale: int = 1) -> Metadata:
    """The metadata of such a file; where others published it, they are found out from its weights.

    Raises:
        UserError: as :func:`load_block` does.
    """
    if metadata.is_ours(file) or not file.is_file():
        return metadata.read(file)
    known = file.stat()
    return _found_out(file, scale, known.st_mtime_ns, known.st_size)


@lru_cache(maxsize=16)
def _found_out(file: Path, scale: int, *_: int) -> Metadata:
    """The same of weights of others, found out once for each state of a file, as a config is read several times."""
    return import_weights(file, None, {}, scale)[0].metadata


def import_weights(
    file: Path, network: str | None, options: Mapping[str, Any], scale: int | None = None
) -> tuple[Chain, Form]:
    """The network called ``network`` in the zoo, with the published weights in ``file``, and their form.

    Args:
        network: None where the weights say which it is; they may be of a network of the library spandrel.
        options: options of the network beside those that its name stands for, such as ``scale``.
        scale: which one to take where the weights are for several and the options do not say; the smallest if it is
            none of them. Without one, what is taken is logged.

    Raises:
        UserError: no form of the network is known, the file cannot be read, or names or shapes are left over on
            either side.
    """
    if network is None:
        published = read(file)
        theirs = library.recognised(published)
        family = theirs.network.removeprefix(library.PREFIX).lower() if theirs else None
        known = family is None or family in zoo.FORMS
        if not (known and (ours := _recognised(published, family, theirs.options.get("scale") if theirs else None))):
            return _of_library(file, theirs)
        network, options = ours[0], {"scale": _one_of(ours[1], scale, file), **options}
    family = zoo.find(network).family
    if family not in zoo.FORMS:
        raise UserError(f"{network}: no published form is known; known are those of {listed(zoo.FORMS)}")
    published = read(file)
    problems = []
    for form in zoo.FORMS[family]:
        spec = zoo.block(network, {**form.options, **options}, network)
        chain = Chain.build([spec], [True])
        problem = load_as(chain, published, form, spec.scale)
        if problem is None:
            taken = 1 if spec.scale > 1 else None
            chain.about = Provenance(enlarge=taken, scale=taken and spec.scale, origin=f"{form.source}, {file.name}")
            return chain.eval(), form
        problems.append((problem, form))
    # The error is about the form that comes closest.
    (_, text), form = min(problems, key=lambda item: item[0][0])
    if other := _recognised(published):
        called, scales = other
        at = " or ".join(f"x{one}" for one in scales)
        text = f"it is {called} {at}; import it with --as {called} --scale {scales[0]}"
    raise UserError(f"{file}: is not {network} x{spec.scale} as {form.source} publishes it: {text}")


def _one_of(scales: list[int], wanted: int | None, file: Path) -> int:
    """The scale to take of those that weights are for."""
    if len(scales) > 1 and wanted is None:
        log.warning("%s: is for %s; x%s is taken", file, listed(f"x{one}" for one in scales), scales[0])
    return wanted if wanted in scales else scales[0]


def _of_library(file: Path, found: library.Recognised | None) -> tuple[Chain, Form]:
    """The network of the library as which it has found weights out."""
    if not found:
        there = "or of the library spandrel" if library.names() else "and the library spandrel is not installed"
        raise UserError(
            f"{file}: are weights of no network that is known here, {there}; --as names the one that comes close"
        )
    network = found.network
    try:
        chain = Chain.build([zoo.block(network, found.options, network)], [True])
        chain.get_submodule("blocks.1.net").load_state_dict(found.weights)
    except UserError:
        raise
    except Exception as error:  # whatever the library's code leads to
        reason = " ".join(str(error).split())
        raise UserError(f"{file}: is read as {network}, which cannot be a block with its options: {reason}") from error
    if (enlarges := chain.blocks["1"].enlarges) != chain.scale:
        raise UserError(
            f"{file}: is {network}, which enlarges x{enlarges} by no option called so, and cannot be a block"
        )
    form = Form(source=f"{network}, version {version('spandrel')}", rules=())
    taken = 1 if chain.scale > 1 else None
    chain.about = Provenance(enlarge=taken, scale=taken and chain.scale, origin=f"{form.source}, {file.name}")
    return chain.eval(), form


def _recognised(
    published: Mapping[str, Tensor], family: str | None = None, scale: int | None = None
) -> tuple[str, list[int]] | None:
    """The network of the zoo that has a place for all of these weights, and at which scales; None if none has.

    Args:
        family, scale: where they are known already, which spares trying the others.
    """
    shapes = {name: value.to("meta") for name, value in published.items()}
    for network, entry in zoo.ENTRIES.items():
        fits = []
        tried = entry.scales if scale is None else (scale,)
        for form, at in product(zoo.FORMS.get(entry.family, ()) if family in (None, entry.family) else (), tried):
            if any(rename(name, form, at) is None for name in shapes):
                continue
            spec = zoo.block(network, {**form.options, "scale": at}, network)
            if contradiction(spec, form):
                continue
            with torch.device("meta"):
                if load_as(Chain.build([spec], [True]), shapes, form, at) is None:
                    fits.append(at)
        if fits:
            return network, fits
    return None


def contradiction(spec: Block, form: Form) -> str | None:
    """The option of a block that is another than the authors' code has, in words."""
    options = metadata.described(spec)
    for name, value in {**form.options, **form.fixed}.items():
        if options[name] != value:
            return f"{name} is {options[name]}, and {value} in the authors' code"
    return None


def load_as(chain: Chain, published: Mapping[str, Tensor], form: Form, scale: int) -> tuple[int, str] | None:
    """Load weights of a form into a chain of one block, strictly.

    Returns:
        None; or, where they do not fit, how many names are wrong and what is wrong with the first of them.
    """
    block = next(iter(chain.blocks.values()))
    wanted = block.state_dict()
    given: dict[str, Tensor] = {}
    strange = []
    for name, value in published.items():
        ours = rename(name, form, scale)
        if ours is None or (ours and (ours not in wanted or ours in given)):
            strange.append(name)
        elif ours:
            given[ours] = value
    for name, value in wanted.items():
        if name not in given and form.absent and re.fullmatch(form.absent, name):
            given[name] = torch.zeros_like(value)
    missing = [name for name in wanted if name not in given]
    if strange or missing:
        text = [f"it has {listed(strange[:3])}, which has no place here"] if strange else []
        text += [f"it has nothing for {listed(missing[:3])}"] if missing else []
        return len(strange + missing), f"{'; '.join(text)} ({len(strange)} and {len(missing)} in all)"
    shapes = [name for name in wanted if wanted[name].shape != given[name].shape]
    if shapes:
        first = shapes[0]
        return len(shapes), f"{first} is {tuple(given[first].shape)} there, and {tuple(wanted[first].shape)} here"
    block.load_state_dict(given)
    return None
