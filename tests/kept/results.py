"""Tiny conversions, cached sets, evaluations and tables, through the package's entry functions."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from conftest import icc_profile
from kept.material import (
    NETWORK,
    Values,
    block,
    blurred,
    digests_of_pictures,
    digests_of_sets,
    float64,
    network,
    pixels,
    table,
)
from multiblock import config
from multiblock.data import folds
from multiblock.data.convert import convert, enlarge
from multiblock.data.degradations import DEGRADATIONS
from multiblock.data.imageset import ImageSet, write_set
from multiblock.inference.cache import generate
from multiblock.inference.evaluation import evaluate, take_apart
from multiblock.inference.folder import upscale_folder
from multiblock.inference.measures import MEASURES
from multiblock.inference.metrics import VALUES as METRIC_COLUMNS
from multiblock.inference.upscaling import Upscaler
from multiblock.model import chain as chains
from multiblock.report.budget import as_table, budget
from multiblock.report.comparison import comparison
from multiblock.report.curves import looks
from multiblock.report.curves import losses as losses_of
from multiblock.report.phases import TrainingFiles
from multiblock.report.strips import residuals as residuals_of
from multiblock.report.tables import psnr_by_phase

CPU = torch.device("cpu")

# -- Conversions -------------------------------------------------------------------------------------------------------


def pictures(folder: Path) -> Path:
    """Image files of all kinds."""
    folder.mkdir()
    for number in range(5):
        Image.fromarray(pixels(75, 83, number)).save(folder / f"plain{number}.png")
    Image.fromarray(pixels(75, 83, 5)[..., 0]).save(folder / "grey.png")
    Image.fromarray(pixels(75, 83, 6)[..., 0].astype(np.uint16) * 211).save(folder / "grey16.png")
    Image.fromarray(np.dstack([pixels(75, 83, 7), pixels(75, 83, 8)[..., :1]])).save(folder / "transparent.png")
    Image.fromarray(pixels(75, 83, 9)).convert("P", palette=Image.Palette.WEB).save(folder / "palette.png")
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(pixels(75, 83, 10)).save(folder / "turned.jpg", exif=turned, quality=92)
    Image.fromarray(pixels(75, 83, 11)).save(folder / "profile.tif", icc_profile=icc_profile("p3", 1.8))
    return folder


def conversions(folder: Path) -> dict[str, Values]:
    """Pairs, degradations, windows, and files of all kinds."""
    files = str(pictures(folder / "pictures"))
    for name in ("whole", "halves"):
        (folder / name).mkdir()
    for number in range(4):
        image = pixels(74, 82, number)
        Image.fromarray(image).save(folder / "whole" / f"{number}.png")
        Image.fromarray(blurred(image)[::2, ::2]).save(folder / "halves" / f"{number}_small.png")
    some = {"hr": files, "only": [f"plain{number}" for number in range(5)]}
    pairs = {"hr": str(folder / "whole"), "lr": str(folder / "halves"), "lr_name": "{name}_small"}
    made = {}

    def add(name: str, scale: int, train: dict[str, Any], more: dict[str, Any] | None = None, **data: Any) -> None:
        test = {"hr": files, "only": ["grey"]}
        full = {"name": "kept", "scale": scale, "train": train, "validation": 1, "test": test, **data}
        study = config.load({"data": full, **(more or {})})
        out = folder / name
        convert(study.runs["kept"].data, out / "HR", out / "LR")
        made[name] = digests_of_sets(out / "HR") + digests_of_sets(out / "LR")

    add("pairs", 2, pairs)
    for scale in (2, 3, 4):
        add(f"bicubic x{scale}", scale, some)
    for degradation in sorted(DEGRADATIONS.keys() - {"camera"}):  # whose last bits may differ by processor
        add(f"degradation {degradation}", 2, some, degradation=degradation)
    add("files of all kinds", 2, {"hr": files}, test={"hr": str(folder / "whole")}, validation=0.3)
    add("windows", 2, {**some, "take": 3, "crops": 2, "crop_side": 40}, validation=2)
    add("fewer and smaller", 2, some, {"shrink": {"images": 2, "side": 50}})
    return made


def enlargements(folder: Path) -> dict[str, Values]:
    """LR enlarged."""
    made = {}
    for scale in (2, 3, 4):
        enlarge(folder / "LR2", folder / f"enlarged{scale}", scale)
        made[f"x{scale}"] = digests_of_sets(folder / f"enlarged{scale}")
    return made


def dealt(folder: Path) -> dict[str, Values]:
    """Images in folds, with a near copy."""
    shown = {f"image{number}": pixels(75, 83, number) for number in range(12)}
    shown["copy"] = shown["image3"] // 2 + 40
    with write_set(folder / "dealt.npy", [one.shape[:2] for one in shown.values()]) as target:
        for name, one in shown.items():
            target.add(name, one)
    folds.write(ImageSet(folder / "dealt.npy"), 3, None, folder / "folds.csv")
    return {"three": table((folder / "folds.csv").read_text())}


# -- What networks make ------------------------------------------------------------------------------------------------


def networks(folder: Path) -> dict[str, Path]:
    """Weights files: two blocks that keep the size, and two of which the first enlarges."""
    return {
        "same size": network(folder / "same.safetensors", (block(), block()), [True, False]),
        "enlarging": network(folder / "twice.safetensors", (block(scale=2), block()), [False, True]),
    }


def generations(folder: Path) -> dict[str, Values]:
    """Cached sets of both kinds, of whole images and in tiles."""
    made = {}
    with float64():
        files = networks(folder)
        for number, (cache, memory, (name, file)) in enumerate(
            (cache, memory, one) for cache in ("uint8", "float16") for memory in (1, 1e-5) for one in files.items()
        ):
            out, lr = folder / f"cached{number}", "LR2" if name == "enlarging" else "LR16"
            given = {"cache": cache, "device": CPU, "memory_gib": memory, "trusted": [Path(NETWORK)]}
            blocks = (1, 2) if memory == 1 else (1,)  # what tiles make has 32 bits
            generate(files=dict.fromkeys(blocks, file), inputs=folder / lr, out=out, **given)
            made[f"{cache}, {name}, {'whole' if memory == 1 else 'tiles'}"] = digests_of_sets(out)
    return made


def evaluations(folder: Path) -> dict[str, Values]:
    """Tables and pictures of test images."""
    made = {}
    with float64():
        for name, file in networks(folder).items():
            out, lr = folder / f"evaluated {name}", "LR2" if name == "enlarging" else "LR"
            given = {"lr": folder / lr / "test.npy", "hr": folder / "HR" / "test.npy", "border": 2, "device": CPU}
            given |= {"memory_gib": 1, "trusted": [Path(NETWORK)], "measures": list(MEASURES)}
            given |= {"weights": file, "table": out / "psnr.csv", "pictures": out / "images"}
            evaluate(phase=2, first=2, last=2, cached=folder / "LR16" / "test.npy", **given)
            made[name] = table((out / "psnr.csv").read_text()) + digests_of_pictures(out)
    return made


def taken_apart(folder: Path) -> dict[str, Values]:
    """Each block of a network before and after a phase."""
    out = folder / "apart"
    with float64():
        files = networks(folder)
        take_apart(
            networks={"before": files["same size"], "after": network(folder / "after", (block(),) * 2, [False, True])},
            last=2,
            lr=folder / "LR" / "test.npy",
            hr=folder / "HR" / "test.npy",
            border=1,
            device=CPU,
            memory_gib=1,
            table=out / "psnr_by_block.csv",
            pictures=out,
            count=2,
            trusted=[Path(NETWORK)],
            measures=list(MEASURES),
        )
    return {"before and after": table((out / "psnr_by_block.csv").read_text()) + digests_of_pictures(out)}


def upscaled(folder: Path) -> dict[str, Values]:
    """Pictures of all kinds, as they are, enlarged before, and as a mean over their turns."""
    images, made = pictures(folder / "photos"), {}
    with float64():
        for name, file in networks(folder).items():
            chain = chains.load(file, [NETWORK])
            for ensemble, larger in ((False, 1), (True, 1)) if chain.scale > 1 else ((False, 2), (False, 1)):
                given = {"ensemble": ensemble, "enlarge": larger, "memory_gib": 1.0}
                key = f"{name}{', mean over turns' * ensemble}{f', enlarged x{larger}' * (larger > 1)}"
                out = folder / "upscaled" / key
                upscale_folder(
                    Upscaler(chain=chain, device=CPU, **given),
                    images=images,
                    table=out / "pictures.csv",
                    form="lossless",
                    results=folder / "upscaled",
                    about="",
                    made_of={},
                )
                made[key] = table((out / "pictures.csv").read_text()) + digests_of_pictures(out)
    return made


# -- Tables of runs ----------------------------------------------------------------------------------------------------

Phases = dict[tuple[int, int], Path]
"""The folder of each seed and phase."""


def runs(folder: Path) -> dict[str, Phases]:
    """What two runs of two seeds and two phases left, as if they had been trained and measured."""
    made: dict[str, Phases] = {"grown": {}, "one_go": {}}
    for which, (run, phases) in enumerate(made.items()):
        for seed in (1, 2):
            for phase in (1, 2):
                out = phases[seed, phase] = folder / run / f"seed{seed}" / f"phase{phase}"
                out.mkdir(parents=True)
                _phase(out, seed, phase, which)
    return made


def _phase(out: Path, seed: int, phase: int, which: int) -> None:
    """Files of a phase whose figures differ by run, seed, phase and image."""
    gain = phase + 0.13 * seed - 0.4 * which
    images = {f"image{number}": 21 + 1.7 * number for number in range(4)}
    rows = [["input", name, *[psnr] * len(METRIC_COLUMNS), 1] for name, psnr in images.items()]
    rows += [
        [phase, name, *[round(psnr + gain * (1 + 0.21 * number), 5)] * len(METRIC_COLUMNS), 1]
        for number, (name, psnr) in enumerate(images.items())
    ]
    lines = [["phase", "image", *METRIC_COLUMNS, "tiles"], *rows]
    (out / "psnr.csv").write_text("".join(",".join(map(str, line)) + "\n" for line in lines))
    looks = [
        f"{10 * look},{1 + look // 3},0.001,{0.5 / look + 0.01 * which:.8g},{22 + gain * look / 4:.5f},0.1"
        for look in range(1, 5)
    ]
    history = "iteration,stage,lr,loss,psnr_rgb_validation,gradient_norm\n"
    (out / "history.csv").write_text(history + "".join(f"{look}\n" for look in looks))
    stages = [{"iterations": 20, "batch": 2, "patch": 8, "loss": {loss: 1.0}} for loss in ("l1", "l2")]
    numbers = {"parameters": 500 * phase, "parameters_chain": 500 * phase, "iterations": 40, "blocks": phase}
    spent = {"block_pixels": 9000 * (1 + which) * phase, "training_flops": 1e7 * phase}
    seconds = {"seconds": 3.5, "seconds_iterations": 3.0, "seconds_validation": 0.5, "seconds_start": 1.0}
    psnr = {"psnr_rgb_validation": 22 + gain, "psnr_rgb_validation_input": 22.4}
    record = {"span": [1, phase], "stages": stages, **numbers, **spent, **seconds, **psnr}
    (out / "training.json").write_text(json.dumps(record))


def _files(phases: Phases, name: str) -> Phases:
    return {key: place / name for key, place in phases.items()}


def _trained(phases: Phases) -> dict[tuple[int, int], TrainingFiles]:
    return {key: TrainingFiles(history=of / "history.csv", training=of / "training.json") for key, of in phases.items()}


def _table(phases: Phases) -> pd.DataFrame:
    shared = {1: ["another"]}
    return psnr_by_phase(_files(phases, "psnr.csv"), _files(phases, "training.json"), {1: 1}, 4000, shared)


def tables(folder: Path) -> dict[str, Values]:
    """PSNR by phase."""
    return {run: table(_table(phases).to_csv(index=False)) for run, phases in runs(folder).items()}


def comparisons(folder: Path) -> dict[str, Values]:
    """Runs side by side: means, differences with their intervals, and looks at validation images."""
    made = runs(folder)
    of = {run: _table(phases) for run, phases in made.items()}
    last = {run: {seed: phases[seed, 2] / "psnr.csv" for seed in (1, 2)} for run, phases in made.items()}
    seen = looks({run: _trained(phases) for run, phases in made.items()}, of)
    found = comparison(of, last, seen, "one_go", [("grown", "one_go")], {})
    parts = {"runs": found.runs, "differences": found.differences, "looks": seen}
    return {name: table(part.to_csv(index=False)) for name, part in parts.items()}


def losses(folder: Path) -> dict[str, Values]:
    """Training losses of all runs."""
    found = losses_of({run: _trained(phases) for run, phases in runs(folder).items()})
    return {"two runs": table(found.to_csv(index=False))}


def residuals(folder: Path) -> dict[str, Values]:
    """What is still missing of HR."""
    pictures: Phases = {(1, phase): folder / f"phase{phase}" for phase in (1, 2)}
    for (_, phase), place in pictures.items():
        place.mkdir()
        for number, image in enumerate(ImageSet(folder / "HR" / "test.npy")):
            near = (image.astype(int) * (phase + 1) + blurred(image)) // (phase + 2)
            Image.fromarray(near.astype(np.uint8)).save(place / f"image{number}.png")
    given = {"lr": folder / "LR" / "test.npy", "hr": folder / "HR" / "test.npy", "count": 1, "zoom": 16}
    found = residuals_of(pictures=pictures, out=folder / "maps", **given)
    return {"two phases": table(found.to_csv(index=False))}


def budgets(folder: Path) -> dict[str, Values]:
    """The figures of the lightweight study."""
    phases = runs(folder)["grown"]
    found = budget([phases[seed, 2] / "psnr.csv" for seed in (1, 2)], [asdict(block(scale=2))], 11.1)
    return {"grown": table(as_table({"grown": found}).to_csv(index=False))}
