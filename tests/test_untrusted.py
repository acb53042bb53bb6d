"""Files of weights from elsewhere are data: no code runs, and what they claim is checked before memory is taken."""

import json
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from multiblock.data.imageset import ImageSet
from multiblock.errors import UserError
from multiblock.model import chain, state_dict
from multiblock.model.chain import Chain
from multiblock.plan import Block

MCAN = Block(network="mcan", options={"channels": 8, "residual_blocks": 1})


class Evil:
    """Leaves a trace where it is unpickled by a loader that runs code."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch '{self.trace}'",)


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.safetensors"])
def test_code_in_a_file_is_refused_and_does_not_run(tmp_path, name):
    file, trace = tmp_path / name, tmp_path / "ran"
    torch.save({"state_dict": Evil(trace)}, file)
    for read in (state_dict.read, chain.load):
        with pytest.raises(UserError, match=f"{name}: cannot be read as weights"):
            read(file)
    assert not trace.exists()
    with file.open("rb") as opened:
        torch.load(opened, weights_only=False)  # it would have run
    assert trace.exists()


def test_a_file_that_holds_itself_is_no_endless_search(tmp_path):
    content = {}
    content["model"] = content
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(UserError, match="holds no weights"):
        state_dict.read(tmp_path / "w.pth")


def test_a_file_that_claims_to_be_larger_than_it_is(tmp_path):
    whole, file = tmp_path / "whole.pth", tmp_path / "w.pth"
    torch.save({"a": torch.zeros(1_000_000)}, whole)
    with zipfile.ZipFile(whole) as parts, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for part in parts.namelist():
            packed.writestr(part, parts.read(part))
    with pytest.raises(UserError, match=r"w.pth: claims 4,00\d,\d+ bytes of weights, but has \d,\d+"):
        state_dict.read(file)


def damaged(file: Path, **changes) -> Path:
    """A chain's file whose description of itself is not true."""
    made = Chain.build([MCAN], [True])
    about = {"multiblock": "1", "first": 1, "blocks": [{"network": "mcan", "options": dict(MCAN.options)}]}
    about |= {"clamped": [True], **changes}
    tensors = {name: value.contiguous() for name, value in made.blocks.state_dict().items()}
    save_file(tensors, file, metadata={"chain": json.dumps(about)})
    return file


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"blocks": [{"network": "mcan", "options": {"channels": 65_000}}]}, "weights do not fit"),
        ({"blocks": [{"network": "mcan", "options": {"channels": 10**12}}]}, "at most 65536"),
        ({"blocks": [{"network": "mcan", "options": {"residual_blocks": 65_000}}]}, "of far more layers than the 14"),
        ({"blocks": [{"network": "mcan", "options": {}}] * 10_000, "clamped": [True] * 10_000}, "of far more layers"),
        ({"blocks": [{"network": "toy", "options": {}}]}, "weights do not fit"),
        ({"blocks": [{"network": "nowhere", "options": {}}]}, "unknown network 'nowhere'"),
        (
            {"blocks": [{"network": "/nowhere.py", "options": {}}]},
            "runs only if it is trusted: by --trust-code nowhere.py",
        ),
        ({"blocks": [{"network": "mcan", "options": {"chanels": 8}}]}, "did you mean 'channels'"),
        ({"blocks": [{"network": "mcan"}]}, "is damaged: it lacks 'options'"),
        ({"blocks": [{"network": 3, "options": {}}]}, "is damaged"),
        ({"blocks": "mcan"}, "is damaged: a part of it is of another kind than it should be"),
        ({"blocks": []}, "names 0 blocks"),
        ({"clamped": []}, "names 1 blocks and 0 clamps"),
        ({"clamped": None}, "is damaged"),
        ({"first": "one"}, "is damaged"),
    ],
)
def test_a_description_that_is_not_true_costs_neither_time_nor_memory(tmp_path, changes, says):
    file = damaged(tmp_path / "w.safetensors", **changes)
    begun = time.monotonic()
    with pytest.raises(UserError, match="w.safetensors") as error:
        chain.load(file)
    assert says in str(error.value) and "\n" not in str(error.value)
    assert time.monotonic() - begun < 5


def test_weights_that_are_missing_are_said_to_be(tmp_path):
    file = damaged(tmp_path / "w.safetensors")
    with safe_open(file, "pt") as opened:
        tensors, about = {name: opened.get_tensor(name) for name in opened.offset_keys()}, opened.metadata()
    bias = next(name for name in tensors if name.endswith("bias"))
    size = tensors.pop(bias).shape[0]
    save_file(tensors, file, metadata=about)
    with pytest.raises(UserError, match=rf"the blocks it names: {bias}: found nothing, needed shape {size}$"):
        chain.load(file)


def test_a_header_that_points_beyond_the_file(tmp_path):
    file = damaged(tmp_path / "w.safetensors")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="cannot be read as weights"):
        chain.load(file)
    file.write_bytes((2**60).to_bytes(8, "little") + b"{}")
    with pytest.raises(UserError, match="cannot be read as weights"):
        chain.load(file)


@pytest.mark.parametrize(
    ("array", "index"),
    [
        (b"", "name,height,width,digest\n"),
        (b"\x93NUMPY\x01\x00", "name,height,width,digest\n"),
        (None, ""),
        (None, "name,height\na,4\n"),
        (None, "name,height,width,digest\na,four,4,x\n"),
        (None, "name,height,width,digest\na,400000000,400000000,x\n"),
        ("object", "name,height,width,digest\na,1,1,x\n"),
        ("claims", "name,height,width,digest\na,1000000,1000000,x\n"),
    ],
)
def test_a_damaged_image_set_is_named(tmp_path, array, index):
    file = tmp_path / "train.npy"
    np.save(file, np.zeros(48, np.uint8))
    if array == "object":
        np.save(file, np.array([{}], object), allow_pickle=True)
    elif array == "claims":
        header = {"descr": "|u1", "fortran_order": False, "shape": (3 * 10**12,)}
        with file.open("wb") as opened:
            np.lib.format.write_array_header_1_0(opened, header)
    elif array is not None:
        file.write_bytes(array)
    file.with_suffix(".csv").write_text(index)
    with pytest.raises(UserError, match=r"train\.npy"):
        ImageSet(file)
