"""Curves of training: losses and validation PSNR from histories, and charts of them.

A chart holds what a figure shows, once: lines, axes, levels. :mod:`multiblock.report.figures` draws it as a picture,
:mod:`multiblock.page` for a browser.

What is seen of the validation images is the span that a phase trains: the whole network as it stands (``composed``),
the whole of it but with the images after the blocks before the span taken from the cache (``staged``), or a span with
trained blocks after it (``part``), which is no measure of the network.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from multiblock.report.phases import Key, TrainingFiles, by_seed
from multiblock.report.tables import iteration_seconds

COMPOSED, STAGED, PART = "composed", "staged", "part"

COLUMNS = ("run", "seed", "phase", "iteration", "block_pixels", "seconds", "psnr_rgb_validation", "network")

REACH = (
    *("run", "reach_psnr", "best_psnr", "reach_block_pixels", "reach_ratio", "reach_seeds", "reach_of"),
    *("reach_ratio_least", "reach_ratio_most"),
)

ANY_TIME = ("run", "any_time", "any_time_sd", "any_time_seconds")

TAGS = {
    "loss": "training/loss",
    "lr": "training/lr",
    "gradient_norm": "training/gradient_norm",
    "psnr_rgb_validation": "validation/psnr_rgb",
}
"""Columns of a history, and what TensorBoard calls them; PSNR in dB."""

# -- Charts ------------------------------------------------------------------------------------------------------------


class Style(NamedTuple):
    """The look of a line, by what it measures.

    Args:
        line: the style as Matplotlib names it.
        dash: the same as SVG writes it.
        legend: what it is.
        note: a sentence on it.
        mark: words on it in the note of each of its points.
    """

    line: str
    dash: str
    legend: str
    note: str
    mark: str


STYLES = {
    COMPOSED: Style("-", "", "the network on LR", "Solid: the whole network on LR.", ""),
    STAGED: Style(
        "--",
        "6 4",
        "its last blocks on cached images (staged)",
        "Dashed: staged, the blocks of a phase on cached images.",
        ", staged",
    ),
    PART: Style(
        ":",
        "2 4",
        "a span with trained blocks after it",
        "Dotted curves: a part of the network.",
        ", part of the network",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """Points that are joined.

    Args:
        name: of the run or the phase that it shows.
        colour: the number of its colour; lines of one name have one.
        points: in order, with a column for each x axis of the chart, ``y``, and ``note`` on the point; means over
            seeds have ``low``, ``high`` and ``seeds``, how many there are, too.
        network: a key of :data:`STYLES`.
    """

    name: str
    colour: int
    points: pd.DataFrame
    network: str = COMPOSED


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The contents of a figure.

    Args:
        title: of the chart.
        xs: the x axes to choose from: column of the points to label.
        y: the label, and the convention or the kind that belongs to it.
        log: whether y is logarithmic.
        lines: all lines, in the order that they are drawn in.
        level: PSNR of the images without any network; None where it is not known or there is none.
        begins: where each phase begins on the x axis.
        most: where the x axis ends; None where it ends with the last point.
    """

    title: str
    xs: Mapping[str, str]
    y: tuple[str, str]
    log: bool = False
    lines: Sequence[Line] = ()
    level: float | None = None
    begins: Mapping[int, int] = field(default_factory=dict)
    most: int | None = None


_ITERATIONS = {"iteration": "iterations, phase after phase"}
_VALIDATION = ("validation PSNR RGB [dB]", "floats, no border cut")


def learning(phases: Mapping[Key, TrainingFiles]) -> list[Chart]:
    """Learning curves of a run: validation PSNR, then the training loss, each kind on axes of its own.

    Phases follow one another; a line is a seed's phase and, of a loss, a stage of it.
    """
    rows = {key: phases[key].rows() for key in sorted(phases)}
    begins, total = dict[int, int](), 0
    for phase in sorted({phase for _, phase in rows}):
        begins[phase] = total
        total += max((int(of.iteration.max()) for (_, p), of in rows.items() if p == phase and len(of)), default=0)
    axes: dict[str, Any] = {"xs": _ITERATIONS, "begins": begins, "most": total}
    psnr, losses = list[Line](), dict[str, list[Line]]()
    for (seed, phase), of in rows.items():
        notes = [
            f"seed {seed}, iteration {row.iteration:,}, stage {row.stage}, lr {row.lr:.3g}" for row in of.itertuples()
        ]
        of = of.assign(iteration=of.iteration + begins[phase], note=notes)
        named: dict[str, Any] = {"name": f"phase {phase}", "colour": phase - 1}
        seen = of[np.isfinite(of.psnr_rgb_validation.astype(float))]
        if len(seen):
            psnr.append(Line(**named, points=seen.assign(y=seen.psnr_rgb_validation.astype(float))))
        for _, stage in of.groupby("stage"):
            line = Line(**named, points=stage.assign(y=stage.loss))
            losses.setdefault(stage.kind.iloc[0], []).append(line)
    level = no_network(phases.values())
    return [
        Chart(title="Validation PSNR", y=_VALIDATION, lines=psnr, level=level, **axes),
        *(_of_losses(kind, lines, **axes) for kind, lines in losses.items()),
    ]


def _of_losses(kind: str, lines: Sequence[Line], **axes: Any) -> Chart:
    return Chart(title=f"Training loss: {kind}", y=("training loss", kind), log=True, lines=lines, **axes)


def no_network(phases: Iterable[TrainingFiles]) -> float | None:
    """PSNR RGB in dB of the validation images without any network; None where no record has it."""
    found = (files.record().get("psnr_rgb_validation_input") for files in phases)
    return next((float(psnr) for psnr in found if psnr is not None and math.isfinite(psnr)), None)


def side_by_side(table: pd.DataFrame, runs: Sequence[str]) -> list[Chart]:
    """Training losses of some runs of a study, each kind on axes of its own: their values do not compare.

    Stages of another kind leave a gap in the curve of a run.

    Args:
        table: as :func:`losses` gives it.
    """
    kinds = dict.fromkeys(kind for run in runs for kind in table[f"kind_{run}"].dropna())
    charts = []
    for kind in kinds:
        lines = []
        for colour, run in enumerate(runs):
            own = table[table[f"loss_{run}"].notna()]
            fits = own[f"kind_{run}"] == kind
            for _, part in own[fits].groupby((fits != fits.shift()).cumsum()[fits]):
                notes = [f"iteration {iteration:,}" for iteration in part.iteration]
                points = part[["iteration"]].assign(y=part[f"loss_{run}"], note=notes)
                lines.append(Line(name=run, colour=colour, points=points))
        charts.append(_of_losses(kind, lines, xs=_ITERATIONS))
    return charts


def against_compute(seen: pd.DataFrame, runs: Sequence[str], level: float | None) -> Chart:
    """Validation PSNR of runs against block-pixels and seconds: means over the seeds, phase after phase.

    A line is a stretch of a run in which one thing is measured; its points have the column ``phase``.

    Args:
        seen: looks at the validation images, as :func:`looks` gives them.
        level: PSNR RGB in dB of these images without any network; None where it is not known.
    """
    means, lines = bands(seen), []
    for colour, run in enumerate(runs):
        rows = means[means.run == run]
        for _, part in rows.groupby((rows.network != rows.network.shift()).cumsum()):
            network = part.network.iloc[0]
            notes = [
                f"phase {row.phase}, iteration {row.iteration:,}{STYLES[network].mark}" for row in part.itertuples()
            ]
            points = part.assign(y=part.psnr_rgb_validation, note=notes)
            lines.append(Line(name=run, colour=colour, points=points, network=network))
    xs = {
        "block_pixels": "block-pixels of training",
        "seconds": "seconds of training iterations, and of LR_k if recorded",
    }
    if len(seen) and seen.seconds.isna().all():
        del xs["seconds"]
    return Chart(
        title="Validation PSNR against compute",
        xs=xs,
        y=_VALIDATION,
        lines=lines,
        level=level if level is not None and math.isfinite(level) else None,
    )


# -- Losses ------------------------------------------------------------------------------------------------------------


def losses(runs: Mapping[str, Mapping[Key, TrainingFiles]]) -> pd.DataFrame:
    """The training losses of all runs: a row where a history has one, and for each run the columns ``loss_<run>``
    and, further to the right, ``kind_<run>``.

    Args:
        runs: of each run the files of its phases; the loss is the mean over the seeds, and phases follow one another.
    """
    values, kinds = [], []
    for run, phases in runs.items():
        curves = [_one_after_another(of) for of in by_seed(phases).values()]
        values.append(pd.concat([curve.loss for curve in curves], axis=1).mean(axis=1).rename(f"loss_{run}"))
        # The seeds of a run have the same stages.
        kinds.append(pd.concat([curve.kind for curve in curves], axis=1).bfill(axis=1).iloc[:, 0].rename(f"kind_{run}"))
    return pd.concat([*values, *kinds], axis=1).sort_index().rename_axis("iteration").reset_index()


def _one_after_another(phases: Sequence[TrainingFiles]) -> pd.DataFrame:
    parts, before = [], 0
    for files in phases:
        rows = files.rows()
        parts.append(rows[["loss", "kind"]].set_axis(rows.iteration + before))
        before += int(rows.iteration.max()) if len(rows) else 0
    return pd.concat(parts)


def tensorboard(histories: Mapping[Key, Path], out: Path) -> None:
    """Write a folder ``seed<k>/phase<p>`` of events for each phase into ``out``; steps are iterations of the phase.

    Each is written whole from the history: curves that a training wrote by itself would fold back where it was
    interrupted. A history does not hold when a row was written: all have the time of the file.

    Args:
        histories: the history.csv of each (seed, phase).
    """
    from tensorboardX import SummaryWriter

    for (seed, phase), file in histories.items():
        table, time = pd.read_csv(file), file.stat().st_mtime
        with SummaryWriter(logdir=str(out / f"seed{seed}" / f"phase{phase}")) as writer:
            for column, tag in TAGS.items():
                for step, value in zip(table.iteration, table[column], strict=True) if column in table else ():
                    if pd.notna(value):
                        writer.add_scalar(tag, float(value), int(step), walltime=time)


# -- Looks at the validation images ------------------------------------------------------------------------------------


def looks(
    runs: Mapping[str, Mapping[Key, TrainingFiles]], tables: Mapping[str, pd.DataFrame] | None = None
) -> pd.DataFrame:
    """One row a look at the validation images: what the run had spent by then, phase after phase, and PSNR RGB in dB.

    ``block_pixels`` are those of training. ``seconds`` are those of training iterations and, where the tables have it,
    of making LR_k; within a phase they go with the block-pixels. Looks with an infinite PSNR are left out.

    Args:
        runs: of each run the files of its phases.
        tables: the per-phase table of each run; without them seconds are not known.
    """
    parts = [
        _of_seed(files, tables[run][tables[run].seed == seed] if tables else None).assign(run=run, seed=seed)
        for run, phases in runs.items()
        for seed, files in by_seed(phases).items()
    ]
    return pd.concat(parts, ignore_index=True)[list(COLUMNS)] if parts else pd.DataFrame(columns=list(COLUMNS))


def _of_seed(phases: Sequence[TrainingFiles], table: pd.DataFrame | None) -> pd.DataFrame:
    parts, pixels, seconds = [], 0, 0.0
    for number, files in enumerate(phases, 1):
        record = files.record()
        rows = pd.read_csv(files.history)
        rows = rows[np.isfinite(rows.psnr_rgb_validation.astype(float))]  # no iterations, no type
        share = _share(record["stages"], rows.iteration)
        training, made = (math.nan, 0.0) if table is None else _seconds(table[table.phase == str(number)])
        parts.append(
            pd.DataFrame(
                {
                    "phase": number,
                    "iteration": rows.iteration,
                    "block_pixels": pixels + np.rint(share * record["block_pixels"]).astype(np.int64),
                    "seconds": (seconds + share * training).round(1),
                    "psnr_rgb_validation": rows.psnr_rgb_validation.astype(float),
                    "network": _network(record),
                }
            )
        )
        pixels += record["block_pixels"]
        seconds += training + made
    return pd.concat(parts)


def _seconds(spent: pd.DataFrame) -> tuple[float, float]:
    """Seconds of a phase's training iterations, and of making LR_k where the table has it."""
    made = spent.get("seconds_generation", pd.Series(dtype=float)).fillna(0).sum()
    return float(iteration_seconds(spent).iloc[0]), float(made)


def _share(stages: Sequence[Mapping[str, Any]], iterations: pd.Series) -> np.ndarray:
    """The share of a phase's block-pixels that is spent after so many iterations, from 0 to 1."""
    stages = [stage for stage in stages if stage["iterations"]]
    done = np.cumsum([0, *(stage["iterations"] for stage in stages)])
    work = np.cumsum([0, *(stage["iterations"] * stage["batch"] * stage["patch"] ** 2 for stage in stages)])
    return np.interp(iterations, done, work / max(work[-1], 1))


def _network(record: Mapping[str, Any]) -> str:
    first, last = record["span"]
    if last < record.get("blocks", last):
        return PART
    return COMPOSED if first == 1 else STAGED


def bands(seen: pd.DataFrame) -> pd.DataFrame:
    """One row a run and look: means over the seeds, and ``low`` and ``high``, the least and the most PSNR of a seed."""
    groups = seen.groupby(["run", "phase", "iteration", "network"], sort=False)
    psnr = groups.psnr_rgb_validation
    means = groups[["block_pixels", "seconds", "psnr_rgb_validation"]].mean()
    return means.assign(low=psnr.min(), high=psnr.max(), seeds=psnr.count()).reset_index()


def final(seen: pd.DataFrame) -> float | None:
    """PSNR at the last look at a whole network; None where there is none."""
    whole = seen[seen.network != PART].psnr_rgb_validation
    return float(whole.iloc[-1]) if len(whole) else None


def reached(seen: pd.DataFrame, target: float) -> float | None:
    """Block-pixels at which a curve first comes to ``target`` dB; None where it never does.

    Between two looks a straight line; where the first look is there already, its block-pixels.

    Args:
        seen: the looks of one seed, or means over the seeds; those at a part of the network do not count.
    """
    whole = seen[seen.network != PART]
    psnr, pixels = (whole[name].to_numpy(float) for name in ("psnr_rgb_validation", "block_pixels"))
    there = np.flatnonzero(psnr >= target)
    if not len(there):
        return None
    before = slice(max(there[0] - 1, 0), there[0] + 1)
    return float(np.interp(target, psnr[before], pixels[before]))


def reach(seen: pd.DataFrame, baseline: str, total: float) -> pd.DataFrame:
    """One row a run: what it takes to come to the baseline's last PSNR of the validation images.

    The curve is the mean over the seeds, and so is the baseline's PSNR: one seed's curve comes there by luck sooner.

    Args:
        seen: as :func:`looks` gives them, of runs with the same validation images.
        total: block-pixels that the baseline spent; of one that was not trained (0) nothing is to be reached.

    Returns:
        ``reach_psnr`` (what is to be reached), ``reach_block_pixels`` and ``reach_ratio``, in relation to ``total``
        (empty where it is never reached), ``best_psnr`` of the run, and, each seed against the baseline's of the same
        number, ``reach_seeds`` that reach it, of ``reach_of`` seeds, the first and the last at ``reach_ratio_least``
        and ``reach_ratio_most``.
    """
    means, rows = bands(seen), []
    target = final(means[means.run == baseline]) if total else None
    for run in seen.run.unique():
        own = means[means.run == run]
        if target is None or final(own) is None:
            continue
        at = reached(own, target)
        each = _each_seed(seen, run, baseline)
        ratios = [pixels / total for pixels in each if pixels is not None]
        row = {"run": run, "reach_psnr": target, "best_psnr": own[own.network != PART].psnr_rgb_validation.max()}
        row |= {"reach_block_pixels": at and round(at), "reach_ratio": None if at is None else at / total}
        row |= {"reach_seeds": len(ratios), "reach_of": len(each)}
        row |= {"reach_ratio_least": min(ratios, default=None), "reach_ratio_most": max(ratios, default=None)}
        rows.append(row)
    return pd.DataFrame(rows, columns=list(REACH)).round(4)


def _each_seed(seen: pd.DataFrame, run: str, baseline: str) -> list[float | None]:
    """The block-pixels at which the run reaches the baseline's last PSNR of the same seed, for each seed of both."""
    own, base = (dict(list(seen[seen.run == name].groupby("seed"))) for name in (run, baseline))
    targets = {seed: final(base[seed]) for seed in own if seed in base}
    return [reached(own[seed], target) for seed, target in targets.items() if target is not None]


def any_time(seen: pd.DataFrame, level: float | None) -> pd.DataFrame:
    """One row a run: the mean over a time of the best PSNR so far, of the validation images; it is high where a run
    is good whenever it may be stopped.

    That is the area under the curve of the best so far against seconds, as what is called the anytime performance of
    an optimisation algorithm (Lopez-Ibanez and Stuetzle, European Journal of Operational Research 235, 2014), divided
    by the time. The best so far is that of no network until a look is better, and rises at looks alone; looks at a part
    of the network do not count. The time is the same for all: it ends where the first of all runs and seeds ends.

    Args:
        seen: as :func:`looks` gives them, of runs with the same validation images.
        level: PSNR RGB in dB of these images without any network.

    Returns:
        ``any_time`` in dB, mean over the seeds, ``any_time_sd``, their standard deviation, and ``any_time_seconds``;
        no rows where the level is not known, or no time went by.
    """
    curves = [(run, own[own.network != PART]) for (run, _), own in seen.groupby(["run", "seed"], sort=False)]
    until = min((float(own.seconds.iloc[-1]) if len(own) else 0.0 for _, own in curves), default=0.0)
    if level is None or not math.isfinite(level) or until <= 0:
        return pd.DataFrame(columns=list(ANY_TIME))
    found: dict[str, list[float]] = {}
    for run, own in curves:
        best = np.maximum.accumulate([level, *own.psnr_rgb_validation])
        lasts = np.diff(np.minimum([0, *own.seconds, until], until))
        found.setdefault(run, []).append(float((best * lasts).sum() / until))
    rows = [
        (run, np.mean(values), np.std(values, ddof=1) if len(values) > 1 else None, until)
        for run, values in found.items()
    ]
    return pd.DataFrame(rows, columns=list(ANY_TIME)).round(4)
