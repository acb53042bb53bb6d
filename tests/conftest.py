"""Small images for the tests, and the places of data that not everyone has."""

import logging
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageCms, ImageOps

import forked
from multiblock import config
from multiblock.data import images

ROOT = Path(__file__).parent.parent

STUDIES = sorted(
    file
    for file in (ROOT / "studies").glob("*.yaml")
    if file.stem
    not in ("adapt", "best_x2", "camera", "front_3", "front_9", "front_city", "resunet_pretrained", "shipped")
)
"""All but those that are given after another one, or read files of their own."""

SERVER = pytest.StashKey[ExitStack]()


LONG = (
    *("test_slurm.py", "test_benchmarks.py", "test_docs.py", "test_kept_values.py", "test_workflow.py"),
    *("test_page_browser.py", "test_zoo.py", "test_store.py", "test_sr_resunet.py", "test_export_onnx.py"),
    *("test_align.py", "test_config_properties.py", "test_terminal.py", "test_training.py", "test_sharing.py"),
)
"""Files that take long, begun first, so that both workers end together; not two that wait for one finished study."""


def pytest_configure(config: pytest.Config) -> None:
    """One process to fork from for all that run tests."""
    if not hasattr(config, "workerinput"):
        config.stash[SERVER] = ExitStack()
        config.stash[SERVER].enter_context(forked.server())


def pytest_unconfigure(config: pytest.Config) -> None:
    if SERVER in config.stash:
        config.stash[SERVER].close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A worker takes a file at a time, in this order (``--no-loadscope-reorder``), with one of two cores."""
    import torch

    torch.set_num_threads(1)
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(autouse=True)
def the_log_as_it_was() -> Iterator[None]:
    """Jobs set the package's log up for their process, which is that of other tests here."""
    logger = logging.getLogger("multiblock")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.fixture(autouse=True)
def as_many_checkpoints_as_asked_for(monkeypatch):
    """Tests that want a checkpoint after each iteration get one, however long the disk takes."""
    monkeypatch.setattr("multiblock.training.trainer._SAVING_SHARE", 1)


@pytest.fixture
def reference_data() -> Path:
    """Benchmark images; their folder is $MULTIBLOCK_DATA, or shared/data beside the project."""
    folder = Path(os.environ.get("MULTIBLOCK_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the benchmark images are not at {folder}; $MULTIBLOCK_DATA can name another folder")
    return folder


def picture(height: int = 48, width: int = 56, seed: int = 0) -> np.ndarray:
    """A small picture with edges and smooth parts, (H, W, 3), uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / rng.uniform(2, 9) + y / rng.uniform(2, 9) + rng.uniform(0, 6)) for _ in range(3)]
    pixels = np.stack(waves, axis=2) * 80 + 128
    top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
    pixels[top : top + height // 3, left : left + width // 3] = rng.uniform(0, 255, 3)
    return pixels.clip(0, 255).astype(np.uint8)


def icc_profile(primaries: str = "adobe", gamma: float = 2.2) -> bytes:
    """A small ICC profile of an RGB space: the primaries of Adobe RGB or Display P3 and one gamma."""
    columns = {
        "adobe": ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
        "p3": ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)),
    }[primaries]

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    name = primaries.encode() + b"\0"
    described = b"desc" + bytes(4) + struct.pack(">I", len(name)) + name + bytes(79)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = [(b"desc", described + bytes(-len(described) % 4)), (b"cprt", b"text" + bytes(4) + b"none" + bytes(4))]
    tags += [(b"wtpt", xyz((0.9642, 1, 0.82491)))]
    tags += [(key + b"XYZ", xyz(column)) for key, column in zip((b"r", b"g", b"b"), columns, strict=True)]
    tags += [(key + b"TRC", curve) for key in (b"r", b"g", b"b")]
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for key, content in tags:
        table += key + struct.pack(">II", start + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + xyz((0.9642, 1, 0.82491))[8:] + bytes(48)
    return head + table + body


def as_seen(file: Path) -> np.ndarray:
    """What a viewer that heeds colour profiles and orientation shows: sRGB, (H, W, 3), float."""
    image = ImageOps.exif_transpose(Image.open(file))
    profile, rgb = image.info.get("icc_profile"), image.convert("RGB")
    if profile:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        rgb = ImageCms.profileToProfile(rgb, opened, ImageCms.createProfile("sRGB"))
    return np.asarray(rgb).astype(float)


def write_pairs(folder: Path, train: int, test: int) -> None:
    """So many train and test pairs of equal size; LR is HR at half the brightness."""
    for split, count in (("train", train), ("test", test)):
        for kind in ("HR", "LR"):
            (folder / split / kind).mkdir(parents=True)
            for number in range(count):
                pixels = picture(seed=number + 10 * count) // (1 if kind == "HR" else 2)
                images.write(folder / split / kind / f"image{number}.png", pixels)


def tiny_study() -> dict[str, Any]:
    """The config of the tiny study, on pairs in a folder's ``train`` and ``test``."""
    config = yaml.safe_load((ROOT / "tests" / "tiny.yaml").read_text())
    splits = {split: {"hr": f"{split}/HR", "lr": f"{split}/LR"} for split in ("train", "test")}
    return {**config, "data": {"name": "mine", "scale": 1, "validation": 1, **splits}, "precision": "float32"}


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder with train and test pairs of equal size; LR is a blurred HR."""
    for split, count in (("train", 4), ("test", 2)):
        for kind in ("HR", "LR"):
            (tmp_path / split / kind).mkdir(parents=True)
        for number in range(1, count + 1):
            sharp = picture(seed=number + 10 * count)
            soft = (sharp.astype(int) + np.roll(sharp, 1, 0) + np.roll(sharp, 1, 1)) // 3
            images.write(tmp_path / split / "HR" / f"image{number}.png", sharp)
            images.write(tmp_path / split / "LR" / f"image{number}.png", soft.astype(np.uint8))
    return tmp_path


@pytest.fixture
def arrays(pairs: Path) -> Path:
    """HR and LR sets of the pairs."""
    from multiblock.data.convert import convert

    sets = {"name": "mine", "scale": 1, "train": {"hr": "train/HR", "lr": "train/LR"}, "validation": 1}
    sets["test"] = {"hr": "test/HR", "lr": "test/LR"}
    study = config.load({"data": sets, "data_root": str(pairs)})
    convert(study.runs["mine"].data, pairs / "HR", pairs / "LR")
    return pairs
