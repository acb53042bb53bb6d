"""Blocks one after another as one network, and the file that keeps them."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from multiblock import __version__, networks
from multiblock.errors import UserError
from multiblock.files import whole
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
        return cls(specs, clamped, [networks.build(spec.network, spec.options) for spec in specs], first)

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
        with whole(file) as part:
            try:
                save_file(tensors, part, metadata={"chain": json.dumps(about)})
            except SafetensorError as error:
                raise UserError(f"{file}: cannot be written: {error}") from None


def layout(block: nn.Module) -> torch.memory_format:
    """The memory layout in which ``block`` is faster: channels last, unless its network says ``contiguous``."""
    return torch.contiguous_format if getattr(block, "layout", None) == "contiguous" else torch.channels_last


def load(file: Path) -> Chain:
    """Build the chain that ``file`` holds, with its weights, in evaluation mode.

    Raises:
        UserError: the file cannot be read, is no chain of this program, or does not fit its own description.
    """
    try:
        with safe_open(file, "pt") as opened:
            about = json.loads((opened.metadata() or {}).get("chain", "null"))
            tensors = {name: opened.get_tensor(name) for name in opened.offset_keys()}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file}: cannot be read as weights: {error}") from None
    if about is None:
        raise UserError(f"{file}: holds weights, but not of a chain; allowed are files that a phase has written")
    chain = Chain.build([Block(**block) for block in about["blocks"]], about["clamped"], about["first"])
    try:
        chain.blocks.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{file}: weights do not fit the blocks it names: {' '.join(str(error).split())}") from None
    return chain.eval()


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
