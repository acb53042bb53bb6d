"""The bounds of the schema for the command line: a value that a config may not have is refused there too."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema
import yaml

from multiblock.config.explain import allowed, explain
from multiblock.config.schema import plain_values, resolved, schema
from multiblock.errors import UserError


def rule(name: str) -> Mapping[str, Any]:
    """What the schema says of a key such as ``evaluation.border``, ``data.scale`` or ``data.test.lr_name``.

    Raises:
        KeyError: there is no such key.
    """
    found: Mapping[str, Any] = schema()
    for part in name.split("."):
        found = resolved(resolved(found)["properties"][part])
    return found


def choices(name: str) -> list[Any]:
    """The words that a key allows, for ``choices`` of an argument."""
    return list(rule(name)["enum"])


def argument(name: str) -> Callable[[str], Any]:
    """A ``type`` for an argument of argparse that takes what the schema allows for the key ``name``.

    ``parser.add_argument("--border", type=argument("evaluation.border"))``
    """
    wanted = rule(name)
    plain = {word: bound for word, bound in wanted.items() if word not in ("description", "default")}
    validator = jsonschema.Draft202012Validator(plain)

    def typed(text: str) -> Any:
        try:
            value = text if plain.get("type") == "string" else plain_values(yaml.safe_load(text))
            error = next(validator.iter_errors(value), None)
        except (UserError, yaml.YAMLError, ValueError):
            raise argparse.ArgumentTypeError(f"found {text!r}; allowed is {allowed(plain)}") from None
        if error is not None:
            raise argparse.ArgumentTypeError(explain(error).partition(": ")[2])
        return value

    return typed
