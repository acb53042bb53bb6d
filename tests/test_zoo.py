"""The networks of the studies: exact sizes and work, any image size, live parameters, and that they learn."""

import json

import pytest
import torch
from torch import nn

from multiblock.errors import UserError
from multiblock.model import chain, complexity
from multiblock.networks import registry, zoo
from multiblock.networks.attention import SelfAttention
from multiblock.networks.carn.network import Gate
from multiblock.networks.drln.network import LaplacianAttention
from multiblock.networks.layers import ChannelAttention

PARAMETERS = {
    "mcan": 1_256_195,
    "toy": 151_235,
    "carn": 964_187,
    "carn_m": 257_051,
    "carn_standard": 964_163,
    "carn_standard_5": 1_526_595,
    "carn_full_v2_se": 969_959,
    "carn_full_v2_se_128_channels": 3_866_059,
    "carn_full_v2_se_32_channels": 245_383,
    "carn_full_v2_se_5_blocks": 1_536_255,
    "carn_full_v2_se_atros_121": 969_959,
    "carn_full_v2_se_atros_241": 969_959,
    "carn_full_v2_se_atros_421": 969_959,
    "carn_full_v2_se_atros_12421": 1_536_255,
    "carn_full_v2_se_atros_121_single": 969_959,
    "carn_full_v2_se_atros_222_single": 969_959,
    "carn_full_v2_se_concat": 1_117_479,
    "carn_full_v2_se_double": 971_891,
    "carn_full_v2_se_global_only": 966_095,
    "carn_full_v2_se_fullsize": 1_039_619,
    "carn_full_v2_se_global_atros_12421": 1_905_535,
    "carn_full_v2_se_partial_atros_121": 969_959,
    "carn_full_v2_se_partial_atros_421": 969_959,
    "carn_full_v2_se_partial_atros_12421": 1_536_255,
    "carn_full_v2_se_res_bilinear": 969_959,
    "carn_full_v2_se_res_bilinear_V2_group1": 2_149_607,
    "carn_full_v2_se_res_bilinear_V2_group2": 1_486_055,
    "carn_full_v2_se_res_bilinear_V2_group4": 1_154_279,
    "carn_full_v2_se_V2_group4": 1_154_279,
    "carn_full_v2_spatial": 964_739,
    "carn_full_v2_spatial_atros_121": 964_739,
    "carn_full_v2_spatial_atros_121_diff_res": 964_739,
    "carn_full_v2_spatial_atros_241_diff_res": 964_739,
    "carn_full_v2_spatial_up_features_atros_421": 1_075_523,
    "carn_full_v2_spatial_up_features_atros_421_res": 1_075_523,
    "carn_full_v2_upscale_single_atros_131": 969_959,
    "srresnet": 1_549_462,
    "pan": 272_419,
    "pan_split": 248_419,
    "imdn": 703_059,
    "imdn_20x6": 72_813,
    "imdn_rtc": 21_825,
    "imdn_rtc_16x10": 69_795,
    "imdn_rtc_12x16": 62_283,
    "imdn_dw_40x6": 81_345,
    "imdn_dw_36x8": 83_319,
    "imdn_dw_32x10": 79_999,
    "drln": 34_614_795,
    "drln_lite1": 82_599,
    "drln_lite2": 90_620,
    "drln_distilled": 117_399,
    "rcan": 15_592_379,
    "rcan_6": 9_489_787,
    "sa_rcan_1": 9_493_090,
    "sa_rcan_2": 9_496_393,
    "sa_rcan_3": 9_621_907,
}
"""At each network's default scale."""

AT_OTHER_SCALES = {
    ("imdn", 2): 694_404,
    ("imdn", 4): 715_176,
    ("pan", 2): 261_403,
    ("pan", 3): 261_403,
    ("rcan_6", 2): 9_342_075,
}

GFLOPS = {
    "imdn_rtc": 2.820538368,
    "imdn_rtc_16x10": 9.051308032,
    "imdn": 91.502942976,
    "imdn_20x6": 9.43325256,
    "imdn_dw_40x6": 10.2157584,
    "imdn_dw_32x10": 9.984547072,
    "drln": 4499.812678144,
    "drln_lite1": 10.767045792,
    "drln_lite2": 10.58146676,
    "drln_distilled": 10.88467488,
}
"""At x3, to the digit, by the convention of the lightweight x3 study."""

SMALL = {
    "mcan": {"channels": 8, "residual_blocks": 1},
    "toy": {"channels": 8},
    "carn": {"channels": 8, "units": 2},
    "srresnet": {"channels": 8, "blocks": 2},
    "pan": {"channels": 8, "up_channels": 4, "blocks": 2},
    "imdn": {"channels": 16, "modules": 2, "reduction": 4},
    "drln": {"channels": 8, "groups": [2, 2], "units": 2, "reduction": 4},
    "drln_distilled": {"channels": 16, "groups": 1, "reduction": 4},
    "rcan": {"channels": 8, "groups": 2, "blocks": 1, "reduction": 4},
}
"""The same networks small enough for every test; SR-ResUNet has tests of its own."""

NAMES = [name for name, entry in zoo.ENTRIES.items() if entry.family in SMALL]
FEW = [name for name in NAMES if not name.startswith("carn_")]
FEW += ["carn_full_v2_se_global_atros_12421", "carn_full_v2_spatial"]
"""Of the many forms of CARN those that have all of its parts."""

LEARN = ["mcan", "toy", "carn", *FEW[-2:], "srresnet", "pan", "imdn", "imdn_rtc", "imdn_dw_40x6", "drln_lite1"]
LEARN += ["drln_distilled", "rcan", "sa_rcan_1"]
"""Of each family those that have other parts than the ones before."""


def small(name: str, **options) -> nn.Module:
    torch.manual_seed(0)
    block = zoo.sample(name, **SMALL[zoo.find(name).family], **options)
    network = registry.build(block.network, block.options)
    for layer in network.modules():
        # A few hidden nodes may all begin dead by chance, and self-attention begins switched off.
        if isinstance(layer, ChannelAttention):
            nn.init.constant_(layer.squeeze.bias, 10)
        elif isinstance(layer, LaplacianAttention):
            for branch in layer.squeeze:
                nn.init.ones_(branch.bias)
        elif isinstance(layer, Gate) and layer.channel is not None:
            nn.init.ones_(layer.channel[0].bias)
        elif isinstance(layer, SelfAttention):
            nn.init.ones_(layer.gamma)
    return network


def test_every_network_is_counted():
    others = {f"sr_resunet_{number}" for number in range(1, 10)}  # in test_sr_resunet.py
    assert PARAMETERS.keys() | others == zoo.ENTRIES.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_exact_parameter_count(name):
    block = zoo.sample(name)
    counted = complexity.of(block.network, block.options, side=32)
    assert counted.parameters == counted.parameters_executed == PARAMETERS[name]


@pytest.mark.parametrize(("name", "scale"), AT_OTHER_SCALES)
def test_exact_parameter_count_at_other_scales(name, scale):
    block = zoo.sample(name, scale=scale)
    assert complexity.of(block.network, block.options, side=32).parameters == AT_OTHER_SCALES[name, scale]


@pytest.mark.parametrize("name", GFLOPS)
def test_gflops_to_the_digit(name):
    block = zoo.sample(name)
    assert round(complexity.of(block.network, block.options).gflops, 9) == GFLOPS[name]


@pytest.mark.parametrize(
    ("name", "live"),
    [
        ("carn_full_v2_se", 744_527),
        ("carn_full_v2_se_double", 559_759),
        ("carn_full_v2_se_global_only", 706_183),
        ("carn_full_v2_se_res_bilinear_V2_group1", 1_924_175),
        ("carn_full_v2_se_res_bilinear_V2_group2", 1_260_623),
        ("carn_full_v2_se_res_bilinear_V2_group4", 928_847),
    ],
)
def test_what_the_coded_wiring_of_carn_leaves_dead(name, live):
    block = zoo.sample(name, wiring="as_coded")
    counted = complexity.of(block.network, block.options, side=32)
    assert (counted.parameters, counted.parameters_executed) == (PARAMETERS[name], live)


def test_the_dead_fusion_of_drln_as_coded():
    network = small("drln", as_coded=True)
    network(torch.rand(2, 3, 8, 8)).square().mean().backward()
    dead = [name for name, p in network.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert dead == ["fusions.2.weight", "fusions.2.bias"]


@pytest.mark.parametrize("name", NAMES)
def test_any_image_size_at_every_scale(name):
    for scale in zoo.find(name).scales:
        network = small(name, **({"scale": scale} if scale > 1 else {})).eval()
        for height, width in ((17, 22), (8, 9)):
            with torch.inference_mode():
                assert network(torch.rand(1, 3, height, width)).shape == (1, 3, scale * height, scale * width)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_parameter(name):
    network = small(name)
    network(torch.rand(4, 3, 12, 12)).square().mean().backward()
    # A bias before a batch norm moves nothing.
    still = ("conv1.bias", "conv2.bias", "closing.bias") if name == "srresnet" else ()
    for parameter_name, parameter in network.named_parameters():
        if parameter.requires_grad and not parameter_name.endswith(still):
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name
    frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
    assert all("mean" in name for name in frozen)


@pytest.mark.parametrize("name", FEW)
def test_a_file_keeps_it(name, tmp_path):
    network = small(name).eval()
    spec = zoo.sample(name, **SMALL[zoo.find(name).family])
    chain.Chain([spec], [False], [network]).save(tmp_path / "w.safetensors")
    again = chain.load(tmp_path / "w.safetensors")
    image = torch.rand(1, 3, 10, 11)
    with torch.inference_mode():
        assert torch.equal(again(image), network(image))
    assert json.dumps(again.specs[0].options)  # plain values


@pytest.mark.parametrize("name", FEW)
def test_bfloat16_agrees_with_float32_and_does_not_round_the_image(name):
    network = small(name).eval()
    image = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        exact = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(image)
    assert rough.dtype == torch.float32 and (rough != rough.bfloat16()).float().mean() > 0.9
    assert (rough - exact).abs().mean() < 0.03 * exact.abs().mean() + 0.02


@pytest.mark.parametrize("name", LEARN)
def test_it_overfits_one_batch(name):
    network = small(name).train()
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    image = torch.rand(2, 3, 6, 6)
    target = nn.functional.interpolate(image, scale_factor=int(network.scale), mode="bicubic").clamp(0, 1)
    losses = []
    for _ in range(40):
        loss = (network(image) - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.7 * losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_receptive_field_holds_what_a_pixel_sees(name):
    network = small(name).eval()
    for parent in list(network.modules()):
        for child_name, child in parent.named_children():
            if getattr(child, "sees_whole_image", False):
                setattr(parent, child_name, nn.Identity())  # attention sees the whole image, so it is held still
    for parameter in network.parameters():
        parameter.data.abs_()  # no path may cancel, no ReLU close
    scale, reach = int(network.scale), int(network.receptive_field) // 2
    side = 2 * reach + 9
    image = torch.rand(1, 3, side, side, requires_grad=True)
    centre = side // 2
    here = slice(centre * scale, (centre + 1) * scale)
    network.double()(image.double())[0, :, here, here].sum().backward()
    rows = torch.nonzero(image.grad.abs().sum((0, 1, 3)) > 0).flatten()
    before, after = centre - int(rows[0]), int(rows[-1]) - centre
    assert max(before, after) <= reach
    assert max(before, after) >= reach - 1


class TestNames:
    """How a config's network becomes a family and its options."""

    def test_an_entry_gives_options_and_the_config_overrides_them(self):
        block = zoo.block("imdn_rtc", {"modules": 7, "scale": 2}, "b")
        assert block.network == "imdn"
        assert (block.options["channels"], block.options["modules"], block.scale) == (12, 7, 2)

    def test_the_scale_is_the_datas_if_the_config_does_not_say(self):
        assert zoo.block("imdn", {}, "b", scale=4).scale == 4
        assert zoo.block("imdn", {}, "b").scale == 3
        assert zoo.block("mcan", {}, "b", scale=4).scale == 1

    @pytest.mark.parametrize(
        ("network", "options", "says"),
        [
            ("imdm", {}, "b.network: unknown network 'imdm'; did you mean 'imdn'?"),
            ("imdn", {"scale": 7}, "b.scale: found 7; imdn allows 2, 3, 4"),
            ("carn", {"gate": "bth"}, "b.gate: found 'bth'; did you mean 'both'?; allowed are none, channel"),
            ("carn", {"dilations": 2}, "b.dilations: found 2; allowed is a list of whole numbers"),
            ("carn", {"dilations": [1, "2", 1]}, "b.dilations, entry 2: found '2'; allowed is a value of type int"),
            ("sr_resunet_2", {}, "b.encoder_weights: is missing; sr_resunet needs it: file of the encoder's weights"),
        ],
    )
    def test_mistakes(self, network, options, says):
        with pytest.raises(UserError) as error:
            zoo.block(network, options, "b")
        assert str(error.value).startswith(says)

    def test_rates_that_do_not_fit_the_blocks(self):
        with pytest.raises(UserError, match="dilations: found 2 rates; allowed are 1, or one for each of 3 blocks"):
            registry.build("carn", {"dilations": [1, 2]})

    def test_every_option_is_explained(self):
        for family in {entry.family for entry in zoo.ENTRIES.values()}:
            assert set(registry.explanations(family)) == set(registry.options(family)), family


def test_partial_padding_changes_only_the_edge():
    torch.manual_seed(0)
    plain = registry.build("carn", {"channels": 4, "blocks": 1, "units": 1})
    partial = registry.build("carn", {"channels": 4, "blocks": 1, "units": 1, "partial_padding": True})
    partial.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 30, 30)
    difference = (plain(image) - partial(image)).abs().amax((0, 1))
    assert difference[:2].max() > 1e-3
    assert difference[24:36, 24:36].max() < 1e-5
    # In a corner four of the nine taps lie inside, and count nine quarters each.
    bias = plain.entry[0].bias
    corner, made = plain.entry[0](image)[0, :, 0, 0], partial.entry[0](image)[0, :, 0, 0]
    assert torch.allclose(made, (corner - bias) * 9 / 4 + bias, atol=1e-6)
