"""What a person reads of a config: the reference of all keys, what keys that were left out got, what runs spend."""

import ast
import inspect
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from itertools import pairwise
from typing import Any

from multiblock.config.keys import SECTIONS, ConfigKeys
from multiblock.config.reading import checked, plain_values
from multiblock.config.rules import Place, Rule, allowed, key, of_key, resolved
from multiblock.config.sizing import UNITS, spent
from multiblock.config.study import Run, Study
from multiblock.plan import EQUAL

# -- All keys --------------------------------------------------------------------------------------------------


def reference() -> str:
    """The reference as Markdown: for every key what it does, what is allowed, and its default."""
    lines = ["# Config reference", "", "Written from `workflow/multiblock/config/keys.py` by `make docs`.", ""]
    for title, keys in SECTIONS.items():
        lines += _table(title, keys)
    return "\n".join(lines)


def _table(title: str, keys: type) -> Iterator[str]:
    yield from (f"## {title}", "", " ".join((inspect.getdoc(keys) or "").split()), "")
    yield from ("| key | allowed | default | what it does |", "|---|---|---|---|")
    sentences = _sentences(keys)
    for one in fields(keys):
        rule, more = one.metadata["rule"], one.metadata.get("more")
        if rule is not SECTIONS.get(one.name) or one.name == "data":  # others have a table of their own
            says = sentences[one.name] + (f" {more()}" if more else "")
            yield f"| `{one.name}` | {allowed(rule, '`')} | {_default(one)} | {says} |"
    yield ""


def _sentences(keys: type) -> dict[str, str]:
    """The docstrings of a class's fields by name, from its source: Python does not keep them."""
    (parsed,) = ast.parse(inspect.getsource(keys)).body
    assert isinstance(parsed, ast.ClassDef)
    return {
        key.target.id: " ".join(says.value.value.split())
        for key, says in pairwise(parsed.body)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(says, ast.Expr) and isinstance(says.value, ast.Constant) and isinstance(says.value.value, str)
    }


def _default(one: Field[Any]) -> str:
    if "default" not in one.metadata:
        return "none" if one.default is None else "needed"
    value = one.metadata["default"]
    return "see config.yaml" if value and isinstance(value, dict) else f"`{json.dumps(value)}`"


# -- What was left out -----------------------------------------------------------------------------------------


def defaults(config: Mapping[str, Any]) -> list[str]:
    """What a configuration got for the keys that it left out, as lines; none where it left out none.

    What stages or phases left out is summed up: ``stages: lr 0.0001 (3)``.
    """
    found: dict[str, Counter[str]] = {"": Counter()}
    for place, value in _left_out(plain_values(config), checked(config), ConfigKeys, ()):
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


def _left_out(given: Any, full: Any, rule: Rule, place: Place) -> Iterator[tuple[Place, Any]]:
    """The places that ``full`` has and ``given`` has not, with their values."""
    rule = resolved(rule)
    if isinstance(full, dict) and isinstance(given, dict):
        for name, value in full.items():
            below, needs = of_key(rule, name), rule.get("idle_without", {}).get(name)
            if name in given or (not place and rule["defaults"].get(name) == {}):  # other defaults are experiments
                yield from _left_out(given.get(name, {}), value, below, (*place, name))
            elif value not in ({}, None) and (not needs or needs in given):
                yield (*place, name), value
    elif isinstance(full, list) and isinstance(given, list):
        for number, (one, other) in enumerate(zip(given, full, strict=False)):
            yield from _left_out(one, other, of_key(rule, number), (*place, number))


def _group(place: list[Any]) -> str:
    """The line that a place belongs to: all stages and all phases have one."""
    if place[:1] == ["recipes"] or "stages" in place:
        return "stages"
    return "phases" if "plan" in place else key(*place) if place else ""


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return f"as in config.yaml ({value.get('name') or ', '.join(value)})"
    return json.dumps(value).replace('"', "")


# -- What runs spend -------------------------------------------------------------------------------------------


def spending(study: Study, run: Run) -> Iterator[str]:
    """What a run spends for one seed, and, where it is sized by another, how that came out."""
    iterations = sum(run.plan.task(number, 0).iterations for number in run.plan.numbers)
    yield f"in all {iterations:,} iterations, {run.plan.block_pixels:,} block-pixels"
    if run.equal_to:
        unit, other = run.equal_to.unit, study.runs[run.equal_to.run].plan
        if unit == "seconds":
            yield from _seconds(run)
            return
        here, there = spent(run.plan, unit, run.name), spent(other, unit, run.equal_to.run)
        yield (
            f"sized by {run.equal_to.run}: {here:,} {UNITS[unit]} for {there:,} ({(here - there) / there:+.3%}); "
            f"iterations of stages: {_stages(run)}"
        )


def _seconds(run: Run) -> Iterator[str]:
    """How a run came out that is sized by the seconds of another."""
    assert run.equal_to
    if not (found := run.equal_to.reckoned):
        yield (
            f"sized by {run.equal_to.run} in seconds, which are measured when the workflow starts; until then the "
            "iterations are those that are written"
        )
        return
    low, high = found.by_round
    yield (
        f"sized by {run.equal_to.run}: {found.here:,.1f} seconds for {found.there:,.1f} "
        f"({found.here / found.there - 1:+.3%}; {low:+.1%} to {high:+.1%} by round of measuring); iterations of "
        f"stages: {_stages(run)}"
    )
    yield f"measured on {found.device}; a round's seconds were up to {found.apart:.0%} off their median"


def _stages(run: Run) -> str:
    phases = [" + ".join(str(stage.iterations) for stage in phase.stages) for phase in run.plan.phases]
    return ", ".join(f"phase {number} {stages}" for number, stages in enumerate(phases, 1))


def advice(study: Study) -> Iterator[str]:
    """What is known of long chains, where a run has one; docs/studies/front.md measured nine blocks."""
    if any(len(run.plan.blocks) >= _LONG for run in study.runs.values()):
        yield (
            "on long chains (docs/studies/front.md): in equal time, minutes of a CPU core, nine blocks ended higher "
            "grown (spans 1, 1-3, 1-9) than in one go, and three blocks in one go were not shown to be worse than that"
        )


_LONG = 6


def equals(study: Study) -> Iterator[str]:
    """Which runs spend the same block-pixels, to 1 %, and which others; nothing where there is nothing to compare."""
    found: dict[int, list[str]] = {}
    for run in study.runs.values():
        pixels = run.plan.block_pixels
        like = next((first for first in found if abs(pixels - first) <= EQUAL * max(first, 1)), pixels)
        found.setdefault(like, []).append(run.name)
    if len(study.runs) == 1:
        return
    groups = [f"{', '.join(names)} ({pixels:.4g})" for pixels, names in found.items()]
    if len(groups) == 1:
        alike = f"block-pixels of training, equal to {EQUAL:.0%} in all runs: {groups[0]}"
        yield f"{alike}; the making of LR_k comes on top"
    else:
        yield f"block-pixels of training differ by more than {EQUAL:.0%}: {'; '.join(groups)}"
