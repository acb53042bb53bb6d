"""The comparison of a study's runs: intervals, compute, curves, and what is said of them in words."""

import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from made_up import INF, caption, cells, psnr_csv, training
from multiblock.data import images
from multiblock.report import curves, differences, figures, sentences, tables
from multiblock.report.comparison import comparison, spent_on, unlike
from multiblock.report.comparison_markdown import as_markdown
from multiblock.report.differences import errors, half_width, paired

BASE = {"i0": 20.0, "i1": 24.0, "i2": 22.0, "i3": 26.0, "i4": 21.0}
BATCH, PATCH = 4, 10
"""Of the trainings below: 400 pixels an iteration and block."""


def run(folder, psnr, spans=((1, 2),), iterations=(10,), looks=None, *, before=19.0, plain=19.0, seconds=2.0, **extra):
    """A finished run of hand: its table, the last CSVs by seed, and what the trainings of its phases left.

    Args:
        psnr: of each seed, PSNR of each image after the last phase.
        before: PSNR of each test image with no network.
        looks: of each phase, (iteration, validation PSNR); the same for all seeds, or a list a seed.
        extra: columns of the table, one figure for every phase.
    """
    csvs, phases = {}, {}
    for seed, of_images in psnr.items():
        for phase, (span, many) in enumerate(zip(spans, iterations, strict=True), 1):
            made = folder / f"seed{seed}" / f"phase{phase}"
            made.mkdir(parents=True)
            csvs[seed, phase] = psnr_csv(made / "psnr.csv", dict.fromkeys(of_images, before), of_images, phase)
            seen = looks[seed] if isinstance(looks, dict) else looks
            rows = [(i, 1, 1e-3, 0.1, value) for i, value in (seen[phase - 1] if seen else [(many, 20.0)])]
            stages = [{"loss": {"l1": 1}, "iterations": many, "batch": BATCH, "patch": PATCH}]
            pixels = many * BATCH * PATCH**2 * (span[1] - span[0] + 1)
            fields = {"iterations": many, "block_pixels": pixels, "parameters_chain": 1000, "stages": stages}
            fields |= {"blocks": max(last for _, last in spans[:phase]), "seconds": seconds}
            fields |= {"psnr_rgb_validation": rows[-1][-1], "psnr_rgb_validation_input": plain}
            phases[seed, phase] = training(made, rows, span, **fields)
    table = tables.psnr_by_phase(csvs, {key: of.training for key, of in phases.items()}, {}, 0).assign(**extra)
    return SimpleNamespace(table=table, last={seed: csvs[seed, len(spans)] for seed in psnr}, phases=phases)


def compared(baseline, also=(), in_seconds=None, **runs):
    """The comparison of runs of hand, and their looks; ``also`` are pairs beside those with the baseline."""
    each = {name: one.table for name, one in runs.items()}
    seen = curves.looks({name: one.phases for name, one in runs.items()}, each)
    pairs = [*((name, baseline) for name in runs if name != baseline), *also]
    trained = {name: one.phases for name, one in runs.items()}
    last = {name: one.last for name, one in runs.items()}
    return comparison(each, last, seen, baseline, pairs, trained, in_seconds), seen


def shifted(by, seeds=(1, 2, 3), images=BASE):
    """PSNR by seed: the baseline's, and so much more for a seed and image."""
    return {s: {name: value + by(k, i) for i, (name, value) in enumerate(images.items())} for k, s in enumerate(seeds)}


def plain(folder, seeds=(1, 2, 3), **how):
    """The baseline, whose seeds differ by 0.1 dB, which pairing takes out."""
    return run(folder / "plain", shifted(lambda k, i: 0.1 * k, seeds), **how)


def said(found):
    """The sentences on PSNR RGB, a pair each."""
    return sentences.of_comparison(found)[: len(found.differences) // len((*differences.COMPARED, *found.measures))]


def test_runs_that_were_not_trained_on_the_same_are_named():
    def on(precision, threads):
        return [{"segments": [{"name": "CPU", "precision": precision, "threads": threads}]}]

    assert not unlike({"a": on("float32", 1), "b": on("float32", 1)}) and not unlike({"a": [{}], "b": [{}]})
    said = unlike({"a": on("float32", 1), "b": on("bfloat16", 1), "c": on("float32", 1) + on("float32", 2)})
    assert "precision: float32 (a, c), bfloat16 (b); threads: 1 (a, b), 1 and 2 (c)" in said, said


# -- Statistics --------------------------------------------------------------------------------------------------------

TABLE = np.array([[0.10, 0.16, 0.07, 0.12, 0.15], [0.05, 0.09, 0.04, 0.11, 0.06], [0.14, 0.21, 0.09, 0.20, 0.11]])
"""Differences of three seeds on five images."""


def test_intervals_are_scipys():
    found = paired(TABLE)
    for axis, ours in ((1, found.over_seeds), (0, found.over_images)):
        assert ours == pytest.approx(stats.ttest_1samp(TABLE.mean(axis=axis), 0).confidence_interval(0.95))
    assert found.mean == pytest.approx(TABLE.mean())
    assert found.sd == pytest.approx(np.std([0.12, 0.07, 0.15], ddof=1))


def test_a_crossed_example_by_hand():
    # Seeds -1, 1 and images -2, 0, 2 around 10 without a rest: means of the seeds 9, 11, of the images 8, 10, 12.
    found = paired(10 + np.array([[-1.0], [1.0]]) + np.array([[-2.0, 0.0, 2.0]]))
    seeds, images = 12.7062 * 1, 4.30265 * 2 / math.sqrt(3)
    assert found.over_seeds == pytest.approx((10 - seeds, 10 + seeds), rel=1e-5)
    assert found.over_images == pytest.approx((10 - images, 10 + images), rel=1e-5)
    both = math.sqrt(seeds**2 + images**2)
    assert found.over_both == found.headline == pytest.approx((10 - both, 10 + both), rel=1e-5)


@pytest.mark.parametrize("of", [(1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 1, 1), (1, 3, 1), (0, 0, 1)])
def test_the_interval_covers_the_truth_as_often_as_it_says(of):
    """Three seeds on five images, whatever scatters: seeds, images, or the rest."""
    rng, studies = np.random.default_rng(1), 20_000
    scatter = (rng.normal(size=(studies, *shape)) for shape in ((3, 1), (1, 5), (3, 5)))
    made = sum(size * one for size, one in zip(of, scatter, strict=True))
    over_both = half_width(*errors(made)[2])
    covered = (np.abs(made.mean(axis=(1, 2))) <= over_both + 1e-12).mean()
    assert covered > 0.95 - 3 * math.sqrt(0.95 * 0.05 / studies)
    first = paired(made[0])
    assert first.over_both[1] - first.mean == pytest.approx(over_both[0])


# -- Differences -------------------------------------------------------------------------------------------------------


def test_a_cell_is_recomputed_from_the_tables_of_the_images(tmp_path):
    found, _ = compared(
        "plain", plain=plain(tmp_path), phased=run(tmp_path / "phased", shifted(lambda k, i: 0.1 * k + TABLE[k, i]))
    )
    row = found.differences[found.differences.metric == "psnr_rgb"].iloc[0]
    apart = []
    for seed in (1, 2, 3):
        one, other = (
            pd.read_csv(tmp_path / name / f"seed{seed}" / "phase1" / "psnr.csv", dtype={"phase": str})
            .query("phase == '1'")
            .set_index("image")
            .psnr_rgb_composed
            for name in ("phased", "plain")
        )
        apart.append((one - other).to_numpy())
    means = np.array(apart).mean(axis=1)
    expected = stats.ttest_rel(np.array(apart).mean(axis=1), np.zeros(3)).confidence_interval(0.95)
    assert (row.over_seeds_low, row.over_seeds_high) == pytest.approx(expected, abs=1e-5)
    assert row.difference == pytest.approx(np.mean(apart), abs=1e-5) == pytest.approx(TABLE.mean(), abs=1e-5)
    assert json.loads(row.by_seed) == pytest.approx({"1": means[0], "2": means[1], "3": means[2]}, abs=1e-5)
    assert row.sd_over_seeds == pytest.approx(means.std(ddof=1), abs=1e-5)
    # Without pairing, the 0.1 dB between the baseline's seeds would count.
    assert found.runs.set_index("run").psnr_rgb_sd["plain"] == pytest.approx(0.1)
    assert (row.seeds, row.images, row.method) == (3, 5, differences.BOTH)


SURE = ", 3 seeds x 5 images, at equal block-pixels{finds}."
NOISE = "differences under about 0.1 dB are not distinguishable"


@pytest.mark.parametrize(
    ("by", "seeds", "images", "expected"),
    [
        (lambda k, i: TABLE[k, i] + 0.1, 3, 5, f"other is 0.21 dB above plain, 95 % interval 0.10 to 0.32{SURE}"),
        (lambda k, i: -TABLE[k, i] - 0.1, 3, 5, f"other is 0.21 dB below plain, 95 % interval -0.32 to -0.10{SURE}"),
        (
            lambda k, i: TABLE[k, i] - 0.1,
            *(3, 5),
            "other cannot be told apart from plain: difference +0.01 dB, 95 % interval -0.10 to 0.12, 3 seeds x 5 "
            "images, at equal block-pixels; a gain of more than 0.12 dB and a loss of more than 0.10 dB are "
            "excluded{finds}.",
        ),
        (lambda k, i: 0, 3, 5, f"other has the same figures as plain{SURE}"),
        (  # no end of an interval is rounded to nothing
            lambda k, i: 0.003 + 0.0005 * (i - 2),
            *(3, 5),
            f"other is 0.003 dB above plain, 95 % interval 0.002 to 0.004{SURE}",
        ),
        (
            lambda k, i: TABLE[k, i],
            *(1, 5),
            f"other is 0.12 dB above plain, 1 seed x 5 images: with one seed no interval over seeds can be given, and "
            f"{NOISE} (over the images alone: 0.07 to 0.17); at equal block-pixels.",
        ),
        (lambda k, i: 0, 1, 5, "other has the same figures as plain, 1 seed x 5 images, at equal block-pixels."),
        (
            lambda k, i: 0.2 + 0.01 * k,
            *(3, 1),
            "other is 0.21 dB above plain, 95 % interval on this one image 0.19 to 0.23, 3 seeds x 1 image, at equal "
            "block-pixels{finds}.",
        ),
    ],
)
def test_the_sentence_of_a_pair(tmp_path, by, seeds, images, expected):
    of = {"seeds": range(7, 7 + seeds), "images": dict(list(BASE.items())[:images])}
    other = run(tmp_path / "other", shifted(lambda k, i: 0.1 * k + by(k, i), **of))
    found, _ = compared("plain", plain=run(tmp_path / "plain", shifted(lambda k, i: 0.1 * k, **of)), other=other)
    text = as_markdown(found)
    row = found.differences.iloc[0]
    known = row.finds_80 and not pd.isna(row.finds_80)
    expected = expected.format(finds=f"; this design finds {row.finds_80:.2g} dB in 8 of 10 cases" if known else "")
    assert said(found) == [expected] and f"- {expected}" in text
    assert (pd.isna(row.ci95_low) and pd.isna(row.sd_over_seeds)) == (seeds == 1) == (row.method == "one seed")
    for note, known in (("One seed: no interval can be given", False), ("| none ", False), ("Banerjee", True)):
        assert (note in text) == (known if seeds > 1 else not known) or images == 1, note


def test_a_run_is_held_against_the_one_that_it_is_equal_to(tmp_path):
    found, _ = compared(
        "plain",
        also=[("go_long", "long")],
        plain=plain(tmp_path, iterations=(50,)),
        long=run(tmp_path / "long", shifted(lambda k, i: 0.1 * k + 0.5), iterations=(100,)),
        go_long=run(tmp_path / "go_long", shifted(lambda k, i: 0.1 * k + 0.5 - TABLE[k, i] - 0.1), iterations=(100,)),
    )
    sentence = (
        "go_long is 0.21 dB below long, 95 % interval -0.32 to -0.10, 3 seeds x 5 images, at equal block-pixels; "
    )
    sentence += "it survives Holm's correction for 3 comparisons (p 0.013, corrected 0.014); this design finds "
    assert len(said(found)[2:]) == 1 and said(found)[2].startswith(sentence), said(found)
    text = as_markdown(found)
    assert f"- {sentence}" in text and "but it spent 2.00 x the block-pixels of plain; " in said(found)[1]
    row = next(row for row in cells(text) if row[0] == "go_long over long")
    own = found.differences[found.differences.baseline == "long"].reset_index(drop=True)
    assert row[1] == f"{own.difference[0]:+.3f}" and row[3] == f"{own.ci95_low[0]:+.3f} to {own.ci95_high[0]:+.3f}"
    assert own.metric.tolist() == list(differences.COMPARED)
    assert own.difference[0] == pytest.approx(-TABLE.mean() - 0.1, abs=1e-5)
    assert [row[0] for row in cells(text)].count("go_long") == 4  # means, over plain, what it took, reach
    figures.differences(found, tmp_path / "differences.png")


def test_measures_that_were_asked_for_are_compared_too(tmp_path):
    runs = {"plain": plain(tmp_path), "other": run(tmp_path / "other", shifted(lambda k, i: 0.5))}
    for name, value in (("plain", 0.06), ("other", 0.05)):
        for seed, file in runs[name].last.items():
            table = pd.read_csv(file, dtype={"phase": str, "image": str})
            table.assign(gmsd_composed=value + seed / 1000, gmsd_staged=0.5).to_csv(file, index=False)
    found, _ = compared("plain", **runs)
    row = found.differences[found.differences.metric == "gmsd"].iloc[0]
    assert row.difference == pytest.approx(-0.01)
    assert found.runs.set_index("run").gmsd.to_dict() == pytest.approx({"plain": 0.062, "other": 0.052})
    text = as_markdown(found)
    assert "GMSD" in text and "-0.0100" in text and "0.0620" in text


def test_seeds_and_images_that_do_not_count_are_named(tmp_path):
    values = shifted(lambda k, i: TABLE[k, i], seeds=(3, 1))
    values[1]["i4"] = INF
    other = run(tmp_path / "other", values)
    found, _ = compared("plain", plain=plain(tmp_path, (1, 2, 3)), other=other)
    row = found.differences.iloc[0]
    # Seeds are paired by their number, whatever their order.
    assert json.loads(row.by_seed) == pytest.approx(
        {"1": TABLE[1, :4].mean(), "3": TABLE[0, :4].mean() - 0.2}, abs=1e-5
    )
    assert (
        "2 seeds x 4 images (seeds of one of them alone left out: 2; 1 image left out, equal to HR)" in said(found)[0]
    )


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({9: BASE}, "no seed in common with plain"),
        ({1: {"elsewhere": 20.0}}, "other test images than plain"),
        ({1: dict.fromkeys(BASE, INF)}, "no test image that does not equal HR in one of them"),
    ],
)
def test_where_there_is_no_difference_it_says_why(tmp_path, values, why):
    found, _ = compared("plain", plain=plain(tmp_path), other=run(tmp_path / "other", values))
    assert said(found) == [f"other: no difference from plain can be given: {why}."]
    assert why in as_markdown(found)
    figures.differences(found, tmp_path / "f.png")


def test_other_pictures_of_the_same_names_are_not_compared(tmp_path):
    """Nor are the same ones at another scale: with no network they have another PSNR."""
    found, _ = compared("plain", plain=plain(tmp_path), other=run(tmp_path / "other", {1: BASE, 2: BASE}, before=19.5))
    why = "other test images, or LR, than plain"
    assert said(found) == [f"other: no difference from plain can be given: {why}."] and why in as_markdown(found)
    assert found.differences.p.isna().all() and found.differences.difference.isna().all()


def test_one_run_has_no_differences(tmp_path):
    found, _ = compared("plain", plain=plain(tmp_path))
    assert found.differences.empty
    text = as_markdown(found)
    assert len([row for row in cells(text) if row[0] == "plain"]) == 2 and "interval" not in text


# -- Compute -----------------------------------------------------------------------------------------------------------


def test_unequal_compute_is_warned_of_in_the_table(tmp_path):
    more = run(tmp_path / "more", shifted(lambda k, i: 0.1 * k + 0.2), iterations=(137,))
    nearly = run(tmp_path / "nearly", shifted(lambda k, i: 0.1 * k), iterations=(101,))
    found, _ = compared("plain", plain=plain(tmp_path, iterations=(100,)), more=more, nearly=nearly)
    assert ", 3 seeds x 5 images, but it spent 1.37 x the block-pixels of plain; " in said(found)[0]
    text = as_markdown(found)
    rows = {row[0]: row for row in cells(text)[:5]}
    assert rows["more"][-1] == "**spent 1.37 x the block-pixels of plain**"
    assert rows["nearly"][-1] == "equal block-pixels" and rows["plain"][-1] == "baseline"
    assert "**Compute is not equal: more spent 1.37 x the block-pixels of plain.**" in text
    assert found.runs.block_pixels_ratio.tolist() == [1, 1.37, 1.01]
    spent = next(row for row in cells(text) if row[0] == "more" and "parameters, seconds" in row)
    assert "block-pixels 1.37 x, iterations 1.37 x" in spent and "not recorded" in spent


def test_a_baseline_that_was_not_trained_is_named(tmp_path):
    """As a published network that is measured as it is."""
    psnr = {1: BASE, 2: BASE}
    found, _ = compared(
        "published",
        published=run(tmp_path / "published", psnr, iterations=(0,), looks=[[(0, 20.0)]]),
        tuned=run(tmp_path / "tuned", psnr),
    )
    assert list(found.runs.compute_warning.fillna("")) == ["", "was trained, and published was not"]


def test_runs_that_are_sized_by_seconds_are_equal_in_these(tmp_path):
    base = plain(tmp_path, iterations=(100,), seconds=20.0, training_flops=2e9, seconds_start=4.0)
    same = {"seconds": 23.0, "seconds_start": 1.0}
    fast = run(tmp_path / "fast", shifted(lambda k, i: 0), iterations=(137,), training_flops=3e9, **same)
    late = run(tmp_path / "late", shifted(lambda k, i: 0), iterations=(100,), seconds=26.0, seconds_start=0.2)
    held_up = run(tmp_path / "held_up", shifted(lambda k, i: 0), iterations=(137,), seconds=36.0)
    other = run(tmp_path / "other", shifted(lambda k, i: 0), iterations=(137,), seconds=24.0)
    runs = {"plain": base, "fast": fast, "late": late, "held_up": held_up, "other": other}
    found, _ = compared("plain", in_seconds={"plain": "fast", "late": "fast", "held_up": "fast"}, **runs)
    expected = {
        "fast": "equal seconds, with 1.37 x the block-pixels and 1.50 x the training FLOPs",  # 24 s each
        "late": "equal seconds (1.09 x as taken)",  # 26.2 s
        "held_up": "took 1.50 x the seconds of plain, planned to be equal",
        "other": "spent 1.37 x the block-pixels of plain",
    }
    given = [sentence.split("images, ")[1].split("; ")[0].rstrip(".") for sentence in said(found)]
    assert given == [f"{'at' if text[0] == 'e' else 'but it'} {text}" for text in expected.values()]
    text = as_markdown(found)
    shown = [row[-1] for row in cells(text)[2:7]]
    assert shown == ["baseline", *(words if words[0] == "e" else f"**{words}**" for words in expected.values())]
    loud = "**Compute is not equal: held_up took 1.50 x the seconds of plain, planned to be equal; other spent 1.37 x"
    assert loud in text and "sized by seconds are equal where what they took is within 10 %" in text
    assert "sized by seconds" not in as_markdown(compared("plain", **runs)[0])


def test_making_lr_k_and_flops_count_where_block_pixels_of_training_are_equal(tmp_path):
    base = plain(tmp_path, training_flops=1e9, seconds_generation=3.0)
    lr_k = run(tmp_path / "lr_k", shifted(lambda k, i: 0), training_flops=1e9, generation_block_pixels=1200)
    flops = run(tmp_path / "flops", shifted(lambda k, i: 0), training_flops=1.2e9)
    equal = run(tmp_path / "equal", shifted(lambda k, i: 0), training_flops=1e9)
    found, _ = compared("plain", plain=base, lr_k=lr_k, flops=flops, equal=equal)
    assert [sentence.split("images, ")[1].split("; ")[0].rstrip(".") for sentence in said(found)] == [
        "at equal block-pixels and training FLOPs (1.05 x with the making of LR_k)",
        "but it spent 1.20 x the training FLOPs of plain, at equal block-pixels",
        "at equal block-pixels and training FLOPs",
    ]
    text = as_markdown(found)
    assert "**Compute is not equal: flops spent 1.20 x the training FLOPs" in text and "lr_k spent" not in text
    assert "equal block-pixels and training FLOPs" in text and "seconds of making LR_k" in text
    assert found.runs.training_flops_ratio.tolist() == [1, 1, 1.2, 1]
    assert "Training FLOPs are not recorded" not in text


def test_amounts_are_sums_over_phases_and_means_over_seeds(tmp_path):
    one = run(tmp_path / "a", shifted(lambda k, i: 0), spans=((1, 1), (1, 2)), iterations=(10, 5), training_flops=7)
    spent = spent_on(one.table)
    assert spent["block_pixels"] == 10 * 400 + 5 * 400 * 2 and spent["iterations"] == 15
    assert spent["training_flops"] == 14 and spent["seconds"] == 4 and spent["seconds_start"] is None
    part = one.table.assign(training_flops=[7, 7, None] * 3)
    assert spent_on(part)["training_flops"] is None


# -- Curves ------------------------------------------------------------------------------------------------------------

PHASES = {"spans": ((1, 1), (2, 2), (1, 2)), "iterations": (10, 10, 20)}
LOOKS = [[(5, 20.0), (10, 21.0)], [(10, 22.0)], [(10, 24.0), (20, 25.0)]]


def test_looks_stand_at_what_was_spent(tmp_path):
    one = run(tmp_path / "a", {1: BASE}, **PHASES, looks=LOOKS, seconds_generation=1.0)
    _, seen = compared("a", a=one)
    assert seen.block_pixels.tolist() == [2000, 4000, 8000, 16000, 24000]
    # A phase takes 2 s, 0.4 of them for validation, and LR_k another second.
    assert seen.seconds.tolist() == pytest.approx([0.8, 1.6, 4.2, 6.0, 6.8])
    assert seen.network.tolist() == ["composed"] * 2 + ["staged"] + ["composed"] * 2
    assert seen.phase.tolist() == [1, 1, 2, 3, 3]


def test_stages_cost_what_their_patches_hold(tmp_path):
    one = run(tmp_path / "a", {1: BASE}, looks=[[(5, 20.0), (10, 21.0), (15, 22.0)]], iterations=(15,))
    file = tmp_path / "a/seed1/phase1/training.json"
    stages = [
        {"loss": {"l1": 1}, "iterations": n, "batch": b, "patch": p} for n, b, p in ((5, 4, 10), (0, 9, 9), (10, 2, 30))
    ]
    file.write_text(json.dumps({**json.loads(file.read_text()), "stages": stages, "block_pixels": 40_000}))
    _, seen = compared("a", a=one)
    assert seen.block_pixels.tolist() == [4000, 22_000, 40_000]


def test_a_span_with_trained_blocks_after_it_says_nothing_of_the_network(tmp_path):
    looks = [[(10, 20.0)], [(5, 30.0), (10, 31.0)], [(20, 25.0)]]
    spans = ((1, 2), (1, 1), (1, 2))
    again = run(tmp_path / "again", {1: BASE}, spans=spans, iterations=(10, 10, 20), looks=looks)
    found, seen = compared("plain", plain=plain(tmp_path, (1,), looks=[[(10, 24.0)]]), again=again)
    assert seen[seen.run == "again"].network.tolist() == ["composed", "part", "part", "composed"]
    row = found.reach.set_index("run").loc["again"]
    assert row.reach_block_pixels == 8000 + (28_000 - 8000) * 0.8


def test_bands_are_means_and_extremes_of_the_seeds(tmp_path):
    looks = {seed: [[(5, 20.0 + seed), (10, 22.0)]] for seed in (1, 2, 3)}
    _, seen = compared("a", a=run(tmp_path / "a", shifted(lambda k, i: 0), looks=looks))
    band = curves.bands(seen)
    assert band.psnr_rgb_validation.tolist() == [22, 22] and band.low.tolist() == [21, 22]
    assert band.high.tolist() == [23, 22] and band.seeds.tolist() == [3, 3]
    assert band.block_pixels.tolist() == [4000, 8000]


def test_what_it_takes_to_reach_the_baseline(tmp_path):
    found, _ = compared(
        "plain",
        plain=plain(tmp_path, looks=[[(5, 23.0), (10, 24.0)]]),
        fast=run(
            tmp_path / "fast",
            shifted(lambda k, i: 0),
            looks={s: [[(2, 22.5 + s / 2), (4, 25.5), (10, 26.0)]] for s in (1, 2, 3)},
        ),
        slow=run(tmp_path / "slow", shifted(lambda k, i: 0), looks=[[(5, 22.0), (10, 23.5)]]),
        late=run(tmp_path / "late", shifted(lambda k, i: 0), looks=[[(10, 25.0)]]),
        other=run(tmp_path / "other", shifted(lambda k, i: 0), plain=18.0),
    )
    reach = found.reach.set_index("run")
    # From 23.5 dB at 1,600 block-pixels to 25.5 dB at 3,200.
    assert reach.reach_block_pixels["fast"] == 2000 and reach.reach_ratio["fast"] == 0.25
    assert reach.reach_ratio["plain"] == 1 and reach.reach_ratio["late"] == 1 and pd.isna(reach.reach_ratio["slow"])
    assert (reach.reach_ratio_least["fast"], reach.reach_ratio_most["fast"]) == pytest.approx((0.2, 0.28))
    assert "other" not in reach.index and found.runs.run.tolist()[-1] == "other"
    text = as_markdown(found)
    for sentence in (
        "- fast reaches the last validation PSNR of plain (24.000 dB) after 2e+03 block-pixels, 0.25 x all that plain "
        "spent (where plain itself first came there at 1.00 x); seed by seed, 3 of 3 reach it, at 0.20 x to 0.28 x.",
        "- plain itself first comes to its last validation PSNR (24.000 dB) after 8e+03 block-pixels, 1.00 x all that "
        "plain spent.",
        "- slow never reaches the last validation PSNR of plain (24.000 dB): its highest is 23.500 dB.",
        "- other looks at other validation images than plain, or at none: what it takes cannot be compared.",
    ):
        assert sentence in text, sentence
    rows = cells(text)
    assert ["slow", "never reached", "", "0 of 3"] in [row[:4] for row in rows] and "any time [dB]" in text


def seen_at(**runs) -> pd.DataFrame:
    """Looks of one phase: of each run a list a seed of (seconds, PSNR, what was seen)."""
    rows = [
        {"run": name, "seed": seed, "seconds": float(at), "psnr_rgb_validation": psnr, "network": network}
        for name, seeds in runs.items()
        for seed, looks in enumerate(seeds, 1)
        for at, psnr, network in looks
    ]
    return pd.DataFrame(rows)


def test_the_area_under_the_best_so_far_over_the_time_that_all_had():
    """Areas by hand, over the 10 seconds of the first that ends, without a network 20 dB."""
    whole = curves.COMPOSED
    seen = seen_at(
        # 4 s at 20 dB, 4 s at 23 dB, which a worse look does not take back, 2 s at 26 dB.
        steady=[[(4, 23.0, whole), (6, 21.0, whole), (8, 26.0, curves.STAGED), (20, 30.0, whole)]] * 2,
        # Nothing is better than no network for 5 s; then 25 dB, and 29 dB from 7 s on for the second seed.
        late=[
            [(2, 15.0, whole), (5, 25.0, whole), (10, 31.0, whole)],
            [(5, 25.0, whole), (7, 29.0, whole), (12, 0.0, whole)],
        ],
        # A part of the network is no network.
        part=[[(1, 40.0, curves.PART), (11, 21.0, whole)]],
    )
    found = curves.any_time(seen, 20.0).set_index("run")
    assert found.any_time_seconds.tolist() == [10, 10, 10]
    assert found.any_time.to_dict() == {"steady": 22.4, "late": pytest.approx((22.5 + 23.7) / 2), "part": 20.0}
    assert found.any_time_sd["steady"] == 0 and found.any_time_sd["late"] == pytest.approx(1.2 / 2**0.5, abs=1e-4)
    assert pd.isna(found.any_time_sd["part"])
    for level in (None, float("inf")):
        assert curves.any_time(seen, level).empty
    assert curves.any_time(seen_at(a=[[(0, 21.0, whole)]]), 20.0).empty


def test_the_area_is_with_the_times_as_it_is_not_the_same_each_time(tmp_path):
    looks = [[(5, 23.0), (10, 24.0)]]
    found, _ = compared("plain", plain=plain(tmp_path, looks=looks), again=run(tmp_path / "b", {1: BASE}, looks=looks))
    assert found.runs.any_time.notna().all() and found.reach.any_time.tolist() == found.runs.any_time.tolist()
    tables.write(found.runs, ["run"], tmp_path / "comparison.csv", tmp_path / "times.csv")
    named = [set(pd.read_csv(tmp_path / f"{name}.csv").columns) for name in ("comparison", "times")]
    assert not {"any_time", "any_time_sd"} & named[0] and {"any_time", "any_time_sd", "any_time_seconds"} <= named[1]


def test_a_run_that_only_just_misses_does_not_read_as_if_it_had_come_there():
    row = SimpleNamespace(run="close", reach_psnr=23.8170, best_psnr=23.8168, reach_ratio=math.nan)
    said = sentences.of_reach(row, "plain", 1.0)
    assert said == (
        "close never reaches the last validation PSNR of plain (23.817 dB): its highest is less than 0.001 dB below."
    )


def test_looks_without_a_finite_psnr_are_left_out(tmp_path):
    one = run(tmp_path / "a", {1: BASE}, looks=[[(2, None), (5, INF), (10, 21.0)]])
    _, seen = compared("a", a=one)
    assert seen.iteration.tolist() == [10]


# -- Figures -----------------------------------------------------------------------------------------------------------


def test_figures_are_drawn(tmp_path, monkeypatch):
    phased = run(tmp_path / "phased", shifted(lambda k, i: 0.1 * k + TABLE[k, i]), **PHASES, looks=LOOKS)
    found, seen = compared("plain", plain=plain(tmp_path, looks=[[(5, 23.0), (10, 24.0)]]), phased=phased)
    figures.differences(found, tmp_path / "differences.png")
    drawn = images.read(tmp_path / "differences.png").astype(int)
    red = ((drawn[..., 0] > 180) & (drawn[..., 1] < 90) & (drawn[..., 2] < 90)).sum()
    assert red > 50  # the warning of unequal compute
    for against in ("block_pixels", "seconds"):
        figures.curves(seen, found, against, tmp_path / "f.png")
        assert images.read(tmp_path / "f.png").std() > 10
    kept = []
    monkeypatch.setattr(figures, "save", lambda figure, _: kept.append(figure))
    figures.curves(seen, found, "seconds", tmp_path / "f.png")
    lines = [line for line in kept[0].axes[0].lines if line.get_marker() == "."]
    assert [line.get_linestyle() for line in lines] == ["-", "-", "--", "-"]  # the second phase of the last is staged


def test_curves_of_nothing_are_drawn_too(tmp_path):
    found, seen = compared("a", a=run(tmp_path / "a", {1: BASE}, looks=[[(10, None)]]))
    figures.curves(seen, found, "seconds", tmp_path / "f.png")
    assert (tmp_path / "f.png").exists() and "Reach" not in as_markdown(found)


def test_captions_say_it_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = run(tmp_path / "more", shifted(lambda k, i: 0.1 * k + 0.2), iterations=(137,))
    found, _ = compared("plain", plain=plain(tmp_path, iterations=(100,)), more=more)
    (tmp_path / "comparison.md").write_text(as_markdown(found))
    page = caption("comparison", output={"csv": "comparison.csv"})
    items = re.findall(r"<li>(?:<p>)?(.*?)(?:</p>)?\s*</li>", page, re.S)
    assert items[0].replace("\n", " ") == said(found)[0] and len(items) == 3
    assert "<strong>Compute is not equal" in page and "staged" in caption("comparison_curves")
