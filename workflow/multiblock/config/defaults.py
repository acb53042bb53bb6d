"""Which keys a configuration left out, and what it got for them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from multiblock.config.explain import key
from multiblock.config.schema import checked, plain_values

_OWN = ("data", "blocks", "recipes", "runs")
"""Keys whose default is an experiment; it is named, not spelt out."""

_ONLY_WITH = {"lr_name": "lr", "crop_side": "crops", "min_side": None, "iterations": None, "gpus": None}
_ONLY_WITH |= {"ensemble": "images", "format": "images"}
"""Keys whose default does nothing, unless another key is given beside them."""


def defaults(config: Mapping[str, Any]) -> list[str]:
    """What a configuration got for the keys that it left out, as lines; none where it left out none.

    What stages or phases left out is summed up: ``stages: lr 0.0001 (3)``.
    """
    found: dict[str, Counter[str]] = {"": Counter()}
    for place, value in _left_out(plain_values(config), checked(config), ()):
        *above, name = place
        found.setdefault(_group(above), Counter())[f"{name} {_short(value)}"] += 1
    lines = []
    for group, entries in found.items():
        if not entries:
            continue
        summed = group in ("stages", "phases")
        words = [f"{entry} ({count})" if summed else entry for entry, count in entries.items()]
        lines.append(f"  {group}: {', '.join(words)}" if group else f"  {', '.join(words)}")
    return ["left out, so at its default:", *lines] if lines else []


def _left_out(given: Any, full: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The places that ``full`` has and ``given`` has not, with their values."""
    if isinstance(full, dict) and isinstance(given, dict):
        for name, value in full.items():
            if name in given:
                yield from _left_out(given[name], value, (*place, name))
            elif isinstance(value, dict) and not place and name not in _OWN:
                yield from _left_out({}, value, (name,))
            elif value not in ({}, None) and (name not in _ONLY_WITH or _ONLY_WITH[name] in given):
                yield (*place, name), value
    elif isinstance(full, list) and isinstance(given, list):
        for number, (one, other) in enumerate(zip(given, full, strict=False)):
            yield from _left_out(one, other, (*place, number))


def _group(place: list[Any]) -> str:
    """The line that a place belongs to: all stages and all phases have one."""
    if place[:1] == ["recipes"] or "stages" in place:
        return "stages"
    return "phases" if "plan" in place else key(*place) if place else ""


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return f"as in config.yaml ({value.get('name') or ', '.join(value)})"
    return json.dumps(value).replace('"', "")
