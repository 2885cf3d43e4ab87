"""Published ports follow the endpoint that leads out, at every connect and disconnect."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable

import pytest
from tests.system.networks.support import Host, Turns, ask, host_port, is_shut

from darse.core.errors import SystemFault
from darse.networks.model import Holder
from darse.wire.host_config import PortBinding
from darse.wire.networks import EndpointSettings

# A single step of it is one of SQLite's: a record of some hundred thousand bytes.
LONGEST_TURN_SECONDS = 0.1
Connect = Callable[..., Awaitable[None]]


@pytest.fixture
async def container(host: Host, holder: Callable[[str], int]) -> Callable[..., Awaitable[Connect]]:
    """Makes a container `web` that runs on networks; returns what connects it to others."""

    async def make(*networks: str, port: int = 0, udp: bool = False) -> Connect:
        web = await host.sandbox("web", *networks, ports=host_port(port, protocol="udp" if udp else "tcp"))
        host.serve(web, udp=udp)
        held = Holder(holder(web.path), os.getpid())
        host.running["web"] = held.pid

        async def connect(network: str, *, leave: str = "", priority: int = 0) -> None:
            if network:
                settings = EndpointSettings(GwPriority=priority)
                await host.service.connect(network, "web", held, settings)
            if leave:
                await host.service.disconnect(leave, "web", held)

        return connect

    return make


def number(host: Host) -> int:
    """The port of the host."""
    sandbox = host.service.sandbox("web")
    assert sandbox is not None
    ports = {int(binding.HostPort) for bindings in sandbox.ports.values() for binding in bindings or ()}
    assert ports == {port.host_port for port in sandbox.published}
    return next(iter(ports), 0)


def answers(host: Host, *, udp: bool = False) -> bool:
    """Whether the port leads to the container."""
    return ask(None, "127.0.0.1", number(host), udp=udp).startswith("web ")


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
async def test_the_network_it_was_started_on_is_left(
    host: Host, container: Callable[..., Awaitable[Connect]], udp: bool
) -> None:
    await host.network("one")
    await host.network("two")
    connect = await container("one", udp=udp)
    port = number(host)
    assert answers(host, udp=udp)
    await connect("two")
    assert answers(host, udp=udp)
    await connect("", leave="one")
    assert number(host) == port
    assert answers(host, udp=udp)
    await connect("one", leave="two")
    assert number(host) == port
    assert answers(host, udp=udp)


async def test_all_networks_are_left_and_one_comes_back(
    host: Host, container: Callable[..., Awaitable[Connect]]
) -> None:
    await host.network("one")
    connect = await container("bridge")
    port = number(host)
    await connect("", leave="bridge")
    assert number(host) == 0
    assert is_shut(None, "127.0.0.1", port)
    await connect("one")
    assert answers(host)
    host.service.sandbox_release("web")
    assert is_shut(None, "127.0.0.1", port)


async def test_the_first_network_that_can(host: Host, container: Callable[..., Awaitable[Connect]]) -> None:
    await host.network("inner", internal=True)
    await host.network("one")
    connect = await container("inner")
    assert number(host) == 0
    await connect("one")
    assert answers(host)
    await connect("", leave="one")
    assert number(host) == 0


async def test_a_network_of_a_higher_priority_takes_the_ports(
    host: Host, container: Callable[..., Awaitable[Connect]]
) -> None:
    await host.network("one")
    await host.network("two")
    connect = await container("one")
    await connect("two", priority=10)
    sandbox = host.service.sandbox("web")
    assert sandbox is not None
    assert sandbox.published[0].container_ip == sandbox.endpoints[1].address
    assert answers(host)


async def test_a_port_that_another_took_meanwhile_refuses_the_connection(
    host: Host, container: Callable[..., Awaitable[Connect]]
) -> None:
    await host.network("one")
    connect = await container("one")
    port = number(host)
    await connect("", leave="one")
    other = await host.sandbox("other", ports=host_port(port))
    sandbox = host.service.sandbox("web")
    assert sandbox is not None
    host.service.sandbox("web").wishes.ports.update(host_port(port))
    with pytest.raises(SystemFault, match=f"Bind for 0.0.0.0:{port} failed: .* \\(container other has it\\)"):
        await connect("one")
    assert host.service.sandbox("web").endpoints == []  # type: ignore[union-attr]
    host.serve(other)
    assert ask(None, "127.0.0.1", port).startswith("other ")


async def test_thousands_of_ports_move_and_come_back_and_hold_up_nobody(
    host: Host, holder: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    await host.network("two")
    ports = {f"{port}/tcp": [PortBinding("", "")] for port in range(80, 5080)}
    web = await host.sandbox("web", ports=ports)
    host.serve(web)
    held = Holder(holder(web.path), os.getpid())
    host.running["web"] = held.pid
    first = web.record.ports["80/tcp"]
    assert first is not None
    port = int(first[0].HostPort)
    longest = {}
    async with Turns() as turns:
        for round_ in range(2):
            await host.service.connect("two", "web", held, EndpointSettings(GwPriority=1))
            longest["connect", round_] = turns.longest()
            assert ask(None, "127.0.0.1", port).startswith("web ")
            await host.service.disconnect("two", "web", held)
            longest["disconnect", round_] = turns.longest()
            assert ask(None, "127.0.0.1", port).startswith("web ")
            subprocess.run(["nft", "delete", "table", "ip", host.config.nft_table], check=True)
            async with asyncio.timeout(20):
                while caplog.text.count("the firewall's table made anew") <= round_:
                    await asyncio.sleep(0.002)
            longest["repair", round_] = turns.longest()
            assert ask(None, "127.0.0.1", port).startswith("web ")
    print({f"{what} {round_}": f"{taken * 1000:.0f} ms" for (what, round_), taken in longest.items()})
    for what in ("connect", "disconnect", "repair"):
        assert min(longest[what, 0], longest[what, 1]) <= LONGEST_TURN_SECONDS, longest
