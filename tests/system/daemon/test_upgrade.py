"""An engine whose files are replaced goes on; `system restart` brings the new ones into use."""

from __future__ import annotations

import os
import select
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.support.engine import BUSYBOX, REPOSITORY, Engine
from tests.support.leaks import processes_of
from tests.support.small_images import tar
from tests.support.waiting import wait_until

_SOURCE = REPOSITORY / "src"


def test_an_engine_outlives_its_files(new_engine: Callable[..., Engine], tmp_path: Path) -> None:
    """Its lazy imports (registry client, checks) and its workers come from what it was started from."""
    installed = tmp_path / "installed"
    shutil.copytree(_SOURCE / "darse", installed / "darse", ignore=shutil.ignore_patterns("__pycache__"))
    engine = new_engine(environment={"PYTHONPATH": str(installed)})
    wait_until((engine.data_root / "code" / "darse" / "wire" / "system.py").exists, what="the copy")
    wait_until(lambda: "is ready" in engine.log(), what="the log")
    shutil.rmtree(installed)
    docker = engine.docker
    refused = docker("pull", "localhost:1/nothing")
    assert "ModuleNotFoundError" not in refused.err
    assert "connection refused" in refused.err
    archive = tmp_path / "made.tar"
    archive.write_bytes(tar({"file": b"new"}))
    docker("import", str(archive), "made:1").ok()
    docker("run", "-d", "--name", "box", BUSYBOX, "sleep", "60").ok()
    docker("cp", "box:/etc/passwd", str(tmp_path / "passwd")).ok()
    assert docker("exec", "box", "echo", "hi").ok().out == "hi\n"
    assert "ModuleNotFoundError" not in engine.log()


def test_restart(new_engine: Callable[..., Engine]) -> None:
    engine = new_engine("--log-level", "debug")
    engine.darse("run", "-d", "--name", "box", BUSYBOX, "sleep", "60").ok()
    before = engine.pid
    done = engine.darse("system", "restart").ok()
    assert done.out == "the engine was restarted; containers ran on\n"
    assert engine.process is not None
    engine.process.wait(10)
    (pid,) = (pid for pid, _ in processes_of(engine.root) if _is_engine(pid))
    try:
        assert pid != before
        assert engine.darse("ps", "--format", "{{.Names}}").ok().out == "box\n"
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        assert b"debug" in words
    finally:
        engine.darse("rm", "-f", "box")
        pidfd = os.pidfd_open(pid)
        os.kill(pid, 15)
        select.select([pidfd], [], [], 20)
        os.close(pidfd)


def _is_engine(pid: int) -> bool:
    return b"darse.daemon" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def test_only_an_engine_of_this_machine_is_restarted(engine: Engine) -> None:
    refused = engine.darse("-H", "tcp://127.0.0.1:1", "system", "restart")
    assert "only one on a unix socket can be from here" in refused.err
    assert engine.darse("-H", "unix:///nonexistent.sock", "system", "restart").status == 1
