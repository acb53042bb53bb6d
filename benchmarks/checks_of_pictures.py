"""Checks of a GPU: the patches that it is fed with, and whole pictures through networks."""

import re
import subprocess
import sys
import time
from importlib.resources import files

import numpy as np
import torch
from bench import BLOCKS, GIB, How
from checks import LeftOut, Options, little_memory, needs_gpu, require
from feeding import make_images
from PIL import Image
from whole_images import MEMORY_GIB

from multiblock.data.imageset import ImageSet, as_float
from multiblock.data.sampler import Sampler
from multiblock.inference import tiles
from multiblock.inference.metrics import psnr_rgb
from multiblock.model.chain import Chain
from multiblock.networks import zoo
from multiblock.runtime.device import choose


def feeding(options: Options) -> str:
    """Patches of pixels that lie on the GPU, and of pixels that stay on the disk, are those of the CPU."""
    how = options.how
    make_images(how.work / "LR", 150, 210, 3)
    make_images(how.work / "HR", 300, 420, 3)
    sets = [ImageSet(how.work / name / "train.npy") for name in ("LR", "HR")]
    places = {"resident": (how.device, True), "mapped": (how.device, False), "cpu": ("cpu", False)}
    samplers = {
        name: Sampler(*sets, 2, seed=1, phase=1, device=torch.device(place), resident=resident)
        for name, (place, resident) in places.items()
    }
    batches = 20
    for iteration in range(batches):
        expected = samplers["cpu"].batch(iteration, 16, 48)
        for name, sampler in samplers.items():
            found = sampler.batch(iteration, 16, 48)
            same = all(torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))
            require(same, f"batch {iteration} of {name} pixels differs")
    return f"{batches} batches of 16 pairs are equal"


def evaluation(options: Options) -> str:
    """PSNR of a chain of three on photographs, after TF32 and bfloat16 were switched on, against the CPU's."""
    how, most = options.how, 0.0
    choose(how.device, "tf32", 1, how.threads)
    chain, images = _chain("MCAN", how, blocks=3), list(_photographs(how))
    for precision in ("tf32", "bfloat16"):
        device = choose(how.device, precision, 1, how.threads).device
        for image in images:
            target = as_float(image)
            scores = [
                psnr_rgb(tiles.run(chain.to(place), image, place, MEMORY_GIB), target)
                for place in (device, torch.device("cpu"))
            ]
            most = max(most, abs(scores[0] - scores[1]))
    require(most < 1e-3, f"PSNR RGB differs by {most:.5f} dB")
    return f"PSNR RGB of {len(images)} photographs: at most {most:.6f} dB apart"


def memory_in_inference(options: Options) -> str:
    """A picture that does not fit is made in smaller and smaller tiles, with the same pixels."""
    how = options.how
    needs_gpu(how)
    device = choose(how.device, "float32", 1, how.threads).device
    chain, image = _chain("toy", how).to(device), _photograph(1400, 2000)
    whole, _ = tiles.infer(chain, image, device, MEMORY_GIB)
    torch.cuda.empty_cache()
    little_memory(gib=1)
    tiled, tiling = tiles.infer(chain, image, device, MEMORY_GIB)
    require(tiling.tiles > 1, "it was not made in tiles")
    apart = float(np.abs(tiled - whole).max() * 255)
    require(apart < 0.5, f"pixel values differ by {apart:.2f} of 255")
    return f"{tiling}; pixel values at most {apart:.4f} of 255 apart"


def large_picture(options: Options) -> str:
    """24 megapixels through MCAN; and through a network that pools nothing, of which the CPU makes a part."""
    how = options.how
    height, width = (96, 144) if how.quick else (4000, 6000)
    device, image = choose(how.device, "float32", 1, how.threads).device, _photograph(height, width)
    chain = _chain("MCAN", how).to(device)
    begun = time.perf_counter()
    result, tiling = tiles.infer(chain, image, device, MEMORY_GIB)
    seconds = time.perf_counter() - begun
    require(bool(np.isfinite(result).all()), "it made pixels that are not finite")
    peak = torch.cuda.max_memory_allocated() / GIB if how.device == "cuda" else float("nan")
    chain = _chain("toy", how, blocks=2)
    whole, _ = tiles.infer(chain.to(device), image, device, MEMORY_GIB)
    part, seen = height // 2, sum(block.receptive_field for block in chain.blocks.values())  # type: ignore[misc]
    alone, _ = tiles.infer(chain.to("cpu"), image[part - 40 : part + 40, :200], torch.device("cpu"), MEMORY_GIB)
    inner = slice(seen // 2, 80 - seen // 2)
    there = whole[part - 40 : part + 40, :200][inner, : 200 - seen // 2]
    apart = float(np.abs(there - alone[inner, : 200 - seen // 2]).max() * 255)
    require(apart < 0.05, f"pixel values differ by {apart:.3f} of 255 from the CPU's")
    return (
        f"{width} x {height} through MCAN in {seconds:.1f} s, {tiling}, {peak:.1f} GiB of GPU memory at most; part of "
        f"one through a network that pools nothing: {apart:.5f} of 255 apart from the CPU's"
    )


PUBLISHED = {"imdn": ("IMDN_x3.pth", 3, 32.3218), "pan": ("PANx4_DF2K.pth", 4, 30.1349)}
"""File, scale, and PSNR RGB in dB on Set5 (floats, whole image, mean of 5) on a CPU: results/reference/published.md."""


def published(options: Options) -> str:
    """The published weights of IMDN and PAN have the CPU's scores on Set5."""
    folder, said = options.published, []
    if folder is None:
        raise LeftOut("no --published FOLDER")
    for network, (name, scale, psnr) in PUBLISHED.items():
        weights = options.how.work / f"{network}.safetensors"
        _multiblock("import", folder / name, "--as", network, "--scale", scale, "-o", weights)
        lr = folder / "Set5" / "LR_bicubic" / f"X{scale}"
        of_set = ("--hr", folder / "Set5" / "HR", "--lr", lr, "--lr-name", f"{{name}}x{scale}")
        text = _multiblock("evaluate", weights, *of_set, "--device", options.how.device)
        found = float(re.search(r"PSNR RGB, floats.* ([0-9.]+)\s*$", text, re.M)[1])  # type: ignore[index]
        require(abs(found - psnr) < 1e-3, f"{network}: {found:.4f} dB, on a CPU {psnr:.4f}")
        said.append(f"{network} x{scale} {found:.4f} dB (CPU: {psnr:.4f})")
    return "PSNR RGB on Set5: " + ", ".join(said)


def _multiblock(*arguments: object) -> str:
    done = subprocess.run([sys.executable, "-m", "multiblock", *map(str, arguments)], capture_output=True, text=True)
    require(done.returncode == 0, f"multiblock {arguments[0]}: {done.stderr.strip()[-300:]}")
    return done.stdout


def _chain(name: str, how: How, blocks: int = 1) -> Chain:
    torch.manual_seed(0)
    given = dict(BLOCKS["default" if how.quick and name == "MCAN" else name] if name in BLOCKS else {"network": name})
    spec = zoo.block(given.pop("network"), given, "blocks.checked")
    return Chain.build([spec] * blocks, [True] * blocks)


def _photograph(height: int, width: int) -> np.ndarray:
    image = Image.open(str(files("skimage").joinpath("data", "astronaut.png"))).convert("RGB")
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def _photographs(how: How) -> list[np.ndarray]:
    folder = how.work / "photographs"
    make_images(folder, *((60, 80, 2) if how.quick else (400, 600, 4)))
    return list(ImageSet(folder / "train.npy"))
