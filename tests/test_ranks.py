"""A phase that several processes train: two on the CPU, which say to one another what GPUs would."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import yaml

import forked
import kill
from conftest import ROOT
from multiblock import config
from multiblock.cli import main
from multiblock.data.imageset import ImageSet
from multiblock.data.sampler import Sampler
from multiblock.errors import UserError
from multiblock.files import temporary_folder
from multiblock.plan import Plan
from multiblock.training.ranks import Ranks
from multiblock.workflow import ranks
from multiblock.workflow.check import check
from once import once
from test_plan import phase
from test_training import SETTINGS, SPEC, same, stage
from test_workflow import snakemake, write_config

DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from multiblock.workflow import process, ranks
from test_ranks import given, training
out = Path({out!r})
with process.logged(out / "log"):
    ranks.train(given(out, {gpus}), asked=2, **training(Path({arrays!r}), out))
"""


def given(out: Path, gpus: int) -> SimpleNamespace:
    """What a job of the workflow is given."""
    from multiblock.runtime import device

    study = SimpleNamespace(device="cpu", precision="float32", precision_reason="configured")
    threads = {"threads": gpus, "gpus": gpus, "device": device.choose("cpu", "float32", 0, gpus)}
    return SimpleNamespace(study=study, result=SimpleNamespace(outside={}), log=out / "log", label="", **threads)


def training(arrays: Path, out: Path) -> dict:
    """A training of two stages with batches of three, so that the shares of two processes differ."""
    stages = (
        stage(iterations=90, lr=5e-3, batch=3, patch=16, clamp=False, optimiser="adam", clip=1.0, ema=0.9),
        stage(iterations=60, lr=1e-3, batch=3, patch=16, schedule=PLATEAU),
    )
    one = replace(phase("1"), stages=stages)
    return {
        "task": Plan(blocks=(SPEC,), phases=(one,)).task(1, seed=5),
        "settings": SETTINGS,
        "inputs": arrays / "LR",
        "targets": arrays / "HR",
        "weights": {},
        "out": out,
        "checkpoint_seconds": 1e-9,
        "memory_gib": 4,
    }


PLATEAU = {"kind": "plateau", "factor": 0.5, "patience": 1}


def started(arrays: Path, out: Path, gpus: int = 2, by: ModuleType = forked) -> forked.Popen:
    out.mkdir(exist_ok=True)
    code = DRIVER.format(tests=str(Path(__file__).parent), arrays=str(arrays), out=str(out), gpus=gpus)
    return by.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, start_new_session=True, text=True)


def trained(arrays: Path, out: Path, gpus: int = 2) -> Path:
    """A training to its end."""
    process = started(arrays, out, gpus)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    return out


@pytest.fixture
def whole(arrays, tmp_path, tmp_path_factory) -> Path:
    """The training in two processes that nothing interrupts."""
    return once(tmp_path_factory, "two-processes", lambda folder: trained(arrays, folder), tmp_path / "whole")


def processes_of(parent: int) -> list[int]:
    """Those that a process has started to train, in the order of their ranks."""
    return kill.children(parent)


def in_the_middle(arrays: Path, out: Path) -> tuple[forked.Popen, list[int]]:
    """A training that has written a checkpoint; and its processes."""
    before = set(out.glob("working/*.pt"))
    process = started(arrays, out)
    while not set(out.glob("working/?????????-*.pt")) - before:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    return process, processes_of(process.pid)


def gone(processes: list[int], within: float = 20) -> bool:
    end = time.monotonic() + within
    while any(Path(f"/proc/{process}").exists() for process in processes):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def history(folder: Path) -> list[dict[str, float]]:
    with (folder / "history.csv").open() as file:
        return [{name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(file)]


def test_each_has_its_rows_of_the_same_batch(arrays):
    sets = ImageSet(arrays / "LR" / "train.npy"), ImageSet(arrays / "HR" / "train.npy")
    whole = Sampler(*sets, 1, 5, 1).batch(3, 5, 16)
    for rank in range(3):
        own = Ranks(rank, 3)
        mine = Sampler(*sets, 1, 5, 1, rows=own.rows).batch(3, 5, 16)
        assert all(torch.equal(a, b[rank::3]) for a, b in zip(mine, whole, strict=True))
        assert own.share(5) == len(mine[0]) == (2, 2, 1)[rank]


def test_two_go_the_way_of_one_and_a_killed_one_costs_nothing(arrays, whole, tmp_path):
    two, one = whole, trained(arrays, tmp_path / "one", gpus=1)
    assert "the job was given 1" in (one / "log").read_text()
    for mine, other in zip(history(two), history(one), strict=True):
        assert mine == pytest.approx(other, rel=2e-3, abs=1e-3, nan_ok=True)
    assert history(two)[0] == pytest.approx(history(one)[0], rel=1e-5, nan_ok=True)
    (segment,) = json.loads((two / "training.json").read_text())["segments"]
    assert (segment["processes"], segment["threads"]) == (2, 1)
    # The second of them is killed, and the first has to end with it.
    process, both = in_the_middle(arrays, tmp_path / "killed")
    os.kill(both[1], signal.SIGKILL)
    said = process.communicate()[1]
    assert process.returncode == 1 and gone(both)
    assert len(re.findall("multiblock: error", said)) == 1 and "Traceback" not in said
    assert "process 2 of 2 of the training was ended by SIGKILL" in said and "the same command goes on" in said
    assert same(trained(arrays, tmp_path / "killed"), two)


@pytest.mark.slow
def test_whoever_is_killed_or_stopped_the_others_end_and_the_same_command_goes_on(arrays, whole, tmp_path):
    """One after another in one folder, each in the middle of what the one before has left."""
    out = tmp_path / "out"
    for whom in ("the first", "the job", "all"):
        process, both = in_the_middle(arrays, out)
        for one in {"the first": both[:1], "the job": [process.pid], "all": [process.pid, *both]}[whom]:
            os.kill(one, signal.SIGKILL)
        process.communicate()
        assert gone(both), whom
    for whom, number in (("the job", signal.SIGTERM), ("the job", signal.SIGINT), ("the second", signal.SIGTERM)):
        process, both = in_the_middle(arrays, out)
        os.kill(process.pid if whom == "the job" else both[1], number)
        said = process.communicate()[1]
        assert process.returncode == 1 and gone(both)
        stopped = re.findall(rf"stopped by {number.name} after iteration (\d+) of 150 of phase 1; the same", said)
        assert len(stopped) == said.count("stopped") == 1 and not re.search("error|Traceback|failed", said), said
        (out / "log").unlink()
    assert same(trained(arrays, out), whole)
    assert f"goes on from iteration {stopped[0]}\n" in (out / "log").read_text()


def test_a_job_that_is_killed_at_once_leaves_nothing(arrays, tmp_path, monkeypatch):
    """Neither processes, which would train on for nobody, nor, once another is started, a folder."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    process = started(arrays, tmp_path / "out")
    while len(both := processes_of(process.pid)) < 2:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)
    process.kill()
    assert gone(both)
    process.communicate()
    assert not (tmp_path / "out" / ".lock").exists(), "they began to train"
    (left,) = (tmp_path / "temporary").glob("multiblock-*")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    with temporary_folder():
        assert not left.exists()


@pytest.mark.slow
@pytest.mark.parametrize(("whom", "number"), [("all", signal.SIGINT), ("the second", signal.SIGTERM)])
def test_a_stop_before_the_training_begins_is_one_line(arrays, tmp_path, number, whom):
    process = started(arrays, tmp_path / "out", by=subprocess)  # no fork would be seen to import anything
    while len(both := processes_of(process.pid)) < 2 or not all(map(imports_pytorch, both)):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    for one in {"all": [process.pid, *both], "the second": both[1:]}[whom]:
        os.kill(one, number)
    assert process.communicate()[1] == "stopped; the same command goes on\n"
    assert process.returncode == 130 and gone(both)


def imports_pytorch(process: int) -> bool:
    return "libtorch" in Path(f"/proc/{process}/maps").read_text()


@pytest.mark.slow
def test_it_goes_on_in_another_number_of_processes_and_says_so(arrays, tmp_path):
    out = tmp_path / "out"
    process, _ = in_the_middle(arrays, out)
    process.terminate()
    process.communicate()
    trained(arrays, out, gpus=1)
    assert "it began with processes 2 and goes on with 1" in (out / "log").read_text()
    assert [one["processes"] for one in json.loads((out / "training.json").read_text())["segments"]] == [2, 1]


@pytest.mark.slow
def test_wrong_input_is_one_line(arrays, tmp_path):
    (arrays / "LR" / "train.csv").unlink()
    process = started(arrays, tmp_path / "out")
    said = process.communicate()[1]
    assert process.returncode == 1 and said.count("cannot be read as an image set") == 1 and "Traceback" not in said


def study(**run):
    """A study of one run of two phases."""
    stages = [{"iterations": 2, "batch": 4, "patch": 16}]
    return {
        "blocks": {"a": {"network": "srresnet", "channels": 8, "blocks": 1}, "b": {"network": "mcan"}},
        "runs": {
            "one": {
                "chain": ["b", "b"],
                "plan": [{"span": 1, "stages": stages}, {"span": "1-2", "gpus": 3, "stages": stages}],
                **run,
            }
        },
    }


def test_a_phase_has_the_gpus_of_its_run_or_its_own():
    assert [one.gpus for one in config.load(study()).runs["one"].plan.phases] == [1, 3]
    assert [one.gpus for one in config.load(study(gpus=2)).runs["one"].plan.phases] == [2, 3]
    with pytest.raises(UserError, match=r"gpus: found 0"):
        config.load(study(gpus=0))


def test_the_plan_says_so(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(study()))
    assert main(["plan", str(tmp_path / "config.yaml")]) == 0
    rows = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    assert [[word.strip() for word in row if word][1] for row in rows if "LR_0" in str(row)] == ["1", "1-2 on 3 GPUs"]


def test_a_cluster_gives_a_phase_the_gpus_of_one_machine(pairs):
    """Slurm's ``--gpus=2`` alone may be one GPU on each of two nodes, where the second process finds none."""
    stages = [{"iterations": 2, "batch": 2, "patch": 16}]
    runs = {"one": {"chain": ["tiny"], "gpus": 2, "plan": [{"span": 1, "stages": stages}]}}
    write_config(pairs, runs=runs, report={})
    done = snakemake(pairs, "--dry-run", "--workflow-profile", "none", "--cores", "4", "--resources", "gpu=2")
    (asked,) = re.findall(r"^rule phase1_1:.*?^    resources: (.*?)$", done.stdout, re.MULTILINE | re.DOTALL)
    assert {"gpu=2", "nodes=1"} <= set(asked.split(", ")), asked


def test_how_many_train_is_no_reason_to_train_again():
    alone, shared = (config.load(study(gpus=gpus)).runs["one"] for gpus in (1, 2))
    assert alone.plan.task(2, 0) == shared.plan.task(2, 0)


def test_batch_norms_are_refused_before_anything_is_trained():
    stages = [{"iterations": 2, "batch": 4, "patch": 16}]
    whole = [{"span": 1, "stages": stages}]
    data = {"data": {"name": "coffee", "scale": 2, "train": {"photographs": ["coffee"]}, **TWO}}
    check(config.load({**study(chain=["a"], plan=whole), **data}))
    with pytest.raises(
        UserError, match=r"runs.one.plan, phase 1, gpus: found 2; blocks.a \(srresnet\) has batch norms"
    ):
        check(config.load({**study(chain=["a"], plan=whole, gpus=2), **data}))


LAYERS = {
    "Dropout2d(0.1)": "has Dropout2d, which would draw the same numbers in each process",
    "AlphaDropout(0.1)": "has AlphaDropout, which",
    "InstanceNorm2d(3, track_running_stats=True)": "has norms that keep statistics",
    "InstanceNorm2d(3)": None,
}


@pytest.mark.parametrize("layer", LAYERS)
def test_what_depends_on_the_rows_is_refused_in_a_block_of_ones_own(layer, tmp_path):
    """Dropout that goes on would not be what it was, either: the numbers of all but the first are not kept."""
    stem = "from torch import nn\nclass Own(nn.Sequential):\n    output_layer, receptive_field = '0', 3\n"
    init = "    def __init__(self):\n        super().__init__(nn.Conv2d(3, 3, 3, padding=1), nn."
    (tmp_path / "own.py").write_text(f"{stem}{init}{layer})\n")
    blocks = {"a": {"network": str(tmp_path / "own.py")}}
    plan = [{"span": 1, "stages": [{"iterations": 2, "batch": 4, "patch": 16}]}]
    data = {"name": "coffee", "scale": 1, "train": {"hr": "a", "lr": "b"}, "test": {"hr": "a", "lr": "b"}}
    made = [
        config.load({"data": data, "blocks": blocks, "runs": {"one": {"chain": ["a"], "plan": plan, "gpus": gpus}}})
        for gpus in (1, 2)
    ]
    check(made[0])
    if says := LAYERS[layer]:
        with pytest.raises(UserError, match=rf"phase 1, gpus: found 2; blocks.a \(.*own.py\) {re.escape(says)}"):
            check(made[1])
    else:
        check(made[1])


TWO = {"validation": {"photographs": ["chelsea"]}, "test": {"photographs": ["rocket"]}}


def counted(given: int, asked: int, batch: int) -> int:
    return ranks._count(SimpleNamespace(stages=[SimpleNamespace(batch=batch)]), given, asked)


def test_no_more_processes_than_gpus_and_rows(caplog):
    assert [counted(2, 2, 8), counted(0, 1, 8), counted(1, 1, 8)] == [2, 1, 1] and not caplog.text
    assert counted(1, 4, 8) == 1 and "4 are asked for and the job was given 1" in caplog.text
    assert counted(4, 4, 3) == 3 and "a batch of 3 is shared by 3 processes at most" in caplog.text


def test_fewer_gpus_here_than_the_job_was_given(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"gpus: found 2, and 1 GPU here; start Snakemake with --resources gpu=1"):
        ranks._check_gpus("auto", 2)
    ranks._check_gpus("cpu", 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    ranks._check_gpus("auto", 2)


ENDED = "the processes of the training ended with"


@pytest.mark.parametrize(
    ("notes", "codes", "error", "says"),
    [
        # The one that was killed, not what the other suffered from it, nor how the other was asked to end.
        ({0: ("trace", "Connection reset")}, {0: 1, 1: -signal.SIGABRT}, UserError, "process 2 of 2 .* by SIGABRT"),
        ({0: ("interrupted", "")}, {1: -signal.SIGKILL, 0: 1}, UserError, "process 2 of 2 .* by SIGKILL"),
        ({}, {1: -signal.SIGTERM, 0: -signal.SIGTERM}, UserError, "process 2 of 2 .* by SIGTERM"),
        # What ended first is the reason of the rest.
        ({1: ("interrupted", ""), 0: ("trace", "Connection reset")}, {0: 1, 1: 1}, KeyboardInterrupt, "^$"),
        ({0: ("trace", "a fault"), 1: ("interrupted", "")}, {0: 1, 1: 1}, RuntimeError, f"{ENDED} .*\na fault$"),
        ({0: ("trace", "a fault")}, {0: 1, 1: -signal.SIGTERM}, RuntimeError, f"{ENDED} .*\na fault$"),
        ({1: ("wrong", "no room"), 0: ("trace", "Connection reset")}, {0: 1, 1: 1}, UserError, "^no room$"),
        ({1: ("stop", "1"), 0: ("stop", "1")}, {0: 1, 1: 1}, SystemExit, "1"),
        # The job was asked to stop: there are no statuses.
        ({0: ("stop", "1"), 1: ("trace", "Connection reset")}, {}, SystemExit, "1"),
        ({0: ("trace", "Connection reset")}, {}, KeyboardInterrupt, "^$"),
        ({}, {}, KeyboardInterrupt, "^$"),
        ({0: ("wrong", "no room")}, {}, UserError, "^no room$"),
    ],
)
def test_the_reason_is_said_and_not_what_followed_from_it(tmp_path, notes, codes, error, says):
    for second, (rank, (how, said)) in enumerate(notes.items()):
        file = tmp_path / f"ended-{rank:04d}.json"
        file.write_text(json.dumps({"how": how, "said": said}))
        os.utime(file, (second, second))
    with pytest.raises(error, match=says):
        ranks._end(tmp_path, 2, codes)


def test_two_processes_with_one_gpu_are_refused(monkeypatch):
    from multiblock.runtime import device

    chosen = device.Device(torch.device("cuda", 0), "a GPU is here", torch.float32, "configured")
    monkeypatch.setattr(device, "choose", lambda *_: chosen)
    told = {"gpus": 2, "threads": 2, "log": Path("log"), "label": "", "training": {}}
    order = ranks.Order(device="auto", precision="float32", **told)
    two = SimpleNamespace(all=lambda one: [one, one], from_first=lambda make: make())
    with pytest.raises(UserError, match="other jobs on this machine have too many of its GPUs"):
        ranks._device(order, two)
    two.all = lambda one: [one, "cuda:1"]
    assert ranks._device(order, two).device_reason == "a GPU is here, in 2 processes"


PRETENDED = """
import json, os, sys, time

def choose(*_):
    from dataclasses import replace
    from multiblock.runtime import device, gpus
    number, others = gpus.take(["A", "B", "C", "D"])
    with open(os.environ["TAKEN"], "a") as file:
        file.write(json.dumps({"gpu": number, "others": others, "process": os.getpid(), "at": time.time()}) + chr(10))
    end = time.monotonic() + 60
    while time.monotonic() < end:  # until all four are taken at once, which they can be
        if len({json.loads(line)["gpu"] for line in open(os.environ["TAKEN"])}) == 4:
            break
        time.sleep(0.1)
    return replace(real('cpu', 'float32', 0, 1), name=f"pretended GPU {number}")

words = " ".join(sys.orig_argv)
if ".snakemake/scripts" in words or "multiblock.workflow.ranks" in words:
    from multiblock.runtime import device
    real, device.choose = device.choose, choose
"""
"""Found by each Python process: those that compute take one of four GPUs that are not there, and compute on the CPU."""


@pytest.mark.slow
def test_each_job_has_gpus_of_its_own_and_one_for_two_waits_for_two(tmp_path):
    stages = [{"iterations": 30, "batch": 2, "patch": 16}]
    settings = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
    run = {"chain": ["tiny"], "plan": [{"span": 1, "stages": stages}]}
    runs = {"alone": run, "together": {"chain": ["tiny", "tiny"], "plan": [{"span": "1-2", "stages": stages}]}}
    runs["together"]["gpus"] = 2
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump({**settings, "runs": runs, "seeds": [1, 2, 3, 4], "report": {}})
    )
    (tmp_path / "sitecustomize.py").write_text(PRETENDED)
    environment = {**os.environ, "TAKEN": str(tmp_path / "taken"), "XDG_RUNTIME_DIR": str(tmp_path)}
    # Four for one GPU and two for two: whatever Snakemake begins with, it fills all four GPUs.
    seeds = {"alone": (1, 2, 3, 4), "together": (1, 2)}
    folders = [f"results/{run}/seed{seed}/phase1" for run in runs for seed in seeds[run]]
    targets = [*(f"{folder}/weights.safetensors" for folder in folders), f"{folders[0]}/psnr.csv"]
    words = ["--cores", "16", "--resources", "gpu=4", "--configfile", "config.yaml", "--directory", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *targets, "--snakefile", str(ROOT / "Snakefile"), *words],
        env={**environment, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    taken = [json.loads(line) for line in (tmp_path / "taken").read_text().splitlines()]
    records = {path: json.loads(path.read_text()) for path in tmp_path.glob("results/*/seed*/phase1/training.json")}
    assert len(records) == 6
    for path, record in records.items():
        assert record["segments"][0]["processes"] == (2 if "together" in str(path) else 1)
        assert record["segments"][0]["name"].startswith("pretended GPU")
    # Four at once, and nobody ever had a GPU that another one had.
    assert {one["gpu"] for one in taken} == {0, 1, 2, 3} and not any(one["others"] for one in taken)
    assert len(taken) == 4 + 2 * 2 + 1  # and the measurement
