"""Blocks one after another as one network, and the file that keeps them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from multiblock import __version__
from multiblock.errors import UserError
from multiblock.files import atomic_write
from multiblock.networks import registry
from multiblock.plan import Block


class Chain(nn.Module):
    """N_j(... N_i(x)): blocks number ``first`` and following of a chain.

    Args:
        specs: how each block was built.
        clamped: for each block whether its output is cut to [0, 1] (N_k+).
        blocks: the networks themselves.
        first: number of the first block; parameter names start with the block's number.
    """

    def __init__(
        self, specs: Sequence[Block], clamped: Sequence[bool], blocks: Sequence[nn.Module], first: int = 1
    ) -> None:
        super().__init__()
        self.specs = tuple(specs)
        self.clamped = list(clamped)
        self.first = first
        self.blocks = nn.ModuleDict({str(number): block for number, block in enumerate(blocks, first)})

    @classmethod
    def build(cls, specs: Sequence[Block], clamped: Sequence[bool], first: int = 1) -> "Chain":
        """New networks with PyTorch's default initialisation."""
        return cls(specs, clamped, [registry.build(spec.network, spec.options) for spec in specs], first)

    def part(self, first: int, last: int) -> "Chain":
        """The blocks ``first`` to ``last``; they are shared, not copied."""
        here = slice(first - self.first, last - self.first + 1)
        return Chain(self.specs[here], self.clamped[here], list(self.blocks.values())[here], first)

    @property
    def scale(self) -> int:
        """How many times the chain enlarges."""
        return math.prod(spec.scale for spec in self.specs)

    @property
    def parameters_count(self) -> int:
        """How many numbers are learnt."""
        return sum(parameter.numel() for parameter in self.parameters())

    def links(self) -> list[tuple[nn.Module, bool]]:
        """Each block with whether its output is clamped, in order."""
        return list(zip(self.blocks.values(), self.clamped, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to (N, 3, scale*H, scale*W), in [0, 1] where the last block is clamped."""
        for block, clamp in self.links():
            x = block(x)
            if clamp:
                x = x.float().clamp(0, 1)
        return x.float()

    def save(self, file: Path) -> None:
        """Write all weights, with what is needed to build the chain again, as one safetensors file."""
        about = {
            "multiblock": __version__,
            "first": self.first,
            "blocks": [asdict(block) for block in self.specs],
            "clamped": self.clamped,
        }
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.blocks.state_dict().items()}
        with atomic_write(file) as part:
            try:
                save_file(tensors, part, metadata={"chain": json.dumps(about)})
            except SafetensorError as error:
                raise UserError(f"{file}: cannot be written: {error}") from None


def load(file: Path) -> Chain:
    """Build the chain that ``file`` holds, with its weights, in evaluation mode.

    Nothing in the file is trusted: that its weights fit the blocks it names is found out before memory is taken.

    Raises:
        UserError: the file cannot be read, is no chain of this program, or does not fit its own description.
    """
    try:
        with safe_open(file, "pt") as opened:
            about = json.loads((opened.metadata() or {}).get("chain", "null"))
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.offset_keys()}
            if about is None:
                raise UserError(
                    f"{file}: holds weights, but not of a chain; allowed are files that a phase has written"
                )
            specs, clamped, first = _described(about, file)
            _check_shapes(specs, first, shapes, file)
            tensors = {name: opened.get_tensor(name) for name in shapes}
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise UserError(f"{file}: cannot be read as weights: {error}") from None
    chain = Chain.build(specs, clamped, first)
    try:
        chain.blocks.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{file}: weights do not fit the blocks it names: {' '.join(str(error).split())}") from None
    return chain.eval()


def _described(about: Any, file: Path) -> tuple[list[Block], list[bool], int]:
    """The blocks that a file says it holds, whether each is clamped, and the number of the first."""
    try:
        specs = [Block(network=block["network"], options=dict(block["options"])) for block in about["blocks"]]
        clamped, first = [bool(clamp) for clamp in about["clamped"]], int(about["first"])
        for spec in specs:
            registry.check_options(spec.network, spec.options, f"{file}: block")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{file}: its description of its blocks is damaged: {error!r}") from None
    if not specs or len(specs) != len(clamped):
        raise UserError(
            f"{file}: names {len(specs)} blocks and {len(clamped)} clamps; allowed is as many, at least one"
        )
    return specs, clamped, first


def _check_shapes(specs: Sequence[Block], first: int, shapes: Mapping[str, tuple[int, ...]], file: Path) -> None:
    """Compare the shapes in a file with those of the blocks it names, built without memory on the device ``meta``."""
    room = 8 * len(shapes) + 64  # some layers register a parameter several times until it has its place

    def count(*_: object) -> None:
        nonlocal room
        room -= 1
        if room < 0:
            raise UserError(f"{file}: names blocks of far more layers than the {len(shapes)} tensors that it holds")

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"):
            named = Chain.build(specs, [True] * len(specs), first).blocks.state_dict()
    except UserError:
        raise
    except Exception as error:  # sizes beyond all bounds; or a network of a third party that cannot be built so
        if any(spec.network.endswith(".py") for spec in specs):
            return
        raise UserError(f"{file}: names blocks that cannot be built: {' '.join(str(error).split())[:200]}") from None
    finally:
        hook.remove()
    for name in named.keys() | shapes.keys():
        wanted, found = (tuple(named[name].shape) if name in named else None), shapes.get(name)
        if wanted != found:
            raise UserError(f"{file}: weights do not fit the blocks it names: {name} is {found}, needed is {wanted}")


def assemble(files: Mapping[int, Path]) -> Chain:
    """One chain of the blocks that ``files`` names, block number to the weights file it is taken from."""
    loaded = {file: load(file) for file in set(files.values())}
    parts = [loaded[files[number]].part(number, number) for number in sorted(files)]
    return Chain(
        [part.specs[0] for part in parts],
        [part.clamped[0] for part in parts],
        [block for part in parts for block in part.blocks.values()],
        min(files),
    )
