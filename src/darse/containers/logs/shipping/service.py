"""All shippers: one for each container with a remote driver, and for each log that has outlived its container.

A file beside the log, `shipping.json`, says that something may be left to send; it has what receivers get about the
container. When a container is removed before everything was sent, its directory becomes a spool of its own, which an
engine after us goes on with. It is given up after a week, so that a mistyped address does not fill the disk for ever.
"""

from __future__ import annotations

import asyncio
import functools
import os
import time
from pathlib import Path

import msgspec

from darse.containers.dependencies import Dependencies
from darse.containers.logs.driver_names import LOCAL_DRIVERS
from darse.containers.logs.files import LogFiles
from darse.containers.logs.rotation import LogRotation, UnsentLogs
from darse.containers.logs.shipping.origin import ORIGIN_DOCUMENTS, Origin, origin_of
from darse.containers.logs.shipping.plugin import log_directory, plugin_driver
from darse.containers.logs.shipping.registry import REMOTE_DRIVERS
from darse.containers.logs.shipping.shipper import Shipper, Work
from darse.containers.logs.shipping.spool import PositionFile
from darse.containers.model import Container
from darse.core.documents import NewerDocument
from darse.linux.fs.files import read_regular, write_atomically

_MARKER = "shipping.json"
_POSITION = "shipping.position"
_GIVE_UP_SECONDS = 7 * 24 * 3600
# Longer than a shipper waits to hear what has arrived.
_STOP_SECONDS = 3.0


class _Active(msgspec.Struct):
    """A shipper at work. `orphan` is the directory of a log whose container is gone."""

    shipper: Shipper
    task: asyncio.Task[bool]
    directory: Path
    orphan: bool


class Shipping:
    """Sends logs; told of containers' lives."""

    def __init__(self, dependencies: Dependencies, rotation: LogRotation, unsent: UnsentLogs) -> None:
        """`rotation` removes what was sent and is too much; `unsent` keeps it from the rest."""
        self._dependencies = dependencies
        self._rotation = rotation
        self._unsent = unsent
        self._plugin = plugin_driver(dependencies.plugins, log_directory(dependencies.config.exec_root))
        self._spools = dependencies.config.data_root / "spools"
        self._active: dict[str, _Active] = {}
        self._gone: dict[str, asyncio.TimerHandle] = {}

    # What happens to containers

    def started(self, container: Container) -> None:
        """Send what it writes."""
        if container.record.host.LogConfig.Type in LOCAL_DRIVERS:
            return
        active = self._active.get(container.id)
        if active is not None and not active.task.done():
            active.shipper.container_started()
            return
        directory = self._dependencies.files.of(container.id).data
        origin = origin_of(container)
        write_atomically(directory / _MARKER, ORIGIN_DOCUMENTS.encode(origin), durable=False)
        self._begin(origin, directory, ended=False)

    def ended(self, container: Container) -> None:
        """Send the rest."""
        active = self._active.get(container.id)
        if active is not None:
            active.shipper.container_ended()

    def removed(self, container: Container) -> None:
        """Keep what was not sent yet."""
        active = self._active.get(container.id)
        if active is not None:
            directory = _keep(active.directory, self._spools)
            active.directory, active.orphan = directory, True
            active.shipper.move(_work(_read(directory), directory))
            active.shipper.container_ended()
            self._limit_delivery(container.id, directory)

    # What the engine does

    def adopt(self, directory: Path) -> bool:
        """Whether the directory of a container that is gone has a log to send; it is among the spools then."""
        if not (directory / _MARKER).exists():
            return False
        _keep(directory, self._spools)
        return True

    def open(self) -> None:
        """Go on with the logs of containers that have ended, and of those that are gone."""
        for container in self._dependencies.store:
            directory = self._dependencies.files.of(container.id).data
            if container.id not in self._active and (directory / _MARKER).exists():
                self._continue(directory)
        if not self._spools.exists():
            return
        for directory in list(self._spools.iterdir()):
            if (directory / _MARKER).exists():
                if self._continue(directory, orphan=True):
                    self._limit_delivery(directory.name, directory)
            else:
                self._dependencies.images.trash.discard_soon(directory)

    async def close(self) -> None:
        """Note what has arrived; the rest is for the next engine."""
        for timer in self._gone.values():
            timer.cancel()
        actives = list(self._active.values())
        for active in actives:
            active.shipper.stop()
        if not actives:
            return
        tasks = [active.task for active in actives]
        await asyncio.wait(tasks, timeout=_STOP_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Shippers

    def _continue(self, directory: Path, *, orphan: bool = False) -> bool:
        """Send the rest of a log; one whose marker cannot be read, a newer engine's say, stays as it is."""
        try:
            origin = _read(directory)
        except (OSError, msgspec.MsgspecError, NewerDocument) as error:
            self._dependencies.log.warning("the log in %s is kept, and not sent: its marker: %s", directory, error)
            return False
        self._begin(origin, directory, ended=True, orphan=orphan)
        return True

    def _begin(self, origin: Origin, directory: Path, *, ended: bool, orphan: bool = False) -> None:
        driver = REMOTE_DRIVERS.get(origin.driver) or self._plugin
        shipper = Shipper(
            _work(origin, directory),
            self._dependencies.inotify,
            functools.partial(driver.receiver, origin),
            retry_delay=driver.retry_delay(origin.options),
            ended=ended,
            moved_on=functools.partial(self._rotation.tidy, origin.id),
        )
        task = asyncio.create_task(shipper.run(), name=f"ship log of {origin.short_id}")
        self._active[origin.id] = _Active(shipper, task, directory, orphan)
        self._unsent.hold(origin.id, shipper)
        task.add_done_callback(functools.partial(self._stopped, origin))

    def _stopped(self, origin: Origin, task: asyncio.Task[bool]) -> None:
        if task.cancelled():
            return
        active = self._active[origin.id]
        if (error := task.exception()) is not None:
            self._dependencies.log.error("the log of container %s is not sent", origin.short_id, exc_info=error)
            return
        if not task.result():
            return
        if not active.shipper.is_done:  # the container was started again just now
            self._begin(origin, active.directory, ended=False)
            return
        del self._active[origin.id]
        self._unsent.release(origin.id)
        if active.orphan:
            self._remove_spool(origin.id, active.directory)
        else:
            (active.directory / _MARKER).unlink(missing_ok=True)
            self._rotation.tidy(origin.id)

    # Logs without a container

    def _limit_delivery(self, container_id: str, directory: Path) -> None:
        """Give up when nobody takes a log for too long."""
        age = time.time() - (directory / _MARKER).stat().st_mtime
        self._gone[container_id] = asyncio.get_running_loop().call_later(
            max(_GIVE_UP_SECONDS - age, 0), self._give_up, container_id
        )

    def _give_up(self, container_id: str) -> None:
        active = self._active.pop(container_id)
        self._unsent.release(container_id)
        active.task.cancel()
        self._dependencies.log.error("nobody took the log of container %s for a week: it is removed", container_id[:12])
        self._remove_spool(container_id, active.directory)

    def _remove_spool(self, container_id: str, directory: Path) -> None:
        timer = self._gone.pop(container_id, None)
        if timer is not None:
            timer.cancel()
        # What nobody took for a week is some gigabytes.
        self._dependencies.images.trash.discard_soon(directory)


def _keep(directory: Path, spools: Path) -> Path:
    """Make a spool of a removed container's directory, and return where it is. One rename: all of it, or nothing."""
    spools.mkdir(mode=0o700, exist_ok=True)
    os.utime(directory / _MARKER)
    spool = spools / directory.name
    directory.rename(spool)
    return spool


def _work(origin: Origin, directory: Path) -> Work:
    return Work(origin, LogFiles(directory / f"{origin.id}.log"), PositionFile(directory / _POSITION))


def _read(directory: Path) -> Origin:
    return ORIGIN_DOCUMENTS.decode(read_regular(directory / _MARKER))
