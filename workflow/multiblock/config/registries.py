"""What the schema says of networks' trainings is read from the registries: a new loss, optimiser, schedule,
degradation, measure or way to start is one entry there, and is allowed, listed and explained here.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from multiblock.config.explain import allowed
from multiblock.data.resize import DEGRADATIONS
from multiblock.inference.measures import MEASURES
from multiblock.training.losses import LOSSES
from multiblock.training.optimisers import OPTIMISERS
from multiblock.training.schedules import SCHEDULES
from multiblock.training.starts import STARTS

Schema = dict[str, Any]


def fill(schema: Schema) -> None:
    """Fill in the registries' entries, where schema.yaml has the keys alone."""
    definitions = schema["$defs"]
    degradation = definitions["data"]["properties"]["degradation"]
    degradation["enum"] = list(DEGRADATIONS)
    _describe(degradation, (f"`{name}` {entry.what}" for name, entry in DEGRADATIONS.items()))
    measures = schema["properties"]["evaluation"]["properties"]["measures"]
    measures["items"]["enum"] = list(MEASURES)
    _describe(measures, (f"`{name}` {entry.what}" for name, entry in MEASURES.items()))
    start = definitions["phase"]["properties"]["start"]
    _describe(start, (f"`{name}`: {entry.what}" for name, entry in STARTS.items()))
    stage = definitions["stage"]
    _fill_losses(stage["properties"]["loss"])
    _fill_optimisers(stage)
    _fill_schedules(stage)


def _describe(rule: Schema, sentences: Iterable[str]) -> None:
    rule["description"] = f"{rule['description'].strip()} {'; '.join(sentences)}."


def _fill_losses(loss: Schema) -> None:
    _describe(loss, (f"`{name}` {entry.what}" for name, entry in LOSSES.items()))
    single, mapping = loss["anyOf"]
    single["enum"] = [name for name, entry in LOSSES.items() if entry.alone]
    mapping["properties"] = {name: {"type": "number", "minimum": 0} for name in LOSSES}


def _fill_optimisers(stage: Schema) -> None:
    properties = stage["properties"]
    properties["optimiser"]["enum"] = list(OPTIMISERS)
    _describe(properties["optimiser"], (f"`{name}`: {entry.what}" for name, entry in OPTIMISERS.items()))
    _describe(properties["options"], (f"`{name}`: {_options(entry.options)}" for name, entry in OPTIMISERS.items()))
    for name, entry in OPTIMISERS.items():
        stage["allOf"].append(
            {
                "if": {"properties": {"optimiser": {"const": name}}},
                "then": {"properties": {"options": _mapping(entry.options)}},
            }
        )


def _fill_schedules(stage: Schema) -> None:
    _describe(
        stage["properties"]["schedule"],
        (f"`kind: {name}` {entry.what}: {_options(entry.options)}" for name, entry in SCHEDULES.items()),
    )
    for name, entry in SCHEDULES.items():
        kind = {"required": ["kind"], "properties": {"kind": {"const": name}}}
        rules = _mapping({"kind": {"type": "string"}, **entry.options})
        rules["required"] = [option for option, rule in entry.options.items() if "default" not in rule]
        stage["allOf"].append({"if": {"properties": {"schedule": kind}}, "then": {"properties": {"schedule": rules}}})
    stage["allOf"].append({"properties": {"schedule": {"properties": {"kind": {"enum": list(SCHEDULES)}}}}})


def _mapping(options: Mapping[str, Any]) -> Schema:
    return {"additionalProperties": False, "properties": dict(options)}


def _options(options: Mapping[str, Mapping[str, Any]]) -> str:
    """Options with what each may be, and in brackets what holds if it is left out."""
    words = []
    for name, rule in options.items():
        default = f" ({json.dumps(rule['default'])})" if "default" in rule else ""
        words.append(f"{name}{default}, {allowed(rule)}")
    return "; ".join(words)
