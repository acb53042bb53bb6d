"""A chain as an ONNX file for pictures of any size, which is not kept unless onnxruntime computes what PyTorch does."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multiblock.errors import UserError, listed
from multiblock.export import graph
from multiblock.export.running import Exported
from multiblock.files import atomic_write

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What an ONNX file is written and checked with: the extra ``onnx``."""

OPSET = 18
"""The newest operators that are used, so that programs of 2023 read the file too."""

SIZES = ((graph.LEAST, 11), (45, 38))
"""Heights and widths at which the file is tried, other than the one that is traced."""

ALLOWED = 1e-4
"""Most by which onnxruntime may differ from PyTorch, for pictures from 0 to 1."""

_LARGEST = 2**31 - 2**20


@dataclass(frozen=True)
class Written:
    """An ONNX file that was written and tried.

    Args:
        opset: version of the operators.
        size: bytes.
        seconds: what tracing, converting and trying took.
        differences: by height and width, the largest difference from PyTorch.
        runtime: version of onnxruntime.
    """

    opset: int
    size: int
    seconds: float
    differences: Mapping[tuple[int, int], float]
    runtime: str


def check_packages() -> None:
    """See that the packages are there.

    Raises:
        UserError: they are not; the message says how they are installed.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(
            f"{listed(missing)}: not installed, and needed for ONNX files; they come with pip install "
            '"multiblock[onnx]"'
        )


def write(network: Exported, out: Path, about: Mapping[str, str], say: Callable[[str], None], title: str) -> Written:
    """Trace the network, convert it, try it with onnxruntime, and write the file if it computes the same.

    Args:
        about: metadata that onnxruntime shows as ``custom_metadata_map``.
        say: is told what takes long.
        title: one sentence on what the network is, and the start of errors.

    Raises:
        UserError: packages are missing, the network cannot be converted, or the file computes something else.
    """
    check_packages()
    if sum(tensor.nbytes for tensor in network.state_dict().values()) > _LARGEST:
        raise UserError(f"{title}: has more than 2 GB of weights, which one ONNX file cannot hold")
    begun = time.monotonic()
    with graph.quiet(), torch.no_grad():
        say(f"tracing {sum(1 for _ in network.modules())} layers; a large network takes minutes")
        traced = graph.traced(network, title)
        say(f"traced after {time.monotonic() - begun:.1f} s; converting")
        program = _converted(traced, network.scale, title)
    say(f"converted after {time.monotonic() - begun:.1f} s; comparing onnxruntime with PyTorch")
    model = program.model
    _clean(model)
    model.doc_string = title
    model.metadata_props.update(about)
    with atomic_write(out) as part:
        program.save(part)
        differences, runtime = _tried(part, network, title)
        size = part.stat().st_size
    return Written(model.opset_imports[""], size, time.monotonic() - begun, differences, runtime)


def _converted(traced: torch.export.ExportedProgram, scale: int, title: str) -> Any:
    """The graph as PyTorch's exporter writes it in ONNX."""
    try:
        program: Any = torch.onnx.export(
            traced,
            dynamo=True,
            opset_version=OPSET,
            input_names=["input"],
            output_names=["output"],
            dynamic_shapes=graph.sizes(),
            verbose=False,
        )
    except Exception as error:  # an operator without counterpart, and whatever else the exporter leads to
        raise UserError(f"{title}: cannot be written as ONNX: {graph.reason(error)}") from error
    shape, times = program.model.graph.outputs[0].shape, f"{scale}*" if scale > 1 else ""
    shape[2], shape[3] = f"{times}height", f"{times}width"  # plainer than what is found for some networks
    return program


def _clean(model: Any) -> None:
    """Take out what the exporter notes of each layer: lines and paths of the code on this machine."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()


def _tried(file: Path, network: Exported, title: str) -> tuple[dict[tuple[int, int], float], str]:
    """The largest difference from PyTorch by size, and the version of onnxruntime.

    Raises:
        UserError: it is too large, or the file cannot be run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    differences = {}
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        for height, width in SIZES:
            pictures = _pictures(height, width)
            found = session.run(None, {"input": pictures.numpy()})[0]
            with torch.inference_mode():
                wanted = network(pictures).numpy()
            if found.shape != wanted.shape:
                raise UserError(f"{title}: not written, as onnxruntime makes {found.shape} where it is {wanted.shape}")
            differences[height, width] = float(np.abs(found.astype(np.float64) - wanted).max())
    except UserError:
        raise
    except Exception as error:  # onnxruntime has kinds of errors of its own
        raise UserError(f"{title}: not written, as onnxruntime cannot run it: {graph.reason(error)}") from error
    for (height, width), most in differences.items():
        if not most <= ALLOWED:  # not a number is neither
            raise UserError(
                f"{title}: not written, as onnxruntime differs from PyTorch by {most:.1e} at {height} x {width} "
                f"pixels; allowed is {ALLOWED:.0e}"
            )
    return differences, onnxruntime.__version__


def _pictures(height: int, width: int) -> torch.Tensor:
    """A picture of noise and a smooth one, (2, 3, H, W) in [0, 1], the same each time."""
    noise = torch.rand((3, height, width), generator=torch.Generator().manual_seed(height * width))
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack((noise, torch.stack((x, y, (1 + torch.sin(6 * (x + y))) / 2))))
