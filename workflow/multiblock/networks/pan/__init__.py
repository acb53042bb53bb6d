"""PAN: its entries in the zoo, and how its weights are published."""

from multiblock.networks.family import STUDY_003, Entry, Form

ENTRIES = (
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
        source=STUDY_003,
        options={"split": True},
    ),
)

FORMS: tuple[Form, ...] = (
    Form(
        source="zhaohengyuan1/PAN",
        rules=(
            ("conv_first", "head"),
            ("SCPA_trunk.{k}.conv1_a", "body.{k}.project_plain"),
            ("SCPA_trunk.{k}.conv1_b", "body.{k}.project_gated"),
            ("SCPA_trunk.{k}.k1.0", "body.{k}.plain"),
            ("SCPA_trunk.{k}.PAConv.k2", "body.{k}.gated.gate"),
            ("SCPA_trunk.{k}.PAConv.k3", "body.{k}.gated.conv1"),
            ("SCPA_trunk.{k}.PAConv.k4", "body.{k}.gated.conv2"),
            ("SCPA_trunk.{k}.conv3", "body.{k}.join"),
            ("trunk_conv", "closing"),
            ("upconv{k+1}", "upsampler.{k}.conv1"),
            ("att{k+1}.conv", "upsampler.{k}.gate"),
            ("HRconv{k+1}", "upsampler.{k}.conv2"),
            ("conv_last", "to_rgb"),
        ),
        fixed={"split": False},
    ),
)
