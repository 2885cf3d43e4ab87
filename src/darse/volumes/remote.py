"""Volume drivers that are plugins (`VolumeDriver`, docker's docs/extend/plugins_volume).

The plugin has the data, and says at each mount where on the host it is. It is asked to mount once for each mount of a
container, with an id that the container keeps, and counts by these ids.

What is mounted is on record before the plugin is asked, so that whatever becomes of the engine meanwhile, each mount
gets one unmount: by the container's end, or by the next start. A plugin is never called while a lock is held but that
of one volume or of one mount; who needs another one does not wait.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import logging
from typing import Any, TypeVar

import msgspec

from darse.core.errors import EngineError, NotFound
from darse.core.locks import KeyedLocks
from darse.core.state import State
from darse.plugins import PluginClient, PluginError, PluginRefused
from darse.volumes.model import VolumeRecord

T = TypeVar("T")
KIND = "VolumeDriver"
#: A step of the schema of volumes: what plugins were asked to mount, and not yet to unmount.
TABLE = """
    CREATE TABLE volume_mounts (
        mount_id TEXT PRIMARY KEY, volume TEXT NOT NULL, driver TEXT NOT NULL, container_id TEXT NOT NULL
    ) WITHOUT ROWID
"""
# A new volume, and a mount, may need a file server; seconds, as dockerd.
_SLOW_SECONDS = 120.0
_log = logging.getLogger("darse.volumes")


class _Nothing(msgspec.Struct):
    pass


class _Mounted(msgspec.Struct):
    Mountpoint: str = ""


class _Capability(msgspec.Struct):
    Scope: str = ""


class _Capabilities(msgspec.Struct):
    Capabilities: _Capability | None = None


class RemoteVolume(msgspec.Struct):
    """A volume as its plugin describes it."""

    Name: str = ""
    Mountpoint: str = ""
    CreatedAt: Any = None
    Status: dict[str, Any] | None = None

    @property
    def created_ns(self) -> int:
        """When it was made; 0 when the plugin does not say so."""
        try:
            moment = datetime.datetime.fromisoformat(self.CreatedAt)
            return max(0, int(moment.timestamp())) * 1_000_000_000
        except (TypeError, ValueError, OverflowError):
            return 0


class _Found(msgspec.Struct):
    Volume: RemoteVolume | None = None


class _Listed(msgspec.Struct):
    Volumes: list[RemoteVolume] | None = None


class MountRecord(msgspec.Struct, frozen=True):
    """A mount that a plugin was asked for."""

    mount_id: str
    volume: str
    driver: str
    container_id: str


class RemoteVolumeDriver:
    """The volumes of one plugin."""

    def __init__(self, name: str, plugins: PluginClient) -> None:
        self.name = name
        self._plugins = plugins
        # Where volumes are, as the plugin has last said.
        self._mountpoints: dict[str, str] = {}

    async def _call(self, method: str, arguments: dict[str, Any], answer: type[T], seconds: float = 60.0) -> T:
        return await self._plugins.call(self.name, KIND, method, arguments, answer, seconds)

    async def scope(self) -> str:
        """`local` or `global`: whether the plugin has the same volumes on other hosts."""
        try:
            found = (await self._call("Capabilities", {}, _Capabilities)).Capabilities
        except PluginRefused:
            return "local"  # plugins may have no such method
        return "global" if found is not None and found.Scope.lower() == "global" else "local"

    async def create(self, volume: str, options: dict[str, str]) -> None:
        """Make a volume; one that the plugin has already is taken as it is. Raises NotFound and PluginError."""
        if await self.find(volume) is None:
            await self._call("Create", {"Name": volume, "Opts": options}, _Nothing, _SLOW_SECONDS)

    async def find(self, volume: str) -> RemoteVolume | None:
        """What the plugin knows of a volume; None when it has none of this name. Raises NotFound and PluginError."""
        try:
            found = (await self._call("Get", {"Name": volume}, _Found)).Volume
        except PluginRefused:
            return None
        if found is not None:
            self._note(volume, found)
        return found

    async def list_volumes(self) -> dict[str, RemoteVolume]:
        """All that the plugin has, by names. One that does not listen is not tried again.

        Raises NotFound and PluginError.
        """
        answer = await self._plugins.call(self.name, KIND, "List", {}, _Listed, listen_seconds=0)
        found = {one.Name: one for one in answer.Volumes or () if one.Name}
        for name, volume in found.items():
            self._note(name, volume)
        return found

    def _note(self, name: str, volume: RemoteVolume) -> None:
        if volume.Mountpoint:
            try:
                volume.Mountpoint = self._plugins.host_path(self.name, volume.Mountpoint)
            except EngineError as error:  # until it is mounted, the host need not see it
                _log.debug("volume %s: its place as plugin %s says it: %s", name, self.name, error)
        self._mountpoints[name] = volume.Mountpoint

    async def remove(self, volume: str) -> None:
        """Remove a volume. Raises NotFound and PluginError."""
        await self._call("Remove", {"Name": volume}, _Nothing)
        self._mountpoints.pop(volume, None)

    async def mount(self, volume: str, mount_id: str) -> str:
        """Have the data somewhere on the host, and return where. Raises NotFound and PluginError."""
        place = (await self._call("Mount", {"Name": volume, "ID": mount_id}, _Mounted, _SLOW_SECONDS)).Mountpoint
        if not place.startswith("/") or "\0" in place:
            raise PluginError(f"volume plugin {self.name} names no mount point of volume {volume}: {place!r}")
        place = self._plugins.host_path(self.name, place)
        self._mountpoints[volume] = place
        return place

    async def unmount(self, volume: str, mount_id: str) -> None:
        """End what `mount` began. Raises NotFound and PluginError."""
        await self._call("Unmount", {"Name": volume, "ID": mount_id}, _Nothing)

    def mountpoint(self, volume: str) -> str:
        """Where the data was at last; "" when that is not known. The plugin is not asked."""
        return self._mountpoints.get(volume, "")


class RemoteVolumes:
    """The volume plugins in use, and what they have mounted for containers."""

    def __init__(self, state: State, plugins: PluginClient) -> None:
        self._state = state
        self._plugins = plugins
        self._drivers: dict[str, RemoteVolumeDriver] = {}
        self._locks = KeyedLocks()
        # How many hold a mount, by its id: a container that runs, and whoever copies into one that does not.
        self._holders: dict[str, int] = {}
        self._places: dict[str, str] = {}

    def driver(self, name: str) -> RemoteVolumeDriver:
        """The driver of this name, whether or not there is a plugin now."""
        if name not in self._drivers:
            self._drivers[name] = RemoteVolumeDriver(name, self._plugins)
        return self._drivers[name]

    def full_name(self, name: str) -> str:
        """The name by which a driver is on record: a plugin that the engine runs has a tag."""
        with contextlib.suppress(NotFound):  # it is disabled
            return self._plugins.full_name(name)
        return name

    async def listed(self, name: str) -> dict[str, RemoteVolume]:
        """What a plugin has that may be of another kind; see `RemoteVolumeDriver.list_volumes`."""
        driver = self._drivers.get(name) or RemoteVolumeDriver(name, self._plugins)
        found = await driver.list_volumes()
        self._drivers.setdefault(name, driver)
        return found

    async def activated(self, name: str) -> RemoteVolumeDriver:
        """A driver whose plugin is there. Raises NotFound and PluginError."""
        await self._plugins.activate(name, KIND)
        return self.driver(name)

    async def create(self, record: VolumeRecord) -> None:
        """Have a plugin make a volume, whose name it judges. Raises NotFound without such a plugin, and PluginError."""
        try:
            driver = await self.activated(record.driver)
            record.scope = await driver.scope()
            await driver.create(record.name, record.options)
        except NotFound as error:
            raise NotFound(f"create {record.name}: error looking up volume plugin {record.driver}: {error}") from None
        except PluginError as error:
            raise PluginError(f"create {record.name}: {error}") from error

    async def remove(self, record: VolumeRecord, *, force: bool) -> None:
        """Have a plugin remove a volume; with `force` nobody minds what the plugin says. Raises as `create`."""
        try:
            await self.driver(record.driver).remove(record.name)
        except (NotFound, PluginError) as error:
            if not force:
                raise type(error)(f"remove {record.name}: {error}") from error
            _log.warning("volume %s: its record is removed all the same: %s", record.name, error)

    @property
    def names(self) -> list[str]:
        """The drivers that were needed since the engine's start."""
        return sorted(self._drivers)

    async def mount(self, driver_name: str, volume: str, container_id: str, destination: str) -> str:
        """Mount a volume for a container's mount; return where it is. `release` is due whatever this raises.

        Raises NotFound and PluginError.
        """
        mount_id = _mount_id(container_id, destination)
        async with self._locks.hold(mount_id):
            if self._holders.get(mount_id, 0) and mount_id in self._places:
                self._holders[mount_id] += 1
                return self._places[mount_id]
            self._holders[mount_id] = self._holders.get(mount_id, 0) + 1
            if (earlier := self._recorded(mount_id)) is not None:
                await self._unmount(earlier)
            with self._state.transaction() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO volume_mounts VALUES (?, ?, ?, ?)",
                    (mount_id, volume, driver_name, container_id),
                )
            self._places[mount_id] = await self.driver(driver_name).mount(volume, mount_id)
            return self._places[mount_id]

    async def release(self, container_id: str, destination: str) -> None:
        """Unmount what a container's mount no longer needs. Logs what the plugin does not do."""
        mount_id = _mount_id(container_id, destination)
        async with self._locks.hold(mount_id):
            left = self._holders.pop(mount_id, 1) - 1
            if left > 0:
                self._holders[mount_id] = left
                return
            await self._end(mount_id)

    def hold_mounts_of(self, running: set[str]) -> list[MountRecord]:
        """Take over the mounts of containers that run; return those that an engine before this one has left behind."""
        left = []
        for record in self._all():
            if record.container_id in running:
                self._holders.setdefault(record.mount_id, 1)
            else:
                left.append(record)
        return left

    async def end_left(self, record: MountRecord) -> None:
        """Unmount what an engine before this one has left behind, unless it is held by now."""
        async with self._locks.hold(record.mount_id):
            if not self._holders.get(record.mount_id):
                await self._end(record.mount_id)

    async def _end(self, mount_id: str) -> None:
        self._places.pop(mount_id, None)
        record = self._recorded(mount_id)
        if record is not None and await self._unmount(record):
            with self._state.transaction() as connection:
                connection.execute("DELETE FROM volume_mounts WHERE mount_id = ?", (mount_id,))

    async def _unmount(self, record: MountRecord) -> bool:
        """Ask for an unmount; whether the plugin has answered. What has not is asked again by the next start."""
        try:
            await self.driver(record.driver).unmount(record.volume, record.mount_id)
        except EngineError as error:
            _log.warning("volume %s: plugin %s does not unmount it: %s", record.volume, record.driver, error)
            return isinstance(error, PluginRefused)
        return True

    def _recorded(self, mount_id: str) -> MountRecord | None:
        return next((record for record in self._all() if record.mount_id == mount_id), None)

    def _all(self) -> list[MountRecord]:
        rows = self._state.rows("SELECT mount_id, volume, driver, container_id FROM volume_mounts")
        return [MountRecord(*map(str, row)) for row in rows]


def _mount_id(container_id: str, destination: str) -> str:
    """The same for every start: a container that a crash interrupts is unmounted under the id of its mount."""
    return hashlib.sha256(f"{container_id} {destination}".encode(errors="surrogatepass")).hexdigest()
