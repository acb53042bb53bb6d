"""Each path through a GPU once: does it hold what the CPU's does? A line a check.

    python benchmarks/gpu_check.py [CHECK ...] [--jobs N] [--published FOLDER] [--out FOLDER] [--device cpu --quick]

Each check is a process of its own, so that one that crashes spares the others; ``--jobs`` of them run at once. The
table is kept as OUT/checks.md and .csv, also of what was made before it was stopped. Ends with status 1 if one does not
hold; without a GPU it says so and ends with 0. ``--published`` names a folder with IMDN_x3.pth, PANx4_DF2K.pth and
Set5/, as their authors publish them.
``--device cpu --quick`` tries the checks themselves at a small size.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path

import checks_of_pictures as pictures
import checks_of_steps as steps
import checks_of_training as training
import torch
from bench import ROOT, How, Table, command
from checks import LeftOut, NotHeld, Options

_HELD, _FAILED, _LEFT_OUT = 0, 1, 3
_VERDICTS = {_HELD: "held", _FAILED: "NOT HELD", _LEFT_OUT: "left out"}
"""By the exit status of a check's process."""

CHECKS: Mapping[str, tuple[str, Callable[[Options], str]]] = {
    **{f"step {name}": (f"a step of {name}", partial(steps.step, name)) for name in steps.STEPS},
    "stages": ("compiled across a change of stage", training.change_of_stage),
    "kill": ("kill and resume within a stage", training.kill),
    "two_jobs": ("two jobs on one GPU", training.two_jobs),
    "two_gpus": ("a phase that two GPUs share", training.two_gpus),
    "feeding": ("patches are the CPU's", pictures.feeding),
    "evaluation": ("evaluation is float32 as IEEE has it", pictures.evaluation),
    "memory_training": ("out of memory in training: one line", training.memory_in_training),
    "memory_inference": ("out of memory in inference: smaller tiles", pictures.memory_in_inference),
    "large": ("a picture of 24 megapixels", pictures.large_picture),
    "published": ("published weights of IMDN and PAN", pictures.published),
}
"""What each check asks, and how."""

_SLOWEST = "step sr_resunet"
"""Minutes, most of them the compiler's: it begins first."""


def main() -> None:
    """Make the checks and keep their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"{', '.join(CHECKS)}; all if none is named")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="at a tiny size, only to see that they run")
    parser.add_argument("--jobs", type=int, default=4, help="checks at once")
    parser.add_argument("--published", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "gpu")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)  # makes the one check here, in this folder
    given = parser.parse_args()
    if unknown := set(given.checks) - set(CHECKS):
        parser.error(f"unknown check {', '.join(sorted(unknown))}; known are {', '.join(CHECKS)}")
    how = How(1, max(1, torch.get_num_threads() // given.jobs), given.device, given.quick, given.work or Path())
    if given.work:
        sys.exit(_check(given.checks[0], Options(how, given.published)))
    if _no_gpu(how):
        print("no GPU here: nothing to check")
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a machine that is lent ends so, not by Ctrl-C
    sys.exit(_check_all(given.checks or list(CHECKS), how, given.jobs, given.published, given.out))


def _check(name: str, options: Options) -> int:
    """Make one check; its last line says what was found."""
    try:
        if _no_gpu(options.how):  # there was one for whoever asked for this check
            raise NotHeld("the GPU does not answer this process")
        print(CHECKS[name][1](options))
    except LeftOut as error:
        print(error)
        return _LEFT_OUT
    except NotHeld as error:
        print(error)
        return _FAILED
    except Exception as error:  # whatever a check meets: the table says it in one line
        traceback.print_exc()
        print(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return _FAILED
    return _HELD


def _no_gpu(how: How) -> bool:
    return how.device == "cuda" and not torch.cuda.is_available()


def _check_all(names: list[str], how: How, jobs: int, published: Path | None, out: Path) -> int:
    """Make checks in processes of their own, say each once it is made, and keep the table; the exit status."""
    rows = {name: {"check": CHECKS[name][0], "verdict": "NOT MADE"} for name in CHECKS if name in names}
    running: set[subprocess.Popen[str]] = set()
    with tempfile.TemporaryDirectory(prefix="multiblock-gpu-") as work, ThreadPoolExecutor(jobs) as pool:
        make = {
            pool.submit(_process, name, replace(how, work=Path(work) / name), published, jobs, running): name
            for name in sorted(names, key=lambda name: name != _SLOWEST)
        }
        try:
            for made in as_completed(make):
                status, said, log, seconds = made.result()
                row, verdict = rows[make[made]], _VERDICTS.get(status, "NOT HELD")
                row |= {"verdict": verdict, "found": said, "seconds": f"{seconds:.0f}"}
                print(f"{verdict:9}{row['check']}: {said} [{seconds:.0f} s]", flush=True)
                if verdict == "NOT HELD":
                    print(log, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()
    return _keep(list(rows.values()), how, out)


def _keep(rows: list[dict[str, str]], how: How, out: Path) -> int:
    """Write the table, also of what was made until it was stopped; the exit status."""
    counts = Counter(row["verdict"] for row in rows)
    note = f"{counts['held']} of {len(rows)} held, {counts['left out']} left out."
    if counts["NOT MADE"]:
        note += f" Stopped before {counts['NOT MADE']} were made."
    about = "Each path through the device once, against what it is to agree with."
    Table("checks", about, rows, [note]).write(out, command("benchmarks/gpu_check.py"), how)
    return int(counts["held"] + counts["left out"] < len(rows))


def _process(
    name: str, how: How, published: Path | None, jobs: int, running: set[subprocess.Popen[str]]
) -> tuple[int, str, str, float]:
    """Exit status of a check, its last line, all that it said, and its seconds; among those running until it ends."""
    how.work.mkdir()
    arguments = [sys.executable, __file__, name, "--device", how.device, "--work", how.work, "--jobs", jobs]
    arguments += ["--quick"] * how.quick + (["--published", published] if published else [])
    begun = time.monotonic()
    process = subprocess.Popen(
        [str(one) for one in arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    running.add(process)
    output, errors = process.communicate()
    running.discard(process)
    lines = output.strip().splitlines()
    said = lines[-1] if lines and process.returncode in _VERDICTS else f"ended with status {process.returncode}"
    return process.returncode, said, (output + errors)[-3000:], time.monotonic() - begun


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped")
