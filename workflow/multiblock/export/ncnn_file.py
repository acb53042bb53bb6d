"""A chain as files of ncnn, which Upscayl and the programs ``*-ncnn-vulkan`` run; kept only if ncnn computes the same.

A network of ncnn is two files: layers in ``NAME.param``, weights in ``NAME.bin``. The converter is pnnx, a program of
ncnn's own, and its traces hold for all sizes only where the network asks for none, which two tried sizes show.
"""

import re
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from multiblock.errors import UserError, listed
from multiblock.export import exported
from multiblock.export.exported import Exported, Written
from multiblock.files import atomic_write

PACKAGES = ("pnnx", "ncnn")
"""What the files are written and checked with: the extra ``ncnn``."""

_NAMES = {"in0": "data", "out0": "output"}
"""Input and output as pnnx calls them, and as the programs that run the files do."""

_EXAMPLES = ((24, 32), (30, 26))
"""Heights and widths from which pnnx sees which sizes change."""


def check_packages() -> None:
    """Check that the packages are installed; the error says how they are."""
    exported.check_packages(PACKAGES, "files of ncnn", f"--no-deps {' '.join(PACKAGES)}")


def write(network: Exported, out: Path, say: Callable[[str], None], title: str) -> Written:
    """Trace the network, convert it, try it with ncnn, and write both files if it computes the same.

    Args:
        out: the file of layers; that of weights is beside it, with the ending .bin.
        say: is called with a line before each step that takes long.
        title: one sentence on what the network is, and the start of errors.

    Raises:
        UserError: packages are missing, the network cannot be converted, or the files compute something else.
    """
    check_packages()
    begun = time.monotonic()
    say(f"tracing and converting {sum(1 for _ in network.modules())} layers")
    with tempfile.TemporaryDirectory() as folder:
        layers, weights = _converted(network, Path(folder), title)
        say(f"converted after {time.monotonic() - begun:.1f} s; comparing ncnn with PyTorch")
        differences, runtime = _tried(layers, weights, network, title)
        for made, target in ((weights, out.with_suffix(".bin")), (layers, out)):
            with atomic_write(target) as part:
                part.write_bytes(made.read_bytes())
    size = sum(file.stat().st_size for file in (out, out.with_suffix(".bin")))
    return Written("ncnn", size, time.monotonic() - begun, differences, runtime)


def _converted(network: Exported, folder: Path, title: str) -> tuple[Path, Path]:
    """The files of layers and weights that pnnx makes in a folder."""
    program = Path(str(find_spec("pnnx").origin)).parent / "pnnx"  # type: ignore[union-attr]
    traced = folder / "traced.pt"
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that what it sees of sizes is for one size, which is tried below
            torch.jit.trace(network, torch.rand(1, 3, *_EXAMPLES[0]), check_trace=False).save(str(traced))
    except Exception as error:  # whatever a network's code leads to
        raise UserError(f"{title}: cannot be traced for ncnn: {str(error).splitlines()[0]}") from error
    shapes = ("".join(f"[1,3,{height},{width}]f32") for height, width in _EXAMPLES)
    words = [
        str(program),
        traced.name,
        *map("=".join, zip(("inputshape", "inputshape2"), shapes, strict=True)),
        "fp16=0",
    ]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, errors="replace")
    layers, weights = folder / "traced.ncnn.param", folder / "traced.ncnn.bin"
    if done.returncode or not layers.is_file():
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise UserError(f"{title}: pnnx cannot convert it: {listed(last) or f'exit status {done.returncode}'}")
    text = layers.read_text()
    if unknown := sorted(set(re.findall(r"^((?:aten|prim|torch|nn|F|Tensor|pnnx)[.:]\S+)", text, re.M))):
        raise UserError(f"{title}: cannot be written for ncnn, which has no {listed(unknown)}")
    for theirs, wanted in _NAMES.items():
        text = re.sub(rf"\b{theirs}\b", wanted, text)
    layers.write_text(text)
    return layers, weights


def _tried(layers: Path, weights: Path, network: Exported, title: str) -> tuple[dict[tuple[int, int], float], str]:
    """The largest difference from PyTorch by size, and the version of ncnn.

    Raises:
        UserError: it is too large, or ncnn cannot run the files.
    """
    import ncnn

    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    if net.load_param(str(layers)) or net.load_model(str(weights)):
        raise UserError(f"{title}: not written, as ncnn cannot read what pnnx made of it")

    def run(pictures: Tensor) -> np.ndarray:
        made = []
        for picture in pictures.numpy():
            extractor = net.create_extractor()
            extractor.input(_NAMES["in0"], ncnn.Mat(picture).clone())
            failed, result = extractor.extract(_NAMES["out0"])
            if failed:
                raise UserError(f"{title}: not written, as ncnn cannot run it at {picture.shape[1:]} pixels")
            made.append(np.array(result))
        return np.stack(made)

    return exported.differences(network, run, title, "ncnn"), ncnn.__version__
