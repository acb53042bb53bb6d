"""The multiblock command."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from conftest import ROOT, picture
from multiblock.chain import Chain
from multiblock.cli import main
from multiblock.data import images
from multiblock.plan import Block


def test_plan_prints_what_follows_from_it(capsys):
    assert main(["plan", str(ROOT / "config.yaml")]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any(line.startswith("2 2 inherit_zeroed LR_1 of phase 1 LR_2") for line in lines)
    assert any(line.startswith("4 1-3 phase 1, phase 2, phase 3 LR_0 -") for line in lines)


def test_blocks_lists_sizes(capsys):
    assert main(["blocks"]) == 0
    printed = capsys.readouterr().out
    assert "1,256,195 parameters, receptive field 71" in printed and "residual_blocks: int = 16" in printed


def test_a_mistake_is_one_line(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("seds: [1]\n")
    assert main(["plan", str(tmp_path / "a.yaml")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("multiblock: error: seds: unknown key; did you mean 'seeds'?")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("enlarge", [1, 2])
def test_upscale(tmp_path, enlarge):
    torch.manual_seed(0)
    chain = Chain.build([Block(network="toy", options={"depth": 2})], [True])
    for parameter in chain.parameters():
        parameter.data.zero_()
    chain.save(tmp_path / "w.safetensors")
    images.write(tmp_path / "a.png", picture())
    arguments = [str(tmp_path / "w.safetensors"), str(tmp_path / "a.png"), "-o", str(tmp_path / "out")]
    assert main(["upscale", *arguments, "--enlarge", str(enlarge), "--device", "cpu"]) == 0
    result = images.read(tmp_path / "out" / "a.png")
    assert result.shape == tuple(np.array(picture().shape) * [enlarge, enlarge, 1])
    if enlarge == 1:
        assert np.array_equal(result, picture())


def test_it_is_a_module_too():
    done = subprocess.run([sys.executable, "-m", "multiblock", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.1.0"
