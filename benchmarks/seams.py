"""What tiles change, by network and overlap: how much an output pixel depends on what lies far from it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from bench import How, Table
from PIL import Image
from torch import Tensor, nn
from training import trained_chain
from whole_images import converted

from multiblock.data.sampler import to_tensor
from multiblock.inference.tiles import Cut, in_tiles
from multiblock.model import chain as chains
from multiblock.model.chain import Chain
from multiblock.networks import zoo
from multiblock.networks.registry import describe

OVERLAPS = (0, 8, 16, 32, 48)
SIZE, CORE = (160, 208), 64
TRAINED: dict[str, tuple[dict[str, Any], float]] = {
    "MCAN, 16 channels": ({"network": "mcan", "channels": 16}, 1e-3),
    "RCAN, 4 groups of 8 blocks, 16 channels": ({"network": "rcan", "groups": 4, "blocks": 8, "channels": 16}, 5e-4),
}
"""Deep and thin, so that a few hundred iterations on a CPU train them: their receptive fields are what counts."""
FRESH = ("carn", "srresnet", "drln_distilled", "sr_resunet_1", "sr_resunet_2", "sr_resunet_7")


def measure(how: How) -> Table:
    """Networks of the files given by --weights, two that are trained here, and the other families as they begin."""
    file = str(files("skimage").joinpath("data", "coffee.png"))
    side = (48, 64) if how.quick else SIZE
    image = to_tensor(np.asarray(Image.open(file).convert("RGB"))[None, 100 : 100 + side[0], 150 : 150 + side[1]])
    rows = []
    for name, weights, block in _networks(how):
        rows += _rows(name, weights, block.eval(), image, 32 if how.quick else CORE)
    about = (
        f"{side[1]} x {side[0]} pixels of a photograph (coffee), in tiles of {CORE} x {CORE} pixels and the overlap on "
        "every side, against the same run whole; outputs cut to [0, 1]. Differences in 1/255. *Gates held*: what pools "
        "over the image keeps what it saw of the whole image, so that only the overlap counts; without it a tile is "
        "pooled in place of the image, as in use. In use are 32 pixels of the smallest maps, half the receptive "
        "field, or a quarter of the tile, whichever is least."
    )
    return Table("seams", about, rows)


def _networks(how: How) -> Iterator[tuple[str, str, nn.Module]]:
    for file in how.weights:
        chain = chains.load(file)
        yield f"{chain.specs[0].network} x{chain.scale}", f"published ({file.stem})", chain.blocks["1"]
    iterations = 2 if how.quick else 300
    for name, (block, lr) in TRAINED.items():
        converted(how)
        yield name, f"{iterations} iterations", trained_chain(name, block, iterations, lr, how).blocks["1"]
    for name in FRESH[:1] if how.quick else FRESH:
        torch.manual_seed(0)
        yield name, "as it begins", Chain.build([zoo.sample(name)], [True]).blocks["1"]


def _rows(name: str, weights: str, block: nn.Module, image: Tensor, core: int) -> list[dict[str, Any]]:
    spec, rows = describe(block), []
    reach = spec.receptive_field // 2
    with torch.inference_mode():
        whole = block(image).clamp(0, 1)
        for overlap in dict.fromkeys(min(overlap, -(-reach // spec.grid) * spec.grid) for overlap in OVERLAPS):
            cut = Cut(*image.shape[2:], core, core, overlap, spec.grid)
            plain = _apart(in_tiles(block, image, cut, spec.scale), whole)
            with _held(block, image) as can:
                held = (
                    _apart(in_tiles(block, image, cut, spec.scale), whole)
                    if can
                    else plain
                    if not spec.pools_over_image
                    else None
                )
            rows.append(
                {
                    "network": name,
                    "weights": weights,
                    "half the receptive field": reach,
                    "overlap": overlap,
                    "gates held: mean": held and held[0],
                    "at most": held and held[1],
                    "in use: mean": plain[0],
                    "most": plain[1],
                    "pools": ", ".join(spec.pools_over_image),
                }
            )
            print(rows[-1], flush=True)
    return rows


def _apart(tiled: Tensor, whole: Tensor) -> tuple[str, str]:
    """Mean and maximum of the difference in 1/255."""
    difference = 255 * (tiled.clamp(0, 1) - whole).abs()
    return f"{difference.mean():.4f}", f"{difference.max():.3f}"


@contextmanager
def _held(block: nn.Module, image: Tensor) -> Iterator[bool]:
    """Let channel attention multiply by the gates of the whole image; whether there is nothing else that pools."""
    layers = [layer for layer in block.modules() if getattr(layer, "sees_whole_image", False)]
    kinds = {type(layer).__name__ for layer in layers}
    if not kinds or kinds - {"ChannelAttention", "ChannelGate", "LaplacianAttention"}:
        yield False
        return
    if set(describe(block).pools_over_image) != kinds:
        yield False
        return
    gates: dict[nn.Module, list[Tensor]] = {layer: [] for layer in layers}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0].double()
        gates[layer].append(((x * output).sum((2, 3), True) / x.square().sum((2, 3), True).clamp(min=1e-30)).float())

    hooks = [layer.register_forward_hook(note) for layer in layers]
    block(image)
    for hook in hooks:
        hook.remove()
    hooks = [layer.register_forward_hook(_multiplied(gates[layer])) for layer in layers]
    try:
        yield True
    finally:
        for hook in hooks:
            hook.remove()


def _multiplied(gates: list[Tensor]) -> Callable[..., Tensor]:
    """In place of a layer's result; a layer that runs several times in a pass has as many gates, which take turns."""
    calls = 0

    def replaced(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return inputs[0] * gates[(calls - 1) % len(gates)]

    return replaced
