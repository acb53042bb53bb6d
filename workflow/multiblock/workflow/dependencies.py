"""What each kind of result depends on beside the files its job reads: one list a kind, in plain values.

What is not named here changes no result: times, progress, how often a row of the history is written. The weights of a
phase depend on the same list, whether it decides that they are trained again or that a checkpoint is gone on from.

Which files a job reads has to follow from its list: where one is read no longer, no time of a file tells.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from multiblock.config import Study
from multiblock.inference.targets import in_folder
from multiblock.page.description import describe
from multiblock.plan import Task, is_file
from multiblock.workflow import code_digest
from multiblock.workflow.layout import Layout

_PAGE_FILES = ("page/templates", "page/static")


class Dependencies:
    """A method a kind of result; each takes a job's wildcards.

    Args:
        images: digest of the images of each data set.
        digest: gives that of a file from elsewhere, such as published weights.
    """

    def __init__(
        self, study: Study, layout: Layout, images: Callable[[str], str], digest: Callable[[Path], str]
    ) -> None:
        self._study, self._layout = study, layout
        self._images, self._digest = images, digest

    def conversion(self, wildcards: Any) -> dict[str, Any]:
        """Of HR and LR."""
        used = frozenset({("degradation", self._study.data[wildcards.data].degradation)})
        return {"images": self._images(wildcards.data), "code": code_digest.of("conversion", entries=used)}

    def conversion_code(self, wildcards: Any) -> str:
        """Of what a conversion that was interrupted has done so far, checks of pairs among it."""
        return f"{self.conversion(wildcards)['code']} {code_digest.of('checks')}"

    def enlargement(self, wildcards: Any) -> dict[str, Any]:
        """Of LR at the size of HR."""
        return {"scale": self._study.data[wildcards.data].scale, "code": code_digest.of("enlargement")}

    def task(self, wildcards: Any) -> Task:
        """What a phase has to do."""
        return self._layout.run(wildcards).plan.task(int(wildcards.phase), int(wildcards.seed))

    def settings(self, wildcards: Any) -> dict[str, Any]:
        """The settings of training, for its script."""
        task = self.task(wildcards)
        names = ("device", "precision", "layout", "compile", "deterministic")
        keys = ("keep", "history_every", "validate_every")
        return {
            **{name: getattr(self._study, name) for name in names},
            **{key: getattr(self._study.training, key) for key in keys},
            "source": code_digest.of("training", *_networks(task), entries=_entries(task)),
        }

    def training(self, wildcards: Any) -> dict[str, Any]:
        """Of a phase's weights, history and record."""
        task, settings = self.task(wildcards), self.settings(wildcards)
        del settings["history_every"]
        code = {"training": settings.pop("source")}
        looks = {}
        if settings["keep"] == "best" or any(stage.schedule.get("kind") == "plateau" for stage in task.stages):
            # What is seen of the validation images decides, so how they are looked at counts.
            code["validation"] = code_digest.of("validation")
            looks = {"memory_gib": self._study.inference.memory_gib}
        else:
            del settings["validate_every"]
        files = {file: self._digest(Path(file)) for file in task.files}
        return {"task": asdict(task), "settings": settings, **looks, "files": files, "code": code}

    def generation(self, wildcards: Any) -> dict[str, Any]:
        """Of a cached set LR_k."""
        networks = self._chain(wildcards)
        return {
            "blocks": self._layout.set_blocks(wildcards),
            "cache": self._study.inference.cache,
            "memory_gib": self._study.inference.memory_gib,  # tiles change what is pooled over the image
            "code": code_digest.of("generation", *networks),
        }

    def evaluation(self, wildcards: Any) -> dict[str, Any]:
        """Of a phase's measurements and pictures."""
        run = self._layout.run(wildcards)
        return {
            "first": run.plan.phase(int(wildcards.phase)).first,
            "last": run.plan.phase(int(wildcards.phase)).last,
            **self._measured(wildcards),
            "code": code_digest.of("evaluation", *self._chain(wildcards), entries=self._measures),
        }

    def _measured(self, wildcards: Any) -> dict[str, Any]:
        """How pictures are made and measured."""
        measures = self._study.evaluation.measures
        return {
            "border": self._study.border(self._layout.run(wildcards)),
            "memory_gib": self._study.inference.memory_gib,
            **({"measures": list(measures)} if measures else {}),
        }

    @property
    def _measures(self) -> frozenset[tuple[str, str]]:
        return frozenset(("measure", name) for name in self._study.evaluation.measures)

    def apart(self, wildcards: Any) -> dict[str, Any]:
        """Of a network taken apart after a joint phase."""
        return {
            "last": self._layout.run(wildcards).plan.phase(int(wildcards.phase)).last,
            "images": self._study.report.images,
            **self._measured(wildcards),
            "code": code_digest.of("apart", *self._chain(wildcards), entries=self._measures),
        }

    def by_block(self, wildcards: Any) -> dict[str, Any]:
        """Of the table and the strips of a run's networks taken apart."""
        return {
            "of": self._layout.joint_phases(wildcards.run),
            "border": self._study.border(self._layout.run(wildcards)),
            "images": self._study.report.images,
            "zoom": self._study.report.zoom,
            "code": code_digest.of("by_block"),
        }

    def table(self, wildcards: Any) -> dict[str, Any]:
        """Of a run's tables."""
        return {
            "of": self._layout.seeds_and_phases(wildcards.run),
            "border": self._study.border(self._layout.run(wildcards)),
            "titles": self.titles(wildcards),
            "generated": self._layout.generated(wildcards),
            "shared": self._layout.shared_with(wildcards.run),
            "sets": self._layout.sets(wildcards),
            "code": code_digest.of("table"),
        }

    def titles(self, wildcards: Any) -> dict[int, str]:
        """The network as it stands after each phase, as the study writes it."""
        plan = self._layout.run(wildcards).plan
        return {phase: plan.title(phase) for phase in plan.numbers}

    def figures(self, wildcards: Any) -> dict[str, Any]:
        """Of a run's figures and strips."""
        report = self._study.report
        return {
            "of": self._layout.seeds_and_phases(wildcards.run),
            "titles": self.titles(wildcards),
            "images": report.images,
            "zoom": report.zoom,
            "code": code_digest.of("figures"),
        }

    def page(self, wildcards: Any) -> dict[str, Any]:
        """Of the page of a run."""
        return {
            "of": self._layout.seeds_and_phases(wildcards.run),
            "border": self._study.border(self._layout.run(wildcards)),
            "titles": self.titles(wildcards),
            "plan": self.plan(wildcards.run),
            "zoom": self._study.report.zoom,
            "code": [code_digest.of("page"), code_digest.of_files(*_PAGE_FILES)],
        }

    def study_page(self, _: Any) -> dict[str, Any]:
        """Of the page of a study."""
        return {
            "of": {run: self._layout.seeds_and_phases(run) for run in self._study.runs},
            "plans": {run: self.plan(run) for run in self._study.runs},
            "baseline": self._study.baseline,
            "pairs": self._study.pairs,
            "zoom": self._study.report.zoom,
            "code": [code_digest.of("study_page"), code_digest.of_files(*_PAGE_FILES)],
        }

    def plan(self, run: str) -> dict[str, Any]:
        """The plan of a run, as its picture shows it."""
        return describe(self._study.runs[run].plan)

    def residuals(self, wildcards: Any) -> dict[str, Any]:
        """Of the maps of a run's residuals."""
        return {
            "of": self._layout.seeds_and_phases(wildcards.run),
            "images": self._study.report.images,
            "zoom": self._study.report.zoom,
            "code": code_digest.of("residuals"),
        }

    def tensorboard(self, wildcards: Any) -> dict[str, Any]:
        """Of a run's histories as TensorBoard reads them."""
        return {"of": self._layout.seeds_and_phases(wildcards.run), "code": code_digest.of("tensorboard")}

    def upscaling(self, wildcards: Any) -> dict[str, Any]:
        """Of the pictures that a run's network is tried on."""
        upscale, plan = self._study.upscale, self._layout.run(wildcards).plan
        return {
            "of": (self._study.seeds[0], len(plan.phases)),
            "images": self._pictures(),
            "ensemble": upscale.ensemble,
            "format": upscale.format,
            "memory_gib": self._study.inference.memory_gib,
            "code": code_digest.of("upscaling", *(block.network for block in plan.blocks)),
        }

    def _pictures(self) -> str:
        """A digest of the pictures to upscale: their names and what they hold."""
        folder = self._study.upscale.images
        assert folder is not None
        found = hashlib.blake2b(digest_size=16)
        for file in in_folder(folder, Path(self._study.results))[0]:
            found.update(f"{file.relative_to(folder)} {self._digest(file)} ".encode(errors="surrogateescape"))
        return found.hexdigest()

    def comparison(self, _: Any) -> dict[str, Any]:
        """Of the comparison of a study's runs."""
        return {
            "of": {run: self._layout.seeds_and_phases(run) for run in self._study.runs},
            "baseline": self._study.baseline,
            "pairs": self._study.pairs,
            "code": code_digest.of("comparison"),
        }

    def losses(self, _: Any) -> dict[str, Any]:
        """Of the table and the figures of training losses."""
        reference = self._study.report.reference_losses
        return {
            "of": {run: self._layout.seeds_and_phases(run) for run in self._study.runs},
            "groups": self._study.loss_figures,
            "reference": reference and self._digest(Path(reference)),
            "code": code_digest.of("losses"),
        }

    def budget(self, _: Any) -> dict[str, Any]:
        """Of the table of sizes and work."""
        runs = self._study.runs
        blocks: Mapping[str, Any] = {run: [asdict(block) for block in runs[run].plan.blocks] for run in runs}
        return {
            "of": {run: self._layout.seeds_and_phases(run) for run in runs},
            "blocks": blocks,
            "limit": self._study.report.budget_gflops,
            "code": code_digest.of("budget", *(block.network for run in runs.values() for block in run.plan.blocks)),
        }

    def _chain(self, wildcards: Any) -> list[str]:
        return _networks(self.task(wildcards))


def _entries(task: Task) -> frozenset[tuple[str, str]]:
    """What a phase uses of the tables of losses, optimisers, schedules and ways to start, and of a stage's keys."""
    used = {("start", start) for start in task.starts if isinstance(start, str) and not is_file(start)}
    for stage in task.stages:
        used |= {("loss", term) for term in stage.loss} | {("optimiser", stage.optimiser)}
        used |= {("schedule", stage.schedule["kind"])} if stage.schedule else set()
        used |= {("stage", key) for key in ("ema", "warmup", "intermediate") if getattr(stage, key)}
    return frozenset(used)


def _networks(task: Task) -> list[str]:
    return [block.network for block in task.blocks]
