"""A configuration in plain values, checked against the schema, with all defaults filled in.

The schema (schema.yaml beside this file, and the registries) is the one place where keys, bounds and defaults stand.
Errors name the key, what was found, what is allowed and, for a misspelt word, the nearest known one.
"""

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from multiblock.config import explain, registries
from multiblock.config.explain import key, shown
from multiblock.errors import UserError

SCHEMA = Path(__file__).with_name("schema.yaml")

LONGEST_TEXT, LARGEST_NUMBER, DEEPEST, MOST = 4096, 10**15, 20, 100_000
"""What no key allows more of: characters in a text, a number's size, levels below one another, values in all."""


@cache
def schema() -> dict[str, Any]:
    """The configuration's JSON schema, with the entries of all registries."""
    rules = yaml.load(SCHEMA.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    registries.fill(rules)
    return rules


@cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema())


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with all defaults filled in.

    Raises:
        UserError: an unknown key, a wrong type, or a value out of bounds.
    """
    filled = plain_values(config)
    unnamed = "runs" not in filled and "data" in filled
    _fill(filled, schema())
    if unnamed:
        _name_after_data(filled)
    digest = hashlib.blake2b(json.dumps(filled).encode()).digest()
    if digest not in _RIGHT:  # one start asks several times, and a sweep is large
        if wrong := explain.first(_validator().iter_errors(filled)):
            raise UserError(wrong)
        _RIGHT.add(digest)
    return filled


_RIGHT: set[bytes] = set()
"""Digests of the configurations that were found to be right."""


def _name_after_data(filled: dict[str, Any]) -> None:
    """Call the one run of a file that names none after its data set, so that it has a folder of its own."""
    name = filled["data"].get("name") if isinstance(filled["data"], dict) else None
    if re.fullmatch(schema()["properties"]["runs"]["propertyNames"]["pattern"], str(name)):
        filled["runs"] = {name: next(iter(filled["runs"].values()))}


def plain_values(config: Any) -> Any:
    """A copy in plain values: ``1e-4`` is a number, which YAML 1.1 takes for text, and ``16.0`` is 16.

    Where a key takes text, ``1e5`` is a name.

    Raises:
        UserError: what no key allows, such as a date, a number beyond all bounds, or a list that holds itself.
    """
    quotes = "text, in quotes where YAML takes it for something else"
    values = 0

    def plain(value: Any, place: tuple[Any, ...]) -> Any:
        nonlocal values
        values += 1
        if values > MOST or len(place) > DEEPEST:
            raise UserError(f"{key(*place[:1])}: found too much; allowed are {MOST} values, {DEEPEST} levels deep")
        if isinstance(value, Mapping):
            return {name(word, place): plain(item, (*place, word)) for word, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item, (*place, number)) for number, item in enumerate(value)]
        if isinstance(value, str):
            _check_text(value, key(*place))
            if not re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value) or is_text(place):
                return value
            value = float(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int | float | None):
            kinds = f"numbers, true, false, lists, mappings, and {quotes}"
            raise UserError(f"{key(*place)}: found {shown(value)}; allowed are {kinds}")
        if value is not None and not -LARGEST_NUMBER <= value <= LARGEST_NUMBER:  # nan is not either
            raise UserError(f"{key(*place)}: found {shown(value)}; allowed are numbers up to {LARGEST_NUMBER:.0e}")
        return value

    def name(word: Any, place: tuple[Any, ...]) -> str:
        if not isinstance(word, str):
            raise UserError(f"{key(*place)}: found the key {shown(word)}; allowed is {quotes}")
        _check_text(word, key(*place))
        return word

    return plain(config, ())


def is_text(place: Iterable[Any]) -> bool:
    """Whether a key takes text, and no number that could be meant."""
    rules = schema()
    for part in place:
        rules = resolved(rules)
        below = rules.get("items") if isinstance(part, int) else rules.get("properties", {}).get(part)
        below = rules.get("additionalProperties") if below is None else below
        rules = below if isinstance(below, dict) else {}
    kinds = resolved(rules).get("type", ())
    return "string" in kinds and not {"number", "integer"}.intersection(kinds)


def resolved(rules: Mapping[str, Any]) -> dict[str, Any]:
    """A rule of the schema, with what it refers to."""
    if "$ref" not in rules:
        return dict(rules)
    return {**schema()["$defs"][rules["$ref"].rsplit("/", 1)[1]], **rules}


def _check_text(text: str, place: str) -> None:
    """Refuse what no name, folder or word has: characters that break lines or are none."""
    if len(text) > LONGEST_TEXT or re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", text):
        raise UserError(
            f"{place}: found {shown(text)}; allowed is text of up to {LONGEST_TEXT} characters, no control ones"
        )


def _fill(value: Any, rules: Mapping[str, Any]) -> None:
    """Fill in the defaults that ``rules`` give, at every depth."""
    if "$ref" in rules:
        _fill(value, schema()["$defs"][rules["$ref"].rsplit("/", 1)[1]])
    if isinstance(value, dict):
        properties = rules.get("properties", {})
        for name, rule in properties.items():
            if "default" in rule:
                value.setdefault(name, copy.deepcopy(rule["default"]))
            if name in value:
                _fill(value[name], rule)
        others = rules.get("additionalProperties")
        if isinstance(others, Mapping):
            for name in value.keys() - properties.keys():
                _fill(value[name], others)
    elif isinstance(value, list) and "items" in rules:
        for item in value:
            _fill(item, rules["items"])
