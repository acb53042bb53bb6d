"""Results that no training made: measurements, histories and records of hand, and runs whose pictures come nearer to HR
from phase to phase."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from conftest import ROOT, picture
from multiblock.data import images
from multiblock.data.imageset import write_set
from multiblock.inference.evaluation import COLUMNS
from multiblock.inference.metrics import VALUES
from multiblock.page import pages
from multiblock.plan import Block, Phase, Plan, Stage
from multiblock.report import tables
from multiblock.report.phases import PhaseFiles, TrainingFiles

INF = float("inf")

# -- Files of a phase, and what reports say ----------------------------------------------------------------------------


def psnr_csv(file: Path, before: dict[str, float], after: dict[str, float], phase: int = 1) -> Path:
    """An evaluation CSV with the same figure in all columns."""
    rows = [("input", name, *[value] * len(VALUES), 1) for name, value in before.items()]
    rows += [(str(phase), name, *[value] * len(VALUES), 1) for name, value in after.items()]
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([COLUMNS, *rows])
    return file


def record(file: Path, span=(1, 1), **fields) -> Path:
    """A training record."""
    plain = {"span": list(span), "parameters": 5, "iterations": 7, "block_pixels": 100, "seconds": 2.5}
    plain |= {"validation_seconds": 0.4, "stages": [{"loss": {"l1": 1.0}}]}
    file.write_text(json.dumps({**plain, **fields}))
    return file


def training(folder: Path, rows, span=(1, 1), **fields) -> TrainingFiles:
    """What a training leaves in a folder; ``rows``: iteration, stage, rate, loss, validation PSNR."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["iteration", "stage", "lr", "loss", "psnr_rgb_validation"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "history.csv", index=False)
    return TrainingFiles(history=folder / "history.csv", training=record(folder / "training.json", span, **fields))


def image_set(file: Path, shown: list[np.ndarray]) -> None:
    """The array of a test set; its images are called image0, image1, ..."""
    with write_set(file, [pixels.shape[:2] for pixels in shown]) as target:
        for number, pixels in enumerate(shown):
            target.add(f"image{number}", pixels)


def cells(text: str) -> list[list[str]]:
    """The cells of all rows of the tables in a Markdown text."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]


def caption(name: str, run: str = "demo", params: Mapping[str, str] | None = None, **given) -> str:
    """A caption as Snakemake shows it: filled in, and read as reStructuredText, in the folder of the run."""
    jinja2, docutils = pytest.importorskip("jinja2"), pytest.importorskip("docutils.core")  # it brings both
    text = (ROOT / "workflow" / "report" / f"{name}.rst").read_text()
    filled = jinja2.Template(text).render(snakemake={"params": {"run": run, **(params or {})}, "output": {}, **given})
    shown = docutils.publish_parts(filled, writer="html")["body"]
    assert "system-message" not in shown
    return shown


def toy(file: Path, value: float | None = None, clamp: bool = True) -> Path:
    """Weights of a network, all of one value or drawn; with 0 it copies its input."""
    from multiblock.model.chain import Chain

    torch.manual_seed(0)
    chain = Chain.build([Block(network="toy", options={"depth": 2})], [clamp])
    for parameter in chain.parameters() if value is not None else ():
        parameter.data.fill_(value)
    chain.save(file)
    return file


def pixels_of(file: Path) -> np.ndarray:
    """What Pillow reads, (H, W, 3), uint8."""
    return np.asarray(Image.open(file).convert("RGB"))


# -- Runs --------------------------------------------------------------------------------------------------------------

STAGES = tuple(
    Stage(iterations=n, optimiser="adam", lr=lr, batch=2, patch=16, loss=loss, clamp="all")
    for n, lr, loss in ((20, 1e-3, {"l1": 1.0}), (10, 1e-4, {"l2": 1.0}))
)
SPANS = ((1, 1, "orthogonal"), (2, 2, "inherit_zeroed"), (1, 2, "orthogonal"))
PLAN = Plan(
    blocks=(Block(network="mcan"),) * 2,
    phases=tuple(Phase(first=first, last=last, start=start, stages=STAGES) for first, last, start in SPANS),
)
TITLES = {number: PLAN.title(number) for number in PLAN.numbers}


def noisy(pixels: np.ndarray, levels: float, seed: int) -> np.ndarray:
    """A picture with noise."""
    noise = np.random.default_rng(seed).normal(0, levels, pixels.shape)
    return (pixels + noise).round().clip(0, 255).astype(np.uint8)


def pictures(height: int, width: int, number: int) -> list[np.ndarray]:
    """Input, three phases, target: the noise gets less, but in the last phase's lower right corner it gets more."""
    target = noisy(picture(height, width, seed=number), 3, number)
    made = [noisy(target, levels, 10 * number + place) for place, levels in enumerate((24, 14, 12, 8))]
    bottom, right = height // 4, width // 4
    made[3][-bottom:, -right:] = noisy(target[-bottom:, -right:], 40, number + 99)
    return [*made, target]


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """By its definition."""
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other.astype(float)) ** 2)))


def phase(folder: Path, number: int, seed: int, shown: list[list[np.ndarray]]) -> PhaseFiles:
    """What a phase of the plan leaves: history and record in one folder, measurements and pictures in another."""
    rows = [(n, 1 + (n > 20), 1e-3, 0.1 / n, 20 + number + n / 30 if n % 10 == 0 else None) for n in range(5, 31, 5)]
    trained = training(
        folder,
        rows,
        SPANS[number - 1][:2],
        blocks=PLAN.reach(number),
        iterations=30,
        stages=[stage.__dict__ for stage in STAGES],
        parameters_chain=10,
        segments=[{"name": "a CPU", "device_reason": "no GPU here", "precision": "float32", "threads": 1}],
        psnr_rgb_validation=21.0 + number,
        psnr_rgb_validation_input=19.5,
        versions={"torch": "2.13.0"},
        peak_memory_mib={"host": 300},
    )
    measured = folder.with_name(f"measured{number}")
    for at, of in enumerate(shown):  # no page shows the pictures of the second seed
        images.write(measured / "images" / f"image{at}.png", of[number if seed == 1 else 0])
    before, after = (
        {f"image{at}": psnr(of[which], of[-1]) + (seed / 10 if which else 0) for at, of in enumerate(shown)}
        for which in (0, number)
    )
    figures = psnr_csv(measured / "psnr.csv", before, after, number)
    of_training = {"history": trained.history, "training": trained.training}
    return PhaseFiles(**of_training, measured=figures, pictures=measured / "images")


def results(folder: Path, name: str = "demo", count: int = 2, size: tuple[int, int] = (96, 128), seeds=(1,)) -> dict:
    """Write the results of a run; what :func:`multiblock.page.pages.run_page` takes, but for its outputs."""
    shown = [pictures(*size, number) for number in range(count)]
    for kind, place in (("LR", 0), ("HR", -1)):
        if not (folder / "data" / kind).is_dir():
            (folder / "data" / kind).mkdir(parents=True)
            image_set(folder / "data" / kind / "test.npy", [of[place] for of in shown])
    made = folder / name
    keys = [(seed, number) for seed in seeds for number in TITLES]
    phases = {(seed, p): phase(made / f"seed{seed}" / f"phase{p}", p, seed, shown) for seed, p in keys}
    table = tables.psnr_by_phase(
        {key: of.measured for key, of in phases.items()}, {key: of.training for key, of in phases.items()}, {1: 1}, 1000
    )
    tables.write(table, ["seed", "phase"], made / "psnr_by_phase.csv", made / "times.csv")
    links = {
        f"seed {seed}, phase {p}": [file.relative_to(made).as_posix() for file in (of.measured, of.history)]
        for (seed, p), of in phases.items()
    }
    return {
        "run": name,
        "table": made / "psnr_by_phase.csv",
        "times": made / "times.csv",
        "phases": phases,
        "lr": folder / "data" / "LR" / "test.npy",
        "hr": folder / "data" / "HR" / "test.npy",
        "titles": TITLES,
        "border": 2,
        "plan": PLAN.described(),
        "side": 32,
        "links": {"tables": ["psnr_by_phase.csv", "times.csv"], **links},
    }


def run_page(folder: Path, made: dict | None = None, **changes) -> Path:
    """The page of the made-up run, or of what :func:`results` gave."""
    made = made or results(folder, **changes)
    out = made["table"].parent / "report.html"
    pages.run_page(**made, out=out, small=out.with_name("report_small.html"))
    return out


def study_page(folder: Path, names: tuple[str, ...] = ("plain", "other"), seeds=(1, 2), also=()) -> Path:
    """The page of a study of made-up runs, of which each further one is 0.1 dB better; ``also`` are pairs to compare
    beside those with the first."""
    runs = {}
    for number, name in enumerate(names):
        made = results(folder, name, seeds=seeds)
        for of in made["phases"].values():
            table = pd.read_csv(of.measured)
            table.loc[table.phase == "3", [column for column in table if column.startswith("psnr")]] += number / 10
            table.to_csv(of.measured, index=False)
        known = ("table", "times", "phases", "lr", "hr", "plan")
        runs[name] = pages.RunFiles(**{key: made[key] for key in known}, page=f"{name}/report.html")
    (folder / "demo_comparison.csv").write_text("run\n")
    out, small = folder / "demo_report.html", folder / "demo_report_small.html"
    asked = {"runs": runs, "baseline": names[0], "side": 32, "links": ["demo_comparison.csv"]}
    asked["pairs"] = [*((name, names[0]) for name in names[1:]), *also]
    pages.study_page(study="demo", **asked, out=out, small=small)
    return out
