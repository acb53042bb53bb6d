"""``multiblock plan --minutes``: iterations that fit into a time, by measured speed, as YAML."""

import copy
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from conftest import ROOT
from multiblock import cli, config
from multiblock.config import minutes
from multiblock.config.costs import Costs, costs_of, pixels
from multiblock.config.minutes import fitted
from multiblock.data.camera import Anew, Camera
from multiblock.errors import UserError
from multiblock.runtime.device import choose
from multiblock.training import speed
from multiblock.training.speed import Speedometer
from multiblock.training.work import Speeds
from test_plan import PAPER, plan, stage
from test_training import SETTINGS, task
from test_training import run as trained

RUN = {
    "chain": ["tiny", "tiny"],
    "plan": [{"span": 1, "stages": "few"}, {"span": 2, "stages": "few"}, {"span": "1-2", "stages": "joint"}],
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
    "runs": {"mine": RUN, "one_go": {"chain": ["tiny"], "plan": [{"span": 1, "stages": "few"}], "equal_to": "mine"}},
}
SPEEDS = Speeds(
    device="a machine", start=1.0, iterations=[[0.01, 0.01], [0.01, 0.01], [0.03]], pixels=[1e-6, 1e-6, 2e-6]
)


def stages(made) -> list[list[int]]:
    return [[one.iterations for one in phase.stages] for phase in made.phases]


def with_iterations(made, numbers: list[list[int]]):
    """A plan with so many stages of so many iterations in each phase."""
    phases = zip(made.phases, numbers, strict=True)
    return replace(made, phases=tuple(replace(p, stages=tuple(stage(iterations=n) for n in own)) for p, own in phases))


def around(iterations: list[list[float]], fixed: list[float]) -> Costs:
    """Costs without looks, of whose fixed ones half come after the training."""
    half = [one / 2 for one in fixed]
    return Costs(iterations, [0.0] * len(iterations), 200, half, half)


class TestWhatFits:
    """Arithmetic, by hand."""

    def test_one_factor_and_the_time_is_spent(self):
        """10 + 20 seconds around; 300 + 100 iterations at 0.1 s, 200 at 0.3 s: 100 s. 1 minute leaves 30 s: x 0.3."""
        written, costs = (
            with_iterations(plan(["1", "1"], 1), [[300, 100], [200]]),
            around([[0.1, 0.1], [0.3]], [10, 20]),
        )
        assert costs.of(written) == pytest.approx(130)
        fits = fitted(written, costs, 1, "mine")
        assert stages(fits) == [[90, 30], [60]]
        assert costs.of(fits) == pytest.approx(60)

    @pytest.mark.parametrize("time", [0.6, 1, 7.77, 500])
    def test_any_time_is_spent_to_an_iteration(self, time):
        costs = around([[0.011], [0.02], [0.033], [0.27]], [3, 4, 5, 6])
        written = with_iterations(plan(PAPER, 3), [[1000], [500], [700], [900]])
        fits = fitted(written, costs, time, "mine")
        assert abs(costs.of(fits) - 60 * time) <= 0.27
        if time >= 7:
            factors = [a / b for (a,), (b,) in zip(stages(fits), stages(written), strict=True)]
            assert max(factors) / min(factors) < 1.05

    def test_too_short(self):
        with pytest.raises(UserError) as error:
            fitted(plan(PAPER, 3), around([[1]] * 4, [20] * 4), 1.3, "mine")
        assert str(error.value) == (
            "--minutes: found 1.3; for run mine, to start jobs, make LR_k and measure takes about 1.3 here, one "
            "iteration of each stage 0.067; allowed is more"
        )

    def test_nothing_to_scale(self):
        with pytest.raises(UserError, match=r"^runs.mine: this run takes no iterations at all"):
            fitted(with_iterations(plan(["1"], 1), [[0]]), around([[0.0]], [1]), 1, "mine")

    def test_what_comes_around_the_iterations(self):
        """Phase 1 makes LR_1 of all splits; a look is of the validation images."""
        counted = {"train": 3_000_000, "validation": 500_000, "test": 1_000_000}
        run = config.load(STUDY).runs["mine"]
        spent = costs_of(run, SPEEDS, counted, validate_every=25)
        assert spent.iterations == SPEEDS.iterations and spent.looks == pytest.approx([0.5, 0.5, 1.0])
        # LR_1 and two jobs; N_1 measured twice, by a job, and four of the run.
        assert (spent.fixed[0], spent.after[0]) == (pytest.approx(4.5 + 2 * 1.0), pytest.approx((1 + 1) * 1 + 5 * 1.0))
        # N_2, and N_2(N_1); no set.
        assert (spent.fixed[1], spent.after[1]) == (pytest.approx(1.0), pytest.approx((1 + 2) * 1 + 1.0))
        assert (spent.fixed[2], spent.after[2]) == (pytest.approx(1.0), pytest.approx((2 + 2) * 1 + 1.0))
        # 40 iterations a phase in two stages are looked at after 25, 30 and 40 of them, 20 after 20.
        training = 2 * (40 * 0.01 + 3 * 0.5) + 20 * 0.03 + 1 * 1.0 + 6.5 + 1 + 1
        assert spent.of_training(run.plan) == pytest.approx(training)
        assert spent.of(run.plan) == pytest.approx(training + 7 + 4 + 5)

    def test_pixels_are_those_that_are_used(self):
        mine = config.load({**STUDY, "data": {**STUDY["data"], "max_side": 100}}).runs["mine"].data
        assert pixels(mine) == {"train": 512 * 512, "validation": 100 * 100, "test": 100 * 100}  # brick is 512 x 512


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

    def test_random_numbers_are_left_alone_and_what_is_equal_is_measured_once(self):
        import torch

        torch.manual_seed(3)
        before = torch.get_rng_state()
        meter = Speedometer(choose("cpu", "float32", 0, 1), "auto", "never", deterministic=False)
        first, again = meter.speeds([task(iterations=5)]), meter.speeds([task(iterations=7)])
        assert torch.equal(before, torch.get_rng_state()) and first.iterations == again.iterations

    def test_patches_that_are_made_anew_are_measured_too(self, monkeypatch):
        real, todo, anew = Anew.patch, task(iterations=2), Anew(camera=Camera(), scale=3, enlarged=3)

        def slow(self: Anew, *place):
            time.sleep(0.02)
            return real(self, *place)

        monkeypatch.setattr(Anew, "patch", slow)
        meter = Speedometer(choose("cpu", "float32", 0, 1), "auto", "never", deterministic=False)
        kept, made = meter.speeds([todo]), meter.speeds([todo], [anew])
        assert kept.iterations[0][0] < made.iterations[0][0] and made.iterations[0][0] > 0.02 * todo.stages[0].batch

    def test_the_device_of_the_config_is_needed(self, monkeypatch):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        with pytest.raises(UserError, match=r"^device: found cuda, but PyTorch sees no GPU here"):
            minutes.speedometer(config.load({**STUDY, "device": "cuda"}), 1)


class TestTheCommand:
    """What ``multiblock plan --minutes`` prints."""

    @pytest.fixture
    def mine(self, tmp_path, monkeypatch) -> Path:
        """A config, on a machine whose speed is known."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(Speedometer, "speeds", lambda self, tasks, anew: SPEEDS)
        return self.file(STUDY)

    def file(self, content) -> Path:
        Path("mine.yaml").write_text(yaml.safe_dump(content))
        return Path("mine.yaml")

    def test_it_prints_a_file_to_lay_over_the_config(self, mine, capsys):
        before = config.load(config.read([mine]))
        assert cli.main(["plan", "mine.yaml", "--minutes", "3"]) == 0
        printed = capsys.readouterr().out
        Path("three.yaml").write_text(printed)
        after = config.load(config.read([mine, Path("three.yaml")]))
        ours, theirs = after.runs["mine"], before.runs["mine"]
        (a, b), (c, d), (joint,) = stages(ours.plan)
        assert a == pytest.approx(3 * b, abs=3) and c == pytest.approx(3 * d, abs=3) and a > 100
        spent = costs_of(ours, SPEEDS, pixels(ours.data), 200)
        assert spent.of(ours.plan) == pytest.approx(180, abs=0.1)
        # What a stage counts in iterations goes along; all else stays.
        assert ours.plan.phase(3).stages[0].schedule["every"] == -(-10 * joint // 20)
        one, other = ours.plan.phase(1).stages[1], theirs.plan.phase(1).stages[1]
        assert replace(one, iterations=10) == other and ours.data == theirs.data
        # A run that is sized by it follows, and is not in the file.
        assert "one_go" not in printed and after.runs["one_go"].plan.block_pixels > 4 * theirs.plan.block_pixels
        assert "# mine: iterations x " in printed and "measured on a machine" in printed

    def test_a_config_without_runs(self, mine, capsys, monkeypatch):
        self.file({"data": STUDY["data"]})
        known = Speeds(device="m", start=1, iterations=[[0.01] * 2] * 4, pixels=[1e-6] * 4)
        monkeypatch.setattr(Speedometer, "speeds", lambda self, tasks, anew: known)
        assert cli.main(["plan", "mine.yaml", "--minutes", "3"]) == 0
        Path("three.yaml").write_text(capsys.readouterr().out)
        assert list(config.load(config.read([mine, Path("three.yaml")])).runs) == ["p"]

    def test_shrink_says_how_many_already(self, mine, capsys):
        self.file({**STUDY, "shrink": {"max_iterations": 5}})
        assert cli.main(["plan", "mine.yaml", "--minutes", "3"]) == 1
        assert "--minutes: shrink says how many iterations there are already" in capsys.readouterr().err

    @pytest.mark.parametrize("time", ["0", "-1", "x", "nan", "inf"])
    def test_minutes_that_are_none(self, capsys, time):
        with pytest.raises(SystemExit):
            cli.main(["plan", str(ROOT / "config.yaml"), "--minutes", time])
        assert "allowed are minutes above 0" in capsys.readouterr().err

    def test_the_key_that_there_was_says_what_to_do(self):
        given = copy.deepcopy(STUDY)
        given["runs"]["mine"]["budget"] = {"minutes": 3}
        with pytest.raises(UserError, match=r"^runs.mine.budget: is a key no more; `multiblock plan FILE --minutes 60"):
            config.load(given)
