"""What the networks that ship are worth: beside bicubic, Lanczos, and networks that others published.

    python benchmarks/shipped.py NAME=HR[,LR] [NAME=HR[,LR] ...] [--published FILE ...] [--out FILE]

Each HR and LR is a folder of pictures; where no LR is named it is made by MATLAB's bicubic at each scale, and where one
is, the pair counts at the scale of its sizes. Every network of the folder that ships is measured on every set, and
every `--published` file at its scale. OUT (results/reference/shipped.md) gets means over the pictures: PSNR RGB
(floats, whole picture, no border cut) and PSNR-Y (8 bits, a border of the scale cut).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from bench import ROOT, machine
from PIL import Image

from multiblock.data import images
from multiblock.data.dataset import ImagePair, items_of
from multiblock.data.imageset import as_float
from multiblock.data.resize import enlarge, shrink
from multiblock.inference import tiles
from multiblock.inference.metrics import measure
from multiblock.model import chain, finished, published
from multiblock.report.markdown import Table

CPU = torch.device("cpu")


def main() -> None:
    """Measure, and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=HR[,LR]")
    parser.add_argument("--published", nargs="*", type=Path, default=[], metavar="FILE")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "reference" / "shipped.md")
    options = parser.parse_args()
    networks = {f"{name}, ships": chain.load(file) for name, file in finished.shipped().items()}
    networks |= {file.stem: published.import_weights(file, None, {}, 1)[0] for file in options.published}
    rows = []
    for given in options.sets:
        name, _, folders = given.partition("=")
        hr, _, lr = folders.partition(",")
        items = items_of({"hr": hr, **({"lr": lr, "lr_name": "{name}"} if lr else {})})
        for scale in (2, 3, 4):
            figures = pd.DataFrame(row for item in items for row in _measured(item, scale, networks))
            rows += _rows(f"{name}, {len(items)} pictures", scale, figures)
    heads = ["pictures", "scale", "way", "parameters", "PSNR RGB", "over bicubic", "over Lanczos", "PSNR-Y"]
    counts = {name: f"{sum(weight.numel() for weight in one.parameters()):,}" for name, one in networks.items()}
    table = Table(heads, [[*row[:3], counts.get(row[2], ""), *row[3:]] for row in rows])
    sets, files = " ".join(f"{given.partition('=')[0]}=DIR" for given in options.sets), " ".join(counts)
    text = "\n".join(
        [
            f"Command: `python benchmarks/shipped.py {sets} --published FILE ...`; networks: {files}.",
            *machine("cpu", torch.get_num_threads()),
            "Nothing is drawn at random here.",
            f"\n# The networks that ship\n\n{table}",
        ]
    )
    options.out.write_text(text + "\n")
    print(text)


def _measured(item: ImagePair, scale: int, networks: dict[str, chain.Chain]) -> Iterator[dict[str, object]]:
    """A row for each way to enlarge LR of a picture; none where it is given and is of another scale."""
    full = images.read(item.hr)
    height, width = (side // scale for side in full.shape[:2])
    full = full[: height * scale, : width * scale]
    low = images.read(item.lr) if item.lr else shrink(full, scale)
    if low.shape[:2] != (height, width):
        return
    lanczos = Image.fromarray(low).resize((width * scale, height * scale), Image.Resampling.LANCZOS)
    made = {"bicubic": as_float(enlarge(low, scale)), "Lanczos": as_float(np.asarray(lanczos))}
    for name, one in networks.items():
        enlarged = one.about.enlarge or 1
        if one.scale * enlarged == scale:
            made[name] = tiles.run(one, enlarge(low, enlarged) if enlarged > 1 else low, CPU, 2.5)
    for way, picture in made.items():
        yield {"way": way, "image": item.name, **measure(picture, as_float(full), border=scale, what=item.name)}


def _rows(name: str, scale: int, figures: pd.DataFrame) -> Iterator[list[str]]:
    """The table's rows of one set and scale."""
    if figures.empty:
        return
    means = figures.groupby("way", sort=False)[["psnr_rgb", "psnr_y"]].mean()
    for way, mean in means.iterrows():
        gains = (f"{mean.psnr_rgb - means.psnr_rgb[plain]:+.3f}" for plain in ("bicubic", "Lanczos"))
        yield [name, f"x{scale}", str(way), f"{mean.psnr_rgb:.3f}", *gains, f"{mean.psnr_y:.3f}"]


if __name__ == "__main__":
    main()
