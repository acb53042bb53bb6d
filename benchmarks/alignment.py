"""How well pairs that were displaced by known maps are aligned: against the map, and by what is measured of them."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from bench import How, Table
from displaced import drawn, errors, photograph
from feeding import PHOTOGRAPHS
from PIL import Image

from multiblock.align.pair import Options, Outcome, Photographs, align
from multiblock.data.picture import Picture
from multiblock.errors import UserError

_FOLDER = Path(str(files("skimage").joinpath("data")))


def measure(how: How) -> Table:
    """Photographs with two lenses of ``--pairs``, or those of scikit-image at 1, 2 and 3 times the size of LR."""
    rows = list(_of_pairs(how.pairs) if how.pairs else _of_photographs(how.quick))
    about = (
        "Displaced by 1 to 20 pixels, up to 2 degrees, 3 % of scale, half of them with perspective; exposed by up to "
        "half a stop more or less, with noise. `error`: pixels of HR between the map that was found and the true one, "
        "at 225 points. `residual`, `p90`: of small windows of the pair that was made."
    )
    if how.pairs:
        about += (
            " The pairs were registered by those who made them: `own` is the error against the true map after what "
            "the alignment finds in the pair before it is displaced."
        )
    return Table("alignment", about, rows)


def _of_photographs(quick: bool) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(1)
    for number, name in enumerate(PHOTOGRAPHS[: 1 if quick else None]):
        hr = np.asarray(Image.open(_FOLDER / name).convert("RGB"))
        for zoom, blur in ((1, 1.2), (2, 1.5), (3, 2.0)):
            size, made = hr.shape[:2], (hr.shape[0] // zoom, hr.shape[1] // zoom)
            where = drawn(size, made, rng, zoom)
            lr = photograph(hr, where, made, blur=blur, stops=rng.uniform(-0.5, 0.5), noise=3, seed=number)
            row = _row(lr, hr, where)
            del row["map"]
            yield {"pair": f"{Path(name).stem}, {zoom} x", **row}


def _of_pairs(folder: Path) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(1)
    for file in sorted((folder / "HR").iterdir()):
        hr, lr = (np.asarray(Image.open(place / file.name).convert("RGB")) for place in (folder / "HR", folder / "LR"))
        where = drawn(hr.shape[:2], hr.shape[:2], rng)
        moved = photograph(lr, where, lr.shape[:2], samples=1, stops=rng.uniform(-0.5, 0.5), noise=2)
        row = _row(moved, hr, where)
        before = _aligned(lr, hr)
        found = row.pop("map")
        if found is not None and before.transform is not None:
            row["own"] = round(float(np.median(errors(found, where @ before.transform.matrix, hr.shape[:2]))), 2)
        yield {"pair": file.stem, **row}


def _row(lr: np.ndarray, hr: np.ndarray, where: np.ndarray) -> dict[str, Any]:
    outcome = _aligned(lr, hr)
    off = errors(outcome.transform.matrix, where, hr.shape[:2]) if outcome.transform else np.array([np.nan])
    found = outcome.found
    return {
        "map": outcome.transform.matrix if outcome.transform else None,
        "transform": outcome.transform.kind if outcome.transform else "-",
        "error": round(float(np.median(off)), 2),
        "largest": round(float(off.max()), 2),
        "residual": round(found.median, 2) if found else None,
        "p90": round(found.p90, 2) if found else None,
        "correlation": round(found.correlation, 2) if found else None,
        "verdict": f"dropped: {outcome.reason}" if outcome.reason else "kept",
    }


def _aligned(lr: np.ndarray, hr: np.ndarray) -> Outcome:
    outcome = Outcome(name="")
    try:
        align(Photographs(lr=Picture(pixels=lr), hr=Picture(pixels=hr), reference=hr, notes=[]), outcome, Options())
    except UserError as error:
        outcome.reason = str(error)
    return outcome
