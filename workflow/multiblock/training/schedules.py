"""Learning-rate schedules: what a stage's learning rate is multiplied by, iteration by iteration."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multiblock.plan import Stage


@dataclass
class Plateau:
    """What the ``plateau`` schedule has seen in a stage: the best PSNR, how often it was missed, the factor by now."""

    best: float = -math.inf
    missed: int = 0
    factor: float = 1.0

    def look(self, psnr: float, schedule: Mapping[str, Any]) -> None:
        """Take note of a look at the validation images."""
        self.missed = 0 if psnr > self.best else self.missed + 1
        self.best = max(self.best, psnr)
        if self.missed > schedule.get("patience", 10):
            self.factor *= schedule.get("factor", 0.5)
            self.missed = 0


def factor(stage: Stage, iteration: int, plateau: Plateau) -> float:
    """The learning rate of ``iteration``, counted from 0 within the stage, as a multiple of the stage's."""
    schedule = stage.schedule
    match schedule.get("kind"):
        case "cosine":
            # Each of the equal cycles falls along half a cosine from the stage's learning rate to ``to``.
            cycles = schedule.get("restarts", 0) + 1
            place = iteration * cycles / stage.iterations % 1
            floor = schedule.get("to", 0.0) / stage.lr
            return floor + (1 - floor) * (1 + math.cos(math.pi * place)) / 2
        case "step":
            return schedule.get("factor", 0.5) ** (iteration // schedule["every"])
        case "plateau":
            return plateau.factor
        case _:
            return 1.0
