"""Where the files of a study lie, and which of them a job reads: the plan of spans in paths."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from multiblock.config import Run, Study
from multiblock.data.imageset import SPLITS
from multiblock.plan import INPUT, CachedSet

TRAINED = ("weights.safetensors", "history.csv", "training.json")
"""What a phase leaves."""


def image_set(folder: str, splits: Iterable[str] = SPLITS) -> list[str]:
    """The files of an image set: for each split its array and its index."""
    return [f"{folder}/{split}.{ending}" for split in splits for ending in ("npy", "csv")]


class Layout:
    """Paths under a study's results folder; ``wildcards`` are those of a Snakemake job, such as ``run``, ``seed``.

    Of phases that are equal, one run is the *owner* (see :mod:`multiblock.workflow.sharing`): whatever is asked for of
    such a phase, the paths are those in its owner's folder.
    """

    STUDY_TABLES = ("comparison", "differences", "times", "curves", "curves_times", "losses")
    """The CSVs of a study of several runs, by the end of their names."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.owners: dict[tuple[str, int, int], str] = {}
        """The run in whose folder a phase lies, by run, seed and number; a run's own where nothing is said."""
        self.results = study.results
        self.data = f"{self.results}/data/{{data}}"
        self.phase = f"{self.results}/{{run}}/seed{{seed}}/phase{{phase}}"

    def run(self, wildcards: Any) -> Run:
        """The run of a job."""
        return self.study.runs[wildcards.run]

    def gpus(self, wildcards: Any) -> int:
        """How many GPUs a phase asks for."""
        return self.run(wildcards).plan.phase(int(wildcards.phase)).gpus

    def own_folder(self, run: str, seed: int, phase: int) -> Path:
        """Where a reader finds a phase of a run: its folder, or a link to that of the phase's owner."""
        return Path(self.phase.format(run=run, seed=seed, phase=phase))

    def folder(self, run: str, seed: int, phase: int) -> str:
        """The folder of a phase, with its owner."""
        return str(self.own_folder(self.owners.get((run, seed, phase), run), seed, phase))

    def phase_folder(self, wildcards: Any, phase: int) -> str:
        """The folder of another phase of the same run and seed."""
        return self.folder(wildcards.run, int(wildcards.seed), phase)

    def real(self, path: str | Path) -> Path:
        """The path, with its owner's folder where it lies in that of a phase."""
        inside = re.fullmatch(r"([^/]+)/seed(\d+)/phase(\d+)(/.*)?", os.path.relpath(path, self.results))
        if not inside:
            return Path(path)
        return Path(self.folder(inside[1], int(inside[2]), int(inside[3])) + (inside[4] or ""))

    def shown_by(self, run: str, seed: int, phase: int) -> list[str]:
        """The runs that show the phase that lies in a run's folder, itself among them."""
        equal = self.study.equal_phases[run, phase]
        return [other for other in equal if self.owners.get((other, seed, phase), other) == run]

    def makes_sets(self, wildcards: Any) -> list[int]:
        """The k of every LR_k that is made after a phase, as a later phase of a run that shows it reads it."""
        run, seed, phase = wildcards.run, int(wildcards.seed), int(wildcards.phase)
        made = [self.study.runs[other].plan.makes_sets(phase) for other in self.shown_by(run, seed, phase)]
        return sorted({block for blocks in made for block in blocks})

    def shared_with(self, run: str) -> dict[int, list[str]]:
        """The other runs that have the same phase, for each phase of a run that others have too."""
        found = {phase: self.study.equal_phases[run, phase] for phase in self.study.runs[run].plan.numbers}
        others = {phase: [other for other in equal if other != run] for phase, equal in found.items()}
        return {phase: runs for phase, runs in others.items() if runs}

    def hr(self, wildcards: Any) -> str:
        """The folder of HR."""
        return f"{self.results}/data/{self.run(wildcards).data.name}/HR"

    def input(self, wildcards: Any) -> str:
        """The folder of LR_0 in the form that the run's chain starts from."""
        run = self.run(wildcards)
        return f"{self.results}/data/{run.data.name}/{run.input}"

    @property
    def test_sets(self) -> dict[str, tuple[str, str]]:
        """The folders of LR_0 and of HR that each run is measured on."""
        runs = {run: SimpleNamespace(run=run) for run in self.study.runs}
        return {run: (self.input(wildcards), self.hr(wildcards)) for run, wildcards in runs.items()}

    def cached(self, wildcards: Any) -> str:
        """The folder of the set that a phase reads."""
        made = self.run(wildcards).plan.reads_set(int(wildcards.phase))
        if made.phase == INPUT:
            return self.input(wildcards)
        return f"{self.phase_folder(wildcards, made.phase)}/LR_{made.block}"

    def weights(self, wildcards: Any, phases: Iterable[int]) -> list[str]:
        """The weights files of other phases of the same run and seed."""
        return [f"{self.phase_folder(wildcards, phase)}/weights.safetensors" for phase in dict.fromkeys(phases)]

    def weights_read(self, wildcards: Any) -> list[str]:
        """The weights files that a phase starts from."""
        return self.weights(wildcards, self.run(wildcards).plan.reads_weights(int(wildcards.phase)))

    def before_and_after(self, wildcards: Any) -> dict[str, int]:
        """The phases whose weights are the network before a phase, if one was trained, and after it."""
        phase = int(wildcards.phase)
        return {"before": phase - 1, "after": phase} if phase > 1 else {"after": phase}

    def set_blocks(self, wildcards: Any) -> dict[int, int]:
        """The blocks that make LR_k of a phase, each with the phase whose weights it has."""
        made = CachedSet(phase=int(wildcards.phase), block=int(wildcards.block))
        return self.run(wildcards).plan.set_weights(made)

    def seeds_and_phases(self, run: str, upto: int | None = None) -> list[tuple[int, int]]:
        """All (seed, phase) of a run, or those of its phases 1..upto."""
        phases = self.study.runs[run].plan.numbers
        return [(seed, phase) for seed in self.study.seeds for phase in phases if phase <= (upto or phase)]

    def of_phases(self, run: str, name: str, upto: int | None = None) -> list[str]:
        """One file of each phase of each seed."""
        pairs = self.seeds_and_phases(run, upto)
        return [f"{self.folder(run, seed, phase)}/{name}" for seed, phase in pairs]

    def joint_phases(self, run: str) -> list[tuple[int, int]]:
        """The (seed, phase) of a run that train several blocks together."""
        plan = self.study.runs[run].plan
        return [(seed, phase) for seed, phase in self.seeds_and_phases(run) if len(plan.phase(phase).span) > 1]

    def of_joint_phases(self, run: str, name: str) -> list[str]:
        """One file of each of those phases."""
        files = dict(zip(self.seeds_and_phases(run), self.of_phases(run, name), strict=True))
        return [files[key] for key in self.joint_phases(run)]

    def of_last_phase(self, run: str, name: str) -> list[str]:
        """One file of the last phase of each seed."""
        last = len(self.study.runs[run].plan.phases)
        return [f"{self.folder(run, seed, last)}/{name}" for seed in self.study.seeds]

    def final_weights(self, run: str) -> str:
        """The weights that a run ends with: of the last phase of the first seed."""
        return self.of_last_phase(run, "weights.safetensors")[0]

    def upscaled(self) -> list[str]:
        """The tables of the pictures that each run's network is tried on."""
        return [f"{self.results}/{run}/upscaled/pictures.csv" for run in self.study.runs]

    def phases_by_seed(self, run: str) -> list[list[str]]:
        """The folders of a run's phases, a list a seed."""
        phases = self.study.runs[run].plan.numbers
        return [[self.folder(run, seed, phase) for phase in phases] for seed in self.study.seeds]

    def sets(self, wildcards: Any) -> dict[int, tuple[int, ...]]:
        """The k of every LR_k that is made after each phase of a run."""
        plan = self.run(wildcards).plan
        return {phase: plan.makes_sets(phase) for phase in plan.numbers}

    def generated(self, wildcards: Any) -> dict[int, int]:
        """How many blocks are run over all images to make the sets LR_k after each phase of a run."""
        plan = self.run(wildcards).plan
        sets = {phase: [CachedSet(phase=phase, block=k) for k in plan.makes_sets(phase)] for phase in plan.numbers}
        return {phase: sum(len(plan.set_weights(made)) for made in made_here) for phase, made_here in sets.items()}

    def promised(self, run: str) -> list[str]:
        """Everything that a finished run leaves: arrays, weights, what was measured, tables and figures."""
        planned, tables = self.study.runs[run], f"{self.results}/{run}"
        folder = f"{self.results}/data/{planned.data.name}"
        sets = [*image_set(f"{folder}/HR"), *image_set(f"{folder}/{planned.input}")]
        for seed, phase in self.seeds_and_phases(run):
            made = self.folder(run, seed, phase)
            sets += [file for k in planned.plan.makes_sets(phase) for file in image_set(f"{made}/LR_{k}")]
        phases = [file for name in (*TRAINED, "psnr.csv", "images") for file in self.of_phases(run, name)]
        endings: tuple[str, ...] = (
            "psnr_by_phase.csv",
            "psnr_by_phase.md",
            "psnr_by_phase.png",
            "times.csv",
            "learning_curves.png",
            "report.html",
            "report_small.html",
        )
        if self.study.report.blocks and self.joint_phases(run):
            endings += ("psnr_by_block.csv", "psnr_by_block.md", "blocks")
        if self.study.report.residuals:
            endings += ("residuals.csv", "residuals")
        if self.study.report.tensorboard:
            endings += ("tensorboard",)
        if self.study.upscale.images:
            endings += ("upscaled/pictures.csv",)
        return [*sets, *phases, *(f"{tables}/{name}" for name in (*endings, "strips"))]

    def study_reports(self) -> Sequence[str]:
        """What stands above the runs: comparison and page, where there is something to compare, and the budget."""
        name = self.study.name
        files = []
        if len(self.study.runs) > 1:
            files += [f"{name}_comparison.{ending}" for ending in ("csv", "md", "png")]
            files += [f"{name}_{table}.csv" for table in self.STUDY_TABLES if table != "comparison"]
            files += [f"{name}_curves.png", f"{name}_curves_times.png"]
            files += [f"{name}_losses"]
            files += [f"{name}_report.html", f"{name}_report_small.html"]
        if self.study.report.budget_gflops is not None:
            files += [f"{name}_budget.csv", f"{name}_budget.md"]
        return [f"{self.results}/{file}" for file in files]

    @property
    def digests(self) -> Path:
        """Where digests of files are kept."""
        return Path(self.results, "data", "digests.json")
