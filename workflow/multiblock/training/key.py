"""What the checkpoints of a training are found under."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from multiblock.model.metadata import digest_of_result
from multiblock.plan import Task


def key(task: Task, settings: Mapping[str, Any], data: Iterable[str], weights: Mapping[int, Path]) -> str:
    """A digest of everything that the weights of a phase depend on.

    Args:
        settings: the settings of training, by name.
        data: digests of the image sets: training images and their HR, then validation images and their HR.
        weights: the weights file of each earlier phase that the task names.

    Raises:
        OSError: a file of weights cannot be read.
    """
    numeric = {name: value for name, value in settings.items() if name != "history_every"}
    parts = [json.dumps([asdict(task), numeric], sort_keys=True), *data]
    files = [file for _, file in sorted(weights.items())] + [Path(file) for file in task.files]
    parts += [digest_of_result(file) for file in files]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()
