"""Containers: the front door of the room. Each operation is told where it is done; here it is chosen and guarded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import msgspec

from darse.containers import views
from darse.containers.dependencies import Dependencies
from darse.containers.exec.service import ExecService
from darse.containers.explain.runtime_steps import ControlGroup, in_parts, with_asked
from darse.containers.filesystem.archives import Archives
from darse.containers.filesystem.checkpoints import CheckpointPlace, Checkpoints
from darse.containers.filesystem.commit import Commits
from darse.containers.health.monitor import HealthMonitor
from darse.containers.lifecycle.create import Creation, check_name
from darse.containers.lifecycle.remove import Removal
from darse.containers.lifecycle.restart import refuse_restarting
from darse.containers.lifecycle.service import Lifecycle
from darse.containers.list_filters import ContainerFilter
from darse.containers.logs import LogOptions, LogStream
from darse.containers.logs.attributes import attributes
from darse.containers.logs.drivers import is_readable
from darse.containers.logs.files import LogFiles
from darse.containers.logs.rotation import LogRotation
from darse.containers.logs.shipping.service import Shipping
from darse.containers.model import Container, Purpose, Status
from darse.containers.networking.endpoints import Endpoints, holder
from darse.containers.networking.links import Links
from darse.containers.stats.observation import Observation
from darse.containers.streams.console import Attachment
from darse.containers.streams.detach_keys import DEFAULT, DetachKeys, parse
from darse.containers.streams.options import AttachOptions
from darse.core.errors import Conflict, EngineError, InvalidParameter, NotFound, NotModified
from darse.core.filters import Filters
from darse.core.state import REBUILD
from darse.core.trace import Operation, Step, named
from darse.images import ImageUser
from darse.images.platforms import Platform
from darse.images.snapshots.service import DRIVER
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.files import read_regular
from darse.networks.model import Holder
from darse.recovery.startup import Recovery
from darse.runtime.monitor import conmon
from darse.runtime.monitor.conmon import STDERR, STDOUT
from darse.runtime.oci.process import apparmor_profile
from darse.runtime.oci.security import read_security_options
from darse.wire.containers import (
    ContainerInspect,
    ContainersPruned,
    ContainerSummary,
    CreateRequest,
    CreateResponse,
    GraphDriver,
    WaitResponse,
)
from darse.wire.networks import EndpointSettings

_CONDITIONS = ("", "not-running", "next-exit", "removed")


class ContainerService:
    """What the API asks of containers."""

    def __init__(self, context: Dependencies) -> None:
        self._context = context
        self._store = context.store
        self._links = Links(context)
        self._creation = Creation(context, self._links)
        self.execs = ExecService(context, self._links)
        self.archives = Archives(context)
        self.commits = Commits(context)
        self.lifecycle = Lifecycle(context, self._links, self._auto_remove)
        self._control = self.lifecycle.control
        self._removal = Removal(context, self.lifecycle, self.execs)
        self._endpoints = Endpoints(context)
        self.checkpoints = Checkpoints(context)
        self._health = HealthMonitor(context, self.execs)
        self._rotation = LogRotation(context)
        self._shipping = Shipping(context, self._rotation.tidy)
        self._rotation.first_needed = self._shipping.first_needed
        # Exit codes of containers that ended and went before anybody could wait for them in this engine.
        self._unwatched_ends: dict[str, int] = {}
        self.observation = Observation(context, self.lifecycle.updates)
        context.observers.add(self._health)
        context.observers.add(self._shipping)
        context.observers.add(self._rotation)

    async def _auto_remove(self, container: Container) -> None:
        with contextlib.suppress(Conflict):  # somebody has started it again
            await self._removal.discard(container, volumes=True)

    # Life

    async def create(
        self,
        name: str | None,
        request: CreateRequest,
        platform: Platform | None = None,
        *,
        recursive_read_only: bool = True,
    ) -> CreateResponse:
        """Create a container; see `Creation.create`."""
        return await self._creation.create(name, request, platform, recursive_read_only=recursive_read_only)

    async def start(self, reference: str, checkpoint: CheckpointPlace | None = None) -> None:
        """Start a container, or go on from a checkpoint of it; see `Lifecycle.start`."""
        container = self._store.get(reference)
        restore = await self.checkpoints.find(container, checkpoint) if checkpoint is not None else None
        await self._start(container, restore)

    async def _start(self, container: Container, restore: Path | None = None) -> None:
        """Start a container. One that asked for its removal goes when that fails, for whatever reason."""
        try:
            await self.lifecycle.start(container, restore)
        except NotModified:
            raise
        except Exception:
            if container.record.host.AutoRemove and not container.state.active:
                await self._auto_remove(container)
            raise

    async def stop(self, reference: str, seconds: int | None, signal: str | None) -> None:
        """Stop a container; see `Control.stop`."""
        await self._control.stop(self._store.get(reference), seconds, signal)

    async def restart(self, reference: str, seconds: int | None, signal: str | None) -> None:
        """Stop a container if it runs, and start it."""
        container = self._store.get(reference)
        with container.under_way(Purpose.RESTART):
            if container.state.active:
                await self._control.stop(container, seconds, signal)
            with contextlib.suppress(NotModified):  # somebody else has started it meanwhile
                await self._start(container)
        self._context.publish(container, "restart")

    async def kill(self, reference: str, signal: str) -> None:
        """Send a signal; see `Control.kill`."""
        container = self._store.get(reference)
        if not container.state.active:
            raise Conflict(f"cannot kill container: {reference}: container {container.id} is not running")
        await self._control.kill(container, signal)

    async def pause(self, reference: str) -> None:
        """Freeze a container."""
        await self._control.pause(self._store.get(reference))

    async def unpause(self, reference: str) -> None:
        """Let a paused container go on."""
        await self._control.unpause(self._store.get(reference))

    def rename(self, reference: str, name: str) -> None:
        """Give a container another name. Raises NotFound, Conflict and InvalidParameter."""
        container = self._store.get(reference)
        if not name:
            raise InvalidParameter("Neither old nor new names may be empty")
        new, old = check_name(name), container.name
        if new == old:
            raise InvalidParameter("Renaming a container with the same name as its current name")
        with self._context.database.transaction():
            self._store.rename(container, new)
            self._context.networks.sandbox_renamed(container.id, new)
            self._context.publish(container, "rename", oldName=f"/{old}")

    def wait(self, reference: str, condition: str) -> asyncio.Future[WaitResponse]:
        """Return a future of a container's end. It is registered on return: what happens next is not missed.

        Raises NotFound, and InvalidParameter for an unknown condition.
        """
        if condition not in _CONDITIONS:
            raise InvalidParameter(f"invalid condition: {json_quoted(condition)}")
        future: asyncio.Future[WaitResponse] = asyncio.get_running_loop().create_future()
        try:
            container = self._store.get(reference)
        except NotFound:
            code = self._unwatched_ends.get(self._context.traces.removed_id(reference) or "")
            if code is None or condition == "next-exit":
                raise
            future.set_result(WaitResponse(code))
            return future
        if condition == "removed":
            return container.removal()
        if condition == "next-exit" or container.state.active:
            return container.next_exit()
        future.set_result(WaitResponse(container.state.exit_code))
        return future

    async def remove(self, reference: str, *, force: bool, volumes: bool, link: bool = False) -> None:
        """Remove a container, see `Removal.remove`; with `link` the link of that name only."""
        if link:
            self._links.remove(reference)
            return
        await self._removal.remove(self._store.get(reference), force=force, volumes=volumes)

    async def prune(self, filters: Filters) -> ContainersPruned:
        """Remove every container that does not run and matches."""
        return await self._removal.prune(filters)

    # Streams

    def attach(self, reference: str, options: AttachOptions) -> Attachment:
        """Connect to a container's streams, from now on or from its start.

        Raises NotFound, InvalidParameter for detach keys, and Conflict when it is paused or just ending.
        """
        container = self._store.get(reference)
        if container.state.status is Status.PAUSED:
            raise Conflict(f"container {reference} is paused, unpause the container before attach")
        refuse_restarting(container)
        config = container.record.config
        keys = DetachKeys(parse(options.detach_keys or DEFAULT))
        outputs = {STDOUT} if options.stdout or (config.Tty and options.stderr) else set()
        if options.stderr:
            outputs.add(STDERR)
        hub = self.lifecycle.hubs.of(container)
        attachment = Attachment(
            hub,
            terminal=config.Tty,
            stdin=options.stdin and options.stream and config.OpenStdin,
            outputs=frozenset(outputs),
            detach_keys=keys if config.Tty else None,
            history=self._history(container, options) if options.logs else None,
        )
        if options.stream:
            hub.add(attachment, running=container.state.alive)
        else:
            attachment.finish()
        self._context.publish(container, "attach")
        return attachment

    def _history(self, container: Container, options: AttachOptions) -> AsyncIterator[bytes]:
        log = LogOptions(stdout=options.stdout, stderr=options.stderr)
        return self._log_stream(container, log).frames()

    def logs(self, reference: str, options: LogOptions) -> LogStream:
        """Read a container's log. Raises NotFound, InvalidParameter and Conflict when it keeps none."""
        container = self._store.get(reference)
        if not (options.stdout or options.stderr):
            raise InvalidParameter("Bad parameters: you must choose at least one stream")
        if not is_readable(container.record.host.LogConfig):
            raise Conflict("configured logging driver does not support reading")
        stream = self._log_stream(container, options)
        if options.follow:
            followers = self._context.followers.setdefault(container.id, set())
            followers.add(stream)
        return stream

    def log_closed(self, stream: LogStream, reference: str) -> None:
        """A reader of `logs` is done."""
        container = self._store.find(reference)
        for container_id in [container.id] if container else list(self._context.followers):
            followers = self._context.followers.get(container_id)
            if followers is not None:
                followers.discard(stream)
                if not followers:
                    del self._context.followers[container_id]

    def _log_stream(self, container: Container, options: LogOptions) -> LogStream:
        told = attributes(container)
        return LogStream(
            LogFiles(self._context.files.of(container.id).log),
            self._context.inotify,
            options,
            terminal=container.record.config.Tty,
            details=",".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in sorted(told.items())),
            running=lambda: container.state.alive,
        )

    def resize(self, reference: str, height: int, width: int) -> None:
        """Set the size of a container's terminal. Raises Conflict when it does not run."""
        container = self._store.get(reference)
        if not container.state.alive:
            raise Conflict(f"container {container.id} is not running")
        conmon.resize(self._context.files.of(container.id).station, height, width)
        self._context.publish(container, "resize", height=height, width=width)

    # Views

    async def inspect(self, reference: str, *, size: bool) -> ContainerInspect:
        """The whole of a container. Raises NotFound."""
        container = self._store.get(reference)
        overlay = self._context.snapshots.overlay(container.id)
        graph = GraphDriver(
            DRIVER,
            {
                "ID": container.id,
                "LowerDir": ":".join(overlay.lower),
                "MergedDir": str(self._context.files.of(container.id).station.rootfs),
                "UpperDir": overlay.upper,
                "WorkDir": overlay.work,
            },
        )
        return views.inspect(
            container,
            self._context.files.of(container.id),
            self._endpoints.settings(container),
            graph,
            self.execs.of_container(container.id),
            self._links.shown(container),
            await self._sizes(container) if size else None,
            apparmor_profile(
                read_security_options(container.record.host.SecurityOpt),
                self._context.facts,
                privileged=container.record.host.Privileged,
            ),
        )

    async def _sizes(self, container: Container) -> views.Sizes | None:
        """Bytes of a container's files; None when they cannot be counted, which is no reason to show none of others."""
        try:
            return views.Sizes(*await self._context.snapshots.usage(container.id))
        except (OSError, EngineError) as error:
            if container.state.status is not Status.REMOVING:
                self._context.log.warning("container %s: its size is not known: %s", container.id[:12], error)
            return None

    async def list_containers(
        self, filters: Filters, *, everything: bool, limit: int, size: bool
    ) -> list[ContainerSummary]:
        """The containers that match, newest first. Raises InvalidParameter and NotFound for filters."""
        chosen = ContainerFilter(filters, self._store.get, self._built_on, self._endpoints.settings)
        everything = everything or limit > 0 or chosen.shows_stopped
        containers = [
            container
            for container in sorted(self._store, key=lambda one: -one.record.created_ns)
            if (everything or container.state.active) and chosen.matches(container)
        ]
        shown = containers[:limit] if limit > 0 else containers
        sizes = await asyncio.gather(*map(self._sizes, shown)) if size else [None] * len(shown)
        called = {
            (record.image_reference, record.image_id): self._context.images.called(
                record.image_reference, record.image_id
            )
            for record in (one.record for one in shown)
        }
        return [
            views.summary(
                one,
                called[one.record.image_reference, one.record.image_id],
                self._endpoints.settings(one),
                sizes_of_one,
                self._links.names(one),
            )
            for one, sizes_of_one in zip(shown, sizes, strict=True)
        ]

    def _built_on(self, reference: str) -> set[str]:
        """The ids of an image and of those that were made from it; none when there is no such image."""
        images = self._context.images
        try:
            base = images.get(reference)
        except (NotFound, InvalidParameter):
            return set()
        return {image.id for image in images.store if images.store.is_made_from(image, base)}

    def trace(self, reference: str, name: str | None) -> Operation:
        """What was done in the last operation on a container. Raises NotFound."""
        traces = self._context.traces
        container = None
        try:
            container = self._store.get(reference)
            container_id = container.id
        except NotFound:
            removed = traces.removed_id(reference)
            if removed is None:
                raise
            container_id = removed
        operation = traces.last(container_id, name, self._context.files.of(container_id).data)
        if container is not None and operation.name == "start":
            operation.steps = self._with_asked(container, operation.steps)
        operation.steps = named(operation.steps, container_id[:12])
        return operation

    def _with_asked(self, container: Container, steps: list[Step]) -> list[Step]:
        """The steps of a start with what the runtime did, as long as the run lasts: its files go with it."""
        station = self._context.files.of(container.id).station
        with contextlib.suppress(FileNotFoundError):
            spec = msgspec.json.decode(read_regular(station.config))
            state = self._context.runtime_of(container).state_directory(container.id)
            group = ControlGroup(self._context.cgroups, self._context.cgroup_path(container))
            return with_asked(in_parts(steps, state, station.container_pid), spec, group)
        return steps

    def traced(self) -> list[dict[str, Any]]:
        """What operations are on record, see `Traces.summary`."""
        names = {container.id: container.record.name for container in self._store}
        return self._context.traces.summary(names, lambda container_id: self._context.files.of(container_id).data)

    async def connect(self, network: str, reference: str, settings: EndpointSettings) -> None:
        """Connect a container to a network, now or from its next start. Raises NotFound, Conflict, InvalidParameter."""
        await self._endpoints.connect(network, self._store.get(reference), settings)

    async def disconnect(self, network: str, reference: str, *, force: bool) -> None:
        """Disconnect a container from a network; with `force` one that does not exist any more, too."""
        container = self._store.find(reference) if force else self._store.get(reference)
        await self._endpoints.disconnect(network, container, force=force)

    # What other rooms ask

    def image_users(self, image_id: str) -> list[ImageUser]:
        """The containers of an image, and those that mount it.

        One whose record is damaged counts as running: its image is to be there when the record is.
        """
        return [ImageUser(one, True) for one in self._store.damaged_of(image_id)] + [
            ImageUser(container.id, container.state.active)
            for container in self._store.everything()
            if container.record.image_id == image_id
            or any(plan.type == "image" and plan.source == image_id for plan in container.record.mounts)
        ]

    def volume_users(self, name: str, *, running: bool = False) -> list[str]:
        """The containers that mount a volume."""
        return [
            container.id
            for container in self._store.everything()
            if (container.state.active or not running)
            and any(plan.type == "volume" and plan.name == name for plan in container.record.mounts)
        ]

    def network_users(self, name: str) -> list[str]:
        """The containers that are, or are to be, connected to a network."""
        return [container.id for container in self._store.everything() if name in container.record.endpoints]

    # Recovery

    def running(self) -> dict[str, int]:
        """The pid of each running container."""
        return {container.id: container.state.pid for container in self._store if container.state.alive}

    def holder_of(self, container_id: str) -> Holder | None:
        """Who holds the network stack of a container; None when it does not run."""
        container = self._store.find(container_id)
        return holder(container) if container is not None and container.state.alive else None

    def sweep(self, recovery: Recovery) -> None:
        """Undo creations and finish removals that an engine before us did not; set aside what no record names."""
        for container in self._store.everything():
            if container.state.status is Status.CREATING:
                self._store.delete(container)
                self._context.volumes.discard_unrecorded(container.record.mounts, recovery.unfinished)
                self._context.volumes.discard_anonymous(container.record.mounts)
        files = self._context.files
        files.make_directories()
        removed = recovery.unfinished.of("containers")
        known = self.known
        recovery.strays = self._strays(known | removed)
        for directory in list(files.containers.iterdir()):
            name = directory.name
            if name in known or name in recovery.strays or self._shipping.adopt(directory):
                continue
            if name in removed or _is_empty(directory):
                remove_tree(directory)
            else:
                recovery.set_aside("containers", directory, "no record names this container")
        recovery.unattended = recovery.strays | self._with_processes(self._store.damaged)
        for container_id in recovery.strays:
            recovery.report(
                f"container {container_id}",
                "it runs, and no record names it",
                f"it is left alone; to take it back, {REBUILD}",
            )

    @property
    def known(self) -> set[str]:
        """The ids of all containers that have a row, damaged ones included."""
        return {container.id for container in self._store} | self._store.damaged

    def _strays(self, known: set[str]) -> set[str]:
        """The ids of containers that have processes, and are none of `known`."""
        context = self._context
        places = [context.files.bundles, *(runtime.root for runtime in context.runtimes.values())]
        found = {path.name for place in places if place.exists() for path in place.iterdir()}
        return self._with_processes(found - known)

    def _with_processes(self, ids: set[str]) -> set[str]:
        context = self._context
        parent = context.config.cgroup_parent.strip("/")
        return {one for one in ids if context.cgroups.processes(f"/{parent}/{one}")}

    async def recover(self, recovery: Recovery) -> None:
        """Bring every container together with what the kernel has; then clean up what belongs to none."""
        monitors = self._context.monitor.running()
        for container in self._store:
            try:
                await self.lifecycle.recover(container, monitors)
            except Exception as error:
                # Whatever is damaged of one keeps only that one down. What nobody has foreseen shows its traceback.
                if not isinstance(error, (EngineError, OSError, ValueError)):
                    self._context.log.exception("cannot recover container %s", container.id[:12])
                recovery.report(
                    f"container {container.id[:12]}",
                    f"it cannot be taken over: {error}",
                    "remove it, or start it again",
                )
        await self._sweep_runs(self.known | recovery.strays)
        self.execs.recover(monitors, self._store.damaged | recovery.strays)

    async def _sweep_runs(self, known: set[str]) -> None:
        """Remove directories, runtime state and cgroups of containers that no longer exist."""
        context = self._context
        for runtime in context.runtimes.values():
            for directory in list(runtime.root.iterdir()) if runtime.root.exists() else []:
                if directory.name not in known:
                    await context.cgroups.remove(f"/{context.config.cgroup_parent.strip('/')}/{directory.name}")
                    runtime.delete_state(directory.name)
        for directory in list(context.files.bundles.iterdir()):
            if directory.name not in known:
                remove_tree(directory)
        for path in list(context.files.exits.iterdir()):
            if path.name not in known:
                path.unlink()
        # A conmon that is killed while it hands over a terminal leaves the socket for that.
        for path in context.files.exits.parent.glob("conmon-term.*"):
            path.unlink(missing_ok=True)

    async def remove_finished(self) -> None:
        """Remove containers that ended, and asked for that, while no engine ran."""
        for container in self._store:
            if container.record.host.AutoRemove and container.state.status is Status.EXITED:
                self._unwatched_ends[container.id] = container.state.exit_code
                await self._auto_remove(container)

    def open(self) -> None:
        """Networks and volumes are there: finish what was cut short, and start what restart policies ask for."""
        self._endpoints.recover(self._store)
        self._shipping.open()
        self.lifecycle.open()

    async def close(self, stop_seconds: int | None) -> None:
        """Let go of the containers, which go on; or stop them first, within `stop_seconds` each."""
        await self._health.close()
        await self.observation.close()
        await self._shipping.close()
        await self._rotation.close()
        await self.lifecycle.close(stop_seconds)
        await self.execs.close()


def _is_empty(directory: Path) -> bool:
    return directory.is_dir() and not any(directory.iterdir())


def json_quoted(text: str) -> str:
    """A string in double quotes."""
    return msgspec.json.encode(text).decode()
