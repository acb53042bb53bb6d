"""A configuration in plain values, checked against the schema, with all defaults filled in.

The schema (schema.yaml beside this file) is the one place where keys, bounds and defaults stand. Errors name
the key, what was found, what is allowed and, for a misspelt word, the nearest known one.
"""

import copy
import re
import reprlib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from multiblock.errors import UserError, listed, nearest

SCHEMA = Path(__file__).with_name("schema.yaml")

LONGEST_TEXT, LARGEST_NUMBER, DEEPEST, MOST = 4096, 10**15, 20, 100_000
"""What no key allows more of: characters in a text, a number's size, levels below one another, values in all."""


@cache
def schema() -> dict[str, Any]:
    """The configuration's JSON schema."""
    return yaml.safe_load(SCHEMA.read_text())


@cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema())


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with all defaults filled in.

    Raises:
        UserError: an unknown key, a wrong type, or a value out of bounds.
    """
    filled = plain_values(config)
    _fill(filled, schema())
    errors = _validator().iter_errors(filled)
    for error in sorted(errors, key=lambda e: (e.validator != "additionalProperties", list(map(str, e.absolute_path)))):
        raise UserError(_explain(error))
    return filled


def plain_values(config: Any) -> Any:
    """A copy in plain values: ``1e-4`` is a number, which YAML 1.1 takes for text, and ``16.0`` is 16.

    Raises:
        UserError: what no key allows, such as a date, a number beyond all bounds, or a list that holds itself.
    """
    quotes = "text, in quotes where YAML takes it for something else"
    values = 0

    def plain(value: Any, place: tuple[Any, ...]) -> Any:
        nonlocal values
        values += 1
        if values > MOST or len(place) > DEEPEST:
            raise UserError(f"{_path(place[:1])}: found too much; allowed are {MOST} values, {DEEPEST} levels deep")
        if isinstance(value, Mapping):
            return {name(key, place): plain(item, (*place, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item, (*place, number)) for number, item in enumerate(value)]
        if isinstance(value, str):
            _check_text(value, _path(place))
            if not re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
                return value
            value = float(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int | float | None):
            kinds = f"numbers, true, false, lists, mappings, and {quotes}"
            raise UserError(f"{_path(place)}: found {shown(value)}; allowed are {kinds}")
        if value is not None and not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:  # nan is not either
            raise UserError(f"{_path(place)}: found {shown(value)}; allowed are numbers up to {LARGEST_NUMBER:.0e}")
        return value

    def name(key: Any, place: tuple[Any, ...]) -> str:
        if not isinstance(key, str):
            raise UserError(f"{_path(place)}: found the key {shown(key)}; allowed is {quotes}")
        _check_text(key, _path(place))
        return key

    return plain(config, ())


def shown(value: Any) -> str:
    """A value as messages show it, cut short where it is long."""
    """A value as messages show it, cut where it is long."""
    try:
        return reprlib.repr(value)
    except ValueError:  # Python writes no number of more than 4300 digits
        return f"{type(value).__name__} of too many digits"


def _check_text(text: str, key: str) -> None:
    """Refuse what no name, folder or word has: characters that break lines or are none."""
    if len(text) > LONGEST_TEXT or re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", text):
        raise UserError(
            f"{key}: found {shown(text)}; allowed is text of up to {LONGEST_TEXT} characters, no control ones"
        )


def _path(place: Iterable[Any]) -> str:
    """A key as messages name it: ``runs.default.plan.0``; what is no plain word stands in quotes."""
    return ".".join(str(part) if re.fullmatch(r"[\w-]+", str(part)) else repr(part) for part in place) or "config"


def _fill(value: Any, rules: Mapping[str, Any]) -> None:
    """Fill in the defaults that ``rules`` give, at every depth."""
    if "$ref" in rules:
        _fill(value, schema()["$defs"][rules["$ref"].rsplit("/", 1)[1]])
    if isinstance(value, dict):
        properties = rules.get("properties", {})
        for key, rule in properties.items():
            if "default" in rule:
                value.setdefault(key, copy.deepcopy(rule["default"]))
            if key in value:
                _fill(value[key], rule)
        others = rules.get("additionalProperties")
        if isinstance(others, Mapping):
            for key in value.keys() - properties.keys():
                _fill(value[key], others)
    elif isinstance(value, list) and "items" in rules:
        for item in value:
            _fill(item, rules["items"])


def _explain(error: jsonschema.ValidationError) -> str:
    """A schema error as one line: key, what was found, what is allowed."""
    key = _path(error.absolute_path)
    found = error.instance
    rule = error.validator_value
    match error.validator:
        case "additionalProperties":
            allowed = list(error.schema.get("properties", {}))
            unknown = next(name for name in found if name not in allowed)
            path = _path([*error.absolute_path, unknown])
            return f"{path}: unknown key{nearest(unknown, allowed)}; allowed are {listed(allowed)}"
        case "required":
            missing = next(name for name in rule if name not in found)
            hints = (f"; found '{name}'{hint}" for name in found if (hint := nearest(name, [missing])))
            return f"{key}: key '{missing}' is missing{next(hints, '')}"
        case "type":
            names = {"object": "a mapping", "array": "a list", "string": "text", "number": "a number"}
            names |= {"integer": "a whole number", "boolean": "true or false"}
            kinds = [rule] if isinstance(rule, str) else rule
            return f"{key}: found {shown(found)}; allowed is {' or '.join(names.get(k, k) for k in kinds)}"
        case "enum":
            return f"{key}: found {shown(found)}{nearest(str(found), map(str, rule))}; allowed are {listed(rule)}"
        case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum":
            signs = {"minimum": "at least", "maximum": "at most"}
            signs |= {"exclusiveMinimum": "more than", "exclusiveMaximum": "below"}
            return f"{key}: found {shown(found)}; allowed is {signs[error.validator]} {rule}"
        case "minItems" | "minProperties" | "maxItems" | "maxLength":
            sign = "at least" if error.validator.startswith("min") else "at most"
            unit = "characters" if error.validator == "maxLength" else "entries"
            return f"{key}: found {shown(found)}; allowed are {sign} {rule} {unit}"
        case "uniqueItems":
            return f"{key}: found {shown(found)}; allowed are entries that all differ"
        case "anyOf":
            words = [str(word) for choice in rule for word in choice.get("enum", choice.get("properties", ()))]
            wrong = [key for key in found if key not in words] if isinstance(found, dict) else [found]
            hint = nearest(str(wrong[0]), words) if wrong else ""
            known = listed(dict.fromkeys(words))
            place = f"{key}: found {shown(wrong[0] if wrong else found)}{hint}"
            return f"{place}; allowed are {known}, or a mapping of them to weights from 0"
        case "pattern":
            return f"{key}: found {shown(found)}; allowed is what matches {rule}"
        case _:
            return f"{key}: {error.message}"
