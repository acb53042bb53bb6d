"""Read files of weights that come from elsewhere: data and tensors only, never code."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from multiblock.errors import UserError, listed

NESTED = ("state_dict", "model_state_dict", "model", "params", "params_ema", "net", "generator")
"""Keys under which published files keep their weights."""


def read(file: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name, in the file's order, on the CPU.

    Weights that lie one level deeper, under one of the usual keys, are found; a ``module.`` before every name, which
    training on several GPUs leaves, is taken off.

    Raises:
        UserError: the file cannot be read, holds code, or holds no weights.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    try:
        if file.suffix == ".safetensors":
            content: Any = load_file(file)
        else:
            _check_size(file)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # unpickling raises whatever a damaged file leads it to
        raise UserError(f"{file}: cannot be read as weights: {' '.join(str(error).split())[:300]}") from None
    for _ in NESTED:  # a file may hold itself
        if not isinstance(content, Mapping) or any(isinstance(value, Tensor) for value in content.values()):
            break
        inside = next((key for key in NESTED if isinstance(content.get(key), Mapping)), None)
        if inside is None:
            raise UserError(f"{file}: holds no weights; found {listed(list(content)[:5])}")
        content = content[inside]
    if not isinstance(content, Mapping):
        raise UserError(f"{file}: holds no weights; found {type(content).__name__}")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{file}: holds no weights; found {listed(list(content)[:5])}")
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors


def _check_size(file: Path) -> None:
    """Refuse a file whose parts claim to be larger than it is: PyTorch writes them as they are, not compressed."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as parts:
            claimed = sum(part.file_size for part in parts.infolist())
        if claimed > file.stat().st_size:
            raise UserError(f"{file}: claims {claimed:,} bytes of weights, but has {file.stat().st_size:,}")
