"""Engines on small disks."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.disk import SmallDisk, small_disk
from tests.support.engine import Client, Engine


@dataclass
class Starved:
    """An engine one of whose roots is on a small disk."""

    engine: Engine
    disk: SmallDisk
    ended: bool = False

    @property
    def docker(self) -> Client:
        return self.engine.docker

    def state(self, name: str) -> dict:
        """What inspect says of a container's state."""
        return self.engine.api("GET", f"/containers/{name}/json").json()["State"]

    def end(self) -> None:
        """Free the disk: all is well again, and nothing is left."""
        self.disk.free()
        if self.engine.process is None or self.engine.process.poll() is not None:
            self.engine.up()
        self.engine.remove_all()
        assert self.engine.stop() == 0, self.engine.log()
        self.ended = True
        assert "Traceback" not in self.engine.log(1 << 20), self.engine.log(1 << 20)
        assert self.engine.leaks() == []

    def give_up(self) -> None:
        """After a test that failed: end what still runs, and take what is on the host off it."""
        if self.ended:
            return
        with contextlib.suppress(AssertionError, OSError, subprocess.SubprocessError):
            self.disk.remount("rw")
            self.disk.free()
            if self.engine.process is None or self.engine.process.poll() is not None:
                self.engine.up()
            self.engine.remove_all()
            self.engine.stop()
        if self.engine.process is not None and self.engine.process.poll() is None:
            self.engine.kill9()


@pytest.fixture
def starve() -> Iterator[Callable[..., Starved]]:
    """Starts an engine with its `data` or `exec` root on a disk of its own; further options are mkfs.ext4's."""
    with ExitStack() as ended:

        def start(root: str = "data", *options: str) -> Starved:
            place = Path(tempfile.mkdtemp(prefix="dz-disk-", dir="/tmp"))
            ended.callback(shutil.rmtree, place, ignore_errors=True)
            disk = ended.enter_context(small_disk(place, 64, *options))
            engine = Engine()
            if root == "data":
                engine.data_root = place / "d"
            else:
                engine.exec_root = place / "x"
                engine.socket = engine.exec_root / "darse.sock"
                engine.host = f"unix://{engine.socket}"
                engine.api.socket_path = str(engine.socket)
            ended.callback(shutil.rmtree, engine.root, ignore_errors=True)
            ended.callback(engine.sweep_host)
            starved = Starved(engine, disk)
            ended.callback(starved.give_up)
            engine.up()
            return starved

        yield start
