"""CARN: its entries in the zoo, with the columns of its study's table of losses, and how its weights are published."""

from typing import Any

from multiblock.networks.family import MEAN, SHIFTER, Entry, Form

_CARN_STUDY = "CARN study (yu45020/Waifu2x)"
_SE = {"gate": "both"}
_SPATIAL = {"gate": "spatial"}
_V2 = {"fusion_kernel": 3}
_FIVE = {"blocks": 5, "dilations": [1, 2, 4, 2, 1]}


def _carn(column: str, what: str, **options: Any) -> Entry:
    """A column of the CARN study's table of losses."""
    return Entry(name=f"carn_{column}", family="carn", what=what, source=_CARN_STUDY, options=options)


ENTRIES = (
    Entry(
        name="carn",
        family="carn",
        what="CARN as its authors publish it: ReLU, mean shift",
        source="Ahn et al., ECCV 2018 (nmhkahn/CARN-pytorch)",
        options={"slope": 0.0, "entry_activation": False, "mean_shift": True},
    ),
    Entry(
        name="carn_m",
        family="carn",
        what="CARN-M, the mobile form: groups of 4, one unit shared by the steps of a block",
        source="Ahn et al., ECCV 2018 (nmhkahn/CARN-pytorch)",
        options={
            "slope": 0.0,
            "entry_activation": False,
            "mean_shift": True,
            "unit_groups": 4,
            "shared_unit": True,
        },
    ),
    _carn("standard", "the study's standard model"),
    _carn("standard_5", "five blocks", blocks=5),
    _carn("full_v2_se", "channel and spatial gates", **_SE),
    _carn("full_v2_se_128_channels", "gates, 128 channels", **_SE, channels=128),
    _carn("full_v2_se_32_channels", "gates, 32 channels", **_SE, channels=32),
    _carn("full_v2_se_5_blocks", "gates, five blocks", **_SE, blocks=5),
    _carn("full_v2_se_atros_121", "gates, dilations 1-2-1", **_SE, dilations=[1, 2, 1]),
    _carn("full_v2_se_atros_241", "gates, dilations 2-4-1", **_SE, dilations=[2, 4, 1]),
    _carn("full_v2_se_atros_421", "gates, dilations 4-2-1", **_SE, dilations=[4, 2, 1]),
    _carn("full_v2_se_atros_12421", "gates, five blocks, dilations 1-2-4-2-1", **_SE, **_FIVE),
    _carn(
        "full_v2_se_atros_121_single",
        "gates, first convolution of a unit dilated 1-2-1",
        **_SE,
        dilations=[1, 2, 1],
        dilated="first",
    ),
    _carn(
        "full_v2_se_atros_222_single",
        "gates, first convolution of a unit dilated 2-2-2",
        **_SE,
        dilations=[2, 2, 2],
        dilated="first",
    ),
    _carn("full_v2_se_concat", "gates, results of all blocks joined", **_SE, concatenate=True),
    _carn("full_v2_se_double", "gates after units and after blocks", **_SE, gate_after="both"),
    _carn("full_v2_se_global_only", "gates after blocks only", **_SE, gate_after="blocks"),
    _carn("full_v2_se_fullsize", "gates with 64 hidden nodes", **_SE, gate_reduction=1),
    _carn(
        "full_v2_se_global_atros_12421",
        "gates, dilated unit after each of five blocks (our reading; not defined in the study)",
        **_SE,
        **_FIVE,
        global_dilation=True,
    ),
    _carn(
        "full_v2_se_partial_atros_121",
        "gates, dilations 1-2-1, partial-convolution padding",
        **_SE,
        dilations=[1, 2, 1],
        partial_padding=True,
    ),
    _carn(
        "full_v2_se_partial_atros_421",
        "gates, dilations 4-2-1, partial-convolution padding",
        **_SE,
        dilations=[4, 2, 1],
        partial_padding=True,
    ),
    _carn(
        "full_v2_se_partial_atros_12421",
        "gates, five blocks, dilations 1-2-4-2-1, partial-convolution padding",
        **_SE,
        **_FIVE,
        partial_padding=True,
    ),
    _carn("full_v2_se_res_bilinear", "gates, bilinear residual", **_SE, bilinear=True),
    _carn("full_v2_se_res_bilinear_V2_group1", "gates, bilinear residual, 3x3 fusions", **_SE, **_V2, bilinear=True),
    _carn(
        "full_v2_se_res_bilinear_V2_group2",
        "gates, bilinear residual, 3x3 fusions in 2 groups",
        **_SE,
        **_V2,
        fusion_groups=2,
        bilinear=True,
    ),
    _carn(
        "full_v2_se_res_bilinear_V2_group4",
        "gates, bilinear residual, 3x3 fusions in 4 groups",
        **_SE,
        **_V2,
        fusion_groups=4,
        bilinear=True,
    ),
    _carn("full_v2_se_V2_group4", "gates, 3x3 fusions in 4 groups", **_SE, **_V2, fusion_groups=4),
    _carn("full_v2_spatial", "spatial gates", **_SPATIAL),
    _carn("full_v2_spatial_atros_121", "spatial gates, dilations 1-2-1", **_SPATIAL, dilations=[1, 2, 1]),
    _carn(
        "full_v2_spatial_atros_121_diff_res",
        "spatial gates, staggered dilations 1-2-1 (our reading; not defined in the study)",
        **_SPATIAL,
        dilations=[1, 2, 1],
        dilated="staggered",
    ),
    _carn(
        "full_v2_spatial_atros_241_diff_res",
        "spatial gates, staggered dilations 2-4-1 (our reading; not defined in the study)",
        **_SPATIAL,
        dilations=[2, 4, 1],
        dilated="staggered",
    ),
    _carn(
        "full_v2_spatial_up_features_atros_421",
        "spatial gates, dilated 4-2-1 after the shuffle (our reading; not defined in the study)",
        **_SPATIAL,
        late_dilations=[4, 2, 1],
    ),
    _carn(
        "full_v2_spatial_up_features_atros_421_res",
        "the same with a skip (our reading; not defined in the study)",
        **_SPATIAL,
        late_dilations=[4, 2, 1],
        late_skip=True,
    ),
    _carn(
        "full_v2_upscale_single_atros_131",
        "gates, first convolution of a unit dilated 1-3-1, dilated upsampler (our reading; not defined in the study)",
        **_SE,
        dilations=[1, 3, 1],
        dilated="first",
        upsampler_dilation=3,
    ),
)

FORMS: tuple[Form, ...] = (
    Form(
        source="nmhkahn/CARN-pytorch",
        rules=(
            *SHIFTER,
            ("entry", "entry.0"),
            ("b{k+1}.b{j+1}.body.0", "body.layers.{k}.layers.{j}.conv1"),
            ("b{k+1}.b{j+1}.body.2", "body.layers.{k}.layers.{j}.conv2"),
            ("b{k+1}.b1.body.4", "body.layers.{k}.layers.0.mix.1"),
            ("b{k+1}.c{j+1}.body.0", "body.layers.{k}.fusions.{j}"),
            ("c{k+1}.body.0", "body.fusions.{k}"),
            ("upsample.up.body.{k}", "upsampler.{k}"),
            ("exit", "exit"),
        ),
        # The authors train one network for all scales, with an upsampler for each.
        also=(*MEAN, ("upsample.up{s}.body.{k}", "upsampler.{k}")),
        unused=r"upsample\.up{scale}\..*",
        fixed={
            "slope": 0.0,
            "entry_activation": False,
            "dilations": (1,),
            "partial_padding": False,
            "upsampler_dilation": 1,
            "bilinear": False,
            "mean_shift": True,
            "fusion_kernel": 1,
            "fusion_groups": 1,
            "blocks": 3,
            "units": 3,
            "channels": 64,
        },
    ),
)
