"""Self-attention over the whole image, which several networks share."""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class SelfAttention(nn.Module):
    """Self-attention between all positions, as in SAGAN: x + gamma * out(softmax(theta(x) phi(x)) g(x)).

    The scalar gamma is learnt and starts at 0, so the layer starts as a copy. The logits are not scaled. Keys and
    values (phi and g) may be pooled; a map that the pool does not divide is continued by its border.

    Args:
        channels: feature channels C.
        key: channels of queries and keys.
        value: channels of the values.
        pool: pooling of keys and values whose stride is its kernel, such as ``nn.MaxPool2d(2)``.
        normalised: which of the 1x1 convolutions theta, phi, g and out have spectral norm.
    """

    sees_whole_image = True

    def __init__(
        self,
        channels: int,
        *,
        key: int,
        value: int,
        pool: nn.Module | None = None,
        normalised: Collection[str] = ("phi", "g", "out"),
    ) -> None:
        super().__init__()
        self.key, self.value = key, value

        def layer(name: str, inputs: int, outputs: int) -> nn.Module:
            made = nn.Conv2d(inputs, outputs, 1)
            return spectral_norm(made) if name in normalised else made

        self.theta = layer("theta", channels, key)
        self.phi = layer("phi", channels, key)
        self.g = layer("g", channels, value)
        self.out = layer("out", value, channels)
        self.pool = pool or nn.Identity()
        self.gamma = nn.Parameter(torch.zeros(1))

    def _positions(self, x: Tensor) -> Tensor:
        """(N, K, H, W) to (N, 1, H*W, K): one head, as the fused kernels ask for."""
        return x.flatten(2).transpose(1, 2).unsqueeze(1).contiguous()

    def _pooled(self, x: Tensor) -> Tensor:
        side = int(getattr(self.pool, "kernel_size", 1))
        below, right = (-length % side for length in x.shape[2:])
        return self.pool(F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x)

    def multiply_adds(self, height: int, width: int) -> int:
        """The multiply-adds of the two matrix products, for a map of ``height`` x ``width``."""
        side = int(getattr(self.pool, "kernel_size", 1))
        pairs = height * width * -(-height // side) * -(-width // side)
        return pairs * (self.key + self.value)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        queries = self._positions(self.theta(x))
        keys, values = (self._positions(self._pooled(layer(x))) for layer in (self.phi, self.g))
        # Fused kernels, which never hold the map of all pairs, want one width; zeros leave the products as they are.
        missing = max(0, values.shape[3] - queries.shape[3])
        queries, keys = F.pad(queries, (0, missing)), F.pad(keys, (0, missing))
        seen = F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
        seen = seen.squeeze(1).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.gamma * self.out(seen)
