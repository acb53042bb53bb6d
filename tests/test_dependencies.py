"""What results depend on beside the files that they are made of, and that it tells which files these are."""

from types import SimpleNamespace

import pytest
from multiblock.workflow.dependencies import Dependencies
from multiblock.workflow.layout import Layout

from multiblock.config import load

STAGES = [{"iterations": 3, "batch": 2, "patch": 16}]
SPANS = (1, 2, "1-2")
READ = {
    **dict.fromkeys(("table", "figures", "page", "residuals", "tensorboard"), "of_phases"),
    **dict.fromkeys(("comparison", "study_page", "losses"), "of_phases"),
    "by_block": "of_joint_phases",
    "budget": "of_last_phase",
    "upscaling": "final_weights",
}
"""For each kind of report what says which files of phases its job reads."""


def asked(tmp_path, kind: str, seeds: list[int], phases: int):
    """The files of phases that a report reads, and what it depends on beside them."""
    plan = [{"span": span, "stages": STAGES} for span in SPANS[:phases]]
    pictures = {"data_root": str(tmp_path), "upscale": {"images": "pictures"}}
    study = load({"runs": {"a": {"chain": ["small", "small"], "plan": plan}}, "seeds": seeds, **pictures})
    layout = Layout(study)
    on = Dependencies(study, layout, lambda _: "images", lambda _: "digest")
    read = getattr(layout, READ[kind])
    files = read("a") if kind == "upscaling" else read("a", "psnr.csv")
    return files, getattr(on, kind)(SimpleNamespace(run="a"))


@pytest.mark.parametrize("kind", READ)
def test_other_files_are_another_list(tmp_path, kind):
    """Files that were there before are older than the result: their times say nothing."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").touch()
    before, on = asked(tmp_path, kind, [1, 2], 3)
    changed = 0
    for seeds, phases in (([1], 3), ([2], 3), ([2, 1], 3), ([1, 2], 2)):
        files, now = asked(tmp_path, kind, seeds, phases)
        if files != before:
            assert now != on, f"{kind}: seeds {seeds}, {phases} phases"
            changed += 1
    assert changed >= 3
    assert asked(tmp_path, kind, [1, 2], 3) == (before, on)
