"""Read files of weights that come from elsewhere: data and tensors only, never code."""

import logging
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from multiblock.errors import UserError, listed
from multiblock.files import in_place_of
from multiblock.model.metadata import found_instead

log = logging.getLogger(__name__)

NESTED = ("params", "state_dict", "model_state_dict", "model", "net", "net_g", "generator", "module", "weights")
"""Keys under which published files keep their weights; each may carry a mark that it is an average."""


def read(file: Path) -> dict[str, Tensor]:
    """The tensors of a state dict by name, in the file's order, on the CPU.

    Weights that lie deeper, under one of the usual keys, are found. Where a file keeps an average over the iterations
    (``params_ema``) beside the last weights, the average is taken, as it is what authors publish figures of; which
    is logged. The ``module.`` and ``_orig_mod.`` before names, which training on several GPUs and compilation
    leave, are taken off.

    Raises:
        UserError: the file cannot be read, holds code, holds no weights, or one that is not finite.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file")
    content = _content(file)
    for _ in range(8):  # a file may hold itself
        if not isinstance(content, Mapping) or any(isinstance(value, Tensor) for value in content.values()):
            break
        ranks = {key: rank for key in content if isinstance(content[key], Mapping) and (rank := _rank(key))}
        keys = sorted(ranks, key=lambda key: ranks[key])
        if len(content) == 1 and all(isinstance(value, Mapping) for value in content.values()):
            keys = list(content)  # there is nothing else, whatever it is called
        if not keys:
            raise UserError(f"{file}: holds no weights; found {listed(list(content)[:5])}")
        if len(keys) > 1:
            log.warning("%s: %s is taken; there are %s too", file, keys[0], listed(keys[1:]))
        content = content[keys[0]]
    if not isinstance(content, Mapping):
        raise UserError(f"{file}: holds no weights; found {type(content).__name__}")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise UserError(f"{file}: holds no weights; found {listed(list(content)[:5])}")
    tensors = _without_wrappers(tensors, file)
    check_finite(tensors, file)
    return tensors


def check_finite(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Refuse weights that are not finite as float32, complex, or larger than what the file holds of them.

    Raises:
        UserError: there are; the message names the first tensor, and how many there are.
    """
    wrong: dict[str, int] = {}
    for name, value in tensors.items():
        if value.is_complex():
            raise UserError(f"{file}: {name} holds complex numbers; allowed are real ones")
        if (size := value.numel() * value.element_size()) > (held := value.untyped_storage().nbytes()):
            raise UserError(f"{file}: {name} is said to have {size} bytes, and the file holds {held} of them")
        if count := int((~torch.isfinite(value.float())).sum()):
            wrong[name] = count
    if wrong:
        name, count = next(iter(wrong.items()))
        others = f"; so do {len(wrong) - 1} other tensors" if len(wrong) > 1 else ""
        raise UserError(
            f"{file}: {name} holds {count} of {tensors[name].numel()} values that are not finite{others}; "
            "allowed are weights that are numbers"
        )


def _content(file: Path) -> Any:
    """The content of a file, as PyTorch or safetensors reads it."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        _check_kind(file)
        with torch.serialization.safe_globals(_NUMPY):
            return torch.load(file, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # unpickling raises whatever a damaged file leads it to
        reason = _reason(error)
        raise UserError(f"{file}: cannot be read as weights: {found_instead(file, reason) or reason}") from None


def _numpy_kinds() -> list[Any]:
    """The types that NumPy 1 and 2 pickle numbers and arrays as; none of them runs code of a file."""
    parts = {"scalar": np.float64().__reduce__()[0], "_reconstruct": np.empty(0).__reduce__()[0]}
    kinds: list[Any] = [np.ndarray, np.dtype, *{type(np.dtype(code)) for code in np.typecodes["All"] if code != "O"}]
    return kinds + [
        (part, f"numpy.{core}.multiarray.{name}") for core in ("core", "_core") for name, part in parts.items()
    ]


_NUMPY = _numpy_kinds()


def _reason(error: Exception) -> str:
    """The reason in an error of PyTorch, without its advice, some of which is unwise."""
    text = " ".join(str(error).split()) or type(error).__name__
    if found := re.search(r"(?:Unsupported global: GLOBAL|Trying to (?:load|call reduce for)[^.]*?) ([\w.]+)", text):
        return f"it holds {found[1]}, which is not a tensor, number or text; ask for a file of the weights alone"
    text = text.partition("WeightsUnpickler error: ")[2] or text
    text = text.partition(" Please file an issue")[0].partition(" Check the documentation of torch.load")[0]
    return "only code in it could read it; ask for a file of the weights alone" if "weights_only" in text else text


_AVERAGE = re.compile(r"(^|_)(ema|swa|averaged?)(_|$)")


def _rank(key: object) -> tuple[int, int] | None:
    """The rank of a key among those that may hold the weights, averages first; None if it is none of them."""
    name = str(key).lower().replace("-", "_")
    plain = _AVERAGE.sub(lambda found: "_" if found[1] and found[3] else "", name).strip("_")
    averaged = plain != name
    if plain in NESTED or (averaged and not plain):
        return (0 if averaged else 1), NESTED.index(plain) if plain else len(NESTED)
    return None


def _without_wrappers(tensors: Mapping[str, Tensor], file: Path) -> dict[str, Tensor]:
    """The tensors by the names that they have in the network itself, which wrappers put something before."""
    tensors = dict(tensors)
    if "n_averaged" in tensors and any(name.startswith("module.") for name in tensors):
        del tensors["n_averaged"]  # how many weights an average is of
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        plain = name
        while (bare := re.sub(r"^module\.|(^|(?<=\.))_orig_mod\.", "", plain)) != plain:
            plain = bare
        if plain in found and not torch.equal(found[plain], value):
            raise UserError(f"{file}: holds {plain} twice, as {name} too, and they differ; allowed is one of them")
        found.setdefault(plain, value)
    return found


def _check_kind(file: Path) -> None:
    """Refuse a file that PyTorch has not written, or has written with code in it.

    So is one whose parts claim to be larger than it is: PyTorch writes them as they are, not compressed.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as parts:
            claimed, names = sum(part.file_size for part in parts.infolist()), parts.namelist()
        if claimed > file.stat().st_size:
            raise UserError(f"{file}: claims {claimed:,} bytes of weights, but has {file.stat().st_size:,}")
        if any(name.endswith("constants.pkl") for name in names):
            raise UserError(
                f"{file}: cannot be read as weights: it is a TorchScript program, whose code is not run; ask for a "
                "file of the weights alone"
            )
    else:
        with file.open("rb") as opened:
            begins = opened.read(2)
        if not begins.startswith((b"PK", b"\x80")) and not in_place_of(file):  # a zip archive, a pickle
            raise UserError(
                f"{file}: cannot be read as weights: its content is of no kind that is read; allowed is what "
                "torch.save has written, or a file that ends in .safetensors"
            )
