"""Write weights for other programs: the file and its card, neither of which replaces anything unasked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from multiblock.errors import UserError
from multiblock.export import authors, card, exported, ncnn_file, onnx_file
from multiblock.export.card import Facts
from multiblock.export.exported import Exported
from multiblock.files import check_writable, write_text
from multiblock.model.chain import Chain
from multiblock.model.finished import About


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What only the user knows of the weights: licence (SPDX), who made them, what they are for."""

    licence: str | None = None
    authors: Sequence[str] = ()
    tags: Sequence[str] = ()


def check_out(file: Path, out: Path, form: str, overwrite: bool) -> None:
    """Check, before anything is done, that the file and its card can be written.

    Args:
        file: the weights that are exported.
        out: the file to write.
        form: ``onnx``, ``ncnn`` or ``authors``.
        overwrite: whether files that are there may be replaced.

    Raises:
        UserError: the ending is not the form's, or a file is there already.
    """
    allowed = {"onnx": (".onnx",), "ncnn": (".param",), "authors": authors.ENDINGS}[form]
    if out.suffix not in allowed:
        raise UserError(
            f"{out}: found '{out.suffix}'; allowed for --form {form} is a file that ends in {', '.join(allowed)}"
        )
    for target in (out, *([out.with_suffix(".bin")] if form == "ncnn" else []), out.with_suffix(".md")):
        check_not_the_weights(file, target)
        check_writable(target, overwrite)


def check_not_the_weights(file: Path, out: Path) -> None:
    """See that no file would take the place of the weights that it is made of.

    Raises:
        UserError: it would.
    """
    if out.exists() and file.exists() and out.samefile(file):
        raise UserError(f"{out}: are the weights that are read, which are never replaced; name another file")


def to_onnx(chain: Chain, about: About, out: Path, enlarge: int, stated: Stated, say: Callable[[str], None]) -> None:
    """Write ``chain`` as an ONNX file with its card.

    Args:
        about: what is known of the file that the chain is from.
        out: the file to write.
        enlarge: how many times LR is enlarged before it enters the chain, which the file then does itself.
        stated: what the user states.
        say: is called with a line for each step and result.

    Raises:
        UserError: it cannot be written, or does not compute what PyTorch does.
    """
    known = _facts(chain, about, out, enlarge, stated)
    kept = {**known.lines(), "chain": chain.metadata.as_text()}
    made = onnx_file.write(Exported(chain, enlarge), out, kept, lambda line: say(f"{out}: {line}"), known.title)
    found, inside = _compared(made.differences, enlarge)
    say(f"{known.title}{inside}; {found}; {made.form}, {made.size / 1e6:.2f} MB, {made.seconds:.1f} s")
    notes = {
        "tried with": f"onnxruntime {made.runtime}; {found}",
        "file": f"{made.form}, {made.size / 1e6:.2f} MB",
    }
    _write_card(known, out, card.use_of_onnx(out.name, known, exported.LEAST), notes, "onnx", say)


def to_ncnn(chain: Chain, about: About, out: Path, enlarge: int, stated: Stated, say: Callable[[str], None]) -> None:
    """Write ``chain`` as files of ncnn with their card; see :func:`to_onnx`."""
    known = _facts(chain, about, out, enlarge, stated)
    made = ncnn_file.write(Exported(chain, enlarge), out, lambda line: say(f"{out}: {line}"), known.title)
    found, inside = _compared(made.differences, enlarge)
    say(f"{known.title}{inside}; {found}; {made.size / 1e6:.2f} MB with {out.stem}.bin, {made.seconds:.1f} s")
    notes = {"tried with": f"ncnn {made.runtime}, in float32; {found}", "files": f"{made.size / 1e6:.2f} MB"}
    _write_card(known, out, card.use_of_ncnn(out.stem, known), notes, "ncnn", say)


def _compared(differences: Mapping[tuple[int, int], float], enlarge: int) -> tuple[str, str]:
    """What the comparison with PyTorch found, and what is inside the file beside the network."""
    found = ", ".join(f"{most:.1e} at {height} x {width}" for (height, width), most in differences.items())
    inside = f", with the enlargement x{enlarge} inside" if enlarge > 1 else ""
    return f"differs from PyTorch by at most {found} pixels (allowed: {exported.ALLOWED:.0e})", inside


def to_authors(
    chain: Chain, about: About, out: Path, block: int | None, stated: Stated, say: Callable[[str], None]
) -> None:
    """Write a block of ``chain``, which is of ``about``, under its authors' names with its card; see :func:`to_onnx`.

    Raises:
        UserError: the block cannot be written so; the message says why.
    """
    one = authors.only_block(chain, block, about.file)
    if len(chain.specs) > 1:  # which is what was measured
        about = replace(about, psnr=None, psnr_input=None, psnr_convention=None)
    known, made = _facts(one, about, out, 1, stated), authors.to_authors(one, about.file)
    authors.write(made, out)
    say(
        f"{out}: block {one.first}, {card.called(one.specs[0])} x{one.scale}, {len(made.tensors)} tensors with the "
        f"names of {made.form.source}; read again, they are the same to the last bit"
    )
    notes = {"file": f"{len(made.tensors)} tensors"}
    if made.filled:
        notes["never used"] = (
            f"{len(made.filled)} tensors that the authors' network holds and never runs; they are zero here"
        )
        say(f"{out}: {notes['never used']}")
    _write_card(known, out, card.use_of_authors(made.form.source, one.specs[0]), notes, "authors", say)


def _facts(chain: Chain, about: About, out: Path, enlarge: int, stated: Stated) -> Facts:
    measured = replace(chain.about, psnr=about.psnr, psnr_convention=about.psnr_convention)
    return Facts(
        name=out.stem,
        known=replace(chain.metadata, about=measured),
        psnr_input=about.psnr_input,
        enlarge=enlarge,
        parameters=chain.parameters_count,
        licence=stated.licence,
        authors=tuple(stated.authors),
        tags=tuple(stated.tags),
    )


def _write_card(
    known: Facts, out: Path, use: str, notes: dict[str, str], form: str, say: Callable[[str], None]
) -> None:
    file = out.with_suffix(".md")
    write_text(file, card.text(known, card.body(known, out.name, use, notes, form), form))
    missing = [name for name, value in (("--licence", known.licence), ("--author", known.authors)) if not value]
    left = f"; not stated: {' and '.join(missing)}" if missing else ""
    say(f"{file}: model card for Hugging Face{left}")
