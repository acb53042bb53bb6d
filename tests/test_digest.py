"""Which code a result depends on."""

import pytest

from multiblock.files import Digests
from multiblock.networks import registry
from multiblock.plan import Plan
from multiblock.source import digest_of_code
from multiblock.workflow import code_digest, dependencies
from multiblock.workflow.code_digest import PARTS
from test_plan import SMALL, phase, plan

CODE = """
\"\"\"About.\"\"\"
import logging
from multiblock.errors import UserError

SIDE = 3
\"\"\"In pixels.\"\"\"
log = logging.getLogger(__name__)


def f(x: int) -> int:
    \"\"\"What.\"\"\"
    if x < 0:
        raise UserError(f"found {x}")
    log.info("side %d", SIDE)
    return x * SIDE
"""


def seen(text: str) -> str:
    return digest_of_code(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""About."""', '"""Other words."""\n# And a comment.'),
        ('"""What."""', '"""Which."""'),
        ('"""In pixels."""', ""),
        (
            "import logging\nfrom multiblock.errors import UserError",
            "from multiblock.elsewhere import UserError, logging",
        ),
        ('f"found {x}"', 'f"{x} is below zero"'),
        ('log.info("side %d", SIDE)', 'log.warning("so much: %s", SIDE)'),
        ("x: int) -> int", "x: float) -> float"),
        ("return x * SIDE", "return (x * SIDE)"),
    ],
)
def test_what_computes_nothing_does_not_count(old, new):
    assert old in CODE and seen(CODE.replace(old, new)) == seen(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [("SIDE = 3", "SIDE = 4"), ("x * SIDE", "x + SIDE"), ("x < 0", "x <= 0"), ("raise UserError", "raise ValueError")],
)
def test_what_computes_counts(old, new):
    assert old in CODE and seen(CODE.replace(old, new)) != seen(CODE)


def test_every_part_that_is_named_is_there():
    for part in PARTS:
        assert len(code_digest.of(part)) == 32


def test_a_kind_of_result_depends_on_what_makes_it_and_not_on_more():
    for numeric in (
        "training.step",
        "training.objective",
        "training.optimisers:make",
        "data.sampler",
        "networks.layers",
    ):
        assert numeric in PARTS["training"]
    named = {name.partition(":")[0] for name in PARTS["training"]}
    assert not named & {"training.trainer", "training.progress", "training.history", "plan", "files", "errors"}
    assert not any(name.startswith(("report.", "config.", "cli", "workflow.")) for name in named)


def test_networks_count_and_their_entries_in_the_zoo_do_not():
    assert code_digest.of("training", "mcan") != code_digest.of("training", "carn") != code_digest.of("training")
    assert {file.name for file in registry.files("sr_resunet")} == {
        "network.py",
        "resnet.py",
        "layers.py",
        "attention.py",
    }
    assert registry.source("drln") in registry.files("drln_distilled")  # which takes its attention from there


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, None),
        ({"ema": 0.9}, ("stage", "ema")),
        ({"warmup": 3}, ("stage", "warmup")),
        ({"intermediate": [0.1]}, ("stage", "intermediate")),
        ({"loss": {"ssim": 1.0}}, ("loss", "ssim")),
    ],
)
def test_what_a_stage_has_brings_its_code(monkeypatch, changes, name):
    used = dependencies._entries(plan(["1-2"]).task(1, 1)) | dependencies._entries(
        Plan(blocks=(SMALL,) * 2, phases=(phase("1-2", **changes),)).task(1, 1)
    )
    assert (name is None) or name in used
    assert {entry for entry in used if entry in code_digest.ALSO} == ({name} if name else set())
    before = code_digest.of("training", entries=used)
    real = code_digest._digest
    monkeypatch.setattr(
        code_digest, "_digest", lambda code: "other" if code in code_digest.ALSO.get(name, ()) else real(code)
    )
    code_digest.of.cache_clear()
    assert (code_digest.of("training", entries=used) != before) == (name is not None)
    monkeypatch.undo()
    code_digest.of.cache_clear()


def test_code_is_read_once_and_again_where_it_has_changed(monkeypatch, tmp_path):
    def digest(name: str) -> str:
        kept = Digests(tmp_path / "digests.json")
        code_digest.remember(kept)
        try:
            return code_digest._digest(name)
        finally:
            code_digest.remember(None)
            kept.save()

    def not_again(*_):
        raise AssertionError("it was read again")

    real, file = code_digest.source.digest_of_code, tmp_path / "module.py"
    file.write_text("def f(x):\n    return x\n\n\ndef g(x):\n    return 2 * x\n")
    monkeypatch.setattr(code_digest, "PACKAGE", tmp_path)
    found = {name: digest(name) for name in ("module", "module:f", "module:g")}
    assert found == {name: code_digest._digest(name) for name in found} and len(set(found.values())) == 3
    monkeypatch.setattr(code_digest.source, "digest_of_code", not_again)
    assert {name: digest(name) for name in found} == found
    with monkeypatch.context() as changed:  # what counts is decided otherwise
        changed.setattr(code_digest, "_what_counts", lambda: "other")
        with pytest.raises(AssertionError, match="read again"):
            digest("module")
    monkeypatch.setattr(code_digest.source, "digest_of_code", real)
    file.write_text("def f(x):\n    return x\n\n\ndef g(x):\n    return 3 * x\n")
    assert digest("module:f") == found["module:f"]
    assert digest("module:g") != found["module:g"] and digest("module") != found["module"]
