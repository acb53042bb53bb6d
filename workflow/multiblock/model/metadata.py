"""The metadata of a weights file: the network, the input it takes, and where its weights come from.

It is one JSON text in the header of a safetensors file, and is read and checked here without PyTorch: nothing in it
is trusted, and nothing in it runs.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from safetensors import SafetensorError, safe_open

from multiblock import __version__
from multiblock.errors import UserError
from multiblock.files import digest_of, in_place_of
from multiblock.networks import registry
from multiblock.plan import Block

KEY = "chain"
"""The header's one entry: with several, safetensors writes them in a different order each time."""

BICUBIC = "MATLAB's bicubic"
"""The one way in which LR is enlarged before it enters a chain that keeps the size."""

VALIDATION_PSNR = "RGB, floats in [0, 1], no border cut, mean of the validation images, the span alone on its input"
"""The convention of the PSNR that training sees."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The provenance of weights. What is not known is None.

    Args:
        enlarge: how many times LR is enlarged by MATLAB's bicubic before it enters block 1; 1 is LR as it is, None
            whatever it is given, as no phase has trained it.
        stated: whether the file says so; files of older versions do not, and their user has to.
        data: name of the data set.
        scale: how many times HR of the data is as large as LR.
        degradation: how LR was made of HR; ``files`` where it was given.
        plan: the spans of all phases up to the one that left the weights, such as ``("1", "2", "1-2")``.
        phase: number of that phase.
        seed: seed of the run.
        iterations: iterations of that phase.
        psnr: PSNR in dB on the validation images, in the convention ``psnr_convention``.
        commit: version of the program's code.
        origin: whose weights they are, where they were imported.

    Raises:
        ValueError: a value is of the wrong kind, or out of bounds.
    """

    enlarge: int | None = None
    stated: bool = True
    data: str | None = None
    scale: int | None = None
    degradation: str | None = None
    plan: tuple[str, ...] = ()
    phase: int | None = None
    seed: int | None = None
    iterations: int | None = None
    psnr: float | None = None
    psnr_convention: str | None = None
    commit: str | None = None
    origin: str | None = None

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = getattr(self, name)
            kinds = get_args(kind) if isinstance(kind, UnionType) else (get_origin(kind) or kind,)
            if type(value) not in kinds:
                raise ValueError(f"{name}: found {value!r}; allowed is {kind}")
            least = {"seed": 0, "iterations": 0, "stated": 0}.get(name, 1)
            if isinstance(value, int) and value < least:
                raise ValueError(f"{name}: found {value}; allowed is at least {least}")
        if not all(isinstance(span, str) for span in self.plan):
            raise ValueError(f"plan: found {self.plan!r}; allowed are spans as text")
        if self.psnr is not None and not math.isfinite(self.psnr):
            raise ValueError(f"psnr: found {self.psnr}; allowed is a finite number of dB")
        if (self.psnr is None) != (self.psnr_convention is None):
            raise ValueError("psnr: a figure and its convention go together")


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The metadata of a weights file.

    Args:
        blocks: how each block was built; a block of a user's own is named by its file.
        clamped: for each block whether its output is cut to [0, 1].
        first: number of the first block in the chain.
        code: for each block the digest of the files of the network that it was trained with
            (:func:`multiblock.networks.registry.digest`); None in files of older versions.
        about: where the weights come from.
        version: version of the program.

    Raises:
        ValueError: the parts do not fit one another.
    """

    blocks: tuple[Block, ...]
    clamped: tuple[bool, ...]
    first: int = 1
    code: tuple[str | None, ...] = ()
    about: Provenance = Provenance()
    version: str = __version__

    def __post_init__(self) -> None:
        if not self.blocks or len(self.blocks) != len(self.clamped):
            raise ValueError(
                f"names {len(self.blocks)} blocks and {len(self.clamped)} clamps; allowed is as many, at least one"
            )
        if len(self.code) != len(self.blocks):
            raise ValueError(
                f"names {len(self.blocks)} blocks and {len(self.code)} digests of code; allowed is as many"
            )
        if self.first < 1:
            raise ValueError(f"begins with block {self.first}; blocks count from 1")

    @property
    def numbers(self) -> range:
        """The numbers of the blocks."""
        return range(self.first, self.first + len(self.blocks))

    def block(self, number: int) -> Block:
        """Block ``number`` of the chain."""
        return self.blocks[number - self.first]

    def part(self, number: int) -> "Metadata":
        """The metadata of a file of block ``number`` alone."""
        about = self.about if number == self.first else replace(self.about, enlarge=None)
        place = slice(number - self.first, number - self.first + 1)
        cut = {name: getattr(self, name)[place] for name in ("blocks", "clamped", "code")}
        return replace(self, **cut, first=number, about=about)

    def as_text(self) -> str:
        """The text that a file keeps, the same for the same metadata."""
        about = {name: value for name, value in asdict(self.about).items() if value not in (None, ())}
        enlarge, stated = about.pop("enlarge", None), about.pop("stated")
        taken = {None: {"form": "as given"}, 1: {"form": "LR", "enlarge": 1}}
        content = {
            "multiblock": self.version,
            "first": self.first,
            "blocks": [asdict(block) for block in self.blocks],
            "clamped": list(self.clamped),
            "code": list(self.code),
            "input": taken.get(enlarge, {"form": "LR enlarged", "enlarge": enlarge, "by": BICUBIC}) if stated else None,
            "about": about,
        }
        return json.dumps({key: value for key, value in content.items() if value is not None}, sort_keys=True)


def check_has(known: Metadata, number: int, file: Path) -> None:
    """Check that a file has block ``number``.

    Raises:
        UserError: it has not.
    """
    if number not in known.numbers:
        held = f"block {known.first}" if len(known.blocks) == 1 else f"blocks {known.first} to {known.numbers[-1]}"
        raise UserError(
            f"{file}: holds {held}, and no block {number}; which of them to start from can be named, as in "
            f"{file}#{known.first}"
        )


def check_fit(known: Metadata, number: int, ours: Block, file: Path) -> None:
    """Check that block ``number`` of a file is built as ``ours`` is, whose weights it is to give.

    Raises:
        UserError: the file has no such block, or it is another network, or has other options or other code.
    """
    check_has(known, number, file)
    theirs, code = known.block(number), known.code[number - known.first]
    if is_code(theirs.network) and is_code(ours.network) and Path(theirs.network).name == Path(ours.network).name:
        if code not in (None, registry.digest(ours.network)):
            raise UserError(f"{file}: was trained with another version of {theirs.network} than {ours.network}")
        theirs = replace(theirs, network=ours.network)
    wanted = described(ours)
    for option, value in (described(theirs) if theirs.network == ours.network else {"network": theirs.network}).items():
        if value != wanted.get(option):
            raise UserError(
                f"{file}: holds a block whose {option} is {value}; the phase's block has {wanted.get(option)}"
            )


def described(spec: Block) -> dict[str, Any]:
    """A block's network and all its options, those left at their defaults too; lists as tuples."""
    defaults = {name: default for name, (_, default) in registry.options(spec.network).items()}
    options = {**defaults, **spec.options}
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    return {"network": spec.network, **{name: v for name, v in plain.items() if not name.endswith("_weights")}}


def from_text(text: str, file: Path) -> Metadata:
    """The metadata that ``file`` keeps as ``text``; files of versions that kept less are read too.

    Raises:
        UserError: it is damaged, or names a network or an option that is not there.
    """
    try:
        content = json.loads(text)
        blocks = tuple(Block(network=one["network"], options=dict(one["options"])) for one in content["blocks"])
        for block in {repr(block): block for block in blocks}.values():
            if not is_code(block.network):
                registry.check_options(block.network, block.options, f"{file}: block")
        known = {field.name for field in fields(Provenance)} - {"enlarge", "stated"}
        about = {key: value for key, value in dict(content.get("about", {})).items() if key in known}
        return Metadata(
            blocks=blocks,
            clamped=tuple(bool(clamp) for clamp in content["clamped"]),
            first=int(content["first"]),
            code=tuple(None if code is None else str(code) for code in content.get("code", [None] * len(blocks))),
            about=Provenance(
                **{**about, "plan": tuple(about.get("plan", ()))},
                enlarge=_enlarge(content.get("input"), file),
                stated="input" in content,
            ),
            version=str(content.get("multiblock")),
        )
    except (KeyError, TypeError, AttributeError, RecursionError, ValueError) as error:
        reason = str(error) if isinstance(error, ValueError) else "a part of it is of another kind than it should be"
        reason = f"it lacks {error}" if isinstance(error, KeyError) else reason
        raise UserError(f"{file}: its description of its blocks is damaged: {reason}") from None


def is_code(network: str) -> bool:
    """Whether a network is a file of a user's own, which runs where it is built."""
    return network.endswith(".py")


def _enlarge(taken: Mapping[str, Any] | None, file: Path) -> int | None:
    """How many times LR is enlarged for the input that a file takes; None if it is given as it is."""
    if taken is None or dict(taken) == {"form": "as given"}:
        return None
    if dict(taken) == {"form": "LR", "enlarge": 1}:
        return 1
    if taken.get("form") != "LR enlarged" or taken.get("by") != BICUBIC:
        raise UserError(f"{file}: takes {dict(taken)}, which this version cannot make; it knows LR and {BICUBIC}")
    return int(taken["enlarge"])


def is_ours(file: Path) -> bool:
    """Whether a file is one of weights that this program has written, as far as its header tells."""
    with suppress(OSError, SafetensorError), safe_open(file, "np") as opened:
        return KEY in (opened.metadata() or {})
    return False


def read(file: Path) -> Metadata:
    """The metadata of a weights file; its weights are not read.

    Raises:
        UserError: the file cannot be read, is not a chain of this program, or its description is damaged.
    """
    try:
        with safe_open(file, "np") as opened:
            return from_text((opened.metadata() or {})[KEY], file)
    except KeyError:
        raise UserError(
            f"{file}: holds weights, but not of a chain; allowed are files that a phase or `multiblock import` has "
            "written"
        ) from None
    except (OSError, SafetensorError) as error:
        found = found_instead(file, str(error))
        hint = "; `multiblock import` turns weights of others into ours" if file.is_file() and not found else ""
        raise UserError(f"{file}: cannot be read as weights: {found or error}{hint}") from None


_CUT_SHORT = re.compile("central directory|EOF|Ran out of input|truncated|not fully covered|incomplete|Errno 22")
"""How the readers of PyTorch and safetensors say that a file is cut short."""


def found_instead(file: Path, reason: str) -> str | None:
    """What a file is that cannot be read as weights for that reason of a library; None where nothing better is known.

    Raises:
        OSError: it cannot be read.
    """
    if other := in_place_of(file) if file.is_file() else None:
        return f"it is {other}"
    return "a part of it is missing; download or copy it again" if _CUT_SHORT.search(reason) else None


def digest_of_result(file: Path) -> str:
    """A digest of a file's content; that of weights is without their provenance, so that equal weights are equal."""
    if file.suffix == ".safetensors":
        with suppress(UserError):  # weights of others
            return digest_of_weights(file)
    return digest_of(file)


def digest_of_weights(file: Path) -> str:
    """A digest of the network and its weights in a file; where they come from does not count.

    Raises:
        UserError: as :func:`read` does.
    """
    known = read(file)
    found = hashlib.blake2b(digest_size=16)
    with file.open("rb") as opened:
        header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        header["__metadata__"] = [known.first, known.clamped, *map(asdict, known.blocks)]
        found.update(json.dumps(header, sort_keys=True).encode())
        while piece := opened.read(2**20):
            found.update(piece)
    return found.hexdigest()
