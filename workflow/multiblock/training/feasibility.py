"""What can be known of a training before it begins: hours later it would end in the same error.

Every block is built and sees two patches of each stage, with values or as shapes alone. What the config's check
cannot know without PyTorch is found here: options that a network refuses, parts that it does not have, files of
weights that do not fit.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from multiblock.errors import UserError, listed
from multiblock.model import receptive_field
from multiblock.model.chain import Chain
from multiblock.model.complexity import without_values
from multiblock.networks import registry
from multiblock.plan import RANDOM, Block, Stage, Task, is_file
from multiblock.runtime.compilation import untouched
from multiblock.training import optimisers
from multiblock.training.objective import Loss
from multiblock.training.starts import STARTS, starting_chain
from multiblock.training.step import parameter_groups, part_modules

QUICK = 10**9
"""Parameters x pixels up to which a network is run with values, in less than a second. A larger one sees shapes alone,
on PyTorch's device ``meta``, which itself takes seconds at first; one of a user's own may need values."""


class Feasibility:
    """Checks phases; what several have in common is checked once."""

    def __init__(self) -> None:
        self._done: set[str] = set()
        self._networks: dict[str, nn.Module] = {}
        self.words: list[str] = []
        """What is no error and should be known."""

    def check(self, tasks: Sequence[Task], names: Sequence[str], place: str, gpus: Sequence[int] = ()) -> None:
        """Check the phases of a run, in order.

        Args:
            tasks: one of each phase.
            names: what the config calls the blocks of the chain.
            place: what an error names the run's phases by, such as ``runs.default.plan``.
            gpus: how many GPUs each phase is trained on; one, if none are given.

        Raises:
            UserError: the first thing that is wrong, with run, phase and key.
        """
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for task, processes in zip(tasks, gpus or [1] * len(tasks), strict=True):
                try:
                    self._check_phase(task, names)
                    if processes > 1:
                        self._check_layers(task, names, _depends_on_rows, f", gpus: found {processes}", "1")
                except UserError as error:
                    raise UserError(f"{place}, phase {task.phase}{error}") from None

    def _check_phase(self, task: Task, names: Sequence[str]) -> None:
        """Check a phase. The error is the end of a message that begins with run and phase."""
        for name, block, start in zip(names, task.blocks, task.starts, strict=False):
            where = f": blocks.{name} ({block.network})"
            network = self._network(block, where)
            self._once(where, _check_description, block, network=network)
            if isinstance(start, str) and start in STARTS:
                self._once(where, _check_start, block, start, network=network)
        self._once("", _check_files, replace(task, seed=0, phase=0, stages=()))
        for number, stage in enumerate(task.stages, 1):
            self._check_stage(task, stage, names, f", stage {number}")
            if stage.accumulate != 1:
                found = f", stage {number}, accumulate: found {stage.accumulate}"
                self._check_layers(task, names, _depends_on_batch, found, "to leave accumulate out")
        for name, block in zip(names, task.blocks, strict=False):
            if block.network.endswith(".py"):
                where = f": blocks.{name} ({block.network})"
                self._once(where, self._check_field, block, network=self._network(block, where))

    def _check_layers(
        self, task: Task, names: Sequence[str], wrong: Callable[[nn.Module], str | None], found: str, allowed: str
    ) -> None:
        """Check that no layer of the phase's blocks has what ``wrong`` says of it."""
        for index in range(task.first - 1, task.last):
            block = task.blocks[index]
            layers = self._network(block, "").modules()
            if reason := next(filter(None, map(wrong, layers)), None):
                place = f"blocks.{names[index]} ({block.network})"
                raise UserError(f"{found}; {place} has {reason}; allowed is {allowed}")

    def _check_stage(self, task: Task, stage: Stage, names: Sequence[str], where: str) -> None:
        scale = 1
        for index in range(task.first - 1, task.last):
            block, place = task.blocks[index], f"{where}: blocks.{names[index]} ({task.blocks[index].network})"
            # Batch norms refuse a batch of one value; more than two images are no different from two.
            batch, side = min(stage.batch, 2), stage.patch * scale
            self._once(place, _check_run, block, batch, side, network=self._network(block, place))
            if stage.recompute:
                self._once(place, _check_again, block, side, network=self._network(block, place))
            scale *= block.scale
        if stage.parts:
            self._once(where, _check_parts, task.blocks[task.first - 1 : task.last], task.first, stage.parts)
        self._once(where, _check_optimiser, stage.optimiser, stage.lr, stage.options)
        self._once(where, _check_loss, stage.loss, stage.vgg16, min(16, stage.patch * scale), stage=stage)

    def _network(self, block: Block, where: str) -> nn.Module:
        """The network of a block, built once."""
        key = repr(block)
        if key not in self._networks:
            try:
                self._networks[key] = registry.build(block.network, block.options)
            except Exception as error:  # whatever a constructor leads to
                raise UserError(f"{where}: cannot be built with {_options(block)}: {_in_short(error)}") from None
        return self._networks[key]

    def _check_field(self, where: str, block: Block, network: nn.Module) -> None:
        """Hold the receptive field that a network of a user's own declares against what it sees."""
        spec = registry.describe(network)
        declared, name = spec.receptive_field, where.removeprefix(": ")
        try:
            sees = receptive_field.measured(network, spec)
        except Exception as error:  # whatever a network leads to, such as one that takes no such image
            self.words.append(f"{name}: its receptive field cannot be measured: {_in_short(error)}")
            return
        if sees is None:
            self.words.append(f"{name}: its receptive_field, {declared}, is taken on trust, as it cannot be measured")
        elif sees // 2 > declared // 2:
            open_end = sees // 2 == declared // 2 + receptive_field.BEYOND
            further = f"{sees} or more; or a layer pools over the image and has no sees_whole_image = True"
            raise UserError(
                f"{where}: receptive_field: found {declared}, and an output pixel sees "
                f"{further if open_end else sees}; tiles would show lines"
            )
        elif sees // 2 < declared // 2:
            self.words.append(
                f"{name}: receptive_field {declared} is more than the {sees} that an output pixel sees, so tiles "
                "overlap more than they need"
            )

    def _once(self, where: str, check: Callable[..., None], *of: Any, **more: Any) -> None:
        """Call a check unless it was called with the same ``of`` before; ``more`` follows from that."""
        key = f"{check.__name__} {of!r}"
        if key not in self._done:
            check(where, *of, **more)
            self._done.add(key)


def _check_description(where: str, block: Block, network: nn.Module) -> None:
    """Check what a block's network says of itself, and that its weights can be kept in a file."""
    state = network.state_dict()
    try:
        registry.describe(network)
        if others := [name for name, value in state.items() if not isinstance(value, Tensor)]:
            raise UserError(f"keeps {listed(others)}; what a file of weights can hold are parameters and buffers")
        if others := [file for file in registry.describe(network).pretrained.values() if file not in block.files]:
            raise UserError(
                f"pretrained: found {others[0]}, which no option names; allowed is a file that an option called "
                "..._weights names, so that its content counts"
            )
    except UserError as error:
        raise UserError(f"{where}: {_in_short(error)}") from None
    if wrong := [name for name, value in state.items() if not value.isfinite().all()]:
        raise UserError(
            f"{where}: {wrong[0]} is built with values that are not finite, with which no file of weights is written; "
            "a buffer that is not learnt can be registered with persistent=False"
        )


def _check_start(where: str, block: Block, start: str, network: nn.Module) -> None:
    """Check that a way to start can set the weights of a block."""
    last = registry.describe(network).output_layer
    by_hooks = [name.removesuffix(".weight_g") for name, _ in network.named_parameters() if name.endswith(".weight_g")]
    if STARTS[start].draw and by_hooks:  # which make their weights of others before each forward pass
        raise UserError(
            f"{where}: start {start} would not reach the weights of {by_hooks[0]}; allowed are start default, or "
            "torch.nn.utils.parametrizations.weight_norm"
        )
    if not STARTS[start].zeroed:
        return
    try:
        names = [name for name, _ in network.get_submodule(last).named_parameters()]
    except AttributeError as error:
        raise UserError(f"{where}: {_in_short(error)}") from None
    if any(re.search(r"parametrizations\.|weight_(g|orig)$", name) for name in names):
        raise UserError(
            f"{where}: start {start} would zero {last}, and weights that are divided by their norm cannot be zero; "
            "allowed are ways to start that do not zero, or a last layer without norm"
        )


def _check_run(where: str, block: Block, batch: int, side: int, network: nn.Module) -> None:
    """Show a block one batch of a stage, as in training."""
    weights = set(network.state_dict())
    wanted = (batch, 3, side * block.scale, side * block.scale)
    try:
        found = _output_shape(block, network, (batch, 3, side, side))
    except Exception as error:  # whatever a network leads to
        raise UserError(
            f"{where}: with {_options(block)} it takes no patches of {side} pixels: {_in_short(error)}"
        ) from None
    if found != wanted:
        raise UserError(
            f"{where}: makes {found} of {batch} patches of {side} pixels; with scale {block.scale}, {wanted} is needed"
        )
    if changed := sorted(weights ^ set(network.state_dict())):
        raise UserError(
            f"{where}: has other weights once it has run: {listed(changed)}; they are to be there when it is built, or "
            "registered with persistent=False"
        )


def _check_again(where: str, block: Block, side: int, network: nn.Module) -> None:
    """Check that a block which is computed again for the backward pass finds all as it was the first time."""
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    image = torch.rand(2, 3, side, side)
    shown = image.clone()
    with untouched(network, image.device):
        network.train()(shown)
        changed = [name for name, buffer in network.named_buffers() if not torch.equal(buffer, before[name])]
    if changed or not torch.equal(shown, image):
        what = listed(changed[:3]) if changed else "its input"
        raise UserError(
            f"{where}: recompute: found blocks, and it changes {what} each time that it runs; allowed is to leave "
            "recompute out"
        )


def _output_shape(block: Block, network: nn.Module, shape: tuple[int, int, int, int]) -> tuple[int, ...]:
    """The shape of what a block makes of a batch; from a network of others gradients are computed too."""
    if registry.is_of_others(block.network):
        with torch.enable_grad():
            output = network.train()(torch.zeros(shape))
            if output.requires_grad:
                output.sum().backward()
        network.zero_grad()
        return tuple(output.shape)
    if sum(parameter.numel() for parameter in network.parameters()) * shape[0] * shape[2] * shape[3] <= QUICK:
        return tuple(network.train()(torch.zeros(shape)).shape)
    with without_values():
        return tuple(registry.build(block.network, block.options).train()(torch.zeros(shape)).shape)


def _check_files(where: str, task: Task) -> None:
    """Check the files that blocks and their parts start from; what phases before leave fits."""
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


def _check_parts(where: str, blocks: tuple[Block, ...], first: int, parts: dict[str, dict[str, Any]]) -> None:
    """Check that a span has the parts of a stage, and that something is trained in its first iteration."""
    span = Chain.build(blocks, [True] * len(blocks), first)
    try:
        parameter_groups(parts, span, 1.0)
    except UserError as error:
        raise UserError(f"{where}, {error}") from None
    frozen = {
        parameter
        for name, part in parts.items()
        if "freeze" in part
        for module in part_modules(span, name)
        for parameter in module.parameters()
    }
    if not any(parameter.requires_grad and parameter not in frozen for parameter in span.parameters()):
        raise UserError(f"{where}, parts: found all weights frozen at first; something has to be trained")


def _check_optimiser(where: str, optimiser: str, lr: float, options: dict[str, Any]) -> None:
    """Take one step with the stage's optimiser, on a weight."""
    try:
        weight = nn.Parameter(torch.ones(1))
        made = optimisers.build(optimiser, [weight], lr, options)
        weight.grad = torch.ones(1)
        made.step()
    except (ValueError, TypeError, RuntimeError) as error:
        raise UserError(f"{where}, options: {optimiser} does not take {options}: {_in_short(error)}") from None


def _check_loss(where: str, loss: dict[str, float], vgg16: str | None, side: int, stage: Stage) -> None:
    """Compute the stage's loss of a small image, no larger than its patches, through VGG-16 where it needs that."""
    try:
        image = torch.zeros(1, 3, side, side)
        Loss(stage)(image, image)
    except (UserError, RuntimeError) as error:
        raise UserError(f"{where}, loss: {_in_short(error)}") from None


def _depends_on_rows(layer: nn.Module) -> str | None:
    """Why what a layer makes of an image depends on which rows of a batch are computed together."""
    if isinstance(layer, nn.modules.batchnorm._NormBase):
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            return "batch norms, which would take the means of each process's rows in place of the batch's"
        if layer.track_running_stats:
            return "norms that keep statistics, which would be those of each process's rows in place of the batch's"
    if isinstance(layer, nn.modules.dropout._DropoutNd | nn.RReLU):
        return f"{type(layer).__name__}, which would draw the same numbers in each process"
    return None


def _depends_on_batch(layer: nn.Module) -> str | None:
    """Why what a layer makes of an image depends on the size of its batch."""
    if isinstance(layer, nn.modules.batchnorm._NormBase) and _depends_on_rows(layer):
        return "norms that take their means over a batch, which would be those of its parts"
    return None


def _options(block: Block) -> str:
    """The options that a block is built with, in words."""
    known = registry.options(block.network)
    words = [f"{name} {value}" for name, value in block.options.items() if name not in known or known[name][1] != value]
    return ", ".join(words) or "its default options"


def _in_short(error: Exception) -> str:
    """The text of an error, on one line that is not too long."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."
