"""The page that shows each pair as a slider with its figures; all that it shows is in it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from multiblock.align import table
from multiblock.align.folders import Job
from multiblock.align.pair import Options, Outcome
from multiblock.data import images

WHOLE, DETAIL = 640, 360
"""Longest side of the whole picture as it is shown, and side of a part of it at full size, in pixels."""
MOST_PICTURES = 150
"""Pairs that are shown as pictures: a page of more would take long to open."""
_QUALITY = 82


@dataclass(frozen=True, kw_only=True)
class View:
    """LR and HR of one size, as addresses that hold the picture."""

    title: str
    lr: str
    hr: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A pair as the page has it."""

    outcome: Outcome
    views: tuple[View, ...] = ()


def shown(outcome: Outcome, job: Job) -> Shown:
    """A pair with its pictures, read from the files that were written: in sRGB, as they are trained on."""
    if outcome.reason:
        return Shown(outcome=outcome)

    def quietly(*_: object) -> None:
        """What is converted was said when the photographs were read."""

    lr, hr = (Image.fromarray(images.read(job.target(kind), quietly)) for kind in ("LR", "HR"))
    lr = lr.resize(hr.size, Image.Resampling.BICUBIC)
    factor = min(1.0, WHOLE / max(hr.size))
    size = (max(1, round(hr.width * factor)), max(1, round(hr.height * factor)))
    whole = _view("the whole pair", lr.resize(size, Image.Resampling.BOX), hr.resize(size, Image.Resampling.BOX))
    if factor == 1.0:
        return Shown(outcome=outcome, views=(whole,))
    box = _most_detail(hr)
    return Shown(outcome=outcome, views=(whole, _view("a part, pixel by pixel", lr.crop(box), hr.crop(box))))


def _view(title: str, lr: Image.Image, hr: Image.Image) -> View:
    return View(title=title, lr=_address(lr), hr=_address(hr), width=hr.width, height=hr.height)


def _address(image: Image.Image) -> str:
    content = BytesIO()
    image.save(content, "WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()


def _most_detail(image: Image.Image) -> tuple[int, int, int, int]:
    """The part of the picture where most happens, as Pillow's box."""
    gray = np.asarray(image.convert("L"), np.float32)
    changes = np.abs(np.diff(gray, axis=0))[:, 1:] + np.abs(np.diff(gray, axis=1))[1:]
    sums = np.pad(changes.cumsum(axis=0, dtype=np.float64).cumsum(axis=1), ((1, 0), (1, 0)))
    height, width = (min(DETAIL, length) for length in changes.shape)
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = (int(place) for place in np.unravel_index(inside.argmax(), inside.shape))
    return left, top, left + width, top + height


def render(pairs: Sequence[Shown], options: Options) -> str:
    """The page as HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("multiblock.align", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    kept = [pair for pair in pairs if not pair.outcome.reason]
    return environment.get_template("page.html.j2").render(
        pairs=pairs,
        pictured=set(map(id, kept[:MOST_PICTURES])),
        kept=len(kept),
        most=MOST_PICTURES,
        options=options,
        figures=table.figures,
        verdict=table.verdict,
        identity=id,
    )
