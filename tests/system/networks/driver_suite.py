"""What every network driver must show: a class to inherit, with the driver and a record of its kind."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import Iterator

import pytest
from tests.support.waiting import wait_until
from tests.system.networks.support import run_inside

from darse.linux.net.netns import Netns, NetnsThread
from darse.networks.drivers import Driver
from darse.networks.model import Endpoint, NetworkRecord, PortWishes

HOST_LINKS = "/sys/class/net"


class DriverSuite:
    """Inherit, and give the fixtures `driver` and `record`; the record's network is not on the host."""

    @pytest.fixture
    def driver(self) -> Driver:
        raise NotImplementedError

    @pytest.fixture
    def record(self) -> NetworkRecord:
        raise NotImplementedError

    @pytest.fixture
    def thread(self) -> Iterator[NetnsThread]:
        thread = NetnsThread()
        yield thread
        thread.close()

    @pytest.fixture
    def netns(self, thread: NetnsThread) -> Iterator[Netns]:
        """A sandbox's namespace."""
        netns = asyncio.run(thread.run(thread.make))
        yield netns
        netns.close()

    @pytest.fixture
    def created(self, driver: Driver, record: NetworkRecord) -> Iterator[NetworkRecord]:
        """The network, on the host."""
        driver.check(record)
        asyncio.run(driver.create_network(record))
        yield record
        asyncio.run(driver.delete_network(record))

    @staticmethod
    def links(record: NetworkRecord, *more: str) -> set[str]:
        """Which of the links that may be the driver's are on the host, where other tests have theirs."""
        return set(os.listdir(HOST_LINKS)) & {record.bridge, *more} - {""}

    @staticmethod
    def endpoint(record: NetworkRecord, number: int = 0) -> Endpoint:
        """An endpoint as the service begins one."""
        return Endpoint(
            network_id=record.id,
            network_name=record.name,
            endpoint_id=secrets.token_hex(32),
            interface=f"eth{number}",
            mac=f"02:42:c6:13:00:{number + 2:02x}",
        )

    @staticmethod
    async def plug(driver: Driver, record: NetworkRecord, endpoint: Endpoint, netns: Netns) -> None:
        """Begin an endpoint and have a namespace join it, as the service does."""
        endpoint.link = (await driver.create_endpoint(record, endpoint)).link
        await driver.join(record, endpoint, netns)

    @staticmethod
    def inside(netns: Netns) -> set[str]:
        """The interfaces of a namespace."""
        return {one["ifname"] for one in json.loads(run_inside(netns.path, "ip", "-j", "link"))}

    def test_check_changes_nothing(self, driver: Driver, record: NetworkRecord) -> None:
        driver.check(record)
        assert self.links(record) == set()

    async def test_create_twice_and_delete_twice(self, driver: Driver, record: NetworkRecord) -> None:
        await driver.create_network(record)
        there = self.links(record)
        await driver.create_network(record)
        assert self.links(record) == there
        await driver.delete_network(record)
        await driver.delete_network(record)
        assert self.links(record) == set()

    async def test_an_endpoint_comes_and_goes(self, driver: Driver, created: NetworkRecord, netns: Netns) -> None:
        endpoint = self.endpoint(created)
        await self.plug(driver, created, endpoint, netns)
        assert self.inside(netns) == ({"lo", "eth0"} if driver.addressed else {"lo"})
        await driver.program_external_connectivity(created, endpoint, PortWishes())
        assert await driver.reconnect(created, endpoint)
        await driver.revoke_external_connectivity(created, endpoint)
        for _ in range(2):
            await driver.leave(created, endpoint, netns)
            await driver.delete_endpoint(created, endpoint)
        assert endpoint.link not in self.links(created, endpoint.link)
        assert self.inside(netns) == {"lo"}

    async def test_an_endpoint_that_nobody_joined(self, driver: Driver, created: NetworkRecord) -> None:
        endpoint = self.endpoint(created)
        endpoint.link = (await driver.create_endpoint(created, endpoint)).link
        await driver.delete_endpoint(created, endpoint)
        assert endpoint.link not in self.links(created, endpoint.link)

    async def test_an_endpoint_ends_with_its_namespace(
        self, driver: Driver, created: NetworkRecord, thread: NetnsThread
    ) -> None:
        netns = await thread.run(thread.make)
        endpoint = self.endpoint(created)
        await self.plug(driver, created, endpoint, netns)
        assert endpoint.link in ("", *self.links(created, endpoint.link))
        netns.close()
        wait_until(lambda: endpoint.link not in self.links(created, endpoint.link), what="the end of the link")
        await driver.leave(created, endpoint, None)
        await driver.delete_endpoint(created, endpoint)

    async def test_several_endpoints_in_one_namespace(
        self, driver: Driver, created: NetworkRecord, netns: Netns
    ) -> None:
        endpoints = [self.endpoint(created, number) for number in range(3)]
        for endpoint in endpoints:
            await self.plug(driver, created, endpoint, netns)
        links = [endpoint.link for endpoint in endpoints]
        assert len(set(links)) == (3 if links[0] else 1)
        for endpoint in endpoints:
            await driver.leave(created, endpoint, netns)
            await driver.delete_endpoint(created, endpoint)
        assert self.inside(netns) == {"lo"}


def unique_name(prefix: str) -> str:
    """A name for a link."""
    return f"{prefix}{secrets.token_hex(4)}"
