"""The networks that ship: names stand for them, and they are better than interpolation."""

import pytest
from skimage import data

import multiblock
from multiblock.data.imageset import as_float
from multiblock.data.resize import enlarge, shrink
from multiblock.errors import UserError
from multiblock.inference.metrics import psnr_rgb
from multiblock.model import finished


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_network_that_ships_is_better_than_bicubic(scale):
    """On a test photograph of studies/shipped.yaml, which the networks have not seen."""
    full = data.coffee()[60:300, 120:360]
    low = shrink(full, scale)
    made = multiblock.load(f"x{scale}").upscale(low)
    gain = psnr_rgb(as_float(made), as_float(full)) - psnr_rgb(as_float(enlarge(low, scale)), as_float(full))
    assert made.shape == full.shape and gain > 0.5


def test_they_are_small_and_say_what_they_were_trained_on():
    files = finished.shipped()
    assert list(files) == ["x2", "x3", "x4"]
    assert sum(file.stat().st_size for file in files.values()) < 3e6
    for name, file in files.items():
        about = finished.about(file)
        assert (about.data, about.input) == (f"shipped_{name}", f"LR enlarged {name}") and about.psnr > 20


def test_a_file_or_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x2").mkdir()
    with pytest.raises(UserError, match="x2: holds no weights"):
        multiblock.load("x2")


def test_another_name_is_told_from_theirs():
    with pytest.raises(UserError, match=r"x5: is not there; .* a network that ships: x2, x3, x4"):
        multiblock.load("x5")
