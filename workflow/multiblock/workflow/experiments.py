"""Which experiment the folder of a run holds, so that one never replaces another."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from multiblock.config import Run, Study
from multiblock.files import read_json, write_text
from multiblock.workflow import links


def other_experiments(study: Study, images: Mapping[str, Sequence[str]] | None = None) -> list[Path]:
    """The folders of runs that hold finished weights of another chain or of another data set.

    A chain that was grown or shortened is the same experiment, and so is one whose recipes or some of whose images
    have changed. A data set none of whose images is left is another one, whatever it is called.

    Args:
        images: digests of the images that each data set trains with; without them chain and name alone decide.
    """
    folders = {run.name: Path(study.results, run.name) for run in study.runs.values()}
    return [
        folders[run.name]
        for run in study.runs.values()
        if _is_other(folders[run.name], _experiment(run, (images or {}).get(run.data.name, ())))
    ]


def comes_back(study: Study, images: Mapping[str, Sequence[str]]) -> dict[Path, Path]:
    """The folders that were set aside and hold what a run is now again, each with the run's folder.

    The newest counts; a run whose own folder has finished weights of this experiment already needs none.
    """
    found = {}
    for run in study.runs.values():
        folder, now = Path(study.results, run.name), _experiment(run, images.get(run.data.name, ()))
        if _has_weights(folder) and not _is_other(folder, now):
            continue
        aside = [other for other in runs_set_aside(study) if other.name.rpartition(".before")[0] == run.name]
        same = [other for other in aside if _has_weights(other) and not _is_other(other, now)]
        if same:
            found[max(same, key=lambda other: int(other.name.rpartition(".before")[2]))] = folder
    return found


def bring_back(aside: Path, folder: Path) -> None:
    """Give a folder that was set aside its name again; what has that name by now is set aside."""
    if folder.exists():
        set_aside(folder)
    links.rename(folder.parent, aside, folder)


def _has_weights(folder: Path) -> bool:
    return any(folder.glob("seed*/phase*/weights.safetensors"))


def _is_other(folder: Path, now: Mapping[str, Any]) -> bool:
    before = read_json(folder / "experiment.json")
    if not before or not _has_weights(folder):
        return False
    common = min(len(before.get("chain", [])), len(now["chain"]))
    if before.get("data") != now["data"] or before["chain"][:common] != now["chain"][:common]:
        return True
    known = before.get("images", [])
    return bool(known and now["images"]) and set(known).isdisjoint(now["images"])


def set_aside(folder: Path) -> Path:
    """Rename the folder of a run, so that another experiment of that name loses nothing; its new name.

    What it shows of other runs it gets a copy of; links into it follow.
    """
    for link in links.links(folder.parent):
        shown = links.target(link)
        if link.is_relative_to(folder) and shown and not links.is_aside(shown.parent.parent):
            links.materialise(link)
    return links.set_aside(folder.parent, folder)


def note_experiments(study: Study, images: Mapping[str, Sequence[str]]) -> None:
    """Write down which experiment each run is."""
    for run in study.runs.values():
        file, now = Path(study.results, run.name, "experiment.json"), _experiment(run, images[run.data.name])
        now |= {"phases": len(run.plan.phases), "seeds": list(study.seeds)}  # for who finds the folder without a config
        if read_json(file) != now:
            write_text(file, json.dumps(now, indent=2) + "\n")


def _experiment(run: Run, images: Sequence[str]) -> dict[str, Any]:
    chain = [asdict(block) for block in run.plan.blocks]
    return json.loads(json.dumps({"data": run.data.name, "chain": chain, "images": sorted(images)}))


def left_phases(study: Study, images: Mapping[str, Sequence[str]] | None = None) -> list[Path]:
    """Folders of phases that the plan no longer has; those of another experiment are not this plan's.

    Args:
        images: see :func:`other_experiments`.
    """
    found, others = [], other_experiments(study, images)
    for run in study.runs.values():
        if Path(study.results, run.name) in others:
            continue
        for folder in sorted(Path(study.results, run.name).glob("seed*/phase*")):
            number = folder.name.removeprefix("phase")
            if number.isdecimal() and int(number) > len(run.plan.phases) and not folder.is_symlink():
                found.append(folder)
    return found


def phases_set_aside(study: Study) -> list[Path]:
    """Folders of phases, of the study's runs, in whose place there was to be something else."""
    found = (folder for run in study.runs for folder in sorted(Path(study.results, run).glob("seed*/phase*")))
    return [folder for folder in found if links.is_aside(folder) and not folder.is_symlink()]


def runs_set_aside(study: Study) -> list[Path]:
    """Folders that :func:`set_aside` renamed."""
    found = []
    for folder in _folders(study):
        run, _, number = folder.name.rpartition(".before")
        if run in study.runs and number.isdecimal():
            found.append(folder)
    return found


def not_named(study: Study) -> list[Path]:
    """Folders of other runs, and of other seeds of the study's runs; they may be another config's."""
    known = {*runs_set_aside(study), *(Path(study.results, run) for run in study.runs)}
    found = [folder for folder in _folders(study) if folder not in known and _is_run(folder)]
    seeds = {f"seed{seed}" for seed in study.seeds}
    for run in study.runs:
        folders = sorted(Path(study.results, run).glob("seed*"))
        found += [folder for folder in folders if re.fullmatch(r"seed\d+", folder.name) and folder.name not in seeds]
    return found


def _folders(study: Study) -> list[Path]:
    return [folder for folder in sorted(Path(study.results).glob("*")) if folder.is_dir() and not folder.is_symlink()]


def _is_run(folder: Path) -> bool:
    return (folder / "experiment.json").is_file() or _has_weights(folder)
