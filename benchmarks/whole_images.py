"""Whole images through a network: making LR_k and evaluating, in time and memory; and what tiles change."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from bench import BLOCKS, GIB, ROOT, How, Table, in_process, memory_mib
from default_run import trained

from multiblock import config
from multiblock.data.convert import convert
from multiblock.data.imageset import SPLITS, ImageSet, as_float, write_set
from multiblock.inference import tiles
from multiblock.inference.cache import generate
from multiblock.inference.evaluation import evaluate
from multiblock.inference.metrics import psnr_rgb
from multiblock.model import chain as chains
from multiblock.model.chain import Chain
from multiblock.plan import Block
from multiblock.runtime import memory
from multiblock.runtime.device import choose

SIZES = {"0.5": (600, 840), "24": (4000, 6000)}
MEMORY_GIB = config.checked({})["inference"]["memory_gib"]


def measure(how: How) -> Table:
    """Each in a process of its own, once: a 24 megapixel image through MCAN takes minutes on a CPU."""
    sizes = {"0.01": (96, 104), "0.02": (128, 160)} if how.quick else SIZES
    rows = []
    for name, block in BLOCKS.items():
        for megapixels, size in sizes.items():
            for work in (_generate, _evaluate):
                seconds, peak, gpu = in_process(_once, work, block, size, how)
                rows.append(
                    {
                        "network": name,
                        "megapixels": megapixels,
                        "work": "making LR_1" if work is _generate else "evaluating",
                        "seconds": f"{seconds:,.2f}",
                        "megapixels a second": f"{size[0] * size[1] / 1e6 / seconds:.3f}",
                        "peak memory [MiB]": f"{peak:,.0f}",
                        **({"peak GPU memory [MiB]": f"{gpu:,.0f}"} if how.device == "cuda" else {}),
                    }
                )
    about = (
        f"Whole images, tiles.memory_gib {MEMORY_GIB} (the default), float32. Peak memory is all that the process "
        "ever held, PyTorch and the image sets included; one run each, with the first image that the process sees."
    )
    return Table("whole_images", about, rows)


def _once(
    work: Callable[[Path, torch.device], None], block: dict, size: tuple[int, int], how: How
) -> tuple[float, float, float]:
    """Seconds, and MiB of memory and GPU memory at most."""
    device = choose(how.device, "float32", 1, how.threads).device
    folder = how.work / "whole"
    torch.manual_seed(0)
    options = {option: value for option, value in block.items() if option != "network"}
    Chain.build([Block(network=block["network"], options=options)], [True]).save(folder / "weights.safetensors")
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    for split in SPLITS:
        with write_set(folder / "LR" / f"{split}.npy", [size] if split == "test" else []) as writer:
            if split == "test":
                writer.add("image", pixels)
    del pixels
    begun = time.perf_counter()
    work(folder, device)
    seconds = time.perf_counter() - begun
    return seconds, memory_mib("VmHWM"), torch.cuda.max_memory_allocated() / 2**20 if how.device == "cuda" else 0.0


def _generate(folder: Path, device: torch.device) -> None:
    files = {1: folder / "weights.safetensors"}
    generate(
        files=files, inputs=folder / "LR", out=folder / "LR_1", cache="uint8", device=device, memory_gib=MEMORY_GIB
    )


def _evaluate(folder: Path, device: torch.device) -> None:
    test = folder / "LR" / "test.npy"
    evaluate(
        phase=1,
        first=1,
        last=1,
        weights=folder / "weights.safetensors",
        lr=test,
        cached=test,
        hr=test,
        border=0,
        device=device,
        memory_gib=MEMORY_GIB,
        table=folder / "psnr.csv",
        pictures=folder / "images",
    )


def measure_tiles(how: How) -> Table:
    """The network of the default run, whole and in tiles of several sizes, on its test photographs."""
    results = trained(how)
    network = chains.load(sorted(results.glob("default/seed1/phase*/weights.safetensors"))[-1])
    lr, hr = (ImageSet(results / "data" / "photographs" / name / "test.npy") for name in ("LR_enlarged", "HR"))
    whole = [_run(network, image, None) for image in lr]
    score = np.mean([psnr_rgb(image, as_float(target)) for image, target in zip(whole, hr, strict=True)])
    rows = [{"tiles": "whole image", "PSNR RGB [dB]": f"{score:.4f}", "change [dB]": "", "pixel values differ by": ""}]
    for side in (192, 128, 96, 64):
        tiled = [_run(network, image, side) for image in lr]
        here = np.mean([psnr_rgb(image, as_float(target)) for image, target in zip(tiled, hr, strict=True)])
        apart = [np.abs(one - other) * 255 for one, other in zip(tiled, whole, strict=True)]
        mean, most = np.mean([a.mean() for a in apart]), max(a.max() for a in apart)
        rows.append(
            {
                "tiles": f"{side} x {side}",
                "PSNR RGB [dB]": f"{here:.4f}",
                "change [dB]": f"{here - score:+.4f}",
                "pixel values differ by": f"{mean:.3f} of 255, at most {most:.1f}",
            }
        )
    fields = ", ".join(str(block.receptive_field) for block in network.blocks.values())
    about = (
        "What tiles change, as channel attention pools a tile in place of the image: the network of the default run "
        f"(blocks with receptive fields {fields}) on its test photographs. Sides are those of a tile with its overlap "
        "of half the receptive field. PSNR RGB: floats, whole image."
    )
    return Table("tiles", about, rows)


def _run(network: Chain, image: np.ndarray, side: int | None) -> np.ndarray:
    """Run with room for tiles of ``side`` pixels, or for the whole image."""
    widest = max(memory.per_pixel(block) for block in network.blocks.values())
    room = side**2 * widest / GIB if side else 1e6
    return tiles.run(network, image, torch.device("cpu"), room)


def converted(how: How) -> Path:
    """The arrays of the default run's photographs; the folder holds HR and LR."""
    folder = how.work / "photographs"
    if not (folder / "LR").exists():
        study = config.load(config.read([ROOT / "config.yaml"]))
        convert(study.runs["default"].data, folder / "HR", folder / "LR")
    return folder
