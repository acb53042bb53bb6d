"""The ways in which a block can start that no earlier phase has trained. Another one is another entry.

PyTorch is imported when a block is started, not before: the config is checked against this table at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


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
