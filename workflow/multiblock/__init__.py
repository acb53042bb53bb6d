"""Super-resolution networks trained in phases.

``multiblock.load("results/default").upscale(image)`` runs a trained network on a picture.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiblock.network import Network, load

__version__ = "1.0.0"
__all__ = ["Network", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """What needs PyTorch is imported where it is used for the first time."""
    if name in ("Network", "load"):
        from multiblock import network

        return getattr(network, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
