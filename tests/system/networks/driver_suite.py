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
from darse.networks.model import NetworkRecord

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
    def restored(self, driver: Driver, record: NetworkRecord) -> Iterator[NetworkRecord]:
        """The network, on the host."""
        driver.check(record)
        driver.restore(record)
        yield record
        driver.remove(record)

    @staticmethod
    def links(record: NetworkRecord, *more: str) -> set[str]:
        """Which of the links that may be the driver's are on the host, where other tests have theirs."""
        return set(os.listdir(HOST_LINKS)) & {record.bridge, *more}

    def test_check_changes_nothing(self, driver: Driver, record: NetworkRecord) -> None:
        driver.check(record)
        assert self.links(record) == set()

    def test_restore_twice_and_remove_twice(self, driver: Driver, record: NetworkRecord) -> None:
        driver.restore(record)
        there = self.links(record)
        driver.restore(record)
        assert self.links(record) == there
        driver.remove(record)
        driver.remove(record)
        assert self.links(record) == set()

    def test_an_endpoint_comes_and_goes(self, driver: Driver, restored: NetworkRecord, netns: Netns) -> None:
        link = driver.connect(restored, netns, "eth0")
        inside = {one["ifname"] for one in json.loads(run_inside(netns.path, "ip", "-j", "link"))}
        assert inside == ({"lo", "eth0"} if link else {"lo"})
        driver.reconnect(restored, link)
        driver.disconnect(link)
        driver.disconnect(link)
        assert link not in self.links(restored, link)
        assert [one["ifname"] for one in json.loads(run_inside(netns.path, "ip", "-j", "link"))] == ["lo"]

    def test_an_endpoint_ends_with_its_namespace(
        self, driver: Driver, restored: NetworkRecord, thread: NetnsThread
    ) -> None:
        netns = asyncio.run(thread.run(thread.make))
        link = driver.connect(restored, netns, "eth0")
        assert link in ("", *self.links(restored, link))
        netns.close()
        wait_until(lambda: link not in self.links(restored, link), what="the end of the link")
        driver.disconnect(link)

    def test_several_endpoints_in_one_namespace(self, driver: Driver, restored: NetworkRecord, netns: Netns) -> None:
        links = [driver.connect(restored, netns, f"eth{number}") for number in range(3)]
        assert len(set(links)) == (3 if links[0] else 1)
        for link in links:
            driver.disconnect(link)


def unique_name(prefix: str) -> str:
    """A name for a link."""
    return f"{prefix}{secrets.token_hex(4)}"
