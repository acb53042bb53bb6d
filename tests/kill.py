"""Kill the workflow at random moments and start it again: it must end with the bytes of a run never disturbed.

    python tests/kill.py [--kills N] [--seed S] [--config FILE ...] [--out FILE]

Each time Snakemake, the job it runs, or both are killed (-9; now and then by SIGTERM or Ctrl-C), then the same
command is given again. When a run ends, what it made is compared with what an undisturbed run made: weights,
histories, arrays, pictures and all CSVs but those of times.
"""

import argparse
import hashlib
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = (".safetensors", ".csv", ".npy", ".png")
WITHIN = 5.0
"""Seconds after which a job that lost its Snakemake, or was asked to stop, must be gone."""


@dataclass
class Tally:
    """What was killed by which signal, in the middle of what, and what came of it."""

    kills: Counter = field(default_factory=Counter)
    during: Counter = field(default_factory=Counter)
    runs: int = 0
    different: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)


def command(folder: Path, configs: Sequence[Path]) -> list[str]:
    """The workflow on ``folder``, as the README has it."""
    base = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
    return [*base, "--cores", "1", "--resources", "gpu=1", "--configfile", *map(str, configs)]


def made(folder: Path) -> dict[str, str]:
    """A digest of each file that must be the same each time."""
    files = [file for file in sorted((folder / "results").rglob("*")) if file.suffix in KEPT and file.is_file()]
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if not file.stem.endswith("times") and not {"working", "parts"}.intersection(file.parts)
    }


def children(parent: int) -> list[int]:
    """The processes that ``parent`` started and that are still there."""
    direct = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        with suppress(OSError):
            direct += [int(number) for number in task.read_text().split()]
    return sorted({number for child in direct for number in (child, *children(child))})


def what(process: int) -> str:
    """The rule of the job that a process is, by the result whose log it holds open; nothing of other processes."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
        if not any(".snakemake/scripts/" in word for word in words):
            return ""
        opened = [os.readlink(file) for file in Path(f"/proc/{process}/fd").iterdir()]
    except OSError:
        return ""
    logs = [Path(file).parent.name for file in opened if file.endswith("/job.log")]
    return logs[0].rpartition("-")[0] if logs else "a job that begins"


def disturbed(folder: Path, configs: Sequence[Path], random_: random.Random, longest: float, tally: Tally) -> bool:
    """Start the workflow and kill it after a random time; whether it ended before that."""
    with (
        (folder / "log").open("a") as log,
        subprocess.Popen(command(folder, configs), stdout=log, stderr=log, start_new_session=True) as workflow,
    ):
        try:
            workflow.wait(random_.uniform(0.3, longest))
            if workflow.returncode != 0:
                raise SystemExit(f"the workflow failed undisturbed; see {folder / 'log'}")
            return True
        except subprocess.TimeoutExpired:
            pass
        jobs = [process for process in children(workflow.pid) if what(process)]
        victim = random_.choice(["both", "Snakemake", *(["the job"] if jobs else [])])
        number = random_.choice([signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGINT])
        if victim == "Snakemake":  # it waits for its jobs when asked kindly
            number = signal.SIGKILL
        tally.during[what(jobs[0]) if jobs else "no job"] += 1
        tally.kills[f"{victim}, {number.name}"] += 1
        targets = {"both": [workflow.pid, *jobs], "Snakemake": [workflow.pid], "the job": jobs}[victim]
        for process in targets:
            with suppress(ProcessLookupError):
                os.kill(process, number)
        begun = time.monotonic()
        while any(what(process) for process in jobs):
            if time.monotonic() - begun > 300:
                raise SystemExit(f"a job is still there five minutes after {victim} got {number.name}")
            time.sleep(0.02)
        if jobs and time.monotonic() - begun > WITHIN:
            tally.late.append(f"{victim}, {number.name}: {time.monotonic() - begun:.1f} s")
        workflow.wait(300)  # where only the job was hit it says so, and ends
    return False


def kill_test(kills: int, configs: Sequence[Path], seed: int, work: Path, longest: float) -> Tally:
    """Disturb runs until ``kills`` kills have been survived, and compare each with one that was left alone."""
    random_, tally = random.Random(seed), Tally()
    calm = work / "calm"
    calm.mkdir()
    with (calm / "log").open("w") as log:
        subprocess.run(command(calm, configs), stdout=log, stderr=log, check=True)
    expected = made(calm)
    while sum(tally.kills.values()) < kills:
        folder = work / f"run{tally.runs}"
        folder.mkdir()
        while not disturbed(folder, configs, random_, longest, tally):
            print(f"\r{sum(tally.kills.values())} kills, {tally.runs} runs compared", end="", flush=True)
            if sum(tally.kills.values()) >= kills:
                longest = 1e9  # the last run may end
        tally.runs += 1
        found = made(folder)
        tally.different += [f"{folder.name}/{name}" for name in expected if found.get(name) != expected[name]]
        tally.different += [f"{folder.name}/{name}: only there" for name in found.keys() - expected.keys()]
    print()
    return tally


def main() -> None:
    """Run it, print and keep the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest", type=float, default=15.0, help="seconds between start and kill at most")
    parser.add_argument("--config", type=Path, nargs="+", default=[ROOT / "config.yaml", ROOT / "tests" / "kill.yaml"])
    parser.add_argument("--out", type=Path, help="file for the result")
    options = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="multiblock-kill-") as work:
        tally = kill_test(options.kills, options.config, options.seed, Path(work), options.longest)
    minutes, total = (time.monotonic() - begun) / 60, sum(tally.kills.values())
    processor = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    lines = [
        f"Command: `python tests/kill.py --kills {options.kills} --seed {options.seed}`; {minutes:.0f} minutes.",
        f"Machine: {os.cpu_count()} cores of {processor.partition(': ')[2]}, no GPU used; one thread. {date.today()}.",
        f"Versions: Python {platform.python_version()}, torch {version('torch')}.",
        "",
        "# Killed and started again",
        "",
        f"{total} kills in {tally.runs} runs; files that differ from those of an undisturbed run: "
        f"{len(tally.different)}.",
        "",
        "| killed | times |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(tally.kills.items())),
        "",
        "| in the middle of | times |",
        "|---|---|",
        *(f"| {name} | {count} |" for name, count in sorted(tally.during.items())),
        "",
        f"Jobs that took more than {WITHIN:.0f} s to be gone: {len(tally.late)}.",
        *tally.late,
        *tally.different,
    ]
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    sys.exit(bool(tally.different))


if __name__ == "__main__":
    main()
