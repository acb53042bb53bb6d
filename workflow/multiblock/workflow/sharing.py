"""Phases of several runs that are equal: one of the runs owns them, the others show them by links to its folder.

Which runs have equal phases follows from the config. Who owns them follows from what is there as well, so that nothing
is trained again because the order of runs has changed, or because the owner was changed or taken out:

- a run that has results of its own that stand keeps them, and owns them;
- a run whose link shows such results in the folder of a run that wants something else by now gets a copy of them;
- where nothing stands, the one with the checkpoint to go on from owns the phase, or else with a folder, or else the
  first.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from multiblock.config import Study
from multiblock.files import lock
from multiblock.workflow import checkpoints
from multiblock.workflow.dependencies import Dependencies
from multiblock.workflow.layout import Layout
from multiblock.workflow.links import LOCK_SECONDS, can_link, keep_shown, links, materialise, point, set_aside, target
from multiblock.workflow.records import Records
from multiblock.workflow.results import Results
from multiblock.workflow.standing import Standing

_STANDS, _BEGUN, _OTHER, _NOTHING = range(4)
"""What there is of a phase: weights that are as wanted, a checkpoint to go on from, something else, or nothing."""

Key = tuple[str, int, int]
"""Run, seed and number of a phase."""


@dataclass(frozen=True)
class Choice:
    """Who owns which phase.

    Args:
        owners: the run that owns a phase, for each run, seed and number.
        copied: phases that are to be copied from where their run's link leads; their run will own them.
        changes: owners' phases in whose folder there is something else than what will be there.
    """

    owners: dict[Key, str]
    copied: frozenset[Key]
    changes: frozenset[Key]


def choose(study: Study, layout: Layout, on: Dependencies, records: Records) -> Choice:
    """Who owns which phase, from the config and from what is there; ``layout`` has it too from then on."""
    return _Choosing(study, layout, on, records).choice()


def as_linked(study: Study, layout: Layout) -> dict[Key, str]:
    """Who owns which phase, as the links say that :func:`settle` has made."""
    owners = {}
    for runs, seed, number in _equal(study):
        folders = {layout.own_folder(run, seed, number): run for run in runs}
        for folder, run in folders.items():
            shown = target(folder)
            owners[run, seed, number] = folders.get(shown, run) if shown else run
    return owners


def _equal(study: Study) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """The runs of each phase, its seed and its number, in the order of the numbers."""
    groups = {(number, runs): None for (_, number), runs in study.equal_phases.items()}
    for number, runs in sorted(groups, key=lambda group: group[0]):
        for seed in study.seeds:
            yield runs, seed, number


class _Choosing:
    """Looks at what is there phase by phase, in the order in which phases are trained."""

    def __init__(self, study: Study, layout: Layout, on: Dependencies, records: Records) -> None:
        self._study, self._layout, self._on = study, layout, on
        layout.owners.clear()
        self._results, self._standing = Results(study, layout, on), Standing(records)
        self._ranks: dict[Key, int] = {}

    def choice(self) -> Choice:
        owners = self._layout.owners
        for data in self._study.data:
            for result in self._results.of_data(data):
                self._standing.judge(result, data)
        for runs, seed, number in _equal(self._study):
            owners |= {(run, seed, number): owner for run, owner in self._owners(runs, seed, number).items()}
            for run in {owners[run, seed, number] for run in runs}:
                for made in self._results.of_phase(run, seed, number)[1:]:
                    self._standing.judge(made, run)
        own = {key: self._ranks[key] for key, owner in owners.items() if key[0] == owner}
        linked = {key for key in own if target(self._layout.own_folder(*key))}
        return Choice(
            owners=owners,
            copied=frozenset(key for key in linked if own[key] in (_STANDS, _BEGUN)),
            changes=frozenset(key for key, rank in own.items() if rank in (_BEGUN, _OTHER) and key not in linked),
        )

    def _owners(self, runs: tuple[str, ...], seed: int, number: int) -> dict[str, str]:
        """The owner of an equal phase for each of the runs that have it."""
        folders = {run: self._layout.own_folder(run, seed, number) for run in runs}
        places = {run: target(folder) or folder for run, folder in folders.items()}
        # The others' links show what one of these has.
        free = [run for run in runs if places[run] == folders[run] or places[run] not in folders.values()] or [runs[0]]
        ranks = {run: self._rank(run, seed, number) for run in free}
        self._ranks |= {(run, seed, number): rank for run, rank in ranks.items()}
        standing = [run for run in free if ranks[run] == _STANDS] or [min(free, key=ranks.__getitem__)]
        by_place = {places[run]: run for run in reversed(standing)}
        return {run: by_place.get(places[run], standing[0]) for run in runs}

    def _rank(self, run: str, seed: int, number: int) -> int:
        """What a run has of a phase, or is shown of it by its link."""
        folder, of = self._layout.own_folder(run, seed, number), SimpleNamespace(run=run, seed=seed, phase=number)
        verdict = self._standing.judge(self._results.of_phase(run, seed, number)[0], run)
        if not verdict.waits:
            return _STANDS
        begun = not verdict.blocked and checkpoints.found(folder)
        if begun and checkpoints.name_of(self._layout, self._on, of) in [one.folder.name for one in begun]:
            return _BEGUN
        return _OTHER if _has_something(folder) and not target(folder) else _NOTHING


def _has_something(folder: Path) -> bool:
    """Whether there is more than the small files that are written before anything is made."""
    return folder.is_dir() and any(not one.name.startswith(".") for one in folder.iterdir())


def notes(choice: Choice, layout: Layout) -> Iterator[str]:
    """What is to be said before :func:`settle` does it."""
    for key in sorted(choice.copied):
        folder = layout.own_folder(*key)
        yield f"{folder} shows {target(folder)}, which is no longer the same phase of this study; it gets a copy"
    for key, owner in choice.owners.items():
        folder = layout.own_folder(*key)
        if key[0] != owner and not target(folder) and _has_something(folder):
            yield f"{folder} is equal to {layout.folder(*key)} now; what it holds is something else, and is set aside"
    shown = sum(key[0] != owner for key, owner in choice.owners.items())
    if shown:
        yield f"{shown} of {len(choice.owners)} phases are equal to those of other runs, and are not trained again"


def settle(study: Study, layout: Layout, choice: Choice, say: Callable[[str], None]) -> None:
    """Make folders and links as they were chosen; to be done before anything is made, by one process.

    Where the file system has no links, each run makes its phases itself, which is said.

    Raises:
        UserError: a training is at work in a folder that is to be copied or renamed.
    """
    results = Path(study.results)
    folders = {key: layout.own_folder(*key) for key in choice.owners}
    seeds = {f"seed{seed}" for seed in study.seeds}
    if any(key[0] != owner for key, owner in choice.owners.items()) and not can_link(results):
        say(f"{results}: the file system has no links; phases that are equal are trained in each run")
        layout.owners.clear()
        return
    for link in keep_shown(results, (folders[key] for key in choice.changes), but=set(folders.values())):
        say(f"{link} showed what is to change now; it has a copy")
    for key in choice.copied:
        materialise(folders[key])
    for (run, seed, number), owner in choice.owners.items():
        folder, shown = folders[run, seed, number], layout.own_folder(owner, seed, number)
        if run == owner:
            if target(folder):  # it shows what is no longer equal
                folder.unlink()
            continue
        if folder.is_dir() and not target(folder):
            _make_room(results, folder)
        shown.mkdir(parents=True, exist_ok=True)
        point(folder, shown)
    for link in links(results):  # of phases that the plan no longer has
        if link.parts[-3] in study.runs and link.parts[-2] in seeds and link not in folders.values():
            link.unlink()


def _make_room(results: Path, folder: Path) -> None:
    """Move away what is in the place of a link."""
    with lock(folder, "training", wait=LOCK_SECONDS):
        something = _has_something(folder)
    if something:
        set_aside(results, folder)
    else:
        shutil.rmtree(folder)
