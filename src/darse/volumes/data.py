"""What volumes hold, as a whole: archives of it, copies, snapshots, and what takes the room.

Vocabulary

    staged    a volume's directory that is made beside the volumes, in their trash: nobody knows it, and a crash leaves
              nothing of it but work for the trash
    publish   one rename, with everything on the disk before: a new volume is there whole or not at all, and the data of
              one that exists is the old or the new (renameat2(2), RENAME_EXCHANGE)
    snapshot  a volume of its own, with a label that says of which: it can be listed, mounted, cloned and removed as any

Files are read and made by a worker that is locked into the one directory (`darse.archive.worker`), and copies share
blocks where the file system can. Who writes to a volume meanwhile is not stopped: as with `cp -a`, a copy then has
some of the files as they were before, and some as they are after.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from darse.archive import process
from darse.archive.pipe_source import PipeSource
from darse.core import executors
from darse.core.errors import Conflict, InvalidParameter, SystemFault
from darse.core.events import EventLog
from darse.core.exhaustion import exhausted, in_words
from darse.core.tasks import ended
from darse.linux.descriptors import FileDescriptor
from darse.linux.fs.files import sync_file_system
from darse.linux.pipes import read_when_ready
from darse.runtime.rootfs.tree_sizes import parts_of
from darse.volumes.drivers import LocalDriver
from darse.volumes.model import VolumeRecord, find_volume
from darse.volumes.mounts import check_volume_name
from darse.wire.volumes import VolumePart, VolumeUsage

if TYPE_CHECKING:
    from darse.volumes.mounting import VolumeMounting

#: Of a snapshot: which volume it is of.
SNAPSHOT_LABEL = "darse.snapshot.of"
_PIECE = 256 * 1024
_MOST_PARTS = 1000
_log = logging.getLogger("darse.volumes")
#: Has a staged directory be the data of a new volume.
Publish = Callable[[VolumeRecord, Path], None]


class VolumeData:
    """Archives, copies and measures volumes."""

    def __init__(
        self,
        driver: LocalDriver,
        mounting: VolumeMounting,
        records: Mapping[str, VolumeRecord],
        events: EventLog,
        publish: Publish,
    ) -> None:
        """`records`, by names, are the service's; `publish` is called with the lock of the volume's name held."""
        self._driver = driver
        self._mounting = mounting
        self._records = records
        self._events = events
        self._publish = publish

    @contextlib.asynccontextmanager
    async def export(self, name: str) -> AsyncIterator[AsyncGenerator[bytes]]:
        """The archive of a volume, its own owner and mode first, open for the duration of the block. Raises NotFound.

        While it comes: SystemFault for what cannot be read, InvalidParameter for a tree that no archive can hold.
        """
        record = find_volume(self._records, name)
        async with self._mounting.borrow(record) as path:
            worker, number = await process.export_volume(path, record.owners)
            reading = FileDescriptor(number)
            try:
                os.set_blocking(number, False)
                yield self._pieces(name, worker, reading)
            finally:
                await worker.end()
                reading.close()
        self._events.publish("volume", "export", name, {"driver": record.driver})

    async def _pieces(self, name: str, worker: process.ArchiveWorker, reading: FileDescriptor) -> AsyncGenerator[bytes]:
        while piece := await read_when_ready(reading, _PIECE):
            yield piece
        done = await self._answer(f"export {name}", process.answer(worker))
        if int(done["shortened"]):
            _log.warning("volume %s: %s files became shorter while they were archived", name, done["shortened"])

    async def import_archive(
        self, name: str, archive: AsyncIterator[bytes], labels: dict[str, str], *, replace: bool
    ) -> VolumeRecord:
        """Make a volume of an archive; with `replace` one that exists gets the archive's files in place of its own.

        All or nothing of it is there afterwards. Raises InvalidParameter for the archive, and Conflict for a volume
        that is there, or that a running container uses.
        """
        check_volume_name(name)
        record = self._target(name, labels, replace=replace)

        async def unpack(directory: Path) -> dict[str, str]:
            source = PipeSource(-1)

            async def read() -> dict[str, str]:
                reading = source.open()
                try:
                    return await process.import_volume(directory, reading, record.owners)
                finally:
                    os.close(reading)

            return await source.fed_by(archive, read())

        await self._fill(record, f"import {name}", "import", unpack, replace=replace)
        return self._records[name]

    async def clone(self, name: str, new: str, labels: dict[str, str]) -> VolumeRecord:
        """Make a new volume with what another one holds. Raises NotFound, InvalidParameter, Conflict, SystemFault."""
        check_volume_name(new)
        source = find_volume(self._records, name)
        record = self._target(new, labels, replace=False)
        await self._copy(source, record, f"clone {name}", "create", replace=False)
        return self._records[new]

    async def snapshot(self, name: str, snapshot: str) -> VolumeRecord:
        """Make a snapshot, called after the volume and the time, in UTC, without a name. Raises as `clone` does."""
        taken = time.time_ns()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(taken // 1_000_000_000))
        return await self.clone(
            name, snapshot or f"{name}.{stamp}.{taken // 1_000_000 % 1000:03}", {SNAPSHOT_LABEL: name}
        )

    async def restore(self, name: str, snapshot: str) -> VolumeRecord:
        """Have a volume hold what a snapshot of it has; one that is gone is there again.

        Raises NotFound, InvalidParameter for what is no snapshot of it, Conflict while a running container uses it.
        """
        source = find_volume(self._records, snapshot)
        if source.labels.get(SNAPSHOT_LABEL) != name:
            raise InvalidParameter(f"restore {name}: volume {snapshot} is no snapshot of it")
        record = self._target(name, {}, replace=True)
        await self._copy(source, record, f"restore {name}", "restore", replace=True)
        return self._records[name]

    async def take_over(self, name: str, directory: Path, labels: dict[str, str], size: str = "") -> None:
        """Make a new volume with a copy of what is in a directory of the host: another engine's volume, say.

        Its files keep their owners; where the file system has no quotas it loses its size. Raises InvalidParameter,
        Conflict for a volume that is there, and SystemFault.
        """
        check_volume_name(name)
        record = self._target(name, labels, replace=False)
        record.owners = ""
        if size and self._driver.keeps_sizes:
            record.options = {"size": size}
        elif size:
            _log.warning("volume %s: its size of %s is not kept: the file system has no quotas", name, size)
        try:
            opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise InvalidParameter(f"{directory}: {(error.strerror or str(error)).lower()}") from error

        async def copy(target: Path) -> dict[str, str]:
            return await process.copy_tree(opened, target)

        try:
            await self._fill(record, f"import {name}", "create", copy, replace=False)
        finally:
            os.close(opened)

    async def usage(self, name: str, path: str, depth: int) -> VolumeUsage:
        """What in a volume takes the room: files and directories down to `depth` below `path`, the largest first.

        Raises NotFound, InvalidParameter for a path that is no directory in the volume, and SystemFault.
        """
        record = find_volume(self._records, name)
        async with self._mounting.borrow(record) as top:
            try:
                parts = await parts_of(top, path.strip("/"), depth)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise InvalidParameter(f"volume {name} has no directory {path}") from error
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise InvalidParameter(f"volume {name}: cannot look at {path or '/'}: {reason}") from error
        whole = parts.pop("")
        largest = sorted(parts.items(), key=lambda part: (-part[1].on_disk, part[0]))
        return VolumeUsage(
            whole.on_disk,
            whole.size,
            whole.files,
            [VolumePart(path, one.on_disk, one.size, one.files) for path, one in largest[:_MOST_PARTS]],
        )

    def _target(self, name: str, labels: dict[str, str], *, replace: bool) -> VolumeRecord:
        """The record to fill: that of a volume that exists, or a new one. Raises Conflict."""
        record = self._records.get(name)
        if record is None:
            return VolumeRecord(name, "local", {}, labels, time.time_ns(), owners=self._mounting.owners)
        if not replace:
            raise Conflict(f"volume {name} exists already")
        if not self._mounting.is_directory(record):
            raise InvalidParameter(f"volume {name}: the files of a volume that is a mount, or a plugin's, stay its own")
        if users := self._mounting.busy_with(name):
            raise Conflict(f"volume {name} is used by running containers - [{', '.join(users)}]: stop them first")
        return record

    async def _copy(self, source: VolumeRecord, record: VolumeRecord, what: str, action: str, *, replace: bool) -> None:
        async with self._mounting.borrow(source) as path:

            async def copy(directory: Path) -> dict[str, str]:
                opened = await self._mounting.in_thread(source, os.open, path, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    return await process.copy_tree(opened, directory)
                finally:
                    os.close(opened)

            # Files keep the owners that they have on the disk.
            if record.name not in self._records and self._mounting.is_directory(source):
                record.owners = source.owners
                record.options = dict(source.options)  # a size: what is no mount has no others
            elif record.owners != source.owners:
                raise InvalidParameter(f"{what}: the volumes' files belong to other ranges of users")
            await self._fill(record, what, action, copy, replace=replace)

    async def _fill(
        self,
        record: VolumeRecord,
        what: str,
        action: str,
        fill: Callable[[Path], Coroutine[object, object, dict[str, str]]],
        *,
        replace: bool,
    ) -> None:
        """Fill a staged directory, and publish it. Raises as `import_archive` does."""
        async with self._driver.trash.stage() as staged:
            data = staged / "_data"
            try:
                with in_words(data):
                    await executors.storage.run(self._driver.prepare, staged, record.options)
                await self._answer(what, fill(data))
                await executors.storage.run(sync_file_system, data)
                await self._place(record, staged, what, action, replace=replace)
            finally:
                await executors.storage.run(self._driver.discard, staged)

    async def _place(self, record: VolumeRecord, staged: Path, what: str, action: str, *, replace: bool) -> None:
        """Give a staged directory the name of a new volume, or its files to one that is there: then it is `action`."""
        async with self._mounting.exclusively(record.name):
            now = self._target(record.name, record.labels, replace=replace)
            if record.name not in self._records:
                self._publish(record, staged)
                return
            if now.owners != record.owners or now.changing:
                raise Conflict(f"{what}: its files have changed owners meanwhile")
            # To its end: what is cancelled is neither cleared away under it, nor left without its event.
            await ended(asyncio.create_task(self._exchange(record, staged, action)), lambda: None)

    async def _exchange(self, record: VolumeRecord, staged: Path, action: str) -> None:
        await executors.storage.run(self._driver.exchange, record.name, staged)
        self._events.publish("volume", action, record.name, {"driver": record.driver})

    @staticmethod
    async def _answer(what: str, work: Coroutine[object, object, dict[str, str]]) -> dict[str, str]:
        """Raises InvalidParameter for what an archive is to blame for, and SystemFault."""
        try:
            answer = await work
        except process.WorkerFailed as error:
            raise SystemFault(f"{what}: {error}") from error
        if "fault" in answer:
            fault = exhausted(OSError(int(answer["errno"]), ""))
            raise type(fault or SystemFault())(f"{what}: {fault or answer['fault']}")
        if "error" in answer:
            raise InvalidParameter(f"{what}: {answer['error']}")
        if "closed" in answer:
            raise BrokenPipeError(answer["closed"])
        return answer
