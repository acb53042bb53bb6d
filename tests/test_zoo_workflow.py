"""Networks of the zoo as blocks of a phased chain, and published weights as its beginning."""

import json

import pandas as pd
import pytest
import torch
import yaml

from multiblock.cli import main
from multiblock.errors import UserError
from multiblock.model import chain, metadata
from published import PUBLISHED
from test_workflow import jobs, snakemake

pytestmark = pytest.mark.slow

DATA = {"name": "made", "scale": 2, "train": {"hr": "train/HR"}, "validation": 1, "test": {"hr": "test/HR"}}
FEW = [{"iterations": 4, "batch": 2, "patch": 12, "clamp": False, "schedule": {"kind": "cosine", "restarts": 1}}]
BLOCKS = {
    "enlarge": {"network": "imdn", "channels": 8, "modules": 1, "reduction": 4},
    "sharpen": {"network": "mcan", "channels": 4, "residual_blocks": 1},
}


def study(folder, **run) -> None:
    config = {"study": "s", "data": DATA, "blocks": BLOCKS, "recipes": {"few": FEW}, "runs": {"run": run}}
    config["training"] = {"below_input": "go_on"}  # it is trained for a few iterations only
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_imdn_and_mcan_train_in_phases_and_the_chain_grows(pairs):
    phases = [
        {"span": 1, "start": "default", "stages": "few"},
        {"span": 2, "stages": "few"},
        {"span": "1-2", "stages": "few"},
    ]
    study(pairs, chain=["enlarge", "sharpen"], plan=phases)
    done = snakemake(pairs)
    assert done.returncode == 0, done.stdout + done.stderr
    grown = [*phases, {"span": 3, "start": "inherit_zeroed", "stages": "few"}]
    study(pairs, chain=["enlarge", "sharpen", "sharpen"], plan=grown)
    assert jobs(pairs) == {"phase3_2": 1, "phase4_1": 1, "evaluate": 1, "table": 1, "figures": 1, "page": 1}
    done = snakemake(pairs)
    assert done.returncode == 0, done.stdout + done.stderr
    network = chain.load(pairs / "results/run/seed1/phase4/weights.safetensors")
    assert [spec.network for spec in network.specs] == ["imdn", "mcan", "mcan"]
    assert network(torch.rand(1, 3, 9, 11)).shape == (1, 3, 18, 22)
    table = pd.read_csv(pairs / "results/run/psnr_by_phase.csv", dtype={"phase": str})
    assert table.phase.tolist() == ["input", "1", "2", "3", "4"]


def test_published_weights_are_a_phase_that_trains_nothing(pairs):
    torch.manual_seed(0)
    torch.save({name: 0.01 * torch.rand(shape) for name, shape in PUBLISHED["imdn_rtc_x2"]().items()}, pairs / "w.pth")
    ours = pairs / "rtc.safetensors"
    assert main(["import", str(pairs / "w.pth"), "--as", "imdn_rtc", "--scale", "2", "-o", str(ours)]) == 0
    BLOCKS["published"] = {"network": "imdn_rtc"}
    plan = [
        {"span": 1, "start": "rtc.safetensors", "stages": [{"iterations": 0, "patch": 12}]},
        {"span": 2, "stages": "few"},
    ]
    study(pairs, chain=["published", "sharpen"], plan=plan)
    done = snakemake(pairs, "--rerun-incomplete", "results/run/psnr_by_phase.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    kept = chain.load(pairs / "results/run/seed1/phase2/weights.safetensors").blocks["1"].state_dict()
    for name, value in chain.load(ours).blocks["1"].state_dict().items():
        assert torch.equal(value, kept[name])
    table = pd.read_csv(pairs / "results/run/psnr_by_phase.csv", dtype={"phase": str})
    assert table.iterations.tolist()[1:] == [0, 4]


@pytest.mark.parametrize("content", ["not weights", None])
def test_a_start_that_cannot_be_read_ends_in_one_line(pairs, content):
    if content:
        (pairs / "bad.safetensors").write_text(content)
    study(pairs, chain=["sharpen"], plan=[{"span": 1, "start": "bad.safetensors", "stages": "few"}])
    done = snakemake(pairs)
    assert done.returncode != 0
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "multiblock: error: " in line]
    assert len(lines) == 1 and "bad.safetensors: " in lines[0], done.stdout + done.stderr


def test_blocks_of_ones_own_and_what_their_weights_say(pairs, capsys):
    (pairs / "parts.py").write_text("from torch import nn\ndef conv():\n    return nn.Conv2d(3, 3, 3, padding=1)\n")
    (pairs / "my_block.py").write_text(
        "from torch import nn\n"
        "from parts import conv\n"
        "class MyBlock(nn.Module):\n"
        "    output_layer, receptive_field = 'last', 3\n"
        "    def __init__(self) -> None:\n"
        "        super().__init__()\n"
        "        self.last = conv()\n"
        "    def forward(self, x):\n"
        "        return x + self.last(x)\n"
    )
    BLOCKS["own"] = {"network": "my_block.py"}
    phases = [{"span": 1, "stages": "few"}, {"span": 2, "start": "inherit", "stages": "few"}]
    study(pairs, chain=["own", "own"], plan=phases)
    made = "results/run/seed1/phase2/weights.safetensors"
    done = snakemake(pairs, "--rerun-incomplete", made)
    assert done.returncode == 0, done.stdout + done.stderr
    file = pairs / made
    about = metadata.read(file).about
    assert (about.enlarge, about.scale, about.data, about.degradation) == (2, 2, "made", "bicubic")
    assert (about.plan, about.phase, about.seed, about.iterations) == (("1", "2"), 2, 1, 4)
    record = json.loads(file.with_name("training.json").read_text())
    assert (about.psnr, about.commit) == (record["psnr_rgb_validation"], record["commit"])
    # Anywhere else it runs by its code, and is fed by its file.
    with pytest.raises(UserError, match="names the code of my_block.py"):
        chain.load(file)
    photograph, out = str(pairs / "test/LR/image1.png"), str(pairs / "out")
    trusted = ["--trust-code", str(pairs / "my_block.py"), "--device", "cpu"]
    assert main(["upscale", str(file), photograph, "-o", out, *trusted]) == 0
    assert "112 x 96" in capsys.readouterr().out
    # A block counts by the bytes of its file, and of a neighbour that it imports.
    assert not {"phase1_1", "phase2_1", "phase1_2"} & jobs(pairs, "phase2").keys()
    parts = (pairs / "parts.py").read_text()
    (pairs / "parts.py").write_text(parts.replace("padding=1", "padding=1, padding_mode='reflect'"))
    assert {"phase1_1", "phase2_1", "phase1_2"} <= jobs(pairs, "phase2").keys()
