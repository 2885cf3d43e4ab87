"""Volumes in use: where their data is, made ready for containers and let go after them.

What is mounted may be a file server's or a plugin's, and not answer. Whatever asks it does so in a thread for such
work, for a bounded time, and under no lock but the volume's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from darse.core import executors
from darse.core.errors import EngineError
from darse.core.events import EventLog
from darse.core.locks import KeyedLocks
from darse.core.object_references import ObjectReferences
from darse.core.state import State
from darse.runtime.oci.mounts import BindMount, TmpfsMount
from darse.runtime.remapping import IdMapping
from darse.volumes.binds import BindSource, examine, examine_all, missing, prepare_source
from darse.volumes.drivers import VolumeDriver
from darse.volumes.model import VOLUME_DOCUMENTS, VolumeRecord, find_volume
from darse.volumes.mounts import MountPlan
from darse.volumes.ownership import change_owners_of
from darse.volumes.remote import RemoteVolumes

# How long a mounted file system may take to answer, to be mounted (NFS tries for minutes), and to be unmounted.
_ANSWER_SECONDS = 15.0
_MOUNT_SECONDS = 180.0
_UNMOUNT_SECONDS = 5.0
_log = logging.getLogger("darse.volumes")
T = TypeVar("T")


class VolumeMounting:
    """The volumes' part in containers' lives."""

    def __init__(
        self,
        state: State,
        events: EventLog,
        records: Mapping[str, VolumeRecord],
        drivers: Mapping[str, VolumeDriver],
        remote: RemoteVolumes,
        locks: KeyedLocks,
        id_mapping: IdMapping,
    ) -> None:
        """`records`, by names, and `locks` of names are the service's; volumes of no driver are a plugin's."""
        self._state = state
        self._events = events
        self._references = ObjectReferences(state)
        self._records = records
        self._drivers = drivers
        self._remote = remote
        self._locks = locks
        self._id_mapping = id_mapping
        self._unmounting: set[asyncio.Task[None]] = set()
        # By volumes, the ids of containers that have one made ready, from before their start until after their end; and
        # how many look at one without a container.
        self._prepared: dict[str, set[str]] = {}
        self._borrowed: Counter[str] = Counter()
        # Seconds that the end of a container waits for an unmount; none while the engine starts.
        self._unmount_timeout = 0.0

    def started(self) -> None:
        """The engine serves: ends of containers wait for their unmounts from now on, not for long."""
        self._unmount_timeout = _UNMOUNT_SECONDS

    def is_remote(self, record: VolumeRecord) -> bool:
        """Whether a plugin has the volume."""
        return record.driver not in self._drivers

    def mountpoint(self, record: VolumeRecord) -> str:
        """Where the data is; of a plugin's volume what that has said last."""
        if self.is_remote(record):
            return self._remote.driver(record.driver).mountpoint(record.name)
        return str(self._drivers[record.driver].path(record.name))

    def is_plain(self, name: str) -> bool:
        """Whether the volume is a plain directory, which can be populated."""
        return self.is_directory(find_volume(self._records, name))

    def is_directory(self, record: VolumeRecord) -> bool:
        """The same of a record."""
        return not (record.options.get("device") or self.is_remote(record))

    @property
    def owners(self) -> str:
        """Whose ids new files of volumes have on the disk; see `VolumeRecord.owners`."""
        return self._id_mapping.owners

    @asynccontextmanager
    async def borrow(self, record: VolumeRecord) -> AsyncIterator[Path]:
        """Have a volume's data on the host for the duration of a block, without a container.

        Raises NotFound and SystemFault, as for a start.
        """
        user = f"borrowed-{secrets.token_hex(8)}"
        self._borrowed[record.name] += 1
        try:
            yield await self._mounted(record, user, "/")
        finally:
            self._borrowed[record.name] -= 1
            if self.is_remote(record):
                await self._wait_a_little(self.in_background(self._remote.release(user, "/")))
            elif record.options.get("device") and not self._is_in_use(record.name):
                await self._wait_a_little(self.unmount_in_background(record))
            if not self._borrowed[record.name]:
                del self._borrowed[record.name]

    def busy_with(self, name: str) -> list[str]:
        """The ids of containers that run with a volume, or are about to."""
        return sorted({*self.running_users(name), *self._prepared.get(name, ())})

    @asynccontextmanager
    async def exclusively(self, name: str) -> AsyncIterator[None]:
        """No container begins to use a volume during the block."""
        async with self._locks.hold(name):
            yield

    async def prepare_mounts(
        self, plans: Iterable[MountPlan], container_id: str, begun: list[MountPlan]
    ) -> list[BindMount | TmpfsMount]:
        """Have what mounts show ready for a start, and return the mounts for the spec, in the same order.

        Each plan is in `begun` before anything is done for it: `unmount_unused` takes these, also after a failure.
        Raises NotFound, InvalidParameter for a missing source, and SystemFault.
        """
        plans = list(plans)
        sources: list[tuple[str, BindSource | None]] = []
        for plan in plans:
            begun.append(plan)
            sources.append(await self._prepare_source(plan, container_id))
        # Directories of ours are looked at in one call: a thread's turn takes longer than a look.
        directories = [path for path, found in sources if path and found is None]
        examined = await executors.storage.run(examine_all, directories) if directories else {}
        return [
            _spec_mount(plan, path, found or examined.get(path))
            for plan, (path, found) in zip(plans, sources, strict=True)
        ]

    async def _prepare_source(self, plan: MountPlan, container_id: str) -> tuple[str, BindSource | None]:
        """Where what a mount shows is, "" for a tmpfs; and what is known of it, unless it is a directory of ours."""
        if plan.type == "tmpfs":
            return "", None
        if plan.type == "bind":
            return plan.source, await executors.foreign.run(plan.source, prepare_source, plan)
        record = find_volume(self._records, plan.name)
        self._prepared.setdefault(plan.name, set()).add(container_id)
        path = str(await self._mounted(record, container_id, plan.destination))
        found = None if self.is_directory(record) else await self.in_thread(record, examine, path)
        self._publish_mount(plan, container_id, "mount")
        return path, found

    async def _mounted(self, record: VolumeRecord, container_id: str, destination: str) -> Path:
        if self.is_remote(record):
            return Path(await self._remote.mount(record.driver, record.name, container_id, destination))
        driver = self._drivers[record.driver]
        if not record.options.get("device"):
            await self.own(record)
            if self._locks.held(record.name):  # its directory may be about to change places with another
                async with self._locks.hold(record.name):
                    pass
            if "size" in record.options:
                async with self._locks.hold(record.name):
                    await self.in_thread(record, driver.mount, record.name, record.options)
            return driver.path(record.name)
        async with self._locks.hold(record.name):
            return await self.in_thread(record, driver.mount, record.name, record.options, seconds=_MOUNT_SECONDS)

    async def in_thread(
        self, record: VolumeRecord, function: Callable[..., T], *arguments: object, seconds: float = _ANSWER_SECONDS
    ) -> T:
        """Call what looks at a volume's data. Raises SystemFault when a mounted file system does not answer."""
        if self.is_directory(record):
            return await executors.storage.run(function, *arguments)
        path = self.mountpoint(record)
        return await executors.foreign.run(path, function, *arguments, seconds=seconds)

    async def own(self, record: VolumeRecord) -> None:
        """Have a volume's files owned as this engine's containers need them. Raises InvalidParameter."""
        if record.owners == self._id_mapping.owners and not record.changing:
            return
        async with self._locks.hold(record.name):
            if record.owners == self._id_mapping.owners and not record.changing:
                return
            await change_owners_of(
                record, self._id_mapping.owners, self._drivers[record.driver].path(record.name), self.save
            )

    def save(self, record: VolumeRecord) -> None:
        """Record what has changed of a volume."""
        with self._state.transaction() as connection:
            connection.execute(
                "UPDATE volumes SET document = ? WHERE name = ?", (VOLUME_DOCUMENTS.encode(record), record.name)
            )

    async def check_sources(self, plans: Iterable[MountPlan]) -> None:
        """Raise InvalidParameter for a bind source that has to be there and is not."""
        for plan in plans:
            must_exist = plan.type == "bind" and not plan.make_source
            if must_exist and not await executors.foreign.run(plan.source, os.path.lexists, plan.source):
                raise missing(plan.source)

    async def unmount_unused(self, plans: Iterable[MountPlan], container_id: str = "") -> None:
        """After a container's end: unmount volumes that no running container uses. Logs what fails."""
        for plan in plans:
            record = self._records.get(plan.name) if plan.type == "volume" else None
            if record is None:
                continue
            if container_id:
                self._publish_mount(plan, container_id, "unmount")
                self._drop_prepared(plan.name, container_id)
            if self.is_remote(record):
                task = self.in_background(self._remote.release(container_id, plan.destination))
            elif record.options.get("device") and not self._is_in_use(record.name):
                task = self.unmount_in_background(record)
            else:
                continue
            await self._wait_a_little(task)

    async def _wait_a_little(self, unmounting: asyncio.Task[None]) -> None:
        """Who mounts it meanwhile may wait for a file server or a plugin; the container's end does not, nor a start."""
        await asyncio.wait((unmounting,), timeout=self._unmount_timeout)

    def _drop_prepared(self, name: str, container_id: str) -> None:
        containers = self._prepared.get(name, set())
        containers.discard(container_id)
        if not containers:
            self._prepared.pop(name, None)

    async def _unmount_unused(self, record: VolumeRecord) -> None:
        async with self._locks.hold(record.name):
            if self._is_in_use(record.name):
                return
            try:
                driver = self._drivers[record.driver]
                await self.in_thread(record, driver.unmount, record.name, seconds=_UNMOUNT_SECONDS)
            except (EngineError, OSError) as error:
                _log.warning("volume %s: cannot unmount it: %s", record.name, error)

    def unmount_in_background(self, record: VolumeRecord) -> asyncio.Task[None]:
        """Unmount a volume, unless a running container uses it."""
        return self.in_background(self._unmount_unused(record))

    def in_background(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Have work done that nobody waits for; `close` ends it."""
        task = asyncio.create_task(work)
        self._unmounting.add(task)
        task.add_done_callback(self._unmounting.discard)
        return task

    def _publish_mount(self, plan: MountPlan, container_id: str, action: str) -> None:
        attributes = {"container": container_id, "driver": plan.driver}
        if action == "mount":
            attributes |= {
                "destination": plan.destination,
                "propagation": plan.propagation,
                "read/write": str(plan.rw).lower(),
            }
        self._events.publish("volume", action, plan.name, attributes)

    def _is_in_use(self, name: str) -> bool:
        """Whether a container that runs has it mounted, or somebody looks at it."""
        return bool(self.running_users(name)) or self._borrowed[name] > 0

    def running_users(self, name: str) -> list[str]:
        """The ids of containers that run and have a volume mounted."""
        return [user.container_id for user in self._references.volume_users(name) if user.running]

    async def close(self) -> None:
        """Wait for no plugin any more: what it has not unmounted the next start unmounts."""
        for task in self._unmounting:
            task.cancel()
        await asyncio.gather(*self._unmounting, return_exceptions=True)


def _spec_mount(plan: MountPlan, source: str, found: BindSource | None) -> BindMount | TmpfsMount:
    if found is None:
        return TmpfsMount(plan.destination, plan.tmpfs_options)
    return BindMount(
        source,
        plan.destination,
        plan.rw,
        found.propagation,
        recursive=not plan.non_recursive,
        recursive_read_only=found.is_directory and not (plan.read_only_non_recursive or plan.non_recursive),
        subpath=plan.subpath,
        restrictions=found.restrictions,
    )
