"""Files of weights as others write them: averages, wrappers' prefixes, numbers beside the weights."""

import argparse
import datetime
import tarfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from multiblock.errors import UserError
from multiblock.model import metadata, state_dict

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


@pytest.mark.parametrize("key", ["params-ema", "mymodel"])
def test_weights_under_one_key_alone_are_read_whatever_it_is_called(key, read):
    assert list(read({key: {"a.weight": torch.ones(2)}})) == ["a.weight"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (torch.full((2,), 1e300, dtype=torch.float64), "holds 2 of 2 values that are not finite"),
        (torch.ones(2, dtype=torch.complex64), "holds complex numbers; allowed are real ones"),
        (torch.zeros(1).expand(10**6, 10**6), "is said to have 4000000000000 bytes, and the file holds 4 of them"),
    ],
)
def test_what_float32_cannot_hold_is_refused(value, says, read):
    with pytest.raises(UserError, match=f"w.pth: a.weight {says}"):
        read({"a.weight": value})


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
    content = file.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core.multiarray" in content
    file.write_bytes(content)
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


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # files of it are about for longer
def test_a_file_that_is_something_else_is_called_what_it_is(tmp_path, capfd):
    torch.save({"a": torch.rand(99, 99)}, tmp_path / "zip")
    torch.save({"a": torch.rand(99, 99)}, tmp_path / "pickle", _use_new_zipfile_serialization=False)
    torch.jit.script(torch.nn.Conv2d(1, 1, 1)).save(tmp_path / "script")
    save_file({"a": torch.rand(99, 99)}, tmp_path / "safe")
    with tarfile.open(tmp_path / "tar", "w") as archive:
        archive.add(tmp_path / "zip", "zip")
    page = b"\n<!DOCTYPE html><html>"
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    half = {name: (tmp_path / name).read_bytes()[:9000] for name in ("zip", "pickle", "safe")}
    cases = [
        *(
            (half[name], ending, "a part of it is missing")
            for name, ending in zip(half, ("pth", "pt", "safetensors"), strict=True)
        ),
        *((page, ending, "it is a web page") for ending in ("pth", "safetensors")),
        *((pointer, ending, "it is a pointer of Git LFS; `git lfs pull`") for ending in ("pth", "safetensors")),
        (b"", "pth", "it is empty"),
        ((tmp_path / "script").read_bytes(), "pth", "it is a TorchScript program"),
        (b"any text", "pth", "its content is of no kind that is read; allowed is what torch.save has written"),
        ((tmp_path / "tar").read_bytes(), "pth", "only code in it could read it"),
    ]
    for content, ending, says in cases:
        (tmp_path / f"w.{ending}").write_bytes(content)
        readers = (state_dict.read, metadata.read) if ending == "safetensors" else (state_dict.read,)
        for read in readers:
            with pytest.raises(UserError) as error:
                read(tmp_path / f"w.{ending}")
            assert str(error.value).startswith(f"{tmp_path}/w.{ending}: cannot be read as weights: {says}")
            assert "weights_only" not in str(error.value)
    assert capfd.readouterr().err == ""


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
