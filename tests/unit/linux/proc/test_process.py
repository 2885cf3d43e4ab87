"""Whether a process runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from darse.linux.proc.process import runs

_EXITING = 0x4


@pytest.mark.parametrize(
    ("state", "parent", "flags", "pending", "expected"),
    [
        ("S", 5, 0x400100, 0, True),
        ("S", 5, 0x400100, 1 << signal.SIGTERM - 1, True),
        ("S", 6, 0x400100, 0, False),
        ("Z", 5, 0x40010C, 0, False),
        ("X", 5, 0x40010C, 0, False),
        # The first of a pid namespace, which waits for the others to end.
        ("S", 5, 0x400100 | _EXITING, 0, False),
        # Killed, and not scheduled since.
        ("R", 5, 0x400100, 1 << signal.SIGKILL - 1, False),
    ],
)
def test_states(
    monkeypatch: pytest.MonkeyPatch, state: str, parent: int, flags: int, pending: int, expected: bool
) -> None:
    files = {
        "/proc/7/stat": f"7 (a) b) {state} {parent} 7 7 0 -1 {flags} 9 0",
        "/proc/7/status": f"Name:\ta) b\nSigPnd:\t{0:016x}\nShdPnd:\t{pending:016x}\nSigBlk:\t{1 << 8:016x}\n",
    }
    monkeypatch.setattr(Path, "read_bytes", lambda path: files[str(path)].encode())
    assert runs(7, 5) is expected


def test_a_real_one_and_one_that_is_gone() -> None:
    pid = os.posix_spawn("/bin/sleep", ["sleep", "100"], {})
    assert runs(pid, os.getpid())
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not runs(pid, os.getpid())
    os.waitpid(pid, 0)
    assert not runs(pid, os.getpid())
