"""Budgets of time: iterations that fit, by measured speed, and that stay as they are from then on."""

import copy
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from multiblock import cli, config
from multiblock.config.time_budget import FILE, Costs, budgeted, fitted, seconds, with_iterations
from multiblock.data import images
from multiblock.data.dataset import find
from multiblock.data.inspection import Inspection
from multiblock.errors import UserError
from multiblock.files import Digests
from multiblock.runtime.device import choose
from multiblock.training import speed
from multiblock.training.speed import Speedometer
from multiblock.training.work import Speeds
from multiblock.workflow import time_budget
from multiblock.workflow.speed import measure_apart
from test_plan import PAPER, plan, stage
from test_training import SETTINGS, task
from test_training import run as trained
from test_workflow import jobs, snakemake

RUN = {
    "chain": ["tiny", "tiny"],
    "plan": [{"span": 1, "stages": "few"}, {"span": 2, "stages": "few"}, {"span": "1-2", "stages": "joint"}],
    "budget": {"minutes": 2},
}
STUDY = {
    "data": {
        "name": "p",
        "scale": 2,
        "train": {"photographs": ["brick"]},
        "validation": {"photographs": ["rocket"]},
        "test": {"photographs": ["coffee"]},
    },
    "blocks": {"tiny": {"network": "mcan", "channels": 4, "residual_blocks": 1}},
    "recipes": {
        "few": [{"iterations": 30, "patch": 16, "batch": 2}, {"iterations": 10, "patch": 16, "batch": 2, "lr": 1.0e-5}],
        "joint": [{"iterations": 20, "patch": 16, "batch": 2, "schedule": {"kind": "step", "every": 10}}],
    },
    "runs": {"mine": RUN},
}
SPEEDS = Speeds(
    device="a machine", start=1.0, iterations=[[0.01, 0.01], [0.01, 0.01], [0.03]], pixels=[1e-6, 1e-6, 2e-6]
)


def keys(folder: Path, **changes):
    return copy.deepcopy({**STUDY, "results": str(folder / "results"), **changes})


def stages(made) -> list[list[int]]:
    return [[one.iterations for one in phase.stages] for phase in made.phases]


def fake(monkeypatch) -> list[list[str]]:
    """Speeds without measuring; which runs were to be measured."""
    asked = []

    def measured(_, runs, gpus, threads):
        asked.append(list(runs))
        return dict.fromkeys(runs, SPEEDS)

    monkeypatch.setattr(time_budget, "measure_apart", measured)
    return asked


def freeze(given) -> tuple[config.Study, list[str]]:
    said = []
    known = Inspection(Digests(Path("not written")))
    return time_budget.freeze(config.load(given), given, known, 0, 1, said.append), said


class TestWhatFits:
    """Arithmetic, by hand."""

    def test_one_factor_and_the_time_is_spent(self):
        """10 + 20 seconds around; 300 + 100 iterations at 0.1 s, 200 at 0.3 s: 100 s. 1 minute leaves 30 s: x 0.3."""
        made = replace(plan(["1", "1"], 1))
        phases = [made.phases[0], made.phases[1]]
        written = replace(
            made,
            phases=(
                replace(phases[0], stages=(stage(iterations=300), stage(iterations=100))),
                replace(phases[1], stages=(stage(iterations=200),)),
            ),
        )
        costs = Costs([[0.1, 0.1], [0.3]], [10, 20])
        assert seconds(written, costs) == pytest.approx(130)
        fits = fitted(written, costs, 1, "mine")
        assert stages(fits) == [[90, 30], [60]]
        assert seconds(fits, costs) == pytest.approx(60)

    @pytest.mark.parametrize("minutes", [0.6, 1, 7.77, 500])
    def test_any_time_is_spent_to_an_iteration(self, minutes):
        costs = Costs([[0.011], [0.02], [0.033], [0.27]], [3, 4, 5, 6])
        written = with_iterations(plan(PAPER, 3), [[1000], [500], [700], [900]])
        fits = fitted(written, costs, minutes, "mine")
        assert abs(seconds(fits, costs) - 60 * minutes) <= 0.27
        if minutes >= 7:
            factors = [a / b for (a,), (b,) in zip(stages(fits), stages(written), strict=True)]
            assert max(factors) / min(factors) < 1.05

    def test_what_a_stage_counts_in_iterations_goes_along(self):
        one = stage(iterations=100, warmup=10, schedule={"kind": "step", "every": 50, "factor": 0.5})
        made = plan(["1"], 1)
        made = with_iterations(replace(made, phases=(replace(made.phases[0], stages=(one,)),)), [[300]])
        assert (made.phases[0].stages[0].warmup, made.phases[0].stages[0].schedule["every"]) == (30, 150)

    def test_too_short(self):
        with pytest.raises(UserError) as error:
            fitted(plan(PAPER, 3), Costs([[1]] * 4, [20] * 4), 1.3, "mine")
        assert str(error.value) == (
            "runs.mine.budget: found 1.3 minutes; to start jobs, make LR_k and measure takes about 1.3 here, one "
            "iteration of each stage 0.067; allowed is more"
        )

    def test_nothing_to_scale(self):
        nothing = with_iterations(plan(["1"], 1), [[0]])
        with pytest.raises(UserError, match=r"^runs.mine.budget: this run takes no iterations at all"):
            fitted(nothing, Costs([[0.0]], [1]), 1, "mine")

    def test_what_comes_around_the_iterations(self, tmp_path):
        """Phase 1 makes LR_1 of all splits; a look is of the validation images, 1 in 200 iterations."""
        run = config.load(keys(tmp_path)).runs["mine"]
        counted = {"train": 3_000_000, "validation": 500_000, "test": 1_000_000}
        spent = time_budget.costs(run, SPEEDS, counted, validate_every=200)
        assert spent.iterations[0] == pytest.approx([0.01 + 0.5 / 200] * 2)
        assert spent.iterations[2] == pytest.approx([0.03 + 1.0 / 200])
        # Looks at the ends of two stages, LR_1, N_1 measured twice; 3 jobs, and 4 of the run.
        assert spent.fixed[0] == pytest.approx(2 * 0.5 + 4.5 + (1 + 1) * 1 + (3 + 4) * 1.0)
        # N_2, and N_2(N_1); no set.
        assert spent.fixed[1] == pytest.approx(2 * 0.5 + (1 + 2) * 1 + 2 * 1.0)
        assert spent.fixed[2] == pytest.approx(1.0 + (2 + 2) * 1 + 2 * 1.0)

    def test_pixels_are_those_that_are_used(self, tmp_path):
        study = config.load(
            keys(tmp_path, data={**STUDY["data"], "max_side": 100, "validation": {"photographs": ["rocket"]}})
        )
        mine = study.runs["mine"].data
        assert time_budget.pixels(mine, find(mine), images.size) == {
            "train": 512 * 512,  # brick
            "validation": 100 * 100,
            "test": 100 * 100,
        }


class TestFrozen:
    """The file beside the run."""

    def test_the_first_start_measures_and_all_others_read(self, tmp_path, monkeypatch):
        asked, given = fake(monkeypatch), keys(tmp_path)
        before = config.load(given).runs["mine"]
        assert before.budget.is_open and stages(before.plan) == [[30, 10], [30, 10], [20]]
        study, said = freeze(given)
        made = stages(study.runs["mine"].plan)
        known = json.loads((tmp_path / "results/mine" / FILE).read_text())
        assert known["iterations"] == made and known["minutes"] == 2 and known["measured_on"] == "a machine"
        assert known["seconds"] == pytest.approx(120, abs=0.1)
        assert made[0][0] == pytest.approx(3 * made[0][1], abs=3) and sum(made[0]) > 40
        assert said[-1].startswith(f"{tmp_path}/results/mine/budget.json: 2 minutes are iterations x ")
        again, said = freeze(given)
        assert (asked, said) == ([["mine"]], []) and again == study == config.load(given)

    def test_a_change_that_takes_no_other_time_leaves_it(self, tmp_path, monkeypatch):
        fake(monkeypatch)
        made = stages(freeze(keys(tmp_path))[0].runs["mine"].plan)
        recipes = copy.deepcopy(STUDY["recipes"])
        recipes["joint"][0] |= {"lr": 0.5, "schedule": {"kind": "step", "every": 5}, "clamp": False}
        changed = config.load(keys(tmp_path, recipes=recipes, seeds=[1, 2])).runs["mine"]
        assert not changed.budget.is_open and stages(changed.plan) == made
        assert changed.plan.phases[2].stages[0].schedule["every"] == -(-5 * made[2][0] // 20)

    CHANGES = (
        ({"runs": {"mine": {**RUN, "budget": {"minutes": 3}}}}, "was 2 minutes, is now 3"),
        ({"recipes": {**STUDY["recipes"], "joint": [{"iterations": 20, "patch": 24, "batch": 2}]}}, "another recipe"),
        ({"blocks": {"tiny": {"network": "mcan", "channels": 8, "residual_blocks": 1}}}, "another recipe"),
    )

    @pytest.mark.parametrize(("change", "says"), CHANGES)
    def test_other_minutes_or_another_recipe_are_measured_anew(self, tmp_path, monkeypatch, change, says):
        asked = fake(monkeypatch)
        freeze(keys(tmp_path))
        given = keys(tmp_path, **change)
        assert config.load(given).runs["mine"].budget.is_open
        assert says in "\n".join(time_budget.told(config.load(given)))
        study, said = freeze(given)
        assert says in said[0] and "phases whose iterations change train again" in said[0]
        assert len(asked) == 2 and not study.runs["mine"].budget.is_open

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"minutes": "x"}', '{"minutes": 2, "of": null}'])
    def test_a_file_that_is_broken_is_measured_anew(self, tmp_path, monkeypatch, text):
        fake(monkeypatch)
        study, _ = freeze(keys(tmp_path))
        (tmp_path / "results/mine" / FILE).write_text(text)
        assert freeze(keys(tmp_path))[0] == study

    def test_iterations_that_somebody_cut_are_measured_anew(self, tmp_path, monkeypatch):
        fake(monkeypatch)
        freeze(keys(tmp_path))
        file = tmp_path / "results/mine" / FILE
        file.write_text(json.dumps(json.loads(file.read_text()) | {"iterations": [[1, 2]]}))
        assert config.load(keys(tmp_path)).runs["mine"].budget.is_open

    def test_a_run_that_comes_later_and_is_the_same_stays_the_same(self, tmp_path, monkeypatch):
        asked = fake(monkeypatch)
        freeze(keys(tmp_path))
        study, _ = freeze(keys(tmp_path, runs={"mine": RUN, "twin": RUN}))
        assert asked == [["mine"]] and study.runs["twin"].plan == study.runs["mine"].plan
        assert study.equal_phases["twin", 3] == ("mine", "twin")

    def test_a_run_that_is_sized_by_it_follows(self, tmp_path, monkeypatch):
        fake(monkeypatch)
        one_go = {"chain": ["tiny", "tiny"], "plan": [{"span": "1-2", "stages": "joint"}], "equal_to": "mine"}
        study, _ = freeze(keys(tmp_path, runs={"mine": RUN, "one_go": one_go}))
        pixels = [study.runs[name].plan.block_pixels for name in ("mine", "one_go")]
        assert abs(pixels[0] - pixels[1]) <= 2 * 16 * 16 * 2

    def test_one_for_the_whole_study(self, tmp_path):
        bare = {name: value for name, value in RUN.items() if name != "budget"}
        runs = {"a": bare, "b": {**bare, "budget": {"minutes": 5}}, "c": {**bare, "equal_to": "a"}}
        made = config.load(keys(tmp_path, runs=runs, budget={"minutes": 60})).runs
        assert [made[name].budget and made[name].budget.minutes for name in "abc"] == [60, 5, None]
        # A file that names no runs has the default one.
        given = {"data": STUDY["data"], "budget": {"minutes": 60}, "results": str(tmp_path)}
        assert config.load(given).runs["p"].budget.minutes == 60

    def test_a_shrunk_study_is_as_long_as_shrink_says(self, tmp_path, monkeypatch):
        asked = fake(monkeypatch)
        given = keys(tmp_path, shrink={"iterations": 0.1})
        study, _ = freeze(given)
        assert asked == [] and stages(study.runs["mine"].plan) == [[3, 1], [3, 1], [2]]
        assert not study.runs["mine"].budget.is_open

    def test_without_a_budget_nothing_is_written(self, tmp_path, monkeypatch):
        asked = fake(monkeypatch)
        run = {name: value for name, value in RUN.items() if name != "budget"}
        freeze(keys(tmp_path, runs={"mine": run}))
        assert asked == [] and not (tmp_path / "results").exists()

    WRONG = (
        ({"minutes": 0}, "runs.mine.budget.minutes: found 0; allowed is more than 0"),
        ({}, "runs.mine.budget: key 'minutes' is missing"),
        (60, "runs.mine.budget: found 60; allowed is a mapping"),
        ({"minutes": 1, "hours": 1}, "runs.mine.budget.hours: unknown key"),
    )

    @pytest.mark.parametrize(("budget", "message"), WRONG)
    def test_mistakes_name_the_key(self, tmp_path, budget, message):
        with pytest.raises(UserError) as error:
            config.load(keys(tmp_path, runs={"mine": {**RUN, "budget": budget}}))
        assert str(error.value).startswith(message)

    def test_sized_twice(self, tmp_path):
        runs = {"a": {k: v for k, v in RUN.items() if k != "budget"}, "b": {**RUN, "equal_to": "a"}}
        with pytest.raises(UserError, match=r"^runs.b.budget: found together with equal_to, .* by 'a'"):
            config.load(keys(tmp_path, runs=runs))


class TestMeasured:
    """Real steps on this machine; others are at work on it, so that bounds are wide."""

    @pytest.fixture(autouse=True)
    def for_a_moment(self, monkeypatch):
        monkeypatch.setattr(speed, "_SECONDS", 0.2)

    def test_what_is_predicted_is_about_what_is_taken(self, arrays, tmp_path):
        todo = task(iterations=60)
        meter = Speedometer(choose("cpu", "float32", 0, 1), "auto", "auto", deterministic=False)
        predicted = meter.speeds([todo])
        made = json.loads((trained(arrays, tmp_path / "out", todo, SETTINGS) / "training.json").read_text())
        taken = made["seconds_iterations"] / made["iterations"]
        assert taken / 8 < predicted.iterations[0][0] < taken * 8
        assert 0 < predicted.pixels[0] < 1e-3

    def test_weights_and_random_numbers_are_left_alone(self, arrays, tmp_path):
        import torch

        torch.manual_seed(3)
        before = torch.get_rng_state()
        Speedometer(choose("cpu", "float32", 0, 1), "auto", "never", deterministic=False).speeds([task(iterations=5)])
        assert torch.equal(before, torch.get_rng_state())

    def test_a_process_of_its_own(self, tmp_path):
        """Equal phases are measured once: their numbers are the same, to the last digit."""
        full = config.schema.checked(keys(tmp_path))
        found = measure_apart(full, ["mine"], 0, 1)["mine"]
        assert found.device.startswith("device cpu") and found.start > 0.1
        assert found.iterations[0] == found.iterations[1] and found.iterations[2][0] > 0

    def test_what_it_says_is_passed_on(self, tmp_path):
        full = config.schema.checked(keys(tmp_path, device="cuda"))
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
        with pytest.raises(UserError, match=r"^device: found cuda, but PyTorch sees no GPU here"):
            measure_apart(full, ["mine"], 0, 1)


class TestPlan:
    """What ``multiblock plan`` prints."""

    def plan(self, folder: Path, capsys, *arguments: str, **changes) -> str:
        (folder / "mine.yaml").write_text(yaml.safe_dump(keys(folder, **changes)))
        assert cli.main(["plan", str(folder / "mine.yaml"), *arguments]) == 0
        return capsys.readouterr().out

    def test_it_says_how_a_budget_stands(self, tmp_path, capsys, monkeypatch):
        fake(monkeypatch)
        assert "budget of 2 minutes a seed: not measured yet" in self.plan(tmp_path, capsys)
        made = freeze(keys(tmp_path))[0].runs["mine"].plan
        printed = self.plan(tmp_path, capsys)
        assert f"frozen in {tmp_path}/results/mine/budget.json; iterations of stages: phase 1 " in printed
        assert f"phase 3 {stages(made)[2][0]}\n" in printed and "on a machine" in printed
        assert "does not count, as `shrink` says" in self.plan(tmp_path, capsys, shrink={"max_iterations": 3})

    def test_minutes_are_measured_and_not_kept(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(
            time_budget, "measure_apart", lambda config, names, gpus, threads: dict.fromkeys(names, SPEEDS)
        )
        run = {name: value for name, value in RUN.items() if name != "budget"}
        printed = self.plan(tmp_path, capsys, "--minutes", "3", runs={"mine": run})
        assert "budget of 3 minutes a seed: iterations x" in printed and "measured now and not kept" in printed
        assert not (tmp_path / "results").exists()

    @pytest.mark.parametrize("minutes", ["0", "-1", "x", "nan", "inf"])
    def test_minutes_that_are_none(self, tmp_path, capsys, minutes):
        with pytest.raises(SystemExit):
            cli.main(["plan", str(ROOT / "config.yaml"), "--minutes", minutes])
        assert "allowed are minutes above 0" in capsys.readouterr().err


def written(folder: Path, minutes: float) -> dict:
    """A config for the workflow, in its folder."""
    given = keys(folder, runs={"mine": {**RUN, "budget": {"minutes": minutes}}}, device="cpu")
    given |= {"results": "results", "training": {"below_input": "go_on"}}
    given["data"]["max_side"] = 64
    (folder / "config.yaml").write_text(yaml.safe_dump(given))
    return given


@pytest.mark.slow  # starts Snakemake twice, and measures
def test_the_first_start_of_the_workflow_measures_and_a_dry_run_does_not(tmp_path):
    written(tmp_path, 0.01)
    plans = snakemake(tmp_path, "--dry-run")
    assert (
        plans.returncode == 0 and "has a budget of 0.01 minutes that is not measured yet" in plans.stdout + plans.stderr
    )
    assert "measuring" not in plans.stdout + plans.stderr
    done = snakemake(tmp_path)
    said = [line for line in done.stderr.splitlines() if line.startswith("multiblock: ")]
    assert done.returncode == 1
    assert said[0] == "multiblock: measuring how fast this machine trains mine, a second or two a kind of stage"
    assert said[1].startswith("multiblock: error: runs.mine.budget: found 0.01 minutes; to start jobs")
    assert len(said) == 2 and not (tmp_path / "results/mine" / FILE).exists()


@pytest.mark.slow  # trains twice
def test_a_frozen_plan_gives_the_same_bytes_in_a_rerun(tmp_path, monkeypatch):
    given = written(tmp_path, 2)
    fake(monkeypatch)
    monkeypatch.chdir(tmp_path)
    slow = replace(SPEEDS, iterations=[[2.0, 2.0], [2.0, 2.0], [3.0]])
    monkeypatch.setattr(time_budget, "measure_apart", lambda *_: {"mine": slow})
    made = stages(freeze(given)[0].runs["mine"].plan)
    frozen = Path("results/mine", FILE).read_bytes()
    assert 20 < sum(map(sum, made)) < 60
    weights, last = [], "results/mine/seed1/phase3/weights.safetensors"
    for _ in range(2):
        done = snakemake(tmp_path, "--rerun-incomplete", last)
        assert done.returncode == 0 and "measuring" not in done.stderr, done.stderr
        assert jobs(tmp_path, last) == {} and Path("results/mine", FILE).read_bytes() == frozen
        weights.append(
            [file.read_bytes() for file in sorted(Path("results/mine/seed1").glob("phase*/weights.safetensors"))]
        )
        records = [
            json.loads(file.read_text()) for file in sorted(Path("results/mine/seed1").glob("phase*/training.json"))
        ]
        assert [record["iterations"] for record in records] == list(map(sum, made))
        shutil.rmtree("results")
        Path("results/mine").mkdir(parents=True)
        Path("results/mine", FILE).write_bytes(frozen)
    assert len(weights[0]) == 3 and weights[0] == weights[1]


def test_speeds_are_plain_values():
    assert Speeds(**json.loads(json.dumps(asdict(SPEEDS)))) == SPEEDS
    assert budgeted(plan(["1"], 1), 1, Path("nowhere"), counts=True)[1].is_open
