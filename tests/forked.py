"""Dry runs of Snakemake without its import: a process that has it imported is forked for each."""

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
# Nothing of this project, which some of the calls bring another copy of.
_CONTEXT.set_forkserver_preload(["snakemake.cli", "snakemake.dag", "numpy", "skimage", "PIL.Image", "sqlmodel", "yaml"])


def run(command: Sequence[str], env: dict[str, str]) -> subprocess.CompletedProcess:
    """As ``subprocess.run`` for a command ``python -m snakemake ...``, with both outputs as text."""
    arguments = list(command[command.index("snakemake") :])
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        process = _CONTEXT.Process(target=_main, args=(arguments, env, os.getcwd(), [str(file) for file in outputs]))
        process.start()
        process.join()
        stdout, stderr = (file.read_text() for file in outputs)
    return subprocess.CompletedProcess(command, process.exitcode, stdout, stderr)


def _main(arguments: list[str], env: dict[str, str], folder: str, outputs: list[str]) -> None:
    for number, file in enumerate(outputs, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.path[:] = [path for path in sys.path if not path.startswith(str(Path(__file__).parent))]
    sys.argv = arguments
    from snakemake.cli import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()  # a process that was forked leaves without them, and the terminal's last line is one
