"""Where and how precisely a phase is trained, and why."""

import pytest
import torch

from multiblock.errors import UserError
from multiblock.runtime import device
from multiblock.runtime.device import choose


@pytest.fixture(autouse=True)
def anew():
    """Nothing that an earlier test found out is remembered."""
    device._bfloat16_pays.cache_clear()
    yield
    device._bfloat16_pays.cache_clear()


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device: found cuda, but PyTorch sees no GPU here"):
        choose("cuda", "auto", gpus=1, threads=1)
    assert choose("auto", "auto", gpus=1, threads=1).device.type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose("auto", "auto", gpus=0, threads=1).device_reason == "the job has no gpu resource"
    assert choose("auto", "auto", gpus=1, threads=1).device.type == "cuda"


@pytest.mark.parametrize(
    ("has", "ratio", "dtype", "reason"),
    [
        ({}, 3.0, torch.float32, "the CPU has no bfloat16 instructions"),
        ({"avx512_bf16": True}, 0.5, torch.float32, "the CPU has avx512_bf16, but no faster than float32"),
        ({"avx512_bf16": True}, 2.0, torch.bfloat16, "the CPU has avx512_bf16"),
        ({"avx512_bf16": True, "amx_bf16": True}, 0.5, torch.bfloat16, "the CPU has amx_bf16"),
    ],
)
def test_bfloat16_where_it_is_faster(monkeypatch, has, ratio, dtype, reason):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    monkeypatch.setattr(device, "_seconds", lambda: {torch.float32: ratio, torch.bfloat16: 1.0})
    chosen = choose("cpu", "auto", gpus=0, threads=1)
    assert (chosen.dtype, chosen.dtype_reason) == (dtype, reason)
    assert choose("cpu", "float32", gpus=0, threads=1).dtype_reason == "configured"


def test_a_gpu_without_bfloat16_trains_in_float32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    chosen = choose("cuda", "auto", gpus=1, threads=1)
    assert (chosen.dtype, chosen.dtype_reason) == (torch.float32, "the GPU has no bfloat16")


def test_the_probe_takes_no_time():
    assert all(0 < value < 0.1 for value in device._seconds().values())
