"""Starting darsed when nothing answers on the default socket: no service has to be set up first.

The engine tells when it is ready through the same message that it sends to a service manager (sd_notify(3)), so
nothing is polled. A lock keeps two commands from starting two.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import subprocess
import sys
import tempfile
import time

from darse.cli.errors import CliError, ConnectionFailed

_TIMEOUT_SECONDS = 30.0


def start_engine(path: str) -> None:
    """Start darsed on its default socket `path` and return when it is ready. Raises CliError."""
    if os.geteuid() != 0:
        raise ConnectionFailed(
            f"no engine answers on unix://{path}, and only root can start one: run `sudo darsed`, or set DARSE_HOST"
        )
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o711, exist_ok=True)
    with open(os.path.join(directory, "start.lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _answers(path):
            sys.stderr.write("darse: starting darsed\n")
            start(os.path.join(directory, "darsed.log"), [], dict(os.environ))


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def start(log_path: str, arguments: list[str], environment: dict[str, str]) -> None:
    """Start darsed, detached, and return when it is ready. Raises CliError with the reason when it does not start."""
    with tempfile.TemporaryDirectory(prefix="darse-") as directory, open(log_path, "ab") as log:
        begin = os.fstat(log.fileno()).st_size
        notify = os.path.join(directory, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(notify)
            engine = subprocess.Popen(
                [sys.executable, "-m", "darse.daemon", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd="/",
                env={**environment, "NOTIFY_SOCKET": notify},
            )
            if not _is_ready(ready, engine):
                engine.kill()
                raise CliError(f"darsed did not start: {_reason(log_path, begin)} (all it said is in {log_path})")


def _is_ready(ready: socket.socket, engine: subprocess.Popen[bytes]) -> bool:
    """Wait for the message, or for the engine's end."""
    ended = os.pidfd_open(engine.pid)
    try:
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([ready.fileno(), ended], [], [], left)
            if ready.fileno() in readable and b"READY=1" in ready.recv(4096):
                return True
            if ended in readable:
                return False
        return False
    finally:
        os.close(ended)


def _reason(path: str, begin: int) -> str:
    """Why an engine ended, from what it has logged since `begin`: its last words, or the last error of a traceback."""
    with open(path, "rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()
    messages = [line.removeprefix("darsed: ") for line in lines if line.startswith("darsed: ")]
    # The last line of a traceback is the only one that is not indented and names an exception.
    errors = [line for line in lines if line[:1].isalpha() and line.partition(":")[0].endswith(("Error", "Exception"))]
    last = [line for line in lines if line.strip()]
    return (messages or errors or last or [f"it was not ready within {_TIMEOUT_SECONDS:.0f} s"])[-1]
