"""The table of a run: what each phase brought, from the per-image measurements of each phase."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from multiblock.data.dataset import FOLDED
from multiblock.files import write_text
from multiblock.inference import timing
from multiblock.inference.metrics import VALUES, columns
from multiblock.report import markdown, phases
from multiblock.report.markdown import Table
from multiblock.report.phases import INPUT, Key, measures_in, of_phase

PARTS_OF_TIME = ("seconds_iterations", "seconds_validation", "seconds_generation", "seconds_start")
"""Columns of where the time went; empty in results that have no record of it."""

TIMES = (
    *("seconds", "seconds_spent", *PARTS_OF_TIME, "iteration_seconds", "relative_time"),
    *("any_time", "any_time_sd", "any_time_seconds"),
)
"""Columns that are not the same when the same is done again. They are written into a CSV of their own."""

CONVENTION = (
    "Means over the test images. PSNR RGB: floats, no rounding, no border cut. PSNR-Y and SSIM-Y: 8 bits, "
    "a border of {border} cut. Composed: the network as it stands after the phase, run on LR as a user runs "
    "it. Staged: the phase's blocks alone on the cached images they were trained on."
)

COMPUTE = (
    "Block-pixels of training: iterations x batch x output pixels x blocks trained, forward and backward. "
    "Training FLOPs: counted, forward and backward; a multiply-add is 2, what is frozen has no gradient, and only "
    "convolutions, linear layers, matrix products and attention of the networks count. "
    "Block-pixels of LR_k: pixels of all images x blocks run to make the cached sets that later phases read, forward "
    "only, which is about a third of the work a pixel. Seconds: training with its looks at the validation images and "
    "its checkpoints; start is apart: all from the start of the process to the first iteration, and compiling. What "
    "was interrupted is summed up; what a kill lost counts once."
)

BELOW = "BELOW NO NETWORK"
"""The mark of a phase whose network makes images worse than they were."""

REMEDY = (
    "Training went wrong or has hardly begun: look at learning_curves.png, and try a smaller lr, more iterations, "
    "more training pairs, or a stage without clamp first."
)

COLUMNS = (
    *("seed", "phase", *VALUES, "span", "parameters", "iterations", "block_pixels", "seconds", *PARTS_OF_TIME),
    *("parameters_chain", "generation_block_pixels", "psnr_rgb_validation", "psnr_rgb_validation_input"),
    *("below_no_network", "left_out", "shared_with", "training_flops"),
)
"""The columns of the per-phase table; new ones come at the end, as others read it, and after them measures of
perceived quality."""

_TEXTS = ("phase", "span", "below_no_network", "left_out", "shared_with")


def psnr_by_phase(
    measured: Mapping[Key, Path],
    trained: Mapping[Key, Path],
    generated: Mapping[int, int],
    pixels: int,
    shared: Mapping[int, Sequence[str]] | None = None,
    generation: Mapping[Key, Sequence[Path]] | None = None,
) -> pd.DataFrame:
    """One row a seed and phase, means over the test images; the first row of each seed is phase ``input``.

    With folds each seed has other test images, those of its fold, and ``images`` is how many these are.

    Args:
        measured: the evaluation CSV of each (seed, phase).
        trained: the training record of each (seed, phase).
        generated: how many blocks were run over all images to make the sets LR_k after each phase.
        pixels: pixels of all images of the data set, at HR's size.
        shared: the other runs of the study that have the same phase, for each phase that others have too.
        generation: the records of how long it took to make the sets LR_k after each (seed, phase), see
            :mod:`multiblock.inference.timing`; a phase without any made none.
    """
    figures: dict[tuple[int, str], pd.DataFrame] = {}
    for (seed, phase), file in sorted(measured.items()):
        images = phases.read(file)
        if phase == 1:
            figures[seed, INPUT] = of_phase(images, INPUT)
        figures[seed, str(phase)] = of_phase(images, phase)
    found, left_out = phases.means(figures)
    folds = phases.has_folds(table for (_, name), table in figures.items() if name == INPUT)
    rows = []
    for (seed, name), mean in found.items():
        row = {"seed": seed, "phase": name, **mean}
        if folds:
            row["images"] = len(figures[seed, name].index.difference(left_out.get("psnr_rgb", [])))
        if name != INPUT:
            row |= _of_training(json.loads(trained[seed, int(name)].read_text(encoding="utf-8")))
            row["seconds_generation"] = _of_generation((generation or {}).get((seed, int(name)), ()))
            row["generation_block_pixels"] = generated.get(int(name), 0) * pixels
            row["below_no_network"] = _below(row, found[seed, INPUT])
            row["shared_with"] = ", ".join((shared or {}).get(int(name), ()))
        rows.append({**row, "left_out": markdown.as_json(left_out)})
    whole = ("parameters", "iterations", "block_pixels", "parameters_chain", "generation_block_pixels")
    names = (*COLUMNS, *columns(measures_in(pd.DataFrame(rows))), *(("images",) if folds else ()))
    kinds = {**dict.fromkeys(whole, "Int64"), **dict.fromkeys(("training_flops", *PARTS_OF_TIME), float)}
    return pd.DataFrame(rows, columns=names).astype(kinds).fillna(dict.fromkeys(_TEXTS, ""))


def _of_training(record: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that come from a training record."""
    first, last = record["span"]
    return {
        "span": f"{first}-{last}" if first != last else str(first),
        **{key: record[key] for key in ("parameters", "iterations", "block_pixels", "seconds")},
        **{key: record.get(key) for key in ("training_flops", *PARTS_OF_TIME)},
        # As it was called before.
        "seconds_validation": record.get("seconds_validation", record.get("validation_seconds")),
        # In records without it: where the span begins at block 1, it was all that the file held.
        "parameters_chain": record.get("parameters_chain", record["parameters"] if first == 1 else None),
        "psnr_rgb_validation": record.get("psnr_rgb_validation"),
        "psnr_rgb_validation_input": record.get("psnr_rgb_validation_input"),
    }


def _of_generation(records: Sequence[Path]) -> float | None:
    """Seconds that making the sets LR_k of a phase took; None where one has no record of it."""
    found = [timing.seconds(record) for record in records]
    known = [seconds for seconds in found if seconds is not None]
    return sum(known) if len(known) == len(found) else None


def _below(row: Mapping[str, Any], before: Mapping[str, float]) -> str:
    """The images on which the phase's network is worse than none: validation, test, both, or nothing."""
    validation, plain = row["psnr_rgb_validation"], row["psnr_rgb_validation_input"]
    known = validation is not None and plain is not None
    places = ["validation"] if known and validation < plain else []
    places += ["test"] if row["psnr_rgb_composed"] < before["psnr_rgb_composed"] else []
    return " and ".join(places)


def portion(table: pd.DataFrame) -> pd.Series:
    """The part of each phase's compute that a run answers for in its study: 1/n of what n runs have."""
    return 1 / (1 + table.shared_with.map(lambda runs: len(runs.split(", ")) if runs else 0))


def iteration_seconds(rows: pd.DataFrame) -> pd.Series:
    """Seconds of the training iterations of phases: as recorded, else all but the looks at the validation images."""
    return rows.seconds_iterations.fillna(rows.seconds - rows.seconds_validation)


def write(table: pd.DataFrame, key: Sequence[str], file: Path, times: Path) -> None:
    """Write a table as CSV: all that is the same each time into ``file``, and times, by ``key``, into ``times``."""
    columns = [column for column in TIMES if column in table]
    write_text(file, table.drop(columns=columns).to_csv(index=False))
    write_text(times, table[[*key, *columns]].to_csv(index=False))


def read(file: Path, times: Path) -> pd.DataFrame:
    """A table that :func:`psnr_by_phase` made, from its two CSVs."""
    # Runs may be called NA or null; what is not known is empty.
    table = pd.read_csv(file, dtype=dict.fromkeys(_TEXTS, str), keep_default_na=False, na_values=[""])
    table = table.fillna(dict.fromkeys([text for text in _TEXTS if text in table], ""))
    return table.merge(pd.read_csv(times, dtype={"phase": str}), on=["seed", "phase"])


def pooled(table: pd.DataFrame) -> pd.DataFrame:
    """The numbers of the table; with folds, one row a seed and phase, whose figures are means over all its images."""
    numbers = table.drop(columns=[text for text in _TEXTS if text != "phase"])
    if "images" not in table:
        return numbers
    figures = [*VALUES, *columns(measures_in(table))]
    numbers[figures] = numbers[figures].mul(table.images / table.images.mean(), axis=0)
    numbers["seed"] //= FOLDED
    return numbers.groupby(["seed", "phase"], sort=False).mean().reset_index()


def mean_over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """One row a phase: the mean over seeds of every figure, in the order of the phases."""
    order = table.phase.drop_duplicates()
    spans = table.groupby("phase").span.first()
    return pooled(table).drop(columns="seed").groupby("phase").mean().assign(span=spans).loc[order].reset_index()


def by_phase(table: pd.DataFrame, titles: Mapping[int, str]) -> Table:
    """The per-phase table: means over the seeds, what each phase brought over the input and the
    phase before.

    Args:
        titles: the network that is measured after each phase, as the study writes it.
    """
    means = mean_over_seeds(table)
    psnr, below = means.psnr_rgb_composed, set(table[table.below_no_network != ""].phase)
    measures = measures_in(table)
    heads = [
        "phase",
        "blocks",
        "PSNR RGB composed",
        "over the input",
        "over the phase before",
        "PSNR RGB staged",
        *(f"{title} composed" for title in markdown.heads_of(("psnr_y", "ssim_y", *measures))),
        "network measured",
    ]
    rows = []
    for i, row in means.iterrows():
        first = row.phase == INPUT
        composed = [markdown.metric(name, row[f"{name}_composed"]) for name in ("psnr_y", "ssim_y", *measures)]
        figures = [markdown.psnr(row.psnr_rgb_staged), *composed]
        if first:
            rows.append(["no network", "", markdown.psnr(psnr[i]), "", "", *figures, ""])
            continue
        mark = f" **{BELOW}**" if row.phase in below else ""
        gains = [markdown.gain(psnr[i], psnr[0]) + mark, markdown.gain(psnr[i], psnr[i - 1])]
        rows.append([row.phase, row.span, markdown.psnr(psnr[i]), *gains, *figures, titles[int(row.phase)]])
    return Table(heads, rows)


def notes(table: pd.DataFrame, border: int) -> list[str]:
    """The notes under the tables of a run, as Markdown, a paragraph each; the loudest first."""
    parts = [warning(table), markdown.left_out(table.left_out.unique()), _about_shared(table)]
    seeds = markdown.about_seeds(table.seed, folds="images" in table)
    parts += [
        f"PSNR in dB. {CONVENTION.format(border=markdown.count(border, 'pixel'))} {seeds}",
        markdown.about_measures(measures_in(table)),
        COMPUTE,
    ]
    return [part for part in parts if part]


def as_markdown(table: pd.DataFrame, run: str, border: int, titles: Mapping[int, str]) -> str:
    """The per-phase table as Markdown, what was spent, and notes.

    Args:
        titles: the network that is measured after each phase, as the study writes it.
    """
    brought, took = by_phase(table, titles), f"What it took:\n\n{spent(table)}"
    return markdown.document(
        [f"# {run}: what each phase brought", brought, took, markdown.NOTES, *notes(table, border)]
    )


def _about_shared(table: pd.DataFrame) -> str:
    """Which phases other runs have too."""
    shared = table[table.shared_with != ""].drop_duplicates("phase")
    found = "; ".join(f"phase {row.phase} with {row.shared_with}" for row in shared.itertuples())
    return f"Shared, and trained once for all: {found}. The compute shown is what each phase takes." if found else ""


_SPENT = {
    "iterations": "iterations",
    "block_pixels": "block-pixels of training",
    "training_flops": "training FLOPs",
    "generation_block_pixels": "block-pixels of LR_k",
    "seconds": "seconds",
    "seconds_iterations": "of iterations",
    "seconds_validation": "of validation",
    "seconds_start": "of start",
    "seconds_generation": "of LR_k",
}
"""The columns of what was spent, and their heads."""


def spent(table: pd.DataFrame) -> Table:
    """The table of what each phase took, and all together: means over the seeds."""
    means = mean_over_seeds(table)
    phases = means[means.phase != INPUT]
    rows = [[row.phase, *(_amount(getattr(row, name), name) for name in _SPENT)] for row in phases.itertuples()]
    sums = [_amount(phases[name].sum(skipna=False), name) for name in _SPENT]
    return Table(["phase", *_SPENT.values()], [*rows, ["all", *sums]])


def _amount(value: Any, name: str) -> str:
    large = "pixels" in name or "flops" in name
    form = ".3g" if large else ".1f" if "seconds" in name and value < 100 else ",.0f"
    return markdown.number(value, form, markdown.NOT_RECORDED)


def warning(table: pd.DataFrame) -> str:
    """A loud paragraph on the phases that ended below no network, or nothing."""
    before = table[table.phase == INPUT].set_index("seed").psnr_rgb_composed
    found = []
    for row in table[table.below_no_network != ""].itertuples():
        places = {
            "validation": (row.psnr_rgb_validation, row.psnr_rgb_validation_input),
            "test": (row.psnr_rgb_composed, before[row.seed]),
        }
        below = [
            f"PSNR RGB {_decibel(psnr)} on the {place} images, the input itself {_decibel(plain)}"
            for place, (psnr, plain) in places.items()
            if place in row.below_no_network
        ]
        found.append(f"phase {row.phase} (seed {row.seed}): {', and '.join(below)}")
    return f"**{BELOW}: {'; '.join(found)}. {REMEDY}**" if found else ""


def _decibel(psnr: float) -> str:
    return markdown.psnr(psnr, unit=" dB")
