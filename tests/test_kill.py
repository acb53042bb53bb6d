"""Killed at random moments and started again, the workflow ends with the bytes of a run never disturbed."""

import pytest
import yaml

import kill
from conftest import ROOT

pytestmark = pytest.mark.slow


def test_killed_at_random_moments(tmp_path):
    """The tiny study, of which one run of two phases has a job of each kind but those that compare runs."""
    config = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
    chain, plan = ["tiny", "tiny"], config["runs"]["phased"]["plan"][:2]
    config["runs"] = {"phased": {"chain": chain, "plan": plan}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    tally = kill.kill_test(3, [tmp_path / "config.yaml"], seed=3, work=tmp_path, longest=8)
    assert sum(tally.kills.values()) >= 3 and tally.runs >= 1
    assert not tally.different and not tally.late
