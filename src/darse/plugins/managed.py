"""Plugins that the engine itself runs, as whoever calls plugins sees them.

They stand above: what runs them has records, containers and images. `PluginClient` knows them by this protocol only.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

from darse.plugins.discovery import PluginAddress


class ManagedPlugin(NamedTuple):
    """Its name in full, where it is reached, what it implements, and its propagated mount: where that is for the plugin
    ("" when it has none), and where on the host.
    """

    name: str
    address: PluginAddress
    implements: list[str]
    propagated_mount: str
    propagated: Path

    def host_path(self, inside: str) -> str | None:
        """Where on the host a directory is that the plugin names; None for one that the host does not see."""
        top = self.propagated_mount.rstrip("/")
        if not top or not (inside == top or inside.startswith(f"{top}/")):
            return None
        below = inside[len(top) :].strip("/")
        if ".." in below.split("/"):
            return None
        return str(self.propagated / below) if below else str(self.propagated)


class ManagedPluginFinder(Protocol):
    """Finds the plugins that the engine runs."""

    def find_enabled(self, name: str) -> ManagedPlugin | None:
        """The plugin of a name; None when none is managed. Raises NotFound when it is disabled."""

    def all_enabled(self) -> list[ManagedPlugin]:
        """All of them that are enabled."""


class NoManagedPlugins:
    """A `ManagedPluginFinder` where only programs of the host are plugins."""

    def find_enabled(self, name: str) -> ManagedPlugin | None:
        """None."""
        return None

    def all_enabled(self) -> list[ManagedPlugin]:
        """None at all."""
        return []
