"""An engine whose data root is full: nothing is lost, and its own means free the disk."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.disk import SmallDisk, small_disk
from tests.support.engine import BUSYBOX, Engine


class Starved:
    """An engine on a small disk."""

    def __init__(self, engine: Engine, disk: SmallDisk) -> None:
        self.engine = engine
        self.disk = disk


@pytest.fixture
def starved() -> Iterator[Starved]:
    place = Path(tempfile.mkdtemp(prefix="dz-disk-", dir="/tmp"))
    with small_disk(place) as disk:
        engine = Engine()
        engine.data_root = place / "d"
        try:
            engine.up()
            yield Starved(engine, disk)
            disk.free()
            if engine.process is None or engine.process.poll() is not None:
                engine.up()
            engine.remove_all()
            assert engine.stop() == 0, engine.log()
            assert not engine.leaks()
        finally:
            engine.sweep_host()
            shutil.rmtree(engine.root, ignore_errors=True)
    place.rmdir()


def _state(engine: Engine, name: str) -> dict:
    return engine.api("GET", f"/containers/{name}/json").json()["State"]


def test_exits_are_kept_and_told(starved):
    engine, disk = starved.engine, starved.disk
    docker = engine.docker
    docker("run", "-d", "--name", "waits", "-i", BUSYBOX, "sh", "-c", "read x; exit 7").ok()
    docker("run", "-d", "--name", "sleeps", BUSYBOX, "sleep", "1000").ok()
    disk.fill()
    waiter = docker.popen("wait", "waits")
    docker("kill", "--signal", "KILL", "waits", timeout=15).ok()
    assert waiter.communicate(timeout=15)[0].decode().strip() == "137"
    docker("stop", "-t", "1", "sleeps", timeout=15).ok()
    before = {name: _state(engine, name) for name in ("waits", "sleeps")}
    engine.kill9()
    disk.free()
    engine.up()
    for name, state in before.items():
        now = _state(engine, name)
        assert (now["Status"], now["ExitCode"], now["FinishedAt"]) == ("exited", state["ExitCode"], state["FinishedAt"])


def test_starts_and_removes_without_a_byte(starved):
    engine, disk = starved.engine, starved.disk
    docker = engine.docker
    docker("run", "-d", "--name", "goes", "-v", "data:/data", BUSYBOX, "sleep", "1000").ok()
    docker("network", "create", "net").ok()
    docker("tag", BUSYBOX, "other:1").ok()
    disk.fill()
    engine.kill9()
    engine.up()
    disk.fill()
    assert engine.stop() == 0
    engine.up()
    disk.fill()
    docker("rm", "-f", "goes", timeout=15).ok()
    docker("rmi", "other:1", timeout=15).ok()
    docker("volume", "rm", "data", timeout=15).ok()
    docker("network", "rm", "net", timeout=15).ok()
    docker("system", "prune", "-af", timeout=15).ok()
    assert "Traceback" not in engine.log(100_000)
