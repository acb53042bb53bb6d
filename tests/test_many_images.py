"""What grows with the number of images does so in step with it, and comes out as it did image by image."""

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import kill
from multiblock.data import images, leaks
from multiblock.data.arrangement import lr_name
from multiblock.data.inspection import Inspection, digests, inspect
from multiblock.files import Digests
from multiblock.page import pictures, viewer
from test_conversion import journal_lines, photographs
from test_sources import data


def looks(count: int, name: str, seed: int) -> list[leaks.Look]:
    rng = np.random.default_rng(seed)
    edges = rng.normal(size=(count, 2 * (leaks.SIDE - 1) ** 2)).astype(np.float32)
    edges /= np.linalg.norm(edges, axis=1)[:, None]
    found = []
    for number, row in enumerate(edges.astype(np.float16)):
        ratio = (1.0, 1.0, 1.5, 1.02)[number % 4]
        flat = number % 50 == 7
        found.append(leaks.Look(Path(f"{name}{number}"), f"{name}{number}", ratio, None if flat else row))
    return found


def alike_one_by_one(these, those):
    """The definition."""
    found = []
    for one in these:
        likeness = {
            other.file: float(one.edges.astype(np.float32) @ other.edges.astype(np.float32))
            for other in those
            if one.edges is not None and other.edges is not None and other.digest != one.digest
            if 1 / 1.03 < one.ratio / other.ratio < 1.03
        }
        best = max(likeness, key=likeness.get, default=None)
        if best and likeness[best] > leaks.ALIKE:
            found.append((one.file, best))
    return found


class TestLooks:
    """At images of two splits, and at those of one."""

    @pytest.fixture
    def train(self, monkeypatch):
        monkeypatch.setattr(leaks, "_TOGETHER", 64)
        return looks(150, "train", 1)

    def test_pictures_that_are_alike_are_those_of_the_definition(self, train):
        test = looks(130, "test", 2)
        for mine, theirs, noise in ((3, 147, 0), (4, 8, 0.3), (129, 65, 0.2), (6, 2, 0.9), (9, 10, 0)):
            edges = train[theirs].edges + noise / 44 * np.random.default_rng(3).normal(size=1922)
            edges = (edges / np.linalg.norm(edges)).astype(np.float16)
            test[mine] = leaks.Look(test[mine].file, test[mine].digest, test[mine].ratio, edges)
        test[20] = leaks.Look(test[20].file, train[21].digest, 1.0, train[21].edges)  # the same image, not alike
        found = leaks._alike(test, train)
        assert found == alike_one_by_one(test, train) and 3 <= len(found) <= 4

    def test_groups(self, train):
        copy, chain = leaks.Look(Path("copy"), train[140].digest, 3.0, None), train[100]
        near = leaks.Look(Path("near"), "near", chain.ratio, chain.edges)
        found = leaks.groups([*train, near, copy])
        assert [[look.file.name for look in group] for group in found if len(group) > 1] == [
            ["train100", "near"],
            ["train140", "copy"],
        ]
        assert [group[0] for group in found] == train

    def test_thousands_are_compared_in_seconds(self):
        kept = leaks.Looks()
        for split, count in (("train", 2000), ("test", 200)):
            for look in looks(count, split, len(split)):
                kept.add(split, look)
        begun = time.process_time()
        assert leaks.compare(kept, "mine") == []
        assert time.process_time() - begun < 4  # 0.3; 10 image by image


def test_a_start_looks_at_each_file_once(tmp_path, monkeypatch):
    photographs(tmp_path, 30)
    keys = {"scale": 2, "train": {"hr": "train", "min_side": 8}, "test": {"hr": "test"}, "validation": 0.2}
    mine, memory = data(tmp_path, **keys), tmp_path / "memory.json"
    kept = Digests(memory)
    first = inspect(mine, Inspection(kept), 16)
    kept.save()
    files, plain = [], Path.stat
    monkeypatch.setattr(Path, "stat", lambda file, **named: (files.append(file), plain(file, **named))[1])
    inspection = Inspection(Digests(memory))
    assert inspect(mine, inspection, 16) == first
    assert sum(map(len, digests(mine, inspection).values())) == 33
    looked = [file for file in files if file.suffix == ".png"]
    assert len(looked) == len(set(looked)) == 33


def test_names_that_are_part_of_others_pair_quickly():
    names = [str(number) for number in range(3000)]
    begun = time.process_time()
    assert lr_name(names, [f"{name}x2" for name in names]) == "{name}x2"
    assert time.process_time() - begun < 3  # 0.3; 25 where each name of each pattern is tried


def test_a_page_chooses_among_thousands_of_images_in_seconds():
    place = {"x": 3, "y": 5, "width": 8, "height": 8, "what": "largest gain"}
    some = [
        pictures.Shown(
            name=f"i{number}",
            labels=("input", "one", "target"),
            load=tuple,
            target=True,
            size=(64, 64),
            places=(pictures.Place(**place, change=float(number * 7919 % 1000)),),
            rate=3.0,
        )
        for number in range(3000)
    ]
    begun = time.process_time()
    cuts = viewer.cuts(some, 500_000)
    assert time.process_time() - begun < 5  # 0.1; a minute where one image after another is left out
    kept = {cut.image.name for cut in cuts}
    least = min(cut.image.change for cut in cuts)
    assert 10 < len(kept) < 3000
    assert all(image.name in kept or image.change <= least for image in some)


@pytest.mark.slow
def test_the_workflow_goes_on_with_a_conversion_that_was_killed(tmp_path):
    photographs(tmp_path / "photos", 40, 500, 700)
    (tmp_path / "many.yaml").write_text(
        "data: {name: many, scale: 2, train: {hr: photos/train}, validation: 2, test: {hr: photos/test}}\n"
        "convert_threads: 2\n"
    )
    command = kill.command(tmp_path, [tmp_path / "many.yaml"])
    command[command.index("--cores") + 1] = "2"
    command.insert(command.index("snakemake") + 1, "results/data/many/HR/train.npy")
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True) as workflow:
        folder, parts, end = tmp_path / "results/data/many", tmp_path / "results/store/parts", time.monotonic() + 90
        while journal_lines(parts) < 8 and workflow.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        for process in [workflow.pid, *kill.children(workflow.pid)]:
            subprocess.run(["kill", "-9", str(process)], check=False, capture_output=True)
    done = journal_lines(parts)
    assert 8 <= done < 43 and not (folder / "HR/train.npy").exists()
    subprocess.run(command, check=True, capture_output=True)
    log = (folder / "logs/convert.log").read_text()
    assert f"train: 38 images of many, {min(done, 38)} of them by an earlier start" in log
    assert not list(parts.glob("*/*"))
    assert np.array_equal(images.read(tmp_path / "photos/train/image1.png")[:506, :700], _first(folder))


def _first(folder: Path) -> np.ndarray:
    from multiblock.data.imageset import ImageSet

    made = ImageSet(folder / "HR/train.npy")
    return made[made.names.index("image1")]
