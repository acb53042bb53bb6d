"""Make the cached set LR_k."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from multiblock.data.imageset import ImageSet, splits_in, to_bytes, write_set
from multiblock.inference import tiles
from multiblock.model import chain as chains

log = logging.getLogger(__name__)


def generate(
    *,
    files: Mapping[int, Path],
    inputs: Path,
    out: Path,
    cache: str,
    device: torch.device,
    memory_gib: float,
    trusted: Iterable[Path] = (),
) -> None:
    """Run blocks over all images of a set, whole image by whole image.

    Args:
        files: the blocks to run, block number to the weights file it is taken from.
        inputs: folder of the set that the first of them reads.
        out: folder of the set to write.
        cache: ``uint8`` (cut to [0, 1], rounded) or ``float16``.
        trusted: Python files of blocks whose code may run.
    """
    network = chains.assemble(files, trusted).to(device)
    for split in splits_in(inputs):
        source = ImageSet(inputs / f"{split}.npy")
        sizes = [(entry.height * network.scale, entry.width * network.scale) for entry in source.entries]
        with write_set(out / f"{split}.npy", sizes, cache) as target:
            tilings = {}
            for name, image in zip(source.names, source, strict=True):
                result, tilings[name] = tiles.infer(network, image, device, memory_gib)
                target.add(name, to_bytes(result) if cache == "uint8" else result.astype(np.float16))
                progress = {"done": len(tilings), "of": len(source), "note": f"{split} images"}
                log.debug("%s", name, extra={"progress": progress})
        log.info("%s: %d images", out / split, len(source))
        if line := tiles.summary(tilings):
            log.info("%s: %s", out / split, line)
