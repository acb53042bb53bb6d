"""What a family's folder says of itself: its entries in the zoo, and how authors name the weights that they publish.

A *form* is a way in which weights of one family are published. Its rules pair the authors' name of a layer with ours,
a rule a kind of layer, and are read both ways. Every name of the authors must be met by a rule or be known to be
unused, and every parameter of the network must be given.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

STUDY_002 = "SR-ResUNet study (Dhruv-Sabharwal/Nvidia-Internship)"
STUDY_003 = "SRResNet and PAN study"
STUDY_004 = "lightweight x3 study (yating52997/SuperResolution)"
STUDIES = (STUDY_002, STUDY_003, STUDY_004)
"""Sources whose networks no program knows but their own code."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network of the zoo.

    Args:
        name: its name in a config.
        family: its folder in ``networks/``.
        what: what it is, in a few words.
        source: where it was published.
        scales: the scales that it is offered at.
        options: the options that differ from the family's defaults.
    """

    name: str
    family: str
    what: str
    source: str
    scales: tuple[int, ...] = (2, 3, 4)
    options: Mapping[str, Any] = field(default_factory=dict)


Rule = tuple[str, str]
"""The authors' name of a layer, and ours. ``{k}`` is a whole number, the same in both; ``{k+1}`` is one more than it,
as authors count from 1 where we count from 0, and ``{3k+2}`` three times it and two more. A word in braces, as in
``{modules}``, is that option of the network; such a rule is for writing.
"""


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form in which the weights of a family are published.

    Args:
        source: the repository whose code writes it.
        rules: pairs of names without their ``.weight``, ``.bias`` or the like; the first that meets a name counts.
        also: rules of names that the form has had too; they are read, and not written.
        unused: pattern of names that are stored but never used, or belong to another scale (``{scale}`` stands for
            the scales that were not asked for).
        filled: shapes of the unused tensors that the authors' program asks for, by name, for a network's options.
        absent: pattern of our names that this form does not have, as they are zero.
        options: options that the network needs in order to compute what the authors' code does.
        fixed: further options in which the authors' code leaves no choice.
    """

    source: str
    rules: tuple[Rule, ...]
    also: tuple[Rule, ...] = ()
    unused: str = ""
    filled: Callable[[Mapping[str, Any]], Mapping[str, tuple[int, ...]]] | None = None
    absent: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)


MEAN: tuple[Rule, ...] = (("sub_mean", "subtract_mean"), ("add_mean", "add_mean"))
"""The mean shift before and after a network."""

SHIFTER: tuple[Rule, ...] = tuple((f"{authors}.shifter", ours) for authors, ours in MEAN)
"""The mean shift as a layer within a layer."""

LAPLACIAN: tuple[Rule, ...] = (
    ("b{k+1}.ca.c4.body.0", "body.{k}.attention.excite"),
    ("b{k+1}.ca.c{j+1}.body.0", "body.{k}.attention.squeeze.{j}"),
)
"""The Laplacian attention of DRLN and of what was made from it."""

PARTS = {
    **{part: part for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")},
    "weight_orig": "parametrizations.weight.original",
    "weight_u": "parametrizations.weight.0._u",
    "weight_v": "parametrizations.weight.0._v",
    "sigma": "gamma",
}
"""Parameters of a layer, the authors' name and ours: PyTorch's older spectral norm beside its newer one, and the
scalar of a self-attention."""

_FIELD = re.compile(r"\{(\d*)([a-z])(?:\+(\d+))?\}")


def rename(name: str, form: Form, scale: int) -> str | None:
    """Our name for an authors' name; empty where it is known to be unused, None where no rule meets it."""
    others = "".join(str(other) for other in (2, 3, 4, 8) if other != scale)
    if form.unused and re.fullmatch(form.unused.replace("{scale}", f"[{others}]"), name):
        return ""
    layer, _, part = name.rpartition(".")
    if part not in PARTS:
        return None
    found = _first(layer, form.rules + form.also)
    return None if found is None else f"{found}.{PARTS[part]}"


def rename_back(name: str, form: Form, options: Mapping[str, Any]) -> str | None:
    """The authors' name for one of ours in a network of these options; None where no rule meets it."""
    for authors, ours in PARTS.items():
        if name.endswith(f".{ours}"):
            found = _first(name.removesuffix(f".{ours}"), tuple((our, their) for their, our in form.rules))
            if found is None:
                return None
            return re.sub(r"\{(\w+)\}", lambda one: str(options[one[1]]), f"{found}.{authors}")
    return None


def _first(name: str, rules: tuple[Rule, ...]) -> str | None:
    """The other name of a layer by the first rule that meets it."""
    for met, made in rules:
        if (numbers := _read(met, name)) is not None:
            return _FIELD.sub(lambda one: str(int(one[1] or 1) * numbers[one[2]] + int(one[3] or 0)), made)
    return None


def _read(template: str, name: str) -> dict[str, int] | None:
    """The numbers that a name has in place of a template's fields; None where it does not meet the template."""
    pattern, fields = _compiled(template)
    if not (match := pattern.fullmatch(name)):
        return None
    numbers: dict[str, int] = {}
    for (factor, letter, more), digits in zip(fields, match.groups(), strict=True):
        number, left = divmod(int(digits) - int(more or 0), int(factor or 1))
        if left or number < 0 or numbers.setdefault(letter, number) != number:
            return None
    return numbers


@cache
def _compiled(template: str) -> tuple[re.Pattern[str], list[tuple[str, ...]]]:
    """A template as a pattern with a group a field, and the fields."""
    pattern, end = "", 0
    for found in _FIELD.finditer(template):
        pattern += re.escape(template[end : found.start()]) + r"(0|[1-9]\d{0,8})"
        end = found.end()
    return re.compile(pattern + re.escape(template[end:])), _FIELD.findall(template)
