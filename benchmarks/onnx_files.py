"""Whether every family of the zoo can be written as ONNX, and computes there what it does in PyTorch."""

from pathlib import Path
from typing import Any

import onnxruntime
import torch
from bench import How, Table

from multiblock.errors import UserError
from multiblock.export import onnx_file
from multiblock.export.onnx_file import Exported
from multiblock.model.chain import Chain
from multiblock.networks import zoo

ENTRIES = (
    "mcan",
    "toy",
    "carn",
    "carn_m",
    "srresnet",
    "pan",
    "imdn",
    "imdn_rtc",
    "drln_lite1",
    "drln_distilled",
    "sr_resunet_1",
    "drln",
    "rcan",
)
"""Of each family the smallest, and those by whose names the families are known."""

ENLARGED = {"mcan": 2, "toy": 3}
"""Blocks that keep the size, with the enlargement that their studies put before them inside the file."""


def measure(how: How) -> Table:
    """Each network with random weights, in a file of its own."""
    rows = [_row(name, how.work) for name in (("imdn_rtc",) if how.quick else ENTRIES)]
    at = ", ".join(f"{height} x {width}" for height, width in onnx_file.SIZES)
    about = (
        f"Networks of the zoo at their full size, with random weights, as ONNX files for any number of pictures of any "
        f"size from {onnx_file.LEAST} x {onnx_file.LEAST} pixels. *Difference*: the largest between onnxruntime "
        f"{onnxruntime.__version__} and PyTorch on a picture of noise and a smooth one, for values from 0 to 1; "
        f"allowed is {onnx_file.ALLOWED:.0e} at {at} (height x width), where no network was traced. *Seconds*: "
        "tracing, converting and trying, once, in turn."
    )
    return Table("onnx", about, rows)


def _row(name: str, folder: Path) -> dict[str, Any]:
    torch.manual_seed(0)
    enlarge = ENLARGED.get(name, 1)
    chain = Chain.build([zoo.sample(name)], [True]).eval()
    for parameter in chain.parameters():
        if parameter.numel() == 1:  # a self-attention begins at 0, as a copy of its input
            parameter.data.fill_(0.3)
    row = {"network": name, "scale": f"x{enlarge * chain.scale}", "parameters": f"{chain.parameters_count:,}"}
    row["bicubic inside"] = f"x{enlarge}" if enlarge > 1 else "no"
    try:
        made = onnx_file.write(Exported(chain, enlarge), folder / f"{name}.onnx", {}, lambda _: None, name)
    except UserError as error:
        return {**row, "note": str(error)}
    print(name, made, flush=True)
    differences = {f"difference at {h} x {w}": f"{most:.1e}" for (h, w), most in made.differences.items()}
    return {
        **row,
        "opset": str(made.opset),
        "seconds": round(made.seconds, 1),
        "MB": round(made.size / 1e6, 2),
        **differences,
    }
