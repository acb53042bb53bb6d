"""What keys allow: rules in the words of JSON Schema, classes of keys made of them, and what messages say of both.

A rule is a mapping such as ``{"type": "integer", "minimum": 1}``; a class whose fields are keys, which is a rule for
mappings with these keys; or a function that makes a rule of the mapping that the key is in, where one key says what
another one allows.
"""

import json
import os
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, field, fields
from functools import cache
from typing import Any

from multiblock.errors import UserError, listed, nearest

Rule = Any
Place = tuple[Any, ...]
"""Where a value is: names of keys, and numbers of entries of lists."""


# -- Rules, and keys made of them ------------------------------------------------------------------------------


def words(*allowed: Any) -> Rule:
    """One of these values."""
    return {"enum": allowed}


def names_in(table: Mapping[str, Any], not_here: Mapping[str, str] | None = None) -> Rule:
    """One of the names in a table of the package; ``not_here`` says of others why they are not in it."""
    return {"enum": table, "not_here": not_here or {}}


def whole(least: int | None = None, most: int | None = None) -> Rule:
    """A whole number within bounds."""
    return _bounded("integer", minimum=least, maximum=most)


def number(
    least: float | None = None, most: float | None = None, *, above: float | None = None, below: float | None = None
) -> Rule:
    """A number within bounds; ``above`` and ``below`` are not allowed themselves."""
    return _bounded("number", minimum=least, maximum=most, exclusiveMinimum=above, exclusiveMaximum=below)


def text(pattern: str | None = None, allowed: str | None = None, longest: int | None = None) -> Rule:
    """Text; ``allowed`` says in words what the pattern does."""
    return _bounded("string", pattern=pattern, allowed=allowed, maxLength=longest)


def path(**bounds: Any) -> Rule:
    """Text that names a file or folder, in which ~ is the user's own folder."""
    return {**text(**bounds), "path": True}


def list_of(rule: Rule, least: int | None = None, most: int | None = None, *, differ: bool = False) -> Rule:
    """A list whose entries follow a rule; ``differ`` if they all have to."""
    return {**_bounded("array", minItems=least, maxItems=most, uniqueItems=differ or None), "items": rule}


def mapping_of(rule: Rule, names: Rule = None, least: int | None = None) -> Rule:
    """A mapping from names of the user's choice to what follows a rule."""
    return {**_bounded("object", minProperties=least, propertyNames=names), "additionalProperties": rule}


def mapping(properties: Mapping[str, Rule], needed: Iterable[str] = (), least: int | None = None) -> Rule:
    """A mapping with these keys alone."""
    rule = _bounded("object", minProperties=least)
    return {**rule, "properties": properties, "required": list(needed), "additionalProperties": False}


def either(*rules: Rule) -> Rule:
    """What follows one of these rules."""
    return {"anyOf": rules}


def of_types(*rules: Rule) -> Rule:
    """What follows one of these rules, by its type."""
    found = [resolved(rule) for rule in rules]
    return {**{word: bound for rule in found for word, bound in rule.items()}, "type": [rule["type"] for rule in found]}


def _bounded(kind: str, **bounds: Any) -> dict[str, Any]:
    return {"type": kind, **{word: bound for word, bound in bounds.items() if bound is not None}}


FLAG: Rule = {"type": "boolean"}


def setting(rule: Rule, default: Any, more: Callable[[], str] | None = None, *, idle_without: str = "") -> Any:
    """A key with a default, as a field of a class of keys; the docstring of the field says what the key does.

    Args:
        more: what the reference says after that, where it follows from a table of the package.
        idle_without: the key beside it without which the default does nothing; itself where it never does anything.
    """
    about = {"rule": rule, "default": default, "more": more, "idle_without": idle_without}
    return field(default_factory=lambda: default, metadata=about)


def needed(rule: Rule) -> Any:
    """A key that has to be there; see :func:`setting`."""
    return field(metadata={"rule": rule})


def optional(rule: Rule) -> Any:
    """A key that can be left out and has no default; see :func:`setting`."""
    return field(default=None, metadata={"rule": rule})


@cache
def section(keys: type) -> Rule:
    """The rule of a class of keys: a mapping that has them alone, unless the class is ``open``."""
    known = [one for one in fields(keys) if "rule" in one.metadata]
    return {
        "type": "object",
        "properties": {one.name: one.metadata["rule"] for one in known},
        "required": [one.name for one in known if one.default is one.default_factory is MISSING],
        "defaults": {one.name: one.metadata["default"] for one in known if "default" in one.metadata},
        "idle_without": {one.name: one.metadata.get("idle_without") for one in known},
        "additionalProperties": getattr(keys, "open", False),
    }


def resolved(rule: Rule, around: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """A rule as a mapping.

    Args:
        around: the mapping that holds the key that the rule is of.
    """
    if isinstance(rule, type):
        return section(rule)
    return rule(around or {}) if callable(rule) else rule


def of_key(rule: Mapping[str, Any], name: Any) -> Rule:
    """The rule of a key of a mapping, or of an entry of a list; one that allows all where there is none."""
    if isinstance(name, int):
        return rule.get("items", {})
    others = rule.get("additionalProperties")
    return rule.get("properties", {}).get(name, others if others and others is not True else {})


def rule_at(keys: Rule, place: Iterable[Any]) -> Mapping[str, Any]:
    """The rule of a place; one that allows all where there is no rule for it."""
    rule = resolved(keys)
    for part in place:
        rule = resolved(of_key(rule, part))
    return rule


def is_text(keys: Rule, place: Iterable[Any]) -> bool:
    """Whether a place takes text, and no number that could be meant."""
    kinds = rule_at(keys, place).get("type", ())
    return "string" in kinds and not {"number", "integer"}.intersection(kinds)


def completed(value: Any, rule: Rule) -> Any:
    """A value with the defaults of the keys that it leaves out, at every depth, and with whole paths."""
    rule = resolved(rule)
    if isinstance(value, dict):
        given = {**value, **{name: one for name, one in rule.get("defaults", {}).items() if name not in value}}
        return {name: completed(one, of_key(rule, name)) for name, one in given.items()}
    if isinstance(value, list):
        return [completed(one, of_key(rule, 0)) for one in value]
    return expanded(value) if "path" in rule and isinstance(value, str) and not _names_nobody(value) else value


def expanded(path: str) -> str:
    """A path in which ~ is the user's own folder, as all keys and flags that name a file or folder read it.

    Raises:
        UserError: ~ is followed by a name that no user has.
    """
    if _names_nobody(path):
        raise UserError(f"found {shown(path)}{_NOBODY}")
    return os.path.expanduser(path)


def _names_nobody(path: str) -> bool:
    return path.startswith("~") and os.path.expanduser(path) == path


_NOBODY = "; after ~, the name of a user is needed"


# -- What is wrong ---------------------------------------------------------------------------------------------

_TYPES = {"object": dict, "array": list, "string": str, "number": int | float, "integer": int, "boolean": bool}

_RETIRED = {
    "budget": "is a key no more; `multiblock plan FILE --minutes 60 > hour.yaml` writes the iterations that fit into "
    "60 minutes here; allowed is hour.yaml after FILE: --configfile FILE hour.yaml"
}
"""Keys that there were, each with what is to be done instead."""


def problems(value: Any, rule: Rule, place: Place = (), around: Any = None) -> Iterator[tuple[Place, str]]:
    """All that is wrong with a value: each place with a line that names key, what was found and what is allowed."""
    rule = resolved(rule, around)
    if "anyOf" in rule:
        yield from _of_several(value, rule, place)
        return
    if wrong := _wrong(value, rule):
        yield place, f"{key(*place)}: found {shown(value)}{wrong}"
    if isinstance(value, list) and "items" in rule:
        for number, one in enumerate(value):
            yield from problems(one, rule["items"], (*place, number), value)
    elif isinstance(value, dict) and "object" in rule.get("type", ()):
        yield from _of_mapping(value, rule, place)


def _of_mapping(value: Mapping[str, Any], rule: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, str]]:
    known, missing = rule.get("properties", {}), [name for name in rule.get("required", ()) if name not in value]
    for name, one in value.items():
        if name not in known and rule.get("additionalProperties") is False:
            hint = nearest(name, known)
            meant = next((other for other in missing if f"'{other}'" in hint), name)
            missing = [other for other in missing if other != meant]
            says = _RETIRED.get(name) or f"unknown key{hint}; allowed are {listed(known)}"
            yield (*place, meant), f"{key(*place, name)}: {says}"
            continue
        if "propertyNames" in rule and (wrong := _wrong(name, rule["propertyNames"])):
            yield (*place, name), f"{key(*place)}: found {shown(name)}{wrong}"
        yield from problems(one, of_key(rule, name), (*place, name), value)
    for name in missing:
        hints = (
            f"; found '{other}'{hint}" for other in value if other not in known and (hint := nearest(other, [name]))
        )
        yield (*place, name), f"{key(*place)}: key '{name}' is missing{next(hints, '')}"


def _of_several(value: Any, rule: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, str]]:
    """What is wrong with a value that may be of several kinds: with the kind that it is of, if it is of one."""
    rules = [resolved(one) for one in rule["anyOf"]]
    found = [list(problems(value, one, place)) for one in rules]
    if not all(found):
        return
    if inside := [wrong for one, wrong in zip(rules, found, strict=True) if _is_inside(value, one)]:
        yield from inside[0]
        return
    alone = [word for one in rules for word in one.get("enum", ())]
    together = [word for one in rules for word in one.get("properties", ()) if word not in alone]
    if value in together:
        says = f", which goes with others only; allowed are {allowed(rule)}"
    else:
        says = f"{nearest(str(value), map(str, alone + together))}; allowed are {allowed(rule)}"
    yield place, f"{key(*place)}: found {shown(value)}{says}"


def _is_inside(value: Any, rule: Mapping[str, Any]) -> bool:
    """Whether what is wrong with a value is wrong with its entries."""
    return isinstance(value, dict | list) and any(_is_of(value, kind) for kind in _kinds(rule))


def _wrong(value: Any, rule: Mapping[str, Any]) -> str:
    """What is wrong with a value itself, as the end of a message; nothing where nothing is."""
    if "enum" in rule:
        if any(value == word and isinstance(value, bool) == isinstance(word, bool) for word in rule["enum"]):
            return ""
        why = rule.get("not_here", {}).get(str(value).lower())
        hint = f", which {why}" if why else nearest(str(value), map(str, rule["enum"]))
        return f"{hint}; allowed are {listed(rule['enum'])}"
    kinds = _kinds(rule)
    if kinds and not any(_is_of(value, kind) for kind in kinds):
        quotes = ", in quotes where it looks like a number or like true or false"
        hint = quotes if kinds == ["string"] and isinstance(value, int | float) else ""
        return f"; allowed is {allowed({'type': kinds})}{hint}"
    if isinstance(value, str):
        return _wrong_text(value, rule)
    if isinstance(value, list | dict):
        return _wrong_count(value, rule)
    return _beyond(value, rule) if _is_of(value, "number") else ""


def _wrong_text(value: str, rule: Mapping[str, Any]) -> str:
    if len(value) > rule.get("maxLength", len(value)):
        return f"; allowed are at most {rule['maxLength']} characters"
    if "pattern" in rule and not re.search(rule["pattern"], value):
        return f"; allowed is {rule['allowed']}"
    return _NOBODY if "path" in rule and _names_nobody(value) else ""


def _wrong_count(value: list[Any] | dict[str, Any], rule: Mapping[str, Any]) -> str:
    least, most = ("minItems", "maxItems") if isinstance(value, list) else ("minProperties", "maxProperties")
    if len(value) < rule.get(least, 0):
        return f"; allowed are at least {rule[least]} entries"
    if len(value) > rule.get(most, len(value)):
        return f"; allowed are at most {rule[most]} entries"
    if "uniqueItems" in rule and len(set(map(json.dumps, value))) < len(value):
        return "; allowed are entries that all differ"
    return ""


def _beyond(value: float, rule: Mapping[str, Any]) -> str:
    if not value >= rule.get("minimum", value):
        return f"; allowed is at least {rule['minimum']}"
    if "exclusiveMinimum" in rule and not value > rule["exclusiveMinimum"]:
        return f"; allowed is more than {rule['exclusiveMinimum']}"
    if not value <= rule.get("maximum", value):
        return f"; allowed is at most {rule['maximum']}"
    if "exclusiveMaximum" in rule and not value < rule["exclusiveMaximum"]:
        return f"; allowed is below {rule['exclusiveMaximum']}"
    return ""


def _kinds(rule: Mapping[str, Any]) -> list[str]:
    kinds = rule.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _is_of(value: Any, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and isinstance(value, bool) == (kind == "boolean")


def related(place: Place, other: Place) -> bool:
    """Whether two places are the same, or one of them is within the other."""
    return all(one == another for one, another in zip(place, other, strict=False))


# -- How messages name a key, show a value, and say what is allowed --------------------------------------------

_ENTRIES = {"plan": "phase", "stages": "stage", "recipes": "stage", "seeds": "seed", "chain": "block"}
"""What the entries of lists are called, by the key that the list is under."""


def key(*place: Any) -> str:
    """A key as messages name it, lists counted as people do: ``runs.default.plan, phase 4, span``.

    A name that is no plain word is in quotes.
    """
    name = ""
    for depth, part in enumerate(place):
        if isinstance(part, int):
            above = "recipes" if place[0] == "recipes" and depth == 2 else place[depth - 1]
            name += f", {_ENTRIES.get(above, 'entry')} {part + 1}"
        else:
            word = part if re.fullmatch(r"[\w-]+", part) else repr(part)
            name += f"{', ' if depth and isinstance(place[depth - 1], int) else '.' if depth else ''}{word}"
    return name or "config"


def shown(value: Any) -> str:
    """A value as messages show it, cut where it is long."""
    try:
        if isinstance(value, int):
            str(value)  # in place of an error, reprlib has words of its own from Python 3.14 on
        return reprlib.repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return f"{type(value).__name__} of too many digits"


_IN_WORDS = {"object": "a mapping", "array": "a list", "string": "text", "number": "a number"}
_IN_WORDS |= {"integer": "a whole number", "boolean": "true or false"}
_LOW = {"minimum": "from", "exclusiveMinimum": "above"}
_HIGH = {"maximum": "up to", "exclusiveMaximum": "below"}


def allowed(rule: Rule, mark: str = "") -> str:
    """What a rule allows, in words: ``a whole number from 0 to 8``.

    Args:
        mark: is put before and after each word that is typed as it is.
    """
    rule = resolved(rule)
    if "anyOf" in rule:
        return ", or ".join(allowed(choice, mark) for choice in rule["anyOf"])
    if "enum" in rule:
        return listed(f"{mark}{value}{mark}" for value in rule["enum"])
    if "enum" in resolved(rule.get("items", {})):
        return f"a list of {allowed(rule['items'], mark)}"
    return " or ".join(_in_words(kind, rule, mark) for kind in _kinds(rule) or ["object"])


def _in_words(kind: str, rule: Mapping[str, Any], mark: str) -> str:
    name = _IN_WORDS[kind]
    if kind in ("integer", "number"):
        low = next((f"{word} {rule[bound]}" for bound, word in _LOW.items() if bound in rule), "")
        high = next((f"{word} {rule[bound]}" for bound, word in _HIGH.items() if bound in rule), "")
        if low.startswith("from") and high.startswith("up to"):
            high = high.removeprefix("up ")
        elif low and high:
            high = f"and {high}"
        return " ".join(filter(None, (name, low, high)))
    if kind == "object" and "properties" in rule and "defaults" not in rule:  # a class of keys has a table of its own
        names = listed(f"{mark}{name}{mark}" for name in rule["properties"])
        numbers = all(resolved(one).get("type") == "number" for one in rule["properties"].values())
        return f"{name} of {names} to numbers" if numbers else f"{name} with {names}"
    return name
