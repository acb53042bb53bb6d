"""Whether the numbers in ``multiblock.versions`` are those of the code: see keep_values.py."""

import pytest

import keep_values
from multiblock.versions import VERSIONS


@pytest.mark.parametrize("kind", keep_values.MAKERS)
def test_what_is_computed_has_the_version_that_it_says(kind):
    kept, values = keep_values.read()[kind], keep_values.make(kind)
    again = f"keep its values: python tests/keep_values.py {kind}"
    if kept["version"] != VERSIONS[kind]:
        pytest.fail(f"VERSIONS['{kind}'] is {VERSIONS[kind]}, and values are kept of {kept['version']}; {again}")
    if names := keep_values.moved(values, kept["values"]):
        pytest.fail(keep_values.advice(kind, names))
    if others := values.keys() ^ kept["values"].keys():
        pytest.fail(f"`{kind}`: {', '.join(sorted(others))}: kept and not made, or made and not kept; {again}")
