"""Results of a made-up run, as training would leave them: pictures that come nearer to HR from phase to phase."""

from pathlib import Path

import numpy as np
import pandas as pd

from conftest import picture
from multiblock.data import images
from multiblock.page import pages
from multiblock.page.plan_picture import describe
from multiblock.plan import Block, Phase, Plan, Stage
from multiblock.report import tables
from multiblock.report.phases import PhaseFiles
from test_imageset import write
from test_report import psnr_csv, record

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


def results(folder: Path, name: str = "demo", count: int = 2, size: tuple[int, int] = (96, 128), seeds=(1,)) -> dict:
    """Write the results of a run; what :func:`multiblock.page.pages.run_page` takes, but for its outputs."""
    shown = [pictures(*size, number) for number in range(count)]
    for kind, place in (("LR", 0), ("HR", -1)):
        if not (folder / "data" / kind).is_dir():
            (folder / "data" / kind).mkdir(parents=True)
            write(folder / "data" / kind / "test.npy", [of[place] for of in shown])
    keys = [(seed, number) for seed in seeds for number in TITLES]
    phases = {(seed, number): files(folder / name / f"seed{seed}" / f"phase{number}") for seed, number in keys}
    for (seed, number), of_phase in phases.items():
        of_phase.pictures.mkdir(parents=True)
        for at, of in enumerate(shown):
            images.write(of_phase.pictures / f"image{at}.png", of[number])
        before, after = (
            {f"image{at}": psnr(of[which], of[-1]) + (seed / 10 if which else 0) for at, of in enumerate(shown)}
            for which in (0, number)
        )
        psnr_csv(of_phase.measured, before, after, number)
        history(of_phase, number)
    made = folder / name
    table = tables.psnr_by_phase(
        {key: of.measured for key, of in phases.items()}, {key: of.training for key, of in phases.items()}, {1: 1}, 1000
    )
    tables.write(table, ["seed", "phase"], made / "psnr_by_phase.csv", made / "times.csv")
    return {
        "run": name,
        "table": made / "psnr_by_phase.csv",
        "times": made / "times.csv",
        "phases": phases,
        "lr": folder / "data" / "LR" / "test.npy",
        "hr": folder / "data" / "HR" / "test.npy",
        "titles": TITLES,
        "border": 2,
        "plan": describe(PLAN),
        "side": 32,
        "links": {
            "tables": ["psnr_by_phase.csv", "times.csv"],
            **{
                f"seed {seed}, phase {phase}": [f"seed{seed}/phase{phase}/{csv}" for csv in ("psnr.csv", "history.csv")]
                for seed, phase in phases
            },
        },
    }


def files(folder: Path) -> PhaseFiles:
    """What a phase leaves in a folder."""
    named = {"history": "history.csv", "training": "training.json", "measured": "psnr.csv", "pictures": "images"}
    return PhaseFiles(**{what: folder / name for what, name in named.items()})


def history(of: PhaseFiles, number: int) -> None:
    """A history and a training record of a phase."""
    rows = [(n, 1 + (n > 20), 1e-3, 0.1 / n, 20 + number + n / 30 if n % 10 == 0 else None) for n in range(5, 31, 5)]
    columns = ["iteration", "stage", "lr", "loss", "psnr_rgb_validation"]
    pd.DataFrame(rows, columns=columns).to_csv(of.history, index=False)
    first, last, _ = SPANS[number - 1]
    stages = [stage.__dict__ for stage in STAGES]
    segments = [{"name": "a CPU", "device_reason": "no GPU here", "precision": "float32", "threads": 1}]
    record(
        of.training,
        (first, last),
        blocks=PLAN.reach(number),
        iterations=30,
        stages=stages,
        parameters_chain=10,
        segments=segments,
        psnr_rgb_validation=21.0 + number,
        psnr_rgb_validation_input=19.5,
        versions={"torch": "2.13.0"},
        peak_memory_mib={"host": 300},
    )


def run_page(folder: Path, **changes) -> Path:
    """The page of the made-up run."""
    made = results(folder, **changes)
    out = made["table"].parent / "report.html"
    pages.run_page(**made, out=out, small=out.with_name("report_small.html"))
    return out


def study_page(folder: Path, names: tuple[str, ...] = ("plain", "other"), seeds=(1, 2), also=()) -> Path:
    """The page of a study of made-up runs, of which each further one is 0.1 dB better; ``also`` are pairs to compare
    beside those with the first."""
    runs = {}
    for number, name in enumerate(names):
        made = results(folder, name, seeds=seeds)
        better(made["phases"].values(), number / 10)
        known = ("table", "times", "phases", "lr", "hr", "plan")
        runs[name] = pages.RunFiles(**{key: made[key] for key in known}, page=f"{name}/report.html")
    (folder / "demo_comparison.csv").write_text("run\n")
    out = folder / "demo_report.html"
    small = folder / "demo_report_small.html"
    pairs = [*((name, names[0]) for name in names[1:]), *also]
    asked = {"runs": runs, "baseline": names[0], "pairs": pairs, "side": 32, "links": ["demo_comparison.csv"]}
    pages.study_page(study="demo", **asked, out=out, small=small)
    return out


def better(phases, decibels: float) -> None:
    """Add to the PSNR of the last phases' measurements."""
    for of in phases:
        table = pd.read_csv(of.measured)
        table.loc[table.phase == "3", [c for c in table if c.startswith("psnr")]] += decibels
        table.to_csv(of.measured, index=False)
