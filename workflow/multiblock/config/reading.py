"""A configuration in plain values: read from YAML files, strictly, laid over one another, and checked.

What is probably a slip is an error that names file and line, or the key.
"""

import argparse
import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from multiblock.config.keys import RUN_NAME, ConfigKeys
from multiblock.config.rules import Place, allowed, completed, is_text, key, problems, rule_at, shown
from multiblock.errors import UserError

LONGEST_TEXT, LARGEST_NUMBER, DEEPEST, MOST = 4096, 10**15, 20, 100_000
"""What no key allows more of: characters in a text, a number's size, levels below one another, values in all."""

_QUOTES = "text, in quotes where YAML takes it for something else"


def checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with all defaults filled in.

    Raises:
        UserError: all unknown keys, wrong types and values out of bounds.
    """
    filled, wrong = examined(config)
    if wrong:
        raise UserError(*(message for _, message in wrong))
    return filled


def examined(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[Place, str]]]:
    """The configuration with all defaults filled in, and what is wrong with it by its keys: each place with a line.

    Raises:
        UserError: it is too large to be one.
    """
    plain, wrong = _plain(config)
    filled = completed(plain, ConfigKeys)
    if "runs" not in plain and "data" in plain:
        _name_after_data(filled)
    digest = hashlib.blake2b(repr(filled).encode(errors="surrogatepass")).digest()
    if digest not in _RIGHT:  # one start asks several times, and a sweep is large
        odd = [place for place, _ in wrong]
        found = problems(filled, ConfigKeys)
        wrong += [(place, line) for place, line in found if not any(place[: len(one)] == one for one in odd)]
        if not wrong:
            _RIGHT.add(digest)
    return filled, wrong


_RIGHT: set[bytes] = set()
"""Digests of the configurations that were found to be right."""


def _name_after_data(filled: dict[str, Any]) -> None:
    """Call the one run of a file that names none after its data set, so that it has a folder of its own."""
    name = filled["data"].get("name") if isinstance(filled["data"], dict) else None
    if re.fullmatch(RUN_NAME["pattern"], str(name)):
        filled["runs"] = {name: next(iter(filled["runs"].values()))}


# -- Plain values ----------------------------------------------------------------------------------------------


def plain_values(config: Any) -> Any:
    """A copy in plain values: ``1e-4`` is a number, which YAML 1.1 takes for text, and ``16.0`` is 16.

    Where a key takes text, ``1e5`` is a name.

    Raises:
        UserError: what no key allows, such as a date, a number beyond all bounds, or a list that holds itself.
    """
    plain, wrong = _plain(config)
    if wrong:
        raise UserError(*(message for _, message in wrong))
    return plain


def _plain(config: Any) -> tuple[Any, list[tuple[Place, str]]]:
    """The same, with what no key allows in place of an error: such values are None, and such keys are left out."""
    wrong: list[tuple[Place, str]] = []
    values = 0

    def plain(value: Any, place: Place) -> Any:
        nonlocal values
        values += 1
        if values > MOST or len(place) > DEEPEST:
            raise UserError(f"{key(*place[:1])}: found too much; allowed are {MOST} values, {DEEPEST} levels deep")
        if isinstance(value, Mapping):
            return {word: plain(item, (*place, word)) for word, item in value.items() if is_name(word, place)}
        if isinstance(value, list | tuple):
            return [plain(item, (*place, number)) for number, item in enumerate(value)]
        value = as_meant(value, place)
        if says := _not_plain(value):
            wrong.append((place, f"{key(*place)}: found {shown(value)}; {says}"))
            return None
        return value

    def as_meant(value: Any, place: Place) -> Any:
        looks_like_a_number = isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value)
        if looks_like_a_number and not is_text(ConfigKeys, place):
            value = float(value)
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def is_name(word: Any, place: Place) -> bool:
        if not isinstance(word, str):
            wrong.append(((*place, word), f"{key(*place)}: found the key {shown(word)}; allowed is {_QUOTES}"))
        elif says := _not_plain(word):
            wrong.append(((*place, word), f"{key(*place)}: found {shown(word)}; {says}"))
        else:
            return True
        return False

    return plain(config, ()), wrong


def _not_plain(value: Any) -> str:
    """What is allowed where a value is what no key allows; nothing where it is plain."""
    if value is None:
        return ""
    if isinstance(value, str):
        # Characters that break lines, or are none.
        odd = len(value) > LONGEST_TEXT or re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", value)
        return f"allowed is text of up to {LONGEST_TEXT} characters, no control ones" if odd else ""
    if not isinstance(value, int | float):
        return f"allowed are numbers, true, false, lists, mappings, and {_QUOTES}"
    within = -LARGEST_NUMBER <= value <= LARGEST_NUMBER  # nan is not either
    return "" if within else f"allowed are numbers up to {LARGEST_NUMBER:.0e}"


# -- Values on the command line --------------------------------------------------------------------------------


def argument(name: str) -> Callable[[str], Any]:
    """A ``type`` for an argument of argparse that takes what the key ``name`` allows.

    ``parser.add_argument("--border", type=argument("evaluation.border"))``

    Raises:
        KeyError: there is no such key.
    """
    rule = rule_at(ConfigKeys, name.split("."))
    if not rule:
        raise KeyError(name)

    def typed(text: str) -> Any:
        try:
            value = text if rule.get("type") == "string" else plain_values(yaml.safe_load(text))
        except (UserError, yaml.YAMLError, ValueError):
            raise argparse.ArgumentTypeError(f"found {text!r}; allowed is {allowed(rule)}") from None
        for _, message in problems(value, rule):
            raise argparse.ArgumentTypeError(message.partition(": ")[2])
        return completed(value, rule)

    return typed


# -- Files -----------------------------------------------------------------------------------------------------


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
                    raise UserError(f"line {line}: key '{name.value}' is in line {seen[name.value]} already")
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
        UserError: a file cannot be read, is not a YAML mapping, gives a key twice, or holds what no key allows.
    """
    layers = []
    for file in files:
        try:
            layers.append(plain_values(_content(file)))
        except UserError as error:
            raise UserError(*(f"{file}: {problem}" for problem in error.problems)) from None
    return merged(layers)


def _content(file: Path) -> dict[Any, Any]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(
            f"line {line}: cannot be read as YAML: found bytes that are not UTF-8; allowed is UTF-8 text"
        ) from None
    content = _parsed(text)
    if not isinstance(content, dict | None):
        raise UserError(f"found {type(content).__name__}; allowed is a mapping of keys")
    return content or {}


@lru_cache(maxsize=8)
def _parsed(text: str) -> Any:
    """The values of a text, not to be changed: one start reads the same files several times."""
    with suppress(ValueError, RecursionError):  # JSON is not YAML where it is indented by tabs
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
            raise UserError(f"key '{name}' is there twice")
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


_TAKEN_BACK = object()


def merged(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay configurations over each other, mapping by mapping; lists and values are replaced, null takes a key back."""
    whole: dict[str, Any] = {}
    for layer in layers:
        _lay(whole, layer)
    return _kept(whole)


def _lay(base: dict[str, Any], extra: Mapping[str, Any]) -> None:
    for name, value in extra.items():
        if value is None and base.get(name) is not None:
            base[name] = _TAKEN_BACK  # only marked, so that a later layer may take it back, too
        elif isinstance(value, Mapping) and isinstance(base.get(name), dict):
            _lay(base[name], value)
        else:
            base[name] = copy.deepcopy(value)


def _kept(config: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in config.items() if value is not _TAKEN_BACK}
    return {name: _kept(value) if isinstance(value, dict) else value for name, value in kept.items()}


def check_whole(config: Mapping[str, Any], files: Sequence[Path]) -> None:
    """Refuse files that are meant to be laid over others, and were given alone.

    Raises:
        UserError: the configuration that they make together says neither what data nor what runs there are.
    """
    if "data" not in config and "runs" not in config:
        names = " and ".join(map(str, files))
        raise UserError(
            f"{names}: found neither data nor runs; a file that is laid over others is named after them, as in "
            f"--configfile config.yaml {files[-1]}"
        )


def overrides(given: Mapping[str, Any], where: str = "--config") -> dict[str, Any]:
    """What ``snakemake --config KEY=VALUE`` gives, as YAML reads it: Snakemake leaves all within a value as text.

    Args:
        where: what an error names it by; a module's configuration is as Snakemake reads it, too.

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
            except Exception:  # what cannot be read as YAML is text
                return value
            # What quotes there were around a name are gone by now.
            return read if isinstance(read, list | dict | None) or not is_text(ConfigKeys, place) else value
        return value

    try:
        return plain_values(typed(given))
    except UserError as error:
        raise UserError(*(f"{where}: {problem}" for problem in error.problems)) from None


def flow(value: Any) -> str:
    """A value as YAML in one line; text is quoted where it has to be, and where it begins like a number."""
    return _dumped(value, True, 10**9).removesuffix("\n").removesuffix("\n...")


def block(value: Any, width: int) -> str:
    """A value as YAML, a line a key, lists wrapped at a width."""
    return _dumped(value, None, width)


def _dumped(value: Any, flow: bool | None, width: int) -> str:
    text: str = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=flow, sort_keys=False, allow_unicode=True, width=width
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Quotes 009 too, which is text in one version of YAML and a number in another."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if re.match(r"[\d.+-]", text) else None)


_Dumper.add_representer(str, _text)
