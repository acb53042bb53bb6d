"""Whether the figures that README.md, docs/adapt.md and docs/studies quote are those of the tables they link to.

    python benchmarks claims

A figure is looked for where the text points: in the tables that its table row, list item or paragraph links to (or
names, as `grow.yaml`), else in those of its section or document; in a row that begins with the name of a run, among
that run's. It has to be there as rounded: a cell, a mean over seeds and images, or the difference of two. "A to B" has
to be both ends of one interval, or the least and the most of one quantity by seed or by image, and the figure before it
in the clause the mean of that interval. Intervals are taken anew from the measurements of each image.

A figure that was changed is not found in 19 of 20 cases in a row that names its run, and in two of three in a sentence,
where another quantity of the study may have that value by chance.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pandas as pd
from bench import ROOT

from multiblock.report.differences import errors, half_width

REFERENCE = ROOT / "results" / "reference"

ELSEWHERE = {
    "docs/studies/toy.md": {"0.38", "0.48"},  # what the source study notes
    "docs/studies/losses.md": {"0.2"},  # a setting
}
"""Figures that no table here holds, by the document that quotes them."""

_KEPT = 1e-5
"""What is kept has five digits, and so has what is computed of it."""

_NUMBER = re.compile(r"(?<![\w.,^/-])[+-]?(?:\d+(?:\.\d+)?e\+?\d+|\d{1,3}(?:,\d{3})+|\d+\.\d+)(?![\w.]*\d)")
_RANGE = re.compile(rf"(?<!from )({_NUMBER.pattern}) to ({_NUMBER.pattern})")

_BOUND = re.compile(r"(less than|more than|under|above|beyond|at most)\s$")
"""What comes before a bound, which may be rounded up."""


def documents() -> list[Path]:
    """The documents whose figures are looked for."""
    return [ROOT / "README.md", ROOT / "docs" / "adapt.md", *sorted((ROOT / "docs" / "studies").glob("*.md"))]


@dataclass
class Table:
    """What the tables of one study hold: values by the run that they are of ('' of none), and pairs with their mean."""

    values: dict[str, list[float]] = field(default_factory=dict)
    pairs: list[tuple[float, float, float]] = field(default_factory=list)
    arms: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    loose: bool = False
    folds: np.ndarray | None = None

    def add(self, run: str, *values: float) -> None:
        """Note values of a run."""
        self.values.setdefault(run, []).extend(float(one) for one in values if np.isfinite(one))

    def spread(self, run: str, figures: np.ndarray) -> None:
        """Note a quantity (seeds, images): its mean, its means by seed and by image, and the ends of each."""
        self.add(run, figures.mean(), *figures.mean(axis=1), *figures.mean(axis=0))
        for axis in (0, 1):
            means = figures.mean(axis=axis)
            self.pairs.append((means.min(), means.max(), figures.mean()))
        self.pairs += [(one.min(), one.max(), one.mean()) for one in figures.T]


def _text(file: Path) -> Table:
    """The numbers of a table in words; a range in a text may be that of any of them."""
    found = Table(loose=True)
    for line in file.read_text(encoding="utf-8").splitlines():
        found.add("", *(_value(one) for one in re.findall(r"[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?", line)))
    return found


@cache
def table_of(place: Path) -> Table:
    """What a kept file holds; the README of a kept study stands for its folder."""
    if place.name != "README.md" or not (place.parent / "psnr").is_dir():
        return _text(place)
    folder, found = place.parent, Table()
    for file in sorted(folder.glob("*.csv")):
        for row in pd.read_csv(file).to_dict("records"):
            run = str(row.get("run", file.stem.rpartition("_psnr_by")[0]))
            found.add(run, *(value for value in row.values() if isinstance(value, int | float)))
            for name in ("by_seed", "by_image"):
                found.add(run, *json.loads(row.get(name) or "{}").values())
            for low, high in (("reach_ratio_least", "reach_ratio_most"),):
                if low in row:
                    found.pairs.append((row[low], row[high], row["reach_ratio"]))
    _read_images(found, folder)
    for file in sorted(folder.glob("*_psnr_by_block.csv")):
        frame, run = pd.read_csv(file), file.stem.removesuffix("_psnr_by_block")
        for (when, block), rows in frame[frame.when != "input"].groupby(["when", "block"]):
            _arm(found, f"{run} {when} {block}", rows, [name for name in rows if name.startswith(("psnr", "ssim"))])
    for file in sorted(folder.glob("*_residuals.csv")):
        frame = pd.read_csv(file)
        for phase, rows in frame.groupby("phase"):
            _arm(found, f"{file.stem.removesuffix('_residuals')} {phase}", rows, ["derivative", "correlation"])
    _phases(found, folder)
    return found


def _read_images(found: Table, folder: Path) -> None:
    """The measurements of each image, (seeds, images); with folds, seed 23 is seed 2 without the images of fold 3."""
    differences = folder / "differences.csv"
    in_folds = differences.is_file() and "folds" in (rows := pd.read_csv(differences)) and rows.folds.max() > 1
    arms: dict[tuple[str, str], dict[str, dict[str, np.ndarray]]] = {}
    for file in sorted(folder.glob("psnr/*.csv")):
        run, _, number = file.stem.rpartition("_seed")
        seed, fold = (number[:-1], number[-1]) if in_folds else (number, "")
        for phase, rows in pd.read_csv(file, dtype={"image": str}).groupby("phase"):
            name = "input" if str(phase) == "input" else run
            for column in (one for one in rows if one.endswith("_composed")):
                arm = arms.setdefault((name, column.removesuffix("_composed")), {}).setdefault(seed, {})
                arm[fold] = rows[column].to_numpy(float)
    for key, seeds in arms.items():
        found.arms[key] = np.array([np.concatenate([*folds.values()]) for folds in seeds.values()])
        if in_folds:
            first = next(iter(seeds.values()))
            found.folds = np.concatenate([np.full(len(one), int(fold)) for fold, one in first.items()])


def _arm(found: Table, name: str, rows: pd.DataFrame, metrics: list[str]) -> None:
    for metric in metrics:
        found.arms[name, metric] = rows.pivot(index="seed", columns="image", values=metric).to_numpy(float)


def _phases(found: Table, folder: Path) -> None:
    """Means over the seeds after each phase, and what each phase brought."""
    for file in sorted(folder.glob("*_psnr_by_phase.csv")):
        frame, run = pd.read_csv(file), file.stem.removesuffix("_psnr_by_phase")
        means = frame.drop(columns=["seed"]).groupby("phase", sort=False).mean(numeric_only=True)
        for name in (one for one in means if one.startswith(("psnr", "ssim"))):
            found.add(run, *means[name], *(b - a for a, b in combinations(means[name], 2)))
        made = frame[frame.phase != "input"].groupby("seed")[["block_pixels", "generation_block_pixels"]].sum()
        found.add(run, *(made.generation_block_pixels / made.block_pixels / 3 * 100))


@dataclass(frozen=True)
class Known:
    """What several kept places hold together.

    Args:
        values: by run, sorted out of all tables.
        pairs: (n, 3), the ends of intervals and ranges, each with its mean.
        loose: whether one of them is a text, in which a range can be that of any two numbers.
    """

    values: dict[str, np.ndarray]
    pairs: np.ndarray
    loose: bool


@cache
def known(places: tuple[Path, ...]) -> Known:
    """What kept places hold, with the differences within each study, and between two where there are two."""
    parts = [_within(place) for place in places] + ([_between(*places)] if len(places) == 2 else [])
    runs = dict.fromkeys(run for part in parts for run in part.values)
    return Known(
        {run: np.concatenate([part.values[run] for part in parts if run in part.values]) for run in runs},
        np.concatenate([np.empty((0, 3)), *(part.pairs for part in parts)]),
        any(part.loose for part in parts),
    )


@cache
def _within(place: Path) -> Known:
    """What one place holds, with the differences of its arms."""
    read = table_of(place)
    whole = Table({run: [*values] for run, values in read.values.items()}, [*read.pairs], loose=read.loose)
    for (name, _), figures in read.arms.items():
        whole.spread(name, figures)
    for (one, metric), (two, other) in combinations(read.arms, 2):
        if metric == other:
            _differ(whole, read, (one, metric), read, (two, metric))
    return _sorted(whole)


@cache
def _between(one: Path, two: Path) -> Known:
    """The differences of the arms of two places."""
    whole, (first, second) = Table(), (table_of(one), table_of(two))
    for (a, metric), (b, other) in product(first.arms, second.arms):
        if metric == other:
            _differ(whole, first, (a, metric), second, (b, metric))
    return _sorted(whole)


def _differ(whole: Table, first: Table, a: tuple[str, str], second: Table, b: tuple[str, str]) -> None:
    one, two = first.arms[a], second.arms[b]
    if one.shape != two.shape:
        return
    mean = float((one - two).mean())
    of_seeds, of_images, both = errors(one - two, first.folds)
    for error in (both, (of_seeds,), (of_images,)):
        if error and None not in error:
            half = float(half_width(*error))
            whole.pairs += [(mean - half, mean + half, mean), (-mean - half, half - mean, -mean)]
    for run in (a[0], b[0]):
        for apart in (one - two, two - one):
            whole.spread(run, apart)


def _sorted(table: Table) -> Known:
    values = {run: np.unique(own) for run, own in table.values.items()}
    return Known(values, np.unique(np.array(table.pairs).reshape(-1, 3), axis=0), table.loose)


# -- Documents ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Block:
    """A table row, a list item or a paragraph, with the number of its first line, and the kept places it is about."""

    line: int
    text: str
    places: tuple[Path, ...]


def blocks(document: Path, text: str) -> Iterator[Block]:
    """The blocks of a document that can hold figures of ours."""
    text = re.sub(r"^( *)```.*?^\1```$", lambda found: "\n" * found[0].count("\n"), text, flags=re.M | re.S)
    sections = re.split(r"^(?=## )", text, flags=re.M)
    first = 1
    for section in sections:
        yield from _in_section(section, first, document, places(section, document) or places(text, document))
        first += section.count("\n")


def _in_section(text: str, first: int, document: Path, whole: tuple[Path, ...]) -> Iterator[Block]:
    found = list[tuple[int, str]]()
    for number, line in enumerate(text.splitlines(), first):
        begins = not line.strip() or line.startswith(("|", "- ", "#", "!")) or not found or not found[-1][1].strip()
        if begins:
            found.append((number, line))
        else:
            found[-1] = found[-1][0], f"{found[-1][1]}\n{line}"
    for number, block in found:
        if not block.startswith(("Question:", "#", "!")):
            yield Block(number, block, places(block, document) or whole)


def places(text: str, document: Path) -> tuple[Path, ...]:
    """The kept tables that a text links to or names; those of a page of a study that it links to."""
    found = [(document.parent / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^):]+)\)", text)]
    named = [REFERENCE / name / "README.md" for name in re.findall(r"`(\w+)\.yaml`", text)]
    kept = [one for one in (*found, *named) if one.suffix == ".md" and one.is_relative_to(REFERENCE) and one.is_file()]
    pages = [one for one in found if one.parent == ROOT / "docs" / "studies" != document.parent]
    kept += [place for page in pages if page.is_file() for place in places(page.read_text(encoding="utf-8"), page)]
    return tuple(dict.fromkeys(kept))


def _value(figure: str) -> float:
    return float(figure.replace(",", ""))


def _fit(figure: str, values: np.ndarray, bound: bool = False) -> np.ndarray:
    """Which values are a figure as rounded; or, for a bound, as rounded up."""
    mantissa, _, power = figure.replace(",", "").lstrip("+").partition("e")
    step = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
    above = _value(figure) - (values if figure[0] in "+-" else abs(values))
    return (abs(above) <= step / 2 + _KEPT) | (bound & (above >= 0) & (above < step))


def wrong_in(document: Path, text: str | None = None) -> Iterator[str]:
    """A line for each figure of a document, or of a text in its place, that the tables do not hold."""
    name = str(document.relative_to(ROOT))
    for block in blocks(document, document.read_text(encoding="utf-8") if text is None else text):
        text = re.sub(r"`[^`]*`|\]\([^)]*\)", lambda found: " " * len(found[0]), block.text)
        table = known(block.places)
        run = re.match(r"\| `(\w+)`", block.text)
        rows = run and [values for of, values in table.values.items() if of.split()[0:1] == [run[1]]]
        values = np.concatenate([np.empty(0), *(rows or table.values.values())])
        taken = list[tuple[int, int]]()

        def say(at: int, figure: str, why: str, block: Block = block) -> str:
            line = block.line + block.text[:at].count("\n")
            looked = ", ".join(str(place.relative_to(ROOT)) for place in block.places) or "no table that it links to"
            return f"{name}:{line}: {figure}: {why} in {looked}"

        for found in _RANGE.finditer(text):
            taken.append(found.span())
            low, high = found.groups()
            fit = table.pairs[_fit(_signed(low), table.pairs[:, 0]) & _fit(_signed(high), table.pairs[:, 1])]
            if not len(fit):
                if not table.loose or not all(_fit(one, values).any() for one in (low, high)):
                    yield say(found.start(), found[0], "no interval or range with these ends")
                continue
            clause = re.split(r"[.;:](?=\s)", text[: found.start()])[-1]
            earlier = list(_NUMBER.finditer(_RANGE.sub(lambda one: " " * len(one[0]), clause)))
            if earlier:
                figure, bound = earlier[-1][0], bool(_BOUND.search(clause[: earlier[-1].start()]))
                if not _fit(figure, fit if bound else fit[:, 2], bound).any():
                    yield say(found.start(), f"{figure} beside {found[0]}", "not the mean of such an interval")
        for found in _NUMBER.finditer(text):
            if any(a <= found.start() < b for a, b in taken) or found[0] in ELSEWHERE.get(name, ()):
                continue
            bound = bool(_BOUND.search(text[: found.start()]))
            if not _fit(found[0], values, bound).any():
                yield say(found.start(), found[0], "no such value")


def _signed(end: str) -> str:
    """The end of an interval counts with its sign, where it is written and where it is not."""
    return end if end[0] in "+-" else f"+{end}"


def report() -> int:
    """Print each figure that is not found, with its document and line; 1 where there is one."""
    wrong = [line for document in documents() for line in wrong_in(document)]
    print(
        "\n".join([*wrong, f"{len(wrong)} figures of {len(documents())} documents are not in the tables they point to"])
    )
    return int(bool(wrong))
