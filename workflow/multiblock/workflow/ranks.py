"""A training in as many processes as the job was given GPUs: they are started here, watched, and ended together.

``python -m multiblock.workflow.ranks PARENT FOLDER RANK`` is one of them: it ends with the process PARENT; the folder
holds what is to be trained.
"""

import json
import logging
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiblock.errors import UserError
from multiblock.files import expecting, temporary_folder
from multiblock.networks.own import no_exit
from multiblock.plan import Task
from multiblock.training.signals import end_with
from multiblock.workflow import process
from multiblock.workflow.running import reports

if TYPE_CHECKING:
    from multiblock.runtime.device import Device
    from multiblock.training.ranks import Ranks

log = logging.getLogger(__name__)

_PATIENCE = 60
"""Seconds that processes have to end in good order: to finish an iteration and to write a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What each process of a training is told.

    Args:
        device: as configured.
        precision, reason: the number format, and why it is that one.
        gpus, threads: of the job.
        log, label: of the job's log: its file, and what each line on the terminal begins with.
        outside: files from elsewhere that are read, each with its digest.
        training: the arguments of :func:`multiblock.training.trainer.train`.
    """

    device: str
    precision: str
    reason: str = "configured"
    gpus: int
    threads: int
    log: Path
    label: str
    outside: Mapping[str, str] = field(default_factory=dict)
    training: dict[str, Any]


def train(job: Any, *, asked: int, **training: Any) -> None:
    """Train a phase, in one process for each GPU that the job was given.

    Without GPUs here the processes share the CPU's threads.

    Args:
        job: as :class:`multiblock.workflow.making.Job` has it.
        asked: the ``gpus`` of the phase.
        training: see :func:`multiblock.training.trainer.train`.

    Raises:
        UserError: see there; or there are fewer GPUs here than the job was given.
    """
    count = _count(training["task"], job.gpus, asked)
    if count == 1:
        from multiblock.training import trainer

        trainer.train(device=job.device, **training)
        return
    _check_gpus(job.study.device, count)
    order = Order(
        device=job.study.device,
        precision=job.study.precision,
        reason=job.study.precision_reason,
        gpus=count,
        threads=job.threads,
        log=job.log,
        label=job.label,
        outside=job.result.outside,
        training=training,
    )
    together(order)


def _count(task: Task, given: int, asked: int) -> int:
    """How many processes train a phase: one for each GPU that the job was given, each with a row of each batch."""
    if given < asked and asked > 1:
        log.warning("gpus: %d are asked for and the job was given %d, so the phase is trained on fewer", asked, given)
    smallest = min((stage.batch for stage in task.stages), default=1)
    if smallest < min(given, asked):
        log.warning("gpus: a batch of %d is shared by %d processes at most", smallest, smallest)
    return max(1, min(given, asked, smallest))


def _check_gpus(device: str, count: int) -> None:
    """See that there is a GPU for each process, or none at all.

    Raises:
        UserError: there are some, and too few.
    """
    import torch

    here = 0 if device == "cpu" else torch.cuda.device_count()
    if 0 < here < count:
        raise UserError(
            f"gpus: found {count}, and {here} GPU{'s' if here > 1 else ''} here; start Snakemake with --resources "
            f"gpu={here}, or ask for no more"
        )


def together(order: Order) -> None:
    """Start the processes, wait for them, and end as they do.

    Raises:
        UserError: wrong input, or a process that was killed.
        SystemExit: they were asked to stop, and did so in good order.
    """
    with temporary_folder() as folder:
        _together(order, folder)


def _together(order: Order, folder: Path) -> None:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std, start_processes

    (folder / "order").write_bytes(pickle.dumps(order))
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # how they end is said here
    ranks = range(order.gpus)
    # The first one writes to the terminal as a job does; what the others write is kept for the case of an error.
    quiet = {rank: Std.ALL for rank in ranks if rank}
    processes = start_processes(
        name="multiblock",
        entrypoint=sys.executable,
        args={rank: ("-m", __name__, os.getpid(), folder, rank) for rank in ranks},
        envs={rank: _environment() for rank in ranks},
        logs_specs=DefaultLogsSpecs(str(folder), redirects=quiet),
    )
    codes: dict[int, int] = {}
    try:
        ended = processes.wait(period=0.1)
        if not (ended and ended.is_failed()):
            return
        codes = {rank: failure.exitcode for rank, failure in ended.failures.items()}
    except SignalException as stop:
        processes.close(stop.sigval, _PATIENCE)
    _end(folder, order.gpus, codes)


def _environment() -> dict[str, str]:
    """What is set for the processes: they are all on this machine, whatever its name leads to."""
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if Path("/sys/class/net/lo").exists() else {}
    return {name: value for name, value in loopback.items() if name not in os.environ}


def _end(folder: Path, count: int, codes: Mapping[int, int]) -> None:
    """End as the processes did: what one of them says of it comes before what others suffered from that.

    Args:
        count: how many there were.
        codes: their exit statuses, those that ended first before the others; none where this one was asked to stop.

    Raises:
        UserError: wrong input, or a process that was killed.
        KeyboardInterrupt: one was asked to stop before the training began, or after it.
        SystemExit: they stopped in good order.
    """
    said = _said(folder)
    if "stop" in [how for how, _ in said]:
        sys.exit(1)
    for how, what in said:
        if how == "wrong":
            raise UserError(what)
    for rank, code in codes.items():
        if code < 0 and (code != -signal.SIGTERM or not said):  # that is how the others were ended, too
            raise UserError(
                f"process {rank + 1} of {count} of the training was ended by {signal.Signals(-code).name}, and "
                "the others with it; the same command goes on from the last checkpoint"
            )
    if not codes or (said and said[0][0] == "interrupted"):
        raise KeyboardInterrupt
    traces = [what for how, what in said if how == "trace"]
    raise RuntimeError("\n".join([f"the processes of the training ended with {codes}", *traces]))


def _said(folder: Path) -> list[tuple[str, str]]:
    """How processes ended that could say so, and what they said; those that ended first before the others."""
    files = sorted(folder.glob("ended-*.json"), key=lambda file: file.stat().st_mtime_ns)
    notes = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return [(note["how"], note["said"]) for note in notes]


def main() -> None:
    """Train as one of the processes."""
    parent, folder, rank = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    with _noted(folder / f"ended-{rank:04d}.json"):
        end_with(parent)  # by its number: where it is gone already, another process is above this one
        order: Order = pickle.loads((folder / "order").read_bytes())
        if rank == 0:
            process.open_log(order.log, order.label, reports(order.log, order.label))
        from multiblock.training import trainer
        from multiblock.training.ranks import Ranks

        ranks = Ranks.join(rank, order.gpus, folder / "meeting")
        with expecting(order.outside):
            trainer.train(device=_device(order, ranks), ranks=ranks, **order.training)
    process.leave()


def _device(order: Order, ranks: "Ranks") -> "Device":
    """A device of its own for each, with the number format that the first one chose.

    Raises:
        UserError: two of them have the same GPU.
    """
    from multiblock.runtime.device import choose

    threads = max(1, order.threads // order.gpus)
    chosen = choose(order.device, order.precision, order.gpus, threads, order.reason)
    places = ranks.all(str(chosen.device))
    if chosen.device.type != "cpu" and len(set(places)) < len(places):
        raise UserError(
            f"gpus: found {order.gpus}, and other jobs on this machine have too many of its GPUs; end them, or start "
            "Snakemake with --resources gpu=N for those that are free"
        )
    precision = ranks.from_first(lambda: chosen.precision)
    if precision != chosen.precision:
        chosen = chosen.with_precision(precision, "as in the first process")
    together = f"{chosen.device_reason}, in {order.gpus} processes"
    return replace(chosen, device_reason=together)


@contextmanager
def _noted(file: Path) -> Iterator[None]:
    """Leave in ``file`` why this process ended before its work was done, for the one that started it."""

    def note(how: str, said: object) -> None:
        with suppress(OSError):  # who started it may be gone, and the folder with it
            file.write_text(json.dumps({"how": how, "said": str(said)}), encoding="utf-8")
        os._exit(1)

    # Until the training begins, and after it. At once: an exception does not get through the import of PyTorch.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: note("interrupted", ""))
    try:
        with no_exit():
            yield
    except (UserError, OSError) as error:
        note("wrong", error)
    except SystemExit as stop:
        note("stop", stop)
    except BaseException:
        note("trace", traceback.format_exc())


if __name__ == "__main__":
    main()
