"""Runs that are to take as long as another one: speeds are measured once, and kept in the results folder.

The first start measures, before anything is trained; the store keeps what was measured, and every job goes by it, as
results that are copied to another machine do. It is kept for a pair of runs and all that their speed depends on, so a
change of one of them measures both anew, in the same minutes, and a config that is changed back finds the former again.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from multiblock.config import Study
from multiblock.config.costs import Measured, pixels, sized_by_seconds
from multiblock.errors import UserError
from multiblock.files import lock, read_json, write_text
from multiblock.training.work import Speeds, kind_of
from multiblock.workflow import precision
from multiblock.workflow.results import digest_of_text
from multiblock.workflow.store import Store

_ROUNDS, _EACH = 5, 0.5
"""How often each kind of stage is measured, all of them in turn, and for how many seconds at least."""

_APART = 0.25
"""The share by which what a run takes by one round may differ from the median before the clock is called a loaded one.
A step of the same network differs by a few hundredths on a machine that does nothing else."""


def file_of(store: Store) -> Path:
    """The file that keeps what was measured."""
    return store.root / "seconds.json"


def decided(study: Study, store: Store) -> Study:
    """The study as its results folder has decided: the number format, and runs that are sized by seconds.

    What was not decided yet is as the config has it; see :func:`waiting`.

    Raises:
        UserError: a run cannot take as long as it should.
    """
    study = precision.decided(study, store)
    kept = read_json(file_of(store)) if _pairs(study) else {}
    runs = dict(study.runs)
    for name, other in _pairs(study):
        if found := kept.get(_key(study, name, other)):
            own, theirs = ([Speeds(**one) for one in found[which]] for which in ("own", "other"))
            runs[name] = sized_by_seconds(study, name, Measured(own, theirs, found["pixels"]))
    return replace(study, runs=runs)


def waiting(study: Study) -> list[str]:
    """The runs whose iterations are as they are written, as nothing was measured yet."""
    sized = ((name, run.equal_to) for name, run in study.runs.items())
    return [name for name, by in sized if by and by.unit == "seconds" and not by.reckoned]


class Here(NamedTuple):
    """What there is for a job: CPU threads, and whether it gets a GPU where there is one."""

    threads: int
    gpus: int


def decide(study: Study, store: Store, here: Here, elsewhere: bool, say: Callable[[str], None]) -> Study:
    """The study with all runs sized; what is not measured yet is measured now, and kept.

    Args:
        study: with its number format.
        elsewhere: whether jobs run on other machines.
        say: takes lines for a person.

    Raises:
        UserError: jobs run elsewhere, there is too little memory, or a run cannot take as long as it should.
    """
    study = decided(study, store)
    if runs := waiting(study):
        if elsewhere:
            raise UserError(
                f"runs.{runs[0]}.equal_to: seconds are measured where jobs run, and these go to a cluster; allowed is "
                "a first start on one of its machines, as with --executor local, or in: block_pixels"
            )
        with lock(store.root, "measuring seconds", wait=3600):
            study = decided(study, store)  # another workflow may have measured meanwhile
            if runs := waiting(study):
                say(f"measures how long iterations take, for {', '.join(runs)}: {_ROUNDS} rounds, before any training")
                _measure(study, runs, store, here)
                study = decided(study, store)
        for name in runs:
            for line in _said(study, name, store):
                say(line)
    return study


def _said(study: Study, name: str, store: Store) -> Iterator[str]:
    by = study.runs[name].equal_to
    assert by and by.reckoned
    found = by.reckoned
    total = sum(stage.iterations for phase in study.runs[name].plan.phases for stage in phase.stages)
    low, high = found.by_round
    yield (
        f"run {name}: {total:,} iterations take {found.here:.1f} s, {by.run} takes {found.there:.1f} s "
        f"({low:+.1%} to {high:+.1%} by round)"
    )
    if found.apart > _APART:
        yield (
            f"warning: rounds differ by up to {found.apart:.0%} from their median, so other work took this machine's "
            f"time; what {name} takes is as uncertain. To measure again, stop, remove {file_of(store)}, and start when "
            "the machine is idle"
        )


def _pairs(study: Study) -> list[tuple[str, str]]:
    """The runs that are sized by seconds, each with the one that it is sized by."""
    return [
        (name, run.equal_to.run) for name, run in study.runs.items() if run.equal_to and run.equal_to.unit == "seconds"
    ]


def _key(study: Study, *runs: str) -> str:
    """What the speed of runs depends on, save the machine: results that are copied keep theirs."""
    how = {name: getattr(study, name) for name in ("device", "precision", "layout", "deterministic")}
    return digest_of_text(json.dumps([how, *(_kinds(study, run) for run in runs)], sort_keys=True))


def _kinds(study: Study, run: str) -> list[Any]:
    tasks = _tasks(study, run)
    return [[kind_of(task, stage) for stage in task.stages if stage.iterations] for task in tasks]


def _tasks(study: Study, run: str) -> list[Any]:
    plan = study.runs[run].plan
    return [plan.task(number, 0) for number in plan.numbers]


def _measure(study: Study, names: list[str], store: Store, here: Here) -> None:
    pairs = [(name, other) for name, other in _pairs(study) if name in names]
    runs = list(dict.fromkeys(run for pair in pairs for run in pair))
    asked = {
        "device": {"device": study.device, "precision": study.precision, **here._asdict()},
        "layout": study.layout,
        "deterministic": study.deterministic,
        "seconds": _EACH,
        "runs": [[asdict(task) for task in _tasks(study, run)] for run in runs],
    }
    rounds = [dict(zip(runs, _round(asked), strict=True)) for _ in range(_ROUNDS)]
    counted = {run: pixels(study.runs[run].data) for run, _ in pairs}
    found: Mapping[str, Any] = {
        _key(study, name, other): {
            "own": [one[name] for one in rounds],
            "other": [one[other] for one in rounds],
            "pixels": counted[name],
        }
        for name, other in pairs
    }
    write_text(file_of(store), json.dumps({**read_json(file_of(store)), **found}) + "\n")


def _round(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One round, in a process of its own, whose start is measured too.

    Raises:
        UserError: what it ended with.
    """
    command = [sys.executable, "-m", "multiblock.training.speed"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"in: seconds: cannot be measured: {done.stderr.strip()[-300:]}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found
