"""The finished weights that a path stands for: a file, the folder of a phase, a seed, a run or a study, or a name.

A run's folder has the weights of phase p under seed k in ``seed<k>/phase<p>/weights.safetensors``. The names ``x2``,
``x3`` and ``x4`` stand for the networks that ship with the program, unless a file or folder is called so.
"""

import csv
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from multiblock.errors import UserError, listed
from multiblock.files import read_json
from multiblock.model import metadata

WEIGHTS = "weights.safetensors"

SHIPPED = Path(__file__).parent.parent / "shipped"
"""The folder of the networks that ship with the program, trained by ``studies/shipped.yaml``."""

TEST_PSNR = "RGB, floats in [0, 1], no border cut, mean of the test images, the whole chain on LR"
"""The convention of the PSNR in a phase's measurements, ``psnr.csv``."""


@dataclass(frozen=True, kw_only=True)
class About:
    """The known facts of a weights file. What is not recorded is None, or empty.

    Args:
        file: the weights.
        run: the run's folder, where the file is in one.
        phase, seed: phase and seed of the run; the network is as it was after that phase.
        blocks: the networks of the chain, in order.
        plan: the spans of all phases up to that one.
        data: name of the data set.
        scale: how many times HR of the data is as large as LR.
        input: what the network takes.
        psnr: PSNR in dB, in the convention ``psnr_convention``.
        psnr_input: the same without any network.
        origin: whose weights they are, where they were imported.
        better: the phase of the same seed with the highest PSNR on the same images, where it is another one, with that.
    """

    file: Path
    run: Path | None = None
    phase: int | None = None
    seed: int | None = None
    blocks: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()
    data: str | None = None
    scale: int | None = None
    input: str | None = None
    psnr: float | None = None
    psnr_input: float | None = None
    psnr_convention: str | None = None
    origin: str | None = None
    better: tuple[Path, float] | None = None

    def __str__(self) -> str:
        """The facts on one line: which weights, of what, and which PSNR they had."""
        words = [
            f"phase {self.phase}" if self.phase else "",
            f"(plan {', '.join(self.plan)})" if self.phase and self.plan else "",
            f"of {self.run}" if self.run else "",
            f"seed {self.seed}" if self.seed is not None else "",
            f"as {self.origin}" if self.origin else "",
            f"trained on {self.data}" + (f" x{self.scale}" if self.scale else "") if self.data else "",
        ]
        which = ", ".join(filter(None, words)).replace(", (plan", " (plan").replace(", of ", " of ")
        return f"{self.file}: {which or 'phase and run not recorded'}; {self.psnr_in_words}"

    @property
    def psnr_in_words(self) -> str:
        """The PSNR with its convention."""
        if self.psnr is None:
            return "PSNR not recorded"
        plain = f", {self.psnr_input:.2f} dB without a network" if self.psnr_input is not None else ""
        words = f"PSNR {self.psnr:.2f} dB{plain} ({self.psnr_convention})"
        if self.psnr_input is not None and self.psnr < self.psnr_input:
            words += "; that is worse than no network"
        if self.better:
            words += f"; {self.better[0]} is better there: {self.better[1]:.3f} against {self.psnr:.3f} dB"
        return words


ENDINGS = (".safetensors", ".pth", ".pt")
"""Of files that are weights, whether or not of this program; :func:`find` and reading say what is wrong with others."""


def is_named(path: Path) -> bool:
    """Whether a path is that of weights, by its kind: a file that ends so; a folder of a phase, seed, run or study; or
    the name of a network that ships."""
    if not path.is_dir():
        return path.suffix.lower() in ENDINGS or (not path.exists() and str(path) in shipped())
    places = ("", "phase*/", "seed*/phase*/", "*/seed*/phase*/")
    run = path.absolute()
    for part in (r"phase\d+", r"seed\d+"):
        run = run.parent if re.fullmatch(part, run.name) else run
    return (run / "run.json").is_file() or any(next(path.glob(place + WEIGHTS), None) for place in places)


def named_apart(paths: Sequence[Path]) -> list[str]:
    """A name for each path of weights that no other has: the end of it, as long as it must be.

    Raises:
        UserError: a path is there twice.
    """
    parts = [str(path.absolute()).removesuffix(".safetensors").split(os.sep)[1:] for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["_".join(own[-length:]) for own in parts]
        if len({name.casefold() for name in names}) == len(names):
            return names
    raise UserError(f"{listed(paths)}: one of them is there twice; allowed is each network once")


def shipped() -> dict[str, Path]:
    """The networks that ship with the program, by name: ``x2``, ``x3``, ``x4``."""
    return {file.stem: file for file in sorted(SHIPPED.glob("*.safetensors"))}


def find(path: Path) -> Path:
    """The file of weights that a path stands for.

    Of the folder of a run it is that of the last phase of the first seed, of a seed's that of its last phase; of a
    study's folder that of its run, if it has one.

    Raises:
        UserError: there is nothing, several runs, or the last phase is not finished.
    """
    if path.is_file():
        return path
    if not path.exists():
        if str(path) in shipped():
            return shipped()[str(path)]
        allowed = f"a file of weights, a run's folder as results/default, or a network that ships: {listed(shipped())}"
        raise UserError(f"{path}: is not there; allowed is {allowed}")
    if re.fullmatch(r"phase\d+", path.name) or (path / WEIGHTS).is_file():
        return _of_phase(path)
    if phases := _numbered(path, "phase"):
        return _of_seed(path, phases, _planned(path.parent)[0])
    if seeds := _numbered(path, "seed"):
        return _of_run(path, seeds)
    runs = [folder for folder in _folders(path) if _numbered(folder, "seed")]
    if len(runs) > 1:
        raise UserError(f"{path}: holds several runs; name one of them: {listed(runs)}")
    if not runs:
        raise UserError(f"{path}: holds no weights; allowed is a file of weights, or a run's folder as results/default")
    return _of_run(runs[0], _numbered(runs[0], "seed"))


def phases_of(file: Path) -> dict[int, Path]:
    """The weights of all finished phases of the seed that a file of weights is in, by number; none for other files."""
    if not re.fullmatch(r"phase\d+", file.parent.name):
        return {}
    found = _numbered(file.parent.parent, "phase")
    return {number: folder / WEIGHTS for number, folder in found.items() if (folder / WEIGHTS).is_file()}


def _of_run(run: Path, seeds: Mapping[int, Path]) -> Path:
    phases, planned = _planned(run)
    first = next(iter(planned), min(seeds))
    if first not in seeds:
        raise UserError(f"{run}: its first seed, seed {first}, is not trained yet; there is {listed(seeds.values())}")
    return _of_seed(seeds[first], _numbered(seeds[first], "phase"), phases)


def _of_seed(folder: Path, phases: Mapping[int, Path], planned: int | None) -> Path:
    """The weights of the last phase; a plan that is known says which that is, else the folders do."""
    last = planned or max(phases, default=1)
    if last in phases and (phases[last] / WEIGHTS).is_file():
        return phases[last] / WEIGHTS
    _check_link(folder / f"phase{last}")
    there = [number for number in sorted(phases) if (phases[number] / WEIGHTS).is_file() and number < last]
    way = f"; allowed is a finished phase, as {phases[there[-1]]}" if there else ""
    done = f"finished are phases {listed(there)}" if there else "no phase is finished"
    raise UserError(f"{folder}: its last phase, phase {last}, has no weights yet; {done}{way}")


def _check_link(phase: Path) -> None:
    """Refuse a phase whose weights are a link to a store that is not there, as in a copy of a part of the results."""
    if (weights := phase / WEIGHTS).is_symlink() and not weights.exists():
        raise UserError(
            f"{weights}: is a link to {weights.readlink()}, which is not there; copy the folder of all results, or a "
            "part of it with `cp -rL`"
        )


def _of_phase(folder: Path) -> Path:
    _check_link(folder)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder}: has no {WEIGHTS}; this phase is not finished")
    return folder / WEIGHTS


def _planned(run: Path) -> tuple[int | None, list[int]]:
    """The number of phases and the seeds in the plan of a run, from its ``run.json``; None and no seeds without one."""
    noted = read_json(run / "run.json")
    phases, seeds = noted.get("phases"), noted.get("seeds")
    return phases if isinstance(phases, int) else None, seeds if isinstance(seeds, list) else []


def _numbered(folder: Path, name: str) -> dict[int, Path]:
    """The folders ``NAME1``, ``NAME2``, ... in a folder by number."""
    return {
        int(one.name.removeprefix(name)): one for one in _folders(folder) if re.fullmatch(rf"{name}\d{{1,9}}", one.name)
    }


def _folders(folder: Path) -> Iterable[Path]:
    return (one for one in sorted(folder.iterdir()) if one.is_dir())


def about(file: Path) -> About:
    """The facts that a weights file holds, with the measurements beside it where it is in a run's folder.

    Raises:
        UserError: the file cannot be read, or is not a chain of this program.
    """
    known = metadata.read(file)
    source = known.about
    psnr, plain = _measured(file, source.phase)
    enlarge = source.enlarge if known.blocks[0].scale == 1 else 1
    return About(
        file=file,
        run=file.parents[2] if re.fullmatch(r"seed\d+", file.parent.parent.name) else None,
        phase=source.phase,
        seed=source.seed,
        blocks=tuple(block.network for block in known.blocks),
        plan=source.plan,
        data=source.data,
        scale=source.scale,
        input=None if enlarge is None else "LR as it is" if enlarge == 1 else f"LR enlarged x{enlarge}",
        psnr=psnr if psnr is not None else source.psnr,
        psnr_input=plain,
        psnr_convention=TEST_PSNR if psnr is not None else source.psnr_convention,
        origin=source.origin,
        better=None if psnr is None else _better(file, psnr),
    )


def _better(file: Path, psnr: float) -> tuple[Path, float] | None:
    """The phase of the same seed with a higher PSNR than ``psnr``, the highest of all, and that PSNR."""
    measured = {one.parent: _measured(one, number)[0] for number, one in phases_of(file).items()}
    higher = {folder: found for folder, found in measured.items() if found is not None and found > psnr}
    return max(higher.items(), key=lambda one: one[1]) if higher else None


def _measured(file: Path, phase: int | None) -> tuple[float | None, float | None]:
    """PSNR RGB in dB of the test images after a phase, and without a network, from the table beside the weights.

    As in the tables of a run, images of which a figure is infinite are left out of both means, unless all are.
    """
    table = file.with_name("psnr.csv")
    if phase is None or file.name != WEIGHTS or not table.is_file():
        return None, None
    try:
        with table.open(newline="", encoding="utf-8") as opened:
            figures: dict[str, dict[str, float]] = {str(phase): {}, "input": {}}
            for row in csv.DictReader(opened):
                if row["phase"] in figures:
                    figures[row["phase"]][row["image"]] = float(row["psnr_rgb_composed"])
        made, plain = figures[str(phase)], figures["input"]
        counted = [image for image in made if not math.isinf(made[image] + plain[image])] or list(made)
        means = [fmean(column[image] for image in counted) for column in (made, plain)]
        return (None, None) if any(map(math.isnan, means)) else (round(means[0], 4), round(means[1], 4))
    except (OSError, ValueError, KeyError, TypeError):
        return None, None
