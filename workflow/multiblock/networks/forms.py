"""How authors name the weights that they publish, and how those names become ours.

A *form* is a way in which weights of one family are published. Its rules turn the authors' names into ours, one
regular expression a kind of layer; every name of the file must be met by a rule or be known to be unused, and every
parameter of the network must be given.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Rule = tuple[str, str | Callable[[re.Match[str]], str]]
"""A pattern and our name. In that, ``\\1`` stands for the pattern's first group, and ``{1}`` for one less than its
number: authors count from 1 where we count from 0. A function serves where that is not enough.
"""


@dataclass(frozen=True, kw_only=True)
class Form:
    """One form of a family's weights.

    Args:
        source: the repository whose code writes it.
        rules: pattern of the authors' name without its ``.weight``, ``.bias`` or the like, to our name.
        unused: pattern of names that are stored but never used, or belong to another scale (``{scale}`` stands for
            the scales that were not asked for).
        absent: pattern of our names that this form does not have, as they are zero.
        options: options that the network needs in order to compute what the authors' code does.
    """

    source: str
    rules: tuple[Rule, ...]
    unused: str = ""
    absent: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


MEAN: tuple[Rule, ...] = ((r"sub_mean(?:\.shifter)?", "subtract_mean"), (r"add_mean(?:\.shifter)?", "add_mean"))
"""The mean shift before and after a network."""

LAPLACIAN: tuple[Rule, ...] = (
    (r"b(\d+)\.ca\.c([123])\.body\.0", "body.{1}.attention.squeeze.{2}"),
    (r"b(\d+)\.ca\.c4\.body\.0", "body.{1}.attention.excite"),
)
"""The Laplacian attention of DRLN and of what was made from it."""


def inside(name: str) -> str:
    """A name without the ``.body.`` that the authors put around a layer."""
    return name.replace(".body.", ".")


_LAST = r"(?:\.(weight|bias|running_mean|running_var|num_batches_tracked|weight_orig|weight_u|weight_v))"
_SPECTRAL = {
    "weight_orig": "parametrizations.weight.original",
    "weight_u": "parametrizations.weight.0._u",
    "weight_v": "parametrizations.weight.0._v",
}
"""What PyTorch's older spectral norm calls what its newer one does."""


def rename(name: str, form: Form, scale: int) -> str | None:
    """Our name for an authors' name; empty where it is known to be unused, None where no rule meets it."""
    others = "".join(str(other) for other in (2, 3, 4, 8) if other != scale)
    if form.unused and re.fullmatch(form.unused.replace("{scale}", f"[{others}]"), name):
        return ""
    if name.endswith(".sigma"):
        return f"{inside(name.removesuffix('.sigma'))}.gamma"
    match = re.fullmatch(f"(.*?){_LAST}", name)
    if not match:
        return None
    for pattern, template in form.rules:
        if met := re.fullmatch(pattern, match[1]):
            return f"{_ours(met, template)}.{_SPECTRAL.get(match[2], match[2])}"
    return None


def _ours(met: re.Match[str], template: str | Callable[[re.Match[str]], str]) -> str:
    """Our name by a rule whose pattern has met the authors'."""
    if not isinstance(template, str):
        return template(met)
    return met.expand(re.sub(r"\{(\d)\}", lambda group: str(int(met[int(group[1])]) - 1), template))
