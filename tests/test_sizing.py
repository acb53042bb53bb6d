"""Runs that are sized by another: equal in compute, to an iteration."""

import copy
import subprocess
import sys
from dataclasses import replace

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ROOT
from multiblock import cli, config
from multiblock.config.explain import advice, equals
from multiblock.config.sizing import proportional, resized, sized, spent
from multiblock.errors import UserError
from multiblock.plan import Plan
from test_plan import PAPER, phase, plan, stage

EXACT = settings(deadline=None, derandomize=True, database=None, max_examples=300)

numbers = st.integers(0, 3000)
sides = st.sampled_from([8, 16, 24, 48, 120])
batches = st.sampled_from([1, 2, 8, 16, 64])
spans = st.sampled_from([PAPER, ["1-3"], ["1", "1-2", "1-3"], ["1", "2", "1-2", "3", "1-3"]])


@st.composite
def plans(draw) -> Plan:
    """Any plan of three blocks, with one to three stages a phase; some stages take no iterations."""
    made = plan(draw(spans), 3)
    return replace(
        made,
        phases=tuple(
            replace(
                one,
                stages=tuple(
                    stage(iterations=draw(numbers), batch=draw(batches), patch=draw(sides))
                    for _ in range(draw(st.integers(1, 3)))
                ),
            )
            for one in made.phases
        ),
    )


def stages(made: Plan):
    return [(one, made.block_pixels_of(phase, one)) for phase in made.phases for one in phase.stages]


@EXACT
@given(other=plans(), own=plans())
def test_a_run_that_is_sized_spends_the_same_to_half_an_iteration(other, own):
    target = spent(other, "block_pixels", "other")
    assert target == other.block_pixels
    written = stages(own)
    least = sum(pixels for one, pixels in written if one.iterations)
    if not target or not least or target < least:
        with pytest.raises(UserError, match=r"^runs.own.equal_to: .* allowed are runs that take "):
            sized(own, target, "block_pixels", "own")
        return
    made = stages(sized(own, target, "block_pixels", "own"))
    assert 2 * abs(sum(one.iterations * pixels for one, pixels in made) - target) <= max(
        pixels for one, pixels in written if one.iterations
    )
    factor = target / sum(one.iterations * pixels for one, pixels in written)
    for (before, pixels), (after, _) in zip(written, made, strict=True):
        assert replace(after, iterations=before.iterations) == before
        assert (after.iterations == 0) == (before.iterations == 0)
        if factor * before.iterations >= 1 and all(
            factor * one.iterations >= 1 for one, _ in written if one.iterations
        ):
            # One more or less, and what is left of the dearest iteration.
            assert abs(after.iterations - factor * before.iterations) <= 1 + max(one for _, one in written) / pixels


@EXACT
@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(0, 500), st.integers(1, 99), st.integers(1, 99)), min_size=1),
    st.integers(1, 10**6),
)
def test_iterations_that_cost_less_while_parts_are_frozen(stages, more):
    def work(written, frozen, cheap, extra):
        def of(iterations):
            without = -(-min(frozen, written) * iterations // written)
            return iterations * (cheap + extra) - without * extra

        return of

    works = [work(*one) for one in stages]
    target = sum(of(1) for of in works) + more
    found = proportional([written for written, *_ in stages], works, target)
    total = sum(of(number) for of, number in zip(works, found, strict=True))
    assert min(found) >= 1 and abs(total - target) <= max(cheap + extra for *_, cheap, extra in stages)


def test_equal_iterations_are_scaled_alike():
    made = sized(plan(["1-3"]), 3 * plan(["1-3"]).block_pixels, "block_pixels", "own")
    assert [one.iterations for one, _ in stages(made)] == [30]
    works = [lambda n: 3 * n, lambda n: n, lambda n: 7 * n]
    assert proportional([10, 10, 10], works, 1100) == [100, 100, 100]
    assert proportional([10, 10, 10], works, 1101) == [100, 101, 100]
    assert proportional([10, 0, 0], works, 100) == [33, 0, 0]  # 99, and not 102


def test_what_a_stage_counts_in_iterations_is_scaled_along():
    written = stage(
        iterations=90,
        warmup=20,
        schedule={"kind": "step", "every": 30, "factor": 0.5},
        parts={"head": {"freeze": 9, "lr": 1e-3}},
    )
    made = resized(written, 100)
    assert (made.schedule["every"], made.parts["head"]["freeze"], made.warmup) == (34, 10, 23)  # no step more
    assert made == resized(made, 100) and resized(written, 90) == written
    looks = stage(schedule={"kind": "plateau", "patience": 3, "factor": 0.5})
    assert resized(looks, 5).schedule == looks.schedule  # not iterations
    everything = resized(stage(iterations=7, parts={"head": {"freeze": 7}}), 100)
    assert everything.parts["head"]["freeze"] == 100


RUNS = {
    "phased": {"chain": ["small", "small"], "plan": [{"span": 1, "stages": "a"}, {"span": "1-2", "stages": "a"}]},
    "one_go": {"chain": ["small", "small"], "plan": [{"span": "1-2", "stages": "b"}], "equal_to": "phased"},
}
STUDY = {
    "data": {"name": "p", "scale": 2, "train": {"photographs": ["brick"]}, "test": {"photographs": ["coffee"]}},
    "blocks": {"small": {"network": "mcan", "channels": 8, "residual_blocks": 1}, "toy": {"network": "toy"}},
    "recipes": {
        "a": [{"iterations": 300, "patch": 16, "batch": 4}, {"iterations": 11, "patch": 24, "batch": 2}],
        "b": [{"iterations": 2, "patch": 32, "batch": 4}, {"iterations": 1, "patch": 16, "batch": 4}],
    },
    "runs": RUNS,
}


def study(shrink=None, **runs):
    return config.load(copy.deepcopy({**STUDY, "runs": {**RUNS, **runs}, "shrink": shrink or {}}))


def block_pixels(made) -> dict[str, int]:
    return {name: run.plan.block_pixels for name, run in made.runs.items()}


@pytest.mark.parametrize("shrink", [{}, {"iterations": 0.1}, {"max_iterations": 20, "batch": 2, "patch": 16}])
def test_runs_are_equal_as_they_run_shrunk_or_not(shrink):
    made = study(shrink)
    pixels = block_pixels(made)
    cheapest = made.runs["one_go"].plan
    assert 2 * abs(pixels["phased"] - pixels["one_go"]) <= min(one for _, one in stages(cheapest))
    # The run that is named is as it would be alone.
    alone = {**RUNS, "one_go": {**RUNS["one_go"], "equal_to": None}}
    del alone["one_go"]["equal_to"]
    assert made.runs["phased"] == study(shrink, **alone).runs["phased"]


def test_the_order_and_the_form_of_the_key_do_not_matter():
    one_go = {**RUNS["one_go"], "equal_to": {"run": "phased"}}
    turned = config.load({**STUDY, "runs": {"one_go": one_go, "phased": RUNS["phased"]}})
    assert turned.runs["one_go"] == study().runs["one_go"]
    assert study(shrink={"seeds": 1}).runs["one_go"].plan.block_pixels > 300 * 4 * 16**2 * 3


def test_a_run_is_compared_with_the_one_that_it_is_equal_to():
    more = {
        "long": RUNS["phased"],
        "go_long": {**RUNS["one_go"], "equal_to": "long"},
        "both": {**RUNS["one_go"], "equal_to": {"run": "phased", "in": "flops"}},
    }
    with_phased = [(name, "phased") for name in ("one_go", "long", "go_long", "both")]
    assert study(**more).pairs == [*with_phased, ("go_long", "long")]
    # A pair with the baseline is one whichever of them is sized by the other.
    turned = config.load(copy.deepcopy({**STUDY, "runs": {**RUNS, **more}, "report": {"baseline": "one_go"}}))
    with_one_go = [(name, "one_go") for name in ("phased", "long", "go_long", "both")]
    assert turned.pairs == [*with_one_go, ("go_long", "long"), ("both", "phased")]


def test_runs_of_other_blocks_are_equal_in_flops():
    other = {"chain": ["toy"], "plan": [{"span": 1, "stages": "b"}], "equal_to": {"run": "phased", "in": "flops"}}
    made = study(other=other)
    flops = {name: spent(run.plan, "flops", name) for name, run in made.runs.items()}
    once = spent(replace(made.runs["other"].plan, phases=(phase("1", patch=32, batch=4, iterations=1),)), "flops", "")
    assert abs(flops["other"] - flops["phased"]) <= once / 2
    assert made.runs["other"].plan.block_pixels < made.runs["phased"].plan.block_pixels / 10


@pytest.mark.parametrize(
    ("equal_to", "says"),
    [
        ("phasd", "unknown run 'phasd'; did you mean 'phased'?; allowed are phased"),
        ("one_go", "found 'one_go', the run itself; allowed are phased"),
        ("third", "found 'third', which is itself sized by another run; allowed are phased"),
        ("elsewhere", "found 'elsewhere', which trains on q, this run on p; allowed are runs on the same data"),
        ("nothing", "the run that it names takes no iterations at all; allowed are runs that take some"),
        ("little", "the run that it names takes 64 block-pixels, one iteration of each stage here 10,240; allowed are"),
        (5, "found 5; allowed is text or a mapping"),
        ({"in": "flops"}, "key 'run' is missing"),
    ],
)
def test_mistakes_name_the_key(equal_to, says):
    own = [{"iterations": 0}]
    few = [{"iterations": 1, "batch": 1, "patch": 8}]
    others = {
        "third": RUNS["one_go"],
        "elsewhere": {**RUNS["phased"], "data": {**STUDY["data"], "name": "q"}},
        "nothing": {"chain": ["small"], "plan": [{"span": 1, "stages": own}]},
        "little": {"chain": ["small"], "plan": [{"span": 1, "stages": few}]},
    }
    with pytest.raises(UserError) as error:
        study(**others, one_go={**RUNS["one_go"], "equal_to": equal_to})
    assert str(error.value).startswith(f"runs.one_go.equal_to: {says}"), error.value


def test_two_runs_that_name_one_another_are_refused():
    with pytest.raises(UserError, match=r"^runs.phased.equal_to: found 'one_go', which is itself sized by another run"):
        study(phased={**RUNS["phased"], "equal_to": "one_go"})


def test_a_run_that_takes_nothing_cannot_be_scaled():
    plan = [{"span": "1-2", "stages": [{"iterations": 0}]}]
    with pytest.raises(UserError, match=r"^runs.one_go.equal_to: this run takes no iterations at all"):
        study(one_go={**RUNS["one_go"], "plan": plan})


def test_a_network_that_cannot_be_counted_is_named():
    plan = [{"span": 1, "stages": [{"iterations": 3, "parts": {"tail": {"freeze": 1}}}]}]
    own = {"chain": ["toy"], "plan": plan, "equal_to": {"run": "phased", "in": "flops"}}
    says = r"^runs.own: the FLOPs of block 1 cannot be counted: parts.tail: no block .* in: block_pixels$"
    with pytest.raises(UserError, match=says):
        study(own=own)


def test_plan_says_what_is_equal(tmp_path, capsys):
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(STUDY))
    cli.main(["plan", str(file)])
    said = capsys.readouterr().out
    pixels = block_pixels(study())
    assert f"in all 622 iterations, {pixels['phased']:,} block-pixels" in said
    assert f"sized by phased: {pixels['one_go']:,} block-pixels for {pixels['phased']:,} (" in said
    first, second = (one.iterations for one, _ in stages(study().runs["one_go"].plan))
    assert f"iterations of stages: phase 1 {first} + {second}" in said
    assert "block-pixels of training, equal to 1% in all runs: one_go, phased (" in said


def test_plan_says_what_differs():
    unsized = {name: value for name, value in RUNS["one_go"].items() if name != "equal_to"}
    lines = list(equals(study(one_go=unsized)))
    assert len(lines) == 1 and lines[0].startswith("block-pixels of training differ by more than 1%: phased (")


def test_plan_says_what_is_known_of_long_chains():
    front = config.load(config.read([ROOT / "studies" / "front.yaml"]))
    assert [line.partition(":")[0] for line in advice(front)] == ["on long chains (docs/studies/front.md)"]
    assert not list(advice(study()))  # three blocks


def test_pytorch_is_not_imported_for_block_pixels():
    program = f"import sys; from multiblock import config; config.load({STUDY!r}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
