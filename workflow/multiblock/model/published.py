"""Weights as their authors publish them become weights of ours, name by name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from multiblock.errors import UserError, listed
from multiblock.model.chain import Chain
from multiblock.model.metadata import Provenance
from multiblock.model.state_dict import read
from multiblock.networks import zoo
from multiblock.networks.forms import Form, rename


def import_weights(file: Path, network: str, options: Mapping[str, Any]) -> tuple[Chain, Form]:
    """The network called ``network`` in the zoo, with the published weights in ``file``, and their form.

    Args:
        options: options of the network beside those that its name stands for, such as ``scale``.

    Raises:
        UserError: no form of the network is known, the file cannot be read, or names or shapes are left over on
            either side.
    """
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
    # The form that comes closest is the one to tell of.
    (_, text), form = min(problems, key=lambda item: item[0][0])
    raise UserError(f"{file}: is no {network} x{spec.scale} as {form.source} publishes it: {text}")


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
