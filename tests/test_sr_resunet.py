"""SR-ResUNet: the nine sizes, any image size, the encoder's names, and the self-attention it shares with SA-RCAN."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from multiblock.errors import UserError
from multiblock.networks import registry, zoo
from multiblock.networks.attention import SelfAttention
from multiblock.networks.layers import ChannelAttention
from multiblock.networks.sr_resunet.network import SRResUNet
from multiblock.plan import Task
from multiblock.training.starts import starting_chain

# Number, encoder, decoder, attention, parameters at x2 (of the study's code) and at x4 (of our design).
NINE = [
    (1, "resnet34", "mirror", "none", 33_356_394, 33_554_563),
    (2, "resnet34", "dense", "none", 45_754_619, 45_906_659),
    (3, "resnet50", "mirror", "none", 216_390_042, 216_249_091),
    (4, "resnet50", "dense", "none", 414_838_091, 413_961_347),
    (5, "resnext50_32x4d", "mirror", "none", 215_861_914, 215_720_963),
    (6, "resnext50_32x4d", "dense", "none", 414_309_963, 413_433_219),
    (7, "resnet34", "dense", "channel", 38_302_311, 38_254_555),
    (8, "resnet34", "dense", "spatial", 42_528_792, 42_412_263),
    (9, "resnet34", "dense", "both", 42_463_648, 42_349_119),
]
RESNET34 = {number: (decoder, attention) for number, encoder, decoder, attention, *_ in NINE if encoder == "resnet34"}


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("number", "encoder", "decoder", "attention", "at_x2", "at_x4"), NINE)
def test_exact_size_any_image_size_and_every_parameter_is_part_of_the_result(
    number, encoder, decoder, attention, at_x2, at_x4
):
    """Also of those too large to compute here: what the result does not depend on would have no gradient at all."""
    for scale, count in ((2, at_x2), (4, at_x4)):
        block = zoo.block(f"sr_resunet_{number}", {"encoder_weights": "random"}, "b", scale=scale)
        assert {"encoder": encoder, "decoder": decoder, "attention": attention}.items() <= block.options.items()
        with torch.device("meta"):
            net = registry.build(block.network, block.options)
            assert parameters(net) == count
            made = net(torch.empty(2, 3, 8, 37))
            assert made.shape == (2, 3, 8 * scale, 37 * scale)
            if scale == 2:
                made.sum().backward()
                assert all(parameter.grad is not None for parameter in net.parameters())
        assert net.receptive_field % 2 == 1
        assert isinstance(net.get_submodule(net.output_layer), nn.Conv2d)


@pytest.fixture(scope="module", params=RESNET34)
def net(request):
    """The networks with ResNet-34 that compute, one after the other."""
    torch.manual_seed(0)
    decoder, attention = RESNET34[request.param]
    return registry.build("sr_resunet", {"encoder_weights": "random", "decoder": decoder, "attention": attention})


class TestResNet34:
    """What every network has to do, tried on the small encoder."""

    @pytest.mark.parametrize("size", [(8, 8), (9, 34)])
    def test_images_however_small_or_odd(self, net, size):
        with torch.inference_mode():
            made = net.eval()(torch.rand(1, 3, *size))
        assert made.shape == (1, 3, 2 * size[0], 2 * size[1])
        assert made.isfinite().all()

    @pytest.mark.parametrize("net", [1, 9], indirect=True)  # of these the others have the parts
    def test_bfloat16_agrees_with_float32(self, net):
        image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            exact = net.eval()(image)
            with torch.autocast("cpu", torch.bfloat16):
                rough = net(image).float()
        # Instance norms after ReLU (8 and 9), here on maps of 2 x 2 pixels, magnify what bfloat16 rounds away.
        allowed = 0.4 if any(isinstance(layer, SelfAttention) for layer in net.modules()) else 0.15
        assert (rough - exact).norm() < allowed * exact.norm()

    def test_gradient_reaches_every_parameter(self, net):
        for layer in net.modules():
            if isinstance(layer, SelfAttention):
                nn.init.ones_(layer.gamma)  # at its start, 0, only gamma itself learns
            if isinstance(layer, ChannelAttention):
                nn.init.ones_(layer.squeeze.bias)  # four hidden units may by chance all start dead
        net.train()(torch.rand(1, 3, 8, 8)).square().mean().backward()
        without = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()}
        net.zero_grad(set_to_none=True)
        for layer in net.modules():
            if isinstance(layer, SelfAttention):
                nn.init.zeros_(layer.gamma)
        assert without <= self.biases_that_a_norm_takes_away(net)

    def biases_that_a_norm_takes_away(self, net):
        """Dead by design, the study's: their gradient is zero but for rounding."""
        norms = nn.InstanceNorm2d | nn.BatchNorm2d
        return {
            f"{name}.{number}.bias"
            for name, layers in net.named_modules()
            if isinstance(layers, nn.Sequential)
            for number, (layer, after) in enumerate(pairwise(layers))
            if isinstance(layer, nn.Conv2d) and isinstance(after, norms)
        }

    def test_shuffles_start_without_a_checkerboard_where_the_study_says_so(self, net):
        upsample = net.stages[4].upsample
        made = upsample(torch.randn(1, upsample[0].in_channels, 3, 3))
        corners = [made[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1)]
        # 8 and 9 upsample by plain 3x3 convolutions.
        equal = all(torch.allclose(corners[0], corner, atol=1e-6) for corner in corners)
        assert equal == hasattr(upsample[0], "parametrizations")


def torchvision_resnet(depths, basic, inner):
    """Names and shapes in a file of torchvision's, after the published layout of its ResNet."""
    shapes = {}

    def layer(conv, norm, outputs, inputs, kernel):
        shapes[f"{conv}.weight"] = (outputs, inputs, kernel, kernel)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{name}"] = (outputs,)
        shapes[f"{norm}.num_batches_tracked"] = ()

    layer("conv1", "bn1", 64, 3, 7)
    inputs = 64
    for stage, depth in enumerate(depths):
        planes = 64 * 2**stage
        outputs = planes if basic else 4 * planes
        middle, grouped = (size * 2**stage for size in inner)
        for block in range(depth):
            name = f"layer{stage + 1}.{block}"
            if basic:
                layer(f"{name}.conv1", f"{name}.bn1", planes, inputs, 3)
                layer(f"{name}.conv2", f"{name}.bn2", planes, planes, 3)
            else:
                layer(f"{name}.conv1", f"{name}.bn1", middle, inputs, 1)
                layer(f"{name}.conv2", f"{name}.bn2", middle, grouped, 3)
                layer(f"{name}.conv3", f"{name}.bn3", outputs, middle, 1)
            if block == 0 and (stage > 0 or not basic):
                layer(f"{name}.downsample.0", f"{name}.downsample.1", outputs, inputs, 1)
            inputs = outputs
    return shapes | {"fc.weight": (1000, inputs), "fc.bias": (1000,)}


@pytest.mark.parametrize(
    ("encoder", "basic", "inner", "file", "published"),
    [
        ("resnet34", True, (64, 64), "resnet34-b627a593.pth", 21_797_672),
        ("resnet50", False, (64, 64), "resnet50-0676ba61.pth", 25_557_032),
        ("resnext50_32x4d", False, (128, 4), "resnext50_32x4d-7cdf4587.pth", 25_028_904),
    ],
)
@pytest.mark.parametrize("decoder", ["mirror", "dense"])
def test_torchvisions_weights_fit(encoder, basic, inner, file, published, decoder):
    shapes = torchvision_resnet((3, 4, 6, 3), basic, inner)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    learnt = [torch.Size(shape).numel() for name, shape in shapes.items() if not name.endswith(buffers)]
    assert sum(learnt) == published
    with torch.device("meta"):
        net = SRResUNet(encoder_weights="random", encoder=encoder, decoder=decoder)
        weights = {name: torch.empty(shape) for name, shape in shapes.items() if not name.startswith("fc.")}
    assert not net.pretrained
    assert file in SRResUNet.__doc__
    net.get_submodule("encoder").load_state_dict(weights, strict=True)


def test_training_starts_from_torchvisions_file_and_only_then(tmp_path):
    shapes = torchvision_resnet((3, 4, 6, 3), True, (64, 64))
    torch.manual_seed(0)
    weights = {name: torch.rand(shape) if shape else torch.tensor(5) for name, shape in shapes.items()}
    torch.save(weights, tmp_path / "resnet34-b627a593.pth")
    spec = zoo.block("sr_resunet_7", {"encoder_weights": str(tmp_path / "resnet34-b627a593.pth")}, "b")
    task = Task(seed=1, phase=1, first=1, last=1, blocks=(spec,), starts=("default",), stages=())
    assert task.files == (str(tmp_path / "resnet34-b627a593.pth"),)
    encoder = starting_chain(task, {}).blocks["1"].encoder.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in encoder.items())
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet34-b627a593.pth")
    with pytest.raises(UserError, match=r"resnet34-b627a593\.pth: does not fit Encoder: .*Missing key"):
        starting_chain(task, {})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"encoder": "resnet43"},
            r"encoder: found 'resnet43'; did you mean 'resnet34'\?; allowed are resnet34, resnet50",
        ),
        ({"decoder": "unet"}, "decoder: found 'unet'; allowed are mirror, dense"),
        ({"attention": "self"}, "attention: found 'self'; allowed are none, channel, spatial, both"),
        ({"scale": 3}, "scale: found 3; allowed are 2, 4"),
        (
            {"encoder": "resnet50", "attention": "both"},
            "found resnet50, dense, both; allowed are resnet34 mirror none, ",
        ),
        (
            {"decoder": "mirror", "attention": "channel"},
            "found resnet34, mirror, channel; allowed are .* dense channel",
        ),
    ],
)
def test_options_that_are_none_of_the_nine(options, message):
    with pytest.raises(UserError, match=message):
        registry.build("sr_resunet", {"encoder_weights": "random", **options})


class TestSelfAttention:
    """The layer of SA-RCAN and of the networks 8 and 9."""

    def test_size_in_sa_rcan(self):
        assert parameters(SelfAttention(64, key=4, value=4)) == 1_101

    def test_it_starts_as_a_copy(self):
        x = torch.randn(2, 16, 5, 7)
        assert torch.equal(SelfAttention(16, key=4, value=8)(x), x)

    @pytest.mark.parametrize("pool", [None, nn.MaxPool2d(2), nn.AvgPool2d(4)])
    @pytest.mark.parametrize("value", [4, 8])
    def test_it_is_softmax_over_positions(self, pool, value):
        torch.manual_seed(0)
        layer = SelfAttention(16, key=4, value=value, pool=pool).eval()
        nn.init.ones_(layer.gamma)
        x = 3 * torch.randn(2, 16, 8, 12)
        queries, keys, values = layer.theta(x), layer.pool(layer.phi(x)), layer.pool(layer.g(x))
        weights = (queries.flatten(2).mT @ keys.flatten(2)).softmax(dim=2)
        seen = (values.flatten(2) @ weights.mT).view(2, value, 8, 12)
        torch.testing.assert_close(layer(x), x + layer.out(seen))

    @pytest.mark.parametrize("size", [(1, 1), (3, 5), (9, 2)])
    def test_maps_smaller_than_the_pool_in_bfloat16(self, size):
        layer = SelfAttention(16, key=4, value=8, pool=nn.AvgPool2d(4))
        nn.init.ones_(layer.gamma)
        with torch.autocast("cpu", torch.bfloat16):
            made = layer(torch.randn(2, 16, *size))
        made.float().sum().backward()
        assert made.shape == (2, 16, *size)
        assert made.isfinite().all()

    def test_which_convolutions_are_normalised(self):
        layer = SelfAttention(16, key=4, value=8)
        norms = {name.split(".")[0] for name, _ in layer.named_buffers()}
        assert norms == {"phi", "g", "out"}
