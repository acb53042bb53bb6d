"""How far training says it is, and what it warns of."""

import logging
import time

import pytest

from multiblock.training import checkpoint, progress, trainer
from multiblock.training.progress import Progress
from test_training import run, task


class Clock:
    """Time that goes on only where it is told to."""

    def __init__(self, monkeypatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


def test_the_time_left_follows_what_is_measured_and_slow_steps_are_named(monkeypatch, caplog):
    clock = Clock(monkeypatch)
    with caplog.at_level(logging.INFO), Progress(task(1000), 0) as shown:
        for step in range(400):
            clock.now += 0.01 if step < 100 else 0.2
            shown.step()
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "6 of 1000 iterations, expected time left 10 s"
    slow = [text for text in said if "times as long as the first ones" in text]
    assert len(slow) == 1 and slow[0].startswith("iterations take 20 times as long")
    assert said[-1].endswith("expected time left 2 min 05 s") or "time left 2 min" in said[-1]


def test_what_the_validation_images_have_is_reported(monkeypatch, caplog):
    clock = Clock(monkeypatch)
    with caplog.at_level(logging.DEBUG, "multiblock"), Progress(task(1000), 0) as shown:
        for step in range(20):
            clock.now += 0.3
            shown.step()
            if step == 9:
                shown.note(30.25, 29.5)
    reports = [record.progress for record in caplog.records if hasattr(record, "progress")]
    assert [report.get("psnr") for report in reports] == [None] * 5 + [30.25] * 10
    assert reports[-1]["psnr_input"] == 29.5


def test_a_pause_for_the_validation_images_does_not_count(monkeypatch, caplog):
    clock = Clock(monkeypatch)
    with caplog.at_level(logging.INFO), Progress(task(1000), 0) as shown:
        for _ in range(6):
            clock.now += 0.01
            shown.step()
            clock.now += 5
            shown.leave_out(5)
    assert "expected time left 10 s" in caplog.text


@pytest.mark.parametrize(("seconds", "times"), [(0.5, 1), (0.01, 0)])
def test_a_phase_below_no_network_is_named_while_it_can_still_be_stopped(monkeypatch, caplog, seconds, times):
    """Unless its other half takes less time than to read so."""
    clock = Clock(monkeypatch)
    with caplog.at_level(logging.INFO), Progress(task(100), 0) as shown:
        for step, psnr in ((20, 20.0), (50, 20.5), (70, 20.7), (80, 24.0), (100, 21.0)):
            for _ in range(step - shown._step):
                clock.now += seconds
                shown.step()
            shown.note(psnr, 23.0)
            below = psnr < 23
            assert shown._note == f", validation {psnr:.3f} dB" + " (without network 23.000)" * below
        shown.note(20.0, None)  # the input is not known
    said = [record.getMessage() for record in caplog.records if "warning: " in record.getMessage()]
    assert len(said) == times
    assert all(text.startswith("warning: after 50 of 100 iterations phase 1 is at 20.500 dB") for text in said)


@pytest.mark.parametrize(("psnr", "said"), [(16.9, True), (17.1, False), (24.0, False)])
def test_clamps_on_a_network_that_is_far_off_are_named(caplog, psnr, said):
    """Pixels outside 0 to 1 have no gradient in the second stage, which clamps: such a phase may never come back."""
    with caplog.at_level(logging.WARNING), Progress(task(100), 0) as shown:
        for step in (49, 50, 51, 100):
            for _ in range(step - shown._step):
                shown.step()
            if step == 50:
                caplog.clear()
            shown.note(psnr, 23.0)
            if step == 50:
                warned = [text for text in caplog.messages if "stage 1 of phase 1 ends at" in text]
                assert len(warned) == said and all("pixels outside 0 to 1 do not learn" in text for text in warned)
    assert len([text for text in caplog.messages if "stage 1 of phase 1" in text]) == said


def test_a_slow_disk_takes_little_of_the_time(arrays, tmp_path, monkeypatch):
    """Writing a checkpoint takes longer than the time between two."""
    monkeypatch.setattr(trainer, "_SAVING_SHARE", 0.02)
    saves, save = [], checkpoint.save

    def slow(folder, state):
        saves.append(state.step)
        time.sleep(0.2)
        save(folder, state)

    monkeypatch.setattr(checkpoint, "save", slow)
    run(arrays, tmp_path / "out", task(60), checkpoint_seconds=0.001)
    assert saves[-1] == 60 and len(saves) <= 3
