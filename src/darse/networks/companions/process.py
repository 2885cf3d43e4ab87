"""The process of a companion: started, replaced by one of another version, and found again after a crash."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import darse
from darse.linux.proc.process import Process, command_of, parent_of, spawn

_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); import {module} as m; m.main(sys.argv[1:])"
_CONTROL = "control"
_LOG = "log"
_BACKLOG = 16
_KILL_SECONDS = 5.0


class CompanionProcess:
    """Where a companion's process of one engine is found."""

    def __init__(self, directory: Path, module: str, parts: tuple[str, ...]) -> None:
        """`directory`, below the exec root, holds the control socket and what the process reports.

        The process runs `main` of `module`; `parts`, patterns below the package, are where the code is that it runs.
        """
        self._directory = directory
        self._start = _START.format(module=module)
        self._parts = parts
        self._version = ""

    @property
    def version(self) -> str:
        """Names the code that a process runs; of one that runs other code the version is another."""
        if not self._version:
            package = Path(darse.__path__[0])
            digest = hashlib.sha256(sys.version.encode())
            for pattern in self._parts:
                for path in sorted(package.glob(pattern)):
                    digest.update(path.read_bytes())
            self._version = digest.hexdigest()[:16]
        return self._version

    def exists(self) -> bool:
        """Whether a process was started and not removed; it may have been killed."""
        return (self._directory / _CONTROL).exists()

    def runs(self) -> bool:
        """Whether a process takes connections."""
        try:
            self.connect().close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    def connect(self) -> socket.socket:
        """Connect to the process that runs. Raises FileNotFoundError and ConnectionRefusedError when there is none."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with self._address() as address:
                sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return sock

    def start(self) -> int:
        """Start a process, in place of those that are left of one that was killed; return its pid. Raises OSError."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            (self._directory / _CONTROL).unlink(missing_ok=True)
            with self._address() as address:
                listener.bind(address)
            listener.listen(_BACKLOG)
            started = self._spawn("listen", listener)
        # While the program is loaded: on a busy host it takes a while to look through all processes.
        self.kill(but=started)
        return started

    def succeed(self, predecessor: socket.socket) -> int:
        """Start a process that takes over from the one at the other end of `predecessor`; return its pid."""
        return self._spawn("succeed", predecessor)

    def _spawn(self, mode: str, given: socket.socket) -> int:
        path = str(Path(darse.__path__[0]).parent)
        control = str(self._directory / _CONTROL)
        command = [sys.executable, "-I", "-S", "-c", self._start, path, mode, control, self.version]
        return spawn(command, {"LC_ALL": "C.UTF-8"}, {3: given.fileno()}, stderr=self._directory / _LOG)

    @contextlib.contextmanager
    def _address(self) -> Iterator[str]:
        """The control socket's name, which has to be short: unix(7)."""
        descriptor = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield f"/proc/self/fd/{descriptor}/{_CONTROL}"
        finally:
            os.close(descriptor)

    def kill(self, but: int = 0) -> None:
        """End all processes but one and its worker. Blocks.

        A worker whose supervisor was killed serves on, and holds the sockets.
        """
        control = str(self._directory / _CONTROL)
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == but:
                continue
            command = command_of(int(entry))
            if control not in command or self._start not in command:
                continue
            with contextlib.suppress(ProcessLookupError):
                process = Process(int(entry))
                try:
                    if control in command_of(process.pid) and (not but or parent_of(process.pid) != but):
                        process.send(signal.SIGKILL)
                        process.await_end(_KILL_SECONDS)
                finally:
                    process.close()

    def remove(self) -> None:
        """Remove the control socket and the reports of a process that has ended."""
        for name in (_CONTROL, _LOG):
            (self._directory / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._directory.rmdir()
