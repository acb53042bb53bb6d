"""The multiblock command."""

import argparse
import csv
import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from conftest import picture
from multiblock import cli, files
from multiblock.cli import main
from multiblock.data import images
from multiblock.model.published import import_weights
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
    assert main([*command, "--scale", "3", "--overwrite"]) == 1
    assert "--scale: found 3" in capsys.readouterr().err
    assert main(["import", str(tmp_path / "w.pth"), "--as", "imdn", "--scale", "2", "-o", f"{out}.safetensors"]) == 1
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


WRITING = {
    "import": (["import", "w.pth", "--as", "imdn_rtc", "--scale", "2"], "new.safetensors"),
    "evaluate": (["evaluate", "w.safetensors", "--hr", "hr", "--device", "cpu"], "new.csv"),
    "export": (["export", "w.safetensors", "--form", "authors"], "new.pth"),
    "export's card": (["export", "w.safetensors", "--form", "authors"], "new.md"),
    "upscale": (["upscale", "w.safetensors", "hr/new.png", "--device", "cpu"], "new.png"),
    "upscale's page": (
        ["upscale", "w.safetensors", "hr/new.png", "--device", "cpu", "--compare", "new.html"],
        "new.html",
    ),
}


@pytest.fixture
def command(request, tmp_path, monkeypatch):
    """A command that writes a file, in a folder with all that it reads; and that file."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    shapes = PUBLISHED["imdn_rtc_x2"]()
    torch.save({name: 0.01 * torch.rand(shape) for name, shape in shapes.items()}, "w.pth")
    import_weights(Path("w.pth"), "imdn_rtc", {"scale": 2})[0].save(Path("w.safetensors"))
    images.write(Path("hr/new.png"), picture())
    arguments, name = WRITING[request.param]
    out = {"upscale": ".", "export": "new.pth"}.get(arguments[0], name)
    return [*arguments, "-o", out], Path(name)


@pytest.mark.parametrize("command", WRITING, indirect=True)
class TestFilesThatAreThere:
    """No command replaces one that nobody told it to."""

    def test_they_are_refused_before_any_work_and_replaced_with_overwrite(self, command, capsys):
        arguments, file = command
        file.write_text("mine")
        assert main(arguments) == 1
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1 and f"{file}: exists already" in said[0] and "--overwrite" in said[0]
        assert file.read_bytes() == b"mine"
        assert main([*arguments, "--overwrite"]) == 0 and file.read_bytes() != b"mine"

    @pytest.mark.parametrize("links", [True, False])
    def test_one_that_appears_meanwhile_stays(self, command, capsys, monkeypatch, links):
        arguments, file = command
        flush = files._flush

        def appear(path):
            flush(path)
            if path.suffix == file.suffix and not file.exists():
                file.write_text("mine")

        monkeypatch.setattr(files, "_flush", appear)
        if not links:
            monkeypatch.setattr(os, "link", raiser(PermissionError(1, "Operation not permitted")))
        assert main(arguments) == 1 and file.read_bytes() == b"mine"
        assert f"{file}: exists already: it has appeared meanwhile" in capsys.readouterr().err
        assert not list(Path().glob(".part-*"))
        file.unlink()
        monkeypatch.setattr(files, "_flush", flush)
        assert main([*arguments, "--overwrite"]) == 0 and file.exists()


class Gone(io.StringIO):
    """A stream whose reader is gone, or whose disk is full."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def write(self, _):
        raise OSError(self._number, os.strerror(self._number))

    def flush(self):
        self.write("")


@pytest.mark.parametrize("command", WRITING, indirect=True)
@pytest.mark.parametrize(("number", "status"), [(errno.EPIPE, 0), (errno.EIO, 0), (errno.ENOSPC, 1)])
def test_a_line_that_cannot_be_printed_ends_no_work(command, monkeypatch, number, status):
    """A full disk is an error in the end: `multiblock models --csv > FILE` has no other result."""
    arguments, file = command
    monkeypatch.setattr(sys, "stdout", Gone(number))
    monkeypatch.setattr(sys, "stderr", Gone(number))
    assert main(arguments) == status
    assert file.exists()


@pytest.mark.parametrize("redirection", ["| true", ">&- 2>&-"])
def test_it_ends_well_when_nobody_listens(redirection):
    """As seen from outside, where Python has a last word too."""
    words = f"{sys.executable} -c 'from multiblock.cli import main; exit(main())' reference {redirection}"
    script = f"set -o pipefail; {words}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def raiser(error):
    def call(*_, **__):
        raise error

    return call


def test_weights_are_not_replaced_by_what_is_made_of_them(tmp_path, capsys):
    shapes = PUBLISHED["imdn_rtc_x2"]()
    file = tmp_path / "w.safetensors"
    save_file({name: torch.rand(shape) for name, shape in shapes.items()}, file)
    before = file.read_bytes()
    assert main(["import", str(file), "--as", "imdn_rtc", "--scale", "2", "-o", str(file), "--overwrite"]) == 1
    assert "are the weights that are read, which are never replaced" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_it_is_a_module_too():
    done = subprocess.run([sys.executable, "-m", "multiblock", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1.0.0"
