"""What can be removed from a results folder without loss to the plan, and its removal."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from multiblock.data.partial import CONVERTING, ENLARGING
from multiblock.files import lock, size_of
from multiblock.workflow.links import keep_shown
from multiblock.workflow.status import Status


@dataclass(frozen=True, kw_only=True)
class Removable:
    """What can be removed: files, or folders with all in them.

    Args:
        what: why it can be removed.
        folder: what is shown for it.
        paths: what is removed.
        phase: the folder of the phase that it belongs to, in which nothing may be trained meanwhile.
    """

    what: str
    folder: Path
    paths: tuple[Path, ...]
    phase: Path | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(map(size_of, self.paths))


def removable(found: Status, arrays: bool = False) -> list[Removable]:
    """All that the plan of a study does not need; weights, histories, records and measurements of it are never in it.

    Args:
        found: the status of the study.
        arrays: also the arrays, which can be made again; of a data set whose images are there.
    """
    items = [_whole("a phase that the plan no longer has", folder, phase=folder) for folder in found.left]
    for phases in found.phases.values():
        for phase in phases:
            what = "checkpoints that the plan does not go on from"
            items += [_whole(what, folder, phase=phase.folder) for folder in phase.unneeded]
    items += [_whole("set aside", folder) for folder in found.before]
    return [*items, *_arrays(found)] if arrays else items


def _whole(what: str, folder: Path, phase: Path | None = None) -> Removable:
    return Removable(what=what, folder=folder, paths=(folder,), phase=phase)


def _arrays(found: Status) -> Iterator[Removable]:
    """The pixels of image sets; the index beside each stays, and says what they were."""
    for data in found.data:
        for folder in (data.folder / name for name in (CONVERTING, ENLARGING)):
            if not data.unseen and folder.is_dir():
                yield _whole("arrays that are not whole; the next run goes on from them", folder)
        if not data.unseen and (files := sorted(data.folder.glob("*/*.npy"))):
            yield Removable(what="arrays, made again when needed", folder=data.folder, paths=tuple(files))
    for phases in found.phases.values():
        for phase in phases:
            of_another = phase.folder.parent.parent in found.aside  # which is kept as it is
            if phase.owner or of_another:
                continue
            for folder in sorted(phase.folder.glob("LR_*")):
                if files := sorted(folder.glob("*.npy")):
                    what = f"{folder.name}, made again when needed"
                    yield Removable(what=what, folder=folder, paths=tuple(files), phase=phase.folder)


def remove(results: Path, items: Sequence[Removable]) -> None:
    """Remove them, one after another; what is shown from elsewhere by a link is copied there first.

    Raises:
        UserError: a training is at work in one of the phases; nothing is removed then.
        OSError: something cannot be removed.
    """
    keep_shown(results, (path for item in items for path in item.paths if path.is_dir()))
    with ExitStack() as held:
        for phase in dict.fromkeys(item.phase for item in items if item.phase):
            held.enter_context(lock(phase, "training"))
        for path in (path for item in items for path in item.paths):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
