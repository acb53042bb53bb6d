"""The pages of a run and of a study, from the files of results alone: nothing is trained and no network runs."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from multiblock.page import pictures, plan_picture, rendering, viewer
from multiblock.report import comparison_markdown, curves, sentences, tables
from multiblock.report.comparison import comparison
from multiblock.report.markdown import Table
from multiblock.report.phases import Key, PhaseFiles, by_seed, kind, picture

Record = Mapping[str, Any]


def run_page(
    *,
    run: str,
    table: Path,
    times: Path,
    phases: Mapping[Key, PhaseFiles],
    lr: Path,
    hr: Path,
    titles: Mapping[int, str],
    border: int,
    plan: Mapping[str, Any],
    side: int,
    links: Mapping[str, Sequence[str]],
    out: Path,
    small: Path,
) -> None:
    """Write the page of a run, and a small one for Snakemake's report.

    Args:
        run: its name.
        table, times: the per-phase table of the run, two CSVs.
        phases: what each (seed, phase) left.
        lr, hr: test sets of LR_0 and of HR.
        titles: the network as it stands after each phase.
        border: pixels cut for PSNR-Y and SSIM-Y.
        plan: as :meth:`multiblock.plan.Plan.described` gives it.
        side: of the windows that are looked at first, in pixels.
        links: addresses of CSVs by what they are of, relative to the folder in which the page is opened.
        out, small: the HTML files.
    """
    rows, of_seeds = tables.read(table, times), by_seed(phases)
    seeds = sorted(of_seeds)
    first = seeds[0]
    folders = {key: files.pictures for key, files in phases.items()}
    made = {f"phase {phase}: {title}": partial(picture, folders, phase) for phase, title in titles.items()}
    records = {key: files.record() for key, files in sorted(phases.items())}
    stages = [
        (phase, stage) for (seed, phase), record in records.items() if seed == first for stage in record["stages"]
    ]
    seen, level = curves.looks({run: phases}, {run: rows}), curves.no_network(phases.values())
    _write(
        "run.html.j2",
        pictures.of_test(lr=lr, hr=hr, made=made, side=side),
        [curves.against_compute(seen, [run], level), *curves.learning(phases)],
        out=out,
        small=small,
        elsewhere=f"{run}/{out.name}",
        links={"links": links},
        title=run,
        sentence=sentences.of_run(
            rows, {seed: files[-1].measured for seed, files in of_seeds.items()}, len(plan["blocks"])
        ),
        by_phase=tables.by_phase(rows, titles),
        spent=tables.spent(rows),
        notes=[note for note in tables.notes(rows, border) if note != tables.COMPUTE],
        compute_note=tables.COMPUTE,
        seed=first,
        folds="images" in rows,
        seeds=seeds,
        plan=plan_picture.picture(plan),
        machine=machine(records.values()),
        settings=settings(stages),
    )


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """The files of a run.

    Args:
        table, times: its per-phase table, two CSVs.
        phases: what each (seed, phase) left.
        lr, hr: test sets of LR_0 and of HR.
        plan: as :meth:`multiblock.plan.Plan.described` gives it.
        page: address of its page, relative to the folder in which the study's page is opened.
    """

    table: Path
    times: Path
    phases: Mapping[Key, PhaseFiles]
    lr: Path
    hr: Path
    plan: Mapping[str, Any]
    page: str

    @property
    def last(self) -> dict[int, PhaseFiles]:
        """The files of the last phase of each seed."""
        return {seed: files[-1] for seed, files in by_seed(self.phases).items()}

    @property
    def pictures(self) -> tuple[dict[Key, Path], int]:
        """The folders of its pictures, and the number of its last phase."""
        return {key: files.pictures for key, files in self.phases.items()}, max(phase for _, phase in self.phases)


def study_page(
    *,
    study: str,
    runs: Mapping[str, RunFiles],
    baseline: str,
    pairs: Sequence[tuple[str, str]],
    side: int,
    links: Sequence[str],
    out: Path,
    small: Path,
    in_seconds: Mapping[str, str] | None = None,
) -> None:
    """Write the page of a study, and a small one for Snakemake's report.

    Args:
        study: its name.
        runs: by name.
        baseline: the run that all others are held against.
        pairs: see :func:`multiblock.report.comparison.comparison`.
        side: of the windows that are looked at first, in pixels.
        links: addresses of the study's CSVs, relative to the folder in which the page is opened.
        out, small: the HTML files.
        in_seconds: see there.
    """
    read = {name: tables.read(run.table, run.times) for name, run in runs.items()}
    phases = {name: run.phases for name, run in runs.items()}
    seen = curves.looks(phases, read)
    measured = {name: {seed: files.measured for seed, files in run.last.items()} for name, run in runs.items()}
    compared = comparison(read, measured, seen, baseline, pairs, phases, in_seconds)
    sentence = sentences.of_study(compared) if pairs else ""
    notes = comparison_markdown.notes(compared)
    loud = [note for note in notes if note.startswith(("**", comparison_markdown.MEANS))]
    shown, left_out = _last_phases(runs, baseline, side)
    _write(
        "study.html.j2",
        shown,
        [
            curves.against_compute(seen, list(runs), compared.validation_input),
            *curves.side_by_side(curves.losses(phases), list(runs)),
        ],
        out=out,
        small=small,
        elsewhere=out.name,
        links={"links": links, "pages": {name: run.page for name, run in runs.items()}},
        title=study,
        sentence=sentence,
        further=[line for line in sentences.of_comparison(compared) if line != sentence],
        unequal=sentences.unequal(compared),
        tables={
            "Last phases": comparison_markdown.means(compared),
            f"Differences from {baseline}": comparison_markdown.differences(compared),
            "What each run took": comparison_markdown.spent(compared),
            f"On the way to {baseline}": comparison_markdown.reach(compared),
        },
        # What is loud, and the convention; the rest can be unfolded.
        notes=loud,
        more=[note for note in notes if note not in loud],
        not_shown=left_out,
        seed=min(seed for seed, _ in runs[baseline].phases),
        folds="images" in read[baseline],
        baseline=baseline,
        plans={name: plan_picture.picture(run.plan) for name, run in runs.items()},
        machine=machine(files.record() for run in runs.values() for files in run.phases.values()),
    )


def _last_phases(runs: Mapping[str, RunFiles], baseline: str, side: int) -> tuple[list[pictures.Shown], list[str]]:
    """The test images as the runs' last phases make them, the baseline's first, and runs that have other images."""
    base = runs[baseline]
    names = [baseline, *(name for name in runs if name != baseline)]
    same = [name for name in names if runs[name].hr == base.hr]
    made = {name: partial(picture, *runs[name].pictures) for name in same}
    before = 1 if len(same) > 1 else 0
    return pictures.of_test(lr=base.lr, hr=base.hr, made=made, side=side, before=before), sorted(
        runs.keys() - set(same)
    )


def _write(
    template: str,
    shown: Sequence[pictures.Shown],
    charts: Sequence[curves.Chart],
    *,
    out: Path,
    small: Path,
    elsewhere: str,
    links: Mapping[str, Any],
    **values: Any,
) -> None:
    """Write both forms of a page: the full one, and a small one inside Snakemake's report.

    Args:
        shown: the test images.
        charts: the chart of PSNR against compute first.
        out, small: the HTML files.
        elsewhere: where the full page is, for the small one.
        links: what of the template leads to other files: the small form has none of them.
        values: of the template, the same in both forms.
    """
    values |= {"images": len(shown)}
    text = rendering.within(
        template,
        rendering.LIMIT,
        lambda budget: viewer.data(shown, budget),
        maps=pictures.maps(shown),
        elsewhere="",
        **links,
        **rendering.charts(charts, rendering.POINTS),
        **values,
    )
    rendering.write(out, text)
    light = rendering.within(
        template,
        rendering.SMALL,
        lambda budget: viewer.data(shown, budget, most=2),
        maps=[],
        elsewhere=elsewhere,
        **{name: type(value)() for name, value in links.items()},
        **rendering.charts(charts, rendering.POINTS_IN_SMALL),
        **values,
    )
    rendering.write_small(small, light, values["title"], elsewhere)


# -- Machine and settings ----------------------------------------------------------------------------------------------


def machine(records: Iterable[Record]) -> list[tuple[str, str]]:
    """The machines that trainings ran on: a name and all that was found, each once; what no record has is left out."""
    values: dict[str, dict[str, None]] = {}
    peak: dict[str, float] = {}
    for record in records:
        for name, value in _of_record(record):
            if value:
                values.setdefault(name, {})[value] = None
        for place, mib in (record.get("peak_memory_mib") or {}).items():
            peak[place] = max(peak.get(place, 0), mib or 0)
    listed = [(name, "; ".join(texts)) for name, texts in values.items()]
    return listed + [(f"peak memory, {place}", f"{mib:,.0f} MiB") for place, mib in peak.items() if mib]


def _of_record(record: Record) -> Iterator[tuple[str, str]]:
    for segment in record.get("segments") or []:
        yield "device", _with_reason(segment.get("name"), segment.get("device_reason"))
        yield "precision", _with_reason(segment.get("precision"), segment.get("precision_reason"))
        yield "layout of feature maps", _with_reason(segment.get("layout"), segment.get("layout_reason"))
        yield "threads", str(segment.get("threads") or "")
        for stage in segment.get("stages") or []:
            yield "compiled", _with_reason("yes" if stage.get("compiled") else "no", stage.get("reason"))
    versions = record.get("versions") or {}
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    commit = record.get("commit")
    yield "multiblock", " ".join(filter(None, [record.get("multiblock"), f"(commit {commit})" if commit else ""]))
    yield "machine", str(record.get("machine") or "")


def _with_reason(value: Any, reason: Any) -> str:
    return "" if not value else f"{value} ({reason})" if reason else str(value)


_STAGE = ("iterations", "optimiser", "lr", "batch", "patch", "loss", "clamp", "augment")
_DEFAULTS: dict[str, Any] = {
    **{"options": {}, "schedule": {}, "parts": {}, "vgg16": None, "ema": None, "warmup": 0, "clip": None},
    "intermediate": [],
}


def settings(stages: Sequence[tuple[int, Record]]) -> Table:
    """The table of the stages, a row each.

    Args:
        stages: the number of each stage's phase, and the stage as its record has it.
    """
    rows = []
    for phase, stage in stages:
        plain = {**stage, "loss": kind(stage["loss"]), "iterations": f"{stage['iterations']:,}"}
        more = [f"{name} {_in_words(stage[name])}" for name, left in _DEFAULTS.items() if stage.get(name, left) != left]
        rows.append([str(phase), *(str(plain.get(name, "")) for name in _STAGE), "; ".join(more)])
    return Table(["phase", *_STAGE, "further"], rows)


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_in_words(one)}" for name, one in value.items())
    return json.dumps(value, ensure_ascii=False).strip('"')
