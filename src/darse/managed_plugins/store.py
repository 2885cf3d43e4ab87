"""The plugins on record, found by name or id; where those that are enabled are reached.

It stands on the database alone, so whoever calls plugins finds them here (`darse.plugins.ManagedPluginFinder`), and
knows nothing of what runs them.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

from darse.core.config import EngineConfig
from darse.core.errors import InvalidParameter, NotFound
from darse.core.ids import may_be_id_prefix
from darse.core.state import State
from darse.images import references
from darse.managed_plugins.model import PLUGIN_DOCUMENTS, PluginRecord, implements, read_config
from darse.managed_plugins.run import PluginPlaces
from darse.plugins import ManagedPlugin


class PluginStore:
    """The rows, and the same in memory."""

    def __init__(self, config: EngineConfig, state: State) -> None:
        self._config = config
        self._state = state
        rows = state.rows("SELECT id, document FROM plugins")
        self._plugins: dict[str, PluginRecord] = dict(state.decoded("plugins", rows, PLUGIN_DOCUMENTS.decode))

    # Looking

    def __iter__(self) -> Iterator[PluginRecord]:
        """By name."""
        return iter(sorted(self._plugins.values(), key=lambda one: one.name))

    @property
    def is_damaged(self) -> bool:
        """Whether there may be plugins that no record here names."""
        return bool(self._state.damaged_in("plugins"))

    def by_name(self, name: str) -> PluginRecord | None:
        """The plugin of a name, with or without its tag."""
        with contextlib.suppress(InvalidParameter):
            sought = references.parse(name).familiar
            return next((one for one in self._plugins.values() if one.name == sought), None)
        return None

    def get(self, name: str) -> PluginRecord:
        """The plugin of a name, an id, or the beginning of one. Raises NotFound."""
        found = self._plugins.get(name) or self.by_name(name)
        if found is None and may_be_id_prefix(name):
            matching = [one for one in self._plugins.values() if one.id.startswith(name)]
            found = matching[0] if len(matching) == 1 else None
        if found is None:
            raise NotFound(f'plugin "{name}" not found')
        return found

    def places(self, plugin: PluginRecord) -> PluginPlaces:
        """The directories of a plugin."""
        return PluginPlaces(self._config, plugin.id)

    # Those that are enabled, for whoever calls plugins

    def find_enabled(self, name: str) -> ManagedPlugin | None:
        """See `ManagedPluginFinder.find_enabled`."""
        plugin = self.by_name(name)
        if plugin is None:
            return None
        if not plugin.enabled:
            raise NotFound(f'plugin "{plugin.name}" found but disabled')
        return self._reached(plugin)

    def all_enabled(self) -> list[ManagedPlugin]:
        """See `ManagedPluginFinder.all_enabled`."""
        return [self._reached(one) for one in self._plugins.values() if one.enabled]

    def _reached(self, plugin: PluginRecord) -> ManagedPlugin:
        config, places = read_config(plugin.config), self.places(plugin)
        address = places.address(config)
        return ManagedPlugin(plugin.name, address, implements(config), config.PropagatedMount, places.propagated)

    # Changing

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Make the changes of the block, and their events, one transaction; when that fails, memory is as before."""
        with self._state.transaction():
            self._state.on_rollback(functools.partial(setattr, self, "_plugins", dict(self._plugins)))
            yield

    def save(self, plugin: PluginRecord) -> None:
        """Record a plugin as it is now. Call it in `changing`."""
        with self._state.transaction() as connection:
            row = (plugin.id, plugin.name, PLUGIN_DOCUMENTS.encode(plugin))
            connection.execute("INSERT OR REPLACE INTO plugins VALUES (?, ?, ?)", row)
        self._plugins[plugin.id] = plugin

    def delete(self, plugin: PluginRecord) -> None:
        """Take a plugin off the record. Call it in `changing`."""
        with self._state.transaction() as connection:
            connection.execute("DELETE FROM plugins WHERE id = ?", (plugin.id,))
        del self._plugins[plugin.id]
