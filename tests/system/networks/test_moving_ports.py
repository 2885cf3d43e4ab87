"""Published ports follow the endpoint that leads out, at every connect and disconnect."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import pytest
from tests.system.networks.support import Host, ask, host_port, is_shut

from darse.core.errors import SystemFault
from darse.networks.model import Holder
from darse.wire.networks import EndpointSettings

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
