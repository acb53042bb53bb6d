"""What a job of the workflow does around the one function that makes its result."""

import json
import logging
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from multiblock import __version__
from multiblock import config as configuration
from multiblock.config import Study
from multiblock.errors import UserError
from multiblock.files import check_expected, digest_of, expecting, read_json, write_text
from multiblock.model.metadata import digest_of_result
from multiblock.networks import registry
from multiblock.pace import PARALLEL
from multiblock.workflow import making
from multiblock.workflow.process import hand_on, leave, logged
from multiblock.workflow.results import Of, Outside, Result, Results, digest_of_text
from multiblock.workflow.seconds import decided
from multiblock.workflow.store import Store

log = logging.getLogger(__name__)

_FORCED = "MULTIBLOCK_FORCED"
_ORDERS = "MULTIBLOCK_ORDERS"
"""Environment variables by which a workflow tells its jobs what they are to make, and which in any case."""

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


def is_forced(rule: str) -> bool:
    """Whether a user wants the jobs of a rule to work even if their results are up to date."""
    return not {"*", rule}.isdisjoint(json.loads(os.environ.get(_FORCED) or "[]"))


# A job


def make(snakemake: Any) -> None:
    """Make the result that a job is for, unless it is up to date; the process ends with it."""
    ordered = orders()
    address = Path(snakemake.output[0]).parent.name
    kind, of = ordered["results"][address]
    with logged(Path(snakemake.log[0]), label(Of(**of))):
        study = configuration.load(ordered["config"])
        study = decided(study, Store(Path(study.results)))
        result = Results(study, Outside(ordered["known"], _unknown)).of(kind, Of(**of))
        if result.address != address:
            raise UserError(f"{address}: what it was made of at the start is not what is here now; start again")
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
            with expecting(result.outside):
                _check_outside(result)
                getattr(making, result.kind)(job)
                _check_outside(result)
            store.note(result, made_by())
        store.show_result(result.address)


def _check_outside(result: Result) -> None:
    """See that files from elsewhere are those that a result is addressed by, before a job and after it.

    What is read in between and put back is found where it is read, by :func:`multiblock.files.check_expected`.

    Raises:
        UserError: one of them is another now.
    """
    for name in result.outside:
        kind, _, what = name.partition(" ")
        check_expected(name, registry.digest(what) if kind == "network" else digest_of_result(Path(what)))


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


def label(of: Of) -> str:
    """What lines on the terminal begin with where several jobs write there: run, seed, phase, and which LR_k."""
    return f"[{of}] " if os.environ.get(PARALLEL) and str(of) else ""
