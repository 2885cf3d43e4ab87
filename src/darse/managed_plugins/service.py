"""The operations on managed plugins, and where each is reached.

Rows say what there is, containers run it. The container is made before the row, and one without a row is removed by
the next start; the row of a removed plugin goes before its container. `enabled` is on record before the container is
started: the next engine brings it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from darse.archive import process
from darse.archive.pipe_source import PipeSource
from darse.containers.lifecycle.hidden import HiddenContainers
from darse.containers.model import Container, Record
from darse.core import executors
from darse.core.errors import Conflict, EngineError, InvalidParameter, NotFound, SystemFault
from darse.core.filters import Filters
from darse.core.ids import may_be_id_prefix, new_id
from darse.core.locks import KeyedLocks
from darse.image_spec.digests import chain_ids, digest_of
from darse.image_spec.manifests import Descriptor, Manifest
from darse.image_spec.media_types import OCI_MANIFEST
from darse.images import Image, references
from darse.images.model import ImageConfig, Layer
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.files import read_regular
from darse.managed_plugins import run
from darse.managed_plugins.model import (
    CONFIG_TYPE,
    PLUGIN_DOCUMENTS,
    PluginRecord,
    changed,
    check_granted,
    default_settings,
    implements,
    kept,
    privileges,
    read_config,
    view,
)
from darse.managed_plugins.run import PluginPlaces
from darse.plugins import ManagedPlugin
from darse.runtime.rootfs.trash import Trash
from darse.wire.plugins import Plugin, PluginConfig, PluginPrivilege, PluginSettings

if TYPE_CHECKING:
    from darse.containers.dependencies import Dependencies
    from darse.distribution import Credentials
    from darse.images.references import Reference
    from darse.images.transfer.service import RegistryService

LIST_FILTERS = ("capability", "enabled")
_CONFIG_LIMIT = 4 << 20
# Seconds for a plugin to listen, where the client names none.
_LISTEN_SECONDS = 30.0
# And at the engine's start, which is no longer than this for one that hangs.
_EARLY_SECONDS = 5.0
_log = logging.getLogger("darse.plugins")
Say = Callable[[dict[str, Any]], None]


class ManagedPlugins:
    """What the API asks of managed plugins."""

    def __init__(self, dependencies: Dependencies, containers: HiddenContainers, registries: RegistryService) -> None:
        self._dependencies = dependencies
        self._containers = containers
        self._registries = registries
        self._state = dependencies.database
        self._trash = Trash(dependencies.config.data_root / "plugins" / ".trash")
        self._locks = KeyedLocks()
        rows = self._state.rows("SELECT id, document FROM plugins")
        self._plugins: dict[str, PluginRecord] = dict(self._state.decoded("plugins", rows, PLUGIN_DOCUMENTS.decode))

    # The engine's life

    async def open(self) -> None:
        """Remove what an interrupted installation has left, and start what is enabled. Logs what cannot be started."""
        self._trash.directory.parent.mkdir(mode=0o700, exist_ok=True)
        self._trash.open()
        known = {one.container for one in self._plugins.values()}
        if not self._state.damaged_in("plugins"):
            for container in self._containers.all():
                if container.id not in known:
                    await self._containers.remove(container)
        await asyncio.gather(*(self._start_or_log(one) for one in self._plugins.values() if one.enabled))
        self._trash.empty_in_background()

    async def _start_or_log(self, plugin: PluginRecord) -> None:
        try:
            await self._start(plugin, _EARLY_SECONDS)
        except (EngineError, OSError) as error:
            _log.error("plugin %s is enabled and cannot be started: %s", plugin.name, error)

    async def close(self) -> None:
        """Let go; the plugins go on."""
        await self._trash.close()

    def found(self, name: str) -> ManagedPlugin | None:
        """Where the plugin of a name is reached; None when none is managed. Raises NotFound when it is disabled."""
        plugin = self._by_name(name)
        if plugin is None:
            return None
        if not plugin.enabled:
            raise NotFound(f'plugin "{plugin.name}" found but disabled')
        return self._reached(plugin)

    def all_enabled(self) -> list[ManagedPlugin]:
        """Where each plugin is reached that is enabled."""
        return [self._reached(one) for one in self._plugins.values() if one.enabled]

    def _reached(self, plugin: PluginRecord) -> ManagedPlugin:
        config, places = read_config(plugin.config), self._places(plugin)

        def host_path(inside: str) -> str | None:
            return run.host_path(config, places, inside)

        return ManagedPlugin(plugin.name, places.address(config), implements(config), host_path)

    # Looking

    def list_plugins(self, filters: Filters) -> list[Plugin]:
        """The plugins that match, by name. Raises InvalidParameter for a filter."""
        enabled = filters.flag("enabled")
        wanted = set(filters.values("capability"))
        return [
            view(one)
            for one in sorted(self._plugins.values(), key=lambda one: one.name)
            if enabled in (None, one.enabled)
            and (not wanted or wanted & {name.lower() for name in _capabilities(read_config(one.config))})
        ]

    def inspect(self, name: str) -> Plugin:
        """One plugin. Raises NotFound."""
        return view(self._get(name))

    def _by_name(self, name: str) -> PluginRecord | None:
        with contextlib.suppress(InvalidParameter):
            wanted = references.parse(name).familiar
            return next((one for one in self._plugins.values() if one.name == wanted), None)
        return None

    def _get(self, name: str) -> PluginRecord:
        found = self._plugins.get(name) or self._by_name(name)
        if found is None and may_be_id_prefix(name):
            matching = [one for one in self._plugins.values() if one.id.startswith(name)]
            found = matching[0] if len(matching) == 1 else None
        if found is None:
            raise NotFound(f'plugin "{name}" not found')
        return found

    def _places(self, plugin: PluginRecord) -> PluginPlaces:
        return PluginPlaces(self._dependencies.config, plugin.id)

    # Installing

    async def privileges(self, reference: Reference, credentials: Credentials | None) -> list[PluginPrivilege]:
        """What the plugin of a registry asks for. Raises EngineError."""
        _, config = await self._documents(reference, credentials)
        return privileges(read_config(config))

    async def _documents(self, reference: Reference, credentials: Credentials | None) -> tuple[Manifest, bytes]:
        artifacts = self._registries.artifacts
        found = await artifacts.manifest(reference, credentials)
        if not isinstance(found, Manifest) or found.config.media_type != CONFIG_TYPE:
            raise InvalidParameter(f"{reference.familiar} is no plugin")
        return found, await artifacts.blob(reference, credentials, found.config, _CONFIG_LIMIT)

    async def pull(
        self,
        reference: Reference,
        name: str,
        granted: list[PluginPrivilege],
        credentials: Credentials | None,
        say: Say,
    ) -> None:
        """Install a plugin from a registry under a name. Raises EngineError, Conflict for a name that is taken."""
        alias = references.parse(name or str(reference)).familiar
        async with self._locks.hold(alias):
            if self._by_name(alias) is not None:
                raise Conflict(f"plugin {alias} already exists")
            async with self._fetched(reference, granted, credentials, say) as (config, layers):
                await self._install(alias, str(reference), config, layers)
        say({"status": f"Status: Downloaded newer image for {reference.familiar}"})

    async def upgrade(
        self,
        name: str,
        reference: Reference,
        granted: list[PluginPrivilege],
        credentials: Credentials | None,
        say: Say,
    ) -> None:
        """Replace the image of a disabled plugin; settings and the propagated directory stay. Raises EngineError."""
        async with self._locks.hold(self._get(name).name):
            plugin = self._disabled(name, "upgraded")
            async with self._fetched(reference, granted, credentials, say) as (config, layers):
                new = msgspec.structs.replace(
                    plugin,
                    reference=str(reference),
                    config=config,
                    layers=layers,
                    settings=kept(read_config(config), plugin.settings),
                )
                new.container = (await self._make_container(new)).id
                self._save(new)
            await self._remove_container(plugin)
            self._publish("upgrade", new)
        say({"status": f"Status: Downloaded newer image for {reference.familiar}"})

    @contextlib.asynccontextmanager
    async def _fetched(
        self, reference: Reference, granted: list[PluginPrivilege], credentials: Credentials | None, say: Say
    ) -> AsyncIterator[tuple[bytes, list[Layer]]]:
        """Have a plugin's layers in the store during the block."""
        manifest, content = await self._documents(reference, credentials)
        config = read_config(content)
        check_granted(config, granted)
        # What is refused until here is an answer of its own.
        say({"status": f"{reference.tag or reference.digest}: Pulling from {reference.path}"})
        diff_ids = config.rootfs.diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise InvalidParameter(f"{reference.familiar}: its manifest and its config differ in their layers")
        layers = [
            Layer(blob, diff_id, chain)
            for blob, diff_id, chain in zip(manifest.layers, diff_ids, chain_ids(diff_ids), strict=True)
        ]
        artifacts = self._registries.artifacts
        async with self._dependencies.images.lease() as lease:
            lease.hold(*(one.chain_id for one in layers))
            for layer in layers:
                short = layer.blob.digest.removeprefix("sha256:")[:12]
                if not self._dependencies.images.stores.layers.exists(layer.chain_id):
                    say({"status": "Downloading", "id": short})
                    await artifacts.fetch_layer(reference, credentials, layer)
                say({"status": "Pull complete", "id": short})
            yield content, layers

    async def create(self, name: str, archive: AsyncIterator[bytes]) -> None:
        """Make a plugin of an archive with `config.json` and `rootfs/`. Raises EngineError."""
        alias = references.parse_tag(name).familiar
        async with self._locks.hold(alias), self._trash.stage() as staged:
            if self._by_name(alias) is not None:
                raise Conflict(f"plugin {alias} already exists")
            await self._unpack(archive, staged)
            try:
                content = read_regular(staged / "config.json")
            except OSError as error:
                raise InvalidParameter(
                    "the archive of a plugin has a file config.json, and this one has none"
                ) from error
            if not (staged / "rootfs").is_dir() or (staged / "rootfs").is_symlink():
                raise InvalidParameter("the archive of a plugin has a directory rootfs, and this one has none")
            config = read_config(content)
            _check_config(config)
            async with self._dependencies.images.lease() as lease:
                layer = await self._dependencies.images.stores.layers.commit(staged / "rootfs", None)
                lease.hold(layer.chain_id)
                document = {key: value for key, value in msgspec.json.decode(content).items() if key != "rootfs"}
                document["rootfs"] = {"type": "layers", "diff_ids": [layer.diff_id]}
                await self._install(alias, alias, msgspec.json.encode(document), [layer], action="create")

    @staticmethod
    async def _unpack(archive: AsyncIterator[bytes], directory: Any) -> None:
        source = PipeSource(-1)

        async def read() -> dict[str, str]:
            reading = source.open()
            try:
                return await process.import_volume(directory, reading)
            finally:
                os.close(reading)

        try:
            answer = await source.fed_by(archive, read())
        except process.WorkerFailed as error:
            raise SystemFault(str(error)) from error
        if "error" in answer:
            raise InvalidParameter(f"the archive of the plugin: {answer['error']}")
        if "fault" in answer:
            raise SystemFault(f"cannot unpack the archive of the plugin: {answer['fault']}")

    async def _install(
        self, name: str, reference: str, config: bytes, layers: list[Layer], action: str = "pull"
    ) -> None:
        """Make the container, then the row. Call it with a lease on the layers."""
        read = read_config(config)
        _check_config(read)
        plugin = PluginRecord(
            id=new_id(),
            name=name,
            reference=reference,
            config=config,
            layers=layers,
            settings=default_settings(read),
            container="",
            created_ns=time.time_ns(),
        )
        plugin.container = (await self._make_container(plugin)).id
        self._save(plugin)
        self._publish(action, plugin)

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

    def _save(self, plugin: PluginRecord) -> None:
        with self._state.transaction() as connection:
            row = (plugin.id, plugin.name, PLUGIN_DOCUMENTS.encode(plugin))
            connection.execute("INSERT OR REPLACE INTO plugins VALUES (?, ?, ?)", row)
        self._plugins[plugin.id] = plugin

    def _publish(self, action: str, plugin: PluginRecord) -> None:
        self._dependencies.events.publish("plugin", action, plugin.id, {"name": plugin.name})

    # Running

    async def enable(self, name: str, seconds: float) -> None:
        """Start a plugin, and wait until it listens. Raises Conflict when it is enabled, and SystemFault."""
        async with self._locks.hold(self._get(name).name):
            plugin = self._get(name)
            if plugin.enabled:
                raise Conflict(f"plugin {plugin.name} is already enabled")
            self._save(msgspec.structs.replace(plugin, enabled=True))
            plugin = self._get(plugin.id)
            try:
                await self._start(plugin, seconds or _LISTEN_SECONDS)
            except BaseException:
                await self._stop(plugin)
                raise
            self._publish("enable", plugin)

    async def _start(self, plugin: PluginRecord, seconds: float = _LISTEN_SECONDS) -> None:
        container = self._containers.find(plugin.container)
        if container is None:
            raise SystemFault(f"plugin {plugin.name} has lost its container: remove it, and install it again")
        places = self._places(plugin)
        await executors.storage.run(places.prepare)
        if not container.state.active:
            host = self._containers.complete(run.host_config(plugin))
            self._containers.change(container, run.with_settings(container.record, plugin, places, host))
        if not container.state.alive:
            await self._containers.start(container)
        await self._listens(plugin, container, seconds)

    async def _listens(self, plugin: PluginRecord, container: Container, seconds: float) -> None:
        """Wait until a plugin takes connections. Nothing tells of that: it is tried."""
        socket = self._places(plugin).address(read_config(plugin.config)).socket
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + seconds, 0.01
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(socket)
            except OSError as error:
                if container.state.restart_count > 2 or loop.time() + pause > deadline:
                    said = self._dependencies.files.of(container.id).log
                    raise SystemFault(
                        f"plugin {plugin.name} does not listen: {error}; what it says is in {said}"
                    ) from error
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)
            else:
                writer.close()
                return

    async def disable(self, name: str, *, force: bool) -> None:
        """Stop a plugin. Raises Conflict when it is disabled, or in use unless `force`."""
        async with self._locks.hold(self._get(name).name):
            plugin = self._get(name)
            if not plugin.enabled:
                raise Conflict(f"plugin {plugin.name} is already disabled")
            if not force and (users := self._users(plugin)):
                raise Conflict(f"plugin {plugin.name} is in use by {', '.join(users)}")
            await self._stop(plugin)
            self._publish("disable", plugin)

    async def _stop(self, plugin: PluginRecord) -> None:
        self._save(msgspec.structs.replace(self._plugins[plugin.id], enabled=False))
        container = self._containers.find(plugin.container)
        if container is not None:
            await self._containers.stop(container)
        await executors.storage.run(self._places(plugin).release)

    def _users(self, plugin: PluginRecord) -> list[str]:
        """What needs a plugin: volumes, networks, and containers that log to it."""

        def means(driver: str) -> bool:
            return driver == plugin.name or self._by_name(driver) is plugin

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
        async with self._locks.hold(self._get(name).name):
            plugin = self._disabled(name, "set")
            settings: PluginSettings = changed(read_config(plugin.config), plugin.settings, list(words))
            self._save(msgspec.structs.replace(plugin, settings=settings))

    def _disabled(self, name: str, action: str) -> PluginRecord:
        plugin = self._get(name)
        if plugin.enabled:
            raise Conflict(f"plugin {plugin.name} is enabled: disable it before it is {action}")
        return plugin

    async def remove_plugin(self, name: str, *, force: bool) -> Plugin:
        """Remove a plugin with all that is its own. Raises Conflict when it is enabled, unless `force`."""
        async with self._locks.hold(self._get(name).name):
            plugin = self._get(name)
            if plugin.enabled:
                if not force:
                    raise Conflict(f"plugin {plugin.name} is enabled - disable plugin before removing")
                await self._stop(plugin)
            with self._state.transaction() as connection:
                connection.execute("DELETE FROM plugins WHERE id = ?", (plugin.id,))
            del self._plugins[plugin.id]
            await self._state.flush()
            await self._remove_container(plugin)
            places = self._places(plugin)
            await executors.storage.run(places.release)
            await executors.storage.run(remove_tree, places.data)
            self._publish("remove", plugin)
            return view(plugin)

    async def push(self, name: str, credentials: Credentials | None) -> Descriptor:
        """Push a plugin under its name. Raises EngineError."""
        plugin = self._get(name)

        def with_config(blobs: Sequence[Descriptor]) -> tuple[bytes, str, list[Descriptor]]:
            return plugin.config, CONFIG_TYPE, list(blobs)

        async with self._dependencies.images.lease() as lease:
            lease.hold(*(one.chain_id for one in plugin.layers))
            pushed = await self._registries.artifacts.push(
                references.parse(plugin.name), credentials, plugin.layers, with_config
            )
        self._publish("push", plugin)
        return pushed


def _capabilities(config: PluginConfig) -> list[str]:
    return [one.rpartition("/")[0].rpartition(".")[2] for one in config.Interface.Types]


def _check_config(config: PluginConfig) -> None:
    """Raise InvalidParameter for a plugin that could not run."""
    if not config.Entrypoint:
        raise InvalidParameter("invalid plugin config: it names no entrypoint")
    if not config.Interface.Types:
        raise InvalidParameter("invalid plugin config: it names no interface")
    socket = config.Interface.Socket
    if not socket or "/" in socket or socket.startswith("."):
        raise InvalidParameter(f"invalid plugin config: {socket!r} is no name of a socket")
    if config.Interface.ProtocolScheme not in ("", "moby.plugins.http/v1"):
        raise InvalidParameter(f"plugins with the protocol {config.Interface.ProtocolScheme} are not supported")
    if config.Network.Type not in ("", "null", "none", "host"):
        raise InvalidParameter(f"plugins with the network {config.Network.Type!r} are not supported: host or none")
