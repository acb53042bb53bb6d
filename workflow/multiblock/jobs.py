"""What every script of the workflow does around the one function that it calls."""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from multiblock.errors import UserError

if TYPE_CHECKING:
    from multiblock.training.device import Device


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Log to the terminal and to the rule's log file, and end on wrong input with one line and exit status 1."""
    handlers: list[logging.Handler] = [logging.StreamHandler(), logging.FileHandler(snakemake.log[0])]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("multiblock")
    logger.setLevel(logging.INFO)
    logger.handlers = handlers
    try:
        yield
    except UserError as error:
        logger.error("multiblock: error: %s", error)
        sys.exit(1)


def device_of(snakemake: Any) -> "Device":
    """The device that the config and the job's resources lead to."""
    from multiblock.training.device import choose

    config = snakemake.config
    return choose(config["device"], config["precision"], snakemake.resources.get("gpu", 0), snakemake.threads)


def weights_by_phase(files: Iterable[str]) -> dict[int, Path]:
    """Weights files by the number of the phase, which their folder is named after."""
    return {int(Path(file).parent.name.removeprefix("phase")): Path(file) for file in files}
