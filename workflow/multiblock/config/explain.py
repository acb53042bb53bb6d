"""How messages name a key, show a value and say what a rule of the schema allows."""

import re
import reprlib
from collections.abc import Iterable, Mapping
from typing import Any

import jsonschema

from multiblock.errors import listed, nearest

_ENTRIES = {"plan": "phase", "stages": "stage", "recipes": "stage", "seeds": "seed", "chain": "block"}
"""What the entries of lists are called, by the key that the list stands under."""


def key(*place: Any) -> str:
    """A key as messages name it, lists counted as people do: ``runs.default.plan, phase 4, span``.

    A name that is no plain word stands in quotes.
    """
    text = ""
    for depth, part in enumerate(place):
        if isinstance(part, int):
            above = "recipes" if place[0] == "recipes" and depth == 2 else place[depth - 1]
            text += f", {_ENTRIES.get(above, 'entry')} {part + 1}"
        else:
            name = part if re.fullmatch(r"[\w-]+", part) else repr(part)
            text += f"{', ' if depth and isinstance(place[depth - 1], int) else '.' if depth else ''}{name}"
    return text or "config"


def shown(value: Any) -> str:
    """A value as messages show it, cut where it is long."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return f"{type(value).__name__} of too many digits"


_BUDGET = (
    "is a key no more; `multiblock plan FILE --minutes 60 > hour.yaml` writes the iterations that fit into 60 minutes "
    "here; allowed is hour.yaml after FILE: --configfile FILE hour.yaml"
)
"""What is said of the key that gave a run so much time."""

_KINDS = {"object": "a mapping", "array": "a list", "string": "text", "number": "a number"}
_KINDS |= {"integer": "a whole number", "boolean": "true or false"}
_LOW = {"minimum": "from", "exclusiveMinimum": "above"}
_HIGH = {"maximum": "up to", "exclusiveMaximum": "below"}


def allowed(rule: Mapping[str, Any], mark: str = "") -> str:
    """What a rule of the schema allows, as words: ``a whole number from 0 to 8``.

    Args:
        mark: stands before and after each word that is typed as it is.
    """
    if "anyOf" in rule:
        return ", or ".join(allowed(choice, mark) for choice in rule["anyOf"])
    if "enum" in rule:
        return listed(f"{mark}{value}{mark}" for value in rule["enum"])
    if "enum" in rule.get("items", {}):
        return f"a list of {allowed(rule['items'], mark)}"
    kinds = rule.get("type", "object")
    words = [_kind(kind, rule, mark) for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    return " or ".join(words)


def _kind(kind: str, rule: Mapping[str, Any], mark: str) -> str:
    text = _KINDS[kind]
    if kind in ("integer", "number"):
        low = next((f"{word} {rule[bound]}" for bound, word in _LOW.items() if bound in rule), "")
        high = next((f"{word} {rule[bound]}" for bound, word in _HIGH.items() if bound in rule), "")
        if low.startswith("from") and high.startswith("up to"):
            high = high.removeprefix("up ")
        elif low and high:
            high = f"and {high}"
        return " ".join(filter(None, (text, low, high)))
    if kind == "object" and "properties" in rule:
        names = listed(f"{mark}{name}{mark}" for name in rule["properties"])
        numbers = all(entry.get("type") == "number" for entry in rule["properties"].values())
        return f"{text} of {names} to numbers" if numbers else f"{text} with {names}"
    return text


def explain(error: jsonschema.ValidationError) -> str:
    """A schema error as one line: key, what was found, what is allowed."""
    place = key(*error.absolute_path)
    found, rule = error.instance, error.validator_value
    match error.validator:
        case "additionalProperties":
            known = list(error.schema.get("properties", {}))
            unknown = next(name for name in found if name not in known)
            path = key(*error.absolute_path, unknown)
            if unknown == "budget":
                return f"{path}: {_BUDGET}"
            return f"{path}: unknown key{nearest(unknown, known)}; allowed are {listed(known)}"
        case "required":
            missing = next(name for name in rule if name not in found)
            hints = (f"; found '{name}'{hint}" for name in found if (hint := nearest(name, [missing])))
            return f"{place}: key '{missing}' is missing{next(hints, '')}"
        case "type":
            quotes = ", in quotes where it looks like a number or like true or false"
            hint = quotes if rule == "string" and isinstance(found, int | float) else ""
            return f"{place}: found {shown(found)}; allowed is {allowed({'type': rule})}{hint}"
        case "enum":
            return f"{place}: found {shown(found)}{nearest(str(found), map(str, rule))}; allowed are {listed(rule)}"
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            signs = {"minimum": "at least", "maximum": "at most"}
            signs |= {"exclusiveMinimum": "more than", "exclusiveMaximum": "below"}
            return f"{place}: found {shown(found)}; allowed is {signs[error.validator]} {rule}"
        case "minItems" | "minProperties" | "maxItems" | "maxLength":
            sign = "at least" if error.validator.startswith("min") else "at most"
            unit = "characters" if error.validator == "maxLength" else "entries"
            return f"{place}: found {shown(found)}; allowed are {sign} {rule} {unit}"
        case "uniqueItems":
            return f"{place}: found {shown(found)}; allowed are entries that all differ"
        case "anyOf":
            return _explain_choice(error, place)
        case "pattern":
            return f"{place}: found {shown(found)}; allowed is {error.schema.get('x-allowed', f'what matches {rule}')}"
        case _:
            return f"{place}: {error.message}"


def _explain_choice(error: jsonschema.ValidationError, place: str) -> str:
    """What is wrong with a value that may be of several kinds: with the kind that it is of, if it is of one."""
    found, rule = error.instance, error.validator_value
    if isinstance(found, dict):
        inside = [cause for cause in error.context or () if cause.validator not in ("enum", "type") or cause.path]
        if inside:
            return explain(min(inside, key=_unknown_keys_first))
    words = [str(word) for choice in rule for word in choice.get("enum", ())]
    together = [word for choice in rule for word in choice.get("properties", ()) if word not in words]
    if found in together:
        return f"{place}: found {shown(found)}, which goes with others only; allowed are {allowed(error.schema)}"
    hint = nearest(str(found), words + together)
    return f"{place}: found {shown(found)}{hint}; allowed are {allowed(error.schema)}"


def _unknown_keys_first(error: jsonschema.ValidationError) -> tuple[bool, list[str]]:
    return error.validator != "additionalProperties", list(map(str, error.absolute_path))


def first(errors: Iterable[jsonschema.ValidationError]) -> str | None:
    """The first thing that is wrong as one line, unknown keys before all else; nothing where nothing is."""
    found = sorted(errors, key=_unknown_keys_first)
    return explain(found[0]) if found else None
