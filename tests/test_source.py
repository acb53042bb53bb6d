"""What of Python code counts for a digest, and which files beside a file belong to it."""

import subprocess
import sys

import pytest

from conftest import ROOT
from multiblock.source import digest_of_code, digest_of_files, with_neighbours

CODE = """
import logging
from torch.nn import functional as F
log = logging.getLogger(__name__)
def f(x, k=2):
    if k < 1:
        raise ValueError(f"k: found {k}")
    log.info("k is %d", k)
    return F.relu(x) * k
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return F", "# why\n    return F"),
        ("def f(x, k=2):", 'def f(x, k=2):\n    """What."""'),
        ("found {k}", "found {k}; allowed is at least 1"),
        ("k is %d", "k: %d"),
        ('    log.info("k is %d", k)\n', ""),
        ("log = logging.getLogger(__name__)\n", "log = logging.getLogger(__name__)\nwarnings.warn('old')\n"),
        ("def f(x, k=2):", "def f(x: Tensor, k: int = 2) -> Tensor:"),
        ("return F.relu(x) * k", "y: Tensor = F.relu(x)\n    return y * k"),
        ("functional as F", "functional as G"),
        ("import logging\n", "import logging\nimport pathlib\n"),
        ("from torch.nn import functional as F", "import torch.nn.functional as F"),
        ("return F.relu(x) * k", "return (F.relu(x)\n            * k)"),
    ],
)
def test_what_computes_nothing_does_not_count(old, new):
    assert old in CODE
    base = CODE if "y: Tensor" not in new else CODE.replace(old, "y = F.relu(x)\n    return y * k")
    changed = CODE.replace(old, new)
    if "G" in new:
        changed = changed.replace("F.relu", "G.relu")
    assert digest_of_code(changed) == digest_of_code(base)


def test_a_name_that_is_imported_in_two_places_stands_for_both():
    code = "try:\n    from torch import {} as act\nexcept ImportError:\n    from torch import relu as act\n"
    code += "def f(x):\n    return act(x)\n"
    assert digest_of_code(code.format("sin")) != digest_of_code(code.format("cos"))
    stars = "from {} import *\ndef f(x):\n    return sin(x)\n"
    assert digest_of_code(stars.format("torch")) != digest_of_code(stars.format("numpy"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("k=2", "k=3"),
        ("* k", "+ k"),
        ("k < 1", "k < 2"),
        ("F.relu(x)", "F.gelu(x)"),
        ("functional as F", "functional as F, modules as G"),
        ("ValueError", "TypeError"),
        ("def f", "@torch.no_grad()\ndef f"),
        ("def f", "from torch.special import *\ndef f"),
    ],
)
def test_what_computes_counts(old, new):
    same = "as G" in new  # a name that is imported and not used computes nothing
    assert (digest_of_code(CODE.replace(old, new)) == digest_of_code(CODE)) is same


def test_a_name_stands_for_what_it_was_imported_as():
    one, two = (f"from torch.nn.functional import {name} as act\ny = act(x)\n" for name in ("relu", "gelu"))
    assert digest_of_code(one) != digest_of_code(two)
    moved = [f"from multiblock.{folder} import tiles\ny = tiles.run(x)\n" for folder in ("inference", "runtime")]
    assert digest_of_code(moved[0]) == digest_of_code(moved[1])


def test_the_fields_of_a_class_count():
    fields = ["x: int", "x: int\n    y: int", "x: ClassVar[int]", "x: float"]
    digests = [digest_of_code(f"@dataclass\nclass A:\n    {field}\n") for field in fields]
    assert len({*digests[:3]}) == 3 and digests[3] == digests[0]


def test_neighbours_count_and_strangers_do_not(tmp_path):
    (tmp_path / "parts").mkdir()
    files = {
        "my_block.py": "import torch\nfrom layers import conv\ndef late():\n    import deep\n",
        "layers.py": "from .parts import gate\n",
        "parts/__init__.py": "",
        "parts/gate.py": "from . import pool\n",
        "parts/pool.py": "SIZE = 1\n",
        "deep.py": "import my_block\n",
        "other.py": "x = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    block = tmp_path / "my_block.py"
    assert {str(file.relative_to(tmp_path)) for file in with_neighbours(block)} == {*files} - {"other.py"}
    before = digest_of_files(with_neighbours(block), tmp_path)
    (tmp_path / "other.py").write_text("x = 2\n")
    (tmp_path / "parts/gate.py").write_text("# the gate\nfrom . import pool\n")
    assert digest_of_files(with_neighbours(block), tmp_path) == before
    (tmp_path / "parts/pool.py").write_text("SIZE = 2\n")
    assert digest_of_files(with_neighbours(block), tmp_path) != before


def test_nothing_of_torch_is_needed():
    code = "import sys, multiblock.source, multiblock.model.metadata; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "workflow")
