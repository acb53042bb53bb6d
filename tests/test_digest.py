"""Which code a network is: the bytes of its files, which weights files and results are known by."""

from pathlib import Path

import pytest

from conftest import ROOT
from multiblock.networks import own, registry

NETWORKS = ROOT / "workflow" / "multiblock" / "networks"

FILES = {
    "my_block.py": "import torch\nfrom layers import conv\ndef late():\n    import deep\n",
    "layers.py": "from .parts import gate as f\n",
    "parts/__init__.py": "",
    "parts/gate.py": "from . import pool\n",
    "parts/pool.py": "from ..shared import *\nSIZE = 1\n",
    "shared.py": "import parts.extra.more as m\n",
    "parts/extra/more.py": "x = 1\n",
    "deep.py": "import my_block\n",
    "other.py": "x = 1\n",
}


@pytest.fixture
def block(tmp_path: Path) -> str:
    """A block whose files import one another in all the ways that Python has, and one file that nobody imports."""
    return write(tmp_path / "blocks", FILES)


def write(folder: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return str(folder / "my_block.py")


@pytest.mark.parametrize("name", FILES)
def test_an_edit_counts_where_the_file_is_imported(block, name):
    before, file = registry.digest(block), Path(block).parent / name
    text = file.read_text()
    file.write_text(f"# why\n{text}")
    assert (registry.digest(block) == before) == (name == "other.py")
    file.write_text(text)
    assert registry.digest(block) == before


def test_the_place_of_the_folder_does_not_count_and_names_in_it_do(block, tmp_path):
    assert registry.digest(write(tmp_path / "else" / "where", FILES)) == registry.digest(block)
    layers = {"my_block.py": "from multiblock.networks.layers import conv\n"}
    assert registry.digest(write(tmp_path / "a", layers)) == registry.digest(write(tmp_path / "b" / "c", layers))
    renamed = {**FILES, "my_block.py": "from other import conv\n", "other.py": FILES["shared.py"]}
    same = {**FILES, "my_block.py": "from shared import conv\n"}
    assert registry.digest(write(tmp_path / "1", renamed)) != registry.digest(write(tmp_path / "2", same))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "from multiblock.networks.carn.network import CARN\nclass MyBlock(CARN):\n    pass\n",
            {"carn/network.py", "layers.py"},
        ),
        ("from multiblock.networks import layers\n", {"layers.py"}),
        ("import multiblock.networks.attention as a\n", {"attention.py"}),
        (
            "def f():\n    from multiblock.networks.drln_distilled import network\n",
            {"drln_distilled/network.py", "drln/network.py", "layers.py"},
        ),
        ("from multiblock.errors import UserError\n", set()),
    ],
)
def test_networks_of_the_package_count_where_a_block_imports_them(tmp_path, text, named):
    file = Path(write(tmp_path, {"my_block.py": text}))
    assert {str(path.relative_to(NETWORKS)) for path in own.code_files(file)[1:]} == named


def test_a_network_of_the_package_counts_by_what_it_computes_with():
    files = {name: own.code_files(registry.source(name)) for name in registry.names()}
    assert {file.name for file in files["sr_resunet"]} == {"network.py", "resnet.py", "layers.py", "attention.py"}
    assert NETWORKS / "drln" / "network.py" in files["drln_distilled"]  # which takes its attention from there
    # Entries of the zoo and forms of published weights change nothing that a network computes.
    assert all(f.is_relative_to(NETWORKS) and f.name != "__init__.py" for found in files.values() for f in found)
    assert len({registry.digest(name) for name in files}) == len(files)
