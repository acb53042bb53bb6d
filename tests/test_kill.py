"""Killed at random moments and started again, the workflow ends with the bytes of a run never disturbed."""

import pytest

import kill
from conftest import ROOT

pytestmark = pytest.mark.slow


def test_killed_at_random_moments(tmp_path):
    tally = kill.kill_test(3, [ROOT / "tests" / "tiny.yaml"], seed=3, work=tmp_path, longest=8)
    assert sum(tally.kills.values()) >= 3 and tally.runs >= 1
    assert not tally.different and not tally.late
