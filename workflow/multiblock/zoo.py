"""Every network of the studies by name: a family (a file of ``networks/``) built with certain options.

A new network is a file in ``networks/`` and an entry here; a new size of one that exists is an entry. Training
does not depend on this file: an entry is resolved into its family and options when a config is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from reprlib import repr as shown
from typing import Any

from multiblock import networks
from multiblock.errors import UserError, listed, nearest
from multiblock.plan import RANDOM, Block


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network by name.

    ``family`` is its file in ``networks/``, ``options`` what differs from that family's defaults, ``scales`` the
    scales it is offered at, ``source`` where it was published.
    """

    name: str
    family: str
    what: str
    source: str
    scales: tuple[int, ...] = (2, 3, 4)
    options: Mapping[str, Any] = field(default_factory=dict)


_CARN_STUDY = "CARN study (yu45020/Waifu2x)"
_STUDY_002 = "SR-ResUNet study (Dhruv-Sabharwal/Nvidia-Internship)"
_STUDY_003 = "SRResNet and PAN study"
_STUDY_004 = "lightweight x3 study (yating52997/SuperResolution)"

_SE = {"gate": "both"}
_SPATIAL = {"gate": "spatial"}
_V2 = {"fusion_kernel": 3}
_FIVE = {"blocks": 5, "dilations": [1, 2, 4, 2, 1]}


def _carn(column: str, what: str, **options: Any) -> Entry:
    """A column of the CARN study's table of losses."""
    return Entry(name=f"carn_{column}", family="carn", what=what, source=_CARN_STUDY, options=options)


_ENTRIES = (
    # -- The multiblock study ---------------------------------------------------------------------------------
    Entry(
        name="mcan",
        family="mcan",
        scales=(1,),
        what="block of the multiblock channel attention network",
        source="multiblock study (LEEPEIQIN/Multiblock)",
    ),
    Entry(
        name="toy",
        family="toy",
        scales=(1,),
        what="block of the toy model",
        source="multiblock study (LEEPEIQIN/Multiblock)",
    ),
    # -- CARN and the columns of its study --------------------------------------------------------------------
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
    # -- SRResNet and PAN -------------------------------------------------------------------------------------
    Entry(
        name="srresnet",
        family="srresnet",
        what="residual network of SRGAN",
        source=f"Ledig et al., CVPR 2017; {_STUDY_003}",
    ),
    Entry(
        name="pan",
        family="pan",
        what="pixel attention network",
        source="Zhao et al., AIM 2020 (zhaohengyuan1/PAN)",
    ),
    Entry(
        name="pan_split",
        family="pan",
        what="PAN with split channels (our reading of the study's listing)",
        source=_STUDY_003,
        options={"split": True},
    ),
    # -- IMDN and DRLN ----------------------------------------------------------------------------------------
    Entry(
        name="imdn",
        family="imdn",
        what="information multi-distillation network, 64 channels, 6 modules",
        source="Hui et al., ACM MM 2019 (Zheng222/IMDN)",
    ),
    Entry(
        name="imdn_20x6",
        family="imdn",
        what="IMDN, 20 channels",
        source=_STUDY_004,
        options={"channels": 20},
    ),
    *(
        Entry(
            name=f"imdn_rtc{size}",
            family="imdn",
            what=f"IMDN_RTC, {channels} channels, {modules} modules",
            source=source,
            options={"channels": channels, "modules": modules, "attention": False, "aggregate": False},
        )
        for size, channels, modules, source in (
            ("", 12, 5, "Hui et al., AIM 2019 (Zheng222/IMDN)"),
            ("_16x10", 16, 10, _STUDY_004),
            ("_12x16", 12, 16, _STUDY_004),
        )
    ),
    *(
        Entry(
            name=f"imdn_dw_{channels}x{modules}",
            family="imdn",
            what=f"depthwise-separable IMDN, {channels} channels, {modules} modules (recovered from its counts)",
            source=_STUDY_004,
            options={
                "channels": channels,
                "modules": modules,
                "depthwise": True,
                "reduction": 12,
                "passes": 2,
            },
        )
        for channels, modules in ((40, 6), (36, 8), (32, 10))
    ),
    Entry(
        name="drln",
        family="drln",
        scales=(2, 3, 4, 8),
        what="densely residual Laplacian network",
        source="Anwar and Barnes, TPAMI 2020 (saeed-anwar/DRLN)",
    ),
    Entry(
        name="drln_lite1",
        family="drln",
        scales=(2, 3, 4, 8),
        what="DRLN, 12 channels, 4 modules of two units",
        source=_STUDY_004,
        options={"channels": 12, "groups": [2, 2], "units": 2},
    ),
    Entry(
        name="drln_lite2",
        family="drln",
        scales=(2, 3, 4, 8),
        what="depthwise DRLN, 20 channels, 11 modules (a stand-in with the study's counts)",
        source=_STUDY_004,
        options={"channels": 20, "groups": [3, 3, 3, 1, 1], "depthwise": True},
    ),
    Entry(
        name="drln_distilled",
        family="drln_distilled",
        what="the study's final network, 36 channels, 8 modules",
        source=_STUDY_004,
    ),
    # -- RCAN and SA-RCAN -------------------------------------------------------------------------------------
    Entry(
        name="rcan",
        family="rcan",
        scales=(2, 3, 4, 8),
        what="residual channel attention network",
        source="Zhang et al., ECCV 2018 (yulunzhang/RCAN)",
    ),
    *(
        Entry(
            name=name,
            family="rcan",
            scales=(2, 3, 4, 8),
            what=what,
            source=_STUDY_002,
            options={"groups": 6, **options},
        )
        for name, what, options in (
            ("rcan_6", "RCAN, 6 groups", {}),
            (
                "sa_rcan_1",
                "SA-RCAN, self-attention after every two groups (code Model 1)",
                {"self_attention": "between_groups"},
            ),
            (
                "sa_rcan_2",
                "SA-RCAN, self-attention in every group (code Model 2)",
                {"self_attention": "in_groups"},
            ),
            (
                "sa_rcan_3",
                "SA-RCAN, self-attention in every block, max-pooled (text)",
                {"self_attention": "in_blocks", "pool": True},
            ),
        )
    ),
    # -- SR-ResUNet -------------------------------------------------------------------------------------------
    *(
        Entry(
            name=f"sr_resunet_{number}",
            family="sr_resunet",
            scales=(2, 4),
            what=f"SR-ResUNet, {encoder} encoder, {decoder} decoder, attention: {attention}",
            source=_STUDY_002,
            options={"encoder": encoder, "decoder": decoder, "attention": attention},
        )
        for number, (encoder, decoder, attention) in enumerate(
            (
                ("resnet34", "mirror", "none"),
                ("resnet34", "dense", "none"),
                ("resnet50", "mirror", "none"),
                ("resnet50", "dense", "none"),
                ("resnext50_32x4d", "mirror", "none"),
                ("resnext50_32x4d", "dense", "none"),
                ("resnet34", "dense", "channel"),
                ("resnet34", "dense", "spatial"),
                ("resnet34", "dense", "both"),
            ),
            1,
        )
    ),
)

ENTRIES: Mapping[str, Entry] = {entry.name: entry for entry in _ENTRIES}
"""All entries by name, in the order of the studies."""


def find(name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        UserError: there is none.
    """
    if name not in ENTRIES:
        firsts: dict[str, str] = {}
        for entry in _ENTRIES:
            firsts.setdefault(entry.family, entry.name)
        raise UserError(
            f"unknown network '{name}'{nearest(name, ENTRIES)}; allowed are the names that `multiblock models` lists "
            f"({listed(firsts.values())} and others), or the path of a Python file"
        )
    return ENTRIES[name]


def block(network: str, given: Mapping[str, Any], key: str, scale: int = 1) -> Block:
    """The block that a config asks for: ``network`` by name, or by the path of its file, with the options ``given``.

    Args:
        key: config key that an error names.
        scale: what a network of the zoo is built for if ``given`` does not say; 1 leaves it at its default.

    Raises:
        UserError: there is no such network, option or scale.
    """
    options, scales, family = dict(given), None, network
    if not network.endswith(".py"):
        try:
            entry = find(network)
        except UserError as error:
            raise UserError(f"{key}.network: {error}") from None
        options, scales, family = {**entry.options, **given}, entry.scales, entry.family
    networks.check_options(family, options, key)
    if "scale" in (known := networks.options(family)):
        options.setdefault("scale", scale if scales and scale in scales else known["scale"][1])
        allowed = scales or tuple(range(1, 9))
        if options["scale"] not in allowed:
            raise UserError(f"{key}.scale: found {shown(options['scale'])}; {network} allows {listed(allowed)}")
    return Block(network=family, options=dict(sorted(options.items())))


def sample(name: str, **options: Any) -> Block:
    """The block called ``name`` as anyone can build it: where it wants a file of weights, at random."""
    known = networks.options(find(name).family)
    needed = {option: RANDOM for option, (_, default) in known.items() if default is ...}
    return block(name, {**needed, **options}, name)
