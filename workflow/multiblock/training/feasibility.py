"""What can be known of a training before it begins: hours later it would end in the same error.

Every block is built and sees two patches of each stage, with values or as shapes alone. What the config's check
cannot know without PyTorch is found here: options that a network refuses, parts that it does not have, files of
weights that do not fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from multiblock.errors import UserError
from multiblock.model.chain import Chain
from multiblock.networks import registry
from multiblock.plan import RANDOM, Block, Stage, Task, is_file
from multiblock.training import optimisers
from multiblock.training.block_checks import Built, depends_on_rows, described, given, in_short, runs, startable
from multiblock.training.freezing import modules
from multiblock.training.objective import Loss
from multiblock.training.start import starting_chain
from multiblock.training.starts import STARTS

_NO_MATTER: dict[str, Any] = {
    "iterations": 0,
    "lr": 1.0,
    "batch": 1,
    "patch": 8,
    "options": {},
    "schedule": {},
    "parts": {},
    "clamp": "all",
    "ema": None,
    "warmup": 0,
    "clip": None,
    "intermediate": [],
}
"""Of a stage, for its loss."""


class Feasibility:
    """Checks phases; what several have in common is looked at once."""

    def __init__(self) -> None:
        self._done: set[str] = set()
        self._networks: dict[str, nn.Module] = {}

    def check(self, tasks: Sequence[Task], names: Sequence[str], place: str, gpus: Sequence[int] = ()) -> None:
        """Check the phases of a run, in order.

        Args:
            tasks: one of each phase.
            names: what the config calls the blocks of the chain.
            place: what an error names the run's phases by, such as ``runs.default.plan``.
            gpus: how many each phase is trained on; one, where it is not said.

        Raises:
            UserError: the first thing that is wrong, with run, phase and key.
        """
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for task, processes in zip(tasks, gpus or [1] * len(tasks), strict=True):
                try:
                    self._phase(task, names)
                    if processes > 1:
                        self._can_be_shared(task, names, processes)
                except UserError as error:
                    raise UserError(f"{place}, phase {task.phase}{error}") from None

    def _phase(self, task: Task, names: Sequence[str]) -> None:
        """Check a phase. What is wrong is said as the end of a message that begins with run and phase."""
        for name, block, start in zip(names, task.blocks, task.starts, strict=False):
            where = f": blocks.{name} ({block.network})"
            built = Built(block, self._network(block, where))
            self._once(where, described, built)
            if isinstance(start, str) and start in STARTS:
                self._once(where, startable, built, start)
        self._once("", _start, replace(task, seed=0, phase=0, stages=()))
        for number, stage in enumerate(task.stages, 1):
            self._stage(task, stage, names, f", stage {number}")

    def _can_be_shared(self, task: Task, names: Sequence[str], gpus: int) -> None:
        """See that no result depends on which rows of a batch are computed together."""
        for index in range(task.first - 1, task.last):
            block = task.blocks[index]
            layers = self._network(block, "").modules()
            if reason := next(filter(None, map(depends_on_rows, layers)), None):
                raise UserError(
                    f", gpus: found {gpus}; blocks.{names[index]} ({block.network}) has {reason}; allowed is 1"
                )

    def _stage(self, task: Task, stage: Stage, names: Sequence[str], where: str) -> None:
        scale = 1
        for index in range(task.first - 1, task.last):
            block, place = task.blocks[index], f"{where}: blocks.{names[index]} ({task.blocks[index].network})"
            # Batch norms refuse a batch of one value; more than two images are no different from two.
            batch, side = min(stage.batch, 2), stage.patch * scale
            self._once(place, runs, Built(block, self._network(block, place)), batch, side)
            scale *= block.scale
        if stage.parts:
            self._once(where, _parts, task.blocks[task.first - 1 : task.last], task.first, stage.parts)
        self._once(where, _step, stage.optimiser, stage.lr, stage.options)
        self._once(where, _loss, replace(stage, **_NO_MATTER), min(16, stage.patch * scale))

    def _network(self, block: Block, where: str) -> nn.Module:
        """The network of a block, built once."""
        key = repr(block)
        if key not in self._networks:
            try:
                self._networks[key] = registry.build(block.network, block.options)
            except Exception as error:  # whatever a constructor leads to
                raise UserError(f"{where}: cannot be built with {given(block)}: {in_short(error)}") from None
        return self._networks[key]

    def _once(self, where: str, check: Callable[..., None], *of: Any) -> None:
        key = f"{check.__name__} {of!r}"
        if key not in self._done:
            check(where, *of)
            self._done.add(key)


def _start(where: str, task: Task) -> None:
    """Look at the files that blocks start from, and those that their parts do; phases before have left what fits."""
    if not (task.files or any(isinstance(start, str) and is_file(start) for start in task.starts)):
        return
    starts = tuple(start if isinstance(start, str) and is_file(start) else "default" for start in task.starts)
    fresh = [isinstance(start, str) for start in task.starts]
    blocks = tuple(block if new else _without_files(block) for block, new in zip(task.blocks, fresh, strict=True))
    try:
        starting_chain(replace(task, starts=starts, blocks=blocks), {})
    except UserError as error:
        raise UserError(f"{where}, start: {error}") from None


def _without_files(block: Block) -> Block:
    options = {name: RANDOM if value in block.files else value for name, value in block.options.items()}
    return Block(network=block.network, options=options)


def _parts(where: str, blocks: tuple[Block, ...], first: int, parts: dict[str, dict[str, Any]]) -> None:
    """Divide a span into the parts of a stage, and see that something is trained in its first iteration."""
    span = Chain.build(blocks, [True] * len(blocks), first)
    try:
        optimisers.groups(parts, span, 1.0)
    except UserError as error:
        raise UserError(f"{where}, {error}") from None
    frozen = {
        parameter
        for name, part in parts.items()
        if "freeze" in part
        for module in modules(span, name)
        for parameter in module.parameters()
    }
    if not any(parameter.requires_grad and parameter not in frozen for parameter in span.parameters()):
        raise UserError(f"{where}, parts: found all weights frozen at first; something has to be trained")


def _step(where: str, optimiser: str, lr: float, options: dict[str, Any]) -> None:
    """Take one step with the stage's optimiser, on a weight."""
    try:
        weight = nn.Parameter(torch.ones(1))
        made = optimisers.build(optimiser, [weight], lr, options)
        weight.grad = torch.ones(1)
        made.step()
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{where}, options: {optimiser} does not take {options}: {in_short(error)}") from None


def _loss(where: str, stage: Stage, side: int) -> None:
    """Compute the stage's loss of a small image, no larger than its patches, through VGG-16 where it needs that."""
    try:
        image = torch.zeros(1, 3, side, side)
        Loss(stage)(image, image)
    except (UserError, RuntimeError) as error:
        raise UserError(f"{where}, loss: {in_short(error)}") from None
