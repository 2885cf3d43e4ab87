"""The drivers, each before the suite for all, and what only it does."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.networks.driver_suite import DriverSuite, unique_name
from tests.system.networks.support import inside, run_inside

from darse.core.config import EngineConfig
from darse.core.errors import Conflict
from darse.linux.net.netns import NetnsThread
from darse.networks.drivers import BridgeDriver, Driver, HostDriver, NullDriver
from darse.networks.model import Endpoint, NetworkRecord, SubnetPool
from darse.networks.pool import link_name


class TestNull(DriverSuite):
    @pytest.fixture
    def driver(self) -> Driver:
        return NullDriver()

    @pytest.fixture
    def record(self) -> NetworkRecord:
        return NetworkRecord(id="1", name="none", driver="null", created_ns=0)


class TestHost(TestNull):
    @pytest.fixture
    def driver(self) -> Driver:
        return HostDriver()


class TestBridge(DriverSuite):
    @pytest.fixture
    def driver(self) -> Iterator[BridgeDriver]:
        driver = BridgeDriver(EngineConfig())
        yield driver
        driver.close()

    @pytest.fixture
    def record(self) -> NetworkRecord:
        number = secrets.randbelow(250)
        return NetworkRecord(
            id="1",
            name="net",
            driver="bridge",
            created_ns=0,
            pools=[SubnetPool(subnet=f"198.19.{number}.0/24", gateway=f"198.19.{number}.1")],
            bridge=unique_name("brt"),
        )

    def test_check_refuses_a_link_that_exists(self, driver: BridgeDriver, created: NetworkRecord) -> None:
        with pytest.raises(Conflict, match="exists on this host already"):
            driver.check(created)

    def test_restore_mends(self, driver: BridgeDriver, created: NetworkRecord) -> None:
        bridge = created.bridge
        subprocess.run(["ip", "address", "flush", "dev", bridge], check=True)
        subprocess.run(["ip", "address", "add", "198.19.255.1/24", "dev", bridge], check=True)
        subprocess.run(["ip", "link", "set", bridge, "down"], check=True)
        driver.restore(created)
        shown = run_inside("/proc/self/ns/net", "ip", "-4", "address", "show", bridge)
        assert f"{created.gateway}/24" in shown
        assert "198.19.255.1" not in shown
        assert ",UP" in shown

    async def test_who_is_told_that_a_link_is_gone_waits_no_longer(
        self, driver: BridgeDriver, created: NetworkRecord, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The kernel tells it before it returns; and a link that only another one's notice names is waited for."""
        returns = threading.Event()
        unplug = driver.unplug

        def unplug_slowly(link: str) -> None:
            unplug(link)
            assert returns.wait(20)

        monkeypatch.setattr(driver, "unplug", unplug_slowly)
        endpoint = Endpoint(network_id="1", network_name="net", endpoint_id="e", interface="eth0", link=link_name())
        leaving = asyncio.create_task(driver.leave(created, endpoint, None))
        await asyncio.sleep(0)
        driver.is_gone("another")
        await asyncio.sleep(0)
        assert not leaving.done()
        driver.is_gone(endpoint.link)
        await leaving
        driver.is_gone(endpoint.link)
        returns.set()

    def test_the_bridge_keeps_its_hardware_address(self, driver: BridgeDriver, created: NetworkRecord) -> None:
        before = Path(f"/sys/class/net/{created.bridge}/address").read_text()
        assert before.startswith("02:42:c6:13:")

    def test_links_are_asked_for_in_the_engines_own_namespace(self, record: NetworkRecord) -> None:
        """/sys may show the links of another one, as it does to an engine that `nsenter --net` starts."""
        thread = NetnsThread()
        engines, containers = asyncio.run(thread.run(thread.make)), asyncio.run(thread.run(thread.make))
        try:
            driver = inside(engines.path, lambda: BridgeDriver(EngineConfig()))
            inside(engines.path, lambda: driver.restore(record))
            link, orphan = link_name(), link_name()
            driver.plug(record, containers, "eth0", link)
            driver.plug(record, containers, "eth1", orphan)
            assert driver.is_plugged(link)
            for damage in ("nomaster", "down"):
                run_inside(engines.path, "ip", "link", "set", link, damage)
                assert not driver.is_plugged(link)
                assert driver.plug_again(record, link)
                assert driver.is_plugged(link)
            driver.unplug_orphans(record, [link])
            assert driver.is_plugged(link)
            assert not driver.plug_again(record, orphan)
            driver.close()
        finally:
            for netns in (engines, containers):
                netns.close()
            thread.close()
