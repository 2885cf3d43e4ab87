"""Whether a process runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from darse.linux.proc.process import runs, spawn

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


def test_a_program_that_is_not_executed_yet_holds_nobody_up(tmp_path: Path) -> None:
    """The child opens a fifo before it executes: with the interpreter's lock held, nobody would open the other end."""
    os.mkfifo(tmp_path / "fifo")
    script = """
        import os, sys, threading
        from pathlib import Path
        from darse.linux.proc.process import spawn
        fifo = Path(sys.argv[1])
        pids = []
        thread = threading.Thread(target=lambda: pids.append(spawn(["/bin/true"], {}, {}, stderr=fifo)))
        thread.start()
        os.close(os.open(fifo, os.O_RDONLY))
        thread.join()
        print(os.waitpid(pids[0], 0)[1])
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "fifo")]
    try:
        assert subprocess.run(command, capture_output=True, timeout=20, check=True).stdout == b"0\n"
    finally:
        # Whoever still waits for the other end has it, and ends.
        os.close(os.open(tmp_path / "fifo", os.O_RDWR))


def test_a_program_has_its_descriptors_directory_and_environment_and_no_ignored_signal(tmp_path: Path) -> None:
    output, errors = (os.open(tmp_path / name, os.O_WRONLY | os.O_CREAT, 0o600) for name in ("out", "err"))
    script = 'echo "$A $PWD"; echo wrong >&7; kill -PIPE $$'
    # Numbers of ours that are those of the child, the other way about.
    pid = spawn(["/bin/sh", "-c", script], {"A": "b"}, {7: errors, 1: output}, directory="/usr")
    os.close(output)
    os.close(errors)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGPIPE
    assert (tmp_path / "out").read_text() == "b /usr\n"
    assert (tmp_path / "err").read_text() == "wrong\n"


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"No such file or directory: '{tmp_path}/program'"):
        spawn([f"{tmp_path}/program"], {}, {})


def test_a_null_byte_ends_no_word() -> None:
    with pytest.raises(ValueError, match="embedded null byte"):
        spawn(["/bin/true", "a\0b"], {}, {})
