"""Read YAML files, strictly: what is probably a slip is an error that names file and line."""

import copy
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from multiblock.config.explain import shown
from multiblock.config.schema import is_text, plain_values
from multiblock.errors import UserError


class _Loader(yaml.SafeLoader):
    """YAML without keys that are given twice, of which PyYAML takes the last, and without numbers that are not what
    they look like: 0010 and 1:30, which are 8 and 90 to it, are text."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        # As it is written: later on a node holds the keys too that others merge into it by <<.
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode) and name.tag != "tag:yaml.org,2002:merge":
                line = name.start_mark.line + 1
                if name.value in seen:
                    raise UserError(f"line {line}: key '{name.value}' stands in line {seen[name.value]} already")
                seen[name.value] = line
        return node


_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in (_INT, _FLOAT)]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INT, re.compile(r"[-+]?(?:0|[1-9][\d_]*)$", re.ASCII), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(r"[-+]?(?:(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)?|\.(?:inf|Inf|INF|nan|NaN|NAN))$", re.ASCII),
    list("-+0123456789."),
)


def read(files: Iterable[Path]) -> dict[str, Any]:
    """Read YAML files and merge them, later ones over earlier ones.

    Raises:
        UserError: a file cannot be read, is no YAML mapping, or gives a key twice.
    """
    merged: dict[str, Any] = {}
    for file in files:
        try:
            merge(merged, plain_values(_content(file)))
        except UserError as error:
            raise UserError(f"{file}: {error}") from None
    return merged


def _content(file: Path) -> dict[Any, Any]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(
            f"line {line}: cannot be read as YAML: found bytes that are no UTF-8; allowed is UTF-8 text"
        ) from None
    content = _parsed(text)
    if not isinstance(content, dict | None):
        raise UserError(f"found {type(content).__name__}; allowed is a mapping of keys")
    return content or {}


@lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    """The values of a text, not to be changed: one start reads the same files several times."""
    with suppress(ValueError, RecursionError):  # JSON is no YAML where it is indented by tabs
        return json.loads(text, object_pairs_hook=_pairs)
    try:
        return yaml.load(text, _Loader)
    except UserError as error:
        raise UserError(shown(str(error))[1:-1] if "\n" in str(error) else str(error)) from None
    except yaml.MarkedYAMLError as error:
        raise UserError("line {}: cannot be read as YAML: {}".format(*_problem(error))) from None
    except Exception as error:  # the reader lets more than its own errors through: a 13th month is a ValueError
        raise UserError(f"cannot be read as YAML: {' '.join(str(error).split())}") from None


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"key '{name}' stands there twice")
    return dict(pairs)


def _problem(error: yaml.MarkedYAMLError) -> tuple[int, str]:
    """The line in which something is wrong, counted from 1, and what; with the usual reason."""
    problem, mark = " ".join(str(error.problem).split()), error.problem_mark or error.context_mark
    if "could not find expected ':'" in problem and error.context_mark:  # noticed further down
        return error.context_mark.line + 1, "found no colon after a key; allowed are lines such as `seeds: [1]`"
    if "unexpected end of stream" in problem and error.context_mark:
        return error.context_mark.line + 1, "found a quote that is not closed"
    if "\\t" in problem:
        problem = "found a tab; allowed are blanks, as many for all keys of one mapping"
    elif "mapping values are not allowed" in problem:
        problem += "; a colon is missing in the line before, or this one begins at the wrong place"
    return mark.line + 1 if mark else 1, problem


def merge(base: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Lay ``extra`` over ``base``, mapping by mapping; lists and values are replaced, and null takes a key back."""
    for name, value in extra.items():
        if value is None and base.get(name) is not None:
            del base[name]
        elif isinstance(value, Mapping) and isinstance(base.get(name), dict):
            merge(base[name], value)
        else:
            base[name] = copy.deepcopy(value)


def check_whole(config: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Refuse files that are meant to be laid over others, and were given alone.

    Raises:
        UserError: the configuration that they make together says neither what data nor what runs there are.
    """
    if "data" not in config and "runs" not in config:
        names = " and ".join(map(str, files))
        raise UserError(
            f"{names}: found neither data nor runs; a file that is laid over others stands after them, as in "
            f"--configfile config.yaml {files[-1]}"
        )


def overrides(given: Mapping[str, Any]) -> dict[str, Any]:
    """What ``snakemake --config KEY=VALUE`` gives, as YAML reads it: Snakemake leaves all within a value as text.

    Raises:
        UserError: what no key allows.
    """

    def typed(value: Any, place: tuple[Any, ...] = ()) -> Any:
        if isinstance(value, Mapping):
            return {name: typed(item, (*place, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [typed(item, (*place, number)) for number, item in enumerate(value)]
        if isinstance(value, str):
            try:
                read = yaml.load(value, _Loader) if value.strip() else value
            except Exception:  # text that is no YAML is text
                return value
            # What quotes there were around a name are gone by now.
            return read if isinstance(read, list | dict | None) or not is_text(place) else value
        return value

    try:
        return plain_values(typed(given))
    except UserError as error:
        raise UserError(f"--config: {error}") from None
