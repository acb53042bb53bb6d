"""Learning-rate schedules: what a stage's learning rate is multiplied by, iteration by iteration.

Another one is another entry of :data:`SCHEDULES`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from multiblock.plan import Stage

Rule = Mapping[str, Any]
"""What the schema says of one option: a JSON schema, with a default unless the option is needed."""


@dataclass
class Plateau:
    """The state of the ``plateau`` schedule in a stage: the best PSNR, how often it was missed, the factor by now."""

    best: float = -math.inf
    missed: int = 0
    factor: float = 1.0

    def look(self, psnr: float, schedule: Mapping[str, Any]) -> None:
        """Take note of a look at the validation images."""
        options = filled(schedule)
        self.missed = 0 if psnr > self.best else self.missed + 1
        self.best = max(self.best, psnr)
        if self.missed > options["patience"]:
            self.factor *= options["factor"]
            self.missed = 0


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule by name.

    Args:
        what: what it does, for the reference: the end of a sentence that begins with its name.
        options: the schema of each of its options.
        factor: from the stage, the schedule's options, the iteration (counted from 0 within the stage) and what was
            seen of the validation images to the learning rate, as a multiple of the stage's.
        lengths: options that count iterations: they grow and shrink with the stage.
        wrong: from all options and the stage's learning rate to what is wrong with them, as the end of a message that
            begins with the key ``schedule``; nothing where nothing is.
    """

    what: str
    options: Mapping[str, Rule]
    factor: Callable[[Stage, Mapping[str, Any], int, Plateau], float]
    lengths: tuple[str, ...] = ()
    wrong: Callable[[Mapping[str, Any], float], str] = lambda options, lr: ""


def _cosine(stage: Stage, options: Mapping[str, Any], iteration: int, _: Plateau) -> float:
    place = iteration * (options["restarts"] + 1) / stage.iterations % 1
    floor = options["to"] / stage.lr
    return floor + (1 - floor) * (1 + math.cos(math.pi * place)) / 2


def _rises(options: Mapping[str, Any], lr: float) -> str:
    return f".to: found {options['to']:g}; allowed is at most the stage's lr, {lr:g}" if options["to"] > lr else ""


def _step(_: Stage, options: Mapping[str, Any], iteration: int, __: Plateau) -> float:
    return options["factor"] ** (iteration // options["every"])


_FACTOR = {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.5}

SCHEDULES: dict[str, Schedule] = {
    "cosine": Schedule(
        what="falls along half a cosine from the stage's learning rate to `to`, in `restarts` + 1 equal cycles",
        options={
            "to": {"type": "number", "minimum": 0, "default": 0},
            "restarts": {"type": "integer", "minimum": 0, "default": 0},
        },
        factor=_cosine,
        wrong=_rises,
    ),
    "step": Schedule(
        what="is multiplied by `factor` every `every` iterations",
        options={"every": {"type": "integer", "minimum": 1}, "factor": _FACTOR},
        factor=_step,
        lengths=("every",),
    ),
    "plateau": Schedule(
        what="is multiplied by `factor` when the PSNR of the validation images has not risen for more than `patience` "
        "looks",
        options={"patience": {"type": "integer", "minimum": 0, "default": 10}, "factor": _FACTOR},
        factor=lambda stage, options, iteration, plateau: plateau.factor,
    ),
}
"""All schedules by name; a stage without one keeps its learning rate."""


def filled(schedule: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's schedule with what was left out at its default, in a fixed order; nothing where there is none."""
    if not schedule:
        return {}
    options = SCHEDULES[schedule["kind"]].options
    values = {name: schedule.get(name, rule.get("default")) for name, rule in options.items()}
    return {"kind": schedule["kind"], **dict(sorted(values.items()))}


def factor(stage: Stage, iteration: int, plateau: Plateau) -> float:
    """The learning rate of ``iteration``, counted from 0 within the stage, as a multiple of the stage's."""
    return _scheduled(stage, iteration, plateau) * (_warmed_up(stage, iteration) if stage.warmup else 1.0)


def _warmed_up(stage: Stage, iteration: int) -> float:
    """The factor of warm-up on the schedule's learning rate: it rises in a line and is 1 after ``warmup`` iterations.

    See Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.2.
    """
    return min(1.0, (iteration + 1) / stage.warmup)


def _scheduled(stage: Stage, iteration: int, plateau: Plateau) -> float:
    if not stage.schedule:
        return 1.0
    options = filled(stage.schedule)
    return SCHEDULES[options["kind"]].factor(stage, options, iteration, plateau)
