"""What the workflow does before it plans its jobs, in five steps: read the config, look at the images, address every
result, look into the store, and open the terminal."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from logging import Logger
from pathlib import Path
from typing import Any, NamedTuple

from multiblock import config as configuration
from multiblock.config import Study
from multiblock.data.dataset import left_out
from multiblock.data.inspection import Inspection, digests, first_pairs, inspect
from multiblock.errors import UserError, make_streams_last, stop_in_one_line
from multiblock.files import Digests, write_text
from multiblock.inference.targets import check_sides, in_folder
from multiblock.model.metadata import digest_of_result
from multiblock.workflow import job, precision, seconds
from multiblock.workflow.call import Call, called_for, prefix_of, without_affixes
from multiblock.workflow.check import check_installed
from multiblock.workflow.overview import Overview, asked_for, makes_nothing, upto
from multiblock.workflow.process import hand_on
from multiblock.workflow.results import Read, Result, Results
from multiblock.workflow.seen import outside
from multiblock.workflow.store import Store, Verdict
from multiblock.workflow.terminal import FAILED, SUCCEEDED, Terminal
from multiblock.workflow.threads import threads_of_a_conversion, threads_of_a_job, wait_passively


class Given(NamedTuple):
    """What there is for jobs.

    Args:
        threads: CPU threads of one that trains or measures.
        converting: CPU threads of one that converts images.
        gpus: how many Snakemake was given; None where it was not told.
    """

    threads: int
    converting: int
    gpus: int | None = None


@dataclass(frozen=True)
class Started:
    """What the rules are made of.

    Args:
        asked: paths below the results folder that Snakemake was asked to make, each with the result shown there.
        prefix: what Snakemake puts before the paths of all rules, where they are a module's.
    """

    study: Study
    results: Results
    store: Store
    given: Given
    terminal: Terminal | None = None
    asked: Mapping[str, Result] = field(default_factory=dict)
    prefix: str = ""

    @property
    def folder(self) -> str:
        """The results folder, as rules name it."""
        return self.study.results.removeprefix(self.prefix)

    @cached_property
    def by_address(self) -> dict[str, Result]:
        """All results that the rules make, by address."""
        return {made.address: made for made in self.results.all()}

    def marks(self, results: Sequence[Result]) -> list[str]:
        """The files that say that results are whole."""
        addresses = dict.fromkeys(made.address for made in results)
        return [str(self.store.mark(address)).removeprefix(self.prefix) for address in addresses]

    def reads(self, address: str) -> list[str]:
        """The marks of the results that a job reads."""
        return self.marks([read.of for read in self.by_address[address].reads.values()])

    def upto(self, phase: int) -> list[str]:
        """The marks of every run's results up to a phase."""
        return self.marks(upto(self.results, phase))

    def gpus(self, address: str = "") -> int:
        """GPUs that a job asks for: one; a training one a process, capped at what Snakemake was given."""
        if self.study.device == "cpu" or self.given.gpus == 0:
            return 0
        wanted, of = 1, self.by_address[address].of if address else None
        if of and of.run and of.phase:
            wanted = self.study.runs[of.run].plan.phase(of.phase).gpus
        return wanted if self.given.gpus is None else min(wanted, self.given.gpus)

    def threads(self, address: str) -> int:
        """CPU threads of a training."""
        of = self.by_address[address].of
        assert of.run and of.phase
        return self.given.threads * self.study.runs[of.run].plan.phase(of.phase).gpus

    def table_of(self, address: str) -> str:
        """The table of the run that a result is of, as Markdown."""
        return str(self.store.path(Read(self.results.table(self.run_of(address)), "psnr_by_phase.md")))

    def run_of(self, address: str) -> str:
        """The run that a result is of."""
        return str(self.by_address[address].of.run)

    def begin(self) -> None:
        """To be called when Snakemake has set up all that it runs jobs with."""
        if self.terminal:
            self.terminal.watch_for_stops()

    def end(self, logger: Logger, logs: Sequence[str], succeeded: bool) -> None:
        """To be called at the end, with Snakemake's log and its files: the terminal says what came out."""
        if self.terminal:
            how = SUCCEEDED if succeeded else FAILED
            logger.info(f"The workflow has {how}.", extra={"multiblock": how, "logs": list(logs)})


def start(config: dict[str, Any], arguments: Sequence[str], workflow: Any) -> Started:
    """Look at everything that the rules are made of.

    Args:
        config: Snakemake's, which is filled in.
        arguments: Snakemake's command line.
        workflow: Snakemake's; its main process is the one that a user called, others run jobs for it.

    Raises:
        UserError: what is wrong with the configuration, an image, or the folder of results.
    """
    make_streams_last()
    wait_passively()
    main = workflow.is_main_process
    call = without_affixes(called_for(arguments), workflow) if main else Call(looks=True)
    study = _read(config, call, workflow)
    store = Store(Path(study.results))
    remembered = Digests(store.root / "digests.json", digest_of_result)
    images = {} if call.looks else _look_at_images(study, call, Inspection(remembered))
    given, prefix = _given(study, workflow), prefix_of(workflow)
    study = _decide(study, store, call, given, workflow)
    results = _address(study, store, remembered, call)
    if not main:
        return Started(study, results, store, given, prefix=prefix)
    asked = _asked((*call.targets, *call.forced), store.results, results)
    if call.looks:
        return Started(study, results, store, given, _open_terminal(workflow, None), asked, prefix)
    verdicts, before = _settle(study, results, store, call)
    if call.plans:
        _look_at_pairs(results, verdicts, Inspection(remembered))
    with suppress(OSError):  # what was learnt; a plan of results that are for reading only does without
        remembered.save()
    rules = [made for target in call.targets or ("all",) for made in asked_for(results, target)]
    files = _asked(call.targets, store.results, results)
    if call.plans:
        _say_what_is_not_planned(files, store, verdicts)
    plan = Overview(
        study=study,
        results=results,
        store=store,
        images=images,
        verdicts=verdicts,
        before=before,
        asked=[*rules, *files.values()],
        forced=call.forced,
    )
    terminal = _open_terminal(workflow, plan)
    if call.works:
        several, cores = len(study.runs) * len(study.seeds) > 1, workflow.resource_settings.cores or 1
        parallel = several and (terminal is not None or (given.threads < cores and given.gpus != 1))
        job.give_orders(config, results, store, call.forced, parallel, given)
    return Started(study, results, store, given, terminal, asked, prefix)


# 1. The config


def _read(config: dict[str, Any], call: Call, workflow: Any) -> Study:
    config.update(configuration.checked(config))
    study = configuration.load(config)
    check_installed(study)
    if workflow.is_main_process:
        stop_in_one_line()
        if call.works and workflow.resource_settings.cores == 0:  # Snakemake would wait for ever
            raise UserError("--cores: found 0; allowed are 1 or more, or all")
        _check_paths(workflow)
        _check_forced(call)
    return study


def _check_paths(workflow: Any) -> None:
    """Snakemake starts jobs by a command line in which it does not quote all paths.

    Raises:
        UserError: one of them has a space in it.
    """
    for what, path in (("Python", sys.executable), ("the project", workflow.basedir), ("the folder", os.getcwd())):
        if " " in str(path):
            raise UserError(
                f"{path}: {what} is under a path with a space, from which Snakemake cannot start jobs; move it, or "
                "go there by a link without one"
            )


def _check_forced(call: Call) -> None:
    """See that what is to run again in any case does something.

    Raises:
        UserError: it is a rule that only asks for what others make.
    """
    for name in call.forced:
        if makes_nothing(name):
            raise UserError(
                f"{name}: is forced, but makes nothing itself, it only asks for what other rules make; name those, as "
                "phase2_1, which trains phase 2, or give --forceall"
            )


def _given(study: Study, workflow: Any) -> Given:
    """Threads and GPUs of jobs. On the node of a cluster they are what the Snakemake that a user started found."""
    if workflow.remote_exec:
        hand_on()
    if not workflow.is_main_process and (said := job.orders().get("given")):
        return Given(*said)
    named = workflow.global_resources.get("gpu")
    value = getattr(named, "value", named)  # Snakemake has an empty one for a resource that was not named
    cores, gpus = workflow.resource_settings.cores or 1, None if value is None else int(value)
    # On a cluster cores are those of a job, and GPUs are counted by the cluster.
    threads = threads_of_a_job(study.threads, cores, None if _jobs_are_elsewhere(workflow) else gpus)
    return Given(threads, threads_of_a_conversion(study.convert_threads, cores), gpus)


# 2. Images


def _look_at_images(study: Study, call: Call, inspection: Inspection) -> dict[str, dict[str, int]]:
    """Check all images before anything runs; how many each data set has, by split.

    Raises:
        UserError: an image that cannot be read, a pair that does not fit, pictures to upscale that are not there.
    """
    for line in (line for data in study.data.values() for line in left_out(data)):
        say(line)
    counts = {}
    for name, data in study.data.items():
        inspect(data, inspection, study.largest_patch(name))
        counts[name] = {split: len(found) for split, found in digests(data, inspection).items()}
    if study.upscale.images is None:
        if "upscale" in call.targets:
            raise UserError(
                "upscale.images: is missing; the folder of the pictures is needed there, as in "
                "--config 'upscale={images: photos}'"
            )
        return counts
    try:
        pictures, said = in_folder(study.upscale.images, Path(study.results))
        for line in said:
            say(line)
        scale = max(run.data.scale for run in study.runs.values())
        for file in pictures:
            height, width = inspection.size(file)
            check_sides(file, study.upscale.format, height * scale, width * scale)
    except UserError as error:
        raise UserError(f"upscale.images: {error}") from None
    inspection.close()
    return counts


def _look_at_pairs(results: Results, verdicts: Mapping[str, Verdict], inspection: Inspection) -> None:
    """Say what is doubtful of the first pairs that are still to be converted, which a conversion says of all."""
    for made in results.all():
        if made.kind == "convert" and made.of.data and not verdicts[made.address].made:
            for line in first_pairs(results.study.data[made.of.data], inspection):
                say(f"warning: {line}; multiblock check CONFIG shows all pairs")


# 3. Addresses


def _decide(study: Study, store: Store, call: Call, given: Given, workflow: Any) -> Study:
    """The study with what the machine decides, and what counts for addresses: number format, and iterations of runs
    that are sized by seconds."""
    elsewhere = _jobs_are_elsewhere(workflow)
    if not call.looks and not (call.plans and not store.addresses()):  # else nothing could be up to date
        study, said = precision.decide(study, store, given.gpus, elsewhere, call.works)
        if said:
            say(said)
    if call.works:
        here = seconds.Here(given.threads, 0 if study.device == "cpu" or given.gpus == 0 else 1)
        return seconds.decide(study, store, here, elsewhere, say)
    study = seconds.decided(study, store)
    if call.plans and (runs := seconds.waiting(study)):
        say(
            f"iterations of {', '.join(runs)} are as they are written: the seconds that size them are measured when "
            "the workflow starts for good"
        )
    return study


def _address(study: Study, store: Store, remembered: Digests, call: Call) -> Results:
    """All results of the study. Jobs go by what the start found; a look, as for a report, by what is shown."""
    return Results(study, outside(study, store, remembered, job.orders().get("known", {}) if call.looks else {}))


# 4. The store


def _settle(
    study: Study, results: Results, store: Store, call: Call
) -> tuple[dict[str, Verdict], dict[str, dict[str, Any]]]:
    """Judge what there is, and let the paths of the study show it; the verdicts, and what the paths showed before."""
    shown = results.shown()
    before = {path: store.noted(address) for path, (address, _) in store.shown().items() if path in shown}
    forced = [result.address for result in _asked(call.forced, store.results, results).values()]
    for address in forced if call.works else ():
        store.ask_again(address)
    verdicts = store.settle(results.all(), say, forced, call.plans)
    _compare_versions(store, results)
    if call.works:
        store.show(shown, study.runs)
        for run in study.runs.values():  # for whoever finds the folder without a config
            write_text(
                store.results / run.name / "run.json",
                json.dumps({"phases": len(run.plan.phases), "seeds": list(study.seeds)}) + "\n",
            )
    return verdicts, before


def _asked(names: Sequence[str], folder: Path, results: Results) -> dict[str, Result]:
    """The paths below the results folder among names of rules and files, each with the result that is shown there."""
    shown = results.shown() if names else {}
    found = {}
    for name in names:
        path = Path(os.path.relpath(name, folder))
        for place in (path, *path.parents):
            if str(place) in shown:
                found[str(path)] = shown[str(place)].of
    return found


def _say_what_is_not_planned(files: Mapping[str, Result], store: Store, verdicts: Mapping[str, Verdict]) -> None:
    """Say which files of a dry run show an earlier result: Snakemake does not look behind them."""
    for path, made in files.items():
        if not verdicts[made.address].made and (store.results / path).exists():
            say(
                f"{store.results / path}: shows an earlier result, and Snakemake does not plan what is there; a start "
                "without -n makes it again, and so does -n of a rule, as phase2 or all"
            )


def _compare_versions(store: Store, results: Results) -> None:
    """Say, once, where results were made with other versions of what computes; they are kept."""
    from importlib.metadata import version

    for package in ("torch", "numpy"):
        now = version(package)
        made = {store.made(result.address).get("by", {}).get(package, now) for result in results.all()}
        for before in sorted(made - {now}):
            say(f"there are results that were made with {package} {before}; {now} is here; they are kept as they are")


# 5. The terminal


def _open_terminal(workflow: Any, plan: Overview | None) -> Terminal | None:
    """Take over what Snakemake logs, where the project's profile has chosen our handler (and --verbose has not).

    Args:
        plan: what there is to do; None where Snakemake only looks at what is there, and says so itself.
    """
    plugin = sys.modules.get("snakemake_logger_plugin_multiblock")
    handler = plugin.LogHandler.current if plugin else None
    if handler is None or handler.common_settings.verbose:
        return None
    if plan is None:
        handler.hand_to(None)
        return None
    terminal = Terminal(handler, plan, _jobs_are_elsewhere(workflow))
    handler.hand_to(terminal.emit, terminal.close)
    terminal.watch_for_stops()
    return terminal


def _jobs_are_elsewhere(workflow: Any) -> bool:
    """Whether Snakemake hands its jobs to others, as to a cluster, and limits their number in place of cores."""
    return workflow.resource_settings.nodes is not None


def say(text: str) -> None:
    """A line of the workflow on the terminal."""
    print(f"multiblock: {text}", file=sys.stderr)
