"""`null` and `host`: networks without links.

A sandbox on `none` is a namespace with a loopback and nothing else. A container on `host` has no sandbox at all, it
stays in the engine's namespace. There is one network of each kind.
"""

from __future__ import annotations

from darse.linux.net.netns import Netns
from darse.networks.model import NetworkRecord


class NullDriver:
    """Nothing but a loopback."""

    name = "null"
    addressed = False
    creatable = False

    def check(self, record: NetworkRecord) -> None:
        """Every record will do."""

    def restore(self, record: NetworkRecord) -> None:
        """There is nothing to have."""

    def remove(self, record: NetworkRecord) -> None:
        """There is nothing to remove."""

    def connect(self, record: NetworkRecord, netns: Netns, interface: str) -> str:
        """There is no link."""
        return ""

    def reconnect(self, record: NetworkRecord, link: str) -> bool:
        """There is no link."""
        return True

    def disconnect(self, link: str) -> None:
        """There is no link."""


class HostDriver(NullDriver):
    """The host's own network stack."""

    name = "host"
