"""What is said of an engine that does not start: one reason."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest

from darse.cli.engine.start_engine import _reason
from darse.client import permission

_TRACEBACK = """2026-01-01 INFO    darse.daemon: begun
Traceback (most recent call last):
  File "/x/y.py", line 1, in z
OSError: [Errno 22] Invalid argument: '/run/darse/bundles'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/x/y.py", line 2, in z
    raise
darse.core.errors.SystemFault: cannot mount
"""


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "INFO a\ndarsed: another engine runs on /var/lib/darse: stop it\n",
            "another engine runs on /var/lib/darse: stop it",
        ),
        (_TRACEBACK, "OSError: [Errno 22] Invalid argument: '/run/darse/bundles'"),
        ("killed\n\n", "killed"),
        ("", "it was not ready within 30 s"),
    ],
)
def test_one_reason(log: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("darsed: of an earlier start\n" + log)
    assert _reason(str(path), len("darsed: of an earlier start\n")) == reason


def test_no_permission_names_the_commands_for_the_group_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import grp

    def group(name: str, number: int) -> grp.struct_group:
        return grp.struct_group((name, "x", number, []))

    socket = tmp_path / "socket"
    socket.touch()
    monkeypatch.setattr(os, "stat", lambda _path: type("S", (), {"st_gid": 7})())
    monkeypatch.setattr(grp, "getgrgid", lambda number: group("docker", number))
    assert "`sudo usermod -aG docker $USER`" in permission.advice(str(socket))
    monkeypatch.setattr(os, "stat", lambda _path: type("S", (), {"st_gid": 0})())
    monkeypatch.setattr(grp, "getgrall", lambda: [group("root", 0), group("darse", 9)])
    told = permission.advice(str(socket))
    assert "`sudo usermod -aG darse $USER`" in told
    assert "groupadd" not in told
    assert "`sudo darse system restart`" in told
    monkeypatch.setattr(grp, "getgrall", lambda: [group("root", 0)])
    assert "`sudo groupadd docker` and `sudo usermod -aG docker $USER`" in permission.advice(str(socket))
