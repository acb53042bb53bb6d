"""A model card in Markdown, with the front matter that Hugging Face reads."""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import yaml

from multiblock.export.facts import NOT_STATED, Facts

HUGGING_FACE = {
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "mpl-2.0", "unlicense", "wtfpl"),
    *("gpl-2.0", "gpl-3.0", "agpl-3.0", "lgpl-2.1", "lgpl-3.0"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
}
"""Licences by the names that Hugging Face has for them, those that SPDX knows too."""

_RUN = """```python
import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession({file})
print(session.get_modelmeta().custom_metadata_map)
picture = np.asarray(Image.open("photo.png").convert("RGB"))
batch = picture.astype(np.float32).transpose(2, 0, 1)[None] / 255
result = session.run(None, {{"input": batch}})[0][0]
Image.fromarray(np.rint(255 * result.transpose(1, 2, 0)).astype(np.uint8)).save("result.png")
```"""


def front_matter(facts: Facts, onnx: bool) -> dict[str, Any]:
    """The fields that Hugging Face reads.

    Args:
        onnx: whether the file is ONNX; else it is one that PyTorch reads.
    """
    about = facts.known.about
    card: dict[str, Any] = licence(facts.licence)
    card["library_name"] = "onnx" if onnx else "pytorch"
    card["pipeline_tag"] = "image-to-image"
    card["tags"] = list(dict.fromkeys(["super-resolution", "multiblock", *facts.networks, *facts.tags]))
    if about.data and about.data.isascii() and " " not in about.data:
        card["datasets"] = [about.data]
    if about.psnr is not None:
        measured = {"type": "psnr", "value": round(about.psnr, 3), "name": f"PSNR in dB: {about.psnr_convention}"}
        images = {"type": about.data or "images", "name": f"{about.data or 'images'}, validation images"}
        result = {"task": {"type": "image-to-image"}, "dataset": images, "metrics": [measured]}
        card |= {"metrics": ["psnr"], "model-index": [{"name": facts.name, "results": [result]}]}
    return card


def licence(stated: str | None) -> dict[str, Any]:
    """The licence in the words of Hugging Face, from an SPDX identifier."""
    if stated is None:
        return {"license": "unknown"}
    word = stated.lower().removesuffix("-only").removesuffix("-or-later")
    return {"license": word} if word in HUGGING_FACE else {"license": "other", "license_name": stated.lower()}


def text(facts: Facts, body: str, onnx: bool) -> str:
    """The card: front matter, name, and what :func:`body` says."""
    head = yaml.safe_dump(front_matter(facts, onnx), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{head}---\n\n# {facts.name}\n\n{body}"


def body(facts: Facts, file: str, use: str, notes: Mapping[str, str], onnx: bool) -> str:
    """What there is to read, in Markdown.

    Args:
        file: name of the file that it is about.
        use: how the file is used.
        notes: what was found when it was written, by name.
        onnx: whether the file is ONNX; else what goes in and comes out is the authors' program's affair.
    """
    elsewhere = {"name", "license"} | (set() if onnx else {"input", "output", "cut_after_block"})
    rows = {key: value for key, value in {**facts.lines(), **notes}.items() if key not in elsewhere}
    table = "\n".join(f"| {key.replace('_', ' ')} | {_cell(value)} |" for key, value in rows.items())
    sources = [*facts.sources(), *([f"weights: {origin}"] if (origin := facts.known.about.origin) else [])]
    sources.append("trained or exported with multiblock: super-resolution networks trained in phases")
    parts = [
        f"{facts.what[0].upper()}{facts.what[1:]}; the file is `{file}`.",
        use,
        f"## What it is\n\n| | |\n|---|---|\n{table}",
        *(["Only figures of the same convention can be compared."] if facts.known.about.psnr else []),
        f"## Licence\n\n{_of_licence(facts)}",
        "## Sources\n\n" + "\n".join(f"- {source}" for source in sources),
        f"Written on {date.today()}.",
    ]
    return "\n\n".join(parts) + "\n"


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")


def _of_licence(facts: Facts) -> str:
    if facts.licence:
        return facts.licence
    whose = " The weights come from others, whose terms hold." if facts.known.about.origin else ""
    return f"{NOT_STATED.capitalize()}.{whose} Whoever hands the file on has to state one (`--licence`)."


def use_of_onnx(file: str, facts: Facts, least: int) -> str:
    """How an ONNX file is run."""
    enlarged = (
        "\nThe enlargement that the network was trained on is inside the file: give it the small picture. It is made "
        "in 8 bits, as the training images were.\n"
        if facts.enlarge > 1
        else ""
    )
    return f"""## Use

Pictures of any height and width from {least} pixels, any number at once: N x 3 x H x W, RGB, float32 from 0 to 1.
The result is N x 3 x {facts.scale}H x {facts.scale}W and lies in 0 to 1. chaiNNer takes the file as it is.
{enlarged}
{_RUN.format(file=json.dumps(file, ensure_ascii=False))}"""


def use_of_authors(source: str) -> str:
    """What weights under the authors' names are for."""
    return f"## Use\n\nA state dict with the parameter names of {source}: programs that know that network load it."
