"""Repositories that a server of git's own has, on this host."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.support.waiting import wait_until

_ATTEMPTS = 5


def git(*arguments: str, cwd: Path) -> str:
    """Run git with no configuration of this host; return what it said."""
    identity = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com"}
    identity |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in identity.items()}
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, **identity},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@contextmanager
def served_repositories(directory: Path) -> Iterator[str]:
    """The URL of a directory whose repositories are served for the block: `URL/NAME` is one."""
    daemon, port = _start(directory)
    try:
        yield f"git://127.0.0.1:{port}"
    finally:
        _stop(daemon)


def _start(directory: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the server; it takes no port that somebody has already opened, so another may get ahead of it."""
    environment = {
        **os.environ,
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
    }
    for _ in range(_ATTEMPTS):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = ["git", "daemon", "--reuseaddr", "--export-all", f"--base-path={directory}", "--listen=127.0.0.1"]
        daemon = subprocess.Popen([*command, f"--port={port}"], env=environment, start_new_session=True)
        with contextlib.ExitStack() as stack:
            stack.callback(_stop, daemon)
            wait_until(partial(_is_over_or_answers, daemon, port), 60, "the server of git")
            if daemon.poll() is None:
                stack.pop_all()
                return daemon, port
    raise AssertionError(f"git daemon has ended {_ATTEMPTS} times, the last time with {daemon.returncode}")


def _is_over_or_answers(daemon: subprocess.Popen[bytes], port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return daemon.poll() is not None


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(daemon.pid, signal.SIGTERM)
    daemon.wait()
