"""Weights of ours under the names that their authors gave them, as :mod:`multiblock.model.published` reads them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from multiblock.errors import UserError, listed
from multiblock.files import atomic_write
from multiblock.model import metadata
from multiblock.model.chain import Chain
from multiblock.model.published import contradiction, load_as
from multiblock.networks import library, zoo
from multiblock.networks.family import Form, rename_back
from multiblock.plan import Block

ENDINGS = (".pth", ".pt", ".safetensors")


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
    if not found or found.network != network:
        as_other = found.network if found else "nothing it knows"
        raise UserError(f"{file}: the library reads weights of {network} as {as_other}")
    ours, theirs = metadata.described(spec), metadata.described(zoo.block(network, found.options, network))
    if other := [f"{name} {theirs[name]}, which is {ours[name]} here" for name in ours if ours[name] != theirs[name]]:
        raise UserError(f"{file}: the library reads weights of {network} as of {listed(other)}; train it with those")
    return Authors(tensors, Form(source=f"{network}, version {version('spandrel')}", rules=()))


def _in_form(chain: Chain, form: Form) -> Authors | str:
    """The block in one form, or why that cannot be."""
    spec, (block, _) = chain.specs[0], chain.links()[0]
    if other := contradiction(spec, form):
        return other
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
