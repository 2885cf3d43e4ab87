"""A real `darsed` on roots, socket, bridge and addresses of its own, and the clients that speak to it.

engine = Engine.start()            # ready when this returns
engine.docker("run", "--rm", "builtin/busybox", "true")
engine.kill9(); engine.restart()   # crash it
engine.close()                     # stops it, asserts that nothing is left, and that nothing has blocked its event loop
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.support.http import ApiClient
from tests.support.leaks import cgroups_of, find_leaks, instance_of, processes_of
from tests.support.waiting import PATIENCE, wait_until, wait_while

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = REPOSITORY / ".venv" / "bin"
BUSYBOX = "builtin/busybox"
_READY_SECONDS = 60 * PATIENCE
_STOP_SECONDS = 60 * PATIENCE
# What may block an engine's event loop: twice as much while its coverage is taken, which makes Python as slow.
_STALL_MILLISECONDS = int(os.environ.get("DARSE_TEST_STALL_MS", "200" if os.environ.get("DARSE_COVERAGE") else "100"))
_STALL = re.compile(r"^.*the event loop was blocked for .*(?:\n(?:in \d+ of|no stack| ).*)*", re.MULTILINE)
_MEASURING = ("-m", "coverage", "run", "--parallel-mode", f"--rcfile={REPOSITORY}/pyproject.toml")
# The environment's own settings must not reach the engines and clients under test.
_DROPPED = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DARSE_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


@dataclass(frozen=True)
class Done:
    """A client's program that has ended."""

    command: tuple[str, ...]
    status: int
    raw: bytes
    raw_err: bytes

    @property
    def out(self) -> str:
        """Its standard output as text."""
        return self.raw.decode(errors="replace")

    @property
    def err(self) -> str:
        """Its standard error as text."""
        return self.raw_err.decode(errors="replace")

    @property
    def line(self) -> str:
        """Its output without the end of the line: an id, say."""
        return self.out.strip()

    def ok(self) -> Done:
        """Itself, when it succeeded; AssertionError with what it said otherwise."""
        assert self.status == 0, f"{' '.join(self.command)} ended with {self.status}:\n{self.err}{self.out}"
        return self


class Client:
    """One of the commands, `docker` or `darse`, bound to an engine."""

    def __init__(self, program: str, host: str, config: Path) -> None:
        self.name = os.path.basename(program)
        self.program = program
        self.environment = {
            **{key: value for key, value in os.environ.items() if key not in _DROPPED},
            "DOCKER_HOST": host,
            "DARSE_HOST": host,
            "DOCKER_CONFIG": str(config),
            "DOCKER_CLI_HINTS": "false",
        }

    def __call__(
        self,
        *arguments: str,
        input: str | bytes | None = None,
        timeout: float = 60,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        """Run the command to its end and return what it did, whatever its exit status. Raises TimeoutExpired."""
        data = input.encode() if isinstance(input, str) else input
        command = (self.program, *arguments)
        done = subprocess.run(
            command,
            input=data,
            stdin=subprocess.DEVNULL if data is None else None,
            capture_output=True,
            timeout=timeout * PATIENCE,
            env={**self.environment, **(env or {})},
            cwd=cwd,
            check=False,
        )
        return Done(command, done.returncode, done.stdout, done.stderr)

    def needs(self, major: int, what: str) -> None:
        """Skip the test when this is docker's client of a version that does not know `what` yet (Debian 12's is 20)."""
        if self.name != "docker":
            return
        found = int(self("version", "--format", "{{.Client.Version}}").ok().out.partition(".")[0])
        if found < major:
            pytest.skip(f"docker's client {found} does not know {what}")

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Start the command with pipes; `options` are Popen's."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen((self.program, *arguments), env=self.environment, **pipes)

    def terminal(self, *arguments: str, rows: int = 24, columns: int = 80, timeout: float = 20) -> pexpect.spawn:
        """Run the command on a terminal of its own."""
        environment = {**self.environment, "TERM": "xterm"}
        return pexpect.spawn(
            self.program, list(arguments), env=environment, dimensions=(rows, columns), timeout=timeout, echo=False
        )


class Engine:
    """One engine. Its roots live in a new directory below /tmp: short, for socket paths have 108 bytes.

    Its exec root is in memory, as `/run` is on the machines of users.
    """

    def __init__(
        self,
        *flags: str,
        root: Path | None = None,
        environment: Mapping[str, str] | None = None,
        within: Sequence[str] = (),
        coverage: bool = True,
    ) -> None:
        """Choose the roots; `flags` are passed to darsed after those for the roots.

        environment: variables that it has besides.
        within: a command that it is started with, and replaces: to run it in other namespaces, say.
        coverage: whether it is measured where the tests are.
        """
        self.root = root or Path(tempfile.mkdtemp(prefix="dz-", dir=os.environ.get("DARSE_TEST_ROOT", "/tmp")))
        self.data_root = self.root / "d"
        self.exec_root = self.root / "x"
        self.socket = self.exec_root / "darse.sock"
        self.host = f"unix://{self.socket}"
        self.flags = flags
        self.environment = dict(environment or {})
        self.within = tuple(within)
        self._coverage = os.environ.get("DARSE_COVERAGE", "") if coverage else ""
        self.process: subprocess.Popen[bytes] | None = None
        self._killed = False
        self.log_path = self.root / "log"
        self.api = ApiClient(str(self.socket))
        self._docker: Client | None = None
        self._stalls = 0

    @classmethod
    def start(cls, *flags: str, **options: Any) -> Engine:
        """Make an engine and start it; `options` are those of the constructor."""
        engine = cls(*flags, **options)
        engine.up()
        return engine

    @property
    def docker(self) -> Client:
        """docker's own client."""
        if self._docker is None:
            program = docker_program()
            assert program, "there is no docker client: `make setup-test` fetches one"
            self._docker = Client(program, self.host, self.root / "config")
        return self._docker

    @property
    def darse(self) -> Client:
        """Our command."""
        return Client(str(BIN / "darse"), self.host, self.root / "config")

    @property
    def pid(self) -> int:
        """The engine's process."""
        assert self.process is not None
        return self.process.pid

    def up(self) -> None:
        """Start the process and wait until it says that it is ready (sd_notify). Raises AssertionError."""
        notify = self.root / "notify"
        notify.unlink(missing_ok=True)
        self._mount_exec_root()
        self._killed = False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, open(self.log_path, "ab") as log:
            ready.bind(str(notify))
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self._process_environment(), "NOTIFY_SOCKET": str(notify), **self.environment},
                start_new_session=True,
            )
            pidfd = os.pidfd_open(self.process.pid)
            try:
                events, _, _ = select.select([ready, pidfd], [], [], _READY_SECONDS)
            finally:
                os.close(pidfd)
            if ready not in events:
                status = self.process.poll()
                if status is None:
                    self.process.kill()
                    self.process.wait()
                raise AssertionError(f"the engine did not get ready (exit status {status}):\n{self.log()}")

    def _process_environment(self) -> dict[str, str]:
        # A crash of the interpreter shows in the log where it was.
        found = {**os.environ, "PYTHONFAULTHANDLER": "1"}
        if self._coverage:
            found["COVERAGE_FILE"] = f"{self._coverage}/engine-{uuid.uuid4().hex}"
        return found

    def _mount_exec_root(self) -> None:
        # Other namespaces have mounts of their own.
        if self.exec_root == self.root / "x" and not self.within and not self.exec_root.is_mount():
            self.exec_root.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=711", "darse", str(self.exec_root)], check=True)

    def command(self) -> list[str]:
        """The command line of the engine."""
        return [
            *self.within,
            *(sys.executable, *(_MEASURING if self._coverage else ()), "-m", "darse.daemon"),
            *("--data-root", str(self.data_root), "--exec-root", str(self.exec_root)),
            f"--debug-loop-stalls={_STALL_MILLISECONDS}",
            *self.flags,
        ]

    def kill9(self) -> None:
        """End the engine as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._killed = True

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Stop the engine in order and return its exit status; containers run on."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        return self.process.wait(_STOP_SECONDS)

    def restart(self) -> None:
        """Stop the engine if it runs, and start it again."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        self.up()

    def log(self, last: int = 8000) -> str:
        """The end of what the engine has logged, `last` characters of it."""
        return self.log_path.read_text(errors="replace")[-last:] if self.log_path.exists() else ""

    def remove_all(self) -> None:
        """Remove all containers, volumes, networks and plugins.

        Raises AssertionError when the engine has ended by itself.
        """
        status = self.process.poll() if self.process is not None else None
        assert status is None, f"the engine has ended by itself, with {status}:\n{self.log()}"
        for container in self.api("GET", "/containers/json?all=1").json():
            gone = self.api("DELETE", f"/containers/{container['Id']}?force=1&v=1")
            assert gone.status in (204, 404), (container["Names"], gone.status, gone.body)
        for volume in self.api("GET", "/volumes").json()["Volumes"] or []:
            self.api("DELETE", f"/volumes/{volume['Name']}?force=1")
        for network in self.api("GET", "/networks").json():
            if network["Name"] not in ("bridge", "host", "none"):
                self.api("DELETE", f"/networks/{network['Id']}")
        for plugin in self.api("GET", "/plugins").json():
            self.api("DELETE", f"/plugins/{plugin['Id']}?force=1")

    def close(self, *, check: bool = True) -> None:
        """Remove everything, stop, remove the roots; assert that nothing is left on the host."""
        try:
            status = self.process.poll() if self.process is not None else 0
            crashed = status is not None and status < 0 and not self._killed
            if status is None or crashed:
                self.remove_all()
                status = self.stop()
                assert status == 0, f"the engine ended with {status}:\n{self.log()}"
        finally:
            left = self.leaks()
            stalls = self._new_stalls()
            self._sweep()
        assert not check or not left, "the engine left behind:\n  " + "\n  ".join(left)
        assert not check or not stalls, "\n".join(stalls)

    def refuse_stalls(self) -> None:
        """Assert that nothing has blocked the engine's event loop since the last time that this was asked."""
        stalls = self._new_stalls()
        assert not stalls, "\n".join(stalls)

    def _new_stalls(self) -> list[str]:
        found = _STALL.findall(self.log_path.read_text(errors="replace")) if self.log_path.exists() else []
        new, self._stalls = found[self._stalls :], len(found)
        return new

    def leaks(self, seconds: float = 10) -> list[str]:
        """What is left on the host, after the kernel has had `seconds` to finish its own tidying."""
        seen: list[str] = []

        def clean() -> bool:
            seen[:] = find_leaks(self.root)
            return not seen

        try:
            wait_until(clean, seconds, "a clean host")
        except AssertionError:
            return seen
        return []

    def _sweep(self) -> None:
        """Remove by force what a failed test has left, so that it does not disturb the others."""
        self.sweep_host()
        shutil.rmtree(self.root, ignore_errors=True)

    def sweep_host(self) -> None:
        """End by force all that is this engine's and is on no disk."""
        for pid, _ in processes_of(self.root):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
            points = [line.split()[4] for line in mounts if str(self.root) in line]
        for point in reversed(points):
            subprocess.run(["umount", "-l", point], check=False, capture_output=True)
        wait_while(self._remaining_cgroups, what="the end of the engine's processes")
        instance = instance_of(self.exec_root)
        for link in os.listdir("/sys/class/net"):
            if instance in link:
                subprocess.run(["ip", "link", "delete", link], check=False, capture_output=True)
        tables = subprocess.run(["nft", "list", "tables"], check=False, capture_output=True, text=True).stdout
        for line in tables.splitlines():
            if instance in line:
                subprocess.run(["nft", "delete", *line.split()], check=False, capture_output=True)

    def _remaining_cgroups(self) -> list[Path]:
        """Remove the control groups in which nothing runs any more; return those that are left."""
        for cgroup in cgroups_of(self.exec_root):
            for directory in (*(path for path in cgroup.iterdir() if path.is_dir()), cgroup):
                with contextlib.suppress(OSError):
                    directory.rmdir()
        return cgroups_of(self.exec_root)


def docker_program() -> str | None:
    """docker's client: the installed one, or the one that the set-up has fetched."""
    fetched = REPOSITORY / ".venv" / "libexec" / "docker"
    return shutil.which("docker") or (str(fetched) if fetched.exists() else None)
