"""Files of ncnn: what ncnn makes of them, and networks that cannot be written so."""

from importlib.util import find_spec

import pytest
import torch

from multiblock.cli import main
from multiblock.errors import UserError
from multiblock.export import exported, ncnn_file
from multiblock.export.exported import Exported
from multiblock.model.chain import Chain
from multiblock.networks import zoo


@pytest.mark.parametrize("form", ["onnx", "ncnn"])
def test_files_that_are_there_stay(form, tmp_path, capsys):
    endings = {"onnx": [".onnx", ".md"], "ncnn": [".param", ".bin", ".md"]}[form]
    for ending in endings:
        target = tmp_path / f"net{ending}"
        target.write_text("mine")
        assert main(["export", "x2", "--form", form, "-o", str(target.with_suffix(endings[0]))]) == 1
        assert str(target) in capsys.readouterr().err and target.read_text() == "mine"
        target.unlink()


def test_without_the_packages_one_line_says_how_they_are_installed(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(exported, "find_spec", lambda name: None if name == "ncnn" else find_spec("torch"))
    assert main(["export", "x2", "--form", "ncnn", "-o", str(tmp_path / "net.param")]) == 1
    says = "ncnn: not installed, and needed for files of ncnn; they come with pip install --no-deps pnnx ncnn"
    assert says in capsys.readouterr().err


@pytest.mark.skipif(not all(map(find_spec, ncnn_file.PACKAGES)), reason="pnnx and ncnn are needed: envs/ncnn.txt")
@pytest.mark.slow  # converts
@pytest.mark.filterwarnings("ignore:.*indexing argument.*")
class TestConversion:
    """Needs both packages."""

    def test_a_network_that_ships_is_what_it_was(self, tmp_path, capsys):
        assert main(["export", "x2", "--form", "ncnn", "-o", str(tmp_path / "photo-x2.param")]) == 0
        assert "differs from PyTorch by at most" in capsys.readouterr().out
        assert sorted(file.name for file in tmp_path.iterdir()) == ["photo-x2.bin", "photo-x2.md", "photo-x2.param"]
        layers = (tmp_path / "photo-x2.param").read_text().splitlines()
        assert layers[2].startswith("Input") and "data" in layers[2].split()
        assert "output" in layers[-1].split()
        card = (tmp_path / "photo-x2.md").read_text()
        assert "library_name: ncnn" in card and "-n photo-x2 -s 2" in card and "enlargement" in card

    def test_what_ncnn_computes_is_compared(self, tmp_path, monkeypatch):
        network = Exported(Chain.build([zoo.sample("toy")], [True]).eval(), 1)
        made = ncnn_file.write(network, tmp_path / "toy.param", lambda line: None, "toy")
        assert 0 <= max(made.differences.values()) < 1e-5
        monkeypatch.setattr(exported, "ALLOWED", -1.0)
        monkeypatch.setattr(exported, "_TIMES", 0)
        with pytest.raises(UserError, match="toy: not written, as ncnn differs from PyTorch"):
            ncnn_file.write(network, tmp_path / "other.param", lambda line: None, "toy")
        assert not (tmp_path / "other.param").exists() and not (tmp_path / "other.bin").exists()

    @pytest.mark.parametrize(("name", "says"), [("SAFMN", "which has no F.adaptive_max_pool2d"), ("SwinIR", "pnnx")])
    def test_networks_that_compute_with_sizes_are_refused(self, name, says, tmp_path):
        from test_library import chain

        torch.manual_seed(0)
        with pytest.raises(UserError, match=f"it: .*{says}"):
            ncnn_file.write(Exported(chain(name).eval(), 1), tmp_path / "it.param", lambda line: None, "it")
