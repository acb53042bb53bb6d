"""What lies beside a result of what it was made of: whether it stands, and how Snakemake is told."""

import os
from pathlib import Path

import numpy as np
from multiblock.workflow.records import Record, Records

from multiblock.data.imageset import write_set
from multiblock.files import Digests, read_json


def test_a_folder_of_pictures_belongs_to_the_table_that_lists_them(tmp_path):
    table, picture = tmp_path / "upscaled" / "pictures.csv", tmp_path / "upscaled" / "a" / "b.png"
    picture.parent.mkdir(parents=True)
    for file in (table, picture):
        file.write_text("made")

    def stands() -> bool:
        records = Records(Digests(tmp_path / "digests.json"), write=True, say=print)
        depends = Path(records.depends(tmp_path, "upscaled", lambda: {"form": "png"}))
        record = Record(depends, [], [str(table)], str(tmp_path / "upscaled"))
        known = depends.stat().st_mtime == 1
        assert record.stands() == known
        record.note({})
        return known

    assert [stands(), stands()] == [False, True]
    (tmp_path / "upscaled" / "one's own.txt").write_text("mine")
    assert stands()
    picture.write_text("another")
    assert [stands(), stands()] == [False, True]
    picture.unlink()
    assert not stands()


def test_an_array_that_was_changed_in_place_does_not_stand(tmp_path):
    array, index = tmp_path / "HR" / "train.npy", tmp_path / "HR" / "train.csv"
    with write_set(array, [(4, 5)]) as target:
        target.add("a", np.full((4, 5, 3), 7, np.uint8))

    def reasons() -> list[str]:
        records = Records(Digests(tmp_path / "digests.json"), write=True, say=print)
        record = Record(Path(records.depends(tmp_path, "convert", dict)), [], [str(array), str(index)])
        found = records.reasons(tmp_path, "convert", dict, [])
        assert record.stands() == (not found)
        record.note({})
        return found

    assert reasons() == ["nothing says what it was made of"] and reasons() == []
    later = array.stat().st_mtime_ns + 10**9
    os.utime(array, ns=(later, later))
    assert reasons() == [], "a copy is later, and the same"
    assert index.stat().st_mtime_ns == later, "which need not be read again"
    pixels = np.load(array, mmap_mode="r+")
    pixels[-1] ^= 1
    pixels.flush()
    os.utime(array, ns=(later + 10**9, later + 10**9))
    assert reasons() == ["HR/train.npy has changed"]
    array.write_bytes(b"no array")
    os.utime(array, ns=(later + 10**9, later + 10**9))
    assert reasons() == ["HR/train.npy has changed"]


def test_a_result_that_does_not_stand_is_told_by_other_bytes_each_time(tmp_path):
    """Snakemake looks past a newer input whose bytes are those of the last run."""
    seen = set()
    for _ in range(3):
        records = Records(Digests(tmp_path / "digests.json"), write=True, say=print)
        depends = Path(records.depends(tmp_path, "table", lambda: {"of": [1]}))
        assert read_json(depends) == {"of": [1]}
        seen.add(depends.read_bytes())
    assert len(seen) == 3


def test_a_plan_leaves_what_a_workflow_notes_as_it_is(tmp_path):
    """A dry run of another config, while a workflow is at work."""

    def records(plans: bool) -> Records:
        return Records(Digests(tmp_path / "digests.json"), write=True, say=print, plans=plans)

    def depends(of: Records, folder: Path, lr: float) -> Path:
        return Path(of.depends(folder, "train", lambda: {"lr": lr}))

    folder, new = tmp_path / "phase1", tmp_path / "phase2"
    at_work, weights = records(plans=False), folder / "weights"
    own = depends(at_work, folder, 0.1)
    planning = records(plans=True)
    other = depends(planning, folder, 0.2)
    assert read_json(other) == {"lr": 0.2} and other.stat().st_mtime > 1
    weights.write_text("made with 0.1")
    Record(own, [], [str(weights)]).note({})
    assert read_json(folder / ".made" / "train.json")["depends"] == {"lr": 0.1}

    # What stands is told by the same file as before, and nothing is made to look at it.
    assert depends(records(plans=False), folder, 0.1) == own
    assert depends(records(plans=True), folder, 0.1) == own and own.stat().st_mtime == 1
    depends(planning, new, 0.1)
    assert not new.exists()
