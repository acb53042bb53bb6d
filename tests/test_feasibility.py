"""What can be known before any training is found before it."""

import re
from pathlib import Path

import pytest
import torch

from multiblock import config
from multiblock.cli import main
from multiblock.errors import UserError
from multiblock.model import receptive_field
from multiblock.model.chain import Chain
from multiblock.networks import registry, zoo
from multiblock.plan import Block
from multiblock.training import feasibility
from multiblock.training.starts import starting_chain
from multiblock.workflow import check as checks
from multiblock.workflow.check import check, check_once
from stand_in import results_of
from test_workflow import snakemake, write_config

TOY = {"network": "toy"}
MCAN = {"network": "mcan", "channels": 4, "residual_blocks": 1}
OWN = """
import torch
from torch import nn

class Own(nn.Module):
    receptive_field = {receptive_field}
    output_layer = {output_layer!r}

    def __init__(self, *, scale: int = 1) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding={padding})

    def forward(self, x):
        {line}
        return self.layer(x)
"""


def study(block=TOY, scale=1, chain=("b",), plan=None, **stage) -> config.Study:
    """A study of one run; without a plan it has one phase of two stages, of which the second is changed."""
    images = {"hr": "a"} if scale > 1 else {"hr": "a", "lr": "b"}
    plain = {"iterations": 1, "batch": 2, "patch": 16}
    plan = plan or [{"span": f"1-{len(chain)}", "stages": [plain, {**plain, **stage}]}]
    return config.load(
        {
            "data": {"scale": scale, "train": images, "test": images},
            "blocks": {"b": dict(block)},
            "runs": {"one": {"chain": list(chain), "plan": plan}},
        }
    )


def refused(made: config.Study) -> str:
    with pytest.raises(UserError) as error:
        check(made)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (
            {"network": "imdn", "channels": 10},
            "phase 1, stage 1: blocks.b (imdn): with channels 10, scale 2 it takes no",
        ),
        (
            {"network": "pan", "channels": 7},
            "phase 1, stage 1: blocks.b (pan): with channels 7, scale 2 it takes no patch",
        ),
        ({"network": "carn", "dilations": [1, 2]}, "phase 1: blocks.b (carn): cannot be built with dilations [1, 2]"),
    ],
)
def test_options_that_a_network_refuses(block, says):
    assert refused(study(block, scale=2)).startswith(f"runs.one.plan, {says}")


def test_large_networks_are_looked_at_too():
    block = {"network": "imdn", "channels": 65}
    assert "blocks.b (imdn): with channels 65, scale 2 it takes no" in refused(study(block, scale=2, patch=192))
    assert check(study({"network": "imdn"}, scale=2, patch=192)).startswith("checked 1 phase in")


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (
            {"encoder": {"lr": 1e-5}},
            "stage 2, parts.encoder: no block of the span has such a part; allowed are head, body",
        ),
        ({"body": {"lr": 1e-5}, "body.0": {"lr": 1e-4}}, "stage 2, parts.body.0: overlaps parts.body"),
        (
            {name: {"freeze": 5} for name in ("head", "body", "closing", "to_rgb")},
            "stage 2, parts: found all weights frozen at first",
        ),
    ],
)
def test_parts(parts, says):
    assert refused(study(MCAN, parts=parts)).startswith(f"runs.one.plan, phase 1, {says}")


def test_the_phase_is_counted_as_people_do():
    stages = [{"iterations": 1, "batch": 2, "patch": 16}]
    plan = [{"span": 1, "stages": stages}, {"span": 1, "stages": [{**stages[0], "parts": {"none": {"lr": 1}}}]}]
    assert refused(study(plan=plan)).startswith("runs.one.plan, phase 2, stage 1, parts.none: no block")


def test_what_optimisers_refuse_together(monkeypatch):
    from multiblock.training import optimisers

    real = optimisers.build

    def build(name, parameters, lr, options):
        if options.get("amsgrad"):
            raise ValueError("no amsgrad here")
        return real(name, parameters, lr, options)

    monkeypatch.setattr(optimisers, "build", build)
    assert "phase 1, stage 2, options: adam does not take" in refused(study(options={"amsgrad": True}))
    monkeypatch.setattr(optimisers, "build", real)
    assert check(study(options={"amsgrad": True}))


def test_files_that_do_not_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Chain.build([Block(network="toy", options={"depth": 3})], [True]).save(Path("w.safetensors"))
    plan = [{"span": 1, "start": "w.safetensors", "stages": [{"iterations": 1, "patch": 16}]}]
    assert check(study({"network": "toy", "depth": 3}, plan=plan))
    with pytest.raises(UserError, match=r"^runs\.one\.plan, phase 1, start: w\.safetensors: .* depth is 3"):
        study({"network": "toy", "depth": 2}, plan=plan)
    torch.save({"features.0.weight": torch.zeros(3)}, "vgg16.pth")
    made = config.checked({})
    made["training"]["vgg16"] = "vgg16.pth"
    made["recipes"]["joint"][1]["loss"] = "content"
    with pytest.raises(
        UserError, match=r"runs\.default\.plan, phase 4, stage 2, loss: vgg16\.pth: does not hold VGG-16"
    ):
        check(config.load(made))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"padding": 0},
            "stage 1: blocks.b (own.py): makes (2, 3, 14, 14) of 2 patches of 16 pixels; with scale 1, (2,",
        ),
        (
            {"line": "raise ValueError('no')"},
            "stage 1: blocks.b (own.py): with its default options it takes no patches",
        ),
        ({"receptive_field": "None"}, "phase 1: blocks.b (own.py): Own.receptive_field: found None"),
        ({"line": "assert float(x.detach().sum()) == 0"}, None),
        ({"line": "self.layer.weight.mul_(2)"}, "takes no patches of 16 pixels: a leaf Variable that requires grad"),
        ({"line": "self.register_buffer('mask', x)"}, "has other weights once it has run: mask"),
        ({"line": "self.register_buffer('mask', x, persistent=False)"}, None),
        (
            {"padding": "1); self.register_buffer('far', torch.tensor([0.0, -torch.inf])"},
            "phase 1: blocks.b (own.py): far is built with values that are not finite",
        ),
        (
            {"line": "return self.layer(x)\n\n    def get_extra_state(self):\n        return {}"},
            "blocks.b (own.py): keeps _extra_state;",
        ),
    ],
)
def test_networks_of_ones_own(tmp_path, monkeypatch, changes, says):

    monkeypatch.chdir(tmp_path)
    plain = {"padding": 1, "line": "pass", "receptive_field": 3, "output_layer": "layer"}
    Path("own.py").write_text(OWN.format(**{**plain, **changes}))
    made = study({"network": "own.py"})
    assert says in refused(made) if says else check(made)


def test_the_last_convolution_has_to_be_there_to_be_zeroed(tmp_path, monkeypatch):

    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN.format(padding=1, line="pass", receptive_field=3, output_layer="gone"))
    stages = [{"iterations": 1, "patch": 16, "batch": 2}]
    plan = [{"span": 1, "stages": stages}, {"span": 2, "start": "inherit_zeroed", "stages": stages}]
    assert "phase 2: blocks.b (own.py)" in refused(study({"network": "own.py"}, chain=("b", "b"), plan=plan))


@pytest.mark.parametrize(
    ("norm", "start", "says"),
    [
        ("parametrizations.weight_norm", "orthogonal_zeroed", "would zero layer, and weights that are divided by"),
        ("parametrizations.spectral_norm", "orthogonal_zeroed", "would zero layer"),
        ("parametrizations.weight_norm", "orthogonal", None),
        ("weight_norm", "orthogonal", "would not reach the weights of layer"),
        ("weight_norm", "default", None),
        ("spectral_norm", "orthogonal_zeroed", "would zero layer"),
        ("spectral_norm", "normal", None),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_weights_that_a_start_cannot_set(tmp_path, monkeypatch, norm, start, says):
    """They would begin as no numbers, or as if nothing had been asked for."""
    monkeypatch.chdir(tmp_path)
    text = OWN.format(padding=1, line="pass", receptive_field=3, output_layer="layer")
    Path("own.py").write_text(
        text.replace("nn.Conv2d(3, 3, 3, padding=1)", f"nn.utils.{norm}({'nn.Conv2d(3, 3, 3, padding=1)'})")
    )
    plan = [{"span": 1, "start": start, "stages": [{"iterations": 1, "patch": 16, "batch": 2}]}]
    made = study({"network": "own.py"}, plan=plan)
    if says:
        assert f"phase 1: blocks.b (own.py): start {start} {says}" in refused(made)
        return
    check(made)
    chain = starting_chain(made.runs["one"].plan.task(1, 0), {})
    assert chain(torch.rand(1, 3, 8, 8)).isfinite().all()


def test_what_is_alike_is_looked_at_once(monkeypatch):
    seen = []
    look = feasibility._output_shape
    monkeypatch.setattr(feasibility, "_output_shape", lambda *of: seen.append(of) or look(*of))
    check(config.load({}))
    assert len(seen) == 1


def test_it_leaves_random_numbers_as_they_are():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    check(config.load({}))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_study_is_checked_once_and_again_where_it_changed(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(checks, "check", lambda study: called.append(study) or "fine")
    for addresses, checked in ((("a", "b"), 1), (("b", "a"), 1), (("a", "c"), 2), (("a", "c"), 2)):
        check_once(study(), addresses, tmp_path / "checked.txt")
        assert len(called) == checked


def test_plan_says_what_cannot_be_trained(tmp_path, capsys):
    file = tmp_path / "a.yaml"
    file.write_text("data: {scale: 2, train: {hr: a}, test: {hr: b}}\nblocks: {small: {network: pan, channels: 7}}\n")
    file.write_text(file.read_text() + "runs: {r: {chain: [small], plan: [{span: 1, stages: single}]}}\n")
    assert main(["plan", str(file)]) == 1
    assert "multiblock: error: runs.r.plan, phase 1, stage 1: blocks.small (pan): with" in capsys.readouterr().err


def test_the_last_phase_is_checked_before_the_first_is_trained(pairs):
    last = [{"iterations": 3, "batch": 2, "patch": 16, "parts": {"nowhere": {"lr": 1}}}]
    plan = [{"span": 1, "stages": "few"}, {"span": 1, "stages": last}]
    write_config(pairs, runs={"one": {"chain": ["tiny"], "plan": plan}}, report={})
    done = snakemake(pairs)
    printed = done.stdout + done.stderr
    assert done.returncode != 0
    errors = re.findall(r"multiblock: error: .*", printed)
    assert errors and errors[0].startswith(
        "multiblock: error: runs.one.plan, phase 2, stage 1, parts.nowhere: no block"
    ), printed
    assert "Traceback" not in printed and not list(pairs.rglob("history.csv"))


SEEING = """
import torch
from torch import nn

class Own(nn.Module):
    receptive_field, output_layer, grid = {declared}, "last", {grid}

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential({layers})
        self.last = nn.Conv2d(3, 3, 3, padding=1)
        {more}

    def forward(self, x):
        return x + self.last({line})
"""
CONVOLUTIONS = "*[nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()) for _ in range(4)]"


@pytest.mark.parametrize(
    ("declared", "layers", "line", "says"),
    [
        (11, CONVOLUTIONS, "self.body(x)", ""),
        (3, CONVOLUTIONS, "self.body(x)", "receptive_field: found 3, and an output pixel sees 11; tiles would show"),
        (3, f"{CONVOLUTIONS}, {CONVOLUTIONS}", "self.body(x)", "an output pixel sees 19 or more; or a layer pools"),
        (21, CONVOLUTIONS, "self.body(x)", "receptive_field 21 is more than the 11 that an output pixel sees"),
        (3, "nn.AdaptiveAvgPool2d(1), nn.Sigmoid()", "x * self.body(x)", "or a layer pools over the image"),
        (3, "nn.Identity()", "x - x.mean((2, 3), keepdim=True)", "or a layer pools over the image"),
        # A cell of 4 sees 4 more on both sides, and its outer pixels, by the last layer, what the next cell sees.
        (17, "nn.Conv2d(3, 3, 12, 4, padding=4), nn.Upsample(scale_factor=4)", "self.body(x)", ""),
        (15, "nn.Conv2d(3, 3, 12, 4, padding=4), nn.Upsample(scale_factor=4)", "self.body(x)", "sees 17; tiles"),
    ],
)
def test_the_receptive_field_is_measured(tmp_path, monkeypatch, declared, layers, line, says):
    monkeypatch.chdir(tmp_path)
    grid = 4 if "Upsample" in layers else 1
    text = SEEING.format(declared=declared, layers=layers, line=line, grid=grid, more="")
    (tmp_path / "own.py").write_text(text)
    made = study({"network": "own.py"})
    if "is more than" in says or not says:
        first, *words = check(made).splitlines()
        assert first.startswith("checked") and (says in words[0] if says else not words), words
    else:
        assert says in refused(made)


def test_what_says_that_it_sees_the_whole_image_is_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layers, more = "nn.AdaptiveAvgPool2d(1), nn.Sigmoid()", "self.body.sees_whole_image = True"
    text = SEEING.format(declared=3, layers=layers, line="x * self.body(x)", grid=1, more=more)
    (tmp_path / "own.py").write_text(text)
    assert len(check(study({"network": "own.py"})).splitlines()) == 1


@pytest.mark.parametrize("name", ["toy", "mcan", "carn", "carn_m", "imdn", "imdn_rtc", "pan", "drln_lite1"])
def test_the_networks_here_see_what_they_declare(name):
    block = zoo.sample(name, **({"channels": 8, "residual_blocks": 3} if name == "mcan" else {}))
    network = registry.build(block.network, block.options)
    spec = registry.describe(network)
    assert receptive_field.measured(network, spec) == spec.receptive_field


def test_files_that_a_block_starts_from_are_named_by_an_option(tmp_path, monkeypatch):
    """Else nothing would know them: neither what is made of them, nor the check before training."""
    monkeypatch.chdir(tmp_path)
    text = SEEING.format(
        declared=11, layers=CONVOLUTIONS, line="self.body(x)", grid=1, more="self.pretrained = {parts}"
    )
    own = tmp_path / "own.py"
    own.write_text(text.replace("{parts}", "{'body': 'body.pth'}"))
    assert "pretrained: found body.pth, which no option names" in refused(study({"network": "own.py"}))
    named = text.replace("__init__(self)", "__init__(self, *, body_weights: str)")
    own.write_text(named.replace("{parts}", "{'body': body_weights}"))
    with pytest.raises(UserError, match=r"blocks\.b\.body_weights: body\.pth: no such file"):
        study({"network": "own.py", "body_weights": "body.pth"})
    torch.save({}, "body.pth")
    assert "start: body.pth: " in refused(study({"network": "own.py", "body_weights": "body.pth"}))
    body = torch.nn.Sequential(
        *[torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.ReLU()) for _ in range(4)]
    )
    torch.save(body.state_dict(), "body.pth")
    made = study({"network": "own.py", "body_weights": "body.pth"})
    assert check(made).startswith("checked 1 phase")
    _, results = results_of(made, images={})
    assert "file body.pth" in results.train("one", 1, 1).outside
