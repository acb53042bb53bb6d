"""Blocks one after another as one network, and the file that keeps them."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils.checkpoint import checkpoint

from multiblock.errors import UserError
from multiblock.files import atomic_write
from multiblock.model import metadata
from multiblock.model.metadata import Metadata, Provenance
from multiblock.model.state_dict import check_finite
from multiblock.networks import registry
from multiblock.plan import Block

log = logging.getLogger(__name__)


class Chain(nn.Module):
    """N_j(... N_i(x)): blocks number ``first`` and following of a chain.

    Args:
        specs: how each block was built.
        clamped: for each block whether its output is cut to [0, 1] (N_k+).
        blocks: the networks themselves.
        first: number of the first block; parameter names start with the block's number.
        about: where the weights come from, and what input they take.

    ``recompute`` says whether a pass with gradients keeps the pictures between the blocks alone, for a backward pass
    that computes each block again, with the same random numbers: Chen et al., "Training deep nets with sublinear
    memory cost" (arXiv 1604.06174).
    """

    recompute = False

    def __init__(
        self,
        specs: Sequence[Block],
        clamped: Sequence[bool],
        blocks: Sequence[nn.Module],
        first: int = 1,
        about: Provenance | None = None,
    ) -> None:
        super().__init__()
        self.about = about or Provenance()
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
        about = self.about if first == self.first else replace(self.about, enlarge=None)
        return Chain(self.specs[here], self.clamped[here], list(self.blocks.values())[here], first, about)

    @property
    def scale(self) -> int:
        """The factor by which the chain enlarges."""
        return math.prod(spec.scale for spec in self.specs)

    @property
    def parameters_count(self) -> int:
        """The number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def links(self) -> list[tuple[nn.Module, bool]]:
        """The blocks in order, each with whether its output is clamped."""
        return list(zip(self.blocks.values(), self.clamped, strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] to (N, 3, scale*H, scale*W), in [0, 1] where the last block is clamped."""
        for block, clamp in self.links():
            x = self._made_by(block, x)
            if clamp:
                x = x.float().clamp(0, 1)
        return x.float()

    def outputs(self, x: Tensor) -> list[Tensor]:
        """The outputs of all blocks in :meth:`forward`, in order; the last is that of the chain."""
        made = []
        for block, clamp in self.links():
            x = self._made_by(block, x)
            if clamp:
                x = x.float().clamp(0, 1)
            made.append(x.float())
        return made

    def _made_by(self, block: nn.Module, x: Tensor) -> Tensor:
        if not (self.recompute and torch.is_grad_enabled()):
            return block(x)
        made: Tensor = checkpoint(block, x, use_reentrant=False)
        return made

    @property
    def metadata(self) -> Metadata:
        """The metadata of a file of this chain."""
        return Metadata(
            blocks=self.specs,
            clamped=tuple(self.clamped),
            first=self.first,
            code=tuple(getattr(block, "code_digest", None) for block in self.blocks.values()),
            about=self.about,
        )

    def save(self, file: Path, about: Provenance | None = None) -> None:
        """Write all weights, with what is needed to build and feed the chain again, as one safetensors file.

        Args:
            about: where the weights come from, if that is not what the chain knows already.
        """
        text = replace(self.metadata, about=about or self.about).as_text()
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in self.blocks.state_dict().items()}
        tensors = {name: tensor.clone() for name, tensor in state.items()}  # safetensors refuses shared weights
        with atomic_write(file) as part:
            try:
                save_file(tensors, part, metadata={metadata.KEY: text})
            except SafetensorError as error:
                raise UserError(f"{file}: cannot be written: {error}") from None

    def enlargement(self, file: Path, asked: int | None) -> int:
        """How many times LR has to be enlarged before it enters, as ``file``, which the chain is from, says.

        A chain that no phase has trained takes LR as it is, if nobody says otherwise.

        Args:
            asked: the number that the user gives, needed where the file is of an older version, which has none.

        Raises:
            UserError: nobody says, or file and user do not say the same.
        """
        known = 1 if self.scale > 1 else self.about.enlarge
        if known is None and asked is None and not self.about.stated:
            raise UserError(
                f"{file}: does not say whether it takes LR as it is or enlarged; --enlarge 1, 2, 3 or 4 is needed, as "
                "it was trained"
            )
        if known is not None and asked not in (None, known):
            taken = "LR as it is" if known == 1 else f"LR enlarged x{known}"
            raise UserError(f"--enlarge: found {asked}; {file} takes {taken}; allowed is {known}")
        return known or asked or 1


def load(file: Path, trusted: Iterable[Path | str] = (), only: int | None = None) -> Chain:
    """Build the chain that ``file`` holds, with its weights, in evaluation mode.

    Nothing in the file is trusted: that its weights fit the blocks it names is found out before memory is taken, and
    a block of a user's own is built from the file of that name among ``trusted``, wherever it is, if its code is
    that which the weights were trained with.

    Args:
        trusted: Python files whose code may run; what the config names, or the user.
        only: number of the one block to load; all if none is named.

    Raises:
        UserError: the file cannot be read, is not a chain of this program, does not fit its own description, names code
            that is not trusted or is another than it was trained with, or holds a weight that is not finite.
    """
    known = metadata.read(file)
    if only is not None:
        metadata.check_has(known, only, file)
        known = known.part(only)
    trusted = tuple(trusted)
    named = [(block.network, code) for block, code in zip(known.blocks, known.code, strict=True)]
    networks = {one: _trusted(*one, file, trusted) for one in set(named)}
    specs = [replace(block, network=networks[one]) for block, one in zip(known.blocks, named, strict=True)]
    for spec in specs:
        if metadata.is_code(spec.network):
            registry.check_options(spec.network, spec.options, f"{file}: block")
    try:
        with safe_open(file, "pt") as opened:
            names = (name for name in opened.offset_keys() if only is None or name.startswith(f"{only}."))
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in names}
            _check_shapes(specs, known.first, shapes, file)
            tensors = {name: opened.get_tensor(name) for name in shapes}
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{file}: cannot be read as weights: {metadata.found_instead(file, str(error)) or error}"
        ) from None
    check_finite(tensors, file)
    chain = Chain.build(specs, known.clamped, known.first)
    chain.about = known.about
    try:
        chain.blocks.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{file}: weights do not fit the blocks it names: {' '.join(str(error).split())}") from None
    return chain.eval()


def _trusted(network: str, code: str | None, file: Path, trusted: Sequence[Path | str]) -> str:
    """A network that a file names as it can be built here: one of a user's own by the file that is trusted.

    Args:
        code: digest of the code that it was trained with.
    """
    if not metadata.is_code(network):
        if code not in (None, registry.digest(network)):
            log.warning("%s: was trained with another version of %s than this; what it makes may differ", file, network)
        return network
    name = Path(network).name
    ours = {str(path): registry.digest(str(path)) for path in trusted if Path(path).name == name}
    if not ours:
        raise UserError(
            f"{file}: names the code of {network}, which runs only if it is trusted: by --trust-code {name}, or as a "
            "block of the config"
        )
    same = [path for path, digest in ours.items() if digest == code]
    if code is None:
        log.warning("%s: does not say which version of %s it was trained with", file, name)
    elif not same:
        raise UserError(
            f"{file}: was trained with another version of {name} than {' or '.join(ours)}, or of a file it imports"
        )
    return (same or list(ours))[0]


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
        if any(registry.is_of_others(spec.network) for spec in specs):
            return  # the weights are held against the network itself
        raise UserError(f"{file}: names blocks that cannot be built: {' '.join(str(error).split())}") from None
    finally:
        hook.remove()
    for name in named.keys() | shapes.keys():
        wanted, found = (tuple(named[name].shape) if name in named else None), shapes.get(name)
        if wanted != found:
            both = f"found {_shape(found)}, needed {_shape(wanted)}"
            raise UserError(f"{file}: weights do not fit the blocks it names: {name}: {both}")


def _shape(shape: tuple[int, ...] | None) -> str:
    return "nothing" if shape is None else f"shape {' x '.join(map(str, shape)) or '()'}"


def assemble(files: Mapping[int, Path], trusted: Iterable[Path | str] = ()) -> Chain:
    """Assemble one chain of blocks from the weights files that ``files`` names, by the number of the block."""
    trusted = tuple(trusted)
    loaded = {file: load(file, trusted) for file in set(files.values())}
    parts = [loaded[files[number]].part(number, number) for number in sorted(files)]
    return Chain(
        [part.specs[0] for part in parts],
        [part.clamped[0] for part in parts],
        [block for part in parts for block in part.blocks.values()],
        min(files),
        parts[0].about,
    )
