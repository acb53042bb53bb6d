"""Tiny conversions, trainings and measurements, whose figures are kept in ``kept/values.json``.

    python tests/keep_values.py [KIND ...]

keeps the values of the kinds of results that are named, or of all: new values where a kind's number in
``multiblock/versions.py`` was raised, and what was not kept before. Values that have moved under the same number are
refused: either the change was not meant to change what is computed, or the number has to be raised. Where it is the
tiny training itself that was changed, its line is taken out of the file first.

Everything is computed in float64, although the package's own arithmetic is float32: then the figures agree to nine
digits and more on every make of processor, while any change of what is computed moves them. For that, ``float()`` of
tensors is ``double()`` while they are made, and new tensors have 64 bits; the code that runs is the package's own.
"""

import json
import math
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import forked
from kept import results
from kept.material import Values, block, float64, network, sets
from kept.trainings import trainings
from multiblock.versions import VERSIONS

KEPT = Path(__file__).parent / "kept" / "values.json"

MAKERS: dict[str, Callable[[Path], dict[str, Values]]] = {
    "convert": results.conversions,
    "enlarge": results.enlargements,
    "folds": results.dealt,
    "train": trainings,
    "generate": results.generations,
    "evaluate": results.evaluations,
    "take_apart": results.taken_apart,
    "upscale": results.upscaled,
    "table": results.tables,
    "compare": results.comparisons,
    "losses": results.losses,
    "residuals": results.residuals,
    "budget": results.budgets,
}
"""By the kind of result in ``VERSIONS`` that they hold: from a folder to the values by name."""


def make(kind: str) -> dict[str, Values]:
    """The values of a kind, as the code is now."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with float64():
            network(sets(place) / "weights.safetensors", (block(), block()), [True, True])
        return MAKERS[kind](place)


def read() -> dict[str, dict[str, Any]]:
    """What is kept: of each kind its version and its values by name."""
    return json.loads(KEPT.read_text()) if KEPT.is_file() else {}


def moved(values: Mapping[str, Values], kept: Mapping[str, Values]) -> list[str]:
    """The names of values that are in both and are not the same."""
    return [name for name in values if name in kept and not same(values[name], kept[name])]


def same(values: Values, kept: Values) -> bool:
    """Whether texts and whole numbers are equal, and other numbers to nine digits."""

    def close(one: str | float, other: str | float) -> bool:
        if isinstance(one, float) and isinstance(other, float):
            return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
        return one == other

    return len(values) == len(kept) and all(map(close, values, kept))


def problem(kind: str) -> str | None:
    """What is wrong with a kind's version, as a sentence that says what to do; None where nothing is."""
    kept, values = read().get(kind, {"version": "no version", "values": {}}), make(kind)
    again = f"keep the new values: python tests/keep_values.py {kind}"
    if kept["version"] != VERSIONS[kind]:
        return f"VERSIONS['{kind}'] is {VERSIONS[kind]}, and values are kept of {kept['version']}; {again}"
    if names := moved(values, kept["values"]):
        return _changed(kind, names)
    if others := values.keys() ^ kept["values"].keys():
        return f"{', '.join(sorted(others))} of `{kind}`: made and not kept, or kept and not made; {again}"
    return None


def keep(kind: str) -> str | None:
    """Keep the values of a kind; what is wrong, where they have moved under the same number."""
    kept, values = read(), make(kind)
    before = kept.get(kind, {"version": None, "values": {}})
    if before["version"] == VERSIONS[kind] and (names := moved(values, before["values"])):
        return _changed(kind, names)
    # Of those that are the same, the last digits stay as they were.
    stay = {name: old for name, old in before["values"].items() if name in values and same(values[name], old)}
    kept[kind] = {"version": VERSIONS[kind], "values": {**values, **stay}}
    KEPT.write_text(as_text({kind: kept[kind] for kind in MAKERS if kind in kept}))
    return None


def _changed(kind: str, names: list[str]) -> str:
    some = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return (
        f"what `{kind}` computes has changed: {some}. If that is meant, raise VERSIONS['{kind}'] in "
        f"workflow/multiblock/versions.py and keep the new values: python tests/keep_values.py {kind}"
    )


def as_text(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """JSON with a line for each value's name."""
    lines = []
    for kind, one in kept.items():
        values = ",\n".join(f"   {json.dumps(name)}: {json.dumps(value)}" for name, value in one["values"].items())
        lines.append(f' {json.dumps(kind)}: {{\n  "version": {one["version"]},\n  "values": {{\n{values}\n  }}\n }}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    with forked.server():
        refused = [line for kind in sys.argv[1:] or MAKERS if (line := keep(kind))]
    sys.exit("\n".join(refused) or None)
