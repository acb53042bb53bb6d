"""DRLN: its entries in the zoo, and how its weights are published."""

from multiblock.networks.family import LAPLACIAN, MEAN, SHIFTER, STUDY_004, Entry, Form

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
            *SHIFTER,
            ("head", "head"),
            ("b{k+1}.r{j+1}.body.0", "body.{k}.units.{j}.conv1"),
            ("b{k+1}.r{j+1}.body.2", "body.{k}.units.{j}.conv2"),
            ("b{k+1}.g.body.0", "body.{k}.fuse"),
            *LAPLACIAN,
            ("c{k+1}.body.0", "fusions.{k}"),
            ("upsample.up.body.{k}", "upsampler.{k}"),
            ("tail", "to_rgb"),
        ),
        also=MEAN,
        # The framework around it works on 0 to 255.
        options={"as_coded": True, "peak": 255},
        fixed={"depthwise": False, "units": 3},
    ),
)
