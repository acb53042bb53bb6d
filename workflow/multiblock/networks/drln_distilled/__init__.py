"""The lightweight x3 study's final network: its entry in the zoo, and how its weights are published."""

from collections.abc import Mapping
from typing import Any

from multiblock.networks.family import LAPLACIAN, MEAN, SHIFTER, STUDY_004, Entry, Form

ENTRIES = (
    Entry(
        name="drln_distilled",
        family="drln_distilled",
        what="the study's final network, 36 channels, 8 modules",
        source=STUDY_004,
    ),
)


def _never_used(options: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Depthwise-separable layers of which the authors' network holds weights, and which it never runs."""
    channels, modules = options["channels"], 2 + 2 * options["groups"]
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, inputs, kernel in [("c1", channels, 3)] + [(f"b{k}.g", 8 * channels, 1) for k in range(1, modules + 1)]:
        shapes[f"{layer}.body.0.weight"] = (inputs, 1, kernel, kernel)
        shapes[f"{layer}.body.0.bias"] = (inputs,)
        shapes[f"{layer}.body.1.weight"] = (channels, inputs, 1, 1)
        shapes[f"{layer}.body.1.bias"] = (channels,)
    return shapes


FORMS: tuple[Form, ...] = (
    Form(
        source="yating52997/SuperResolution",
        rules=(
            *SHIFTER,
            ("head", "head"),
            *((f"b{{k+1}}.r{step}.body.{{j}}", f"body.{{k}}.distil.{step}.0.{{j}}") for step in range(3)),
            ("b{k+1}.r3.body.{j}", "body.{k}.last.0.{j}"),
            ("b{k+1}.g1.body.{j}", "body.{k}.join.0.{j}"),
            *LAPLACIAN,
            ("c2.body.{j}", "first.0.{j}"),
            ("c{k+3}.body.{j}", "fusions.{k}.0.{j}"),
            ("upsample.up.body.0", "upsampler.0"),
            ("tail", "to_rgb"),
        ),
        also=MEAN,
        unused=r"(?:c1|b\d+\.g)\.body\..*",
        filled=_never_used,
    ),
)
