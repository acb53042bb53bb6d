"""The multiblock command."""

import argparse
import csv
import subprocess
import sys

import pytest
import torch

from conftest import picture
from multiblock import cli
from multiblock.cli import main
from multiblock.data import images
from multiblock.networks import zoo
from published import PUBLISHED


def test_the_help_of_each_command_says_what_it_does_and_what_each_option_is():
    commands = argparse.ArgumentParser().add_subparsers()
    for command in cli._COMMANDS:
        command.add(commands)
    assert len(commands.choices) == 12
    for name, command in commands.choices.items():
        assert len(command.description or "") > 60, name
        assert all(action.help for action in command._actions), name
    assert "config.yaml if none is named" in " ".join(commands.choices["plan"].format_help().split())


def test_models_as_csv(capsys, monkeypatch):
    monkeypatch.setattr(zoo, "ENTRIES", {name: zoo.ENTRIES[name] for name in ("mcan", "imdn_rtc")})
    assert main(["models", "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [(row["name"], row["scale"]) for row in rows] == [
        ("mcan", "1"),
        ("imdn_rtc", "2"),
        ("imdn_rtc", "3"),
        ("imdn_rtc", "4"),
    ]
    assert list(rows[0])[:5] == ["name", "scale", "parameters", "parameters_executed", "gflops_256"]
    assert (rows[2]["parameters"], rows[2]["gflops_256"]) == ("21825", "2.820538368")
    assert main(["models"]) == 0
    assert "1,256,195" in capsys.readouterr().out


def test_published_weights_are_imported_and_scored(tmp_path, capsys):
    torch.manual_seed(0)
    torch.save(
        {name: 0.01 * torch.rand(shape) for name, shape in PUBLISHED["imdn_rtc_x2"]().items()}, tmp_path / "w.pth"
    )
    out = tmp_path / "ours" / "rtc.safetensors"
    assert main(["import", str(tmp_path / "w.pth"), "--as", "imdn_rtc", "--scale", "2", "-o", str(out)]) == 0
    assert "imdn_rtc x2, 20,190 parameters" in capsys.readouterr().out
    (tmp_path / "hr").mkdir()
    images.write(tmp_path / "hr" / "a.png", picture())
    command = [
        "evaluate",
        str(out),
        "--hr",
        str(tmp_path / "hr"),
        "-o",
        str(tmp_path / "scores.csv"),
        "--device",
        "cpu",
    ]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "PSNR-Y, 8 bits, border 2" in printed and "PSNR RGB, 8 bits, whole image" in printed
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [(row["image"], row["what"]) for row in rows] == [("a", "input"), ("a", "network")]
    assert main([*command, "--scale", "3"]) == 1
    assert "--scale: found 3" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "w.pth"), "--as", "imdn", "--scale", "2", "-o", str(out)]) == 1
    assert "is not imdn x2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "network", "scale", "expected"), [("IMDN_x3.pth", "imdn", 3, 34.36), ("PANx4_DF2K.pth", "pan", 4, 32.13)]
)
def test_published_weights_score_what_is_published(reference_data, tmp_path, capsys, file, network, scale, expected):
    weights, set5 = reference_data.parent / "weights" / file, reference_data / "Set5"
    if not weights.is_file():
        pytest.skip(f"{weights} is not there")
    out = tmp_path / "w.safetensors"
    assert main(["import", str(weights), "--as", network, "--scale", str(scale), "-o", str(out)]) == 0
    folders = ["--hr", str(set5 / "HR"), "--lr", str(set5 / f"LR_bicubic/X{scale}"), "--lr-name", f"{{name}}x{scale}"]
    assert main(["evaluate", str(out), *folders, "--device", "cpu"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("PSNR-Y"))
    assert float(line.split()[-1]) == pytest.approx(expected, abs=0.01)


def test_it_is_a_module_too():
    done = subprocess.run([sys.executable, "-m", "multiblock", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.0.0"
