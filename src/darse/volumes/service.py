"""Volumes: their records, and their part in containers' lives."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from darse.engine.errors import Conflict, InvalidParameter, NotFound
from darse.engine.events import EventLog
from darse.engine.filters import Filters
from darse.engine.locks import KeyedLocks
from darse.engine.state import Schema, State
from darse.engine.times import rfc3339
from darse.linux.openat2 import open_beneath
from darse.volumes.drivers import LocalDriver, VolumeDriver
from darse.volumes.mounts import MountPlan, check_volume_name
from darse.wire.volumes import UsageData, Volume, VolumeCreate, VolumesPruned

SCHEMA = Schema(
    "volumes",
    ("CREATE TABLE volumes (name TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID",),
)
LIST_FILTERS = ("dangling", "driver", "label", "label!", "name")
PRUNE_FILTERS = ("all", "label", "label!")
_ANONYMOUS = "com.docker.volume.anonymous"


class VolumeRecord(msgspec.Struct):
    """What is stored of a volume."""

    name: str
    driver: str
    options: dict[str, str]
    labels: dict[str, str]
    created_ns: int


class VolumeService:
    """Creates, lists and removes volumes, and has them ready for containers."""

    def __init__(self, data_root: Path, state: State, events: EventLog) -> None:
        self._state = state
        self._events = events
        self._root = data_root / "volumes"
        self._drivers: dict[str, VolumeDriver] = {"local": LocalDriver(self._root)}
        self._locks = KeyedLocks()
        # Set by the engine: the ids of the containers that use a volume, and those of them that run.
        self.users: Callable[[str], list[str]] = lambda _: []
        self.running_users: Callable[[str], list[str]] = lambda _: []
        decode = msgspec.json.Decoder(VolumeRecord).decode
        self._records: dict[str, VolumeRecord] = {
            name: decode(document) for name, document in state.rows("SELECT name, document FROM volumes")
        }

    def open(self) -> None:
        """Make the directory, remove what an interrupted create or remove left, unmount what nobody uses."""
        self._root.mkdir(mode=0o701, exist_ok=True)
        for path in list(self._root.iterdir()):
            if path.name not in self._records:
                self._drivers["local"].remove(path.name)
        for record in self._records.values():
            if not self.running_users(record.name):
                self._drivers[record.driver].unmount(record.name, record.options)

    @property
    def driver_names(self) -> list[str]:
        """The drivers there are."""
        return sorted(self._drivers)

    async def create(self, request: VolumeCreate) -> Volume:
        """Make a volume, or return the one that has this name, driver and options already.

        Raises InvalidParameter, NotFound for an unknown driver, and Conflict for a name with other options.
        """
        if request.Name:
            check_volume_name(request.Name)
        name = request.Name or secrets.token_hex(32)
        labels = dict(request.Labels or {})
        if not request.Name:
            labels.setdefault(_ANONYMOUS, "")
        record = await self._ensure(name, request.Driver or "local", request.DriverOpts or {}, labels)
        return self._view(record)

    async def _ensure(
        self, name: str, driver_name: str, options: dict[str, str], labels: dict[str, str]
    ) -> VolumeRecord:
        async with self._locks.hold(name):
            existing = self._records.get(name)
            if existing is not None:
                if existing.driver != driver_name or (options and options != existing.options):
                    raise Conflict(
                        f"create {name}: conflict: volume name must be unique: a volume of this name exists with "
                        f"driver {existing.driver} and options {existing.options}"
                    )
                return existing
            driver = self._drivers.get(driver_name)
            if driver is None:
                raise NotFound(
                    f'create {name}: error looking up volume plugin {driver_name}: plugin "{driver_name}" not found'
                )
            driver.create(name, options)
            record = VolumeRecord(name, driver_name, options, labels, time.time_ns())
            with self._state.transaction() as connection:
                connection.execute("INSERT INTO volumes VALUES (?, ?)", (name, msgspec.json.encode(record)))
                self._events.publish("volume", "create", name, {"driver": driver_name})
            self._records[name] = record
            return record

    def inspect(self, name: str) -> Volume:
        """One volume. Raises NotFound."""
        return self._view(self._get(name))

    def list_volumes(self, filters: Filters) -> list[Volume]:
        """The volumes that match, by name."""
        dangling = filters.flag("dangling")
        return [
            self._view(record)
            for name, record in sorted(self._records.items())
            if filters.search("name", name)
            and filters.exact("driver", record.driver)
            and filters.labels(record.labels)
            and filters.without_labels(record.labels)
            and (dangling is None or dangling == (not self.users(name)))
        ]

    async def remove(self, name: str, *, force: bool) -> None:
        """Remove a volume. Raises NotFound (unless `force`) and Conflict while a container uses it."""
        async with self._locks.hold(name):
            record = self._records.get(name)
            if record is None:
                if force:
                    return
                raise NotFound(f"get {name}: no such volume")
            users = self.users(name)
            if users:
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
            with self._state.transaction() as connection:
                connection.execute("DELETE FROM volumes WHERE name = ?", (name,))
                self._events.publish("volume", "destroy", name, {"driver": record.driver})
            del self._records[name]
            await asyncio.to_thread(self._drivers[record.driver].remove, name)

    async def remove_anonymous(self, plans: Iterable[MountPlan]) -> None:
        """Remove the anonymous volumes of a removed container that nobody else uses."""
        for plan in plans:
            if plan.anonymous and plan.name in self._records and not self.users(plan.name):
                await self.remove(plan.name, force=True)

    async def prune(self, filters: Filters) -> VolumesPruned:
        """Remove volumes that no container uses: anonymous ones, or with `all=true` every one."""
        everything = filters.flag("all") is True
        deleted, reclaimed = [], 0
        for name, record in sorted(self._records.items()):
            if self.users(name) or not (everything or _ANONYMOUS in record.labels):
                continue
            if not (filters.labels(record.labels) and filters.without_labels(record.labels)):
                continue
            size = await self.size(name)
            try:
                await self.remove(name, force=True)
            except Conflict:
                continue  # a container was created meanwhile
            deleted.append(name)
            reclaimed += size
        self._events.publish("volume", "prune", "", {"reclaimed": reclaimed})
        return VolumesPruned(deleted or None, reclaimed)

    async def usage(self) -> list[Volume]:
        """Every volume with its size in bytes and number of users."""
        volumes = []
        for name in sorted(self._records):
            view = self.inspect(name)
            view.UsageData = UsageData(await self.size(name), len(self.users(name)))
            volumes.append(view)
        return volumes

    async def size(self, name: str) -> int:
        """Bytes of a volume's files."""
        record = self._get(name)
        return await asyncio.to_thread(_tree_bytes, self._drivers[record.driver].path(name))

    async def realize(self, plans: list[MountPlan]) -> None:
        """Make the volumes that a new container's mounts name, and fill in their paths."""
        for plan in plans:
            if plan.type != "volume":
                continue
            anonymous = plan.anonymous and not plan.name
            plan.name = plan.name or secrets.token_hex(32)
            labels = {**(plan.labels or {}), **({_ANONYMOUS: ""} if anonymous else {})}
            existing = self._records.get(plan.name)
            if existing is not None and plan.driver in ("", "local") and not plan.driver_options:
                record = existing
            else:
                record = await self._ensure(plan.name, plan.driver or "local", plan.driver_options or {}, labels)
            plan.driver = record.driver
            plan.source = str(self._drivers[record.driver].path(plan.name))

    def is_plain(self, name: str) -> bool:
        """Whether the volume is a plain directory, which copy-up can fill."""
        return not self._get(name).options.get("device")

    async def mount(self, plan: MountPlan) -> str:
        """Have a volume's data ready for a start; return the host path to bind.

        Raises NotFound, InvalidParameter for a subpath that is not there or leaves the volume, and SystemFault.
        """
        record = self._get(plan.name)
        driver = self._drivers[record.driver]
        path = (
            await asyncio.to_thread(driver.mount, plan.name, record.options)
            if record.options.get("device")
            else driver.path(plan.name)
        )
        return _subpath(path, plan.subpath) if plan.subpath else str(path)

    def unmount_unused(self, plans: Iterable[MountPlan]) -> None:
        """After a container's end: unmount volumes that no running container uses."""
        for plan in plans:
            record = self._records.get(plan.name) if plan.type == "volume" else None
            if record is not None and record.options.get("device") and not self.running_users(plan.name):
                self._drivers[record.driver].unmount(plan.name, record.options)

    def _get(self, name: str) -> VolumeRecord:
        record = self._records.get(name)
        if record is None:
            raise NotFound(f"get {name}: no such volume")
        return record

    def _view(self, record: VolumeRecord) -> Volume:
        return Volume(
            CreatedAt=rfc3339(record.created_ns // 1_000_000_000 * 1_000_000_000),
            Driver=record.driver,
            Labels=record.labels or None,
            Mountpoint=str(self._drivers[record.driver].path(record.name)),
            Name=record.name,
            Options=record.options or None,
        )


def _subpath(root: Path, subpath: str) -> str:
    """Resolve a subpath within the volume; a link that leaves it is refused."""
    directory = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = open_beneath(directory, subpath, os.O_PATH)
    except OSError as error:
        raise InvalidParameter(f"cannot access path {subpath} of the volume: {error.strerror}") from error
    finally:
        os.close(directory)
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _tree_bytes(root: Path) -> int:
    total = 0
    for where, _, names in os.walk(root):
        for name in names:
            try:
                total += os.lstat(os.path.join(where, name)).st_size
            except FileNotFoundError:
                continue  # removed while we look
    return total
