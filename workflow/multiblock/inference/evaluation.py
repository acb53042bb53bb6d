"""Measure networks on test images, beside what no network at all would give.

:func:`evaluate` measures a phase, :func:`take_apart` each block of a network, both on sets of the workflow;
:func:`score` measures a network on image files. Each writes, or gives, a table with a row an image.
"""

import csv
import io
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from multiblock.data import images
from multiblock.data.dataset import ImagePair
from multiblock.data.imageset import ImageSet, as_float, to_bytes
from multiblock.data.resize import enlarge, shrink
from multiblock.errors import UserError, listed, one_line
from multiblock.files import check_writable, write_text
from multiblock.inference import conventions, tiles
from multiblock.inference.measures import MEASURES, measures_in
from multiblock.inference.metrics import HOW, METRICS, VALUES, columns, means, measure
from multiblock.inference.tiles import Tiling
from multiblock.model import chain as chains
from multiblock.model.chain import Chain

log = logging.getLogger(__name__)

COLUMNS = ("phase", "image", *VALUES, "tiles")
"""Columns of :func:`evaluate`. ``tiles`` counts those in which the composed picture was made; 1 is the whole image.
Measures that are asked for follow, as they do in the other tables."""

BLOCK_COLUMNS = ("when", "block", "image", "clamped", "picture", *METRICS)
"""Columns of :func:`take_apart`. ``when`` is ``input`` for the input itself, which is block 0, else ``before`` or
``after``. ``picture`` is the path of the output in the folder of pictures, if it was kept."""

SCORE_COLUMNS = ("image", "what", *METRICS)
"""Columns of :func:`score`."""

Figures = Mapping[str, float]
Row = dict[str, Any]
Measured = Callable[..., dict[str, float]]
"""Takes an image, its reference and ``what``, which names the image in errors; gives all figures."""


# -- Sets of the workflow ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Output:
    """What a network, or a part of it, makes of an image.

    Args:
        cells: which output it is, for the table.
        what: names it in errors.
        pixels: (H, W, 3), floats.
        picture: its path in the folder of pictures; it is not kept if that is empty.
    """

    cells: Row
    what: str
    pixels: np.ndarray
    picture: str = ""


Outputs = Callable[[int, str, np.ndarray], Iterator[_Output]]
"""Takes the number and the name of a test image, and its pixels."""


def _measure_all(
    outputs: Outputs, lr: ImageSet, hr: ImageSet, measured: Measured, pictures: Path
) -> Iterator[tuple[str, _Output | None, Figures]]:
    """The name of each test image, with the figures of its input (None), then of each output."""
    for number, name in enumerate(hr.names):
        reference = as_float(hr[number])
        yield name, None, measured(no_network(lr[number], len(reference)), reference, what=f"LR of {name}")
        for output in outputs(number, name, lr[number]):
            figures = measured(output.pixels, reference, what=output.what)
            if output.picture:
                images.write(pictures / output.picture, to_bytes(output.pixels))
            yield name, output, figures
        progress = {"done": number + 1, "of": len(hr), "note": "test images"}
        log.debug("%s", name, extra={"progress": progress})


def evaluate(
    *,
    phase: int,
    first: int,
    last: int,
    weights: Path,
    lr: Path,
    cached: Path,
    hr: Path,
    border: int,
    device: torch.device,
    memory_gib: float,
    table: Path,
    pictures: Path,
    only: Collection[str] | None = None,
    trusted: Iterable[Path] = (),
    measures: Sequence[str] = (),
) -> None:
    """Write one row an image: first the input itself, phase ``input``, then what phase ``phase`` makes of it.

    *Composed* is the network as it is after the phase, with all blocks that its file holds, on LR, as a user runs it,
    without rounding in between; *staged* is the span ``first..last`` alone on the cached set that it was trained on.

    Args:
        weights: the phase's weights file.
        lr: test set of LR_0.
        cached: test set that the span reads, LR_{first-1}.
        hr: test set of HR.
        border: pixels cut at each side for PSNR-Y, SSIM-Y and measures.
        table: CSV to write; PSNR is ``inf`` for an image that equals HR.
        pictures: folder to write the composed results into, as PNG.
        only: names of the images of the sets to measure on; all if it is None.
        trusted: Python files of blocks whose code may run.
        measures: names of measures of perceived quality to take beside PSNR and SSIM.

    Raises:
        UserError: the network makes pixels that are not finite, or an image is too small to measure.
    """
    network = chains.load(weights, trusted).to(device)
    span = network.part(first, last)
    staged_inputs = ImageSet(cached if first > 1 else lr, only)
    tilings: dict[str, Tiling] = {}

    def outputs(number: int, name: str, image: np.ndarray) -> Iterator[_Output]:
        what = f"{name}, as {weights} makes it"
        result, tilings[name] = tiles.infer(network, image, device, memory_gib)
        yield _Output(cells={"how": "composed"}, what=what, pixels=result, picture=f"{name}.png")
        if len(span.specs) < len(network.specs):
            result = tiles.run(span, staged_inputs[number], device, memory_gib)
            yield _Output(cells={"how": "staged"}, what=f"{what} of its cached image", pixels=result)

    pictures.mkdir(parents=True, exist_ok=True)
    figures: dict[str, dict[str, Figures]] = {"input": {}, "composed": {}, "staged": {}}
    measured = partial(measure, border=border, measures=measures)
    for image, output, found in _measure_all(outputs, ImageSet(lr, only), ImageSet(hr, only), measured, pictures):
        figures[output.cells["how"] if output else "input"][image] = found
    composed, staged = figures["composed"], figures["composed"] | figures["staged"]
    rows = [_row("input", image, (found, found), 1) for image, found in figures["input"].items()]
    rows += [_row(str(phase), image, (composed[image], staged[image]), tilings[image].tiles) for image in composed]
    write_text(table, _as_csv((*COLUMNS, *columns(measures)), rows))
    if line := tiles.summary(tilings):
        log.info("phase %d: %s", phase, line)
    _log_gain(phase, figures["input"], composed)


def _row(phase: str, image: str, figures: Sequence[Figures], count: int) -> Row:
    values = {f"{metric}_{how}": value for how, one in zip(HOW, figures, strict=True) for metric, value in one.items()}
    return {"phase": phase, "image": image, "tiles": count, **_rounded(values)}


def _log_gain(phase: int, before: Mapping[str, Figures], composed: Mapping[str, Figures]) -> None:
    """Log the gain of the phase's network, over the images on which both have a finite PSNR."""
    both = [{name: figures["psnr_rgb"] for name, figures in one.items()} for one in (before, composed)]
    (plain, psnr), left_out = means(both)
    if not np.isfinite([plain, psnr]).all():
        log.warning("phase %d: no gain can be given: each test image equals HR before the network or after it", phase)
        return
    count = len(composed) - len(left_out)
    log.info("phase %d: %+.3f dB RGB over the input, mean of %d test images", phase, psnr - plain, count)
    if left_out:
        log.warning("left out of the mean, as input or result equals HR (PSNR infinite): %s", listed(left_out))
    if psnr < plain:
        log.info("phase %d: BELOW NO NETWORK: %.3f dB RGB, the input itself has %.3f dB", phase, psnr, plain)


def take_apart(
    *,
    networks: Mapping[str, Path],
    last: int,
    lr: Path,
    hr: Path,
    border: int,
    device: torch.device,
    memory_gib: float,
    table: Path,
    pictures: Path,
    count: int,
    only: Collection[str] | None = None,
    trusted: Iterable[Path] = (),
    measures: Sequence[str] = (),
) -> None:
    """Measure N_1, N_2(N_1), ... as they are in each network, on LR, without rounding in between.

    The output of a block that is not clamped goes on as it is, and so it is measured in PSNR RGB; what is measured on
    8 bits, and shown, is cut to [0, 1].

    Args:
        networks: ``before`` and ``after`` a phase, or ``after`` alone where nothing was trained before: the weights
            file, of which the blocks up to ``last`` count, those that it has.
        last: the last block that the phase trained.
        lr, hr: test sets of LR_0 and of HR.
        border: pixels cut at each side for PSNR-Y, SSIM-Y and measures.
        table: CSV to write, a row a network, block and image.
        pictures: folder to write outputs into, as PNG.
        count: of how many images, the first of the set, pictures are kept.
        only: names of the images of the sets to measure on; all if it is None.
        trusted: Python files of blocks whose code may run.
        measures: names of measures of perceived quality to take beside PSNR and SSIM.

    Raises:
        UserError: a block makes pixels that are not finite, or an image is too small to measure.
    """
    trusted = tuple(trusted)
    loaded = {when: chains.load(file, trusted).to(device) for when, file in networks.items()}
    sizes = {when: min(last, len(network.specs)) for when, network in loaded.items()}

    def outputs(number: int, name: str, image: np.ndarray) -> Iterator[_Output]:
        for when, network in loaded.items():
            made = image
            for block in range(1, sizes[when] + 1):
                alone = network.part(block, block)
                made = tiles.run(alone, made, device, memory_gib, f"{name}, block {block}")
                yield _Output(
                    cells={"when": when, "block": block, "clamped": "yes" if alone.clamped[0] else "no"},
                    what=f"{name}, as block {block} of {networks[when]} makes it",
                    pixels=made,
                    picture=f"{when}_N_{block}/{name}.png" if number < count else "",
                )

    rows: list[Row] = []
    measured = partial(measure, border=border, measures=measures)
    for image, output, figures in _measure_all(outputs, ImageSet(lr, only), ImageSet(hr, only), measured, pictures):
        cells = {**output.cells, "picture": output.picture} if output else {"when": "input", "block": 0}
        rows.append({**cells, "image": image, **_rounded(figures)})
    write_text(table, _as_csv((*BLOCK_COLUMNS, *measures), rows))
    log.info("%s", "; ".join(f"{when}: {size} blocks, one after another" for when, size in sizes.items()))


def no_network(low: np.ndarray, height: int) -> np.ndarray:
    """The input at the size of HR, float32: as it is, or enlarged by bicubic interpolation."""
    scale = height // low.shape[0]
    return as_float(enlarge(low, scale) if scale > 1 else low)


def _rounded(figures: Figures) -> dict[str, float]:
    return {metric: round(value, 5) for metric, value in figures.items()}


def _as_csv(header: Sequence[str], rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


# -- Image files -------------------------------------------------------------------------------------------------------


def score(
    network: Chain,
    items: Sequence[ImagePair],
    scale: int,
    border: int,
    device: torch.device,
    memory_gib: float,
    problems: list[str],
    measures: Sequence[str] = (),
) -> Iterator[Row]:
    """Measure ``network`` on image files; one that cannot be measured does not stop those after it.

    Args:
        items: HR files, cut (top left) to a multiple of ``scale``, with their LR files; LR is made by MATLAB's
            bicubic where there is none.
        scale: how many times HR is as large as LR. A network that keeps the size gets LR enlarged first.
        border: pixels cut at each side for PSNR-Y, SSIM-Y and measures.
        problems: gets a line for each image that cannot be measured.
        measures: names of measures of perceived quality to take beside PSNR and SSIM.

    Yields:
        Two rows an image, ``input`` and ``network``.
    """
    measured = partial(measure, border=border, measures=measures)
    for item in items:
        try:
            reference, plain, result = _made(network, item, scale, device, memory_gib)
            before = measured(plain, reference, what=str(item.hr))
            after = measured(result, reference, what=f"{item.hr}, as the network makes it")
        except (UserError, OSError) as error:
            problems.append(one_line(error))
            continue
        yield {"image": item.name, "what": "input", **before}
        yield {"image": item.name, "what": "network", **after}


def explain(
    network: Chain,
    items: Sequence[ImagePair],
    scale: int,
    device: torch.device,
    memory_gib: float,
    problems: list[str],
) -> conventions.Errors:
    """Measure ``network`` on image files under the conventions of the field; see :func:`score`."""
    errors: conventions.Errors = {}
    for item in items:
        try:
            for aliased in (False, True) if item.lr is None else (False,):
                reference, plain, result = _made(network, item, scale, device, memory_gib, aliased)
                conventions.add(errors, scale, aliased, reference, {"input": plain, "network": result})
        except (UserError, OSError) as error:
            problems.append(f"{item.hr}: {one_line(error).removeprefix(f'{item.hr}: ')}")
    return errors


def _made(
    network: Chain, item: ImagePair, scale: int, device: torch.device, memory_gib: float, aliased: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """HR, LR at its size, and what the network makes: floats (H, W, 3)."""
    full, low = _pair(item, scale, conventions.shrink_aliased if aliased else shrink)
    plain = enlarge(low, scale) if scale > 1 else low
    result = tiles.run(network, plain if network.scale == 1 else low, device, memory_gib, str(item.hr))
    return as_float(full), as_float(plain), result


def _pair(
    item: ImagePair, scale: int, shrink: Callable[[np.ndarray, int], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """HR, cut to a multiple of the scale, and LR, which ``shrink`` makes where there is none."""
    full = images.read(item.hr)
    height, width = (side // scale for side in full.shape[:2])
    full = full[: height * scale, : width * scale]
    if not full.size:
        raise UserError(f"{item.hr}: is smaller than the scale {scale}")
    low = shrink(full, scale) if item.lr is None else images.read(item.lr)
    if low.shape[:2] != (height, width):
        raise UserError(
            f"{item.lr}: found {low.shape[1]} x {low.shape[0]} pixels; at x{scale} {item.hr} allows {width} x {height}"
        )
    return full, low


def scores_as_csv(rows: Sequence[Row]) -> str:
    """The rows of :func:`score` as CSV; PSNR is ``inf`` where an image equals HR."""
    return _as_csv((*SCORE_COLUMNS, *measures_in(rows[0])), rows)


def summary(rows: Sequence[Row], border: int) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Means of the rows of :func:`score` as a table of text, a line a convention, and notes for under it."""
    named = {
        "psnr_rgb": "PSNR RGB, floats, whole image",
        "psnr_rgb8": "PSNR RGB, 8 bits, whole image",
        "psnr_y": f"PSNR-Y, 8 bits, border {border}",
        "ssim_y": f"SSIM-Y, 8 bits, border {border}",
        **{name: f"{MEASURES[name].headed}, 8 bits, border {border}" for name in measures_in(rows[0])},
    }
    count = len({row["image"] for row in rows})
    table = [(f"mean of {count} image{'s' if count != 1 else ''}", "no network", "network")]
    notes = []
    for metric, text in named.items():
        both = [{row["image"]: row[metric] for row in rows if row["what"] == what} for what in ("input", "network")]
        (plain, after), left_out = means(both)
        table.append((text, _shown(plain), _shown(after)))
        if left_out:
            notes.append(f"{text}: without {listed(left_out)}, where input or result equals HR (PSNR infinite)")
    return table, notes


def _shown(value: float) -> str:
    return "identical" if value == float("inf") else f"{value:.4f}"


def check_out(file: Path, overwrite: bool) -> None:
    """Find out before any work whether a CSV can be written.

    Raises:
        UserError: its name does not end in ``.csv``, or it is there already and may not be replaced.
        OSError: it cannot be written.
    """
    if file.suffix.lower() != ".csv":
        raise UserError(f"{file}: is not a place for a table; allowed are names that end in .csv")
    check_writable(file, overwrite)
