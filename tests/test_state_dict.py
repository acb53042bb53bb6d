"""Files of weights as others write them: averages, wrappers' prefixes, numbers beside the weights."""

import argparse
import datetime

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from multiblock.errors import UserError
from multiblock.model import state_dict

RAW, AVERAGE = {"a.weight": torch.zeros(2)}, {"a.weight": torch.ones(2)}


@pytest.fixture
def read(tmp_path):
    def read(content):
        torch.save(content, tmp_path / "w.pth")
        return state_dict.read(tmp_path / "w.pth")

    return read


@pytest.mark.parametrize(
    ("raw", "average"),
    [
        ("params", "params_ema"),
        ("state_dict", "state_dict_ema"),
        ("model", "model_ema"),
        ("model", "ema_model"),
        ("state_dict", "ema"),
        ("net_g", "net_g_ema"),
        ("model_state_dict", "ema_state_dict"),
        ("model", "swa_model"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_the_average_is_taken_and_said(raw, average, turned, read, caplog):
    content = {raw: RAW, average: AVERAGE, "epoch": 7}
    assert read(dict(reversed(content.items())) if turned else content)["a.weight"].sum() == 2
    assert f"w.pth: {average} is taken; there are {raw} too" in caplog.text


def test_one_alone_is_taken_without_a_word(read, caplog):
    for key in ("params", "params_ema", "ema"):
        assert read({key: RAW, "optimizer": {"state": {}}}).keys() == RAW.keys()
    assert not caplog.records


def test_an_average_may_lie_deeper(read):
    assert read({"state_dict": {"model": RAW, "model_ema": {"module": AVERAGE}}})["a.weight"].sum() == 2


@pytest.mark.parametrize(
    "names",
    [
        ("module.a.weight", "module.b.bias"),
        ("_orig_mod.a.weight", "_orig_mod.b.bias"),
        ("module._orig_mod.a.weight", "_orig_mod.module.b.bias"),
        ("module.a.weight", "b.bias"),
        ("a._orig_mod.weight", "b.bias"),
        ("a.weight", "_orig_mod.b._orig_mod.bias"),
        ("module.module.a.weight", "module.b.bias"),
    ],
)
def test_what_wrappers_put_before_names_is_taken_off(names, read):
    given = dict(zip(names, (torch.zeros(1), torch.ones(1)), strict=True))
    assert read({"params": given}) == {"a.weight": given[names[0]], "b.bias": given[names[1]]}


def test_names_that_only_look_so_are_kept(read):
    assert list(read({"my_module.a": torch.zeros(1), "x.module.b": torch.zeros(1)})) == ["my_module.a", "x.module.b"]


def test_pytorchs_own_average(read):
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.Linear(2, 1))
    assert list(read(averaged.state_dict())) == ["weight", "bias"]


def test_a_name_that_is_there_twice(read):
    with pytest.raises(UserError, match=r"holds a twice, as module\.a too, and they differ"):
        read({"a": torch.zeros(1), "module.a": torch.ones(1)})
    assert list(read({"a": torch.zeros(1), "module.a": torch.zeros(1)})) == ["a"]


@pytest.mark.parametrize(
    "value",
    [
        7,
        0.5,
        "text",
        None,
        True,
        [1, 2],
        *(kind(1) for kind in (np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8, np.bool_)),
        np.complex64(1j),
        np.str_("text"),
        np.arange(3),
        np.zeros((2, 2), np.float32),
        {"best": np.float64(31.2), "history": [np.float32(1)]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_beside_the_weights_are_read(value, read):
    assert read({"params": RAW, "psnr": value}).keys() == RAW.keys()
    assert read({**RAW, "psnr": value}).keys() == RAW.keys()


def test_files_of_numpy_1(tmp_path):
    file = tmp_path / "w.pth"
    torch.save({"params": RAW, "psnr": np.float64(1)}, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    assert b"numpy._core.multiarray" in content
    file.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert state_dict.read(file).keys() == RAW.keys()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (argparse.Namespace(lr=1), r"it holds argparse\.Namespace"),
        (datetime.timedelta(1), r"it holds datetime\.timedelta"),
        (torch.nn.Conv2d(1, 1, 1), r"it holds torch\.nn\.modules\.conv\.Conv2d"),
    ],
)
def test_why_a_file_is_refused_is_said_whole(value, says, read):
    with pytest.raises(UserError, match=rf"w\.pth: cannot be read as weights: {says}, which is not a tensor") as error:
        read({"params": RAW, "x": value})
    assert "weights_only" not in str(error.value) and "\n" not in str(error.value)


def test_an_array_of_objects_runs_nothing(read, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    with pytest.raises(UserError, match="cannot be read as weights"):
        read({"params": RAW, "x": np.array([Evil()], object)})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value, read, tmp_path):
    bad = {"a": torch.zeros(3), "b.weight": torch.tensor([1.0, value, value])}
    with pytest.raises(UserError, match=r"w\.pth: b\.weight holds 2 of 3 values that are not finite"):
        read({"params": bad})
    save_file(bad, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"b\.weight holds 2 of 3"):
        state_dict.read(tmp_path / "w.safetensors")
    assert read({"params": bad, "params_ema": AVERAGE})  # those that are not taken do not matter
