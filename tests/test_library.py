"""Networks of the library spandrel as blocks: found without importing it, trained, kept, and given back to it."""

import importlib
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
import yaml

from conftest import picture
from multiblock.cli import main
from multiblock.errors import UserError
from multiblock.export import authors, exported, onnx_file
from multiblock.inference import tiles
from multiblock.model import complexity, published
from multiblock.model.chain import Chain, load
from multiblock.networks import library, registry, zoo
from multiblock.runtime import memory

SMALL = {
    "SPAN": {"feature_channels": 8},
    "ESRGAN": {"num_filters": 8, "num_blocks": 1},
    "SwinIR": {
        **{"embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 8},
        "upsampler": "pixelshuffledirect",
    },
    "SAFMN": {"dim": 16, "n_blocks": 1},
    "Compact": {"num_feat": 8, "num_conv": 2},
    "PLKSR.RealPLKSR": {"dim": 16, "n_blocks": 1},
    "RCAN": {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16},
    "HAT": {
        **{"embed_dim": 12, "depths": [1], "num_heads": [2], "window_size": 16, "num_feat": 16, "squeeze_factor": 4},
        "upsampler": "pixelshuffle",
    },
    "OmniSR": {"num_feat": 16, "res_num": 1},
    "SeemoRe": {"num_experts": 3, "num_layers": 1},
}
"""Ten architectures, each as small as it goes."""


def chain(name: str, scale: int = 2) -> Chain:
    torch.manual_seed(0)
    return Chain.build([zoo.block(f"spandrel:{name}", SMALL[name], "blocks.it", scale)], [True])


def test_options_are_read_without_the_library():
    code = (
        "import sys; from multiblock.networks import registry; print(registry.options('spandrel:SPAN')['scale'], "
        "registry.digest('spandrel:SPAN') != registry.digest('spandrel:SAFMN'), {'torch', 'spandrel'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('int', 4) True set()"
    assert registry.options("spandrel:SwinIR")["window_size"] == ("int", 7)  # as the library has it
    assert registry.options("spandrel:Compact")["num_in_ch"] == ("int", 3)
    assert len(library.names()) > 35


@pytest.mark.filterwarnings(
    "ignore:.*indexing argument.*", "ignore:Initializing zero-element", "ignore:.saved_variables"
)
@pytest.mark.parametrize("name", SMALL)
def test_it_learns_and_the_library_reads_it_back(name, tmp_path):
    network = chain(name).train()
    image = torch.rand(2, 3, 19, 22)  # of no window, and of no multiple
    given, target = image.clone(), torch.rand(2, 3, 38, 44)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    losses = []
    for _ in range(2):
        made = network(image)
        assert made.shape == target.shape
        optimiser.zero_grad()
        losses.append((made - target).square().mean())
        losses[-1].backward()
        optimiser.step()
    assert torch.equal(image, given) and losses[1] < losses[0]
    spec = registry.describe(network.links()[0][0])
    assert spec.scale == 2 and isinstance(network.get_submodule(f"blocks.1.{spec.output_layer}"), torch.nn.Conv2d)
    network.eval().save(tmp_path / "ours.safetensors")
    authors.write(authors.to_authors(network, tmp_path / "ours.safetensors"), tmp_path / "theirs.pth")
    again, form = published.import_weights(tmp_path / "theirs.pth", None, {})
    assert again.specs[0].network == f"spandrel:{name}" in form.source and again.about.enlarge == 1
    with torch.inference_mode():
        one = image[:1]  # SeemoRe takes batches while it trains alone
        made = network(one)
        assert torch.equal(again(one), made) and torch.equal(load(tmp_path / "ours.safetensors")(one), made)


FILES = [
    *((f"spandrel:{name}", options, 4) for name, options in SMALL.items() if name != "OmniSR"),  # the default of most
    ("spandrel:DAT", {"depth": [1], "num_heads": [2], "embed_dim": 32}, 2),
    ("spandrel:ESRGAN", {"num_filters": 8, "num_blocks": 1, "in_nc": 12, "shuffle_factor": 2}, 2),
    ("spandrel:IPT", {"n_feats": 8, "num_layers": 1}, 2),
    ("spandrel:MMRealSR", {"num_block": 1, "num_feat": 16}, 4),
    ("spandrel:SAFMNBCIE", {"dim": 16, "n_blocks": 2, "upscaling_factor": 2}, 1),
    ("spandrel:DITN", {"dim": 12, "ffn_expansion_factor": 2.5, "ITL_blocks": 1, "SAL_blocks": 0}, 4),
    ("spandrel:Uformer", {"embed_dim": 8, "depths": [1] * 9}, 1),  # takes squares alone
    ("spandrel:RealCUGAN.UpCunet2x", {}, 2),
    ("spandrel:RealCUGAN.UpCunet2x_fast", {}, 2),
    ("spandrel:RealCUGAN.UpCunet3x", {"pro": True}, 3),
    ("spandrel:RealCUGAN.UpCunet4x", {}, 4),
]


@pytest.mark.filterwarnings("ignore:.*indexing argument.*", "ignore:Initializing zero-element")
@pytest.mark.parametrize(("network", "options", "scale"), FILES)
def test_a_file_is_recognised_at_the_scale_that_its_option_has_by_default(network, options, scale, tmp_path):
    torch.manual_seed(0)
    ours = Chain.build([zoo.block(network, options, "it", scale)], [True]).eval()
    torch.save(ours.get_submodule("blocks.1.net").state_dict(), tmp_path / "theirs.pth")
    again = published.import_weights(tmp_path / "theirs.pth", None, {})[0]
    assert again.specs[0].network in (network, "rcan") and again.scale == scale
    image = torch.rand(1, 3, 41, 50)
    with library._imported(), torch.inference_mode():
        theirs = importlib.import_module("spandrel").MAIN_REGISTRY.load(dict(torch.load(tmp_path / "theirs.pth")))
        made, wanted = again(image), theirs.model.eval() and theirs(image.clone())
    assert made.shape == (1, 3, scale * 41, scale * 50)
    assert torch.allclose(made.clamp(0, 1), wanted, atol=1e-5)
    if network in again.specs[0].network:
        assert authors.to_authors(again, tmp_path / "theirs.pth").tensors


NEWER = {r"model\.0\.": "conv_first.", r"model\.1\.sub\.1\.": "conv_body."}
NEWER |= {r"model\.1\.sub\.0\.RDB(\d)\.conv(\d)\.0\.": r"body.0.rdb\1.conv\2."}
NEWER |= {
    r"model\.3\.": "conv_up1.",
    r"model\.6\.": "conv_up2.",
    r"model\.8\.": "conv_hr.",
    r"model\.10\.": "conv_last.",
}
"""Names of Real-ESRGAN's code for those of ESRGAN's, of one block at x4."""


def test_names_of_other_code_are_read_as_the_library_does(tmp_path):
    ours, theirs = chain("ESRGAN", 4).eval(), {}
    for name, value in ours.get_submodule("blocks.1.net").state_dict().items():
        (newer,) = [re.sub(old, new, name) for old, new in NEWER.items() if re.match(old, name)]
        theirs[newer] = value
    torch.save({"params_ema": theirs}, tmp_path / "RealESRGAN_x4plus.pth")
    again = published.import_weights(tmp_path / "RealESRGAN_x4plus.pth", None, {})[0]
    image = torch.rand(1, 3, 9, 12)
    with torch.inference_mode():
        assert again.scale == 4 and torch.equal(again(image), ours(image))


OTHERS = {
    "DRUNet": (1, {"in_nc": 4, "out_nc": 3, "nc": [16, 16, 16, 16]}),
    "IPT": (2, {"n_feats": 8, "num_layers": 1}),
    "RestoreFormer": (1, {"n_embed": 16, "ch": 64, "ch_mult": [1, 1, 1, 1, 1, 1], "z_channels": 64, "embed_dim": 32}),
}
"""Architectures that are called in ways of their own: with a noise map, in patches, with other colours."""


@pytest.mark.parametrize("name", OTHERS)
def test_a_batch_gives_each_image_what_it_gets_alone(name):
    scale, options = OTHERS[name]
    torch.manual_seed(0)
    spec = zoo.block(f"spandrel:{name}", options, "it", scale)
    network = Chain.build([spec], [True]).double()  # RestoreFormer looks codes up, of which some are nearly as near
    images = torch.rand(2, 3, 19, 22, dtype=torch.float64)
    network.train()(images).square().mean().backward()
    assert all(torch.isfinite(one.grad).all() for one in network.parameters() if one.grad is not None)
    network.eval()
    with torch.inference_mode():
        made = network(images)
        assert made.shape == (2, 3, scale * 19, scale * 22)
        assert torch.allclose(made, torch.cat([network(one) for one in images.split(1)]), atol=1e-4)


NOISE = {"dim": 8, "image_size": None, "input_image_size": None}
NOISE |= {"style_network": {"dim_in": 16, "dim_out": 64, "depth": 2}}


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("LaMa", {}, "also takes a mask; a block maps RGB to RGB"),
        ("DnCNN", {}, "takes or makes 1 channels; a block maps RGB to RGB"),
        ("AuraSR", NOISE, "draws noise in each call"),
    ],
)
def test_one_that_is_no_map_from_rgb_to_rgb_is_refused(name, options, says):
    with pytest.raises(UserError, match=f"spandrel:{name}: {says}"):
        Chain.build([zoo.block(f"spandrel:{name}", options, "it")], [True])


def test_tiles_of_one_whose_sizes_are_padded_leave_no_seam():
    network, image = chain("SAFMN").eval(), picture(130, 117)
    block = network.links()[0][0]
    assert registry.describe(block).grid == 8
    whole = tiles.run(chain("SPAN").eval(), image, torch.device("cpu"), 4)
    cut = tiles.run(chain("SPAN").eval(), image, torch.device("cpu"), 90 * 90 * 2 * memory.per_pixel(block) / 2**30)
    assert abs(whole - cut).max() < 1e-3


@pytest.mark.parametrize(
    ("network", "options", "says"),
    [
        ("spandrel:SPAM", {}, "unknown network 'spandrel:SPAM'; did you mean 'spandrel:SPAN'?"),
        ("spandrel:PLKSR", {}, "allowed are spandrel:PLKSR.PLKSR, spandrel:PLKSR.RealPLKSR"),
        ("spandrel:SPAN", {"channels": 3}, "blocks.it.channels: spandrel:SPAN has no such option"),
        ("spandrel:SPAN", {"feature_channels": "many"}, "allowed is a value of type int"),
        ("spandrel:AuraSR", {}, "blocks.it.dim: is missing; spandrel:AuraSR needs it"),
    ],
)
def test_what_is_not_there_is_refused(network, options, says):
    with pytest.raises(UserError) as error:
        zoo.block(network, options, "blocks.it")
    assert says in str(error.value)


SECOND = """
from pathlib import Path
import torch
from multiblock.export import authors
from multiblock.model import published
from multiblock.model.chain import Chain
from multiblock.networks import library, zoo

ours, theirs = Path("ours.safetensors"), Path("theirs.pth")
options = {"embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 8, "upsampler": "pixelshuffledirect"}
assert {"spandrel:SRFormer", "spandrel:Restormer", "spandrel:SPAN"} < {*library.names()}, library.names()
network = Chain.build([zoo.block("spandrel:SRFormer", options, "it", 2)], [True]).eval()
network.save(ours)
authors.write(authors.to_authors(network, ours), theirs)
again = published.import_weights(theirs, None, {})[0]
assert again.specs[0].network == "spandrel:SRFormer"
with torch.inference_mode():
    image = torch.rand(1, 3, 19, 22)
    made = network(image)
    assert made.shape == (1, 3, 38, 44) and torch.equal(again(image), made)
"""


@pytest.mark.slow  # installs
def test_architectures_of_its_second_package_are_here_where_that_is_installed(tmp_path):
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    done = subprocess.run([*words, "spandrel_extra_arches==0.2.0"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"spandrel_extra_arches cannot be installed here: {done.stderr.splitlines()[-1]}")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", SECOND], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_the_library_one_line_says_how_it_is_installed(monkeypatch):
    monkeypatch.setattr(library, "find_spec", lambda name: None if name == "spandrel" else find_spec(name))
    with pytest.raises(UserError, match="spandrel: is not installed; it is by: pip install spandrel einops --no-deps"):
        zoo.block("spandrel:SPAN", {}, "blocks.it")
    assert library.names() == ()


def test_what_the_library_would_read_otherwise_is_not_written(tmp_path):
    other = Chain.build([zoo.block("spandrel:SPAN", {**SMALL["SPAN"], "img_range": 1.0}, "blocks.it", 2)], [True])
    with pytest.raises(UserError, match="the library reads weights of spandrel:SPAN as of img_range 255.0, which is 1"):
        authors.to_authors(other, tmp_path / "w.safetensors")


@pytest.mark.slow  # traces
def test_span_which_works_its_weights_out_anew_is_written_as_onnx(tmp_path):
    made = onnx_file.write(exported.Exported(chain("SPAN"), 1), tmp_path / "w.onnx", {}, lambda line: None, "SPAN")
    assert max(made.differences.values()) < exported.ALLOWED


@pytest.mark.slow  # traces
def test_sizes_are_rounded_up_in_onnx_too(tmp_path):
    options = {"num_filters": 8, "num_blocks": 1, "in_nc": 12, "shuffle_factor": 2}  # takes multiples of 4
    network = Chain.build([zoo.block("spandrel:ESRGAN", options, "it", 2)], [True]).eval()
    made = onnx_file.write(exported.Exported(network, 1), tmp_path / "w.onnx", {}, lambda line: None, "ESRGAN")
    assert max(made.differences.values()) < exported.ALLOWED


def test_one_that_computes_in_place_where_it_is_not_trained_is_counted():
    network = chain("PLKSR.RealPLKSR").eval()
    assert complexity.forward_and_backward(network, 16) > 1e6 and not network.training


@pytest.mark.slow  # traces
def test_one_that_is_no_graph_for_all_sizes_is_refused_with_its_layer(tmp_path):
    safmn = exported.Exported(chain("SAFMN"), 1)
    with pytest.raises(UserError, match=r"it takes height and width for those of one example, in layer .*\.0\.safm$"):
        onnx_file.write(safmn, tmp_path / "w.onnx", {}, lambda line: None, "SAFMN")
    seemore = exported.Exported(chain("SeemoRe"), 1)
    with pytest.raises(UserError, match=r"asks what a picture shows .* in layer .*\.moe_layer$"):
        onnx_file.write(seemore, tmp_path / "w.onnx", {}, lambda line: None, "SeemoRe")


def test_the_library_reads_rcan_of_our_own_and_computes_the_same(tmp_path):
    torch.manual_seed(0)
    spec = zoo.block("rcan", {"channels": 16, "groups": 2, "blocks": 2}, "blocks.it", 2)
    ours, image = Chain.build([spec], [False]).eval(), torch.rand(1, 3, 9, 12)
    tensors = authors.to_authors(ours, tmp_path / "w.safetensors").tensors
    with library._imported(), torch.inference_mode():
        theirs = importlib.import_module("spandrel").MAIN_REGISTRY.load(dict(tensors))
        assert theirs.architecture.id == "RCAN"
        made = theirs.model.eval()(image.clone())  # it changes what it is given
        assert torch.allclose(made, ours(image), atol=1e-5)


def test_weights_of_nothing_known_are_refused(tmp_path):
    torch.save({"a.weight": torch.rand(3)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="are weights of no network that is known here, or of the library spandrel"):
        published.import_weights(tmp_path / "w.pth", None, {})


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ("SPAN", "x4: 2,236,728 parameters, 55.7 GFLOPs"),
        ("DAT", "x2: 4,462,831 parameters, 572.7 GFLOPs"),  # asks for values while it is built
        ("SeemoRe", "x4: 682,036 parameters, 79.6 GFLOPs"),  # and while it runs
        ("FBCNN", "x1: 71,921,796 parameters, 364.5 GFLOPs"),  # makes a pair
        ("RealCUGAN.UpCunet3x", "x3: 1,286,326 parameters"),  # has no option of that name
        ("SwinIR", "not counted, as its defaults are no block: shape '"),
        ("DnCNN", "not counted, as its defaults are no block: spandrel:DnCNN: takes or makes 1 channels"),
    ],
)
def test_models_explains_each(network, says, capsys):
    assert main(["models", f"spandrel:{network}"]) == 0
    printed, errors = capsys.readouterr()
    assert printed.splitlines()[1].startswith(says) and "Args" not in printed and not errors
    assert all(f"\n  {option}: " in printed for option in registry.options(f"spandrel:{network}"))


def test_commands_know_it(tmp_path, monkeypatch, capsys):
    """Explained, planned (which builds and runs it), and given to others with a card that says who reads it."""
    monkeypatch.chdir(tmp_path)
    assert main(["models", "spandrel:SPAN"]) == 0
    assert "feature_channels: int = 48" in capsys.readouterr().out
    blocks = {"span": {"network": "spandrel:SPAN", **SMALL["SPAN"]}, "small": {"network": "toy"}}
    phases = [{"span": span, "start": "default", "stages": "phase"} for span in (1, 2)]
    stage = {"iterations": 2, "batch": 2, "patch": 16}
    runs = {"run": {"chain": ["span", "small"], "plan": phases}}
    text = yaml.safe_dump({"blocks": blocks, "recipes": {"phase": [stage]}, "runs": runs})
    (tmp_path / "span.yaml").write_text(text)
    assert main(["plan", "span.yaml"]) == 0
    assert "checked 2 phases" in capsys.readouterr().out
    chain("SPAN").save(tmp_path / "w.safetensors")
    assert main(["export", "w.safetensors", "--form", "authors", "-o", "span.pth"]) == 0
    assert "programs that use the library spandrel" in (tmp_path / "span.md").read_text()
    assert main(["import", "span.pth", "-o", "again.safetensors"]) == 0
    assert "spandrel:SPAN x2" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "options", "further"), [("RealCUGAN.UpCunet2x", {}, True), ("Compact", {}, False)])
def test_tiles_of_one_that_sees_the_whole_image_are_warned_of(name, options, further):
    torch.manual_seed(0)
    network = Chain.build([zoo.block(f"spandrel:{name}", options | SMALL.get(name, {}), "it", 2)], [True]).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.6)  # at random its pictures are nearly black
    image = picture(300, 240)
    whole = tiles.run(network, image, torch.device("cpu"), 4)
    room = 170**2 * 2 * memory.per_pixel(network.links()[0][0]) / 2**30
    cut, tiling = tiles.infer(network, image, torch.device("cpu"), room)
    assert tiling.tiles > 1 and (abs(whole - cut).max() > 1 / 255) == bool(tiling.pools) == further
