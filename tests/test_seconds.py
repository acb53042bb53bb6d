"""Runs that take as long as another one: measured once, kept with the results, told to every job."""

import copy
import json
import random
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from conftest import tiny_study, write_pairs
from multiblock import cli, config
from multiblock.config.costs import Costs, Measured, filled, number_of_looks, sized_by_seconds
from multiblock.errors import UserError
from multiblock.training.work import Speeds, median
from multiblock.workflow import seconds
from multiblock.workflow.results import Outside, Results
from multiblock.workflow.store import Store
from test_minutes import stages, with_iterations
from test_plan import PAPER, plan, stage
from test_workflow import jobs, snakemake, write_config

PHASED = Speeds(device="a machine", start=2.0, iterations=[[0.1, 0.1], [0.1, 0.1], [0.3]], pixels=[1e-5, 1e-5, 2e-5])
ONE_GO = Speeds(device="a machine", start=2.0, iterations=[[0.2]], pixels=[2e-5])
PIXELS = {"train": 400_000, "validation": 100_000, "test": 200_000}


def written(**changes) -> dict:
    """The tiny study, in which one run takes as long as the other."""
    made = {**tiny_study(), "compile": "never", "training": {"below_input": "go_on", "validate_every": 10}}
    made["runs"]["one_go"]["equal_to"] = {"run": "phased", "in": "seconds"}
    made["recipes"]["few"] = [{**one, "iterations": 100} for one in made["recipes"]["few"]]
    made["recipes"]["last"] = [{"iterations": 5, "batch": 2, "patch": 16}]
    made["runs"]["phased"]["plan"][2]["stages"] = "last"
    return copy.deepcopy({**made, **changes})


def faster(speeds: Speeds, times: float) -> Speeds:
    """As they would be measured while the machine is so many times as fast."""
    return Speeds(
        device=speeds.device,
        start=speeds.start / times,
        iterations=[[one / times for one in phase] for phase in speeds.iterations],
        pixels=[one / times for one in speeds.pixels],
    )


class TestArithmetic:
    """By hand."""

    @pytest.mark.parametrize("every", [1, 3, 7, 200])
    def test_looks_are_those_of_a_training(self, every):
        """Every so many iterations and at the end of each stage, as an iteration at a time finds."""
        draw = random.Random(every)
        for _ in range(200):
            own = [draw.choice([0, 1, 2, 6, 7, 50, 201]) for _ in range(draw.randint(1, 4))]
            found, step = 0, 0
            for length in own:
                for inside in range(length):
                    step += 1
                    found += step % every == 0 or inside + 1 == length
            found += own[-1] == 0  # the last clamps were not seen yet
            assert number_of_looks([stage(iterations=one) for one in own], every) == found, own

    def test_a_run_takes_as_long_as_the_other(self):
        """phased: 400 iterations at 0.1 s, 5 at 0.3; looks of 1, 1 and 2 s, 20, 20 and 1; LR_1 at 7 s; 4 starts.
        one_go: a look of 2 s in ten iterations of 0.2 s each, and one start."""
        study = config.load(written())
        run = sized_by_seconds(study, "one_go", Measured([ONE_GO], [PHASED], PIXELS))
        there = 400 * 0.1 + 5 * 0.3 + (20 + 20) * 1 + 2 + 7 + 4 * 2
        (iterations,) = stages(run.plan)[0]
        here = iterations * 0.2 + 2 * -(-iterations // 10) + 2
        found = run.equal_to.reckoned
        assert (found.there, found.here) == (pytest.approx(there), pytest.approx(here))
        assert abs(here - there) <= 1 + 0.1  # half a look and half an iteration
        assert run.plan.phase(1).stages[0].schedule == study.runs["one_go"].plan.phase(1).stages[0].schedule

    def test_a_loaded_moment_hits_both_alike(self):
        """One round in three at half the speed: the medians are the others', and the ratio is what it was."""
        study = config.load(written())
        rounds = [faster(speeds, times) for speeds in (ONE_GO, PHASED) for times in (1, 0.5, 1)]
        run = sized_by_seconds(study, "one_go", Measured(rounds[:3], rounds[3:], PIXELS))
        alone = sized_by_seconds(study, "one_go", Measured([ONE_GO], [PHASED], PIXELS))
        assert run.plan == alone.plan and run.equal_to.reckoned.apart == pytest.approx(1)
        low, high = run.equal_to.reckoned.by_round
        assert low == pytest.approx(high) == pytest.approx(run.equal_to.reckoned.here / run.equal_to.reckoned.there - 1)
        assert median(rounds[:3]) == ONE_GO

    def test_any_time_is_filled_to_a_look_of_each_phase(self):
        draw = random.Random(1)
        for _ in range(200):
            iterations, looks = [[draw.uniform(0.001, 0.5)] for _ in PAPER], [draw.choice([0, 0.1, 3]) for _ in PAPER]
            costs = Costs(iterations, looks, 50, [draw.uniform(1, 5) for _ in PAPER], [100] * 4)
            bare = with_iterations(plan(PAPER, 3), [[draw.randint(1, 20)] for _ in PAPER])
            wanted = draw.uniform(100, 5000)
            made = filled(bare, costs, wanted)
            assert abs(costs.of_training(made) - wanted) <= sum(looks) + 0.5
            assert costs.of(made) == pytest.approx(costs.of_training(made) + 400)

    def test_a_run_that_takes_less_than_a_start(self):
        study = config.load(written())
        short = faster(PHASED, 100)
        says = (
            r"^runs.one_go.equal_to: the run that it names takes 0.\d+ seconds here; starts and LR_k of this one take 2"
        )
        with pytest.raises(UserError, match=says):
            sized_by_seconds(study, "one_go", Measured([ONE_GO], [short], PIXELS))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"compile": "auto"}, "compile: found auto, by which the length of a stage decides how fast it is; .* never"),
        ({"compile": "always"}, "compile: found always, .* allows never"),
        ({"gpus": 2}, "runs.phased: found gpus: 2; in: seconds allows 1"),
        ({"iterations": 0}, "runs.one_go: takes no iterations at all; in: seconds allows runs that take some"),
    ],
)
def test_what_cannot_be_known_before_it_is_trained(changes, says):
    made = written(**{key: value for key, value in changes.items() if key == "compile"})
    if "gpus" in changes:
        made["runs"]["phased"]["gpus"] = 2
    if "iterations" in changes:
        made["recipes"]["joint"] = [{**one, "iterations": 0, "schedule": {}} for one in made["recipes"]["joint"]]
    with pytest.raises(UserError, match=says):
        config.load(made)


class TestKept:
    """What was measured is kept for a pair of runs, whatever their lengths, names and machine."""

    @pytest.fixture
    def here(self, tmp_path, monkeypatch) -> Path:
        """A folder in which the tiny study is, on a machine whose speed is known."""
        monkeypatch.chdir(tmp_path)
        self.rounds = []

        def measured(asked):
            self.rounds.append(asked)
            return [asdict(PHASED if len(tasks) > 1 else ONE_GO) for tasks in asked["runs"]]

        monkeypatch.setattr(seconds, "_round", measured)
        monkeypatch.setattr(seconds, "pixels", lambda data: PIXELS)
        monkeypatch.setattr(seconds.precision, "decided", lambda study, store: study)
        return tmp_path

    def decide(self, made: dict, results="results", **more):
        said = []
        store = Store(Path(results))
        study = seconds.decide(config.load({**made, "results": results}), store, seconds.Here(2, 0), False, said.append)
        return study, said

    def test_measured_once_and_then_known(self, here):
        study, said = self.decide(written())
        assert len(self.rounds) == 5 and not seconds.waiting(study)
        assert self.rounds[0]["device"] == {"device": "auto", "precision": "float32", "threads": 2, "gpus": 0}
        assert said[0].startswith("measures how long iterations take, for one_go: 5 rounds") and len(said) == 2
        again, nothing = self.decide(written())
        assert again.runs == study.runs and not nothing and len(self.rounds) == 5
        assert seconds.decided(config.load(written()), Store(Path("results"))).runs == study.runs

    def test_lengths_and_rates_are_not_measured_again_and_count(self, here):
        study, _ = self.decide(written())
        made = written()
        made["recipes"]["few"] = [{**one, "iterations": 50, "lr": 1e-5} for one in made["recipes"]["few"]]
        shorter, _ = self.decide(made)
        assert len(self.rounds) == 5
        assert stages(shorter.runs["one_go"].plan)[0][0] < 0.7 * stages(study.runs["one_go"].plan)[0][0]

    @pytest.mark.parametrize("change", [{"batch": 4}, {"patch": 8}, {"loss": "l2"}, {"ema": 0.9}])
    def test_another_kind_of_stage_is_measured_and_a_change_back_found(self, here, change):
        study, _ = self.decide(written())
        made = written()
        made["recipes"]["few"][0].update(change)
        assert seconds.waiting(seconds.decided(config.load(made), Store(Path("results")))) == ["one_go"]
        self.decide(made)
        assert len(self.rounds) == 10
        back, _ = self.decide(written())
        assert back.runs == study.runs and len(self.rounds) == 10

    def test_a_further_run_leaves_the_others_as_they_are(self, here):
        study, _ = self.decide(written())
        made = written()
        made["runs"]["wide"] = {**made["runs"]["one_go"], "plan": [{"span": "1-2", "stages": "last"}]}
        more, _ = self.decide(made)
        assert more.runs["one_go"] == study.runs["one_go"] and more.runs["wide"].equal_to.reckoned
        assert len(self.rounds[-1]["runs"]) == 2  # the new pair alone, its partner in the same rounds

    def test_results_that_are_copied_go_by_what_is_kept(self, here):
        study, _ = self.decide(written())
        shutil.copytree("results", "elsewhere")
        self.rounds.clear()
        copied, _ = self.decide(written(), "elsewhere")
        assert copied.runs == study.runs and not self.rounds

    def test_iterations_are_part_of_the_address(self, here):
        def address(study):
            return Results(study, Outside({}, lambda name: name)).train("one_go", 1, 1).address

        study, _ = self.decide(written())
        assert address(study) != address(config.load(written()))
        (number,) = stages(study.runs["one_go"].plan)[0]
        by_hand = written()
        del by_hand["runs"]["one_go"]["equal_to"]
        by_hand["recipes"]["joint"][0]["iterations"] = number
        assert address(study) == address(config.load(by_hand))

    def test_the_comparison_knows_which_runs_are_to_be_equal_in_seconds(self):
        made = Results(config.load(written()), Outside({}, lambda name: name))
        for result in (made.compare(), made.study_page()):
            assert result.settings["in_seconds"] == {"one_go": "phased"}
        in_pixels = written()
        in_pixels["runs"]["one_go"]["equal_to"] = "phased"
        made = Results(config.load(in_pixels), Outside({}, lambda name: name))
        assert "in_seconds" not in made.compare().settings

    def test_jobs_on_a_cluster_are_not_measured_here(self, here):
        store = Store(Path("results"))
        with pytest.raises(
            UserError, match=r"^runs.one_go.equal_to: seconds are measured where jobs run, and these go"
        ):
            seconds.decide(config.load(written()), store, seconds.Here(2, 0), True, print)

    def test_a_loaded_clock_is_said(self, here, monkeypatch):
        times = iter([1, 1, 0.7, 1, 1])

        def measured(asked):
            now = next(times)
            return [asdict(faster(PHASED if len(tasks) > 1 else ONE_GO, now)) for tasks in asked["runs"]]

        monkeypatch.setattr(seconds, "_round", measured)
        _, said = self.decide(written())
        assert "warning: rounds differ by up to 43% from their median" in said[2]

    def test_plan_says_what_both_take(self, here, capsys):
        write_config(here, **written())
        assert cli.main(["plan", "config.yaml"]) == 0
        assert "sized by phased in seconds, which are measured when the workflow starts" in capsys.readouterr().out
        study, _ = self.decide(written())
        assert cli.main(["plan", "config.yaml"]) == 0
        said = capsys.readouterr().out
        found = study.runs["one_go"].equal_to.reckoned
        assert f"sized by phased: {found.here:.1f} seconds for 98.5 (" in said and "measured on a machine" in said
        assert f"iterations of stages: phase 1 {stages(study.runs['one_go'].plan)[0][0]}" in said


class TestForGood:
    """On this machine."""

    def test_a_round_is_measured_in_a_process_of_its_own(self):
        study = replace(config.load(written()), precision="float32")
        asked = {
            "device": {"device": "cpu", "precision": "float32", "threads": 1, "gpus": 0},
            "layout": "auto",
            "deterministic": False,
            "seconds": 0.05,
            "runs": [
                [asdict(study.runs[run].plan.task(n, 0)) for n in study.runs[run].plan.numbers] for run in study.runs
            ],
        }
        phased, one_go = (Speeds(**one) for one in seconds._round(asked))
        assert len(phased.iterations) == 3 and len(one_go.iterations) == 1
        assert 0.3 < phased.start < 60 and all(0 < one < 5 for phase in phased.iterations for one in phase)
        assert phased.pixels[0] == phased.pixels[1] != phased.pixels[2]  # what is the same is measured once a round

    def test_what_it_ends_with_is_said(self):
        with pytest.raises(UserError, match="^in: seconds: cannot be measured: .*"):
            seconds._round({})

    @pytest.mark.slow
    def test_a_workflow(self, tmp_path):
        write_pairs(tmp_path, train=3, test=2)
        write_config(tmp_path, **written())
        planned = snakemake(tmp_path, "--dry-run")
        assert "iterations of one_go are as they are written: the seconds that size them are measured" in planned.stderr
        assert not (tmp_path / "results/store/seconds.json").exists()
        done = snakemake(tmp_path)
        assert done.returncode == 0, done.stderr
        kept = json.loads((tmp_path / "results/store/seconds.json").read_text())
        assert len(kept) == 1 and all(len(pair["own"]) == len(pair["other"]) == 5 for pair in kept.values())
        record = json.loads((tmp_path / "results/one_go/seed1/phase1/training.json").read_text())
        assert f"run one_go: {record['iterations']:,} iterations take " in done.stderr
        assert record["iterations"] > 3
        assert jobs(tmp_path) == {}
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "threads": 1}))
        assert jobs(tmp_path) == {}
