"""Parts of a span by name, and which of them are trained or frozen for now."""

from collections.abc import Sequence

from torch import nn

from multiblock.errors import UserError, listed
from multiblock.model.chain import Chain


class Trained:
    """Freezes parts of a span and sets them free again. What its network froze for good stays so.

    A frozen part takes no step, and is in evaluation mode: its batch norms keep their statistics.
    """

    def __init__(self, span: Chain) -> None:
        self._span = span
        self._trainable = [parameter for parameter in span.parameters() if parameter.requires_grad]
        self._frozen: list[str] = []

    def all(self) -> None:
        """Train everything."""
        self.apart_from([])

    def apart_from(self, frozen: Sequence[str]) -> None:
        """Train everything but the parts called ``frozen``.

        Raises:
            UserError: no block of the span has such a part.
        """
        if list(frozen) == self._frozen:
            return
        self._span.train()
        for parameter in self._trainable:
            parameter.requires_grad_(True)
        for module in self._modules(frozen):
            module.requires_grad_(False).eval()
        self._frozen = list(frozen)

    def _modules(self, names: Sequence[str]) -> list[nn.Module]:
        return [module for name in names for module in modules(self._span, name)]


def modules(span: Chain, part: str) -> list[nn.Module]:
    """The modules called ``part`` in the blocks of ``span``.

    Raises:
        UserError: there is none.
    """
    named = [dict(block.named_modules()) for block in span.blocks.values()]
    found = [names[part] for names in named if part in names]
    if not found:
        known = dict.fromkeys(name for block in span.blocks.values() for name, _ in block.named_children())
        raise UserError(f"parts.{part}: no block of the span has such a part; allowed are {listed(known)}")
    return found
