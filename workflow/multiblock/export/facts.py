"""What there is to say of weights that go to other programs; the same in an ONNX file, a model card and a database."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiblock import __version__
from multiblock.errors import UserError, listed
from multiblock.files import read_json
from multiblock.model import metadata
from multiblock.model.metadata import Metadata
from multiblock.networks import zoo
from multiblock.plan import Block

NOT_STATED = "not stated"
"""What only the user can decide, and has not."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All that is known of a file that is written for other programs.

    Args:
        name: what it is called, as its file is.
        known: what the weights say of themselves.
        enlarge: how many times LR is enlarged inside.
        parameters: how many numbers are learnt.
        licence: SPDX identifier, if the user has stated one.
        authors: who made the weights, as the user has stated.
        tags: what the user says it is for.
        patch: side in pixels of the last stage's output patches, and batch: how many of them; where known.
    """

    name: str
    known: Metadata
    enlarge: int
    parameters: int
    licence: str | None = None
    authors: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    patch: int | None = None
    batch: int | None = None

    @property
    def scale(self) -> int:
        """How many times a picture is enlarged in all."""
        return self.enlarge * _scale(self.known)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks by name, each once, in order; a file of a user's own by its name."""
        return tuple(dict.fromkeys(called(block) for block in self.known.blocks))

    @property
    def what(self) -> str:
        """What it is, in a few words."""
        blocks = listed(called(block) for block in self.known.blocks)
        count = len(self.known.blocks)
        size = f"x{self.scale}" if self.scale > 1 else "at the same size"
        return f"super-resolution {size} by {blocks if count == 1 else f'a chain of {count} blocks ({blocks})'}"

    @property
    def title(self) -> str:
        """The same with its name."""
        return f"{self.name}: {self.what}"

    def lines(self) -> dict[str, str]:
        """Everything by name, as text; what is not known is left out, what the user has not stated is not."""
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
        """Where the networks were published, each once."""
        return tuple(dict.fromkeys(source for block in self.known.blocks for source in _sources(block)))


def gather(
    file: Path,
    known: Metadata,
    name: str,
    *,
    enlarge: int,
    parameters: int,
    licence: str | None,
    authors: Sequence[str],
    tags: Sequence[str],
) -> Facts:
    """The facts of weights in ``file``, with what the training beside it has recorded.

    Raises:
        UserError: the licence is none by its form.
    """
    if licence is not None and not re.fullmatch(r"[A-Za-z0-9.-]+( OR [A-Za-z0-9.-]+)*", licence):
        raise UserError(
            f"--licence: found '{licence}'; allowed is an SPDX identifier such as MIT, Apache-2.0, CC-BY-4.0, or "
            "LicenseRef-NAME for terms of your own"
        )
    last = _last_stage(file.with_name("training.json"), known.about.phase)
    return Facts(
        name=name,
        known=known,
        enlarge=enlarge,
        parameters=parameters,
        licence=licence,
        authors=tuple(authors),
        tags=tuple(tags),
        patch=last["patch"] * _scale(known) if "patch" in last else None,
        batch=last.get("batch"),
    )


def _scale(known: Metadata) -> int:
    """How many times the blocks enlarge."""
    return math.prod(block.scale for block in known.blocks)


def _last_stage(record: Path, phase: int | None) -> dict[str, int]:
    """The whole numbers of the last stage that was trained, where the record is that of this phase."""
    recorded = read_json(record)
    stages = recorded.get("stages")
    if phase is None or recorded.get("phase") != phase or not isinstance(stages, list) or not stages:
        return {}
    last = stages[-1] if isinstance(stages[-1], dict) else {}
    return {key: value for key, value in last.items() if type(value) is int}


def entry_of(block: Block) -> str | None:
    """The name in the zoo of a block, at whatever scale; None where its options are another choice."""
    for name, entry in zoo.ENTRIES.items():
        if entry.family == block.network:
            theirs, ours = (_plain(one) for one in (Block(network=entry.family, options=dict(entry.options)), block))
            if theirs == ours:
                return name
    return None


def _plain(block: Block) -> dict[str, Any]:
    """All options but the scale; lists as tuples."""
    described = metadata.described(block)
    return {name: tuple(v) if isinstance(v, list) else v for name, v in described.items() if name != "scale"}


def called(block: Block) -> str:
    """A block's name in the zoo; its family where it is another choice of options, its file where it is a user's."""
    return Path(block.network).name if metadata.is_code(block.network) else entry_of(block) or block.network


def _in_words(block: Block) -> str:
    options = listed(f"{name} {value}" for name, value in block.options.items())
    return called(block) + (f" ({options})" if options else "")


def _sources(block: Block) -> list[str]:
    """Where a block's network was published; of another choice of options, where its family was."""
    if metadata.is_code(block.network):
        return [f"code of the user's own ({Path(block.network).name})"]
    if name := entry_of(block):
        return [zoo.ENTRIES[name].source]
    first = next(entry for entry in zoo.ENTRIES.values() if entry.family == block.network)
    return [f"after {first.source}"]
