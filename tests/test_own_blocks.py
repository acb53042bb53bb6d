"""Blocks of a user's own: modules like any other, known by their code."""

import json
import pickle
import re
import sys

import pytest
import torch
import yaml

import forked
from multiblock.cli import main
from multiblock.errors import UserError
from multiblock.networks import own, registry
from multiblock.networks.registry import describe
from multiblock.workflow import process

BLOCK = """
from __future__ import annotations
from dataclasses import dataclass, field
from torch import nn
import parts
import parts as p
import deep.gates
from parts import conv
from .parts import SIZE

@dataclass
class Width:
    of: list[int] = field(default_factory=list)

class MyBlock(nn.Module):
    output_layer, receptive_field = "last", 5
    def __init__(self, *, width: int = 4, slope: float = 0.1) -> None:
        super().__init__()
        assert parts is p and SIZE == parts.SIZE
        self.width = Width([width])
        self.first, self.last = conv(3, width), conv(width, 3)
        self.gate = deep.gates.Gate(slope)
    def forward(self, x):
        from late import half
        return x + half(self.last(self.gate(self.first(x))))
"""
PARTS = "from torch import nn\nSIZE = 3\ndef conv(a, b):\n    return nn.Conv2d(a, b, SIZE, padding=SIZE // 2)\n"
GATES = "from torch import nn\nfrom .slopes import Leaky\nclass Gate(Leaky):\n    pass\n"
SLOPES = "from torch import nn\nclass Leaky(nn.LeakyReLU):\n    pass\n"


def write(folder, **changes):
    files = {"my_block": BLOCK, "parts": PARTS, "deep/gates": GATES, "deep/slopes": SLOPES}
    files |= {"late": "def half(x):\n    return x / 2\n", **changes}
    for name, text in files.items():
        (folder / f"{name}.py").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.py").write_text(text)
    return str(folder / "my_block.py")


def test_dataclasses_neighbours_and_pickling_work(tmp_path):
    block = registry.build(write(tmp_path), {"width": 6})
    assert block.width.of == [6] and describe(block).receptive_field == 5
    image = torch.rand(1, 3, 8, 9)
    again = pickle.loads(pickle.dumps(block))
    assert torch.equal(block(image), again(image))
    assert type(again) is type(block) is type(registry.build(str(tmp_path / "my_block.py"), {}))
    # Nothing is left behind that another program would stumble on.
    assert not {"parts", "deep", "late", "my_block"} & sys.modules.keys()
    assert str(tmp_path) not in sys.path and not list(tmp_path.rglob("__pycache__"))


@pytest.mark.slow  # seconds
def test_it_compiles(tmp_path):
    block = registry.build(write(tmp_path), {})
    image = torch.rand(1, 3, 8, 9)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(image), block(image), atol=1e-6)


def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path):
    one = registry.build(write(tmp_path / "one"), {})
    two = registry.build(write(tmp_path / "two", parts=PARTS.replace("SIZE = 3", "SIZE = 5")), {})
    assert one.first.kernel_size == (3, 3) and two.first.kernel_size == (5, 5)
    assert one.code_digest != two.code_digest and type(one) is not type(two)


def test_an_edited_default_is_seen(tmp_path):
    file = write(tmp_path)
    assert registry.options(file)["width"] == ("int", 4)
    write(tmp_path, my_block=BLOCK.replace("width: int = 4", "width: int = 8"))
    assert registry.options(file)["width"] == ("int", 8)
    assert registry.build(file, {}).first.out_channels == 8


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"parts": "import nowhere_at_all\n"}, r"my_block\.py: cannot be imported: ModuleNotFoundError: .*nowhere.*"),
        ({"parts": "x = 1\ny = x / 0\n"}, r"my_block\.py: cannot be .*ZeroDivisionError.*\(line 2 of parts\.py\)"),
        ({"my_block": BLOCK + "raise SystemExit(3)\n"}, r"my_block\.py: cannot be imported: SystemExit: 3 \(line "),
        ({"parts": "def f(:\n"}, r"my_block\.py: is not a Python file: parts\.py, line 1: "),
        ({"my_block": "x = 1\ny = (\n"}, r"my_block\.py: is not a Python file: line 2: '\(' was never closed; "),
    ],
)
def test_code_that_ends_in_an_error_is_named(tmp_path, change, says):
    with pytest.raises(UserError, match=says) as error:
        registry.build(write(tmp_path, **change), {})
    assert "\n" not in str(error.value) and re.escape(str(tmp_path))


def test_a_built_in_network_has_a_digest_too():
    assert registry.build("toy", {"depth": 2}).code_digest == registry.digest("toy") != registry.digest("mcan")


EXITS = {
    "exit": ("sys.exit('no GPU')", "(SystemExit: no GPU)"),
    "a status": ("raise SystemExit(0)", "(SystemExit: 0)"),
    "an end of another kind": ("raise type('Abort', (BaseException,), {})()", "(Abort)"),
}


def exiting(folder, how: str, where: str) -> str:
    """A block that ends the program where it is built, or where it runs: line 9 in both cases."""
    built, run = (how if where == name else "pass" for name in ("built", "run"))
    text = (
        "import sys\nfrom torch import nn\n\n\nclass Ending(nn.Module):\n    output_layer, receptive_field = 'c', 3\n"
        f"    def __init__(self):\n        super().__init__()\n        {built}\n"
        "        self.c = nn.Conv2d(3, 3, 3, padding=1)\n"
        f"    def forward(self, x):\n        {run}\n        return self.c(x)\n"
    )
    (folder / "ending.py").write_text(text)
    return str(folder / "ending.py")


@pytest.mark.parametrize("how", EXITS)
@pytest.mark.parametrize(("where", "line"), [("built", 9), ("run", 12)])
def test_a_job_that_a_block_ends_says_so(tmp_path, how, where, line, capsys):
    code, said = EXITS[how]
    file = exiting(tmp_path, code, where)
    with pytest.raises(SystemExit) as ended, process.logged(tmp_path / "log"):
        registry.build(file, {})(torch.rand(1, 3, 8, 8))
    expected = f"multiblock: error: {file}: ends the program in line {line} {said}; a network's code may raise errors"
    assert ended.value.code == 1
    assert (tmp_path / "log").read_text().startswith(expected) and capsys.readouterr().err.count("\n") == 1


def test_other_exits_are_left_alone(tmp_path):
    registry.build(exiting(tmp_path, "pass", "run"), {})
    for stop in (SystemExit, KeyboardInterrupt, ValueError):
        with pytest.raises(stop), own.no_exit():
            raise stop
    # Ctrl-C is one wherever it comes.
    with pytest.raises(KeyboardInterrupt), own.no_exit():
        registry.build(exiting(tmp_path, "raise KeyboardInterrupt", "built"), {})


def test_commands_and_processes_say_so_too(tmp_path, capsys):
    file = exiting(tmp_path, *EXITS["exit"][:1], "run")
    stages = [{"iterations": 1, "batch": 2, "patch": 16}]
    study = {
        "data": {"scale": 1, "train": {"hr": "a", "lr": "b"}, "test": {"hr": "a", "lr": "b"}},
        "blocks": {"one": {"network": file}},
        "runs": {"r": {"chain": ["one"], "plan": [{"span": 1, "stages": stages}]}},
    }
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(study))
    assert main(["plan", str(tmp_path / "a.yaml")]) == 1
    assert f"multiblock: error: {file}: ends the program in line 12" in capsys.readouterr().err
    program = (
        "from pathlib import Path\nfrom multiblock.networks import registry\nfrom multiblock.workflow import ranks\n"
        f"with ranks._noted(Path({str(tmp_path / 'ended.json')!r})):\n    registry.build({file!r}, {{}})(None)\n"
    )
    assert forked.run([sys.executable, "-c", program]).returncode == 1
    note = json.loads((tmp_path / "ended.json").read_text())
    assert note["how"] == "wrong" and note["said"].startswith(f"{file}: ends the program in line 12")
