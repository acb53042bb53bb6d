"""Which photographs are pairs, and where they are written: found before anything is done."""

import os
from dataclasses import dataclass
from pathlib import Path

from multiblock.data.dataset import alike, left_out_of, listing
from multiblock.errors import UserError, listed

KINDS = ("LR", "HR")
CSV, PAGE = "pairs.csv", "pairs.html"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Two photographs of one name, and where the pair goes."""

    name: str
    lr: Path
    hr: Path
    out: Path

    def target(self, kind: str) -> Path:
        """The file that is written of LR or HR."""
        return self.out / kind / f"{self.name}.png"


def plan(lr: Path, hr: Path, out: Path, lr_name: str, overwrite: bool) -> tuple[list[Job], list[str]]:
    """The pairs of two folders, and what is said of photographs that are left out.

    Args:
        lr_name: how LR files are called, with ``{name}`` for HR's name.
        overwrite: pairs that are there already may be replaced; photographs never.

    Raises:
        UserError: a folder is missing or empty, nothing matches, or ``out`` holds what is not to be replaced.
    """
    if os.path.realpath(hr) == os.path.realpath(lr):
        raise UserError(f"{hr}: is both LR_DIR and HR_DIR; allowed are two folders")
    low, high = listing([lr]), listing([hr])
    said = left_out_of([lr, hr])
    jobs = []
    for name, file in high.items():
        partner = lr_name.format(name=name)
        if partner in low:
            jobs.append(Job(name=name, lr=low.pop(partner), hr=file, out=out))
        else:
            said.append(f"{file}: left out; it has no partner {partner} in {lr}{alike(partner, low)}")
    said += [f"{file}: left out; it has no partner in {hr}" for file in low.values()]
    if not jobs:
        raise UserError(f"{lr} and {hr}: no names match; found {listed(file.name for file in high.values())} in {hr}")
    _check_out(jobs, out, [*(job.lr for job in jobs), *(job.hr for job in jobs), *low.values()], overwrite)
    return jobs, said


def _check_out(jobs: list[Job], out: Path, photographs: list[Path], overwrite: bool) -> None:
    ours = {job.target(kind) for job in jobs for kind in KINDS}
    folders = {os.path.realpath(photograph.parent) for photograph in photographs}
    for kind in KINDS:
        folder = out / kind
        if os.path.realpath(folder) in folders:
            raise UserError(f"{folder}: holds the photographs, which are never replaced; name another folder")
        present = sorted(file for file in folder.iterdir() if file.name[0] != ".") if folder.is_dir() else []
        for file in present:
            if any(file.samefile(photograph) for photograph in photographs):
                raise UserError(f"{file}: is one of the photographs, which are never replaced; name another folder")
            if file not in ours:
                raise UserError(
                    f"{file}: is none of the pairs that are made, and would be trained on with them; move it"
                )
        if present and not overwrite:
            raise UserError(f"{present[0]}: exists already; name another folder, or replace it with --overwrite")
    for name in (CSV, PAGE):
        if (out / name).exists() and not overwrite:
            raise UserError(f"{out / name}: exists already; name another folder, or replace it with --overwrite")
