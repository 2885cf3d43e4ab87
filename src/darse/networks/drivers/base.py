"""What the network service asks of a driver; the package says what the words mean."""

from __future__ import annotations

from typing import Protocol

from darse.linux.net.netns import Netns
from darse.networks.model import NetworkRecord


class Driver(Protocol):
    """One kind of network."""

    #: As in `docker network create --driver`.
    name: str
    #: Whether the service gives its networks subnets and its endpoints addresses.
    addressed: bool
    #: Whether users may make networks of this kind.
    creatable: bool

    def check(self, record: NetworkRecord) -> None:
        """Raise InvalidParameter or Conflict when a new network cannot be as `record` has it. Changes nothing."""

    def restore(self, record: NetworkRecord) -> None:
        """Have the network on the host, wholly or partly there as it may be. Raises OSError and Conflict."""

    def remove(self, record: NetworkRecord) -> None:
        """Take the network off the host; fine when it is gone."""

    def connect(self, record: NetworkRecord, netns: Netns, interface: str) -> str:
        """Give the namespace an interface on the network, not yet up; return the endpoint's link.

        Takes some milliseconds; called in a thread. Raises OSError, and Conflict when the network is not on the host.
        """

    def reconnect(self, record: NetworkRecord, link: str) -> bool:
        """Have the link of a running container on the network, whatever happened to the network meanwhile.

        Returns whether there still is such a link. Raises OSError and Conflict.
        """

    def disconnect(self, link: str) -> None:
        """Remove an endpoint's link and, with it, the interface inside; fine when it is gone."""
