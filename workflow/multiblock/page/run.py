"""The page of a run, from the files of its results alone: nothing is trained and no network runs."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from multiblock.page import charts, facts, forms, found, images, plan_picture, rendering
from multiblock.report import tables
from multiblock.report.curves import looks

Phases = Mapping[tuple[int, int], Path]


def page(
    *,
    run: str,
    table: Path,
    times: Path,
    phases: Phases,
    lr: Path,
    hr: Path,
    titles: Mapping[int, str],
    border: int,
    plan: Mapping[str, Any],
    side: int,
    out: Path,
    small: Path,
) -> None:
    """Write the page of a run, and a small one for Snakemake's report.

    Args:
        run: its name.
        table, times: the per-phase table of the run, two CSVs.
        phases: the folder of each (seed, phase) with what it left.
        lr, hr: test sets of LR_0 and of HR.
        titles: the network as it stands after each phase.
        border: pixels cut for PSNR-Y and SSIM-Y.
        plan: as :func:`multiblock.page.description.describe` gives it.
        side: of the places that are looked at first, in pixels.
        out, small: the HTML files.
    """
    rows, seeds = tables.read(table, times), sorted({seed for seed, _ in phases})
    last = max(phase for _, phase in phases)
    records = facts.records(phases)
    by_seed = {run: {seed: [phases[seed, phase] for phase in titles] for seed in seeds}}
    made = {f"phase {phase}: {title}": phases[seeds[0], phase] / "images" for phase, title in titles.items()}
    shown = images.of_test(lr=lr, hr=hr, made=made, side=side)
    measured = {seed: phases[seed, last] / "psnr.csv" for seed in seeds}
    values = {
        "title": run,
        "sentence": found.of_run(rows, measured, len(plan["blocks"])),
        "by_phase": rendering.table(tables.by_phase(rows, titles)),
        "spent": rendering.table(tables.spent(rows)),
        "notes": [note for note in tables.notes(rows, border) if note != tables.COMPUTE],
        "compute_note": tables.COMPUTE,
        "images": len(shown),
        "seed": seeds[0],
        "seeds": seeds,
        "plan": plan_picture.picture(plan),
        "machine": facts.machine(records.values()),
        "settings": rendering.table(facts.settings(_stages(records, seeds[0]))),
    }
    drawn = [charts.compute(looks(by_seed, {run: rows}), [run], charts.no_network(phases.values()))]
    drawn += charts.learning(phases)
    forms.write(
        "run.html.j2",
        shown,
        drawn,
        out=out,
        small=small,
        elsewhere=f"{run}/{out.name}",
        links={"links": links(out, [table, times], phases)},
        **values,
    )


def _stages(records: Mapping[tuple[int, int], facts.Record], seed: int) -> Sequence[tuple[int, Mapping[str, Any]]]:
    return [
        (phase, stage) for (of, phase), record in sorted(records.items()) if of == seed for stage in record["stages"]
    ]


def links(out: Path, files: Sequence[Path], phases: Phases) -> list[dict[str, Any]]:
    """Links from a page to CSVs, by what they are of; those that are there."""
    groups = [("tables", list(files))]
    groups += [
        (f"seed {s}, phase {p}", [folder / "psnr.csv", folder / "history.csv"]) for (s, p), folder in phases.items()
    ]
    return [
        {
            "of": of,
            "files": [
                {"name": file.name, "href": os.path.relpath(file, out.parent)} for file in several if file.exists()
            ],
        }
        for of, several in groups
    ]
