"""DRLN: its entries in the zoo, and how its weights are published."""

from multiblock.networks.entry import STUDY_004, Entry
from multiblock.networks.forms import LAPLACIAN, MEAN, Form

ENTRIES = (
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
        source=STUDY_004,
        options={"channels": 12, "groups": [2, 2], "units": 2},
    ),
    Entry(
        name="drln_lite2",
        family="drln",
        scales=(2, 3, 4, 8),
        what="depthwise DRLN, 20 channels, 11 modules (a stand-in with the study's counts)",
        source=STUDY_004,
        options={"channels": 20, "groups": [3, 3, 3, 1, 1], "depthwise": True},
    ),
)

FORMS: tuple[Form, ...] = (
    Form(
        source="saeed-anwar/DRLN",
        rules=(
            *MEAN,
            (r"head", "head"),
            (r"b(\d+)\.r(\d)\.body\.0", "body.{1}.units.{2}.conv1"),
            (r"b(\d+)\.r(\d)\.body\.2", "body.{1}.units.{2}.conv2"),
            (r"b(\d+)\.g\.body\.0", "body.{1}.fuse"),
            *LAPLACIAN,
            (r"c(\d+)\.body\.0", "fusions.{1}"),
            (r"upsample\.up\.body\.(\d)", r"upsampler.\1"),
            (r"tail", "to_rgb"),
        ),
        # The framework around it works on 0 to 255.
        options={"as_coded": True, "peak": 255},
    ),
)
