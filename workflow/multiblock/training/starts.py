"""The weights that the blocks of a phase start from. Another way to start is another entry of :data:`STARTS`.

PyTorch is imported when a block is started, not before: the config is checked against the table at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from multiblock.errors import UserError
from multiblock.files import check_expected
from multiblock.model.metadata import check_fit, digest_of_result, is_code
from multiblock.networks import registry
from multiblock.plan import Block, Task, inherits, is_file, split_file

if TYPE_CHECKING:
    from torch import Tensor, nn

    from multiblock.model.chain import Chain


@dataclass(frozen=True, kw_only=True)
class Start:
    """A way to start. One whose name begins with ``inherit`` takes the weights of the block before, built alike.

    Args:
        what: what it does, for the reference, in a few words.
        draw: draws the weights of a convolution in place; without it they stay as the network was built.
        zeroed: whether the last convolution is zeroed, so that the block begins as a plain copy of its input.
    """

    what: str
    draw: "Callable[[Tensor], object] | None" = None
    zeroed: bool = False


def _orthogonal(weight: "Tensor") -> None:
    from torch.nn.init import orthogonal_

    orthogonal_(weight, gain=1.0)


def _normal(weight: "Tensor") -> None:
    from torch.nn.init import normal_

    normal_(weight, mean=0.0, std=0.1)


STARTS: dict[str, Start] = {
    "default": Start(what="as its network is built"),
    "orthogonal": Start(what="gain 1, every convolution", draw=_orthogonal),
    "orthogonal_zeroed": Start(
        what="the same with the last convolution zeroed, so that the block begins as a plain copy of its input",
        draw=_orthogonal,
        zeroed=True,
    ),
    "normal": Start(what="standard deviation 0.1, the toy model's", draw=_normal),
    "inherit": Start(what="the weights of the block before"),
    "inherit_zeroed": Start(what="the same with the last convolution zeroed", zeroed=True),
}
"""All ways by name; beside them a block can start from a file of weights."""


def starting_chain(task: Task, weights: Mapping[int, Path]) -> "Chain":
    """The blocks 1..last of ``task`` with the weights that the phase starts from.

    Args:
        weights: the weights file of each earlier phase that the task names.

    Raises:
        UserError: a file of weights cannot be read, or does not fit its block.
    """
    import numpy as np
    import torch

    from multiblock.model.chain import Chain, load

    ours = [block.network for block in task.blocks if is_code(block.network)]
    trained = {phase: load(file, ours) for phase, file in weights.items()}
    blocks: list[nn.Module] = []
    clamped = [True] * len(task.blocks)
    for number, (origin, spec) in enumerate(zip(task.starts, task.blocks, strict=True), 1):
        seed = int(np.random.SeedSequence((task.seed, task.phase, number)).generate_state(1)[0])
        torch.manual_seed(seed)
        block = registry.build(spec.network, spec.options)  # which is what `default` starts from
        if isinstance(origin, int):
            block.load_state_dict(trained[origin].blocks[str(number)].state_dict())
            clamped[number - 1] = trained[origin].clamped[number - 1]
        elif is_file(origin):
            file, place = split_file(origin)
            _load_from_file(block, spec, Path(file), place or number, ours)
        elif inherits(origin):
            block.load_state_dict(blocks[-1].state_dict())
        else:
            if draw := STARTS[origin].draw:
                torch.manual_seed(seed)  # so that it does not matter what the constructor drew
                _draw_weights(block, draw)
            _load_published_parts(block)
        if isinstance(origin, str) and origin in STARTS and STARTS[origin].zeroed:
            for parameter in block.get_submodule(registry.describe(block).output_layer).parameters():
                torch.nn.init.zeros_(parameter)
        blocks.append(block)
    return Chain(task.blocks, clamped, blocks)


def _load_from_file(block: "nn.Module", spec: Block, file: Path, number: int, trusted: Sequence[str]) -> None:
    """Load block ``number`` of the chain in ``file``, which must be built as ``spec`` is."""
    from multiblock.model.published import about, load_block

    check_fit(about(file, spec.scale), number, spec, file)
    _load_state(block, load_block(file, number, spec.scale, trusted).state_dict(), file)
    check_expected(f"file {file}", digest_of_result(file))


def _load_published_parts(block: "nn.Module") -> None:
    """Load the parts of a block that start from published weights, such as an encoder."""
    from multiblock.model.state_dict import read

    for part, file in registry.describe(block).pretrained.items():
        published = read(Path(file))
        module = block.get_submodule(part)
        # A classifier that was trained with the encoder has no place in it.
        values = {name: value for name, value in published.items() if not name.startswith("fc.")}
        _load_state(module, values, Path(file))
        check_expected(f"file {Path(file)}", digest_of_result(Path(file)))


def _load_state(module: "nn.Module", values: "Mapping[str, Tensor]", file: Path) -> None:
    try:
        module.load_state_dict(values)
    except RuntimeError as error:
        raise UserError(f"{file}: does not fit {type(module).__name__}: {' '.join(str(error).split())}") from None


def _draw_weights(block: "nn.Module", draw: "Callable[[Tensor], object]") -> None:
    """Draw the weights of every convolution, 1-tap gates included; biases get PyTorch's default.

    Frozen layers keep what they are.
    """
    from torch import nn
    from torch.nn.utils.parametrize import is_parametrized

    for layer in block.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear) and any(p.requires_grad for p in layer.parameters()):
            if is_parametrized(layer):  # by spectral or weight norm: the last tensor is the direction
                draw(list(layer.parametrizations.weight.parameters())[-1])  # type: ignore[union-attr, operator]
                continue
            layer.reset_parameters()
            draw(layer.weight)
