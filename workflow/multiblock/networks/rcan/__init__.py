"""RCAN and SA-RCAN: their entries in the zoo, and how their weights are published."""

from multiblock.networks.family import MEAN, SHIFTER, STUDY_002, Entry, Form, Rule

ENTRIES = (
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
            source=STUDY_002,
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
)

_PLACES = (("body.{k}.body.{j}", "body.{k}.{j}"), ("body.{k}", "body.{k}"))
"""Where a layer stands in a group, and among the groups; the authors put ``.body.`` around the layers of a group."""

_RCAN_BODY: tuple[Rule, ...] = (
    ("body.{k}.body.{j}.body.3.conv_du.0", "body.{k}.{j}.layers.3.squeeze"),
    ("body.{k}.body.{j}.body.3.conv_du.2", "body.{k}.{j}.layers.3.excite"),
    ("body.{k}.body.{j}.body.{i}", "body.{k}.{j}.layers.{i}"),
    *_PLACES,
    *(
        (f"{authors}.snconv1x1_{their}", f"{ours}.{our}")
        for authors, ours in _PLACES
        for their, our in (("theta", "theta"), ("phi", "phi"), ("g", "g"), ("attn", "out"))
    ),
)

FORMS: tuple[Form, ...] = (
    Form(
        source="yulunzhang/RCAN; SA-RCAN with the same names",
        rules=(
            *MEAN,
            ("head.0", "head"),
            *_RCAN_BODY,
            ("tail.0.{k}", "upsampler.{k}"),
            ("tail.1", "to_rgb"),
        ),
        also=SHIFTER,
        fixed={"pool": False},
    ),
)
