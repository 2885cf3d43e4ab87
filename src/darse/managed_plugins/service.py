"""The operations on managed plugins.

Rows say what there is, containers run it. A container is made before the row that names it, and one without a row is
removed by the next start. A removed plugin's container and files go before its row: what fails can be tried again.
`enabled` is on record when the plugin listens, and no more from before it is stopped; the next start brings the
containers together with it. Every change is one transaction with its event.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from darse.containers.lifecycle.hidden import HiddenContainers
from darse.containers.model import Container, Record
from darse.core import executors
from darse.core.errors import Conflict, EngineError, SystemFault
from darse.core.filters import Filters
from darse.core.ids import new_id
from darse.core.locks import KeyedLocks
from darse.core.undo import Undo
from darse.image_spec.digests import digest_of
from darse.image_spec.manifests import Descriptor
from darse.image_spec.media_types import OCI_MANIFEST
from darse.images import Image, references
from darse.images.model import ImageConfig
from darse.images.progress import PushedTag, PushStarted, Report, ignore
from darse.managed_plugins import run
from darse.managed_plugins.images import PluginImage, PluginImages
from darse.managed_plugins.model import (
    PluginRecord,
    capabilities,
    changed,
    check_config,
    default_settings,
    kept,
    read_config,
    view,
)
from darse.managed_plugins.store import PluginStore
from darse.runtime.rootfs.trash import Trash
from darse.wire.plugins import Plugin, PluginPrivilege, PluginSettings

if TYPE_CHECKING:
    from darse.containers.dependencies import Dependencies
    from darse.distribution import Credentials
    from darse.images.references import Reference
    from darse.images.transfer.service import RegistryService

LIST_FILTERS = ("capability", "enabled")
# Seconds for a plugin to listen, where the client names none.
_LISTEN_SECONDS = 30.0
# And at the engine's start, which is no longer than this for one that hangs.
_EARLY_SECONDS = 5.0
_log = logging.getLogger("darse.plugins")


class ManagedPlugins:
    """What the API asks of managed plugins."""

    def __init__(
        self,
        dependencies: Dependencies,
        store: PluginStore,
        containers: HiddenContainers,
        registries: RegistryService,
    ) -> None:
        self._dependencies = dependencies
        self._store = store
        self._containers = containers
        self._images = PluginImages(dependencies.images, registries)
        self._trash = Trash(dependencies.config.data_root / "plugins" / ".trash")
        self._locks = KeyedLocks()

    # The engine's life

    async def open(self) -> None:
        """Remove the containers that no plugin has, start the plugins that are enabled, and stop those that are not.

        Logs what cannot be started, or stopped.
        """
        self._trash.directory.parent.mkdir(mode=0o700, exist_ok=True)
        self._trash.open()
        known = {one.container for one in self._store}
        if not self._store.is_damaged:
            for container in self._containers.all():
                if container.id not in known:
                    await self._containers.remove(container)
        await asyncio.gather(*map(self._recover, self._store))
        self._trash.empty_in_background()

    async def _recover(self, plugin: PluginRecord) -> None:
        try:
            if plugin.enabled:
                await self._start(plugin, _EARLY_SECONDS)
            elif self._is_active(plugin):
                # The engine ended while it was being enabled or disabled.
                await self._stop(plugin)
        except (EngineError, OSError) as error:
            state = "enabled and cannot be started" if plugin.enabled else "disabled and cannot be stopped"
            _log.error("plugin %s is %s: %s", plugin.name, state, error)

    async def close(self) -> None:
        """Let go; the plugins go on."""
        await self._trash.close()

    # Looking

    def list_plugins(self, filters: Filters) -> list[Plugin]:
        """The plugins that match, by name. Raises InvalidParameter for a filter."""
        enabled = filters.flag("enabled")
        sought = set(filters.values("capability"))
        return [
            view(one)
            for one in self._store
            if enabled in (None, one.enabled)
            and (not sought or sought & {name.lower() for name in capabilities(read_config(one.config))})
        ]

    def inspect(self, name: str) -> Plugin:
        """One plugin. Raises NotFound."""
        return view(self._store.get(name))

    # Installing

    async def privileges(self, reference: Reference, credentials: Credentials | None) -> list[PluginPrivilege]:
        """What the plugin of a registry asks for. Raises EngineError."""
        return await self._images.privileges(reference, credentials)

    async def pull(
        self,
        reference: Reference,
        name: str,
        granted: list[PluginPrivilege],
        credentials: Credentials | None,
        report: Report = ignore,
    ) -> None:
        """Install a plugin from a registry under a name. Raises EngineError, Conflict for a name that is taken."""
        alias = references.parse(name or str(reference)).familiar
        async with self._locks.hold(alias):
            self._refuse_taken(alias)
            async with self._images.fetched(reference, granted, credentials, report) as image:
                await self._install(alias, str(reference), image, "pull")

    async def create(self, name: str, archive: AsyncIterator[bytes]) -> None:
        """Make a plugin of an archive with `config.json` and `rootfs/`. Raises EngineError."""
        alias = references.parse_tag(name).familiar
        async with self._locks.hold(alias), self._trash.stage() as staged:
            self._refuse_taken(alias)
            async with self._images.unpacked(archive, staged) as image:
                await self._install(alias, alias, image, "create")

    def _refuse_taken(self, name: str) -> None:
        if self._store.by_name(name) is not None:
            raise Conflict(f"plugin {name} already exists")

    async def _install(self, name: str, reference: str, image: PluginImage, action: str) -> None:
        """Make the container, then the row. Call it with a lease on the layers."""
        config = read_config(image.config)
        check_config(config)
        plugin = PluginRecord(
            id=new_id(),
            name=name,
            reference=reference,
            config=image.config,
            layers=image.layers,
            settings=default_settings(config),
            container="",
            created_ns=time.time_ns(),
        )
        await self._save_with_container(plugin, action)

    async def upgrade(
        self,
        name: str,
        reference: Reference,
        granted: list[PluginPrivilege],
        credentials: Credentials | None,
        report: Report = ignore,
    ) -> None:
        """Replace the image of a disabled plugin; settings and the propagated directory stay. Raises EngineError."""
        async with self._locks.hold(self._store.get(name).name):
            plugin = self._disabled(name, "upgraded")
            async with self._images.fetched(reference, granted, credentials, report) as image:
                new = msgspec.structs.replace(
                    plugin,
                    reference=str(reference),
                    config=image.config,
                    layers=image.layers,
                    settings=kept(read_config(image.config), plugin.settings),
                )
                await self._save_with_container(new, "upgrade")
            try:
                await self._remove_container(plugin)
            except (EngineError, OSError) as error:
                # It is upgraded; the next start removes what no plugin has.
                _log.warning("plugin %s: the container of its image before is not removed: %s", plugin.name, error)

    async def _save_with_container(self, plugin: PluginRecord, action: str) -> None:
        """Make a container of a plugin's image, and record both, with the event of an action."""
        async with Undo(f"{action} plugin {plugin.name}") as undo:
            container = await self._make_container(plugin)
            undo.add(self._containers.remove, container)
            self._record(msgspec.structs.replace(plugin, container=container.id), action)

    async def _make_container(self, plugin: PluginRecord) -> Container:
        record = Record(
            id=new_id(),
            name=f".plugin-{plugin.id}-{digest_of(plugin.config)[7:19]}-{new_id()[:6]}",
            created_ns=time.time_ns(),
            image_id="",
            image_reference=plugin.reference,
            config=run.container_config(plugin),
            host=self._containers.complete(run.host_config(plugin)),
            endpoints={},
            mounts=[],
            plugin=plugin.id,
        )
        image = Image(
            id=digest_of(plugin.config),
            manifest=Descriptor.of(b"", OCI_MANIFEST),
            config_size=len(plugin.config),
            config=ImageConfig(),
            layers=tuple(plugin.layers),
            size=0,
            stored_ns=plugin.created_ns,
        )
        return await self._containers.create(record, image)

    async def _remove_container(self, plugin: PluginRecord) -> None:
        container = self._containers.find(plugin.container)
        if container is not None:
            await self._containers.remove(container)

    def _record(self, plugin: PluginRecord, action: str) -> None:
        """Save a plugin, and the event of what is done to it."""
        with self._store.changing():
            self._store.save(plugin)
            self._publish(action, plugin)

    def _publish(self, action: str, plugin: PluginRecord) -> None:
        self._dependencies.events.publish("plugin", action, plugin.id, {"name": plugin.name})

    # Running

    async def enable(self, name: str, seconds: float) -> None:
        """Start a plugin, and wait until it listens. Raises Conflict when it is enabled, and SystemFault."""
        async with self._locks.hold(self._store.get(name).name):
            plugin = self._store.get(name)
            if plugin.enabled:
                raise Conflict(f"plugin {plugin.name} is already enabled")
            if self._is_active(plugin):
                await self._stop(plugin)  # it may have settings of before
            async with Undo(f"enable plugin {plugin.name}") as undo:
                undo.add(self._stop, plugin)
                await self._start(plugin, seconds or _LISTEN_SECONDS)
                self._record(msgspec.structs.replace(plugin, enabled=True), "enable")

    async def _start(self, plugin: PluginRecord, seconds: float) -> None:
        container = self._containers.find(plugin.container)
        if container is None:
            raise SystemFault(f"plugin {plugin.name} has lost its container: remove it, and install it again")
        places = self._store.places(plugin)
        await executors.storage.run(places.prepare)
        if not container.state.active:
            host = self._containers.complete(run.host_config(plugin))
            self._containers.change(container, run.with_settings(container.record, plugin, places, host))
        if not container.state.alive:
            await self._containers.start(container)
        await self._listens(plugin, container, seconds)

    async def _listens(self, plugin: PluginRecord, container: Container, seconds: float) -> None:
        """Wait until a plugin takes connections. There is no event for that: it is polled."""
        socket = self._store.places(plugin).address(read_config(plugin.config)).socket
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + seconds, 0.01
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(socket)
            except OSError as error:
                if container.state.restart_count > 2 or loop.time() + pause > deadline:
                    output = self._dependencies.files.of(container.id).log
                    raise SystemFault(
                        f"plugin {plugin.name} does not listen: {error}; what it says is in {output}"
                    ) from error
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)
            else:
                writer.close()
                return

    def _is_active(self, plugin: PluginRecord) -> bool:
        container = self._containers.find(plugin.container)
        return container is not None and container.state.active

    async def disable(self, name: str, *, force: bool) -> None:
        """Stop a plugin. Raises Conflict when it is disabled, or in use unless `force`."""
        async with self._locks.hold(self._store.get(name).name):
            plugin = self._store.get(name)
            if plugin.enabled:
                if not force and (users := self._users(plugin)):
                    raise Conflict(f"plugin {plugin.name} is in use by {', '.join(users)}")
                # First: nobody new may use it.
                self._record(msgspec.structs.replace(plugin, enabled=False), "disable")
            elif not self._is_active(plugin):
                raise Conflict(f"plugin {plugin.name} is already disabled")
            await self._stop(plugin)

    async def _stop(self, plugin: PluginRecord) -> None:
        container = self._containers.find(plugin.container)
        if container is not None:
            await self._containers.stop(container)
        await executors.storage.run(self._store.places(plugin).release)

    def _users(self, plugin: PluginRecord) -> list[str]:
        """What needs a plugin: volumes, networks, and containers that log to it."""

        def means(driver: str) -> bool:
            return driver == plugin.name or self._store.by_name(driver) is plugin

        dependencies = self._dependencies
        users = [f"volume {one.name}" for one in dependencies.volumes.records if means(one.driver)]
        users += [f"network {one.name}" for one in dependencies.networks.store if means(one.driver)]
        users += [
            f"container {one.name}"
            for one in dependencies.store
            if one.state.active and means(one.record.host.LogConfig.Type)
        ]
        if any(means(one) for one in dependencies.config.authorization_plugins):
            users.append("the engine, which asks it about requests")
        return users

    async def set(self, name: str, words: Sequence[str]) -> None:
        """Change settings of a disabled plugin. Raises Conflict and InvalidParameter."""
        async with self._locks.hold(self._store.get(name).name):
            plugin = self._disabled(name, "set")
            settings: PluginSettings = changed(read_config(plugin.config), plugin.settings, list(words))
            with self._store.changing():
                self._store.save(msgspec.structs.replace(plugin, settings=settings))

    def _disabled(self, name: str, action: str) -> PluginRecord:
        plugin = self._store.get(name)
        if plugin.enabled:
            raise Conflict(f"plugin {plugin.name} is enabled: disable it before it is {action}")
        return plugin

    async def remove_plugin(self, name: str, *, force: bool) -> Plugin:
        """Remove a plugin with all that is its own. Raises Conflict when it is enabled, unless `force`."""
        async with self._locks.hold(self._store.get(name).name):
            plugin = self._store.get(name)
            if plugin.enabled:
                if not force:
                    raise Conflict(f"plugin {plugin.name} is enabled - disable plugin before removing")
                plugin = msgspec.structs.replace(plugin, enabled=False)
                with self._store.changing():
                    self._store.save(plugin)
                await self._stop(plugin)
            await self._remove_container(plugin)
            places = self._store.places(plugin)
            await executors.storage.run(places.release)
            await self._trash.discard(places.data)
            with self._store.changing():
                self._store.delete(plugin)
                self._publish("remove", plugin)
            return view(plugin)

    async def push(self, name: str, credentials: Credentials | None, report: Report = ignore) -> None:
        """Push a plugin under its name. Raises EngineError."""
        plugin = self._store.get(name)
        reference = references.parse(plugin.name)
        report(PushStarted(reference))
        pushed = await self._images.push(plugin, credentials)
        self._publish("push", plugin)
        report(PushedTag(reference, pushed))
