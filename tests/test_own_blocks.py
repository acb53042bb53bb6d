"""Blocks of a user's own: modules like any other, known by their code."""

import pickle
import re
import sys

import pytest
import torch

from multiblock.errors import UserError
from multiblock.networks import registry
from multiblock.networks.spec import describe

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


@pytest.mark.parametrize("name", ["my_block", "parts", "deep/slopes", "late"])
def test_an_edited_file_is_another_module(tmp_path, name):
    before = registry.build(write(tmp_path), {})
    file = tmp_path / f"{name}.py"
    text = file.read_text()
    file.write_text(f"# why\n{text}")
    assert registry.build(str(tmp_path / "my_block.py"), {}).code_digest == before.code_digest
    file.write_text(f"{text}\nADDED = 1\n")
    after = registry.build(str(tmp_path / "my_block.py"), {})
    assert after.code_digest != before.code_digest and type(after) is not type(before)


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
        ({"parts": "def f(:\n"}, r"my_block\.py: is no Python file: parts\.py, line 1: "),
        ({"my_block": "x = 1\ny = (\n"}, r"my_block\.py: is no Python file: line 2: '\(' was never closed; "),
    ],
)
def test_code_that_ends_in_an_error_is_named(tmp_path, change, says):
    with pytest.raises(UserError, match=says) as error:
        registry.build(write(tmp_path, **change), {})
    assert "\n" not in str(error.value) and re.escape(str(tmp_path))


def test_a_built_in_network_has_a_digest_too():
    assert registry.build("toy", {"depth": 2}).code_digest == registry.digest("toy") != registry.digest("mcan")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (BLOCK.encode() + b"raise SystemExit(3)\n", "cannot be imported: SystemExit: 3 (line "),
        (b"# h\xe9\n" + BLOCK.encode(), "is no Python file: invalid or missing encoding declaration"),
        (BLOCK.encode() + b"\0", "is no Python file: source code string cannot contain null bytes"),
    ],
    ids=["it ends the program", "Latin-1", "a null byte"],
)
def test_files_that_cannot_be_a_block(tmp_path, code, says):
    file = write(tmp_path)
    with open(file, "wb") as opened:
        opened.write(code)
    with pytest.raises(UserError, match=re.escape(f"my_block.py: {says}")):
        registry.build(file, {})
