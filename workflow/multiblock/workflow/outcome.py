"""What a run of the workflow has brought, as a person reads it: a line a phase, and at the end the table."""

import csv
import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from multiblock.config import Study
from multiblock.files import read_json
from multiblock.training.progress import duration
from multiblock.workflow.results import Read, Results
from multiblock.workflow.store import Store

NOTES = "<!-- notes -->"
"""What stands between the tables of a document and what is said of them."""

_INPUT = "input"

BELOW = "BELOW NO NETWORK"


def psnr(results: Results, store: Store, run: str, seed: int, number: int) -> dict[int | str, float]:
    """PSNR RGB in dB of the test images, composed: after a phase, of the input, and after the phase before it.

    They are means over the images that are finite in all of them, as in the tables. Nothing where it was not measured.
    """
    columns: dict[int | str, dict[str, float]] = {}
    for phase in range(max(number - 1, 1), number + 1):
        file = store.path(Read(results.evaluate(run, seed, phase), "psnr.csv"))
        columns |= {key: column for key, column in _columns(file, phase).items() if phase == number or key != _INPUT}
    if number not in columns or _INPUT not in columns:
        return {}
    images = [
        image for image in columns[number] if all(math.isfinite(c.get(image, math.nan)) for c in columns.values())
    ]
    if not images:
        return {}
    # To four digits, as in the tables, which are shown with three.
    return {key: round(sum(column[image] for image in images) / len(images), 4) for key, column in columns.items()}


def _columns(table: Path, number: int) -> dict[int | str, dict[str, float]]:
    found: dict[int | str, dict[str, float]] = {}
    try:
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                key = _INPUT if row["phase"] == _INPUT else number
                found.setdefault(key, {})[row["image"]] = float(row["psnr_rgb_composed"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found


def of_phase(results: Results, store: Store, run: str, seed: int, number: int) -> str:
    """What a phase brought: ``phase 2: 32.559 dB, +0.179 over phase 1, 9 s``."""
    found = psnr(results, store, run, seed, number)
    if not found:
        return f"phase {number}: measured, see {store.results}/{run}/seed{seed}/phase{number}/psnr.csv"
    said = f"phase {number}: {found[number]:.3f} dB"
    if found[number] < found[_INPUT]:
        said += f", {BELOW} ({found[_INPUT]:.3f} dB)"
    if number - 1 in found:
        said += f", {found[number] - found[number - 1]:+.3f} over phase {number - 1}"
    elif found[number] >= found[_INPUT]:
        said += f", {found[number] - found[_INPUT]:+.3f} over no network"
    seconds = read_json(store.path(Read(results.train(run, seed, number), "training.json"))).get("seconds")
    return said + (f", {duration(seconds)}" if isinstance(seconds, int | float) else "")


def table(study: Study) -> Iterator[tuple[str, ...]]:
    """The table of a run, or of the runs of a study: rows of PSNR RGB in dB, means over images and seeds."""
    several = len(study.runs) > 1
    head = ("PSNR RGB", "over the input")
    yield ("run", "phases", *head) if several else ("phase", "trains", *head, "over the phase before")
    for run in study.runs:
        means, spans = _means(Path(study.results, run, "psnr_by_phase.csv"))
        if len(means) < 2:
            continue
        plain, last = means[_INPUT], list(means)[-1]
        if several:
            yield run, str(len(means) - 1), f"{means[last]:.3f}", _gain(means[last], plain)
            continue
        before = plain
        yield "no network", "", f"{plain:.3f}", "", ""
        for phase, value in list(means.items())[1:]:
            yield phase, spans[phase], f"{value:.3f}", _gain(value, plain), f"{value - before:+.3f}"
            before = value


def _gain(value: float, plain: float) -> str:
    return f"{value - plain:+.3f}" + (f" {BELOW}" if value < plain else "")


def _means(file: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Means over the seeds by phase, and the spans, of a per-phase table."""
    values: dict[str, list[float]] = {}
    spans: dict[str, str] = {}
    try:
        with file.open(newline="", encoding="utf-8") as opened:
            for row in csv.DictReader(opened):
                values.setdefault(row["phase"], []).append(float(row["psnr_rgb_composed"]))
                spans[row["phase"]] = row["span"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}, {}
    return {phase: sum(found) / len(found) for phase, found in values.items()}, spans


def sentences(study: Study) -> list[str]:
    """What the comparison of a study says of its runs on the test images; nothing where there is none."""
    file = Path(study.results, f"{study.name}_comparison.md")
    try:
        lines = file.read_text(encoding="utf-8").partition(NOTES)[2].splitlines()
    except OSError:
        return []
    said = [line.removeprefix("- ") for line in lines if line.startswith("- ")]
    return said[: len(study.pairs)]


def where(study: Study) -> Iterator[str]:
    """Where to look: files that are there, and what each is; last the command that uses the network."""
    results = Path(study.results)
    run = next(iter(study.runs)) if len(study.runs) == 1 else study.baseline
    found = [
        (results / f"{study.name}_report.html", "the runs side by side, in a browser"),
        (results / f"{study.name}_comparison.md", "how sure each difference is"),
        (results / run / "report.html", "what each phase brought, in a browser: pictures, curves, tables"),
        (results / run / "psnr_by_phase.md", "the same as a table, and what it took"),
        (results / run / "strips", "test images after each phase"),
        (results / run / "upscaled", "your own pictures, as the network makes them"),
    ]
    if len(study.runs) == 1:
        found = found[2:]
    rows = [(f"{path}/" if path.is_dir() else f"{path}", what) for path, what in found if path.exists()]
    yield from aligned(rows)
    plan = study.runs[run].plan
    last = plan.numbers[-1]
    if (results / run / f"seed{study.seeds[0]}" / f"phase{last}" / "weights.safetensors").exists():
        own = dict.fromkeys(block.network for block in plan.blocks if block.network.endswith(".py"))
        trust = "".join(f" --trust-code {shlex.quote(file)}" for file in own)
        yield f"multiblock upscale {shlex.quote(str(results / run))} photo.jpg -o out{trust}"


def aligned(rows: Sequence[Sequence[str]], indent: str = "") -> Iterator[str]:
    """Rows as lines with columns of equal width."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        yield (indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
