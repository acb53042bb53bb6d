"""ONNX files: they compute what upscale does with onnxruntime alone, say what they are, and replace nothing."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml

from conftest import ROOT, picture
from made_up import psnr_csv
from multiblock.cli import main
from multiblock.data import images, resize
from multiblock.data.sampler import to_tensor
from multiblock.export import card, exported
from multiblock.export.card import Facts
from multiblock.export.exported import Enlargement, Exported
from multiblock.model import chain as chains
from multiblock.model.chain import Chain
from multiblock.model.finished import TEST_PSNR
from multiblock.model.metadata import VALIDATION_PSNR, Provenance
from multiblock.networks import zoo
from multiblock.plan import Block
from test_zoo import SMALL

MCAN = Block(network="mcan", options={"channels": 4, "residual_blocks": 1})
KNOWN = Provenance(
    enlarge=2,
    data="mine",
    scale=2,
    degradation="bicubic",
    plan=("1", "2", "1-2"),
    phase=3,
    seed=1,
    iterations=40,
    psnr=31.25,
    psnr_convention=VALIDATION_PSNR,
)


def weights(folder: Path, *blocks: Block, about: Provenance | None = None) -> Path:
    """A file of a chain with random weights that change a picture much."""
    torch.manual_seed(0)
    chain = Chain.build(blocks or [MCAN], [True] * max(1, len(blocks)))
    for parameter in chain.parameters():
        if parameter.numel() == 1:  # a self-attention begins at 0, as a copy
            parameter.data.fill_(0.3)
    chain.save(folder / "w.safetensors", about=about or Provenance(enlarge=1))
    return folder / "w.safetensors"


def run(file: Path, pixels: np.ndarray) -> np.ndarray:
    """What onnxruntime makes of a picture (H, W, 3), uint8: floats, as docs/export.md has it."""
    session = onnxruntime.InferenceSession(file)
    batch = pixels.astype(np.float32).transpose(2, 0, 1)[None] / 255
    return session.run(None, {"input": batch})[0][0].transpose(1, 2, 0)


def inferred(file: Path) -> tuple[int, int]:
    """Height and width of the result of 16 x 24 pixels, as chaiNNer finds them: without running the file."""
    model = onnx.load(file)
    for axis, length in enumerate((1, 3, 16, 24)):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = length
    made = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph.output[0].type.tensor_type.shape
    return made.dim[2].dim_value, made.dim[3].dim_value


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Two blocks that were trained on enlarged LR, exported with all that a user states."""
    folder = tmp_path_factory.mktemp("export")
    command = ["export", str(weights(folder, MCAN, MCAN, about=KNOWN)), "-o", str(folder / "my_net.onnx")]
    stated = ["--licence", "CC-BY-4.0", "--author", "Ann Example", "--tag", "photo"]
    assert main(command + stated) == 0
    return folder / "my_net.onnx"


class TestWhatItComputes:
    """The same as upscale, with all that stands around the network."""

    @pytest.mark.parametrize("size", [(37, 52), (8, 9)])
    def test_a_picture_comes_out_as_upscale_makes_it(self, written, size):
        pixels = picture(*size)
        with torch.inference_mode():
            wanted = chains.load(written.with_name("w.safetensors"))(to_tensor(resize.enlarge(pixels, 2)[None]))
        assert run(written, pixels) == pytest.approx(wanted[0].permute(1, 2, 0).numpy(), abs=2e-6)

    def test_programs_that_infer_shapes_find_the_scale(self, written):
        assert inferred(written) == (32, 48)

    def test_the_last_block_is_cut_even_where_training_did_not(self):
        chain = Chain.build([MCAN], [False])
        assert 0 <= Exported(chain, 1)(torch.rand(1, 3, 9, 9) * 5 - 2).min() <= 1

    @pytest.mark.parametrize("factor", [2, 3, 4])
    def test_the_enlargement_is_the_one_of_training_to_the_last_bit(self, factor):
        rng = np.random.default_rng(factor)
        for size in ((2, 2), (5, 3), (40, 31), (64, 64)):
            pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
            made = Enlargement(factor)(to_tensor(pixels[None]))[0].permute(1, 2, 0).numpy()
            assert np.array_equal(np.rint(made * 255), resize.enlarge(pixels, factor))
            assert np.array_equal(made, (np.rint(made * 255) / np.float32(255)).astype(np.float32))

    def test_the_chain_itself_is_left_as_it_is(self):
        chain = Chain.build([zoo.sample("sa_rcan_1", **SMALL["rcan"] | {"channels": 16})], [True])
        before = {name: value.clone() for name, value in chain.state_dict().items()}
        made = Exported(chain, 1)
        assert not [name for name in made.state_dict() if "parametrizations" in name]
        assert before.keys() == chain.state_dict().keys()
        assert all(torch.equal(value, before[name]) for name, value in chain.state_dict().items())


class TestWhatItSays:
    """Metadata and card."""

    def test_onnxruntime_shows_the_metadata(self, written):
        found = onnxruntime.InferenceSession(written).get_modelmeta()
        known = found.custom_metadata_map
        assert found.description == "my_net: super-resolution x2 by a chain of 2 blocks (mcan, mcan)"
        assert known["scale"] == "2" and "LR as it is; enlarges them x2 by MATLAB's bicubic" in known["input"]
        assert known["plan"] == "[1], [2], [1-2]" and known["data"] == "mine"
        assert known["psnr"] == "31.250 dB" and known["psnr_convention"] == VALIDATION_PSNR
        assert known["license"] == "CC-BY-4.0" and known["author"] == "Ann Example"
        assert "LEEPEIQIN/Multiblock" in known["source"]
        assert json.loads(known["chain"])["blocks"] == [{"network": "mcan", "options": dict(MCAN.options)}] * 2

    def test_it_names_no_place_on_this_machine(self, written):
        content = written.read_bytes()
        for word in (str(ROOT), str(written.parent), "site-packages", "stack_trace", ".py"):
            assert word.encode() not in content, word

    def test_the_card_is_as_hugging_face_reads_it(self, written):
        _, head, body = written.with_suffix(".md").read_text().split("---\n", 2)
        card = yaml.safe_load(head)
        assert card["license"] == "cc-by-4.0" and card["pipeline_tag"] == "image-to-image"
        assert card["library_name"] == "onnx" and card["datasets"] == ["mine"] and card["metrics"] == ["psnr"]
        assert {"super-resolution", "mcan", "photo"} <= set(card["tags"])
        (result,) = card["model-index"][0]["results"]
        assert result["task"]["type"] == "image-to-image" and result["dataset"].keys() == {"type", "name"}
        assert result["metrics"][0]["value"] == 31.25
        for word in ("# my_net", "[1], [2], [1-2]", "31.250 dB", "differs from PyTorch by at most", "## Licence"):
            assert word in body

    def test_of_a_run_the_card_has_the_test_psnr_and_the_one_without_a_network(self, tmp_path, capsys):
        phase = tmp_path / "run/seed1/phase3"
        phase.mkdir(parents=True)
        weights(tmp_path, MCAN, about=KNOWN).rename(phase / "weights.safetensors")
        psnr_csv(phase / "psnr.csv", {"a": 29.0, "b": 30.0}, {"a": 30.25, "b": 31.5}, 3)
        out = tmp_path / "net.onnx"
        assert main(["export", str(phase), "-o", str(out)]) == 0
        assert "PSNR 30.88 dB, 29.50 dB without a network" in capsys.readouterr().out
        text = out.with_suffix(".md").read_text()
        assert f"| psnr | 30.875 dB |\n| psnr without network | 29.500 dB |\n| psnr convention | {TEST_PSNR} |" in text
        (result,) = yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"]
        assert result["dataset"]["name"] == "mine, test images"
        assert [metric["value"] for metric in result["metrics"]] == [30.875, 29.5]
        known = onnxruntime.InferenceSession(out).get_modelmeta().custom_metadata_map
        assert (known["psnr"], known["psnr_without_network"]) == ("30.875 dB", "29.500 dB")

    def test_the_program_in_the_card_runs(self, written, monkeypatch):
        monkeypatch.chdir(written.parent)
        images.write(Path("photo.png"), picture(20, 30))
        program = re.search(r"```python\n(.*?)```", written.with_suffix(".md").read_text(), re.S)[1]
        exec(program, {})
        assert images.read(Path("result.png")).shape == (40, 60, 3)

    def test_the_program_in_the_card_opens_a_file_of_any_name(self):
        name = 'a "b"\\n.onnx'
        known = Facts(name="a", known=Chain.build([MCAN], [True]).metadata, enlarge=1, parameters=1)
        program = re.search(r"```python\n(.*?)```", card.use_of_onnx(name, known, 8), re.S)[1]
        opened = [node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Constant)]
        assert opened[0].value == name


class TestWhatIsRefused:
    """Each in one line, before anything is written."""

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["-o", "net.pth"], "net.pth: found '.pth'; allowed for --form onnx is a file that ends in .onnx"),
            (["-o", "net.onnx", "--form", "authors"], "allowed for --form authors is a file that ends in .pth, .pt"),
            (["-o", "net.onnx", "--block", "1"], "--block: is for --form authors"),
            (["-o", "net.onnx", "--licence", "my own terms!"], "--licence: found 'my own terms!'; allowed is an SPDX"),
            (["-o", "there.onnx"], "there.onnx: exists already; name another file, or replace it with --overwrite"),
            (["-o", "carded.onnx"], "carded.md: exists already"),
            (["-o", "net.onnx", "--enlarge", "2"], "--enlarge: found 2; w.safetensors takes LR as it is"),
            (["-o", "w.safetensors", "--form", "authors", "--overwrite"], "are the weights that are read"),
            (["-o", "/proc/none/net.onnx"], "error: /proc/none: No such file or directory"),
        ],
    )
    def test_by_its_words(self, words, says, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        weights(tmp_path)
        for name in ("there.onnx", "carded.md"):
            Path(name).write_text("x")
        before = {file: file.read_bytes() for file in tmp_path.iterdir()}
        assert main(["export", "w.safetensors", *words]) == 1
        printed = capsys.readouterr()
        assert says in printed.err and printed.err.count("\n") == 1 and "tracing" not in printed.out
        assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before

    def test_without_its_packages(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(exported, "find_spec", lambda name: None if name == "onnxruntime" else object())
        assert main(["export", str(weights(tmp_path)), "-o", str(tmp_path / "net.onnx")]) == 1
        assert (
            'onnxruntime: not installed, and needed for ONNX files; they come with pip install "multiblock[onnx]"'
            in (capsys.readouterr().err)
        )

    def test_a_file_that_computes_something_else_is_not_kept(self, tmp_path, monkeypatch, capsys):
        forward = Exported.forward
        # PyTorch's own result is shifted, the traced one is not.
        monkeypatch.setattr(
            Exported, "forward", lambda self, x: forward(self, x) + (2e-4 if torch.is_inference_mode_enabled() else 0)
        )
        assert main(["export", str(weights(tmp_path)), "-o", str(tmp_path / "net.onnx")]) == 1
        assert re.search(
            r"onnxruntime differs from PyTorch by 2\.0e-04 at 8 x 11 pixels; allowed is 1e-04", capsys.readouterr().err
        )
        assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]

    @pytest.mark.parametrize(
        ("question", "says"),
        [
            ("x.shape[2] % 2", "its code does not take all sizes alike; it asks whether Eq(Mod(height, 2), 0)"),
            ("x.shape[3] == 32", "its code does not take all sizes alike; it asks whether 32 <= width and width <= 32"),
            ("x.shape[3] > 100", "its code does not take all sizes alike; it asks whether"),
            ("float(x.mean()) > 0.5", "its code asks what a picture shows before it goes on"),
        ],
    )
    def test_a_network_that_no_graph_can_be_is_told_why(self, question, says, tmp_path, capsys):
        own = tmp_path / "choosy.py"
        own.write_text(
            "from torch import nn\nclass Choosy(nn.Module):\n"
            "    output_layer, receptive_field = 'last', 3\n"
            "    def __init__(self):\n        super().__init__()\n        self.last = nn.Conv2d(3, 3, 3, padding=1)\n"
            f"    def forward(self, x):\n        return self.last(x) if {question} else x\n"
        )
        file = weights(tmp_path, Block(network=str(own)))
        assert main(["export", str(file), "-o", str(tmp_path / "net.onnx"), "--trust-code", str(own)]) == 1
        error = capsys.readouterr().err
        assert f"net: super-resolution at the same size by choosy.py: cannot be written as ONNX: {says}" in error
        assert error.count("\n") == 1 and not (tmp_path / "net.onnx").exists()


FEW = ("srresnet",)
# One of each family, and those that are built otherwise than their family's first.
FIRST = {entry.family: name for name, entry in reversed(zoo.ENTRIES.items())}
MORE = [name for name in (*FIRST.values(), "carn_m", "imdn_rtc", "drln_lite1", "rcan", "sa_rcan_3") if name not in FEW]


@pytest.mark.parametrize(
    "name", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in dict.fromkeys(MORE))]
)  # seconds each
def test_networks_of_the_zoo_and_what_nobody_has_stated(name, tmp_path, capsys):
    options = {**SMALL.get(zoo.ENTRIES[name].family, {}), **({"channels": 16} if name.startswith("sa_") else {})}
    file = weights(tmp_path, zoo.sample(name, **options))
    assert main(["export", str(file), "-o", str(tmp_path / "net.onnx")]) == 0
    said, written = capsys.readouterr().out, (tmp_path / "net.md").read_text()
    assert "not stated: --licence and --author" in said and "opset 18" in said
    assert "license: unknown" in written and "Not stated." in written
    with torch.inference_mode():
        wanted = chains.load(file)(to_tensor(picture(23, 18)[None]))[0].permute(1, 2, 0).numpy()
    assert wanted.std() > 0.01 and run(tmp_path / "net.onnx", picture(23, 18)) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.slow
def test_a_published_network_that_is_chaotic_on_noise_is_exported(reference_data, tmp_path, capsys):
    """On noise PyTorch differs from itself by 1.0 there, so that the file was refused for what is no fault of its."""
    source = reference_data.parent / "weights" / "PANx4_DF2K.pth"
    if not source.is_file():
        pytest.skip(f"{source} is not there")
    out = tmp_path / "pan.safetensors"
    assert main(["import", str(source), "--as", "pan", "--scale", "4", "-o", str(out)]) == 0
    assert main(["export", str(out), "-o", str(tmp_path / "pan.onnx")]) == 0
    assert (tmp_path / "pan.onnx").exists() and "differs from PyTorch by at most" in capsys.readouterr().out
    pixels = picture(40, 44)
    alone = run(tmp_path / "pan.onnx", pixels)
    with torch.inference_mode():
        wanted = Exported(chains.load(out), 1)(to_tensor(pixels[None]))[0].numpy().transpose(1, 2, 0)
    assert np.abs(alone - wanted).max() < 1e-3
