"""Whether the numbers in ``multiblock.versions`` are those of the code: see keep_values.py."""

import pytest

import keep_values
from multiblock.versions import VERSIONS


@pytest.mark.parametrize("kind", keep_values.MAKERS)
def test_what_is_computed_has_the_version_that_it_says(kind):
    if problem := keep_values.problem(kind):
        pytest.fail(problem)


def test_values_that_move_need_a_higher_number_and_the_number_new_values(tmp_path, monkeypatch):
    values = {"one": ["text", 0.1]}
    monkeypatch.setattr(keep_values, "KEPT", tmp_path / "values.json")
    monkeypatch.setattr(keep_values, "MAKERS", {"table": lambda folder: values})
    assert keep_values.keep("table") is None and keep_values.problem("table") is None
    before = keep_values.KEPT.read_text()
    values["one"][1] += 1e-14
    assert keep_values.keep("table") is None and keep_values.KEPT.read_text() == before
    values["one"][1] += 1e-9
    for said in (keep_values.problem("table"), keep_values.keep("table")):
        assert said.startswith("what `table` computes has changed: one. If that is meant, raise VERSIONS['table']")
    monkeypatch.setitem(VERSIONS, "table", VERSIONS["table"] + 1)
    assert keep_values.problem("table").startswith(f"VERSIONS['table'] is {VERSIONS['table']}, and values are kept of ")
    assert keep_values.keep("table") is None and keep_values.problem("table") is None
    values["two"] = ["new"]
    assert keep_values.problem("table").startswith("two of `table`: made and not kept")
