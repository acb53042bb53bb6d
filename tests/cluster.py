"""A Slurm of one's own on this machine: two nodes on the loopback address, with all its files in a temporary folder.

Only ``/etc/slurm`` is outside, which Slurm's commands read: jobs have no other way to know of the cluster. What stood
there is put back.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

ETC = Path("/etc/slurm")
FILES = ("slurm.conf", "gres.conf", "cgroup.conf")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
PORTS = {"control": 46817, "gpu1": 46818, "cpu1": 46819}
KILL_WAIT = 8
"""Seconds between SIGTERM and SIGKILL."""

_SETTINGS = """
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=1
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=10000
KillWait={kill_wait}
MinJobAge=300
GresTypes=gpu
NodeName=gpu1 NodeAddr=127.0.0.1 Port={gpu1} CPUs=4 RealMemory=64000 Gres=gpu:2
NodeName=cpu1 NodeAddr=127.0.0.1 Port={cpu1} CPUs=4 RealMemory=64000
PartitionName=cpu Nodes=cpu1 Default=YES MaxTime=1-0
PartitionName=gpu Nodes=gpu1 MaxTime=1-0
"""


def unusable() -> str:
    """Why there can be no Slurm of one's own here; nothing where there can be."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")]
    if missing:
        return f"no {', '.join(missing)} here (Debian: apt-get install slurm-wlm munge)"
    if os.geteuid() != 0:
        return "only root can start Slurm's daemons"
    if _answers():
        return "a Slurm cluster is at work here, which is left alone"
    return ""


def _answers() -> bool:
    """Whether this machine is part of a cluster, or knows one."""
    done = subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=60)
    daemons = {"slurmctld", "slurmd"}
    names = {_name(process) for process in Path("/proc").iterdir() if process.name.isdigit()}
    return done.returncode == 0 or bool(names & daemons)


def _name(process: Path) -> str:
    with suppress(OSError):
        return (process / "comm").read_text().strip()
    return ""


def _below(parent: int) -> list[int]:
    """The processes that ``parent`` started, and those that these did."""
    direct: list[int] = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        with suppress(OSError):
            direct += map(int, task.read_text().split())
    return [process for child in direct for process in (child, *_below(child))]


def _open_files(process: Path) -> str:
    return " ".join(os.readlink(file) for file in (process / "fd").iterdir())


class Cluster:
    """To be used with ``with``; starts the daemons, and ends them.

    Args:
        folder: for all that the daemons write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: dict[str, subprocess.Popen] = {}
        self._before: dict[Path, bytes] = {}

    def __enter__(self) -> "Cluster":
        self._before = {ETC / name: (ETC / name).read_bytes() for name in FILES if (ETC / name).exists()}
        try:
            self._configure()
            self._daemon("munged", "--foreground", "--force", *self._munge())
            self._until(lambda: (self.folder / "munge.socket").exists(), "munged listens")
            self._daemon("slurmctld", "-D", "-c")
            for node in ("gpu1", "cpu1"):
                self.start(node)
            self._until(lambda: self.states() == {"gpu1": "idle", "cpu1": "idle"}, "both nodes are idle")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError, subprocess.SubprocessError):
            self.run("scancel", "--full", "--signal=KILL", "--state=RUNNING")
        for name in reversed(list(self._daemons)):
            self.stop(name)
        for name in FILES:
            (ETC / name).unlink(missing_ok=True)
        for file, content in self._before.items():
            file.write_bytes(content)

    def _configure(self) -> None:
        for name in ("state", "spool.gpu1", "spool.cpu1"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        ETC.mkdir(parents=True, exist_ok=True)
        text = _SETTINGS.format(folder=self.folder, kill_wait=KILL_WAIT, **PORTS)
        (ETC / "slurm.conf").write_text(text)
        (ETC / "gres.conf").write_text("NodeName=gpu1 Name=gpu File=/dev/null,/dev/zero\n")
        (ETC / "cgroup.conf").unlink(missing_ok=True)

    def _munge(self) -> list[str]:
        files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log"}
        files["seed-file"] = "munge.seed"
        return [f"--{option}={self.folder / name}" for option, name in files.items()]

    def _daemon(self, name: str, *words: str) -> None:
        path = shutil.which(words[0] if name in PORTS else name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        assert path
        arguments = words[1:] if name in PORTS else words
        log = (self.folder / f"{name}.out").open("ab")
        self._daemons[name] = subprocess.Popen([path, *arguments], stdout=log, stderr=log, start_new_session=True)

    def start(self, node: str) -> None:
        """Start the daemon of a node."""
        self._daemon(node, "slurmd", "-D", "-N", node)

    def stop(self, name: str, *, kill: bool = False) -> None:
        """End the daemon of a node, or another one."""
        daemon = self._daemons.pop(name)
        daemon.kill() if kill else daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def crash(self, node: str) -> None:
        """A node is gone at once: its daemon, and all of its jobs."""
        daemon = self._daemons[node].pid
        jobs = [*_below(daemon), *self._steps(node)]
        self.stop(node, kill=True)
        for process in {below for job in jobs for below in (job, *_below(job))}:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.run("scontrol", "update", f"nodename={node}", "state=down", "reason=crash")

    def bring_back(self, node: str) -> None:
        """The node is started again."""
        self.start(node)
        self.run("scontrol", "update", f"nodename={node}", "state=resume")
        self._until(lambda: self.states()[node] == "idle", f"{node} is idle")

    def _steps(self, node: str) -> list[int]:
        """The processes that look after the job steps of a node."""
        found = []
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                name = (process / "comm").read_text() if process.name.isdigit() else ""
                if name.startswith("slurmstepd") and f"slurmd.{node}.log" in _open_files(process):
                    found.append(int(process.name))
        return found

    def run(self, *words: str) -> subprocess.CompletedProcess:
        """Run one of Slurm's commands."""
        return subprocess.run(words, capture_output=True, text=True, timeout=20)

    def say(self, *words: str) -> str:
        """What one of Slurm's commands says."""
        return self.run(*words).stdout

    def states(self) -> dict[str, str]:
        """The state of each node."""
        return dict(line.split() for line in self.say("sinfo", "-h", "-N", "-o", "%N %T").splitlines())

    def _until(self, done, what: str, seconds: float = 30) -> None:
        began = time.monotonic()
        while not done():
            if time.monotonic() - began > seconds:
                said = "".join(file.read_text(errors="replace")[-2000:] for file in self.folder.glob("*.[lo][ou][gt]"))
                raise RuntimeError(f"not so after {seconds} s: {what}\n{said}")
            time.sleep(0.1)
