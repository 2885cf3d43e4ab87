"""What the network service asks of a driver; the package says what the words mean, and in which order they come."""

from __future__ import annotations

from typing import Protocol

import msgspec

from darse.linux.net.netns import Netns
from darse.networks.model import Endpoint, NetworkRecord, PortWishes, StaticRoute


class EndpointResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a driver decided of a new endpoint; what is empty is left as it was asked for."""

    link: str = ""
    mac: str = ""
    #: With their prefixes, from drivers that give addresses themselves.
    address: str = ""
    address6: str = ""


class JoinResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a sandbox uses an endpoint: by which gateways and routes beside those of its pools."""

    #: The link on the host that the interface was, where it goes back to there.
    link: str = ""
    #: None: those of the pools; empty: none, the endpoint does not lead out.
    gateway: str | None = None
    gateway6: str | None = None
    routes: tuple[StaticRoute, ...] = ()
    #: Whether the default route goes by the interface, without a gateway (ipvlan l3).
    routed_by_link: bool = False
    #: The interface inside, where the driver has named it otherwise than it was asked to.
    interface: str = ""


class Driver(Protocol):
    """One kind of network."""

    #: As in `docker network create --driver`.
    name: str
    #: Whether its networks have pools, and its endpoints addresses.
    addressed: bool
    #: Whether users may make networks of this kind.
    creatable: bool
    #: Whether ports of the host can lead to its endpoints: by the engine's firewall.
    publishes: bool
    #: Whether its endpoints have hardware addresses of their own.
    hardware_addresses: bool
    #: Whether it keeps something outside of the kernel for an endpoint, so that it has to hear of every end, also
    #: after a crash.
    keeps_outside: bool
    #: The network mode of containers on its networks, which can be on no other; empty where they can.
    network_mode: str

    def check(self, record: NetworkRecord) -> None:
        """Raise InvalidParameter or Conflict when a new network cannot be as `record` has it. Changes nothing."""

    async def create_network(self, record: NetworkRecord) -> None:
        """Have the network on the host, wholly or partly there as it may be. Raises OSError and EngineError."""

    async def delete_network(self, record: NetworkRecord) -> None:
        """Take the network off the host; fine when it is gone."""

    async def create_endpoint(self, record: NetworkRecord, endpoint: Endpoint) -> EndpointResult:
        """Begin an endpoint, which has its addresses; no sandbox has it yet. Raises OSError and EngineError."""

    async def delete_endpoint(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        """End an endpoint, wholly or partly there as it may be; fine when it is gone."""

    async def join(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns) -> JoinResult:
        """Give the namespace `endpoint.interface`, which is not up yet.

        Raises OSError, and Conflict when the network is not on the host.
        """

    async def leave(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns | None) -> None:
        """Take the interface from a running container; fine when it is gone.

        `netns` is None when the container has ended: the kernel takes its interfaces, then.
        """

    async def reconnect(self, record: NetworkRecord, endpoint: Endpoint) -> bool:
        """Have what a running container's endpoint has outside on the network, whatever happened to the network.

        Returns whether the endpoint still is there. Raises OSError and Conflict.
        """

    async def program_external_connectivity(self, record: NetworkRecord, endpoint: Endpoint, ports: PortWishes) -> None:
        """The endpoint is the way out of its sandbox from now on, and by it these ports are to be published.

        For drivers that publish by themselves; the others' ports are the service's (`publishes`).
        """

    async def revoke_external_connectivity(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        """The endpoint is the way out no more."""

    def parent_link(self, record: NetworkRecord) -> str:
        """The link of the host that a network shares with others of its kind; empty for none."""

    def close(self) -> None:
        """Let go of the kernel; networks stay as they are."""


class KernelDriver:
    """What drivers have in common that keep nothing outside of the kernel, and publish no ports."""

    addressed = True
    creatable = True
    publishes = False
    hardware_addresses = True
    keeps_outside = False
    network_mode = ""

    def check(self, record: NetworkRecord) -> None:
        """Every record will do."""

    async def create_network(self, record: NetworkRecord) -> None:
        """There is nothing to have."""

    async def delete_network(self, record: NetworkRecord) -> None:
        """There is nothing to remove."""

    async def create_endpoint(self, record: NetworkRecord, endpoint: Endpoint) -> EndpointResult:
        """All of it is made by `join`."""
        return EndpointResult()

    async def delete_endpoint(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        """All of it goes by `leave`."""

    async def join(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns) -> JoinResult:
        """There is no interface."""
        return JoinResult()

    async def leave(self, record: NetworkRecord, endpoint: Endpoint, netns: Netns | None) -> None:
        """There is no interface."""

    async def reconnect(self, record: NetworkRecord, endpoint: Endpoint) -> bool:
        """There is nothing outside."""
        return True

    async def program_external_connectivity(self, record: NetworkRecord, endpoint: Endpoint, ports: PortWishes) -> None:
        """Nothing depends on it."""

    async def revoke_external_connectivity(self, record: NetworkRecord, endpoint: Endpoint) -> None:
        """Nothing depends on it."""

    def parent_link(self, record: NetworkRecord) -> str:
        """None is shared."""
        return ""

    def close(self) -> None:
        """Nothing is held."""
