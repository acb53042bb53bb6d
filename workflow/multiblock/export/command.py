"""Weights for other programs: the file, its card and its record, none of which takes the place of anything."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from multiblock.errors import UserError
from multiblock.export import authors, card, facts, graph, onnx_file, openmodeldb
from multiblock.export.facts import Facts, gather
from multiblock.export.running import Exported
from multiblock.files import check_writable, write_text
from multiblock.model.chain import Chain


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What only the user can say of the weights: licence (SPDX), who made them, what they are for."""

    licence: str | None = None
    authors: Sequence[str] = ()
    tags: Sequence[str] = ()


def plan(file: Path, out: Path, form: str, overwrite: bool) -> tuple[Path, Path]:
    """Where card and record go, found before anything is done.

    Raises:
        UserError: the ending is not the form's, or something stands where a file would go.
    """
    allowed = (".onnx",) if form == "onnx" else authors.ENDINGS
    if out.suffix not in allowed:
        raise UserError(
            f"{out}: found '{out.suffix}'; allowed for --form {form} is a file that ends in {', '.join(allowed)}"
        )
    beside = out.with_suffix(".md"), out.with_suffix(".json")
    for target in (out, *beside):
        if target.exists() and target.samefile(file):
            raise UserError(f"{target}: are the weights that are exported, which are never replaced; name another file")
        if os.path.lexists(target) and not overwrite:
            raise UserError(f"{target}: exists already; name another file, or replace it with --overwrite")
    check_writable(out)
    return beside


def to_onnx(
    chain: Chain, file: Path, out: Path, enlarge: int, stated: Stated, say: Callable[[str], None]
) -> list[Path]:
    """Write ``chain`` as an ONNX file with its card and record.

    Args:
        file: where the chain is from.
        enlarge: how many times LR is enlarged before it enters, which then happens inside.
        say: is given a line for each step and result.

    Returns:
        The files.

    Raises:
        UserError: it cannot be written, or does not compute what PyTorch does.
    """
    known = _facts(chain, file, out, enlarge, stated)
    about = {**known.lines(), "chain": chain.metadata.as_text()}
    made = onnx_file.write(Exported(chain, enlarge), out, about, lambda line: say(f"{out}: {line}"), known.title)
    found = ", ".join(f"{most:.1e} at {height} x {width}" for (height, width), most in made.differences.items())
    inside = f", with the enlargement x{enlarge} inside" if enlarge > 1 else ""
    say(
        f"{known.title}{inside}; differs from PyTorch by at most {found} (allowed: {onnx_file.ALLOWED:.0e}); "
        f"opset {made.opset}, {made.size / 1e6:.2f} MB, {made.seconds:.1f} s"
    )
    notes = {
        "tried with": f"onnxruntime {made.runtime}; differs from PyTorch by at most {found} pixels (height x width)",
        "file": f"ONNX opset {made.opset}, {made.size / 1e6:.2f} MB",
    }
    return [out, *_beside(known, out, card.use_of_onnx(out.name, known, graph.LEAST), notes, True, say)]


def to_authors(
    chain: Chain, file: Path, out: Path, block: int | None, stated: Stated, say: Callable[[str], None]
) -> list[Path]:
    """Write a block of ``chain`` under its authors' names, with its card and record; see :func:`to_onnx`."""
    one = authors.only_block(chain, block, file)
    if len(chain.specs) > 1:  # which is what was measured
        one.about = replace(one.about, psnr=None, psnr_convention=None)
    made = authors.to_authors(one, file)
    authors.write(made, out)
    known = _facts(one, file, out, 1, stated)
    say(
        f"{out}: block {one.first}, {facts.called(one.specs[0])} x{one.scale}, {len(made.tensors)} tensors with the "
        f"names of {made.form.source}; read again, they are the same to the last bit"
    )
    notes = {"file": f"{len(made.tensors)} tensors"}
    if made.filled:
        notes["never used"] = (
            f"{len(made.filled)} tensors that the authors' network holds and never runs; they are zero here"
        )
        say(f"{out}: {notes['never used']}")
    return [out, *_beside(known, out, card.use_of_authors(made.form.source), notes, False, say)]


def _facts(chain: Chain, file: Path, out: Path, enlarge: int, stated: Stated) -> Facts:
    return gather(
        file,
        chain.metadata,
        out.stem,
        enlarge=enlarge,
        parameters=chain.parameters_count,
        licence=stated.licence,
        authors=stated.authors,
        tags=stated.tags,
    )


def _beside(
    known: Facts, out: Path, use: str, notes: dict[str, str], onnx: bool, say: Callable[[str], None]
) -> list[Path]:
    """Write card and record."""
    of_card, of_record = out.with_suffix(".md"), out.with_suffix(".json")
    body = card.body(known, out.name, use, notes, onnx)
    write_text(of_card, card.text(known, body, onnx))
    write_text(of_record, openmodeldb.as_text(openmodeldb.record(known, out, body, onnx)))
    missing = [name for name, value in (("--licence", known.licence), ("--author", known.authors)) if not value]
    left = f"; not stated: {' and '.join(missing)}" if missing else ""
    say(
        f"{of_card}: model card for Hugging Face; {of_record}: record for OpenModelDB (there it is called "
        f"{openmodeldb.identifier(known)}.json), which wants a URL too{left}"
    )
    return [of_card, of_record]
