"""What there is to say of weights that go to other programs, and the model card in Markdown that says it.

An ONNX file carries the same as metadata. The card's front matter is as Hugging Face reads it.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from multiblock import __version__
from multiblock.errors import UserError, listed
from multiblock.model import metadata
from multiblock.model.finished import TEST_PSNR
from multiblock.model.metadata import Metadata
from multiblock.networks import library, zoo
from multiblock.networks.family import STUDIES
from multiblock.plan import Block

NOT_STATED = "not stated"
"""What only the user can decide, and has not."""

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


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a file that is written for other programs.

    Args:
        name: what it is called, as its file is.
        known: what the weights say of themselves.
        enlarge: how many times LR is enlarged inside.
        parameters: how many numbers are learnt.
        psnr_input: PSNR in dB without a network, on the images and by the convention of ``known.about.psnr``.
        licence: SPDX identifier, if the user has stated one.
        authors: who made the weights, as the user has stated.
        tags: what the user says it is for.

    Raises:
        UserError: the licence does not have the form of an SPDX identifier.
    """

    name: str
    known: Metadata
    enlarge: int
    parameters: int
    psnr_input: float | None = None
    licence: str | None = None
    authors: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.licence is not None and not re.fullmatch(r"[A-Za-z0-9.-]+( OR [A-Za-z0-9.-]+)*", self.licence):
            raise UserError(
                f"--licence: found '{self.licence}'; allowed is an SPDX identifier such as MIT, Apache-2.0, CC-BY-4.0, "
                "or LicenseRef-NAME for terms of your own"
            )

    @property
    def scale(self) -> int:
        """The factor by which a picture is enlarged in all."""
        return self.enlarge * math.prod(block.scale for block in self.known.blocks)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks by name, each once, in order; a file of a user's own by its name."""
        return tuple(dict.fromkeys(called(block) for block in self.known.blocks))

    @property
    def what(self) -> str:
        """A description in a few words."""
        blocks = listed(called(block) for block in self.known.blocks)
        count = len(self.known.blocks)
        size = f"x{self.scale}" if self.scale > 1 else "at the same size"
        return f"super-resolution {size} by {blocks if count == 1 else f'a chain of {count} blocks ({blocks})'}"

    @property
    def title(self) -> str:
        """The name with the description."""
        return f"{self.name}: {self.what}"

    def lines(self) -> dict[str, str]:
        """All facts by name, as text. What is not known is left out; what the user has not stated is "not stated"."""
        about = self.known.about
        inside = f"; enlarges them x{self.enlarge} by {metadata.BICUBIC} in 8 bits first" if self.enlarge > 1 else ""
        taken = f"LR as it is{inside}" if about.enlarge or self.scale > 1 else "pictures of the size of the result"
        facts = {
            "name": self.name,
            "scale": self.scale,
            "input": f"pictures N x 3 x H x W, RGB, float32 from 0 to 1; {taken}",
            "output": f"N x 3 x {self.scale}H x {self.scale}W, RGB, float32, cut to 0 to 1",
            "blocks": "; ".join(_in_words(block) for block in self.known.blocks),
            "cut_after_block": listed(k for k, cut in zip(self.known.numbers, self.known.clamped, strict=True) if cut),
            "parameters": f"{self.parameters:,}",
            "data": about.data,
            "degradation": about.degradation,
            "plan": listed(f"[{span}]" for span in about.plan),
            "phase": about.phase,
            "iterations_of_phase": about.iterations,
            "seed": about.seed,
            "psnr": None if about.psnr is None else f"{about.psnr:.3f} dB",
            "psnr_without_network": None if self.psnr_input is None else f"{self.psnr_input:.3f} dB",
            "psnr_convention": about.psnr_convention,
            "license": self.licence or NOT_STATED,
            "author": listed(self.authors) or NOT_STATED,
            "source": "; ".join(self.sources()),
            "origin": about.origin,
            "multiblock": self.known.version,
            "commit": about.commit,
            "exported_by": f"multiblock {__version__}",
        }
        return {key: str(value) for key, value in facts.items() if value not in (None, "")}

    def sources(self) -> tuple[str, ...]:
        """The publications of the networks, each once."""
        return tuple(dict.fromkeys(source for block in self.known.blocks for source in _sources(block)))


def entry_of(block: Block) -> str | None:
    """The name in the zoo of a block, at whatever scale; None where its options are another choice."""
    for name, entry in zoo.ENTRIES.items():
        if entry.family == block.network:
            theirs, ours = (_plain(one) for one in (Block(network=entry.family, options=dict(entry.options)), block))
            if theirs == ours:
                return name
    return None


def _plain(block: Block) -> dict[str, Any]:
    """All options of a block but the scale; lists as tuples."""
    described = metadata.described(block)
    return {name: tuple(v) if isinstance(v, list) else v for name, v in described.items() if name != "scale"}


def called(block: Block) -> str:
    """A block's name in the zoo; its family where it is another choice of options, its file where it is a user's."""
    return Path(block.network).name if metadata.is_code(block.network) else entry_of(block) or block.network


def _in_words(block: Block) -> str:
    options = listed(f"{name} {value}" for name, value in block.options.items())
    return called(block) + (f" ({options})" if options else "")


def _sources(block: Block) -> list[str]:
    """The publication of a block's network; of another choice of options, that of its family."""
    if metadata.is_code(block.network):
        return [f"code of the user's own ({Path(block.network).name})"]
    if library.is_one(block.network):
        return [f"the library spandrel ({block.network.removeprefix(library.PREFIX)})"]
    if name := entry_of(block):
        return [zoo.ENTRIES[name].source]
    first = next(entry for entry in zoo.ENTRIES.values() if entry.family == block.network)
    return [f"after {first.source}"]


def front_matter(facts: Facts, form: str) -> dict[str, Any]:
    """The fields that Hugging Face reads.

    Args:
        form: ``onnx``, ``ncnn`` or ``authors``, which PyTorch reads.
    """
    about = facts.known.about
    card: dict[str, Any] = licence(facts.licence)
    card["library_name"] = "pytorch" if form == "authors" else form
    card["pipeline_tag"] = "image-to-image"
    card["tags"] = list(dict.fromkeys(["super-resolution", "multiblock", *facts.networks, *facts.tags]))
    if about.data and about.data.isascii() and " " not in about.data:
        card["datasets"] = [about.data]
    if about.psnr is not None:
        figures = {"PSNR in dB": about.psnr, "PSNR in dB without a network": facts.psnr_input}
        measured = [
            {"type": "psnr", "value": round(value, 3), "name": f"{name}: {about.psnr_convention}"}
            for name, value in figures.items()
            if value is not None
        ]
        split = "test" if about.psnr_convention == TEST_PSNR else "validation"
        images = {"type": about.data or "images", "name": f"{about.data or 'images'}, {split} images"}
        result = {"task": {"type": "image-to-image"}, "dataset": images, "metrics": measured}
        card |= {"metrics": ["psnr"], "model-index": [{"name": facts.name, "results": [result]}]}
    return card


def licence(stated: str | None) -> dict[str, Any]:
    """The licence in the words of Hugging Face, from an SPDX identifier."""
    if stated is None:
        return {"license": "unknown"}
    word = stated.lower().removesuffix("-only").removesuffix("-or-later")
    return {"license": word} if word in HUGGING_FACE else {"license": "other", "license_name": stated.lower()}


def text(facts: Facts, body: str, form: str) -> str:
    """The card: front matter, name, and :func:`body`."""
    head = yaml.safe_dump(front_matter(facts, form), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{head}---\n\n# {facts.name}\n\n{body}"


def body(facts: Facts, file: str, use: str, notes: Mapping[str, str], form: str) -> str:
    """The card below its name, in Markdown.

    Args:
        file: name of the file that it is about.
        use: the section on how the file is used.
        notes: further rows of the table, by name.
        form: ``onnx`` or ``ncnn``; of ``authors``, their program decides what goes in and comes out.
    """
    elsewhere = {"name", "license"} | (set() if form != "authors" else {"input", "output", "cut_after_block"})
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
    """The section of a card on how an ONNX file is run, for pictures of at least ``least`` pixels a side."""
    return f"""## Use

Pictures of any height and width from {least} pixels, any number at once: N x 3 x H x W, RGB, float32 from 0 to 1.
The result is N x 3 x {facts.scale}H x {facts.scale}W and is in 0 to 1. chaiNNer takes the file as it is.
{_enlarged(facts)}
{_RUN.format(file=json.dumps(file, ensure_ascii=False))}"""


def _enlarged(facts: Facts) -> str:
    if facts.enlarge == 1:
        return ""
    return (
        "\nThe enlargement that the network was trained on is inside the file: give it the small picture. It is made "
        "in 8 bits, as the training images were.\n"
    )


def use_of_ncnn(name: str, facts: Facts) -> str:
    """The section of a card on how the files ``name``.param and ``name``.bin are run."""
    return f"""## Use

`{name}.param` and `{name}.bin` belong together. Upscayl takes both from its folder of custom models, and the programs
`*-ncnn-vulkan` by `-m FOLDER -n {name} -s {facts.scale}`; the input is called `data` (RGB from 0 to 1), the output
`output`. They compute in float16 where the graphics card can, which changes values by about a step of 8 bits, and cut
pictures into tiles, so that layers that see the whole image see a tile.
{_enlarged(facts)}"""


def use_of_authors(source: str, block: Block) -> str:
    """The section of a card on what weights of a block under the names of ``source`` are for."""
    name = entry_of(block)
    who = "programs that know that network load it"
    if library.is_one(block.network):
        who = "programs that use the library spandrel, such as chaiNNer, load it"
    elif name is None or zoo.ENTRIES[name].source in STUDIES:
        known = f"{name} of the {zoo.ENTRIES[name].source}" if name else f"{block.network} with options of its own"
        who = (
            f"code that builds the same network loads it. This one is {known}; programs that know the published "
            "networks alone do not load it"
        )
    return f"## Use\n\nA state dict with the parameter names of {source}: {who}."
