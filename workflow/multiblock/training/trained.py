"""Which parts of a span are trained, and which are frozen for now."""

from collections.abc import Sequence

from torch import nn

from multiblock.chain import Chain
from multiblock.training.optimisers import modules


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
