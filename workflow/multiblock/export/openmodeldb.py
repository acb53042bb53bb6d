"""A record in the form of OpenModelDB, a file of JSON a model."""

import hashlib
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

from multiblock.export.facts import Facts
from multiblock.plan import Block

ARCHITECTURES = {"srresnet": "sr-res-net"}
"""Their identifiers of architectures, where they are not our names of families."""


def identifier(facts: Facts) -> str:
    """What their file is called, without its ending: the scale and the name, in letters, digits and hyphens."""
    return f"{facts.scale}x-{slug(facts.name) or 'model'}"


def slug(text: str) -> str:
    """Letters, digits and single hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def record(facts: Facts, file: Path, description: str, onnx: bool) -> dict[str, Any]:
    """All their fields that are known; what only the user can say is null or empty.

    Args:
        file: what was written.
        description: Markdown.
        onnx: whether the file is ONNX; else it is one that PyTorch reads.
    """
    about = facts.known.about
    kind = {".onnx": "onnx", ".safetensors": "safetensors"}.get(file.suffix, "pth")
    found: dict[str, Any] = {
        "name": facts.name,
        "author": [slug(author) for author in facts.authors] or None,
        "license": facts.licence,
        "tags": list(dict.fromkeys(["research", *facts.tags])),
        "description": description.strip(),
        "date": str(date.today()),
        "architecture": _architecture(facts.known.blocks),
        "size": _size(facts.known.blocks),
        "scale": facts.scale,
        "inputChannels": 3,
        "outputChannels": 3,
        "resources": [
            {
                "platform": "onnx" if onnx else "pytorch",
                "type": kind,
                "size": file.stat().st_size,
                "sha256": _sha256(file),
                "urls": [],
            }
        ],
        "trainingIterations": (about.iterations or None) if len(about.plan) == 1 else None,
        "trainingBatchSize": facts.batch,
        "trainingHRSize": facts.patch,
        "dataset": about.data,
        "images": [],
    }
    asked = {"author", "license", "size"}  # theirs, whether known or not
    return {key: value for key, value in found.items() if value is not None or key in asked}


def as_text(record: dict[str, Any]) -> str:
    """As they write it."""
    return json.dumps(record, indent=4, ensure_ascii=False) + "\n"


def _architecture(blocks: tuple[Block, ...]) -> str:
    """One network by its family; a chain of several is an architecture of its own."""
    if len(blocks) > 1:
        return "multiblock"
    return ARCHITECTURES.get(blocks[0].network, slug(Path(blocks[0].network).stem).lower())


def _size(blocks: tuple[Block, ...]) -> list[str] | None:
    """Feature channels, in their words."""
    channels = blocks[0].options.get("channels")
    return [f"{channels}nf"] if isinstance(channels, int) else None


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
