"""How long a result took to make, in a small record beside it, which is no part of the result."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from multiblock.files import read_json, write_text


@contextmanager
def noted(file: Path) -> Iterator[None]:
    """Note the wall time of what is done inside, once it is done."""
    begun = time.monotonic()
    yield
    write_text(file, json.dumps({"seconds": round(time.monotonic() - begun, 2)}) + "\n")


def seconds(file: Path) -> float | None:
    """What was noted; None where nothing was."""
    noted = read_json(file).get("seconds")
    return float(noted) if isinstance(noted, int | float) else None
