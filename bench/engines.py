"""The engines that are compared, each on roots and a socket of its own, in a network namespace of its own.

The namespace keeps dockerd's bridge and its iptables rules from the host, and ends with the engine; darsed gets one
too, so that both stand on equal ground.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from darse.linux.fs.mounts import change_file_system

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_MEMBARRIER = {"x86_64": 324, "aarch64": 283}[platform.machine()]
_MEMBARRIER_CMD_GLOBAL = 1
_READY_SECONDS = 60
_STOP_SECONDS = 30
_CGROUPS = Path("/sys/fs/cgroup")
_TMPFS = "/dev/shm" if os.path.ismount("/dev/shm") else "/run"


class BenchEngine:
    """An engine under measurement."""

    name = ""
    # Programs that hold a running container, by the start of their command lines.
    helpers: tuple[str, ...] = ()
    # Whether it may be without what is measured: that is left out of the table, not an error.
    may_lack = False
    # Whether the engine switches the kernel to fast moves between control groups while it runs (favordynmods).
    favors_moves = False

    def __init__(self, directory: Path = Path("/tmp")) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="bench-", dir=directory))
        # Where an engine keeps what does not outlive a reboot: on a tmpfs, as /run is.
        self.exec_root = Path(tempfile.mkdtemp(prefix="bench-", dir=_TMPFS))
        self.socket = self.root / "s"
        self.environment = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.root / "c")}
        # What a measurement's preparation leaves for it, by name.
        self.notes: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data_root(self) -> Path:
        """Where the engine keeps images, containers and volumes."""
        return self.root / "d"

    @property
    def namespace(self) -> list[str]:
        """A command that runs another in the engine's network namespace."""
        assert self._process is not None
        return ["nsenter", f"--net=/proc/{self._process.pid}/ns/net"]

    def command(self) -> list[str]:
        """The engine's command line."""
        raise NotImplementedError

    @property
    def cgroup_parent(self) -> str:
        """The name of the cgroup that its containers are in."""
        return self.root.name

    def take_turn(self) -> None:
        """Give the engine the host as it would be if the other did not run: each has its own way with the kernel."""
        option = frozenset({"favordynmods"})
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, target, kind, *_ = line.split(" ")
            if kind == "cgroup2":
                with contextlib.suppress(OSError):  # kernels before 6.0 have no such switch
                    wanted, unwanted = (option, frozenset()) if self.favors_moves else (frozenset(), option)
                    change_file_system(Path(target), wanted, unwanted)
        # The switch takes effect after grace periods of RCU, each of which this call waits for (membarrier(2)).
        for _ in range(2):
            _libc.syscall(_SYS_MEMBARRIER, _MEMBARRIER_CMD_GLOBAL, 0, 0)

    def start(self) -> float:
        """Start the engine and return the seconds until it answered a ping."""
        with open(self.root / "log", "ab") as log:
            began = time.perf_counter()
            self._process = subprocess.Popen(
                ["unshare", "--net", "sh", "-c", 'ip link set lo up; exec "$@"', "sh", *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = began + _READY_SECONDS
        while not self._answers():
            if time.perf_counter() > deadline or self._process.poll() is not None:
                text = (self.root / "log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{self.name} did not start:\n{text}")
            time.sleep(0.001)
        return time.perf_counter() - began

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            try:
                client.connect(str(self.socket))
                client.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                return client.recv(100).startswith(b"HTTP/1.1 200")
            except OSError:
                return False

    def stop(self) -> None:
        """Stop the engine in order."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(_STOP_SECONDS)

    def close(self) -> None:
        """Remove all containers, stop, and take away what is left."""
        with contextlib.suppress(subprocess.CalledProcessError, FileNotFoundError):
            containers = self.docker("ps", "-aq").split()
            if containers:
                self.docker("rm", "-f", *containers)
        self.discard()

    def discard(self) -> None:
        """Stop, and take away what is left; containers that are on record stay in a data root that is elsewhere."""
        self.stop()
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            roots = (f"{self.root}/", f"{self.exec_root}/")
            points = [line.split()[4] for line in mounts if any(root in line for root in roots)]
        for point in reversed(points):
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)
        for parent in (_CGROUPS, *_CGROUPS.iterdir()):
            for directory in (parent / self.cgroup_parent, parent / "docker"):
                with contextlib.suppress(OSError):
                    directory.rmdir()
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.rmtree(self.exec_root, ignore_errors=True)

    def docker(self, *arguments: str, data: bytes | None = None) -> str:
        """docker's client against this engine. Raises CalledProcessError."""
        done = subprocess.run(["docker", *arguments], env=self.environment, input=data, capture_output=True, check=True)
        return done.stdout.decode()

    def save(self, image: str) -> bytes:
        """An image as an archive."""
        command = ["docker", "save", image]
        return subprocess.run(command, env=self.environment, capture_output=True, check=True).stdout

    def processes(self) -> list[int]:
        """The engine's own processes: it and its descendants, but not those that hold containers."""
        assert self._process is not None
        found, waiting = [], [self._process.pid]
        while waiting:
            pid = waiting.pop()
            if not _command_line(pid).startswith(self.helpers):
                found.append(pid)
            children = Path(f"/proc/{pid}/task/{pid}/children")
            with contextlib.suppress(FileNotFoundError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    children = task / "children"
                    waiting += map(int, children.read_text().split())
        return found

    def holders(self) -> list[int]:
        """The processes that hold running containers."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                line = _command_line(int(entry))
                if line.startswith(self.helpers) and (str(self.root) in line or str(self.exec_root) in line):
                    found.append(int(entry))
        return found


class Darsed(BenchEngine):
    """Ours, and our own command beside it."""

    name = "darsed"
    favors_moves = True
    helpers = ("/usr/bin/conmon",)
    # Where its programs are.
    programs = Path(sys.executable).parent

    def command(self) -> list[str]:
        """See BenchEngine."""
        daemon = self.programs / "darsed"
        roots = ["--data-root", str(self.root / "d"), "--exec-root", str(self.exec_root)]
        return [str(daemon), *roots, "-H", f"unix://{self.socket}", "--cgroup-parent", f"/{self.cgroup_parent}"]

    @property
    def darse(self) -> str:
        """The command of the same tree."""
        return str(self.programs / "darse")

    @property
    def darse_environment(self) -> dict[str, str]:
        """What has the command speak to this engine."""
        return {**self.environment, "DARSE_HOST": f"unix://{self.socket}"}


class Before(Darsed):
    """An earlier darse, in dockerd's place."""

    name = "before"
    may_lack = True

    def __init__(self, directory: Path, programs: Path) -> None:
        super().__init__(directory)
        self.programs = programs


class Dockerd(BenchEngine):
    """Debian's docker.io, with its containerd."""

    name = "dockerd"
    helpers = ("/usr/bin/containerd-shim",)

    def command(self) -> list[str]:
        """See BenchEngine."""
        return [
            *("dockerd", "--data-root", str(self.root / "d"), "--exec-root", str(self.exec_root)),
            *("-p", str(self.root / "pid"), "-H", f"unix://{self.socket}", "--bip", "10.96.0.1/16"),
            *("--cgroup-parent", f"/{self.cgroup_parent}", "--log-level", "error"),
        ]


def memory(pids: list[int], field: str = "Pss") -> float:
    """A field of smaps_rollup (proc(5)) added up, in MiB: `Pss` counts what is shared in parts, `Rss` in full."""
    total = 0
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(f"{field}:"):
                    total += int(line.split()[1])
    return total / 1024


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
