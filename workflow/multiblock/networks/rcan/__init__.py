"""RCAN and SA-RCAN: their entries in the zoo, and how their weights are published."""

from multiblock.networks.entry import STUDY_002, Entry
from multiblock.networks.forms import MEAN, Form, Rule, inside

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

_RCAN_BODY: tuple[Rule, ...] = (
    (r"body\.(\d+)\.body\.(\d+)\.body\.([02])", r"body.\1.\2.layers.\3"),
    (r"body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.0", r"body.\1.\2.layers.3.squeeze"),
    (r"body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.2", r"body.\1.\2.layers.3.excite"),
    (r"body\.(\d+)\.body\.(\d+)", r"body.\1.\2"),
    (r"body\.(\d+)", r"body.\1"),
    (r"(body(?:\.\d+)?(?:\.body)?\.\d+)\.snconv1x1_(theta|phi|g)", lambda m: f"{inside(m[1])}.{m[2]}"),
    (r"(body(?:\.\d+)?(?:\.body)?\.\d+)\.snconv1x1_attn", lambda m: f"{inside(m[1])}.out"),
)

FORMS: tuple[Form, ...] = (
    Form(
        source="yulunzhang/RCAN; SA-RCAN with the same names",
        rules=(
            *MEAN,
            (r"head\.0", "head"),
            *_RCAN_BODY,
            (r"tail\.0\.(\d)", r"upsampler.\1"),
            (r"tail\.1", "to_rgb"),
        ),
    ),
)
