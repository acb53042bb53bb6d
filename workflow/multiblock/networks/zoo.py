"""Every network of the studies by name: a family built with certain options.

A new network is a folder beside this file; a new size of one that exists is an entry in its family's folder. Training
does not depend on entries: they are resolved into family and options when a config is read. Nothing here imports
PyTorch.
"""

import importlib
from collections.abc import Mapping
from reprlib import repr as shown
from typing import Any

from multiblock.errors import UserError, listed, nearest
from multiblock.networks import library, registry
from multiblock.networks.family import Entry, Form
from multiblock.plan import RANDOM, Block

_FAMILIES = [importlib.import_module(f"{__package__}.{family}") for family in registry.names()]

ENTRIES: Mapping[str, Entry] = {entry.name: entry for family in _FAMILIES for entry in family.ENTRIES}
"""All entries by name, family by family."""

FORMS: Mapping[str, tuple[Form, ...]] = {
    family: forms
    for family, module in zip(registry.names(), _FAMILIES, strict=True)
    if (forms := getattr(module, "FORMS", ()))
}
"""The forms in which weights are published, by family."""


def find(name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        UserError: there is none.
    """
    if name not in ENTRIES:
        firsts: dict[str, str] = {}
        for entry in ENTRIES.values():
            firsts.setdefault(entry.family, entry.name)
        raise UserError(
            f"unknown network '{name}'{nearest(name, ENTRIES)}; allowed are the names that `multiblock models` lists "
            f"({listed(firsts.values())} and others), spandrel:NAME, or the path of a Python file"
        )
    return ENTRIES[name]


def block(network: str, given: Mapping[str, Any], key: str, scale: int | None = None) -> Block:
    """The block that a config asks for: ``network`` by name, or by the path of its file, with the options ``given``.

    Args:
        key: config key that an error names.
        scale: what a network of the zoo or of the library is built for if ``given`` does not say, where it can; else
            its default stands.

    Raises:
        UserError: there is no such network, option or scale.
    """
    options, family = dict(given), network
    scales = library.scales(network) if library.is_one(network) else None
    if not registry.is_of_others(network):
        try:
            entry = find(network)
        except UserError as error:
            raise UserError(f"{key}.network: {error}") from None
        options, scales, family = {**entry.options, **given}, entry.scales, entry.family
    registry.check_options(family, options, key)
    if "scale" in (known := registry.options(family)):
        options.setdefault("scale", scale if scales and scale in scales else known["scale"][1])
        allowed = scales or tuple(range(1, 9))
        if options["scale"] not in allowed:
            raise UserError(f"{key}.scale: found {shown(options['scale'])}; {network} allows {listed(allowed)}")
    return Block(network=family, options=dict(sorted(options.items())))


def sample(name: str, **options: Any) -> Block:
    """The block called ``name`` as anyone can build it: where it wants a file of weights, at random."""
    known = registry.options(find(name).family)
    needed = {option: RANDOM for option, (_, default) in known.items() if default is ...}
    return block(name, {**needed, **options}, name)
