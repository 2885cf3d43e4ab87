"""The network and IPAM drivers of an engine by name: its own, and those of plugins when they are first needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from darse.core.errors import Forbidden, InvalidParameter, NotFound, Unavailable
from darse.networks.drivers import Driver
from darse.networks.drivers import remote as remote_driver
from darse.networks.drivers.remote import RemoteNetworkDriver
from darse.networks.ipam import IPAMDriver
from darse.networks.ipam import remote as remote_ipam
from darse.networks.ipam.remote import RemoteIPAM
from darse.networks.model import NetworkRecord
from darse.plugins import PluginClient
from darse.wire.networks import NetworkCreate


class DriverRegistry:
    """Finds the drivers of networks."""

    def __init__(self, drivers: Iterable[Driver], ipams: Iterable[IPAMDriver], plugins: PluginClient) -> None:
        """`drivers` and `ipams` are the engine's own."""
        #: Network drivers by name, and IPAM drivers.
        self.networks: dict[str, Driver] = {driver.name: driver for driver in drivers}
        self.ipams: dict[str, IPAMDriver] = {driver.name: driver for driver in ipams}
        self._plugins = plugins

    async def for_request(self, request: NetworkCreate) -> tuple[Driver, IPAMDriver]:
        """The drivers of a network that is to be made.

        Raises NotFound, InvalidParameter, Forbidden, Unavailable, and PluginError.
        """
        name = request.Driver or "bridge"
        if name not in self.networks:
            await self._find_plugin(name)
        driver = self.networks[name]
        if not driver.creatable:
            raise Forbidden(f'only one instance of "{name}" network is allowed')
        name = (request.IPAM.Driver if request.IPAM is not None else "") or "default"
        if name not in self.ipams:
            try:
                await self._plugins.activate(name, remote_ipam.KIND)
            except NotFound as error:
                raise InvalidParameter(f"error looking up IPAM driver: {error}") from None
            self.ipams[name] = RemoteIPAM(name, self._plugins)
        return driver, self.ipams[name]

    async def _find_plugin(self, name: str) -> None:
        """Have a network driver that is a plugin. Raises NotFound, Unavailable and PluginError."""
        if name == "overlay":
            raise Unavailable(
                'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node '
                "to swarm and try again. (overlay networks need a cluster)"
            )
        try:
            await self._plugins.activate(name, remote_driver.KIND)
        except NotFound as error:
            raise NotFound(f"{error}; the engine itself has {', '.join(self.names)}") from None
        self.networks[name] = RemoteNetworkDriver(name, self._plugins)

    def expect_plugins(self, records: Iterable[NetworkRecord]) -> None:
        """Have the drivers that networks name; those of plugins are called when they are first needed."""
        for record in records:
            if record.driver not in self.networks:
                self.networks[record.driver] = RemoteNetworkDriver(record.driver, self._plugins)
            if record.ipam_driver not in self.ipams:
                self.ipams[record.ipam_driver] = RemoteIPAM(record.ipam_driver, self._plugins)

    def parent_links(self, records: Iterable[NetworkRecord]) -> Iterator[tuple[NetworkRecord, str]]:
        """Networks, each with the link of the host that it shares with others."""
        for record in records:
            if record.driver in self.networks:
                yield record, self.networks[record.driver].parent_link(record)

    @property
    def names(self) -> list[str]:
        """The network drivers that the engine has itself, and the plugins that are in use."""
        return sorted(self.networks)

    def close(self) -> None:
        """Let go of the kernel."""
        for driver in self.networks.values():
            driver.close()
