"""The plan as a picture, a row a phase and a column a block: what is trained when, on which set, from which weights."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from multiblock.plan import INPUT, inherits, is_file, split_file
from multiblock.report.phases import kind

LEFT, BLOCK, GAP, ROW, CELL, RIGHT, TOP = 132, 126, 62, 76, 48, 330, 46
"""Sizes in pixels: the column of phases, a block, the gap before it, a row, the cells in it, the stages, the head."""

_STAGES_SHOWN = 3

Described = Mapping[str, Any]


def picture(plan: Described) -> Markup:
    """The plan, as :meth:`multiblock.plan.Plan.described` gives it, as an SVG element in the page's colours."""
    blocks, phases = len(plan["blocks"]), plan["phases"]
    width, height = _x(blocks) + BLOCK + 20 + RIGHT, TOP + ROW * len(phases)
    parts = [
        Markup('<svg class="plan" role="img" aria-labelledby="plan-title plan-text" width="{0}" height="{1}" ').format(
            width, height
        ),
        Markup('viewBox="0 0 {0} {1}"><title id="plan-title">The plan</title>').format(width, height),
        Markup('<desc id="plan-text">{0}</desc>').format(" ".join(in_words(plan))),
        *_heads(plan["blocks"]),
        *_sets(phases),
        *_ways(phases),
    ]
    for number, phase in enumerate(phases, 1):
        parts += _row(number, phase, blocks)
    return Markup("").join([*parts, Markup("</svg>")])


def in_words(plan: Described) -> Iterator[str]:
    """A sentence a phase."""
    for number, phase in enumerate(plan["phases"], 1):
        first, last = phase["first"], phase["last"]
        what = f"blocks {first} to {last}" if last > first else f"block {first}"
        begun = "; ".join(f"N_{block} {start_of(phase, block)}" for block in range(first, last + 1))
        yield f"Phase {number} trains {what} on {_set(phase)}: {begun}."


def start_of(phase: Described, block: int) -> str:
    """The weights that a block of a phase's span begins with, in words."""
    start = phase["starts"][block - 1]
    if isinstance(start, int):
        return f"from phase {start}"
    if is_file(start):
        return f"from {split_file(start)[0].rpartition('/')[2]}"
    if inherits(start):
        return f"as N_{block - 1}{', zeroed' if start.endswith('zeroed') else ''}"
    return start.replace("_", ", ")


def _set(phase: Described) -> str:
    made, block = phase["reads"]
    return "LR_0, the input" if made == INPUT else f"LR_{block} of phase {made}"


def _x(block: int) -> int:
    """Left of a block's column."""
    return LEFT + GAP * block + BLOCK * (block - 1)


def _y(phase: int) -> int:
    """Top of the cells of a phase's row."""
    return TOP + ROW * (phase - 1) + (ROW - CELL) // 2


def _text(x: int, y: int, text: str, name: str = "", anchor: str = "start") -> Markup:
    return Markup('<text x="{0}" y="{1}" class="{2}" text-anchor="{3}">{4}</text>').format(x, y, name, anchor, text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _heads(networks: Sequence[str]) -> Iterator[Markup]:
    yield _text(0, 18, "phase", "quiet")
    for block, network in enumerate(networks, 1):
        name = network.rpartition("/")[2]
        yield _text(_x(block) + BLOCK // 2, 18, f"block {block}: {_cut(name, 12)}", "quiet", "middle")
    yield _text(_x(len(networks)) + BLOCK + 20, 18, "stages", "quiet")


def _sets(phases: Sequence[Described]) -> Iterator[Markup]:
    """Cached sets: from the phase that made each, down to those that read it."""
    for number, phase in enumerate(phases, 1):
        made, block = phase["reads"]
        x, y = _x(block + 1) - GAP // 2, _y(number)
        if made != INPUT:
            yield Markup('<path class="set" d="M{0} {1} H{2} V{3}"/>').format(
                _x(block) + BLOCK, _y(made) + CELL // 2, x, y + 11
            )
        yield Markup('<rect class="chip" x="{0}" y="{1}" width="46" height="24" rx="4"/>').format(x - 23, y + 12)
        yield _text(x, y + 28, f"LR_{block}", "small", "middle")
        yield Markup('<path class="flow" d="M{0} {1} h7"/>').format(x + 23, y + 24)


def _ways(phases: Sequence[Described]) -> Iterator[Markup]:
    """Weights: from the phase that trained a block last, or from the block before, to where they are gone on with."""
    for number, phase in enumerate(phases, 1):
        for block in range(phase["first"], phase["last"] + 1):
            start = phase["starts"][block - 1]
            middle = _x(block) + BLOCK // 2
            if isinstance(start, int):
                yield _way(middle, _y(start) + CELL, middle, _y(number))
            elif inherits(start):
                before = phase["starts"][block - 2]
                if isinstance(before, int):
                    yield _way(_x(block - 1) + BLOCK - 16, _y(before) + CELL, _x(block) + 16, _y(number))
                else:  # fresh itself
                    yield _way(_x(block - 1) + BLOCK, _y(number) + 36, _x(block), _y(number) + 36)


def _way(x: int, y: int, to_x: int, to_y: int) -> Markup:
    path = Markup('<path class="way" d="M{0} {1} L{2} {3}"/>').format(x, y, to_x, to_y)
    return path + Markup('<circle class="tip" cx="{0}" cy="{1}" r="3"/>').format(to_x, to_y)


def _row(number: int, phase: Described, blocks: int) -> Iterator[Markup]:
    y = _y(number)
    yield _text(0, y + 20, f"phase {number}", "strong")
    yield _text(0, y + 38, phase["title"], "small")
    for block in range(phase["first"], phase["last"] + 1):
        yield Markup('<rect class="trained" x="{0}" y="{1}" width="{2}" height="{3}" rx="5"/>').format(
            _x(block), y, BLOCK, CELL
        )
        yield _text(_x(block) + BLOCK // 2, y + 20, f"N_{block}", "inside strong", "middle")
        yield _text(_x(block) + BLOCK // 2, y + 37, _cut(start_of(phase, block), 19), "inside small", "middle")
    x, stages = _x(blocks) + BLOCK + 20, [stage for stage in phase["stages"] if stage["iterations"]]
    lines = [_stage(stage) for stage in stages[:_STAGES_SHOWN]]
    if len(stages) > _STAGES_SHOWN:
        lines[-1] = f"and {len(stages) - _STAGES_SHOWN + 1} stages more"
    begin = y + CELL // 2 + 4 - 8 * (len(lines) - 1)
    for place, line in enumerate(lines or ["no iterations"]):
        yield _text(x, begin + 16 * place, line, "small")


def _stage(stage: Mapping[str, Any]) -> str:
    batch = f"{stage['batch']} of {stage['patch']}²"
    return f"{stage['iterations']:,} x {stage['optimiser']} {stage['lr']:.3g}, {kind(stage['loss'])}, {batch}"
