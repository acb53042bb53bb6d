"""The reference of all config keys, written from the schema."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from multiblock.config.explain import allowed
from multiblock.config.schema import schema

_PARTS = {
    "data": "data",
    "images": "data.train, data.validation, data.test",
    "run": "runs.NAME",
    "phase": "runs.NAME.plan",
    "stage": "recipes.NAME, or stages of a phase",
}


def reference() -> str:
    """The reference as Markdown: for every key what it does, what is allowed, and its default."""
    rules = schema()
    lines = ["# Config reference", "", "Written from the schema by `make docs`. " + rules["description"], ""]
    lines += _table("Top level", {k: v for k, v in rules["properties"].items() if "properties" not in v}, rules)
    for name, rule in rules["properties"].items():
        if "properties" in rule:
            lines += _table(name, rule["properties"], rule)
    for definition, where in _PARTS.items():
        lines += _table(where, rules["$defs"][definition]["properties"], rules["$defs"][definition])
    return "\n".join(lines)


def _table(title: str, properties: Mapping[str, Any], rule: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"## {title}", "")
    if title != "Top level" and "description" in rule:
        yield from (" ".join(rule["description"].split()), "")
    yield from ("| key | allowed | default | what it does |", "|---|---|---|---|")
    for key, entry in properties.items():
        if "default" in entry:
            value = entry["default"]
            default = "see config.yaml" if value and isinstance(value, dict) else f"`{json.dumps(value)}`"
        else:
            default = "needed" if key in rule.get("required", ()) else "none"
        yield f"| `{key}` | {allowed(entry, '`')} | {default} | {' '.join(entry['description'].split())} |"
    yield ""
