"""A block that is a file of weights: recognised, started from, left as it is, tuned, known by its content."""

import importlib
from pathlib import Path

import pytest
import torch
import yaml

from multiblock import config
from multiblock.cli import main
from multiblock.errors import UserError
from multiblock.files import digest_of
from multiblock.model import chain as chains
from multiblock.model.chain import Chain
from multiblock.networks import library, zoo
from multiblock.plan import Block
from multiblock.training.starts import starting_chain
from multiblock.workflow.results import Outside, Results
from published import PUBLISHED
from test_init import pairs as init_pairs
from test_workflow import snakemake

SPAN = {"feature_channels": 8, "upscale": 2}
DATA = {"name": "made", "scale": 2, "train": {"hr": "HR"}, "test": {"hr": "test"}}
STAGE = {"iterations": 2, "batch": 2, "patch": 12}
AS_IT_IS = [{"iterations": 0}]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def theirs(name: str = "SPAN", **options) -> torch.nn.Module:
    """A network of the library as its own code makes it, with random weights."""
    with library._imported():
        module = importlib.import_module(f"spandrel.architectures.{name}")
        torch.manual_seed(1)
        return getattr(module, name)(num_in_ch=3, num_out_ch=3, **options).eval()


def imdn(file: str = "imdn.pth", scale: int = 2) -> Path:
    torch.manual_seed(0)
    torch.save({name: 0.03 * torch.randn(shape) for name, shape in PUBLISHED[f"imdn_x{scale}"]().items()}, file)
    return Path(file)


def study(file: str, plan: list | None = None, scale: int = 2, **more) -> config.Study:
    blocks = {"theirs": {"file": file, **more}, "small": {"network": "toy"}}
    plan = plan or [{"span": 1, "stages": AS_IT_IS}, {"span": 2, "stages": [STAGE]}]
    runs = {"run": {"chain": ["theirs", "small"], "plan": plan}}
    return config.load({"data": {**DATA, "scale": scale}, "blocks": blocks, "runs": runs})


def wrong(*given, **more) -> str:
    with pytest.raises(UserError) as error:
        study(*given, **more)
    return str(error.value)


def test_it_is_the_authors_network_and_their_weights():
    net = theirs(**SPAN)
    torch.save({"params": net.state_dict()}, "2x_span.pth")
    plan = study("2x_span.pth").runs["run"].plan
    assert plan.blocks[0].network == "spandrel:SPAN" and plan.blocks[0].scale == 2
    assert plan.blocks[0].options["feature_channels"] == 8
    assert plan.task(1, 1).starts == ("2x_span.pth",) and plan.task(2, 1).starts == (1, "orthogonal")
    block = starting_chain(plan.task(1, 1), {}).eval().blocks["1"]
    with torch.inference_mode():
        image = torch.rand(1, 3, 13, 10)
        assert torch.equal(block(image), net(image))


def test_a_family_of_ours_is_recognised_with_the_scale_of_the_data():
    torch.save({name: torch.rand(shape) for name, shape in PUBLISHED["carn"]().items()}, "carn.pth")
    for scale in (2, 3, 4):
        block = study("carn.pth", scale=scale).runs["run"].plan.blocks[0]
        assert (block.network, block.scale) == ("carn", scale)


def test_one_block_of_a_file_of_ours():
    spec = zoo.block("mcan", {"channels": 4, "residual_blocks": 1}, "b")
    Chain.build([spec, Block(network="toy")], [True, True]).save(Path("two.safetensors"))
    said = wrong("two.safetensors")
    assert "blocks.theirs.file: two.safetensors: holds several blocks; allowed is one of " in said
    assert "two.safetensors#1 (mcan), two.safetensors#2 (toy)" in said
    plan = study("two.safetensors#2").runs["run"].plan
    assert plan.blocks[0].network == "toy" and plan.task(1, 1).starts == ("two.safetensors#2",)


def test_what_does_not_go_together_is_refused():
    imdn()
    assert "blocks.theirs: found channels beside file" in wrong("imdn.pth", channels=3)
    assert "block 1 enlarges x2, but the data's scale is 3" in wrong("imdn.pth", scale=3)
    assert "none.pth: no such file" in wrong("none.pth")
    assert "allowed is a file that ends in .safetensors, .pth or .pt" in wrong("imdn.onnx")
    gap = wrong("imdn.pth", [{"span": 2, "stages": [STAGE]}])
    assert "`span: 1, stages: [{iterations: 0}]` before it takes it as its file has it" in gap
    with pytest.raises(UserError, match="blocks.b: key 'network' is missing, or 'file'$"):
        config.load({"data": DATA, "blocks": {"b": {}}, "runs": {"r": {"chain": ["b"], "plan": []}}})


def test_code_that_a_file_names_does_not_run():
    Path("mine.py").write_text("raise SystemExit")
    spec = Block(network="mine.py")
    made = Chain([spec], [True], [torch.nn.Conv2d(3, 3, 1)])
    made.save(Path("w.safetensors"))
    assert "w.safetensors names the code of mine.py, which runs only if the config names it" in wrong("w.safetensors")


@pytest.mark.parametrize(("name", "options"), [("DnCNN", {"in_nc": 1, "out_nc": 1})])
def test_what_takes_no_rgb_is_no_block(name, options):
    with library._imported():
        net = importlib.import_module(f"spandrel.architectures.{name}").DnCNN(**options)
    torch.save(net.state_dict(), "gray.pth")
    assert "spandrel:DnCNN: takes or makes 1 channels; a block maps RGB to RGB" in wrong("gray.pth")


def test_another_file_of_that_name_trains_again():
    def address(file: Path) -> str:
        found = Outside({}, lambda name: digest_of(Path(name[5:])) if name.startswith("file ") else name)
        return Results(study(str(file)), found).train("run", 1, 2).address

    before = address(imdn())
    assert address(imdn()) == before
    state = torch.load("imdn.pth")
    next(iter(state.values())).mul_(1.01)
    torch.save(state, "imdn.pth")
    assert address(Path("imdn.pth")) != before


@pytest.mark.slow  # trains
def test_init_from_a_file_tunes_it_and_puts_a_block_behind_it(tmp_path):
    """The config as it is written, and its run in comments; only with two iterations a stage."""
    init_pairs(tmp_path, 2)
    state = torch.load(imdn())
    assert main(["init", "mine", "--hr", "HR", "--lr", "LR", "--from", "imdn.pth"]) == 0
    text = Path("mine.yaml").read_text()
    behind = text.index("  # behind:")
    text = text[:behind] + text[behind:].replace("  # ", "  ")
    small = {"shrink": {"max_iterations": 2, "patch": 12, "batch": 2}, "training": {"below_input": "go_on"}}
    Path("config.yaml").write_text(text + yaml.safe_dump({**small, "precision": "float32"}))
    weights = [f"results/{run}/seed1/phase{phase}/weights.safetensors" for run, phase in (("mine", 2), ("behind", 3))]
    done = snakemake(tmp_path, "--rerun-incomplete", *weights)
    assert done.returncode == 0, done.stdout + done.stderr

    def first(run: str, phase: int) -> dict[str, torch.Tensor]:
        return chains.load(Path(f"results/{run}/seed1/phase{phase}/weights.safetensors")).blocks["1"].state_dict()

    published, tuned, frozen, joint = first("mine", 1), first("mine", 2), first("behind", 2), first("behind", 3)
    assert all(torch.equal(value, frozen[name]) for name, value in published.items())
    assert sorted(float(v.double().sum()) for v in published.values()) == sorted(
        float(v.double().sum()) for v in state.values()
    )
    assert all(not torch.equal(value, tuned[name]) for name, value in published.items() if "weight" in name)
    assert any(not torch.equal(value, joint[name]) for name, value in published.items())
