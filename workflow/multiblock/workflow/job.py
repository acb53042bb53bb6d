"""What a job of the workflow does around the one function that makes its result."""

import json
import logging
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from multiblock import __version__
from multiblock import config as configuration
from multiblock.config import Study
from multiblock.errors import UserError, one_line
from multiblock.files import digest_of, read_json, write_text
from multiblock.model.metadata import digest_of_result
from multiblock.networks import registry
from multiblock.networks.own import no_exit
from multiblock.pace import PARALLEL
from multiblock.training.signals import end_with
from multiblock.workflow import making
from multiblock.workflow.results import Of, Outside, Result, Results, digest_of_text
from multiblock.workflow.running import Reports, reports
from multiblock.workflow.store import Store

log = logging.getLogger(__name__)

_WORKFLOW = "MULTIBLOCK_WORKFLOW"
_FORCED = "MULTIBLOCK_FORCED"
_ORDERS = "MULTIBLOCK_ORDERS"
"""Environment variables by which a workflow tells its jobs who started them and what they are to make of what."""

_NUMBERS = Path("/proc/self/ns/pid")
"""What process numbers are about: in some containers they are others."""


# From the Snakemake that a user started to its jobs


def give_orders(
    config: Mapping[str, Any], results: Results, store: Store, forced: Iterable[str], parallel: bool, given: Any
) -> None:
    """Say to the jobs of this workflow what they make, in a file that other machines see too.

    A job begins later, when the config's files may have been edited; it goes by what was there at the start.

    Args:
        config: the whole configuration.
        forced: rules whose jobs work even if their result is up to date; ``*`` for all.
        parallel: whether several jobs may train at once, so that each line has to say whose it is.
        given: threads and GPUs, for a Snakemake on another machine.
    """
    keys = {made.address: [made.kind, asdict(made.of)] for made in results.all()}
    orders = {"config": config, "known": results.outside.known, "results": keys, "given": given}
    text = json.dumps(orders)
    file = store.root / "orders" / f"{digest_of_text(text)}.json"
    if not file.exists():
        write_text(file, text)
    hand_on()
    os.environ[_ORDERS] = str(file.resolve())
    os.environ[_FORCED] = json.dumps([*forced])
    os.environ[PARALLEL] = "yes" if parallel else ""


def orders() -> dict[str, Any]:
    """What :func:`give_orders` said; empty in a process that no workflow started."""
    return read_json(Path(os.environ.get(_ORDERS, os.devnull)))


def hand_on() -> None:
    """To be called by a Snakemake that runs one job for another, as on the node of a cluster, too.

    The job will end when this one does: the process number of the first one means nothing on another machine.
    """
    os.environ[_WORKFLOW] = f"{os.getpid()} {_numbers()}"


def is_forced(rule: str) -> bool:
    """Whether a user wants the jobs of a rule to work even if their results are up to date."""
    return not {"*", rule}.isdisjoint(json.loads(os.environ.get(_FORCED) or "[]"))


# A job


def make(snakemake: Any) -> None:
    """Make the result that a job is for, unless it is up to date; the process ends with it."""
    ordered = orders()
    address = f"{snakemake.rule}-{snakemake.wildcards.digest}"
    kind, of = ordered["results"][address]
    with logged(Path(snakemake.log[0]), label(Of(**of))):
        study = configuration.load(ordered["config"])
        result = Results(study, Outside(ordered["known"], _unknown)).of(kind, Of(**of))
        trainings = [address for address, (kind, _) in ordered["results"].items() if kind == "train"]
        _make(result, study, trainings, snakemake)
    leave()


def _unknown(name: str) -> str:
    raise UserError(f"{name}: was not there when the workflow was started; start again")


def _make(result: Result, study: Study, trainings: Iterable[str], snakemake: Any) -> None:
    store = Store(Path(study.results))
    with store.held(result.address, log.info):
        if is_forced(result.rule):
            store.ask_again(result.address)
        if store.verdict(result).made:
            log.info("is up to date: it was made of the same")
            store.refresh(result.address)
        else:
            store.unmake(result.address)
            store.check(result)
            _check_outside(result)
            job = making.Job(
                result=result,
                study=study,
                store=store,
                trainings=tuple(trainings),
                threads=snakemake.threads,
                gpus=snakemake.resources.get("gpu", 0),
                log=Path(snakemake.log[0]),
                label=label(result.of),
            )
            getattr(making, result.kind)(job)
            _check_outside(result)
            store.note(result, made_by())
        store.show_result(result.address)


def _check_outside(result: Result) -> None:
    """See, before a job reads files from elsewhere and after it, that they are those that its result is addressed by.

    Raises:
        UserError: one of them is another now.
    """
    for name, digest in result.outside.items():
        kind, _, what = name.partition(" ")
        now = registry.digest(what) if kind == "network" else digest_of_result(Path(what))
        if now != digest:
            raise UserError(f"{what}: was changed while the workflow was at work; start again, to go by what it is now")


def made_by() -> dict[str, Any]:
    """What made a result: versions of what computes, as far as this job has used it, and the program's own code."""
    # Not what a module says of itself: some builds of torch name their CUDA there alone, and a start compares these.
    used = [name for name in ("torch", "numpy") if name in sys.modules]
    return {
        "multiblock": __version__,
        "code": code_of_package(),
        "python": platform.python_version(),
        **{name: version(name) for name in used},
    }


def code_of_package() -> str:
    """A digest of all files of this package."""
    package = Path(__file__).parents[1]
    files = sorted(file for file in package.rglob("*") if file.suffix in (".py", ".j2", ".js", ".css"))
    return digest_of_text("\n".join(f"{file.relative_to(package)} {digest_of(file)}" for file in files))


def leave() -> None:
    """End this process without taking its modules apart, which takes PyTorch 0.4 s a job; all files are closed."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


# What a job logs


def label(of: Of) -> str:
    """What lines on the terminal begin with where several jobs write there: run, seed, phase, and which LR_k."""
    return f"[{of}] " if os.environ.get(PARALLEL) and str(of) else ""


@contextmanager
def logged(file: Path, label: str = "") -> Iterator[None]:
    """Log to the terminal and to ``file``, and end on wrong input with one line and exit status 1.

    The job asks itself to stop (SIGTERM) when the Snakemake that started it is gone.

    Args:
        label: what each line on the terminal begins with.
    """
    log, listener = logging.getLogger("multiblock"), reports(file, label)
    try:
        open_log(file, label, listener)
        _end_with_workflow()
        with no_exit():
            yield
    except (UserError, OSError) as error:
        log.error("multiblock: error: %s", one_line(error))
        if listener:
            listener.ended("error")
        sys.exit(1)
    except KeyboardInterrupt:
        log.warning("stopped; the same command goes on")
        if listener:
            listener.ended("stop")
        sys.exit(130)


def open_log(file: Path, label: str, listener: Reports | None) -> None:
    """Log to ``file`` from now on, and to the workflow, which shows what a person should see; without it, to stderr."""
    logging.raiseExceptions = False  # a log file on a full disk is not worth a traceback
    log = logging.getLogger("multiblock")
    log.setLevel(logging.DEBUG if listener else logging.INFO)
    to_file = logging.FileHandler(file, encoding="utf-8")
    to_file.setLevel(logging.INFO)
    log.handlers = [listener or logging.StreamHandler(), to_file]
    log.handlers[0].setFormatter(logging.Formatter(f"{label.replace('%', '%%')}%(message)s"))


def _numbers() -> str:
    try:
        return os.readlink(_NUMBERS)
    except OSError:
        return "unknown"


def _end_with_workflow() -> None:
    """End when the Snakemake that started this job does, or now if it is gone already."""
    process, _, numbers = os.environ.get(_WORKFLOW, "").partition(" ")
    if not process or numbers != _numbers():
        return
    if (ancestors := _ancestors()) and int(process) not in ancestors:
        raise UserError("the Snakemake that started this job is gone")
    end_with(int(process))


def _ancestors() -> list[int]:
    """The processes above this one; nothing where the system does not tell."""
    found, process = [], os.getppid()
    while process > 0:
        found.append(process)
        try:
            status = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return []
        process = int(status.rpartition(")")[2].split()[1])
    return found
