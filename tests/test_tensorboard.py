"""Histories as TensorBoard reads them: what is in the files of events, and what is said where the package is not."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from multiblock import config
from multiblock.errors import UserError
from multiblock.report.curves import tensorboard
from multiblock.workflow import check
from multiblock.workflow.results import Outside, Results

HISTORY = (
    "iteration,stage,lr,loss,psnr_rgb_validation,gradient_norm\n50,1,0.002,0.25,,1.5\n100,1,0.001,0.125,28.5,0.75\n"
)


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values by tag, of the one file of events in a folder: records of a length, a sum, data, a sum."""
    (file,) = folder.glob("events.out.tfevents.*")
    data, place, found = file.read_bytes(), 0, {}
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        event = Event.FromString(data[place + 12 : place + 12 + length])
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
        place += 12 + length + 4
    return found


def test_each_phase_has_a_folder_with_its_history(tmp_path):
    histories = {}
    for phase in (1, 2):
        histories[3, phase] = tmp_path / f"history{phase}.csv"
        histories[3, phase].write_text(HISTORY.replace("28.5", f"28.{phase}"))
    tensorboard(histories, tmp_path / "out")
    found = events(tmp_path / "out/seed3/phase2")
    assert found["training/loss"] == [(50, 0.25), (100, 0.125)]
    assert found["training/gradient_norm"] == [(50, 1.5), (100, 0.75)]
    assert found["training/lr"] == [(50, pytest.approx(0.002)), (100, pytest.approx(0.001))]
    assert found["validation/psnr_rgb"] == [(100, pytest.approx(28.2))]
    assert events(tmp_path / "out/seed3/phase1")["validation/psnr_rgb"] == [(100, pytest.approx(28.1))]


def test_a_history_of_no_iterations_is_empty(tmp_path):
    (tmp_path / "history.csv").write_text(HISTORY.splitlines()[0] + "\n")
    tensorboard({(1, 1): tmp_path / "history.csv"}, tmp_path / "out")
    assert events(tmp_path / "out/seed1/phase1") == {}


def test_it_is_made_only_where_it_is_asked_for():
    study = config.load({})
    asked = replace(study, report=replace(study.report, tensorboard=True))
    for of, there in ((study, False), (asked, True)):
        assert ("default/tensorboard" in Results(of, Outside({}, str)).shown()) == there


def test_without_the_package_it_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr(check, "find_spec", lambda name: None)
    check.check_installed(config.load({}))
    with pytest.raises(UserError, match=r'report.tensorboard: .*pip install "multiblock\[tensorboard\]"'):
        check.check_installed(config.load({"report": {"tensorboard": True}}))
