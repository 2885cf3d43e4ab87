"""Containers: the operations on their life, and by name the services that do everything else with them."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from darse.containers.attach import AttachService
from darse.containers.dependencies import Dependencies
from darse.containers.exec.service import ExecService
from darse.containers.explain.service import ExplainService
from darse.containers.filesystem.archives import Archives
from darse.containers.filesystem.checkpoints import CheckpointPlace, Checkpoints
from darse.containers.filesystem.commit import Commits
from darse.containers.health.monitor import HealthMonitor
from darse.containers.lifecycle.create import Creation, check_name
from darse.containers.lifecycle.hidden import HiddenContainers
from darse.containers.lifecycle.oom import OutOfMemory
from darse.containers.lifecycle.service import Lifecycle
from darse.containers.lifecycle.transient import TransientContainers
from darse.containers.listing import ContainerListing
from darse.containers.logs.rotation import LogRotation, UnsentLogs
from darse.containers.logs.shipping.service import Shipping
from darse.containers.model import Container, Purpose
from darse.containers.networking.endpoints import Endpoints
from darse.containers.networking.links import Links
from darse.containers.networking.lookup import LookupExplanation, explain_lookup
from darse.containers.recovery import ContainerRecovery
from darse.containers.stats.observation import Observation
from darse.core.errors import Conflict, InvalidParameter, NotFound, NotModified
from darse.core.filters import Filters
from darse.image_spec.platforms import Platform
from darse.wire.containers import (
    ContainersPruned,
    CreateRequest,
    CreateResponse,
    WaitResponse,
)
from darse.wire.networks import EndpointSettings

if TYPE_CHECKING:
    from darse.containers.lifecycle.adopt import AdoptedContainer

_CONDITIONS = ("", "not-running", "next-exit", "removed")


class ContainerService:
    """What the API asks of containers."""

    def __init__(self, dependencies: Dependencies) -> None:
        self._dependencies = dependencies
        self._store = dependencies.store
        self._links = Links(dependencies)
        self._creation = Creation(dependencies, self._links)
        self.execs = ExecService(dependencies, self._links)
        self.archives = Archives(dependencies)
        self.commits = Commits(dependencies)
        self.lifecycle = Lifecycle(dependencies, self._links, self.execs)
        self._control = self.lifecycle.control
        self._removal = self.lifecycle.removal
        self._endpoints = Endpoints(dependencies, self.lifecycle.etc_files)
        self.listing = ContainerListing(dependencies, self._endpoints, self._links, self.execs)
        self.streams = AttachService(dependencies, self.lifecycle.hubs)
        self.explain = ExplainService(dependencies)
        self.checkpoints = Checkpoints(dependencies)
        self.health = HealthMonitor(dependencies, self.execs)
        unsent = UnsentLogs()
        self._rotation = LogRotation(dependencies, unsent)
        self._shipping = Shipping(dependencies, self._rotation, unsent)
        self.transient = TransientContainers(dependencies)
        self.hidden = HiddenContainers(dependencies, self._creation, self.lifecycle, self._removal)
        self.recovery = ContainerRecovery(dependencies, self.lifecycle, self.execs, self._shipping, self.transient)
        self.observation = Observation(dependencies, self.lifecycle.updates)
        dependencies.listeners.add(self.health)
        dependencies.listeners.add(self._shipping)
        dependencies.listeners.add(self._rotation)
        dependencies.listeners.add(OutOfMemory(dependencies))

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

    async def adopt(self, found: AdoptedContainer) -> None:
        """Make a container of one that another engine had; see `Adoption.adopt`."""
        from darse.containers.lifecycle.adopt import Adoption  # noqa: PLC0415 - few engines ever do

        await Adoption(self._dependencies, self._links).adopt(found)

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
                await self._removal.remove_ended(container)
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
        self._dependencies.publish(container, "restart")

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

    async def rename(self, reference: str, name: str) -> None:
        """Give a container another name, by which others find it then. Raises NotFound, Conflict, InvalidParameter."""
        container = self._store.get(reference)
        if not name:
            raise InvalidParameter("Neither old nor new names may be empty")
        new, old = check_name(name), container.name
        if new == old:
            raise InvalidParameter("Renaming a container with the same name as its current name")
        with self._dependencies.database.transaction():
            self._store.rename(container, new)
            self._dependencies.networks.sandbox_renamed(container.id, new)
            self._dependencies.publish(container, "rename", oldName=f"/{old}")
        await self._dependencies.networks.names_are_settled()

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
            code = self.recovery.unwatched_ends.get(self._dependencies.traces.removed_id(reference) or "")
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

    async def remove_container(self, reference: str, *, force: bool, volumes: bool, link: bool = False) -> None:
        """Remove a container, see `Removal.remove_container`; with `link` the link of that name only."""
        if link:
            self._links.remove_link(reference)
            return
        await self._removal.remove_container(self._store.get(reference), force=force, volumes=volumes)

    async def prune(self, filters: Filters) -> ContainersPruned:
        """Remove every container that does not run and matches."""
        return await self._removal.prune(filters)

    async def explain_lookup(self, reference: str, name: str) -> LookupExplanation:
        """How a name is looked up from a container. Raises NotFound, Conflict and SystemFault."""
        return await explain_lookup(self._dependencies, self._store.get(reference), name)

    async def connect(self, network: str, reference: str, settings: EndpointSettings) -> None:
        """Connect a container to a network, now or from its next start. Raises NotFound, Conflict, InvalidParameter."""
        await self._endpoints.connect(network, self._store.get(reference), settings)

    async def disconnect(self, network: str, reference: str, *, force: bool) -> None:
        """Disconnect a container from a network; with `force` one that does not exist any more, too."""
        container = self._store.find(reference) if force else self._store.get(reference)
        await self._endpoints.disconnect(network, container, force=force)

    async def open(self) -> None:
        """Networks and volumes are there: finish what was cut short, and start what restart policies ask for."""
        await self._endpoints.recover(self._store)
        self._shipping.open()
        self.lifecycle.open()

    async def close(self, stop_seconds: int | None) -> None:
        """Let go of the containers, which go on; or stop them first, within `stop_seconds` each."""
        await self.health.close()
        await self.observation.close()
        await self._shipping.close()
        await self._rotation.close()
        await self.lifecycle.close(stop_seconds)
        await self.execs.close()


def json_quoted(text: str) -> str:
    """A string in double quotes."""
    return msgspec.json.encode(text).decode()
