"""Copies into and out of containers, and exports: archives of a container's files.

Whether the container runs or not, all work on its files is done by a worker that sees nothing else
(`darse.runtime.rootfs.helper`): in a running container's own mount namespace, with its volumes, tmpfs and whatever
else is mounted there; for one that does not run, with its overlay and volumes mounted in a namespace made for this.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from darse.archive.process import OnConnection
from darse.containers.dependencies import Dependencies
from darse.containers.lifecycle.image_mounts import ImageMounts
from darse.containers.model import Container, Status
from darse.core.errors import Conflict, InvalidParameter, NotFound
from darse.core.times import rfc3339
from darse.go_modes import GO_IRREGULAR, GO_KINDS, go_mode
from darse.linux.proc.process import runs
from darse.runtime.monitor.launch import RootMount
from darse.runtime.oci.mounts import BindMount
from darse.runtime.oci.user import lookup_user
from darse.runtime.remapping import make_users
from darse.runtime.rootfs.helper import HelperRequest, PathStat, RootfsHelper, RootfsView, mount_view, view_of_process
from darse.runtime.rootfs.helper_main import LIST_LIMIT
from darse.volumes.mounts import MountPlan
from darse.wire.archives import ContainerPathStat, DirectoryListing

_OPEN_ROOT = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Source(Protocol):
    """An archive that a client sends. Either `take` it or read its `pieces`."""

    def take(self) -> OnConnection | None:
        """Hand over the connection it comes on; None when that cannot be."""

    def pieces(self) -> AsyncIterator[bytes]:
        """Yield it as it comes."""


class OpenArchive:
    """An archive on its way out."""

    def __init__(
        self, dependencies: Dependencies, container: Container, worker: RootfsHelper, found: PathStat | None
    ) -> None:
        self._dependencies = dependencies
        self._container = container
        self._worker = worker
        self._found = found

    @property
    def stat(self) -> ContainerPathStat:
        """What is archived."""
        assert self._found is not None
        return path_stat(self._found)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The archive. Raises what the worker's failure means: what came is not whole then."""
        while piece := await self._worker.read():
            yield piece
        shortened = await self._worker.done()
        if shortened:
            self._dependencies.log.warning(
                "container %s: %d files became shorter while they were archived; zeros stand for what was cut off",
                self._container.id[:12],
                shortened,
            )


class Archives:
    """Reads and writes containers' files."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._mounted = ImageMounts(dependencies)

    async def stat(self, reference: str, path: str) -> ContainerPathStat:
        """What is at a path. Raises NotFound, and InvalidParameter."""
        container = self._dependencies.store.get(reference)
        async with self._worker(container, _job("stat", path)) as worker:
            found = await self._found(worker, path, reference)
            assert found is not None
            return path_stat(found)

    async def list_directory(self, reference: str, path: str) -> DirectoryListing:
        """What is at a path, and what is in it where it is a directory. Raises as `stat` does."""
        container = self._dependencies.store.get(reference)
        async with self._worker(container, _job("list", path)) as worker:
            found = await self._found(worker, path, reference)
            assert found is not None
            # A name that is no UTF-8 is shown, and cannot be asked for.
            entries = [path_stat(one) for one in await worker.listed()]
            return DirectoryListing(path_stat(found), entries, len(entries) == LIST_LIMIT)

    @asynccontextmanager
    async def get(self, reference: str, path: str) -> AsyncIterator[OpenArchive]:
        """An archive of a file or a directory, open for the duration of the block. Raises as `stat` does."""
        container = self._dependencies.store.get(reference)
        async with self._worker(container, _job("pack", path)) as worker:
            found = await self._found(worker, path, reference)
            self._dependencies.publish(container, "archive-path")
            yield OpenArchive(self._dependencies, container, worker, found)

    async def put(self, reference: str, path: str, source: Source, *, keep_kinds: bool, container_owner: bool) -> None:
        """Unpack an archive into a directory. `keep_kinds`: a directory stays one, and so does anything else.

        `container_owner` makes everything the container's user's. Raises NotFound, Forbidden for what is mounted
        read-only, InvalidParameter for the archive, and SystemFault. What was unpacked before that stays.
        """
        container = self._dependencies.store.get(reference)
        job = _job("unpack", path)
        job.keep_kinds = keep_kinds
        async with self._worker(container, job, source, container_owner=container_owner) as worker:
            if not worker.reads_itself:
                with contextlib.suppress(BrokenPipeError):  # it has ended, and says why
                    async for piece in source.pieces():
                        await worker.write(piece)
                worker.end_input()
            await self._found(worker, path, reference)
            await worker.done()
        self._dependencies.publish(container, "extract-to-dir")

    @asynccontextmanager
    async def export(self, reference: str) -> AsyncIterator[OpenArchive]:
        """An archive of all of a container's own files: its layer on those of its image, without what is mounted."""
        container = self._dependencies.store.get(reference)
        async with self._worker(container, HelperRequest(operation="export", alone=True)) as worker:
            self._dependencies.publish(container, "export")
            yield OpenArchive(self._dependencies, container, worker, None)

    @staticmethod
    async def _found(worker: RootfsHelper, path: str, reference: str) -> PathStat | None:
        try:
            return await worker.found()
        except NotFound:
            raise NotFound(f"Could not find the file {path} in container {reference}") from None

    @asynccontextmanager
    async def _worker(
        self, container: Container, job: HelperRequest, source: Source | None = None, *, container_owner: bool = False
    ) -> AsyncIterator[RootfsHelper]:
        """A worker in the container's files, for the duration of the block."""
        dependencies = self._dependencies
        async with AsyncExitStack() as stack:
            while True:
                async with dependencies.locks.hold(container.id):
                    if container.state.status is Status.REMOVING:
                        raise NotFound(f"No such container: {container.id}")
                    view = await self._view(container, stack, alone=job.alone)
                    if view is not None:
                        with dependencies.traces.record("cp", container.id):
                            try:
                                if container_owner:
                                    job.owner = self._owner(container, view)
                                worker = RootfsHelper(view, job, source.take() if source is not None else None)
                            finally:
                                view.close()
                        stack.enter_context(dependencies.rootfs_leases.use(container.id, worker.end))
                        stack.push_async_callback(worker.close)
                        break
                # Its process has ended, and the engine is about to learn of it.
                await container.wait_until_exited()
            yield worker

    async def _view(self, container: Container, stack: AsyncExitStack, *, alone: bool) -> RootfsView | None:
        """Where the container's files are seen, to be closed by the caller; None when its process has just ended."""
        dependencies, state = self._dependencies, container.state
        if state.alive:
            try:
                view = view_of_process(state.pid)
            except OSError:
                return None
            if runs(state.pid, state.monitor_pid):
                return view
            view.close()  # of another process, which has the pid by now
            return None
        files = dependencies.files.of(container.id)
        mounts = [] if alone else await self._mounts(container, stack)
        overlay = dependencies.snapshots.overlay(container.id)
        made: RootfsView = await dependencies.threads.run(
            mount_view,
            dependencies.threads,
            RootMount(overlay.lower, overlay.upper, overlay.work),
            files.data,
            mounts,
            read_only=container.record.host.ReadonlyRootfs,
        )
        if owners := dependencies.snapshots.owners_of(container.id):
            try:
                made.users = await dependencies.threads.run(make_users, owners)
            except BaseException:
                made.close()
                raise
        return made

    async def _mounts(self, container: Container, stack: AsyncExitStack) -> list[BindMount]:
        """What is mounted in a container that does not run: all but memory, which is gone."""
        dependencies = self._dependencies
        plans = [plan for plan in container.record.mounts if plan.type != "tmpfs"]
        begun: list[MountPlan] = []
        stack.push_async_callback(dependencies.volumes.mounting.unmount_unused, begun, container.id)
        ready = await self._mounted.prepare_all(plans, container.id, begun)
        files = dependencies.files.of(container.id)
        names = {"/etc/hostname": files.hostname, "/etc/hosts": files.hosts, "/etc/resolv.conf": files.resolv_conf}
        chosen = {plan.destination for plan in plans}
        ours = [
            BindMount(str(file), destination, writable=True, propagation="rprivate")
            for destination, file in names.items()
            if destination not in chosen and file.exists()
        ]
        return [*ours, *(one for one in ready if isinstance(one, BindMount))]

    @staticmethod
    def _owner(container: Container, view: RootfsView) -> tuple[int, int] | None:
        """The container's user and group by number; None when it names none: owners stay as the archive has them."""
        text = container.record.config.User
        if not text:
            return None
        try:
            root = view.root if view.root is not None else os.open(f"/proc/{container.state.pid}/root", _OPEN_ROOT)
        except OSError as error:
            raise Conflict(f"container {container.id} has just ended") from error
        try:
            user = lookup_user(root, text)
        finally:
            if root != view.root:
                os.close(root)
        return user.uid, user.gid


def _job(operation: str, path: str) -> HelperRequest:
    """A job about a path as clients write them: relative to the root, with `/` or `/.` behind what is to be entered.

    The name of the archive's first entry is the path's last part, which is `.` for `/.`.
    """
    if not path:
        raise InvalidParameter("bad parameter: path cannot be empty")
    clean = posixpath.normpath("/" + path.lstrip("/"))
    # Slashes behind the dot change nothing.
    inside = posixpath.basename(path.rstrip("/")) == "."
    name = "." if inside else posixpath.basename(clean) or "/"
    return HelperRequest(operation=operation, path=clean, follow=inside or path.endswith("/"), name=name)


def path_stat(found: PathStat) -> ContainerPathStat:
    """What the API says of a file."""
    mode = go_mode(found.mode, GO_KINDS.get(stat.S_IFMT(found.mode), GO_IRREGULAR))
    return ContainerPathStat(found.name, found.size, mode, rfc3339(found.mtime_ns), found.target)
