"""Folds: how images are dealt, that no network sees its own fold, what is trained, and what tables make of it."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from conftest import picture, tiny_study, write_pairs
from multiblock import config
from multiblock.cli import main
from multiblock.data import folds, images
from multiblock.data.convert import convert
from multiblock.data.imageset import ImageSet, write_set
from multiblock.errors import UserError
from multiblock.model import chain
from multiblock.report import curves, differences, phases, sentences, tables
from multiblock.report.comparison import comparison
from multiblock.report.comparison_markdown import as_markdown
from multiblock.runtime.device import choose
from multiblock.training.trainer import Settings, train
from stand_in import DATA, TINY, plan, results_of, study_of
from test_comparison import run as made_up_run
from test_workflow import jobs, snakemake

FOLDED = {**{key: value for key, value in DATA.items() if key != "test"}, "folds": 2}


def image_set(folder, pictures) -> ImageSet:
    with write_set(folder / "train.npy", [pixels.shape[:2] for pixels in pictures.values()]) as target:
        for name, pixels in pictures.items():
            target.add(name, pixels)
    return ImageSet(folder / "train.npy")


def smaller_and_as_jpeg(pixels, file):
    small = Image.fromarray(pixels).resize((pixels.shape[1] // 2, pixels.shape[0] // 2), Image.Resampling.BICUBIC)
    small.save(file, quality=50)
    return np.asarray(Image.open(file))


# -- Dealing -----------------------------------------------------------------------------------------------------------


def test_images_are_dealt_evenly_and_near_copies_stay_together(tmp_path):
    shown = {f"scene{number}": picture(96, 112, seed=number) for number in range(9)}
    shown["again"] = shown["scene4"].copy()
    shown["small"] = smaller_and_as_jpeg(shown["scene7"], tmp_path / "small.jpg")
    folds.write(image_set(tmp_path, shown), 3, None, tmp_path / "folds.csv")
    table = pd.read_csv(tmp_path / "folds.csv", keep_default_na=False).set_index("image")
    assert list(table.index) == list(shown) and sorted(table.fold.value_counts()) == [3, 4, 4]
    assert table.fold["again"] == table.fold["scene4"] and table.fold["small"] == table.fold["scene7"]
    assert table.together_with["small"] == "scene7" and table.together_with["scene4"] == "again"
    assert (table.together_with != "").sum() == 4
    assert folds.read(tmp_path / "folds.csv") == table.fold.to_dict()
    (tmp_path / "other").mkdir()
    folds.write(image_set(tmp_path / "other", dict(reversed(shown.items()))), 3, None, tmp_path / "other.csv")
    assert folds.read(tmp_path / "other.csv") == table.fold.to_dict()  # whatever the order of the images


def test_a_family_stays_together(tmp_path):
    shown = {f"{scene}_{n}": picture(seed=10 * k + n) for k, scene in enumerate("abc") for n in (1, 2)}
    shown |= {"alone": picture(seed=99)}
    folds.write(image_set(tmp_path, shown), 3, "{name}_*", tmp_path / "folds.csv")
    found = folds.read(tmp_path / "folds.csv")
    assert len({found[f"{scene}_1"] for scene in "abc"}) == 3
    assert all(found[f"{scene}_1"] == found[f"{scene}_2"] for scene in "abc")
    with pytest.raises(
        UserError, match=r"found 5, and 4 images of .*train\.npy that are no near copies of one another"
    ):
        folds.write(image_set(tmp_path, shown), 5, "{name}_*", tmp_path / "folds.csv")


# -- What a network sees -----------------------------------------------------------------------------------------------


def weights_of(folder, only):
    """The weights that a few iterations leave."""
    study = config.load({**tiny_study(), "data_root": str(folder)})
    task, out = study.runs["phased"].plan.task(1, 12), folder / f"out{len(list(folder.glob('out*')))}"
    how = {"device": "cpu", "precision": "float32", "layout": "contiguous", "compile": "never", "deterministic": True}
    settings = Settings(**how, keep="last", history_every=1, validate_every=2)
    sets = {"inputs": folder / "LR", "targets": folder / "HR", "lr": folder / "LR"}
    limits = {"checkpoint_seconds": 60, "memory_gib": 1}
    train(task, settings, choose("cpu", "float32", 0, 1), **sets, weights={}, out=out, only=only, **limits)
    return {name: one.numpy().tobytes() for name, one in chain.load(out / "weights.safetensors").state_dict().items()}


def test_what_is_held_out_changes_no_byte_of_the_weights(pairs):
    def converted(held_out=None):
        if held_out:
            noise = np.random.default_rng(5).integers(0, 256, (48, 56, 3), np.uint8)
            for kind in ("HR", "LR"):
                images.write(pairs / "train" / kind / f"{held_out}.png", noise)
        data = config.load({**tiny_study(), "data_root": str(pairs)}).runs["phased"].data
        convert(data, pairs / "HR", pairs / "LR")
        return ImageSet(pairs / "HR" / "train.npy").names

    names = converted()
    kept = names[1:]
    before, of_all = weights_of(pairs, kept), weights_of(pairs, None)
    converted(held_out=names[0])
    assert weights_of(pairs, kept) == before
    assert weights_of(pairs, None) != of_all != before  # where it is seen, it does


# -- The config, and what it makes -------------------------------------------------------------------------------------


def test_seeds_are_those_of_folds():
    study = study_of({"a": plan()}, seeds=[1, 4], data={**FOLDED, "folds": 3})
    assert study.seeds == (11, 12, 13, 41, 42, 43)
    assert study.runs["a"].provenance(1, 42).data == "mine without fold 2 of 3"
    assert study_of({"a": plan()}, seeds=[1, 4], data=FOLDED, shrink={"seeds": 1}).seeds == (11, 12)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({**DATA, "folds": 2}, "data.folds: found together with data.test"),
        ({key: DATA[key] for key in ("name", "scale", "train")}, "data: key 'test' is missing; or 'folds'"),
        ({**DATA, "family": "{name}_*"}, "data.family: found without folds"),
        ({**FOLDED, "family": "x"}, "data.family: found 'x'; allowed is a name with {name} in it once"),
        ({**FOLDED, "folds": 1}, "data.folds: found 1; allowed is at least 2"),
        ({**FOLDED, "train": {"hr": "a", "crops": 2}, "scale": 2}, "data.train.crops: found together with folds"),
        ({**FOLDED, "train": {**DATA["train"], "without": ["test"]}}, "found test, which is not there"),
    ],
)
def test_what_does_not_go_together_is_refused(data, said):
    with pytest.raises(UserError) as error:
        study_of({"a": plan()}, data=data)
    assert said in str(error.value), error.value


def test_a_plan_says_how_many_trainings_it_is(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    study = {**TINY, "data": {**FOLDED, "folds": 5}, "seeds": [1, 2, 3], "runs": {"a": plan(), "b": plan(1e-3, 2e-3)}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({**study, "report": {}}))
    main(["plan", "study.yaml"])
    assert "3 seeds x 5 folds: 5 phases x 15 = 75 trainings; seed 12 is fold 2 of seed 1" in capsys.readouterr().out


def test_runs_of_a_study_have_one_number_of_folds():
    with pytest.raises(UserError, match=r"runs\.b\.data\.folds: found none, and 2 in the run before"):
        study_of({"a": plan(), "b": {**plan(), "data": {**DATA, "name": "other"}}}, data=FOLDED)


def test_folds_count_for_what_is_trained_and_measured_and_not_for_arrays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def found(**changes):
        return results_of(study_of({"a": plan(), "b": plan(1e-3, 2e-3)}, data={**FOLDED, **changes}), {})[1]

    two, three = found(), found(folds=3)
    assert two.convert("mine").address == three.convert("mine").address
    assert len({two.train("a", seed, 1).address for seed in (11, 12)} | {three.train("a", 11, 1).address}) == 3
    assert len({two.evaluate("a", seed, 1).address for seed in (11, 12)} | {three.evaluate("a", 11, 1).address}) == 3
    assert two.train("a", 12, 1) is two.train("b", 12, 1)  # equal phases are one, fold by fold
    assert two.train("a", 12, 1).settings["fold"] == 2
    assert found(family="{name}_*").train("a", 11, 1).address != two.train("a", 11, 1).address
    kinds = [made.kind for made in two.all()]
    assert kinds.count("folds") == 1 and kinds.count("train") == 2 * (3 + 2)


# -- Tables ------------------------------------------------------------------------------------------------------------

PSNR = {11: {"a": 30.0, "b": 31.0, "c": 32.0}, 12: {"d": 20.0}, 21: {"a": 30.5, "b": 31.5, "c": 31.0}, 22: {"d": 20.5}}
POOLED = (30 + 31 + 32 + 20 + 30.5 + 31.5 + 31 + 20.5) / 8


def in_folds(folder, psnr, more):
    """A run of hand, and its comparison with another, which has so much more for a seed and image."""
    runs = {"one": made_up_run(folder / "one", psnr)}
    above = {seed: {name: value + more(seed, name) for name, value in of.items()} for seed, of in psnr.items()}
    runs["other"] = made_up_run(folder / "other", above)
    each, trained = {n: r.table for n, r in runs.items()}, {n: r.phases for n, r in runs.items()}
    last = {n: r.last for n, r in runs.items()}
    return runs["one"], comparison(each, last, curves.looks(trained, each), "one", [("other", "one")], trained)


def test_means_are_over_the_images_of_all_folds(tmp_path):
    """Folds of three images and of one: the mean of the folds' means would be 25.8, and not 28.3."""
    one, found = in_folds(tmp_path, PSNR, lambda seed, image: 0.5)
    means = tables.mean_over_seeds(one.table)
    assert means.psnr_rgb_composed.iloc[1] == pytest.approx(POOLED) and means.block_pixels.iloc[1] == 8000
    assert one.table[one.table.phase == "1"].images.tolist() == [3, 1, 3, 1]
    said = sentences.of_run(one.table, one.last, 1)
    assert f"reaches {POOLED:.3f} dB" in said and "2 seeds x 4 images in 2 folds" in said
    assert found.runs.psnr_rgb.tolist() == [pytest.approx(POOLED), pytest.approx(POOLED + 0.5)]
    assert found.runs.seeds.tolist() == [2, 2]
    row = found.differences.iloc[0]
    assert (row.seeds, row.images, row.folds, row.difference) == (2, 4, 2, 0.5)
    assert list(json.loads(row.by_seed)) == ["1", "2"] and list(json.loads(row.by_image)) == ["a", "b", "c", "d"]
    assert "means over the images of all folds" in tables.as_markdown(one.table, "one", 1, {1: "N"})


def test_one_seed_in_folds_says_what_its_interval_is_over(tmp_path):
    psnr = {seed: of for seed, of in PSNR.items() if seed < 20} | {13: {"e": 25.0}}
    found = in_folds(tmp_path, psnr, lambda seed, image: 0.5 + 0.01 * (seed == 12) - 0.01 * (seed == 13))[1]
    said = sentences.of_comparison(found)[0]
    assert "other is 0.50 dB above one, 95 % interval over the folds of one seed 0.4" in said, said
    assert "1 seed x 5 images in 3 folds" in said and found.differences.method[0] == differences.FOLDS_ALONE
    text = as_markdown(found)
    assert "Folds: each image is tested once a seed" in text and "One seed: no interval" not in text


def test_tables_are_written_and_read_with_folds_and_without(tmp_path):
    for name, psnr in (("folds", PSNR), ("plain", {1: PSNR[11], 2: PSNR[21]})):
        table = made_up_run(tmp_path / name, psnr).table
        tables.write(table, ["seed", "phase"], tmp_path / "t.csv", tmp_path / "times.csv")
        back = tables.read(tmp_path / "t.csv", tmp_path / "times.csv")
        assert ("images" in back) == (name == "folds")
        assert tables.mean_over_seeds(back).psnr_rgb_composed.iloc[1] == pytest.approx(
            POOLED if name == "folds" else 31
        )


def test_a_picture_is_that_of_the_fold_of_its_image(tmp_path):
    folders = {(seed, phase): tmp_path / f"{seed}_{phase}" for seed in PSNR for phase in (1, 2)}
    for (seed, _), folder in folders.items():
        for name in PSNR[seed]:
            images.write(folder / f"{name}.png", picture())
    assert phases.picture(folders, 2, "d") == tmp_path / "12_2" / "d.png"
    assert phases.picture(folders, 1, "a") == tmp_path / "11_1" / "a.png"


# -- All of it ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_training_image_is_tested_once_a_seed(tmp_path):
    write_pairs(tmp_path, train=5, test=1)
    study = tiny_study()
    del study["data"]["test"]
    few = {"chain": ["tiny"], "plan": [{"span": 1, "stages": "few"}]}
    longer = {"chain": ["tiny"], "plan": [{"span": 1, "stages": "joint"}]}
    study |= {"seeds": [1, 2], "runs": {"few": few, "joint": longer}, "report": {"residuals": True}}
    study["data"] |= {"folds": 2}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(study))
    done = snakemake(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    results, table = tmp_path / "results", folds.read(tmp_path / "results" / "data" / "mine" / "folds.csv")
    assert len(table) == 4 and sorted(table.values()) == [1, 1, 2, 2]
    for seed in (11, 12, 21, 22):
        measured = pd.read_csv(results / "few" / f"seed{seed}" / "phase1" / "psnr.csv")
        assert set(measured.image) == {name for name, fold in table.items() if fold == seed % 10}
    page = (results / "tiny_report.html").read_text()
    assert all(f'"name":"{name}"' in page for name in table) and "in 2 folds" in page
    assert len(list((results / "few" / "strips").glob("*.png"))) == 2
    assert set(pd.read_csv(results / "few" / "residuals.csv").image) == set(table)
    assert jobs(tmp_path) == {}
    pixels = picture(seed=77)
    images.write(tmp_path / "train" / "HR" / f"{next(iter(table))}.png", pixels)
    images.write(tmp_path / "train" / "LR" / f"{next(iter(table))}.png", pixels // 2)
    assert jobs(tmp_path)["phase1_1"] == 8
