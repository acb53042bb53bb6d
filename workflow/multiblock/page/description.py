"""A plan in plain values: what its picture needs, and what that depends on."""

from dataclasses import asdict
from typing import Any

from multiblock.plan import Plan


def describe(plan: Plan) -> dict[str, Any]:
    """A plan in plain values, as far as the picture shows it."""
    phases = []
    for number in plan.numbers:
        task, phase, read = plan.task(number, 0), plan.phase(number), plan.reads_set(number)
        phases.append(
            {
                "title": plan.title(number),
                "first": phase.first,
                "last": phase.last,
                "reads": [read.phase, read.block],
                "starts": list(task.starts),
                "stages": [asdict(stage) for stage in phase.stages],
            }
        )
    return {"blocks": [block.network for block in plan.blocks], "phases": phases}
