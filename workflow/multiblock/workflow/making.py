"""How each kind of result is made: one function a kind, which reads and writes what the job names and nothing else.

PyTorch is imported by the functions that compute with it, and not by those that draw and write.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiblock.config import Run, Study
from multiblock.errors import UserError
from multiblock.files import write_text
from multiblock.workflow.results import Result
from multiblock.workflow.store import WORKING, Store

if TYPE_CHECKING:
    from multiblock.runtime.device import Device


@dataclass(frozen=True, kw_only=True)
class Job:
    """One result that is to be made.

    Args:
        trainings: the addresses of all phases of all runs.
        threads, gpus: what Snakemake gave the job.
        log: its log file.
        label: what its lines on the terminal begin with.
    """

    result: Result
    study: Study
    store: Store
    trainings: tuple[str, ...]
    threads: int
    gpus: int
    log: Path
    label: str = ""

    @property
    def out(self) -> Path:
        """The folder that the result is written into."""
        return self.store.folder(self.result.address)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that count."""
        return dict(self.result.settings)

    @property
    def run(self) -> Run:
        """The run that the result is of."""
        assert self.result.of.run is not None
        return self.study.runs[self.result.of.run]

    def read(self, role: str) -> Path:
        """The file or folder that is read under this name."""
        return self.store.path(self.result.reads[role])

    def make(self, number: int = 0) -> Path:
        """The file or folder of that number of those that the result consists of."""
        return self.out / self.result.makes[number]

    def phases(self, name: str, run: str = "") -> dict[tuple[int, int], Path]:
        """The file or folder of that name of each (seed, phase), of one run where several are read."""
        pattern = re.compile(rf"{re.escape(run + '/' if run else '')}seed(\d+)/phase(\d+)/{re.escape(name)}")
        found = ((pattern.fullmatch(role), role) for role in self.result.reads)
        return {(int(match[1]), int(match[2])): self.read(role) for match, role in found if match}

    def of_fold(self, tested: bool) -> list[str] | None:
        """With folds, the images that a network is tested on, or those that it is trained on; else None, for all."""
        from multiblock.data import folds

        if "fold" not in self.settings:
            return None
        found = folds.read(self.read("folds")).items()
        return [name for name, fold in found if (fold == self.settings["fold"]) == tested]

    def tested(self, role: str, run: str = "") -> Path:
        """The set of test images in the folder that is read under this name; with folds it is the training images."""
        data = self.study.runs[run].data if run else self.run.data
        return self.read(role) / f"{'train' if data.folds else 'test'}.npy"

    @property
    def weights(self) -> dict[int, Path]:
        """The weights files that are read, by the number of their phase."""
        found = ((re.fullmatch(r"phase(\d+)/weights\.safetensors", role), role) for role in self.result.reads)
        return {int(match[1]): self.read(role) for match, role in found if match}

    @property
    def code(self) -> list[Path]:
        """The Python files that the config names as blocks: their code may run where weights name them."""
        blocks = (block.network for run in self.study.runs.values() for block in run.plan.blocks)
        return [Path(network) for network in dict.fromkeys(blocks) if network.endswith(".py")]

    @property
    def device(self) -> "Device":
        """The device that the config and the job's resources lead to."""
        from multiblock.runtime.device import choose

        study = self.study
        return choose(study.device, study.precision, self.gpus, self.threads, study.precision_reason)

    def on_images(self) -> dict[str, Any]:
        """How whole images go through a network, for the functions that do that."""
        memory = self.study.inference.memory_gib
        return {"device": self.device.device, "memory_gib": memory, "trusted": self.code}


def convert(job: Job) -> None:
    """Images to arrays."""
    from multiblock.data.convert import convert

    data = job.study.data[str(job.result.of.data)]
    found = convert(
        data, hr=job.make(0), lr=job.make(1), threads=job.threads, code=_code(job), parts=_parts(job, data.name)
    )
    if found != job.settings["images"]:
        raise UserError(
            f"data {data.name}: its images were changed while the workflow was at work; start again, so that the "
            "arrays are known by the images that they were made of"
        )


def _parts(job: Job, data: str) -> Path:
    """Where image sets are kept that are not whole: whatever is changed in a data set, what is the same is kept."""
    return job.store.root / "parts" / f"{data}-{job.result.rule}"


def _code(job: Job) -> str:
    return f"version {job.result.made_of['version']}"


def enlarge(job: Job) -> None:
    """LR at the size of HR."""
    from multiblock.data.convert import enlarge

    scale, parts = job.settings["scale"], _parts(job, str(job.result.of.data))
    enlarge(job.read("LR"), job.make(), scale, threads=job.threads, code=_code(job), parts=parts)


def folds(job: Job) -> None:
    """The fold of each training image."""
    from multiblock.data import folds
    from multiblock.data.imageset import ImageSet

    folds.write(ImageSet(job.read("HR") / "train.npy"), job.settings["folds"], job.settings["family"], job.make())


def train(job: Job) -> None:
    """The training of a phase."""
    from multiblock.training.progress import process_start
    from multiblock.training.record import check_phases
    from multiblock.training.trainer import Settings
    from multiblock.workflow import ranks
    from multiblock.workflow.check import check_once

    study, of = job.study, job.result.of
    assert of.phase is not None and of.seed is not None
    check_once(study, job.trainings, job.store.root / "checked.txt")  # all phases, before the first is trained
    if study.training.below_input == "stop":
        check_phases(job.weights.values())
    names = ("device", "precision", "layout", "compile", "deterministic")
    watched = ("keep", "history_every", "validate_every")
    ranks.train(
        job,
        asked=job.run.plan.phase(of.phase).gpus,
        task=job.run.plan.task(of.phase, of.seed),
        settings=Settings(
            **{name: getattr(study, name) for name in names},
            **{name: getattr(study.training, name) for name in watched},
        ),
        inputs=job.read("input"),
        targets=job.read("HR"),
        lr=job.read("LR"),
        only=job.of_fold(tested=False),
        anew=job.run.anew(of.phase),
        weights=job.weights,
        out=job.out,
        working=job.out / WORKING,
        checkpoint_seconds=study.training.checkpoint_seconds,
        memory_gib=study.inference.memory_gib,
        about=job.run.provenance(of.phase, of.seed),
        begun=process_start(),
    )


def generate(job: Job) -> None:
    """A cached set LR_k."""
    from multiblock.inference.cache import generate
    from multiblock.inference.timing import noted
    from multiblock.training.record import check_phases

    files = job.weights
    if job.study.training.below_input == "stop":
        check_phases(files.values())
    with noted(job.make(1)):
        generate(
            files={block: files[phase] for block, phase in job.settings["blocks"].items()},
            inputs=job.read("input"),
            out=job.make(),
            cache=job.settings["cache"],
            **job.on_images(),
        )


def evaluate(job: Job) -> None:
    """Measurements and pictures of the test images after a phase."""
    from multiblock.inference.evaluation import evaluate

    assert job.result.of.phase is not None
    evaluate(
        phase=job.result.of.phase,
        **{key: job.settings[key] for key in ("first", "last", "border", "measures")},
        weights=job.weights[job.result.of.phase],
        lr=job.tested("LR"),
        cached=job.tested("input"),
        hr=job.tested("HR"),
        only=job.of_fold(tested=True),
        table=job.make(0),
        pictures=job.make(1),
        **job.on_images(),
    )


def take_apart(job: Job) -> None:
    """The same block by block, before a joint phase and after it."""
    from multiblock.inference.evaluation import take_apart

    take_apart(
        networks=dict(zip(("before", "after")[-len(job.weights) :], job.weights.values(), strict=True)),
        last=job.settings["last"],
        border=job.settings["border"],
        measures=job.settings["measures"],
        count=job.settings["images"],
        lr=job.tested("LR"),
        hr=job.tested("HR"),
        only=job.of_fold(tested=True),
        table=job.make(0),
        pictures=job.make(1),
        **job.on_images(),
    )


def upscale(job: Job) -> None:
    """A user's own pictures, through the network that a run ends with."""
    from multiblock import network
    from multiblock.files import digest_of
    from multiblock.inference.folder import upscale_folder
    from multiblock.inference.targets import in_folder, noted
    from multiblock.workflow.seen import of_pictures

    (weights,) = job.weights.values()
    loaded = network.load(weights, job.device.device, job.code)
    settings, images = job.settings, job.study.upscale.images
    assert images is not None
    upscale_folder(
        loaded.upscaler(ensemble=settings["ensemble"], memory_gib=settings["memory_gib"]),
        images=images,
        table=job.make() / "pictures.csv",
        form=settings["format"],
        results=Path(job.study.results),
        about=str(loaded.about),
        # Each result is noted with the digest of its own picture.
        made_of={**settings, "pictures": None, "weights": digest_of(weights), "version": _code(job)},
        earlier=[one / "upscaled" for one in sorted(job.store.root.glob("upscale_pictures-*")) if one != job.out],
    )
    now = {picture: digest_of(picture) for picture in in_folder(images, Path(job.study.results))[0]}
    read = {note["picture"] for note in noted(job.make())[1]}
    if read != set(now.values()) or of_pictures(images, now, now.__getitem__) != settings["pictures"]:
        raise UserError(f"{images}: its pictures were changed while the workflow was at work; start again")


def _training_files(job: Job, run: str = "") -> dict[tuple[int, int], Any]:
    """History and record of each phase."""
    from multiblock.report.phases import TrainingFiles

    histories, records = job.phases("history.csv", run), job.phases("training.json", run)
    return {key: TrainingFiles(history=histories[key], training=records[key]) for key in histories}


def _phase_files(job: Job, run: str = "") -> dict[tuple[int, int], Any]:
    """All files of each phase that a page shows."""
    from multiblock.report.phases import PhaseFiles

    names = {"history": "history.csv", "training": "training.json", "measured": "psnr.csv", "pictures": "images"}
    found = {name: job.phases(file, run) for name, file in names.items()}
    return {key: PhaseFiles(**{name: found[name][key] for name in names}) for key in found["history"]}


def table(job: Job) -> None:
    """PSNR by phase, means over the test images."""
    from multiblock.data.imageset import splits_in
    from multiblock.report.phases import pixels
    from multiblock.report.tables import as_markdown, psnr_by_phase, write

    settings = job.settings
    sets: dict[tuple[int, int], list[Path]] = {}
    for role in job.result.reads:
        if match := re.fullmatch(r"seed(\d+)/phase(\d+)/LR_\d+\.json", role):
            sets.setdefault((int(match[1]), int(match[2])), []).append(job.read(role))
    found = psnr_by_phase(
        measured=job.phases("psnr.csv"),
        trained=job.phases("training.json"),
        generated=settings["generated"],
        pixels=pixels(job.read("HR") / f"{split}.csv" for split in splits_in(job.read("HR"))),
        shared=settings["shared"],
        generation=sets,
    )
    write(found, ["seed", "phase"], job.make(0), job.make(1))
    write_text(job.make(2), as_markdown(found, settings["run"], settings["border"], settings["titles"]))


def _strips(job: Job) -> dict[str, Any]:
    """What strips of pictures show."""
    return {
        "lr": job.tested("LR"),
        "hr": job.tested("HR"),
        "count": job.settings["images"],
        "zoom": job.settings["zoom"],
    }


def figures(job: Job) -> None:
    """PSNR by phase, learning curves, and strips of pictures."""
    from multiblock.report import figures
    from multiblock.report.strips import strips
    from multiblock.report.tables import read

    figures.psnr_by_phase(read(job.read("psnr_by_phase.csv"), job.read("times.csv")), job.make(0))
    figures.learning_curves(_training_files(job), job.make(1))
    measured, pictures = job.phases("psnr.csv"), job.phases("images")
    strips(pictures=pictures, measured=measured, titles=job.settings["titles"], out=job.make(2), **_strips(job))


def page(job: Job) -> None:
    """The page of a run."""
    from multiblock.page.pages import run_page

    settings, phases = job.settings, _phase_files(job)
    links = {"tables": ["psnr_by_phase.csv", "times.csv"]}
    for seed, phase in phases:
        links[f"seed {seed}, phase {phase}"] = [
            f"seed{seed}/phase{phase}/{name}" for name in ("psnr.csv", "history.csv")
        ]
    run_page(
        **{key: settings[key] for key in ("run", "border", "titles", "plan")},
        table=job.read("psnr_by_phase.csv"),
        times=job.read("times.csv"),
        phases=phases,
        lr=job.tested("LR"),
        hr=job.tested("HR"),
        side=settings["zoom"],
        links=links,
        out=job.make(0),
        small=job.make(1),
    )


def by_block(job: Job) -> None:
    """What each block does of networks that a phase has trained over several blocks."""
    from multiblock.report.blocks import as_markdown, by_block, strips

    found = by_block(job.phases("psnr_by_block.csv"))
    write_text(job.make(0), found.to_csv(index=False))
    write_text(job.make(1), as_markdown(found, job.settings["run"], job.settings["border"]))
    strips(found, pictures=job.phases("blocks"), out=job.make(2), **_strips(job))


def residuals(job: Job) -> None:
    """Where what HR has and a picture lacks changes from pixel to pixel."""
    from multiblock.report.strips import residuals

    found = residuals(pictures=job.phases("images"), out=job.make(1), **_strips(job))
    write_text(job.make(0), found.to_csv(index=False))


def tensorboard(job: Job) -> None:
    """The histories of a run as TensorBoard reads them."""
    from multiblock.report.curves import tensorboard

    tensorboard(job.phases("history.csv"), job.make())


def _last(job: Job, run: str) -> dict[int, Path]:
    """The measurements of the last phase of each seed."""
    found = job.phases("psnr.csv", run)
    last = max(phase for _, phase in found)
    return {seed: file for (seed, phase), file in found.items() if phase == last}


def compare(job: Job) -> None:
    """The runs of a study side by side."""
    from multiblock.report import figures
    from multiblock.report.comparison import comparison
    from multiblock.report.comparison_markdown import as_markdown
    from multiblock.report.curves import looks
    from multiblock.report.tables import read, write

    settings, runs = job.settings, list(job.settings["runs"])
    out = {name.removeprefix(f"{settings['study']}_"): job.out / name for name in job.result.makes}
    tables = {run: read(job.read(f"{run}/psnr_by_phase.csv"), job.read(f"{run}/times.csv")) for run in runs}
    trained = {run: _training_files(job, run) for run in runs}
    seen = looks(trained, tables)
    measured = {run: _last(job, run) for run in runs}
    found = comparison(
        tables, measured, seen, settings["baseline"], settings["pairs"], trained, settings.get("in_seconds")
    )
    write(found.runs, ["run"], out["comparison.csv"], out["times.csv"])
    write(seen, ["run", "seed", "phase", "iteration"], out["curves.csv"], out["curves_times.csv"])
    write_text(out["differences.csv"], found.differences.to_csv(index=False))
    write_text(out["comparison.md"], as_markdown(found))
    figures.differences(found, out["comparison.png"])
    figures.curves(seen, found, "block_pixels", out["curves.png"])
    figures.curves(seen, found, "seconds", out["curves_times.png"])


def study_page(job: Job) -> None:
    """The page of a study."""
    from multiblock.page.pages import RunFiles, study_page

    settings = job.settings
    study_page(
        study=settings["study"],
        runs={
            run: RunFiles(
                table=job.read(f"{run}/psnr_by_phase.csv"),
                times=job.read(f"{run}/times.csv"),
                phases=_phase_files(job, run),
                lr=job.tested(f"{run}/LR", run),
                hr=job.tested(f"{run}/HR", run),
                plan=settings["plans"][run],
                page=f"{run}/report.html",
            )
            for run in settings["runs"]
        },
        baseline=settings["baseline"],
        pairs=settings["pairs"],
        in_seconds=settings.get("in_seconds"),
        side=settings["zoom"],
        links=[role for role in job.result.reads if role.endswith(".csv") and "/" not in role],
        out=job.make(0),
        small=job.make(1),
    )


def losses(job: Job) -> None:
    """The training losses of all runs as one table, and figures of some of them side by side."""
    import pandas as pd

    from multiblock.report import figures
    from multiblock.report.curves import losses

    found = losses({run: _training_files(job, run) for run in job.settings["runs"]})
    write_text(job.make(0), found.to_csv(index=False))
    file = job.study.report.reference_losses
    reference = pd.read_csv(file) if file else None
    job.make(1).mkdir(parents=True, exist_ok=True)
    for name, runs in job.settings["groups"].items():
        figures.losses(found, runs, reference, job.make(1) / f"{name}.png")


def budget(job: Job) -> None:
    """Parameters, GFLOPs, PSNR an image and ranking score."""
    from multiblock.report.budget import budget, write

    settings = job.settings
    found = {
        run: budget(list(_last(job, run).values()), blocks, settings["limit"])
        for run, blocks in settings["blocks"].items()
    }
    write(found, job.make(0), job.make(1))
