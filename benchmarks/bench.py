"""What all parts of the benchmark share: fair timing, the machine in words, and tables that are kept."""

import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

ROOT = Path(__file__).resolve().parent.parent
GIB = 2**30

BLOCKS: Mapping[str, dict[str, Any]] = {
    "MCAN": {"network": "mcan"},
    "default": {"network": "mcan", "channels": 16, "residual_blocks": 2},
}
"""The blocks that are measured, as a config has them: the study's, and that of the default run."""


@dataclass(frozen=True)
class How:
    """How to measure: repeats that count, CPU threads, the device, and whether this only tries the benchmark out."""

    repeats: int
    threads: int
    device: str
    quick: bool
    work: Path
    pairs: Path | None = None

    def wait(self) -> None:
        """Wait for the GPU, so that its work is not counted elsewhere."""
        if self.device == "cuda":
            torch.cuda.synchronize()


@dataclass
class Table:
    """Rows of one part, what they are, and what is to be said under them."""

    name: str
    about: str
    rows: list[dict[str, Any]]
    notes: list[str] = field(default_factory=list)
    repeated: bool = False

    def write(self, folder: Path, command: str, how: How) -> None:
        """As CSV, and as Markdown with its header."""
        folder.mkdir(parents=True, exist_ok=True)
        frame = pd.DataFrame(self.rows)
        frame.to_csv(folder / f"{self.name}.csv", index=False)
        cells = [list(frame.columns), ["---"] * len(frame.columns)]
        cells += [["" if pd.isna(value) else str(value) for value in row] for row in frame.itertuples(index=False)]
        repeated = (
            f"Times: median (minimum to maximum) of {how.repeats} alternating repeats, after an uncounted warm-up."
        )
        header = [f"Command: `{command}`", *machine(how.device, how.threads), *([repeated] if self.repeated else [])]
        lines = [*header, "", f"# {self.name}", "", self.about, ""]
        lines += ["| " + " | ".join(row) + " |" for row in cells]
        lines += [line for note in self.notes for line in ("", note)]
        (folder / f"{self.name}.md").write_text("\n".join(lines) + "\n")
        print("\n".join(lines[len(header) :]), flush=True)


def paired(ways: Mapping[str, Callable[[], float]], repeats: int, warm_up: int = 2) -> dict[str, list[float]]:
    """Seconds of each way, which take turns, so that a change of the machine's speed hits all alike.

    Args:
        ways: each does its work once and says how long it took.
        repeats: rounds that count.
        warm_up: rounds before them that do not.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(warm_up + repeats):
        for name, way in ways.items():
            seconds = way()
            if round_ >= warm_up:
                times[name].append(seconds)
    return times


def timed(work: Callable[[], object], how: How, calls: int = 1) -> Callable[[], float]:
    """``work`` as a way for :func:`paired`: its seconds, of so many calls in a row on one wait for the GPU."""

    def way() -> float:
        how.wait()
        begun = time.perf_counter()
        for _ in range(calls):
            work()
        how.wait()
        return (time.perf_counter() - begun) / calls

    return way


def spread(seconds: Sequence[float], unit: float = 1e3, digits: int = 2) -> str:
    """Median (minimum to maximum), in milliseconds unless ``unit`` says otherwise."""
    median, least, most = (f"{unit * f(seconds):,.{digits}f}" for f in (statistics.median, min, max))
    return f"{median} ({least} to {most})"


def times_as_fast(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Median of the ratios pair by pair."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, so that its memory can be told apart."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def memory_mib(what: str) -> float:
    """Memory of this process: ``VmHWM`` is the most it ever held, ``RssAnon`` what it holds besides files."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(what)


def machine(device: str, threads: int) -> list[str]:
    """Hardware and versions."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    flags = next((line for line in info if line.startswith("flags")), "")
    wide = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    cores = sum(line.startswith("processor") for line in info)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    used = f"{threads} thread{'' if threads == 1 else 's'}"
    return [
        f"Machine: {cores} cores of {model} ({', '.join(wide)}), {gpu}; device {device}, {used}.",
        f"Versions: {versions}. {date.today()}.",
    ]


def command(script: str = "benchmarks") -> str:
    """The command that was typed."""
    return " ".join([f"python {script}", *map(shlex.quote, sys.argv[1:])])
