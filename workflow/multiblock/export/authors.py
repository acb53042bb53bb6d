"""Weights under the names that their authors gave them: theirs become ours, and ours theirs, name by name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from multiblock.errors import UserError, listed, one_line
from multiblock.files import atomic_write
from multiblock.model import metadata
from multiblock.model.chain import Chain
from multiblock.model.metadata import Provenance
from multiblock.model.state_dict import read
from multiblock.networks import library, zoo
from multiblock.networks.family import Form, rename, rename_back
from multiblock.plan import Block

ENDINGS = (".pth", ".pt", ".safetensors")


def import_weights(file: Path, network: str | None, options: Mapping[str, Any]) -> tuple[Chain, Form]:
    """The network called ``network`` in the zoo, with the published weights in ``file``, and their form.

    Args:
        network: None where the weights say which it is; they may be of a network of the library spandrel.
        options: options of the network beside those that its name stands for, such as ``scale``.

    Raises:
        UserError: no form of the network is known, the file cannot be read, or names or shapes are left over on
            either side.
    """
    if network is None:
        published = read(file)
        theirs = library.recognised(published)
        family = theirs[0].removeprefix(library.PREFIX).lower() if theirs else None
        known = family is None or family in zoo.FORMS
        if not (known and (ours := _recognised(published, family, theirs[1].get("scale") if theirs else None))):
            return _of_library(file, published, theirs)
        network, options = ours[0], {"scale": ours[1][0], **options}
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


def _of_library(
    file: Path, published: Mapping[str, Tensor], found: tuple[str, dict[str, Any]] | None
) -> tuple[Chain, Form]:
    """The network of the library, with its options, as which it has found weights out."""
    if not found:
        there = "or of the library spandrel" if library.names() else "and the library spandrel is not installed"
        raise UserError(
            f"{file}: are weights of no network that is known here, {there}; --as names the one that comes close"
        )
    network, options = found
    chain = Chain.build([zoo.block(network, options, network)], [True])
    try:
        chain.get_submodule("blocks.1.net").load_state_dict(published)
    except RuntimeError as error:
        raise UserError(f"{file}: is not {network}, as which it is read: {one_line(error)}") from None
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
            if _contradiction(spec, form):
                continue
            with torch.device("meta"):
                if load_as(Chain.build([spec], [True]), shapes, form, at) is None:
                    fits.append(at)
        if fits:
            return network, fits
    return None


def _contradiction(spec: Block, form: Form) -> str | None:
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


@dataclass(frozen=True)
class Authors:
    """A block under the authors' names.

    Args:
        tensors: all that the authors' program asks for, by name.
        form: which of the family's forms it is.
        filled: names of tensors that the authors' program asks for and never uses; they are zero.
    """

    tensors: Mapping[str, Tensor]
    form: Form
    filled: tuple[str, ...] = ()


def only_block(chain: Chain, number: int | None, file: Path) -> Chain:
    """The chain's only block, or its block ``number``.

    Raises:
        UserError: the chain has several and none is named, or not the one that is.
    """
    if number is not None:
        metadata.check_has(chain.metadata, number, file)
        return chain.part(number, number)
    if len(chain.specs) > 1:
        held = listed(f"{k} ({spec.network})" for k, spec in enumerate(chain.specs, chain.first))
        raise UserError(f"{file}: holds blocks {held}; authors know single networks, so --block has to name one")
    return chain


def to_authors(chain: Chain, file: Path) -> Authors:
    """A chain of one block under the names of the network's authors.

    It is read back before it is returned: what ``import`` makes of it is equal to the last bit.

    Args:
        file: where the chain is from, for errors.

    Raises:
        UserError: no form of the family is known, or none that says what this block is; the message says why.
    """
    spec = chain.specs[0]
    if library.is_one(spec.network):
        return _in_library(chain, file)
    if spec.network not in zoo.FORMS:
        raise UserError(
            f"{file}: the authors of {spec.network} have published no weights, so there are no names to write; "
            f"there are for {listed(zoo.FORMS)}"
        )
    reasons = []
    for form in zoo.FORMS[spec.network]:
        made = _in_form(chain, form)
        if isinstance(made, Authors):
            return made
        reasons.append(f"as {form.source}: {made}")
    raise UserError(f"{file}: its {spec.network} cannot be written under its authors' names: {'; '.join(reasons)}")


def _in_library(chain: Chain, file: Path) -> Authors:
    """A network of the library as the library knows it again."""
    spec, net = chain.specs[0], chain.get_submodule(f"blocks.{chain.first}.net")
    network = spec.network
    tensors = {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
    found = library.recognised(tensors)
    if not found or found[0] != network:
        raise UserError(
            f"{file}: the library reads weights of {network} as {found[0] if found else 'nothing it knows'}"
        )
    ours, theirs = metadata.described(spec), metadata.described(zoo.block(*found, network))
    if other := [f"{name} {theirs[name]}, which is {ours[name]} here" for name in ours if ours[name] != theirs[name]]:
        raise UserError(f"{file}: the library reads weights of {network} as of {listed(other)}; train it with those")
    return Authors(tensors, Form(source=f"{network}, version {version('spandrel')}", rules=()))


def _in_form(chain: Chain, form: Form) -> Authors | str:
    """The block in one form, or why that cannot be."""
    spec, (block, _) = chain.specs[0], chain.links()[0]
    if contradiction := _contradiction(spec, form):
        return contradiction
    options = metadata.described(spec)
    tensors: dict[str, Tensor] = {}
    for ours, value in block.state_dict().items():
        if form.absent and re.fullmatch(form.absent, ours):
            if value.any():
                return f"{ours} is not zero, and the authors' network has no such parameter"
        elif (theirs := rename_back(ours, form, options)) is None:
            return f"it has no name for {ours}"
        else:
            tensors[theirs] = value.detach().cpu().contiguous()
    filled = {name: torch.zeros(shape) for name, shape in (form.filled or _nothing)(options).items()}
    tensors |= filled
    return _read_back(chain, tensors, form, spec) or Authors(tensors, form, tuple(filled))


def _nothing(_: Mapping[str, Any]) -> Mapping[str, tuple[int, ...]]:
    return {}


def _read_back(chain: Chain, tensors: Mapping[str, Tensor], form: Form, spec: Block) -> str | None:
    """The error in the names that were found, if ``import`` does not make the same block of them; else None."""
    again = Chain.build([spec], [True])
    if problem := load_as(again, tensors, form, spec.scale):
        return f"read again, {problem[1]}"
    made, given = again.blocks["1"].state_dict(), chain.links()[0][0].state_dict()
    return next((f"{name} comes back changed" for name in given if not torch.equal(made[name], given[name])), None)


def write(authors: Authors, out: Path) -> None:
    """Write the tensors as one state dict, as PyTorch keeps it (.pth, .pt) or as safetensors.

    Raises:
        UserError: the file has another ending.
    """
    if out.suffix not in ENDINGS:
        raise UserError(f"{out}: found '{out.suffix}'; allowed are files that end in {listed(ENDINGS)}")
    with atomic_write(out) as part:
        if out.suffix == ".safetensors":
            save_file(dict(authors.tensors), part, metadata={"format": "pt"})
        else:
            torch.save(dict(authors.tensors), part)
