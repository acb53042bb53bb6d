"""What a training spends: counted by hand, by PyTorch's own counter, and over kills."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from made_up import cells, psnr_csv
from made_up import record as write_record
from multiblock.data.sampler import Sampler
from multiblock.inference import timing
from multiblock.model.complexity import forward_and_backward
from multiblock.networks import zoo
from multiblock.plan import Block, Plan
from multiblock.report import tables
from multiblock.runtime.compilation import Execution
from multiblock.training import progress, trainer, work
from multiblock.training.validation import Validation
from test_checkpoint import interrupted
from test_plan import phase, stage
from test_report import TITLES, compare
from test_training import run, task
from test_zoo import FEW, SMALL, small

TOY = Block(network="toy", options={"channels": 8})


def pytorchs(network: nn.Module, side: int) -> int:
    with FlopCounterMode(display=False) as counted:
        network(torch.zeros(1, 3, side, side)).sum().backward()
    return counted.get_total_flops()


# -- Floating-point operations ---------------------------------------------------------------------------------


def test_a_network_of_two_convolutions_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 3, 1), nn.AdaptiveAvgPool2d(1))
    first, second = 2 * 10 * 10 * 3 * 5 * 9, 2 * 10 * 10 * 5 * 3
    # No gradient goes to the image.
    assert forward_and_backward(network, 10) == 2 * first + 3 * second == pytorchs(network, 10)
    network[0].requires_grad_(False)
    assert forward_and_backward(network, 10) == first + 2 * second == pytorchs(network, 10)
    network.requires_grad_(False)
    assert forward_and_backward(network, 10) == first + second


class Products(nn.Module):
    """Products that are no layers, and a layer whose output nothing needs."""

    def __init__(self) -> None:
        super().__init__()
        self.unused, self.weight = nn.Conv2d(3, 7, 1), nn.Parameter(torch.ones(4, 4))

    def forward(self, x):
        self.unused(x)
        return functional.linear(x @ self.weight, self.weight)


def test_products_count_wherever_they_are_computed():
    network = Products()
    product = 2 * 3 * 4 * 4 * 4
    assert forward_and_backward(network, 4) == 2 * 16 * 3 * 7 + 2 * product + 3 * product == pytorchs(network, 4)


def test_groups_and_transposed_convolutions_by_hand():
    # PyTorch's counter takes the gradient of grouped weights as if they were not.
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=4))
    first, grouped = 2 * 36 * 3 * 8, 2 * 36 * 8 * 2 * 9
    assert forward_and_backward(network, 6) == 2 * first + 3 * grouped
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 3, 2, stride=2))
    assert forward_and_backward(network, 6) == 2 * 2 * 36 * 12 + 3 * 2 * 36 * 4 * 3 * 4 == pytorchs(network, 6)


@pytest.mark.parametrize("name", FEW)
def test_every_network_is_counted_as_pytorch_counts_it(name):
    network = small(name).eval()
    grouped = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    with sdpa_kernel(SDPBackend.MATH):  # PyTorch does not count all kinds of fused attention
        ours, theirs = forward_and_backward(network, 16), pytorchs(network, 16)
    assert ours < theirs if grouped else ours == theirs


def test_a_network_is_left_as_it_was():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Conv2d(3, 3, 1).eval())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    forward_and_backward(network, 8)
    assert [module.training for module in network] == [True, True, True, False]
    assert all(value.equal(before[name]) for name, value in network.state_dict().items())
    assert torch.get_rng_state().equal(random) and all(one.grad is None for one in network.parameters())


@pytest.mark.parametrize("name", ["mcan", "sa_rcan_1", "carn_m", "drln_lite2"])
def test_what_is_planned_is_what_is_counted(name):
    block = zoo.sample(name, **SMALL[zoo.find(name).family])
    assert work.planned([block], 16, ()) == forward_and_backward(small(name), 16)


NEEDS_VALUES = """
from torch import nn
class Network(nn.Module):
    output_layer, receptive_field = "c", 1
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 3, 1)
    def forward(self, x):
        return self.c(x) if x.sum().item() >= 0 else x
"""


def test_a_network_that_needs_values_is_run(tmp_path):
    file = tmp_path / "network.py"
    file.write_text(NEEDS_VALUES)
    assert work.planned([Block(network=str(file))], 8, ()) == 2 * 2 * 64 * 9


# -- The ledger of a phase -------------------------------------------------------------------------------------


def record(folder: Path) -> dict:
    return json.loads((folder / "training.json").read_text())


def test_the_ledger_of_a_small_plan_by_hand(arrays, tmp_path):
    stages = (
        stage(iterations=4, batch=3, patch=8, clamp="none"),
        stage(iterations=6, batch=2, patch=16, parts={"layers.0": {"freeze": 4}, "layers.1": {"freeze": 2}}),
    )
    todo = Plan(blocks=(TOY, TOY), phases=(replace(phase("1-2"), stages=stages),)).task(1, 1)
    made = record(run(arrays, tmp_path / "out", todo))
    pixels = 4 * 3 * 64 + 6 * 2 * 256
    assert made["block_pixels"] == 2 * pixels and made["iterations"] == 10
    outer, inner = 2 * 9 * 3 * 8, 2 * 9 * 8 * 8  # of a pixel; each block has two of the one and four of the other
    # All weights have a gradient, and all inputs but the image.
    free = 3 * 2 * (2 * outer + 4 * inner) - outer
    # The first layer of both blocks is frozen: no gradient for it, and none for what the first block's second reads.
    one = free - 2 * outer - inner
    # So are the second ones: none for them, and none for what the first block's third reads.
    both = one - 2 * inner - inner
    found = [(each["stage"], each["iterations"], each["frozen"], each["flops"]) for each in made["work"]]
    assert found[0] == (1, 4, [], 4 * 3 * 64 * free)
    assert found[1] == (2, 2, ["layers.0", "layers.1"], 2 * 2 * 256 * both)
    assert found[2] == (2, 2, ["layers.0"], 2 * 2 * 256 * one)
    assert found[3] == (2, 2, [], 2 * 2 * 256 * free)
    assert made["training_flops"] == sum(flops for *_, flops in found)


def test_a_network_that_cannot_be_counted_is_said(arrays, tmp_path, monkeypatch, caplog):
    def refused(*_):
        raise RuntimeError("no products here")

    monkeypatch.setattr(work, "of_patch", refused)
    made = record(run(arrays, tmp_path / "out", task(2)))
    assert made["training_flops"] is None and made["work"] is None and made["block_pixels"] > 0
    assert "training FLOPs are not recorded, as they cannot be counted: no products here" in caplog.text


def test_a_phase_that_only_takes_weights_costs_nothing(arrays, tmp_path):
    made = record(run(arrays, tmp_path / "out", task(0)))
    assert (made["training_flops"], made["block_pixels"], made["work"]) == (0, 0, [])


# -- Time ------------------------------------------------------------------------------------------------------


def seconds(made: dict) -> dict[str, float]:
    return {part: made[f"seconds_{part}"] for part in progress.PARTS}


def test_each_moment_counts_once(monkeypatch):
    now = iter([10.0, 12.0, 15.0, 15.5, 19.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    counted = progress.Clock(begun=7.5)
    assert [counted.lap(part) for part in ("start", "iterations", "validation", "checkpoints", "iterations")]
    assert counted.spent == {"start": 2.5, "iterations": 5.5, "validation": 3.0, "checkpoints": 0.5}


def test_time_adds_up_over_a_kill(arrays, tmp_path, monkeypatch):
    nap, real_psnr, real_draw = 0.15, Validation.psnr, Sampler.draw

    def slow_psnr(*arguments):
        time.sleep(nap)
        return real_psnr(*arguments)

    def slow_draw(*arguments):
        time.sleep(nap / 10)
        return real_draw(*arguments)

    monkeypatch.setattr(Validation, "psnr", slow_psnr)
    monkeypatch.setattr(Sampler, "draw", slow_draw)
    begun = time.monotonic()
    interrupted(arrays, tmp_path / "out", monkeypatch, 35)
    made = record(run(arrays, tmp_path / "out"))
    whole = time.monotonic() - begun
    spent, segments = seconds(made), made["segments"]
    assert [(one["from"], one["to"]) for one in segments] == [(0, 35), (35, 60)]
    for part, total in spent.items():
        assert total == pytest.approx(sum(one["seconds"][part] for one in segments))
        assert all(one["seconds"][part] > 0 for one in segments)
    # Looks after 20, 30, 40 and 60 iterations: two of them before the kill.
    assert 4 * nap <= spent["validation"] < whole - 60 * nap / 10
    assert 2 * nap <= segments[0]["seconds"]["validation"] < 4 * nap
    assert 60 * nap / 10 <= spent["iterations"] < whole - 4 * nap
    assert sum(spent.values()) <= whole
    assert made["seconds"] == pytest.approx(sum(spent.values()) - spent["start"], abs=0.02)
    assert made["iterations_per_second"] == pytest.approx(60 / spent["iterations"], rel=0.02)


def test_the_start_is_all_before_the_first_iteration_and_what_is_compiled(arrays, tmp_path, monkeypatch):
    real_forward, real_start = Execution.forward, trainer.starting_chain

    def slow_forward(*arguments):  # once a stage
        time.sleep(0.2)
        return real_forward(*arguments)

    def slow_start(*arguments):
        time.sleep(0.3)
        return real_start(*arguments)

    monkeypatch.setattr(Execution, "forward", slow_forward)
    monkeypatch.setattr(trainer, "starting_chain", slow_start)
    spent = seconds(record(run(arrays, tmp_path / "out", task(4))))
    assert spent["start"] >= 0.3 + 2 * 0.2


def test_the_process_began_before_now():
    """By seconds in a process that has imported all of this; it is no reckoning from the start of the machine."""
    first, *_, again = (progress.process_start() for _ in range(3))
    boot = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    assert first == pytest.approx(again, abs=0.05)
    assert first == pytest.approx(ticks / os.sysconf("SC_CLK_TCK") - boot, abs=0.5) and time.monotonic() - first > 0.5


def test_making_a_set_is_timed(tmp_path):
    with timing.noted(tmp_path / "generation.json"):
        time.sleep(0.05)
    assert 0.05 <= timing.seconds(tmp_path / "generation.json") < 5
    assert timing.seconds(tmp_path / "none.json") is None
    (tmp_path / "other.json").write_text('{"seconds": "long"}')
    assert timing.seconds(tmp_path / "other.json") is None


# -- The tables of a run ---------------------------------------------------------------------------------------

SPENT = {"training_flops": 3 * 10**19, "seconds": 30.5, "seconds_iterations": 20.25, "seconds_validation": 9.5}
SPENT |= {"seconds_start": 4.25, "validation_seconds": None}


def two_phases(folder: Path, **spent):
    """The table of two phases that made LR_1 and LR_2, as it is made and as it is read again."""
    csvs, records = {}, {}
    for number in (1, 2):
        (folder / f"{number}" / f"LR_{number}").mkdir(parents=True, exist_ok=True)
        csvs[1, number] = psnr_csv(folder / f"{number}.csv", {"a": 20.0}, {"a": 20.0 + number}, number)
        records[1, number] = write_record(folder / f"{number}" / "training.json", (1, number), **spent)
    timed = {key: [record.parent / f"LR_{key[1]}" / "generation.json"] for key, record in records.items()}
    made = tables.psnr_by_phase(csvs, records, {}, 0, generation=timed)
    tables.write(made, ["seed", "phase"], folder / "table.csv", folder / "times.csv")
    return made, tables.read(folder / "table.csv", folder / "times.csv"), csvs


def took(table) -> dict[str, list[str]]:
    """The rows of what was spent, by phase."""
    rows = cells(tables.as_markdown(table, "demo", 2, TITLES))
    begin = next(i for i, row in enumerate(rows) if "training FLOPs" in row)
    return {row[0]: row[1:] for row in rows[begin:] if not row[0].startswith(":")}


def test_the_tables_of_a_run_say_what_it_took(tmp_path):
    for number, spent in ((1, 1.5), (2, 2.75)):
        folder = tmp_path / str(number) / f"LR_{number}"
        folder.mkdir(parents=True)
        (folder / "generation.json").write_text(json.dumps({"seconds": spent}))
    made, again, csvs = two_phases(tmp_path, **SPENT)
    for table in (made, again):
        phases = table[table.phase != "input"]
        assert phases.training_flops.tolist() == [3e19, 3e19]
        for name in ("seconds", "seconds_iterations", "seconds_validation", "seconds_start"):
            assert phases[name].tolist() == [SPENT[name]] * 2
        assert phases.seconds_generation.tolist() == [1.5, 2.75]
        rows = took(table)
        assert rows["phase"][-5:] == ["seconds", "of iterations", "of validation", "of start", "of LR_k"]
        assert rows["1"] == ["7", "100", "3e+19", "0", "30.5", "20.2", "9.5", "4.2", "1.5"]
        assert rows["all"] == ["14", "200", "6e+19", "0", "61.0", "40.5", "19.0", "8.5", "4.2"]
        row = compare({"run": table}, {"run": [csvs[1, 2]]}, "run").runs.iloc[0]
        assert row.iteration_seconds == pytest.approx(40.5 / 14, abs=1e-5) and row.training_flops == 6e19
    assert "training_flops" in (tmp_path / "table.csv").read_text().splitlines()[0]
    assert "seconds" not in (tmp_path / "table.csv").read_text()


def test_what_older_results_do_not_say_is_not_recorded(tmp_path):
    for table in two_phases(tmp_path)[:2]:
        rows = took(table)
        nothing = "not recorded"
        assert rows["1"] == ["7", "100", nothing, "0", "2.5", nothing, "0.4", nothing, nothing]
        assert rows["all"][2] == nothing and rows["all"][:2] == ["14", "200"]
        row = compare({"run": table}, {"run": [tmp_path / "2.csv"]}, "run").runs.iloc[0]
        assert row.iteration_seconds == pytest.approx(2 * (2.5 - 0.4) / 14, abs=1e-5)


def test_a_set_whose_time_is_not_known_is_not_zero(tmp_path):
    folder = tmp_path / "1" / "LR_1"
    folder.mkdir(parents=True)
    (folder / "generation.json").write_text('{"seconds": 1.5}')
    made, *_ = two_phases(tmp_path, **SPENT)
    assert [row[-1] for row in took(made).values()] == ["of LR_k", "1.5", "not recorded", "not recorded"]
