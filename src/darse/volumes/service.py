"""Volumes: their records, and their part in containers' lives.

A volume is a row of the database and a directory of its driver. Creation makes the directory first, and removal takes
the row first, which leaves a note (`darse.core.unfinished`): what the note names is removed by the next start. Any
other directory without a row is a volume, as it is to dockerd, and gets its row again.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from darse.core import executors
from darse.core.documents import NewerDocument
from darse.core.errors import Conflict, EngineError, InvalidParameter, NotFound
from darse.core.events import EventLog
from darse.core.exhaustion import in_words
from darse.core.filters import Filters
from darse.core.locks import KeyedLocks
from darse.core.object_references import ObjectReferences
from darse.core.state import REBUILD, UPGRADE, Schema, State
from darse.core.times import rfc3339
from darse.core.unfinished import Unfinished
from darse.linux.descriptors import open_in_thread
from darse.linux.fs.inode_flags import spread_subdirectories
from darse.linux.fs.mounts import mount_points
from darse.plugins import PluginClient, PluginError
from darse.recovery.startup import Recovery
from darse.runtime.remapping import IdentityMapping, IdMapping
from darse.runtime.rootfs.tree_sizes import TreeSizes
from darse.volumes import remote
from darse.volumes.data import VolumeData
from darse.volumes.drivers import REMOVED, TRASH, LocalDriver, VolumeDriver
from darse.volumes.listing import RemoteListing, merged
from darse.volumes.model import VOLUME_DOCUMENTS, VolumeRecord, find_volume, name_anonymous
from darse.volumes.mounting import VolumeMounting
from darse.volumes.mounts import VOLUME_NAME, MountPlan, check_volume_name
from darse.volumes.remote import RemoteVolumes
from darse.wire.volumes import UsageData, Volume, VolumeCreate, VolumeList, VolumesPruned

SCHEMA = Schema(
    "volumes",
    ("CREATE TABLE volumes (name TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID", remote.TABLE),
)
LIST_FILTERS = ("dangling", "driver", "label", "label!", "name")
PRUNE_FILTERS = ("all", "label", "label!")
_ANONYMOUS = "com.docker.volume.anonymous"
# Volumes that are made with one transaction: for so long other clients wait.
_AT_ONCE = 100
_log = logging.getLogger("darse.volumes")


class VolumeService:
    """Creates, lists and removes volumes, and has them ready for containers."""

    def __init__(
        self,
        data_root: Path,
        state: State,
        events: EventLog,
        id_mapping: IdMapping | None = None,
        *,
        plugins: PluginClient,
    ) -> None:
        """`id_mapping` says whose ids volumes' files are to have."""
        self._state = state
        self._references = ObjectReferences(state)
        self._recovery: Recovery | None = None
        self._events = events
        self._root = data_root / "volumes"
        self._local = local = LocalDriver(self._root)
        self._drivers: dict[str, VolumeDriver] = {"local": local}
        # Volumes of any other driver are a plugin's.
        self._remote = RemoteVolumes(state, plugins)
        self.trash = local.trash
        self._sizes = TreeSizes()
        self._locks = KeyedLocks()
        # Their rows are gone, their data is not yet.
        self._discarded: dict[str, VolumeRecord] = {}
        self._records: dict[str, VolumeRecord] = dict(
            state.decoded("volumes", state.rows("SELECT name, document FROM volumes"), VOLUME_DOCUMENTS.decode)
        )
        #: What containers need of volumes.
        self.mounting = VolumeMounting(
            state, events, self._records, self._drivers, self._remote, self._locks, id_mapping or IdentityMapping()
        )

        self._listing = RemoteListing(plugins, self._remote, self._records, self.mounting.in_background)

        def publish(record: VolumeRecord, staged: Path) -> None:
            local.publish(record.name, staged)
            self._record([record])

        #: Archives and copies of what they hold.
        self.data = VolumeData(local, self.mounting, self._records, events, publish)

    def open(self, recovery: Recovery) -> None:
        """Make the directory, finish removals, take back what has no row, unmount what nobody uses."""
        self._recovery = recovery
        self.mounting.started()
        self._discarded.clear()
        self._root.mkdir(mode=0o701, exist_ok=True)
        spread_subdirectories(self._root)
        self._local.open()
        known = self._records.keys() | self._state.damaged_in("volumes")
        removed = recovery.unfinished.of("volumes")
        for path in sorted(self._root.iterdir()):
            if path.name in known or path.name == TRASH:
                continue
            if path.name in removed or path.name.startswith(REMOVED):
                self._repair(path.name, self._drivers["local"].remove)
            else:
                self._take_back(path, recovery)
        mounted = mount_points()
        root = Path(os.path.realpath(self._root))
        for record in self._records.values():
            if self.mounting.is_remote(record):
                continue
            driver = self._drivers[record.driver]
            path = root / driver.path(record.name).relative_to(self._root)
            if record.options.get("device") and str(path) in mounted:
                # Nothing looks at it: what is mounted may not answer.
                self.mounting.unmount_in_background(record)
                continue
            if not path.is_dir():
                recovery.report(f"volume {record.name}", f"{path} is missing", "it is recreated, and is empty")
                record.owners, record.changing = "", False  # what is made now is root's
                self.mounting.save(record)
            self._repair(record.name, driver.repair)
        running = {one for name in self._records for one in self.mounting.running_users(name)}
        for left in self._remote.hold_mounts_of(running):
            self.mounting.in_background(self._remote.end_left(left))

    @staticmethod
    def _repair(name: str, action: Callable[[str], object]) -> None:
        """One volume that cannot be put in order does not keep the engine from starting."""
        try:
            action(name)
        except OSError as error:
            _log.warning("volume %s: %s", name, error)

    def _take_back(self, path: Path, recovery: Recovery) -> None:
        """Make a record for a directory that has none; what can be no volume is set aside."""
        name = path.name
        if VOLUME_NAME.fullmatch(name) is None or not self._drivers["local"].path(name).is_dir():
            try:
                path.rmdir()  # a creation that was cut short: it holds nothing
            except OSError:
                recovery.set_aside("volumes", path, "it is no volume")
            return
        size = self._local.size(name)
        record = VolumeRecord(name, "local", {"size": str(size)} if size else {}, {}, path.stat().st_ctime_ns)
        copy = recovery.recorded("volumes", name)
        if copy is not None:
            try:
                read = VOLUME_DOCUMENTS.decode(copy)
                record = read if read.name == name and read.driver in self._drivers else record
            except (msgspec.MsgspecError, NewerDocument) as error:
                _log.warning("volume %s: the copy of its record cannot be used: %s", name, error)
        with self._state.transaction() as connection:
            connection.execute("INSERT INTO volumes VALUES (?, ?)", (name, VOLUME_DOCUMENTS.encode(record)))
        self._records[name] = record
        _log.warning("volume %s: found by its directory %s, and taken back: it had no record", name, path)

    @property
    def driver_names(self) -> list[str]:
        """The drivers that the engine has itself, and the plugins that are in use."""
        plugins = {record.driver for record in self._records.values()} | set(self._remote.names)
        return sorted(plugins | self._drivers.keys())

    async def create(self, request: VolumeCreate) -> Volume:
        """Make a volume, or return the one that has this name, driver and options already.

        Raises InvalidParameter, NotFound for an unknown driver, and Conflict for a name of another driver. As in
        docker, what else is asked of a volume that exists is ignored.
        """
        if request.ClusterVolumeSpec:
            raise InvalidParameter("cluster volumes need a swarm: this node is not a swarm manager")
        name = request.Name or secrets.token_hex(32)
        labels = dict(request.Labels or {})
        if not request.Name:
            labels.setdefault(_ANONYMOUS, "")
        driver_name = self._remote.full_name(request.Driver or "local")
        record = await self._ensure(name, driver_name, request.DriverOpts or {}, labels)
        return self.view(record)

    async def _ensure(
        self, name: str, driver_name: str, options: dict[str, str], labels: dict[str, str]
    ) -> VolumeRecord:
        async with self._locks.hold(name):
            existing = self._records.get(name)
            if existing is not None:
                if driver_name not in (existing.driver, self._remote.full_name(existing.driver)):
                    raise Conflict(
                        f"create {name}: driver '{existing.driver}' already has volume '{name}': conflict: volume name "
                        "must be unique"
                    )
                return existing
            await self._delete_discarded(name)
            damage = self._state.damaged.get(("volumes", name))
            if damage is not None:
                raise Conflict(f"create {name}: the record of this volume {damage.found}: {damage.remedy}")
            record = VolumeRecord(name, driver_name, options, labels, time.time_ns())
            driver = self._drivers.get(driver_name)
            if driver is None:
                await self._remote.create(record)
                self._record([record])
                return record
            check_volume_name(name)
            try:
                driver.check(options)
            except InvalidParameter as error:
                raise InvalidParameter(f"create {name}: {error}") from None
            await self._make(driver, [record])
            return record

    async def _make(self, driver: VolumeDriver, records: Sequence[VolumeRecord]) -> None:
        """Make volumes that are new and of the same options, however many with one transaction."""
        names, options = [record.name for record in records], records[0].options
        with in_words():
            # The directories of a creation that is cut short go again.
            await open_in_thread(lambda: driver.create(*names, options=options), lambda _: driver.take_back(*names))
        try:
            self._record(records)
        except BaseException:
            driver.take_back(*names)
            raise

    def _record(self, records: Iterable[VolumeRecord]) -> None:
        with self._state.transaction() as connection:
            for record in records:
                row = (record.name, VOLUME_DOCUMENTS.encode(record))
                connection.execute("INSERT INTO volumes VALUES (?, ?)", row)
                self._events.publish("volume", "create", record.name, {"driver": record.driver})
        self._records.update((record.name, record) for record in records)

    def exists(self, name: str) -> bool:
        """Whether there is a volume of this name."""
        return name in self._records

    async def inspect(self, name: str) -> Volume:
        """One volume; one of a plugin as that describes it, if it answers. Raises NotFound."""
        record = await self._find_anywhere(name)
        view = self.view(record)
        if self.mounting.is_remote(record):
            try:
                found = await self._remote.driver(record.driver).find(name)
            except (NotFound, PluginError) as error:
                _log.warning("volume %s: its plugin does not describe it: %s", name, error)
                return view
            if found is not None:
                view.Mountpoint, view.Status = found.Mountpoint, found.Status or msgspec.UNSET
        return view

    async def _find_anywhere(self, name: str) -> VolumeRecord:
        """A volume on record, or one that only a plugin has. Raises NotFound."""
        return self._records.get(name) or await self._listing.find(name) or find_volume(self._records, name)

    @property
    def records(self) -> Iterable[VolumeRecord]:
        """The volumes on record."""
        return self._records.values()

    async def list_volumes(self, filters: Filters) -> VolumeList:
        """The volumes that match, by name, those of plugins too, and warnings of what may be missing."""
        dangling = filters.flag("dangling")
        listed, warnings = await self._listing.ask()
        volumes = [
            self.view(record)
            for record in merged(self._records, listed)
            if filters.search("name", record.name)
            and filters.exact("driver", record.driver)
            and filters.labels(record.labels)
            and filters.without_labels(record.labels)
            and (dangling is None or dangling == (not self._may_be_used(record.name)))
        ]
        return VolumeList(volumes, warnings or None)

    async def remove_volume(self, name: str, *, force: bool) -> None:
        """Remove a volume. Raises NotFound (unless `force`) and Conflict while a container uses it, or may use it."""
        # Before the lock: what a plugin has may be asked for.
        elsewhere = None if name in self._records else await self._listing.find(name)
        async with self._locks.hold(name):
            record = self._records.get(name) or elsewhere
            if record is None:
                if force:
                    return
                raise NotFound(f"get {name}: no such volume")
            damaged = self._state.damaged_in("containers")
            users = [
                user.container_id for user in self._references.volume_users(name) if user.container_id not in damaged
            ]
            if users:
                raise Conflict(f"remove {name}: volume is in use - [{', '.join(users)}]")
            if unknown := self._why_users_unknown():
                raise Conflict(f"remove {name}: {unknown}")
            if self.mounting.is_remote(record):
                await self._remote.remove(record, force=force)
            with self._state.transaction(durable=self.mounting.is_remote(record)) as connection:
                connection.execute("DELETE FROM volumes WHERE name = ?", (name,))
                self._events.publish("volume", "destroy", name, {"driver": record.driver})
            self._records.pop(name, None)
            if not self.mounting.is_remote(record):
                await self._delete_removed(record)

    async def _delete_removed(self, record: VolumeRecord) -> None:
        """Delete a volume whose row is gone. Raises OSError and SystemFault.

        Data is deleted only when the removal is on the disk: nobody is to find a volume with a part of its files. One
        that nothing is in has none to lose. The power may bring its row back for a second, and then the next start
        makes the directory again: it is there, as empty as it was. Whoever makes another one of its name waits for a
        flush of both, for the log is written in order.
        """
        driver = self._drivers[record.driver]
        if self.mounting.is_directory(record) and await executors.storage.run(driver.remove_empty, record.name):
            self._state.flush_soon()
            return
        await self._state.flush(everything=True)
        await self._delete(record)

    def _why_users_unknown(self) -> str:
        """Why any volume may be a container's whose record cannot be read; "" when all are known."""
        strays = self._recovery.strays if self._recovery is not None else ()
        damages = [damage for (table, _), damage in self._state.damaged.items() if table == "containers"]
        if not damages and not strays:
            return ""
        if not strays and all(damage.remedy == UPGRADE for damage in damages):
            return f"the record of a container {damages[0].found}, and which volumes it uses is not known: {UPGRADE}"
        return f"the record of a container is damaged or lost, and which volumes it uses is not known: {REBUILD}"

    def _may_be_used(self, name: str) -> bool:
        return bool(self._why_users_unknown()) or bool(self._references.volume_users(name))

    def discard_anonymous(self, plans: Iterable[MountPlan]) -> list[VolumeRecord]:
        """Forget the anonymous volumes of a container that is gone, and return those that nobody else uses.

        Call it in the transaction that removes the container's row: a crash afterwards leaves directories only, which
        `open` sweeps. `delete_volume_data` removes them.
        """
        found = {plan.name for plan in plans if plan.anonymous and plan.name in self._records}
        discarded = [self._records[name] for name in sorted(found) if not self._may_be_used(name)]
        with self._state.transaction() as connection:
            for record in discarded:
                connection.execute("DELETE FROM volumes WHERE name = ?", (record.name,))
                self._events.publish("volume", "destroy", record.name, {"driver": record.driver})
                # What follows in the transaction is not to count it any more.
                self._state.on_rollback(functools.partial(self._records.__setitem__, record.name, record))
                self._state.on_rollback(functools.partial(self._discarded.pop, record.name))
                self._discarded[record.name] = self._records.pop(record.name)
        return discarded

    def discard_unrecorded(self, plans: Iterable[MountPlan], unfinished: Unfinished) -> None:
        """Have `open` remove the anonymous volumes that a creation has made, and that it did not come to record."""
        unfinished.begin(
            "volumes", [plan.name for plan in plans if plan.anonymous and plan.name and plan.name not in self._records]
        )

    async def delete_volume_data(self, discarded: Iterable[VolumeRecord]) -> None:
        """Remove the directories of volumes that were discarded. Logs what cannot be removed."""
        await asyncio.gather(*map(self._delete_or_log, discarded))

    async def _delete_or_log(self, record: VolumeRecord) -> None:
        async with self._locks.hold(record.name):
            try:
                await self._delete_discarded(record.name)
            except (EngineError, OSError) as error:
                _log.warning("volume %s: %s", record.name, error)

    async def _delete_discarded(self, name: str) -> None:
        """Delete what a discarded volume has left, before its name means another one."""
        if name in self._discarded:
            record = self._discarded[name]
            if self.mounting.is_remote(record):
                await self._remote.remove(record, force=True)
            else:
                await self._delete(record)
            del self._discarded[name]

    async def _delete(self, record: VolumeRecord) -> None:
        """Delete a volume's directory. Raises OSError and SystemFault when it cannot even be moved to the trash."""
        aside = await self.mounting.in_thread(record, self._drivers[record.driver].remove, record.name)
        if aside is not None:
            await self.trash.remove(aside)

    async def prune(self, filters: Filters) -> VolumesPruned:
        """Remove volumes that no container uses: anonymous ones, or with `all=true` every one.

        Raises Conflict while it is not known which volumes a container uses, for its record is damaged or lost.
        """
        if unknown := self._why_users_unknown():
            raise Conflict(unknown)
        everything = filters.flag("all") is True
        deleted, reclaimed = [], 0
        for name, record in sorted(self._records.items()):
            if self._references.volume_users(name) or not (everything or _ANONYMOUS in record.labels):
                continue
            if self.mounting.is_remote(record):
                continue  # as dockerd: other hosts may use it
            if not (filters.labels(record.labels) and filters.without_labels(record.labels)):
                continue
            size = max(0, await self._size_or_unknown(name))
            try:
                await self.remove_volume(name, force=True)
            except Conflict:
                continue  # a container was created meanwhile
            deleted.append(name)
            reclaimed += size
        self._events.publish("volume", "prune", "", {"reclaimed": reclaimed})
        return VolumesPruned(deleted or None, reclaimed)

    async def usage(self) -> list[Volume]:
        """Every volume with its size in bytes and number of users."""
        names = sorted(self._records)
        # At once: one whose file system does not answer keeps nobody waiting for the others.
        sizes = await asyncio.gather(*(self._size_or_unknown(name) for name in names))
        volumes = []
        for name, size in zip(names, sizes, strict=True):
            if name in self._records:  # not removed meanwhile
                view = self.view(self._records[name])
                view.UsageData = UsageData(size, len(self._references.volume_users(name)))
                volumes.append(view)
        return volumes

    async def _size_or_unknown(self, name: str) -> int:
        """Bytes of a volume's files; -1, the API's "not available", when they cannot be counted, as a plugin's."""
        if self.mounting.is_remote(find_volume(self._records, name)):
            return -1
        try:
            return await self.size(name)
        except (OSError, EngineError) as error:
            _log.warning("volume %s: its size is not known: %s", name, error)
            return -1

    async def size(self, name: str) -> int:
        """Bytes of a volume's files. Raises OSError, and SystemFault when its file system does not answer."""
        record = find_volume(self._records, name)
        return (await self._sizes.of(self._drivers[record.driver].path(name))).size

    async def ensure_volumes(self, plans: list[MountPlan]) -> None:
        """Make the volumes that a new container's mounts name, and fill in their paths.

        Raises as `create` does.
        """
        name_anonymous(plans)
        await self._make_anonymous(plans)
        for plan in plans:
            if plan.type != "volume":
                continue
            labels = _labels(plan)
            existing = self._records.get(plan.name)
            unspecified = plan.driver in ("", "local")
            if existing is not None and unspecified and not self.mounting.is_remote(existing):
                record = existing
            else:
                # A plugin may be about to remove the one that exists: that is waited for.
                found = existing or (await self._listing.find(plan.name) if unspecified else None)
                driver_name = found.driver if found and unspecified else self._remote.full_name(plan.driver or "local")
                record = await self._ensure(plan.name, driver_name, plan.driver_options or {}, labels)
            plan.driver = record.driver
            plan.source = self.mounting.mountpoint(record)
            if self.mounting.is_directory(record):
                await self.mounting.own(record)

    async def _make_anonymous(self, plans: Iterable[MountPlan]) -> None:
        """Make the volumes of names that nobody else has heard of, many at once."""
        now = time.time_ns()
        records = [
            VolumeRecord(plan.name, "local", {}, _labels(plan), now)
            for plan in plans
            if plan.anonymous and plan.name not in self._records and not plan.from_container
            if plan.driver in ("", "local") and not plan.driver_options
        ]
        for first in range(0, len(records), _AT_ONCE):
            await self._make(self._drivers["local"], records[first : first + _AT_ONCE])

    def view(self, record: VolumeRecord) -> Volume:
        """A volume as the API shows it."""
        return Volume(
            CreatedAt=rfc3339(record.created_ns // 1_000_000_000 * 1_000_000_000),
            Driver=record.driver,
            Labels=record.labels or None,
            Mountpoint=self.mounting.mountpoint(record),
            Name=record.name,
            Options=record.options or None,
            Scope=record.scope,
        )


def _labels(plan: MountPlan) -> dict[str, str]:
    return {**(plan.labels or {}), **({_ANONYMOUS: ""} if plan.anonymous else {})}
