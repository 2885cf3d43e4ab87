"""An engine whose control group allows no more processes: fork(2) fails with EAGAIN, and so do new threads."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine

_REFUSED = "resource temporarily unavailable: cannot start"


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of the pids controller."""
    v1, v2 = Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")
    if not v1.is_dir() and "pids" not in (v2 / "cgroup.controllers").read_text().split():
        pytest.skip("no pids controller")
    path = (v1 if v1.is_dir() else v2) / f"dz-{secrets.token_hex(4)}"
    path.mkdir()
    yield path
    path.rmdir()


def test_without_processes_clients_are_told_and_nothing_is_left(group: Path, new_engine: Callable[..., Engine]) -> None:
    engine = new_engine()
    docker = engine.docker
    docker("run", "-d", "--name", "stopped", BUSYBOX, "true").ok()
    docker("wait", "stopped").ok()
    (group / "cgroup.procs").write_text(str(engine.pid))
    (group / "pids.max").write_text((group / "pids.current").read_text())
    try:
        for command in (("run", "--rm", BUSYBOX, "true"), ("start", "stopped"), ("cp", "stopped:/etc/passwd", "-")):
            refused = docker(*command, timeout=20)
            assert refused.status != 0
            assert _REFUSED in refused.err, command
        docker("ps", "-a", timeout=20).ok()
        docker("rm", "stopped", timeout=20)
    finally:
        (group / "pids.max").write_text("max")
    docker("run", "--rm", BUSYBOX, "true").ok()
    assert "Traceback" not in engine.log(1 << 20)
    for _ in range(8):
        docker("run", "--rm", BUSYBOX, "true").ok()
    engine.restart()
    assert docker("ps", "-aq").ok().out.split() == []
    engine.close()
