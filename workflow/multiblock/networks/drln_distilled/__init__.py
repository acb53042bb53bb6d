"""The lightweight x3 study's final network: its entry in the zoo, and how its weights are published."""

from multiblock.networks.entry import STUDY_004, Entry
from multiblock.networks.forms import LAPLACIAN, MEAN, Form

ENTRIES = (
    Entry(
        name="drln_distilled",
        family="drln_distilled",
        what="the study's final network, 36 channels, 8 modules",
        source=STUDY_004,
    ),
)

FORMS: tuple[Form, ...] = (
    Form(
        source="yating52997/SuperResolution",
        rules=(
            *MEAN,
            (r"head", "head"),
            (r"b(\d+)\.r([012])\.body\.(\d)", r"body.{1}.distil.\2.0.\3"),
            (r"b(\d+)\.r3\.body\.(\d)", r"body.{1}.last.0.\2"),
            (r"b(\d+)\.g1\.body\.(\d)", r"body.{1}.join.0.\2"),
            *LAPLACIAN,
            (r"c2\.body\.(\d)", r"first.0.\1"),
            (r"c(\d+)\.body\.(\d)", lambda m: f"fusions.{int(m[1]) - 3}.0.{m[2]}"),
            (r"upsample\.up\.body\.0", "upsampler.0"),
            (r"tail", "to_rgb"),
        ),
        unused=r"(?:c1|b\d+\.g)\.body\..*",
    ),
)
