"""A comparison as Markdown: its tables, and the notes under them."""

import pandas as pd

from multiblock.plan import EQUAL
from multiblock.report import markdown, sentences
from multiblock.report.comparison import TIMED, Comparison, alike, equal, unequal, warning
from multiblock.report.differences import COMPARED, CONFIDENCE
from multiblock.report.markdown import NOT_RECORDED, ONE_SEED, Table
from multiblock.report.tables import BELOW, COMPUTE, PARTS_OF_TIME, REMEDY

NOTHING = Table([], [])

INTERVAL = (
    "The 95 % interval is that of the paired difference, same seed number against same seed number, for other seeds "
    "and other images: seeds and images are crossed, every seed being measured on every image, and the half-widths of "
    "Student's t intervals over the seeds and over the images are added as the sides of a right angle (Banerjee 1960). "
    "It is never narrower than either. *Over seeds* holds for these images alone, *over images* for these networks "
    "alone. Pairing takes out what the images share, and of the seeds only what both runs draw alike. *p* is that of "
    "the 95 % interval: below 0.05 where it leaves 0 out. *Corrected*: for the number of pairs, by Holm's step-down; a "
    "difference survives where that is below 0.05 still. *Finds*: the smallest true difference that such a study tells "
    "from none in 8 of 10 cases, by the scatter that was measured, and as rough as that is."
)

IN_FOLDS = (
    "Folds: each image is tested once a seed, by the network that was trained without its fold, and means are over "
    "the images of all folds. What is peculiar to a network is taken from the differences between the seeds of a fold, "
    "with folds x (seeds - 1) degrees of freedom; with one seed, from those between its folds, each of which is "
    "another network on other images. The intervals hold for networks that are trained on these images. What a run "
    "took is what one of its seeds x folds networks took."
)

MEANS = (
    "Last phase of each run, composed, means over the test images. Weights are those of the last iteration, or, where "
    "`training.keep` says so, those of the best look at the validation images. PSNR RGB in dB: floats, no rounding, no "
    "border cut; PSNR-Y and SSIM-Y: 8 bits, a border cut. sd: standard deviation over the seeds."
)

REACH = (
    "Reach: block-pixels of training until the validation PSNR, mean over the seeds, first comes to the baseline's "
    "last; looks at a span with trained blocks after it do not count, and nothing is chosen on test images. A curve "
    "that wavers comes there early: hold a run against what the baseline itself took. Any time: the mean, over the "
    "time of the run that ended first, of the best validation PSNR so far, which is that of no network until a look is "
    "better (the anytime performance of optimisation); time is that of iterations and of making LR_k."
)


def as_markdown(found: Comparison) -> str:
    """Tables, then sentences and notes."""
    tables = means(found), differences(found), spent(found), reach(found)
    lines = "\n".join(f"- {line}" for line in sentences.of_comparison(found))
    return markdown.document([*tables, markdown.NOTES, sentences.unequal(found), lines, *notes(found)])


def notes(found: Comparison) -> list[str]:
    """The notes under the tables, as Markdown, a paragraph each; the loudest first."""
    several, known = len(found.runs) > 1, found.differences.ci95_low.notna().any()
    runs = found.runs[found.runs.below_no_network != ""]
    below = "; ".join(f"run {row.run}: {row.below_no_network}" for row in runs.itertuples())
    parts = [
        f"**{BELOW}: {below}. {REMEDY}**" if below else "",
        found.unlike,
        markdown.left_out(found.runs.left_out.unique()),
        MEANS + (f" {ONE_SEED}" if found.runs.seeds.max() == 1 and not known else ""),
        markdown.about_measures(found.measures),
        INTERVAL if known else "",
        IN_FOLDS if (found.differences.folds > 1).any() else "",
        f"{COMPUTE} All of them are sums over the phases, means over the seeds.",
        _about_shared(found.runs),
        _equal_means(found) if several else "",
        REACH if several and len(found.reach) else "",
    ]
    return [part for part in parts if part]


def _about_shared(table: pd.DataFrame) -> str:
    """The note on what the study really took, where its runs share phases."""
    took, spent = table.block_pixels.sum(), table.block_pixels_spent.sum()
    if spent >= took:
        return ""
    return (
        f"Phases that runs share are trained once: the study took {spent:.3g} block-pixels and "
        f"{table.seconds_spent.sum():.0f} seconds of training a seed, where its runs sum up to {took:.3g} and "
        f"{table.seconds.sum():.0f}."
    )


def means(found: Comparison) -> Table:
    """The last phase of each run."""
    metrics = (*COMPARED, *found.measures)
    columns = [
        "run",
        "PSNR RGB of the input",
        *(head for title in markdown.heads_of(metrics) for head in (title, "sd")),
    ]
    rows = []
    for row in found.runs.to_dict("records"):
        phase = "" if row["psnr_rgb"] < row["psnr_rgb_input"] else "a phase "
        named = row["run"] + (f" {phase}**{BELOW}**" if row["below_no_network"] else "")
        figures = [markdown.metric(name, row[column]) for name in metrics for column in (name, f"{name}_sd")]
        rows.append([named, markdown.psnr(row["psnr_rgb_input"]), *figures, row["seeds"], _compute(found, row["run"])])
    if len(found.runs) == 1:
        return Table([*columns, "seeds"], [row[:-1] for row in rows])
    return Table([*columns, "seeds", "compute"], rows)


def _compute(found: Comparison, run: str) -> str:
    """The cell of what a run spent in relation to the baseline."""
    own, base = found.spent[run], found.spent[found.baseline]
    warned = warning(own, base, found.baseline)
    return "baseline" if run == found.baseline else f"**{warned}**" if warned else alike(own, base)


def differences(found: Comparison) -> Table:
    """Each run over the baseline, then over the one that it is equal to."""
    table = found.differences
    if table.empty:
        return NOTHING
    first, *others = markdown.heads_of((*COMPARED, *found.measures))
    columns = [f"over {found.baseline}", first, "sd", "95 % interval", "over seeds", "over images"]
    columns += ["p", "corrected", "finds"]
    columns += [head for title in others for head in (title, "95 % interval")]
    rows = []
    for (run, base), of_pair in table.groupby(["run", "baseline"], sort=False):
        rgb, *rest = of_pair.itertuples()  # in the order of the heads
        cells = [run if base == found.baseline else f"{run} over {base}", markdown.number(rgb.difference, "+.3f")]
        cells += [markdown.psnr(rgb.sd_over_seeds)]
        cells += [_interval(rgb, name) for name in ("ci95", "over_seeds", "over_images")]
        holm = markdown.number(rgb.p_holm, ".2g")
        cells += [markdown.number(rgb.p, ".2g"), f"{holm}, survives" if rgb.p_holm < 1 - CONFIDENCE else holm]
        cells += [markdown.number(rgb.finds_80, ".2g")]
        for row in rest:
            digits = 3 if row.metric.startswith("psnr") else 4
            cells += [markdown.number(row.difference, f"+.{digits}f"), _interval(row, "ci95", digits)]
        rows.append([*cells, rgb.why_not or f"{rgb.seeds} x {rgb.images}{sentences.in_folds(rgb.folds)}"])
    return Table([*columns, "seeds x images"], rows)


def _interval(row: object, name: str, digits: int = 3) -> str:
    low, high = (getattr(row, f"{name}_{end}") for end in ("low", "high"))
    return "none" if pd.isna(low) else f"{low:+.{digits}f} to {high:+.{digits}f}"


def spent(found: Comparison) -> Table:
    """The amounts that each run took, and those in which it is equal to the baseline."""
    columns = ["run", "parameters of the whole network", "iterations", "block-pixels of training"]
    columns += ["block-pixels of LR_k", "training FLOPs", "seconds", "relative time of an iteration"]
    relations = [f"equal to {found.baseline}", f"not equal to {found.baseline}"] if len(found.runs) > 1 else []
    parts = _parts_of_time(found)
    rows = []
    for row in found.runs.itertuples():
        own, base = found.spent[row.run], found.spent[found.baseline]
        cells = [row.run, markdown.number(row.parameters, ",", NOT_RECORDED), f"{row.iterations:,}"]
        cells += [f"{row.block_pixels:.3g}", f"{row.generation_block_pixels:.3g}"]
        cells += [markdown.number(own["training_flops"], ".3g", NOT_RECORDED)]
        cells += [f"{row.seconds:.0f}", f"{row.relative_time:.2f}"]
        if relations and row.run == found.baseline:
            cells += ["baseline", ""]
        elif relations:
            cells += [", ".join(equal(own, base)) or "in nothing", ", ".join(unequal(own, base))]
        rows.append([*cells, *(markdown.number(own[name], ".1f", NOT_RECORDED) for name in parts)])
    return Table([*columns, *relations, *parts.values()], rows)


def _parts_of_time(found: Comparison) -> dict[str, str]:
    """The columns of where the time went that a table of a run holds."""
    named = dict(zip(PARTS_OF_TIME, ("iterations", "validation", "making LR_k", "start"), strict=True))
    known = {name for spent in found.spent.values() for name in named if spent[name] is not None}
    return {name: f"seconds of {words}" for name, words in named.items() if name in known}


def reach(found: Comparison) -> Table:
    """The compute that each run took to come to the baseline's last PSNR of the validation images."""
    if found.reach.empty or len(found.runs) == 1:
        return NOTHING
    base = found.baseline
    columns = ["run", f"block-pixels to the last validation PSNR of {base}", f"in relation to all of {base}", "by seed"]
    columns += ["any time [dB]", "sd", "over seconds"]
    rows = []
    for row in found.reach.itertuples():
        never = pd.isna(row.reach_ratio)
        cells = ["never reached", ""] if never else [f"{row.reach_block_pixels:.3g}", f"{row.reach_ratio:.3f}"]
        span = f", {row.reach_ratio_least:.3f} to {row.reach_ratio_most:.3f}" if row.reach_seeds else ""
        area = [
            markdown.psnr(row.any_time),
            markdown.psnr(row.any_time_sd),
            markdown.number(row.any_time_seconds, ".0f"),
        ]
        rows.append([row.run, *cells, f"{row.reach_seeds} of {row.reach_of}{span}", *area])
    return Table(columns, rows)


def _equal_means(found: Comparison) -> str:
    note = (
        f"Equal: within {100 * EQUAL:.0f} % of {found.baseline}. What differs in block-pixels of training, "
        "by themselves or with the making of LR_k (a block-pixel of it counts as a third), or in training FLOPs, is "
        "warned of."
    )
    if any(spent["seconds_group"] is not None for spent in found.spent.values()):
        note += (
            f" Runs that were sized by seconds are equal where what they took is within {100 * TIMED:.0f} %: training, "
            "making LR_k and starts. Their plans go by speeds that were measured before."
        )
    unknown = [run for run, spent in found.spent.items() if spent["training_flops"] is None]
    return note + (" Training FLOPs are not recorded for all runs." if unknown else "")
