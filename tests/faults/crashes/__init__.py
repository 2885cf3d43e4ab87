"""Crashing an engine in the middle of an operation, and what must be true after its next start.

An `Instant` prepares a container, begins its operation in a thread, kills the engine (SIGKILL) a random time after
that, starts it again, and checks. What was acknowledged must be there, what was not may be there or not, but whole or
not at all: a container that exists can be started or removed, its exit code is right and its log has no gap.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.crashes.containers import ContainerCrashes
from tests.faults.crashes.images import ImageCrashes
from tests.faults.crashes.resources import ResourceCrashes
from tests.support.engine import Engine
from tests.support.leaks import find_orphans
from tests.support.waiting import wait_while


class Crasher(ContainerCrashes, ImageCrashes, ResourceCrashes):
    """Crashes one engine at random instants of every kind."""

    def __init__(self, engine: Engine, seed: int, archive: bytes) -> None:
        """`archive`: an image archive whose image is named `test/loaded:1`."""
        super().__init__(engine, seed, archive)
        self.instants: dict[str, Callable[[], None]] = {
            "create": self.create,
            "start": self.start,
            "running": self.running,
            "exec": self.exec,
            "stop": self.stop,
            "kill": self.kill,
            "restart": self.restart,
            "pause": self.pause,
            "rename": self.rename,
            "update": self.update,
            "restart policy": self.restart_policy,
            "rm": self.remove,
            "rm -f": self.remove_running,
            "container prune": self.prune_containers,
            "run": self.run,
            "cp": self.copy,
            "commit": self.commit,
            "load": self.load,
            "save": self.save,
            "import": self.import_archive,
            "tag": self.tag,
            "rmi": self.remove_image,
            "image prune": self.prune_images,
            "volume": self.volume,
            "volume rm": self.remove_volume,
            "volume rm, empty": self.remove_empty_volume,
            "volume prune": self.prune_volumes,
            "network": self.network,
            "network rm": self.remove_network,
            "network connect": self.connect,
        }

    def crash_in(self, kind: str) -> None:
        """One instant of `kind`. Raises AssertionError with the engine's log when something was lost or left."""
        self.number += 1
        try:
            self.instants[kind]()
            wait_while(lambda: find_orphans(self.engine), 10, f"what a crash in {kind} left behind")
        except AssertionError as error:
            raise AssertionError(f"crash {self.number}, in {kind}: {error}\n{self.engine.log()}") from error
        self.report.instants[kind] = self.report.instants.get(kind, 0) + 1
        if self.number % 10 == 0:
            self.engine.remove_all()
