"""What follows from a plan of spans."""

from dataclasses import asdict

import pytest

from multiblock.errors import UserError
from multiblock.plan import Block, CachedSet, Phase, Plan, Stage, Task, format_span, parse_span

SMALL = Block(network="mcan", options={"channels": 8})
PAPER = ["1", "2", "3", "1-3"]
NINE = [*PAPER, "4", "5", "6", "4-6", "7", "8", "9", "7-9", "1-9"]


def stage(**changes) -> Stage:
    values = {"iterations": 10, "optimiser": "adam", "lr": 1e-4, "batch": 2, "patch": 8, "loss": {"l1": 1.0}}
    values["clamp"] = True
    values |= changes
    return Stage(**{**values, "clamp": {True: "all", False: "none"}.get(values["clamp"], values["clamp"])})


def phase(span: str, start: str | None = None, **changes) -> Phase:
    first, last = parse_span(span, "span")
    start = start or ("orthogonal" if first == 1 else "inherit")
    return Phase(first=first, last=last, start=start, stages=(stage(**changes),))


def plan(spans: list[str], blocks: int | None = None) -> Plan:
    blocks = blocks or max(parse_span(span, "")[1] for span in spans)
    return Plan(blocks=(SMALL,) * blocks, phases=tuple(phase(span) for span in spans))


def lr(block: int, phase: int) -> CachedSet:
    return CachedSet(phase=phase, block=block)


@pytest.mark.parametrize(
    ("spans", "reads", "makes"),
    [
        (PAPER, [lr(0, 0), lr(1, 1), lr(2, 2), lr(0, 0)], [(1,), (2,), (), ()]),
        (["1-3"], [lr(0, 0)], [()]),
        (["1", "2", "1-2"], [lr(0, 0), lr(1, 1), lr(0, 0)], [(1,), (), ()]),
        ([*PAPER, "4"], [lr(0, 0), lr(1, 1), lr(2, 2), lr(0, 0), lr(3, 4)], [(1,), (2,), (), (3,), ()]),
        # Blocks trained together can be trained on singly: one phase then makes several sets.
        (["1-3", "3", "2"], [lr(0, 0), lr(2, 1), lr(1, 1)], [(1, 2), (), ()]),
        # Training block 1 again makes LR_2 stale; the phase that did so makes it anew.
        (["1", "2", "1", "3"], [lr(0, 0), lr(1, 1), lr(0, 0), lr(2, 3)], [(1,), (), (2,), ()]),
    ],
)
def test_cached_sets(spans, reads, makes):
    made = plan(spans)
    assert [made.reads_set(number) for number in made.numbers] == reads
    assert [made.makes_sets(number) for number in made.numbers] == makes


def test_nine_blocks_read_the_sets_of_the_joint_phases():
    made = plan(NINE)
    assert [made.reads_set(number) for number in (5, 8, 9, 12, 13)] == [
        lr(3, 4),
        lr(3, 4),
        lr(6, 8),
        lr(6, 8),
        lr(0, 0),
    ]
    assert made.set_weights(lr(6, 8)) == {4: 8, 5: 8, 6: 8}
    assert made.owners(13) == dict.fromkeys(range(1, 10), 13)


def test_starting_weights():
    made = plan(PAPER)
    assert [made.task(number, 1).starts for number in made.numbers] == [
        ("orthogonal",),
        (1, "inherit"),
        (1, 2, "inherit"),
        (1, 2, 3),
    ]
    assert [made.reads_weights(number) for number in made.numbers] == [(), (1,), (1, 2), (1, 2, 3)]
    assert plan(["1-3"]).task(1, 1).starts == ("orthogonal",) * 3


def test_a_stale_set_is_made_with_the_newest_weights():
    assert plan(["1", "2", "1", "3"]).set_weights(lr(2, 3)) == {1: 3, 2: 2}


@pytest.mark.parametrize(
    ("spans", "changed", "rerun"),
    [
        (PAPER, 1, (1, 2, 3, 4)),
        (PAPER, 3, (3, 4)),
        (PAPER, 4, (4,)),
        ([*PAPER, "4"], 4, (4, 5)),
        ([*PAPER, "4"], 5, (5,)),
        (["1-3", "3", "2"], 2, (2, 3)),  # the file after phase 3 holds the block of phase 2
    ],
)
def test_what_must_rerun(spans, changed, rerun):
    assert plan(spans).reruns(changed) == rerun


def test_growing_a_plan_leaves_its_phases_as_they_are():
    before, after = plan(PAPER), plan([*PAPER, "4", "1-4"])
    assert [before.task(n, 1) for n in before.numbers] == [after.task(n, 1) for n in before.numbers]
    assert [before.reads_set(n) for n in before.numbers] == [after.reads_set(n) for n in before.numbers]


def test_block_pixels():
    paper = plan(PAPER)
    assert paper.task(1, 1).block_pixels == 10 * 2 * 8 * 8
    assert paper.task(4, 1).block_pixels == 3 * paper.task(1, 1).block_pixels
    enlarging = Plan(blocks=(Block(network="n", options={"scale": 2}), SMALL), phases=(phase("1"), phase("1-2")))
    assert enlarging.task(1, 1).block_pixels == 4 * paper.task(1, 1).block_pixels
    assert enlarging.task(2, 1).block_pixels == 8 * paper.task(1, 1).block_pixels


def test_titles():
    assert [plan(PAPER).title(number) for number in range(1, 5)] == ["N_1", "N_2(N_1)", "N_3(N_2(N_1))", "N"]
    nine = [plan(NINE).title(number) for number in range(1, 14)]
    assert nine[3:8] == ["N_1..3", "N_4(N_1..3)", "N_5(N_1..4)", "N_6(N_1..5)", "N_1..6 (N_4..6 anew)"]
    assert nine[10:] == ["N_9(N_1..8)", "N (N_7..9 anew)", "N"]
    assert plan(["1-3", "2"]).title(2) == "N (N_2 anew)"
    assert plan(["1-2", "1", "3"]).title(2) == "N_1..2 (N_1 anew)"
    assert [plan(["1-2", "3"], blocks=3).title(number) for number in (1, 2)] == ["N_1..2", "N_3(N_2(N_1))"]
    assert plan(["1"]).title(1) == "N_1"


def test_stage_of_an_iteration():
    task = plan(PAPER).task(1, 1)
    two = type(task)(**{**task.__dict__, "stages": (stage(iterations=2), stage(iterations=3, patch=16))})
    assert [two.place(i)[0] for i in range(5)] == [0, 0, 1, 1, 1]
    assert [two.place(i)[1] for i in range(5)] == [0, 1, 0, 1, 2]
    assert two.pixels(1, 3) == 2 * 8 * 8 + 2 * 16 * 16
    with pytest.raises(IndexError):
        two.place(5)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: plan(["1", "3"], 3), "leaves a gap: block 2"),
        (lambda: plan(["2"], 2), "leaves a gap: block 1"),
        (lambda: plan(["1", "1-4"], 3), "goes past the chain's last block; allowed are 1 to 3"),
        (lambda: plan(["1"], 2), "no phase trains block 2"),
        (lambda: Plan(blocks=(SMALL,), phases=(phase("1", "inherit"),)), "block 1 is the first"),
        (
            lambda: Plan(blocks=(SMALL,) * 2, phases=(phase("1-2"), phase("2", "w.safetensors#2"))),
            "phase 2: start w.safetensors#2 would start nothing: span 2 goes on from earlier phases",
        ),
        (
            lambda: Plan(blocks=(SMALL, Block(network="toy")), phases=(phase("1"), phase("2"))),
            "needs block 2 to be built like block 1",
        ),
        (
            lambda: Plan(
                blocks=(SMALL, Block(network="n", options={"scale": 2})), phases=(phase("1"), phase("2", "orthogonal"))
            ),
            "block 2 (n) enlarges x2; only the first",
        ),
        (lambda: Plan(blocks=(), phases=()), "found no block"),
        (lambda: Plan(blocks=(SMALL,), phases=()), "found no phase"),
    ],
)
def test_impossible_plans(make, says):
    with pytest.raises(UserError, match=says.replace("(", r"\(").replace(")", r"\)")):
        make()


@pytest.mark.parametrize("text", ["0", "3-1", "1,2", "", "-1", "a"])
def test_spans_that_are_none(text):
    with pytest.raises(UserError, match="^here: found"):
        parse_span(text, "here")


def test_spans():
    assert parse_span(2, "") == (2, 2)
    assert parse_span(" 1 - 3 ", "") == (1, 3)
    assert [format_span(2, 2), format_span(1, 3)] == ["2", "1-3"]


def test_a_task_survives_as_plain_values():
    task = plan(PAPER).task(4, 7)
    assert Task.from_dict(asdict(task)) == task
