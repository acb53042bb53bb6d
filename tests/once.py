"""What several tests begin with is made once, by whichever test process comes first; each gets a copy."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object], into: Path) -> Path:
    """Copy what ``make`` has made, in this run of the tests, under that name into ``into``, with its times."""
    base = factory.getbasetemp()
    # Each test process has a folder of its own below one that all share.
    place = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"once-{name}"
    with FileLock(f"{place}.lock"):
        if not place.exists():
            part = place.with_name(f"{place.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(place)
    return Path(shutil.copytree(place, into, symlinks=True, dirs_exist_ok=True))
