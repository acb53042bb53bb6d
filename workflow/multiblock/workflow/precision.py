"""The number format of trainings where the config leaves it to the machine: one choice for a results folder.

The first start chooses, the store keeps the choice, and every job goes by it. Jobs that chose by themselves could
choose differently, since CPUs with avx512_bf16 have to be timed, and arms of a study would differ by their format.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from multiblock.config import Study
from multiblock.errors import UserError
from multiblock.files import lock, read_json, write_text
from multiblock.workflow.store import Store

_FIND = """
import json
from multiblock.runtime.device import fastest_precision
print(json.dumps(fastest_precision({device!r}, {gpus!r})))
"""
"""Run in a process of its own: PyTorch takes seconds to import, and its GPUs memory until the process ends."""

_ELSEWHERE = "bfloat16", "jobs run on GPUs of a cluster, which this machine cannot ask; older ones need float32"


def file_of(store: Store) -> Path:
    """The file that keeps the choice."""
    return store.root / "precision.json"


def decided(study: Study, store: Store) -> Study:
    """The study with the number format that was chosen for its results folder; unchanged where none was yet."""
    kept = read_json(file_of(store))
    if study.precision != "auto" or not kept:
        return study
    return replace(study, precision=kept["precision"], precision_reason=f"chosen by the first start: {kept['reason']}")


def decide(study: Study, store: Store, gpus: int | None, elsewhere: bool, keep: bool) -> tuple[Study, str]:
    """The study with the number format of its trainings, chosen now if need be; and what there is to say of that.

    Args:
        gpus: GPUs that there are for jobs; None where Snakemake was not told.
        elsewhere: whether jobs run on other machines.
        keep: whether the choice is kept, for jobs to come; a dry run keeps nothing.

    Raises:
        UserError: PyTorch does not work here.
    """
    before = decided(study, store)
    if before.precision != "auto":
        return before, ""
    with_gpu = study.device != "cpu" and gpus != 0
    precision, reason = _ELSEWHERE if elsewhere and with_gpu else _fastest(study.device, int(with_gpu))
    if not keep:
        return replace(study, precision=precision, precision_reason=reason), ""
    with lock(store.root, "choosing the number format", wait=60):
        if not file_of(store).exists():
            write_text(file_of(store), json.dumps({"precision": precision, "reason": reason}) + "\n")
    after = decided(study, store)
    said = f"precision: {after.precision} for all trainings of {study.results} ({reason}); a config may name another"
    return after, said


def _fastest(device: str, gpus: int) -> tuple[str, str]:
    code = _FIND.format(device=device, gpus=gpus)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"precision: found auto, and PyTorch does not work here: {done.stderr.strip()[-300:]}")
    precision, reason = json.loads(done.stdout)
    return precision, reason
