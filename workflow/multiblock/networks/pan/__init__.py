"""PAN: its entries in the zoo, and how its weights are published."""

from multiblock.networks.entry import STUDY_003, Entry
from multiblock.networks.forms import Form

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
            (r"conv_first", "head"),
            (r"SCPA_trunk\.(\d+)\.conv1_a", r"body.\1.project_plain"),
            (r"SCPA_trunk\.(\d+)\.conv1_b", r"body.\1.project_gated"),
            (r"SCPA_trunk\.(\d+)\.k1\.0", r"body.\1.plain"),
            (r"SCPA_trunk\.(\d+)\.PAConv\.k2", r"body.\1.gated.gate"),
            (r"SCPA_trunk\.(\d+)\.PAConv\.k3", r"body.\1.gated.conv1"),
            (r"SCPA_trunk\.(\d+)\.PAConv\.k4", r"body.\1.gated.conv2"),
            (r"SCPA_trunk\.(\d+)\.conv3", r"body.\1.join"),
            (r"trunk_conv", "closing"),
            (r"upconv(\d)", "upsampler.{1}.conv1"),
            (r"att(\d)\.conv", "upsampler.{1}.gate"),
            (r"HRconv(\d)", "upsampler.{1}.conv2"),
            (r"conv_last", "to_rgb"),
        ),
    ),
)
