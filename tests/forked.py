"""Python programs without their imports: a process that holds the libraries is forked for each.

A program ``[python, "-m", MODULE, ...]``, ``[python, "-c", CODE, ...]`` or ``[python, FILE, ...]`` runs as by itself: a
process of its own, with its own environment, arguments and output, and its own import of this project. It imports no
PyTorch and no Snakemake, which takes longer than most that is tested. Where the start of a program is what is tested,
:mod:`subprocess` starts it.

What is forked while another thread holds a lock waits for it for ever, and Snakemake has threads. So each Snakemake has
a process of its own to fork its jobs from, begun before its threads are.
"""

import atexit
import gc
import json
import logging
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path

_OURS = ("multiblock", "snakemake_logger_plugin_multiblock", "sitecustomize")
"""What each program imports by itself, as some bring another copy of this project."""

_OTHERS = """
    torch torch._dynamo torch.distributed.elastic.multiprocessing torch.utils.flop_counter sympy
    snakemake.cli snakemake.dag snakemake.executors.local snakemake.report snakemake.script yte docutils.core requests
    sqlmodel nbformat yaml jinja2 tabulate pandas skimage.data PIL.ImageCms PIL.ImageOps png scipy.fft scipy.ndimage
    scipy.stats matplotlib.figure matplotlib.backends.backend_agg safetensors.torch filelock tqdm pygments.formatters
"""

_PLACE = "MULTIBLOCK_TESTS_FORK_AT"
_HERE = str(Path(__file__).parent)
_PATH = [path for path in sys.path if path and path != _HERE]
"""Where Python looks for modules if nothing else is said."""


@contextmanager
def server() -> Iterator[None]:
    """A process to fork from, for this one and those that it starts."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[_PLACE] = f"{folder}/socket"
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        with subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, env=env) as process:
            while not Path(os.environ[_PLACE]).exists():
                time.sleep(0.01)
            yield
            process.stdin.close()


class Popen:
    """As :class:`subprocess.Popen`, as far as it is needed here; its output is text."""

    def __init__(
        self,
        words: Sequence[object],
        stdout: object = None,
        stderr: object = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        start_new_session: bool = False,
        text: bool = True,
    ) -> None:
        self.args, self.returncode, self._server = list(map(str, words)), None, socket.socket(socket.AF_UNIX)
        self.stdout = self.stderr = None
        places, mine = [], []
        for name, asked in (("stdout", stdout), ("stderr", stderr)):
            if asked == subprocess.PIPE:
                read, place = os.pipe()
                setattr(self, name, os.fdopen(read, errors="replace"))
                mine.append(place)
            elif asked == subprocess.DEVNULL:
                mine.append(place := os.open(os.devnull, os.O_WRONLY))
            elif asked == subprocess.STDOUT:
                place = places[0]
            else:
                place = len(places) + 1 if asked is None else asked if isinstance(asked, int) else asked.fileno()
            places.append(place)
        asked = [self.args[1:], dict(os.environ if env is None else env), str(cwd or os.getcwd()), start_new_session]
        self._server.connect(os.environ[_PLACE])
        request = json.dumps(asked).encode()
        socket.send_fds(self._server, [len(request).to_bytes(4, "big")], places)
        self._server.sendall(request)
        for place in mine:
            os.close(place)
        self.pid = int.from_bytes(self._server.recv(4), "big")
        if not self.pid:
            raise ChildProcessError("the process to fork from has ended")

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if timeout is not None and not select.select([self._server], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            code = self._server.recv(4)
            self.returncode = int.from_bytes(code, "big", signed=True) if code else -signal.SIGKILL
            self._server.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def communicate(self, timeout: float | None = None) -> tuple[str | None, str | None]:
        """What it writes, of which one pipe must be short, or both are one."""
        said = [file and file.read() for file in (self.stdout, self.stderr)]
        self.wait(timeout)
        return tuple(said)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> "Popen":
        return self

    def __exit__(self, *_: object) -> None:
        for file in (self.stdout, self.stderr):
            if file:
                file.close()
        self.wait()


def run(
    words: Sequence[object],
    env: Mapping[str, str] | None = None,
    cwd: Path | str | None = None,
    timeout: float | None = None,
) -> subprocess.CompletedProcess:
    """As :func:`subprocess.run` with both outputs captured as text."""
    with open(os.memfd_create("stdout"), "w+") as out, open(os.memfd_create("stderr"), "w+") as err:
        process = Popen(words, stdout=out, stderr=err, env=env, cwd=cwd)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        said = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
    return subprocess.CompletedProcess(process.args, code, *said)


def _subprocess(words: object, *, capture_output: bool = False, **given: object) -> subprocess.CompletedProcess:
    """In the place of :func:`subprocess.run` in what was forked: other programs in Python are forked, too."""
    if not isinstance(words, list) or words[0] != sys.executable or given.keys() - {"env", "cwd", "text", "check"}:
        return _real_subprocess(words, capture_output=capture_output, **given)
    places = {name: given[name] for name in ("env", "cwd") if name in given}
    done = run(words, **places) if capture_output else subprocess.CompletedProcess(words, Popen(words, **places).wait())
    if given.get("check"):
        done.check_returncode()
    return done


_real_subprocess, _pidfd_open = subprocess.run, os.pidfd_open


# -- The server --------------------------------------------------------------------------------------------------------


def _serve(listener: socket.socket, starter: int) -> None:
    """Fork for each that asks, until whoever holds the other end of the pipe ``starter`` is gone."""
    asked, running = select.poll(), {}
    for waiting in (starter, listener.fileno()):
        asked.register(waiting, select.POLLIN)
    while True:
        for place, _ in asked.poll():
            if place == starter:
                return
            if place in running:
                process, client = running.pop(place)
                asked.unregister(place)
                os.close(place)
                code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                with suppress(OSError):  # nobody waits for it
                    client.sendall(code.to_bytes(4, "big", signed=True))
                client.close()
                continue
            _hold_libraries()
            client = listener.accept()[0]
            head, outputs, *_ = socket.recv_fds(client, 4, 2)
            request = client.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
            if not head or len(request) < int.from_bytes(head, "big"):  # whoever asked is gone
                client.close()
            elif process := os.fork():
                running[watched := _pidfd_open(process)] = (process, client)
                asked.register(watched, select.POLLIN)
                with suppress(OSError):
                    client.sendall(process.to_bytes(4, "big"))
            else:
                _begin(*json.loads(request), outputs)
            for output in outputs:
                os.close(output)


@cache
def _hold_libraries() -> None:
    for name in _OTHERS.split():
        import_module(name)
    handler = "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler"
    sys.modules[handler].Popen = _Child
    gc.freeze()


def _listen(place: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(64)
    return listener


def _serve_jobs() -> None:
    """Have a process, in the session of this one, to fork from as long as this one is there."""
    os.environ[_PLACE] = f"{os.environ[_PLACE]}.{os.getpid()}"
    listener = _listen(os.environ[_PLACE])
    starter, _end = os.pipe()  # open until this process ends
    if os.fork():
        listener.close()
        os.close(starter)
        return
    os.close(_end)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # they are for the jobs
        signal.signal(number, signal.SIG_IGN)
    try:
        _serve(listener, starter)
        os._exit(0)
    finally:
        os._exit(1)


def _begin(words: list[str], env: dict[str, str], folder: str, session: bool, outputs: list[int]) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, output in enumerate(outputs, 1):
        os.dup2(output, number)
    os.closerange(3, 256)
    if session:
        os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    _become(words)


def _become(words: list[str]) -> None:
    """Be the program of these words from here on, and end as it does."""
    logging.root.handlers.clear()
    for names in (sys.modules, logging.root.manager.loggerDict):
        for name in [name for name in names if name.split(".")[0] in _OURS]:
            del names[name]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()
    tempfile.tempdir = None  # where the environment says
    subprocess.run = _subprocess
    sys.orig_argv = [sys.executable, *words]
    sys.excepthook = sys.__excepthook__
    more = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    first = {"-m": os.getcwd(), "-c": ""}.get(words[0], str(Path(words[0]).parent))
    sys.path[:] = [first, *more, *_PATH]
    code = 1
    try:
        if any(Path(path, "sitecustomize.py").exists() for path in more):
            import_module("sitecustomize")
        if words[:2] == ["-m", "snakemake"]:
            from snakemake.script import PythonScript

            PythonScript.execute_script = _job
            _serve_jobs()
        if words[0] == "-m":
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        elif words[0] == "-c":
            sys.argv = ["-c", *words[2:]]
            exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    finally:
        try:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


class _Child:
    """In the place of :class:`subprocess.Popen` where PyTorch starts the processes that train one phase."""

    def __init__(self, args: Sequence[str], env: dict[str, str], stdout: object, stderr: object, **_: object) -> None:
        self.pid, self.returncode = os.fork(), None
        if not self.pid:
            os.setsid()
            for number, file in ((1, stdout), (2, stderr)):
                if file:
                    os.dup2(file.fileno(), number)
            os.environ.clear()
            os.environ.update(env)
            _become(list(args[1:]))

    def poll(self) -> int | None:
        if self.returncode is None and (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(ended[1])
        return self.returncode

    def wait(self, timeout: float) -> int:
        if self.poll() is None and not select.select([_pidfd_open(self.pid)], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("", timeout)
        return self.poll()


def _job(self: object, script: str, edit: bool = False) -> None:
    """Run the script of a job, as Snakemake does by a command."""
    if code := Popen([sys.executable, script]).wait():
        raise subprocess.CalledProcessError(code, f"python {script}")


if __name__ == "__main__":
    sys.path.remove(_HERE)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.pop(name)
    _serve(_listen(os.environ.pop(_PLACE)), 0)
