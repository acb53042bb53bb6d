"""The configuration: defaults, merging, and clear errors."""

import copy
import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, STUDIES, picture
from multiblock import cli, config
from multiblock.config.explain import reference
from multiblock.config.keys import ConfigKeys
from multiblock.data import images
from multiblock.errors import UserError
from multiblock.model.chain import Chain
from multiblock.model.metadata import Provenance
from multiblock.networks import zoo
from multiblock.plan import INPUT, Block

FIVE_LINES = {
    "data": {"name": "mine", "scale": 1, "train": {"hr": "a/HR", "lr": "a/LR"}, "test": {"hr": "b/HR", "lr": "b/LR"}}
}


def changed(path: str, value) -> dict:
    """The default configuration with one value changed; numbers in the path count into lists."""
    result = config.checked({})
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    place = result
    for part in parents:
        place = place[part]
    place[last] = copy.deepcopy(value)
    return result


def test_config_yaml_spells_out_the_defaults():
    spelt = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert config.checked(spelt) == config.checked({})
    assert set(spelt) == {key.name for key in fields(ConfigKeys)} - {"shrink"}


def test_the_stages_of_one_phase_as_config_yaml_shows_them():
    text = (ROOT / "config.yaml").read_text()
    own = re.search(r"Stages of phase 3 alone:\n((?:#      .*\n)+)", text)[1].replace("\n#", "\n")[1:]
    shared = "      - {span: 3, start: inherit_zeroed, stages: single}\n"
    assert shared in text
    before, after = (
        config.load(yaml.safe_load(one)).runs["default"].plan for one in (text, text.replace(shared, own.rstrip("#")))
    )
    assert [before.phase(n) == after.phase(n) for n in before.numbers] == [True, True, False, True]
    assert after.phase(3).stages[1].lr == 1e-4


def test_the_reference_is_up_to_date():
    assert (ROOT / "docs" / "config.md").read_text() == reference(), "run: make docs"


@pytest.mark.parametrize("study", STUDIES, ids=lambda file: file.name)
def test_studies_load_alone_and_short(study):
    files = [study]
    whole = config.load(config.read(files))
    short = config.load(config.read([*files, ROOT / "studies" / "short.yaml"]))
    for run in whole.runs:
        full, small = whole.runs[run].plan, short.runs[run].plan
        assert [full.reads_set(n) for n in full.numbers] == [small.reads_set(n) for n in small.numbers]
        assert all(small.task(n, 1).iterations <= full.task(n, 1).iterations for n in full.numbers)


def test_the_pretrained_unets_name_the_files_they_want(tmp_path, monkeypatch):
    files = [ROOT / "studies" / "resunet.yaml", ROOT / "studies" / "resunet_pretrained.yaml"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"blocks\.a1\.encoder_weights: weights/resnet34-b627a593\.pth: no such file"):
        config.load(config.read(files))
    (tmp_path / "weights").mkdir()
    names = ("resnet34-b627a593", "resnet50-0676ba61", "resnext50_32x4d-7cdf4587", "vgg16-397923af")
    for name in names:
        (tmp_path / "weights" / f"{name}.pth").touch()
    task = config.load(config.read(files)).runs["a3"].plan.task(1, 1)
    assert task.files == ("weights/resnet50-0676ba61.pth", "weights/vgg16-397923af.pth")


def test_the_carn_study_has_all_columns():
    runs = config.load(config.read([ROOT / "studies" / "carn.yaml"])).runs
    variants = {name.removeprefix("carn_") for name in zoo.ENTRIES if name.startswith("carn_")} - {"m"}
    assert set(runs) == variants and len(runs) == 32
    assert {run.plan.scale for run in runs.values()} == {2}


def test_short_studies_are_short():
    for study in STUDIES:
        short = config.load(config.read([study, ROOT / "studies" / "short.yaml"]))
        for run in short.runs.values():
            if run.equal_to and run.equal_to.unit == "seconds":
                continue  # it is sized when the workflow has measured speeds
            if run.equal_to:  # as long as the run that it is sized by, in fewer stages
                assert run.plan.block_pixels <= 1.05 * short.runs[run.equal_to.run].plan.block_pixels, study
            else:
                assert all(stage.iterations <= 200 for phase in run.plan.phases for stage in phase.stages), study


def test_the_report_s_recipe_is_at_full_size():
    study = config.load(config.read([ROOT / "studies" / "mcan.yaml"]))
    stages, one_go = (
        [
            [(s.optimiser, s.lr, s.iterations, s.batch, s.patch, s.clamp, s.clip) for s in phase.stages]
            for phase in study.runs[run].plan.phases
        ]
        for run in ("mcan", "mcan_one_go")
    )
    single = [
        ("adadelta", 1, 2000, 16, 48, "none", 1),
        ("adam", 1e-4, 3000, 16, 48, "all", None),
        ("adam", 1e-5, 10000, 16, 48, "all", None),
    ]
    joint = [("adam", 1e-4, 5000, 16, 48, "all", None), ("adam", 1e-5, 5000, 16, 48, "all", None)]
    assert stages == [single, single, single, joint]
    assert one_go == [[*single[:2], ("adam", 1e-5, 20000, 16, 48, "all", None)]]
    compute = {
        name: sum(run.plan.task(n, 1).block_pixels for n in run.plan.numbers) for name, run in study.runs.items()
    }
    assert compute["mcan"] == compute["mcan_one_go"]


def test_own_pairs_take_five_lines():
    study = config.load(FIVE_LINES)
    assert list(study.runs) == ["mine"]  # a run of its own, beside that of config.yaml
    run = study.runs["mine"]
    assert run.data.train["hr"] == "a/HR"
    assert (run.data.scale, run.data.validation, run.input) == (1, 0.1, "LR")
    assert run.plan.reads_set(1).phase == INPUT


@pytest.mark.parametrize(("name", "run"), [("mine", "mine"), ("data", "default"), (None, "images")])
def test_a_run_without_a_name_is_called_after_its_data_set(name, run):
    data = {key: value for key, value in {**FIVE_LINES["data"], "name": name}.items() if value}
    assert list(config.load({"data": data}).runs) == [run]
    named = {"chain": ["small"], "plan": [{"span": 1, "stages": "single"}]}
    assert list(config.load({"data": data, "runs": {"my_run": named}}).runs) == ["my_run"]


def test_data_root_moves_relative_folders_only():
    moved = config.load({**FIVE_LINES, "data_root": "/disk"}).runs["mine"].data
    assert (moved.train["hr"], moved.test["lr"]) == ("/disk/a/HR", "/disk/b/LR")
    absolute = changed("data", {**FIVE_LINES["data"], "test": {"hr": "/c", "lr": "/d"}}) | {"data_root": "/disk"}
    assert config.load(absolute).runs["default"].data.test["hr"] == "/c"


@pytest.mark.parametrize("place", ["results/one/upscaled", "results/photos", "link", "../{}/results/store/a"])
def test_images_are_not_taken_from_the_folder_of_results(tmp_path, monkeypatch, place):
    """A start would remove or replace them before they are read."""
    monkeypatch.chdir(tmp_path)
    Path("results/one/upscaled").mkdir(parents=True)
    Path("link").symlink_to("results/one/upscaled")
    place = place.format(tmp_path.name)
    test = {**FIVE_LINES["data"]["test"], "hr": ["photos", place]}
    with pytest.raises(UserError) as error:
        config.load({"data": {**FIVE_LINES["data"], "test": test}, "upscale": {"images": place}})
    found = [line.partition(", which is in results, where")[0] for line in error.value.problems]
    assert found == [f"data.test.hr: found {place}", f"upscale.images: found {place}"]
    elsewhere = {"data": {**FIVE_LINES["data"], "test": {**test, "hr": "results-photos"}}, "results": "."}
    assert config.load({**elsewhere, "upscale": {"images": "photos"}}).upscale.images == Path("photos")


def test_tilde_is_the_user_s_folder_in_every_path(tmp_path, monkeypatch, capsys):
    """Of all keys and flags alike; where it is followed by nobody's name, the key is named."""
    monkeypatch.setenv("HOME", str(tmp_path))
    weights, own = tmp_path / "w.safetensors", tmp_path / "plain.py"
    chain = Chain.build([zoo.block("toy", {}, "")], [True])
    chain.save(weights, about=Provenance(scale=2, enlarge=2))
    own.write_text("class Plain:\n    def __init__(self, *, own_weights: str, scale: int = 1): pass\n")
    for file in ("vgg16.pth", "own.pth", "losses.csv"):
        (tmp_path / file).touch()
    split = {"hr": ["~/HR", "~/more"], "lr": "~/LR"}
    given = {
        "results": "~/results",
        "data": {"scale": 2, "train": split, "validation": {**split, "hr": "~/HR"}, "test": split},
        "blocks": {"a": {"network": "toy"}, "b": {"network": "~/plain.py", "own_weights": "~/own.pth"}},
        "training": {"vgg16": "~/vgg16.pth"},
        "report": {"reference_losses": "~/losses.csv"},
        "upscale": {"images": "~/pictures"},
    }
    stages = [{"iterations": 1, "loss": "content"}]
    plan = [{"span": 1, "start": "~/w.safetensors#1", "stages": stages}, {"span": 2, "stages": stages}]
    study = config.load({**given, "runs": {"r": {"chain": ["a", "b"], "plan": plan}}})
    run, here = study.runs["r"], str(tmp_path)
    assert (study.results, study.upscale.images) == (f"{here}/results", tmp_path / "pictures")
    assert [run.data.train["hr"], run.data.train["lr"]] == [[f"{here}/HR", f"{here}/more"], f"{here}/LR"]
    assert run.data.validation["hr"] == f"{here}/HR"
    assert [run.plan.phase(1).start, run.plan.phase(1).stages[0].vgg16] == [f"{weights}#1", f"{here}/vgg16.pth"]
    assert run.plan.blocks[1] == Block(network=str(own), options={"own_weights": f"{here}/own.pth", "scale": 1})
    assert study.report.reference_losses == f"{here}/losses.csv"
    rooted = config.load({"data_root": "~/data", "data": FIVE_LINES["data"]}).runs["mine"].data
    assert rooted.test["hr"] == f"{here}/data/b/HR"
    for key in ("hr", "lr"):
        with pytest.raises(UserError, match=rf"^data\.test\.{key}: found '~no-one/x'; after ~, the name of a user is"):
            config.load({"data": {**FIVE_LINES["data"], "test": {"hr": "h", "lr": "l", key: "~no-one/x"}}})
    for number in range(3):
        images.write(tmp_path / f"HR/{number}.png", picture(64, 64, seed=number))
    for arguments in (["init", "mine", "--hr", "~/HR", "-o", "~/mine.yaml"], ["plan", "~/mine.yaml"]):
        assert cli.main(arguments) == 0
    assert cli.main(["init", "other", "--hr", "~no-one/x"]) == 1
    assert capsys.readouterr().err.endswith("error: hr: found '~no-one/x'; after ~, the name of a user is needed\n")


def test_a_chain_that_keeps_the_size_reads_lr_enlarged():
    assert config.load({}).runs["default"].input == "LR_enlarged"


def test_null_takes_a_key_of_an_earlier_file_back(tmp_path: Path):
    (tmp_path / "pairs.yaml").write_text("data: {scale: 1, train: {hr: HR, lr: LR}}\nseeds: [1, 2]\n")
    (tmp_path / "made.yaml").write_text("data: {scale: 2, train: {lr: null}}\nseeds: null\n")
    merged = config.read([tmp_path / "pairs.yaml", tmp_path / "made.yaml"])
    assert merged == {"data": {"scale": 2, "train": {"hr": "HR"}}}
    (tmp_path / "also.yaml").write_text("seeds: null\ndata: {train: {lr: again}}\n")
    merged = config.read([tmp_path / "pairs.yaml", tmp_path / "made.yaml", tmp_path / "also.yaml"])
    assert merged == {"data": {"scale": 2, "train": {"hr": "HR", "lr": "again"}}}
    # Where there is nothing to take back, null is a value, which no key allows.
    assert config.read([tmp_path / "made.yaml"])["seeds"] is None


def test_files_merge_later_ones_over_earlier_ones(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("seeds: [1, 2]\ntraining: {keep: best, history_every: 7}\n")
    (tmp_path / "b.yaml").write_text("training: {keep: last}\nseeds: [3]\n")
    merged = config.read([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert merged == {"seeds": [3], "training": {"keep": "last", "history_every": 7}}


def test_shrink():
    shrunk = config.load({"seeds": [1, 2], "shrink": {"iterations": 0.01, "batch": 4, "patch": 16, "seeds": 1}})
    stage = shrunk.runs["default"].plan.phase(1).stages[0]
    whole = config.load({}).runs["default"].plan.phase(1).stages[0]
    assert (stage.batch, stage.patch, shrunk.seeds) == (4, 16, (1,))
    assert stage.iterations == -(-whole.iterations // 100)


MISTAKES = """
recipes.single.0.itertions: 5
    recipes.single, stage 1, itertions: unknown key; did you mean 'iterations'?
runs.default.plan.3.span: '1-4'
    runs.default.plan, phase 4: span 1-4 goes past the chain's last block
runs.default.plan.3.span: x
    runs.default.plan, phase 4, span: found 'x'; a span is
runs.default.plan.0.span: 2
    runs.default.plan, phase 1: span 2 leaves a gap
seeds: []
    seeds: found []; allowed are at least 1 entries
seeds: [1, 1]
    seeds: found [1, 1]; allowed are entries that all differ
seeds: [true]
    seeds, seed 1: found True; allowed is a whole number
seeds: one
    seeds: found 'one'; allowed is a list
report.blocks: 1
    report.blocks: found 1; allowed is true or false
device: gpu
    device: found 'gpu'; did you mean 'cuda'?; allowed are
recipes.single.0.schedule: {kind: step}
    recipes.single, stage 1, schedule: key 'every' is missing
recipes.single.0.schedule: {to: 1}
    recipes.single, stage 1, schedule: key 'kind' is missing
recipes.single.0.schedule: {kind: cosine, every: 5}
    recipes.single, stage 1, schedule.every: unknown key; allowed are kind, to, restarts
recipes.single.0.parts: {head: {frozen: 5}}
    recipes.single, stage 1, parts.head.frozen: unknown key
recipes.single.0.loss: {l3: 1}
    recipes.single, stage 1, loss.l3: unknown key; allowed are l1, l2, charbonnier, ssim, psnr, content
recipes.single.0.loss: tv
    loss: found 'tv', which goes with others only; allowed are l1, l2, charbonnier, ssim, psnr, content
recipes.single.0.loss: {tv: 1, l1: 0}
    loss: found l1: 0, tv: 1; at least one of l1, l2, charbonnier, ssim, psnr, content, style
recipes.single.0.loss: L1
    loss: found 'L1'; did you mean 'l1'? Capitals count; allowed are l1, l2,
runs.default.plan.3.stages: [{iterations: 1}, {lr: 1}]
    plan, phase 4, stages, stage 2: key 'iterations'
blocks.small: {network: carn, dilations: [1, 0]}
    blocks.small.dilations, entry 2: found 0; allowed is at least 1
runs.default.chain: [small, 3]
    runs.default.chain, block 2: found 3; allowed is text
recipes.single.0.loss: {content: 1}
    recipes.single, stage 1, loss: content needs VGG-16; set training.vgg16
runs.default.plan.0.start: none.safetensors
    runs.default.plan, phase 1, start: none.safetensors: no such file
report.losses: {a: [x]}
    report.losses.a: unknown run 'x'
report.reference_losses: none.csv
    report.reference_losses: none.csv: no such file
blocks.small: {network: sr_resunet_1, encoder_weights: r.pth}
    blocks.small.encoder_weights: r.pth: no such file; wanted is: file of the encoder's weights
data.train: {hr: a, lr: b, crops: 3}
    data.train.crops: found together with lr
recipes.single.0.lr: 0
    recipes.single, stage 1, lr: found 0; allowed is more than 0
recipes.single.0.iterations: many
    found 'many'; allowed is a whole number
recipes.single.0.clamp: 'yes'
    recipes.single, stage 1, clamp: found 'yes'; allowed are all, last, none, or true or false
recipes.single.0.options: {rho: 0.9}
    recipes.single, stage 1, options.rho: unknown key; allowed are betas, eps
recipes.single.0.options: {betas: [0.9, 2]}
    recipes.single, stage 1, options.betas, entry 2: found 2; allowed is below 1
blocks.small.channels: '8'
    blocks.small.channels: found '8'; allowed is a value of type int
blocks.small.network: mcna
    blocks.small.network: unknown network 'mcna'; did you mean 'mcan'?
blocks.small.network: none.py
    blocks.small.network: none.py: no such file
data.train: {photographs: [lena]}
    data.train.photographs, entry 1: found 'lena'
data.train: {lr: a}
    data.train: found lr; allowed are hr, hr with lr, or photographs
data.train: {}
    data.train: found nothing
data.scale: 1
    data.scale: found 1, but data.train has no lr
data.validation: 2.5
    data.validation: found 2.5; allowed is a share below 1 or a whole number
evaluation.border: 9
    evaluation.border: found 9; allowed are scale, or a whole number from 0 to 8
evaluation.border: 1.5
    evaluation.border: found 1.5; allowed are scale, or a whole number from 0 to 8
study: 12
    study: found 12; allowed is text, in quotes where it looks like a number
seeds: ['010']
    seeds, seed 1: found '010'; allowed is a whole number
runs: {data: {chain: [small], plan: [{span: 1, stages: single}]}}
    runs: found 'data'; allowed is 1 to 100 of the letters a to z and A to Z, digits, _ and -, but not data, reference
runs: {default_losses: {chain: [small], plan: [{span: 1, stages: single}]}}
    runs.default_losses: the study's figures are called so already; allowed is any other name
runs.default.plan.0.start: inherit
    runs.default.plan, phase 1: start inherit has nothing to inherit from
blocks.small.channels: 1000000
    blocks.small.channels: found 1000000; allowed is at least 1, at most 65536
data_root: ~no-one/x
    data_root: found '~no-one/x'; after ~, the name of a user is needed
data.train: null
    data.train: found None; allowed is a mapping
data.train.lr_name: '{name}{0}'
    data.train.lr_name: found '{name}{0}'; allowed is a name with {name} in it once
results: ''
    results: found ''; allowed is a path
results: '{run}'
    results: found '{run}'; allowed is a path
upscale.images: ''
    upscale.images: found ''; allowed is the name of a folder
a b: 1
    'a b': unknown key; allowed are study,
recipes.single: [{iterations: 1, lr: 1.0e-3, schedule: {kind: cosine, to: 2.0e-3}}]
    recipes.single, stage 1, schedule.to: found 0.002; allowed is at most the stage's lr
recipes.single: [{iterations: 1, optimiser: sgd, options: {nesterov: true}}]
    recipes.single, stage 1, options.nesterov: found true without momentum
evaluation.measures: [gsmd]
    evaluation.measures, entry 1: found 'gsmd'; did you mean 'gmsd'?
"""
"""A key with a value, and in the line below it what the message says."""


@pytest.mark.parametrize(("given", "says"), re.findall(r"^(\S.*)\n +(.+)$", MISTAKES, re.MULTILINE))
def test_mistakes_are_one_clear_line(given, says):
    path, _, value = given.partition(": ")
    with pytest.raises(UserError, match=re.escape(says)) as error:
        config.load(changed(path, yaml.safe_load(value)))
    assert "\n" not in str(error.value)


def test_all_mistakes_are_listed_at_once(tmp_path, capsys):
    """Also those of parts that can be checked only where their own keys are right; none of what follows from others."""
    mine = {
        "sedes": [1],
        "training": {"keep": "bets", "kep": "best"},
        "data": {**FIVE_LINES["data"], "scale": 5},
        "blocks": {"a": {"network": "mcan", "chanels": 3}, "b": {"netwrk": "mcan"}},
        "recipes": {"few": [{"iterations": 1, "loss": {"tv": 1}}, {"iterations": 1, "intermediate": 1}]},
        "runs": {
            "first": {"chain": ["a"], "plan": [{"span": 1, "stages": "fwe"}]},
            "second": {
                "data": {**FIVE_LINES["data"], "name": "other"},
                "chain": ["toy", "c"],
                "plan": [{"span": 1, "stages": "few"}, {"span": 2, "start": "inherti", "stages": "few"}],
            },
        },
        "report": {"baseline": "frist"},
        "results": "default",
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    assert cli.main(["plan", str(tmp_path / "mine.yaml")]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "multiblock: error: found 15 problems:"
    begins = """
        blocks.b: key 'network' is missing, or 'file'; found 'netwrk'; did you mean 'network'?
        data.scale: found 5; allowed are 1, 2, 3, 4
        sedes: unknown key; did you mean 'seeds'?
        training.kep: unknown key; did you mean 'keep'?
        training.keep: found 'bets'; did you mean 'best'?
        blocks.a.chanels: mcan has no such option; did you mean 'channels'?
        runs.first.plan, phase 1, stages: unknown recipe 'fwe'; did you mean 'few'?
        runs.second.chain: unknown block 'toy'; known are a, b
        runs.second.chain: unknown block 'c'; known are a, b
        recipes.few, stage 1, loss: found tv: 1
        recipes.few, stage 2, intermediate: found 1 for span 1
        runs.second.plan, phase 2, start: found 'inherti'; did you mean 'inherit'?
        recipes.few, stage 2, intermediate: found 1 for span 2
        report.baseline: unknown run 'frist'; did you mean 'first'?
        results: found 'default'
    """
    found = [line.partition(". ")[2] for line in said[1:]]
    for begin in map(str.strip, begins.strip().splitlines()):
        assert sum(line.startswith(begin) for line in found) == 1, begin
    assert [line.partition(". ")[0] for line in said[1:]] == [f"  {number}" for number in range(1, 16)]


def test_what_no_key_allows_is_listed_beside_other_mistakes():
    with pytest.raises(UserError) as error:
        config.load({"seeds": [float("nan"), "x"], "device": "gpu", 1: 2})
    assert [problem.partition(";")[0] for problem in error.value.problems] == [
        "seeds, seed 1: found nan",
        "config: found the key 1",
        "seeds, seed 2: found 'x'",
        "device: found 'gpu'",
    ]


def test_one_mistake_is_one_line_even_where_more_follows_from_it():
    for broken in (
        changed("recipes.single", [{"itertions": 5}]),
        changed("runs.default.plan.0.span", 2),
        changed("runs.default.plan.0.span", "1-4"),
        changed("blocks.small.network", "mcna"),
        changed("blocks.small.network", 5),
        changed("data", {"scale": 1, "train": {"hr": "a"}, "test": {"hr": "b"}}),
        changed("seeds", [float("nan")]),
    ):
        with pytest.raises(UserError) as error:
            config.load(broken)
        assert len(error.value.problems) == 1, error.value


def test_two_data_sets_of_one_name():
    other = config.checked({})["data"] | {"scale": 3}
    runs = config.checked({})["runs"]
    runs["second"] = {**runs["default"], "data": other}
    with pytest.raises(UserError, match="'photographs' is the name of a different data set already"):
        config.load({"runs": runs})


@pytest.mark.parametrize("text", ["a: [", "- 1", "\x00"])
def test_a_file_that_is_no_mapping(tmp_path: Path, text):
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=re.escape(str(file))):
        config.read([file])
