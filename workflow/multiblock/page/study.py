"""The page of a study: its runs side by side, from the files of their results alone."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multiblock.page import charts, facts, forms, found, images, plan_picture, rendering
from multiblock.page.pictures import Shown
from multiblock.report import comparison_markdown as said
from multiblock.report import tables
from multiblock.report.comparison import comparison
from multiblock.report.curves import looks
from multiblock.report.losses import losses


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """What is known of a run.

    Args:
        table, times: its per-phase table, two CSVs.
        seeds: the folders of its phases in order, for each seed.
        lr, hr: test sets of LR_0 and of HR.
        plan: as :func:`multiblock.page.description.describe` gives it.
    """

    table: Path
    times: Path
    seeds: Mapping[int, Sequence[Path]]
    lr: Path
    hr: Path
    plan: Mapping[str, Any]


def page(
    *,
    study: str,
    runs: Mapping[str, RunFiles],
    baseline: str,
    pairs: Sequence[tuple[str, str]],
    side: int,
    out: Path,
    small: Path,
    files: Sequence[Path],
) -> None:
    """Write the page of a study, and a small one for Snakemake's report.

    Args:
        study: its name.
        runs: by name; the pages of them lie in folders of these names beside the study's.
        baseline: the run that all others are held against.
        pairs: see :func:`multiblock.report.comparison.comparison`.
        side: of the places that are looked at first, in pixels.
        out, small: the HTML files.
        files: the study's CSVs, to link to.
    """
    read = {name: tables.read(run.table, run.times) for name, run in runs.items()}
    seen = looks({name: run.seeds for name, run in runs.items()}, read)
    measured = {name: {s: folders[-1] / "psnr.csv" for s, folders in run.seeds.items()} for name, run in runs.items()}
    compared = comparison(read, measured, seen, baseline, pairs)
    sentence, further = found.of_study(compared, said.sentences_of(compared))
    records = [record for run in runs.values() for record in facts.records(_by_key(run)).values()]
    shown, left_out = _images(runs, baseline, side)
    values = {
        "title": study,
        "sentence": sentence,
        "further": further,
        "unequal": said.unequal(compared),
        "tables": [
            {"title": title, **rendering.table(cells(compared))}
            for title, cells in (
                ("Last phases", said.means),
                (f"Differences from {baseline}", said.differences),
                ("What each run took", said.spent),
                (f"On the way to {baseline}", said.reach),
            )
        ],
        # What is loud, and the convention; the rest can be unfolded.
        "notes": [note for note in said.notes(compared) if note.startswith(("**", said.MEANS))],
        "more": [note for note in said.notes(compared) if not note.startswith(("**", said.MEANS))],
        "runs": list(runs),
        "not_shown": left_out,
        "images": len(shown),
        "seed": min(runs[baseline].seeds),
        "baseline": baseline,
        "plans": {name: plan_picture.picture(run.plan) for name, run in runs.items()},
        "machine": facts.machine(records),
    }
    drawn = [charts.compute(seen, list(runs), compared.validation_input)]
    drawn += charts.losses(losses({name: list(run.seeds.values()) for name, run in runs.items()}), list(runs))
    forms.write(
        "study.html.j2",
        shown,
        drawn,
        out=out,
        small=small,
        elsewhere=out.name,
        links={
            "links": [
                {"name": file.name, "href": os.path.relpath(file, out.parent)} for file in files if file.exists()
            ],
            "pages": {name: os.path.relpath(out.parent / name / "report.html", out.parent) for name in runs},
        },
        **values,
    )


def _by_key(run: RunFiles) -> dict[tuple[int, int], Path]:
    return {(seed, phase): folder for seed, folders in run.seeds.items() for phase, folder in enumerate(folders, 1)}


def _images(runs: Mapping[str, RunFiles], baseline: str, side: int) -> tuple[list[Shown], list[str]]:
    """The test images as the runs' last phases make them, the baseline's first, and runs that have other images."""
    base = runs[baseline]
    names = [baseline, *(name for name in runs if name != baseline)]
    same = [name for name in names if runs[name].hr == base.hr]
    made = {name: _last(runs[name]) / "images" for name in same}
    before = 1 if len(same) > 1 else 0
    return images.of_test(lr=base.lr, hr=base.hr, made=made, side=side, before=before), sorted(runs.keys() - set(same))


def _last(run: RunFiles) -> Path:
    """The folder of the last phase of a run's first seed."""
    return run.seeds[min(run.seeds)][-1]
