"""Read files of weights that come from elsewhere: data and tensors only, never code."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
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
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, SafetensorError, pickle.UnpicklingError) as error:
        raise UserError(f"{file}: cannot be read as weights: {' '.join(str(error).split())[:300]}") from None
    while isinstance(content, Mapping) and not any(isinstance(value, Tensor) for value in content.values()):
        inside = next((key for key in NESTED if isinstance(content.get(key), Mapping)), None)
        if inside is None:
            raise UserError(f"{file}: holds no weights; found {listed(list(content)[:5])}")
        content = content[inside]
    if not isinstance(content, Mapping):
        raise UserError(f"{file}: holds no weights; found {type(content).__name__}")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return tensors
