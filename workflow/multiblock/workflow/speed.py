"""Measure how fast this machine trains the runs of a study.

``python -m multiblock.workflow.speed`` does so in a process of its own, so that Snakemake's does without PyTorch and
takes no GPU: it reads a JSON object from standard input and writes one to standard output.
"""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from multiblock.config import Study, load
from multiblock.errors import UserError, one_line
from multiblock.networks.own import no_exit
from multiblock.training.work import Speeds


def measure(study: Study, runs: Iterable[str], gpus: int, threads: int) -> dict[str, Speeds]:
    """How fast this machine trains the phases of runs.

    Args:
        gpus, threads: of a job.

    Raises:
        UserError: the device that the config names is not there.
    """
    from multiblock.runtime.device import choose
    from multiblock.training.speed import Speedometer

    device = choose(study.device, study.precision, gpus, threads)
    meter = Speedometer(device, study.layout, study.compile, study.deterministic)
    plans = {name: study.runs[name].plan for name in runs}
    return {name: meter.speeds([plan.task(number, 0) for number in plan.numbers]) for name, plan in plans.items()}


def measure_apart(config: Mapping[str, Any], runs: Sequence[str], gpus: int, threads: int) -> dict[str, Speeds]:
    """The same in a process of its own.

    Raises:
        UserError: what that says.
    """
    asked = json.dumps({"config": config, "runs": list(runs), "gpus": gpus, "threads": threads})
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "multiblock.workflow.speed"],
        input=asked,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    if done.returncode:
        raise UserError((done.stderr.strip() or "the speed cannot be measured").splitlines()[-1])
    return {name: Speeds(**about) for name, about in json.loads(done.stdout).items()}


def _main() -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    asked = json.load(sys.stdin)
    try:
        with no_exit():
            found = measure(load(asked["config"]), asked["runs"], asked["gpus"], asked["threads"])
    except (UserError, OSError) as error:
        print(one_line(error), file=sys.stderr)
        return 1
    print(json.dumps({name: asdict(about) for name, about in found.items()}))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
