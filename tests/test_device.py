"""The device and the number format of a phase, and why; a GPU of its own for each process, the GPUs pretended."""

import os
import re
import subprocess
import sys

import pytest
import torch

from multiblock.errors import UserError
from multiblock.files import lock
from multiblock.runtime import device, gpus
from multiblock.runtime.device import choose, full_precision


@pytest.fixture(autouse=True)
def anew():
    """Nothing that an earlier test found out is remembered."""
    device.bfloat16_pays.cache_clear()
    yield
    device.bfloat16_pays.cache_clear()


def test_a_gpu_that_is_not_there(pretended, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device: found cuda, but PyTorch sees no GPU here"):
        choose("cuda", "auto", gpus=1, threads=1)
    assert choose("auto", "auto", gpus=1, threads=1).device_reason == "no GPU here"
    pretended(None)
    assert choose("auto", "auto", gpus=0, threads=1).device_reason == "the job has no gpu resource"
    assert choose("auto", "auto", gpus=1, threads=1).device == torch.device("cuda", 0)


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
    monkeypatch.setattr(device, "_instructions", lambda: has)
    monkeypatch.setattr(device, "_seconds", lambda: {torch.float32: ratio, torch.bfloat16: 1.0})
    chosen = choose("cpu", "auto", gpus=0, threads=1)
    assert (chosen.dtype, chosen.dtype_reason) == (dtype, reason)
    assert choose("cpu", "float32", gpus=0, threads=1).dtype_reason == "configured"


def test_a_gpu_without_bfloat16_trains_in_float32(pretended, monkeypatch):
    pretended(None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    chosen = choose("cuda", "auto", gpus=1, threads=1)
    assert (chosen.dtype, chosen.dtype_reason) == (torch.float32, "the GPU has no bfloat16")


@pytest.mark.skipif(not device._instructions().get("avx512_bf16"), reason="else nothing is timed")
def test_the_probe_takes_no_time():
    assert all(0 < value < 0.1 for value in device._seconds().values())


class Pretended:
    """GPUs that are not there: each with a name, a capability, and what a convolution on it raises."""

    def __init__(self, monkeypatch, *problems: str | None, capability=(9, 0)):
        self.current = None
        cuda = {
            "is_available": lambda: True,
            "device_count": lambda: len(problems),
            "get_device_name": lambda number: f"GPU of type {number}",
            "get_device_capability": lambda _: capability,
            "is_bf16_supported": lambda including_emulation: True,
            "set_device": self.set_device,
        }
        for name, function in cuda.items():
            monkeypatch.setattr(torch.cuda, name, function)
        monkeypatch.setattr(gpus, "_uuid", lambda number: f"uuid-{number}")
        monkeypatch.setattr(gpus, "_problem", lambda number: problems[number])

    def set_device(self, number):
        self.current = number


@pytest.fixture
def pretended(monkeypatch, tmp_path):
    monkeypatch.setattr(gpus, "folder", lambda: tmp_path / "gpus")
    monkeypatch.setattr(gpus, "_held", {})
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    yield lambda *problems, **options: Pretended(monkeypatch, *problems, **options)
    for gpu in list(gpus._held):
        gpus.give_back(gpu)
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def test_a_gpu_that_the_wheel_has_no_kernels_for_is_left_out_with_the_reason(pretended):
    no_kernel = "CUDA error: no kernel image is available for execution on the device"
    here = pretended(no_kernel, None)
    chosen = choose("auto", "auto", gpus=1, threads=1)
    assert chosen.device == torch.device("cuda", 1) and here.current == 1
    assert list(gpus._held) == ["uuid-1"]

    gpus.give_back("uuid-1")
    pretended(no_kernel)
    chosen = choose("auto", "float32", gpus=1, threads=1)
    assert chosen.device.type == "cpu"
    assert chosen.device_reason == f"GPU 0 (GPU of type 0) does not work: {no_kernel}"
    assert not gpus._held
    with pytest.raises(UserError, match=r"device: found cuda, but GPU 0 .* no kernel image .*; allowed are auto, cpu"):
        choose("cuda", "auto", gpus=1, threads=1)


def test_the_probe_says_what_a_gpu_that_cannot_run_says():
    """PyTorch without CUDA stands for a wheel without the kernels."""
    if not torch.cuda.is_available():
        assert re.search("CUDA|NVIDIA", gpus._problem(0)) and "\n" not in gpus._problem(0)
    else:
        assert gpus._problem(0) is None


def test_a_gpu_that_another_job_uses_is_shared_with_a_word(pretended, tmp_path, caplog):
    pretended(None)
    with lock(tmp_path / "gpus" / "uuid-0" / "0", "another job"):
        chosen = choose("cuda", "float32", gpus=1, threads=1)
    assert chosen.device_reason == "configured, shared with 1 other job, as every GPU is in use"
    assert "GPU 0 is shared" in caplog.text
    gpus.give_back("uuid-0")
    pretended(None, None)
    with lock(tmp_path / "gpus" / "uuid-0" / "0", "another job"):
        assert choose("cuda", "float32", gpus=1, threads=1).device.index == 1


def test_float32_is_not_tf32(pretended):
    pretended(None)
    torch.backends.cudnn.allow_tf32 = True  # PyTorch's default
    chosen = choose("cuda", "float32", gpus=1, threads=1)
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    assert (chosen.precision, chosen.tf32) == ("float32", False)
    choose("cuda", "bfloat16", gpus=1, threads=1)
    assert not torch.backends.cudnn.allow_tf32


def test_tf32_is_a_precision_of_its_own_and_inference_never_has_it(pretended):
    pretended(None)
    chosen = choose("cuda", "tf32", gpus=1, threads=3)
    assert torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32
    assert chosen.fields() == {
        "device": "cuda:0",
        "name": "GPU of type 0",
        "device_reason": "configured",
        "precision": "tf32",
        "dtype": "float32",
        "tf32": True,
        "precision_reason": "configured",
        "threads": 3,
    }
    with full_precision():
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32 and torch.backends.cuda.matmul.allow_tf32
    again = chosen.with_precision("float32", "as it was begun")
    assert again.precision == "float32" and not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_what_has_no_tf32_says_so(pretended, kind):
    pretended(None, capability=(7, 5))
    chosen = choose(kind, "tf32", gpus=1, threads=1)
    assert chosen.precision == "float32" and not torch.backends.cudnn.allow_tf32
    assert chosen.dtype_reason == f"configured, but {'CPU' if kind == 'cpu' else 'GPU of type 0'} has no TF32"


def test_a_gpu_is_waited_for(pretended, monkeypatch):
    pretended(None)
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    choose("cpu", "float32", gpus=0, threads=1).synchronise()
    assert waited == []
    choose("cuda", "float32", gpus=1, threads=1).synchronise()
    assert waited == [torch.device("cuda", 0)]


# -- A GPU of its own for each process ---------------------------------------------------------------------------------

HOLD = """
import sys
from multiblock.runtime import gpus
print(*gpus.take(sys.argv[1:]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a process that takes one of the GPUs; the place that it got and the processes that it shares it with."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    started = []

    def one(*gpus: str) -> tuple[int, int]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, *gpus], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        number, others = process.stdout.readline().split()
        return int(number), int(others)

    one.started = started
    yield one
    for process in started:
        process.communicate("")


def test_each_process_gets_its_own_and_then_the_least_used(start):
    assert [start("A", "B", "C") for _ in range(3)] == [(0, 0), (1, 0), (2, 0)]
    assert start("B", "C") == (0, 1)
    assert start("A", "B", "C") == (0, 1)
    assert start("C") == (0, 1)
    assert start("B", "C") == (0, 2)


def test_what_a_killed_process_held_is_free(start):
    start("A", "B")
    start("A", "B")
    start.started[0].kill()
    start.started[0].wait()
    assert start("A", "B") == (0, 0)


def test_processes_that_start_at_once_get_different_ones(start, tmp_path):
    gpus = ["A", "B", "C", "D"]
    together = [
        subprocess.Popen([sys.executable, "-c", HOLD, *gpus], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in gpus
    ]
    start.started.extend(together)
    assert sorted(process.stdout.readline() for process in together) == [f"{number} 0\n" for number in range(4)]


def test_a_process_keeps_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(gpus, "_held", {})
    assert gpus.take(["A", "B"]) == gpus.take(["A", "B"]) == (0, 0)
    gpus.give_back("A")
    assert gpus.take(["B", "A"]) == (0, 0)
    assert gpus.take(["A", "B"]) == (1, 0)  # the first of them that it holds
    gpus.give_back("B")


def test_without_locks_the_first_is_taken_and_said(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(gpus, "folder", lambda: tmp_path / "file")
    assert gpus.take(["A", "B"]) == (0, 0)
    assert "the first is taken" in caplog.text


def test_the_locks_lie_on_this_machine_for_this_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert gpus.folder().parent == tmp_path
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert gpus.folder().name.endswith(str(os.getuid()))
