"""`make stop` says what it did, or whom to ask."""

from __future__ import annotations

import fcntl
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.support.engine import REPOSITORY

PROGRAM = REPOSITORY / "setup" / "stop_engine.py"
# Like an engine: it holds a lock, says so, and ends at SIGTERM.
HOLDER = """
import fcntl, sys, signal
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
signal.pause()
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("stop_engine", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "LOCK", tmp_path / "lock")
    return module


def test_nothing_to_stop(program: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    program.main()
    program.LOCK.touch()
    program.main()
    assert capsys.readouterr().out == "no engine is running: nothing to stop\n" * 2


def test_what_was_stopped_is_said(program: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", HOLDER, str(program.LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        program.main()
        assert holder.wait(10) == -15
    assert capsys.readouterr().out == f"the engine (process {holder.pid}) has stopped; containers run on\n"
    with program.LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_user_is_told_to_ask_root(program: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", refuse)
        with pytest.raises(SystemExit, match="for root to see: try sudo make stop"):
            program.main()
    monkeypatch.setattr(program, "lock_holder", lambda _: 1)
    monkeypatch.setattr(program.os, "pidfd_open", refuse)
    with pytest.raises(SystemExit, match=r"process 1\) belongs to root: try sudo make stop"):
        program.main()
