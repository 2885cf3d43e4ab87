"""Published ports, from everywhere."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable

import pytest
from tests.support.waiting import wait_until
from tests.system.networks.support import Echo, Host, Outside, Turns, ask, host_port, inside, is_shut, run_inside

from darse.core.errors import Conflict, SystemFault
from darse.wire.host_config import PortBinding

LONGEST_TURN_SECONDS = 0.05


@pytest.fixture
def port() -> int:
    """A port of the host that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
async def test_from_everywhere(host: Host, outside: Outside, port: int, protocol: str) -> None:
    udp = protocol == "udp"
    web = await host.sandbox("web", ports=host_port(port, protocol=protocol))
    other = await host.sandbox("other")
    await host.network("net")
    stranger = await host.sandbox("stranger", "net")
    host.serve(web, udp=udp)
    gateway = host.service.store.get("bridge").gateway
    assert ask(None, "127.0.0.1", port, udp=udp).startswith("web ")
    assert ask(None, outside.host_ip, port, udp=udp).startswith("web ")
    assert ask(outside.path, outside.host_ip, port, udp=udp) == f"web {outside.ip}"
    assert ask(other.path, gateway, port, udp=udp).startswith("web ")
    assert ask(other.path, outside.host_ip, port, udp=udp).startswith("web ")
    assert ask(stranger.path, outside.host_ip, port, udp=udp).startswith("web ")
    assert ask(web.path, outside.host_ip, port, udp=udp).startswith("web ")
    host.service.sandbox_release("web")
    assert is_shut(None, "127.0.0.1", port, udp=udp)
    assert is_shut(outside.path, outside.host_ip, port, udp=udp)


async def test_on_one_address_only(host: Host, outside: Outside, port: int) -> None:
    web = await host.sandbox("web", ports=host_port(port, "127.0.0.1"))
    host.serve(web)
    assert ask(None, "127.0.0.1", port).startswith("web ")
    assert is_shut(outside.path, outside.host_ip, port)
    assert is_shut(None, outside.host_ip, port)


async def test_a_port_on_the_loopback_is_not_open_to_the_neighbourhood(host: Host, outside: Outside, port: int) -> None:
    """A machine on the same wire may send a packet for 127.0.0.1 to the host's hardware address."""
    web = await host.sandbox("web", ports=host_port(port, "127.0.0.1"))
    host.serve(web)
    run_inside(outside.path, "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    outside.route("127.0.0.1/32")
    assert is_shut(outside.path, "127.0.0.1", port)
    assert ask(None, "127.0.0.1", port).startswith("web ")


async def test_a_container_does_not_reach_the_host_s_loopback(host: Host, port: int) -> None:
    """The bridge routes 127.0.0.0/8, so that published ports work there; the other way stays shut."""
    secret = Echo(None, port, "secret", ip="127.0.0.1")
    one = await host.sandbox("one")
    run_inside(one.path, "ip", "address", "flush", "dev", "lo")
    run_inside(one.path, "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    run_inside(one.path, "ip", "route", "add", "127.0.0.1/32", "via", host.service.store.get("bridge").gateway)
    assert is_shut(one.path, "127.0.0.1", port)
    secret.close()


async def test_without_an_engine(host: Host, outside: Outside, port: int) -> None:
    web = await host.sandbox("web", ports=host_port(port))
    holder = subprocess.Popen(["nsenter", f"--net={web.path}", "sleep", "infinity"])
    try:
        run_inside(web.path, "true")
        host.serve(web)
        host.running = {"web": holder.pid}
        await host.stop()
        assert ask(None, "127.0.0.1", port).startswith("web ")
        assert ask(outside.path, outside.host_ip, port) == f"web {outside.ip}"
        await host.start()
        assert ask(outside.path, outside.host_ip, port) == f"web {outside.ip}"
        with pytest.raises(SystemFault, match=f"Bind for 0.0.0.0:{port} failed: port is already allocated"):
            await host.sandbox("thief", ports=host_port(port))
        host.service.sandbox_release("web")
        assert is_shut(None, "127.0.0.1", port)
    finally:
        holder.kill()
        holder.wait()


async def test_a_failed_start_leaves_nothing(host: Host, port: int) -> None:
    with (
        Occupied(port),
        pytest.raises(SystemFault, match=r"driver failed programming external connectivity on endpoint web .*in use"),
    ):
        await host.sandbox("web", ports=host_port(port))
    assert host.service.sandbox("web") is None
    first = (await host.sandbox("web", ports=host_port(port))).addresses[0]
    assert first


class Occupied:
    """A program of the host that listens on a port."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.bind(("0.0.0.0", port))
        self._socket.listen()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._socket.close()


async def test_a_flushed_firewall_is_made_anew(host: Host, port: int) -> None:
    one = await host.sandbox("one", ports=host_port(port))
    host.serve(one)
    subprocess.run(["nft", "delete", "table", "ip", host.config.nft_table], check=True)
    two = await host.sandbox("two", ports=host_port("", container_port=81))
    host.serve(two, 81)
    assert ask(None, "127.0.0.1", port).startswith("one ")
    assert ask(None, "127.0.0.1", two.record.published[0].host_port).startswith("two ")
    subprocess.run(["nft", "delete", "table", "ip", host.config.nft_table], check=True)
    host.service.sandbox_release("two")
    await host.service.sandbox_is_released()
    assert ask(None, "127.0.0.1", port).startswith("one ")


async def test_a_client_that_goes_on_sending_reaches_the_next_container(
    host: Host, outside: Outside, port: int
) -> None:
    """UDP flows are tracked; one that began with the old container, or with none, must not stay with it."""
    client = inside(outside.path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with client:
        client.settimeout(3)

        def asked() -> str:
            client.sendto(b"?", (outside.host_ip, port))
            return client.recv(100).decode()

        client.sendto(b"?", (outside.host_ip, port))
        for name in ("first", "second"):
            sandbox = await host.sandbox(name, ports=host_port(port, protocol="udp"))
            host.serve(sandbox, udp=True)
            # A late answer to an earlier packet may still come; a flow that was kept would answer for ever.
            wait_until(lambda name=name: asked() == f"{name} {outside.ip}", 3, f"an answer of the {name}")  # type: ignore[misc]
            host.service.sandbox_release(name)


async def test_without_a_firewall_nothing_is_published(new_host: Callable[..., Awaitable[Host]], port: int) -> None:
    host = await new_host(iptables=False)
    await host.sandbox("one")
    with pytest.raises(Conflict, match="--iptables=false"):
        await host.sandbox("web", ports=host_port(port))


async def test_default_address_of_the_network(host: Host, outside: Outside, port: int) -> None:
    await host.network("net", **{"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"})
    web = await host.sandbox("web", "net", ports=host_port(port))
    host.serve(web)
    assert web.record.ports["80/tcp"] is not None
    assert web.record.ports["80/tcp"][0].HostIp == "127.0.0.1"
    assert ask(None, "127.0.0.1", port).startswith("web ")
    assert is_shut(outside.path, outside.host_ip, port)


@pytest.mark.heavy
async def test_the_thousandth_port_takes_as_long_as_the_first(new_host: Callable[..., Awaitable[Host]]) -> None:
    """A container with a port, started in turns beside none and beside a thousand ports."""
    few, many = await new_host(), await new_host()
    for number in range(10):
        ports = {f"{port}/tcp": [PortBinding("127.0.0.1", "")] for port in range(1, 101)}
        await many.sandbox(f"others{number}", ports=ports)
    took: dict[str, list[float]] = {"few": [], "many": []}
    for number in range(100):
        for name, host in (("few", few), ("many", many)) if number % 2 else (("many", many), ("few", few)):
            began = time.perf_counter()
            sandbox = await host.sandbox("one", ports=host_port(0))
            took[name].append(time.perf_counter() - began)
            assert len(sandbox.record.published) == 2
            host.service.sandbox_release("one")
            await host.service.sandbox_is_released()
    medians = {name: statistics.median(values) * 1000 for name, values in took.items()}
    print(f"a sandbox with a port: {medians['few']:.2f} ms, beside 1,000 others {medians['many']:.2f} ms")
    assert medians["many"] <= 1.2 * medians["few"]


async def test_thousands_of_ports_hold_up_nobody(new_host: Callable[..., Awaitable[Host]]) -> None:
    """By the processor time between two turns of everybody else, which other work on the machine does not change."""
    host = await new_host()
    ports = {f"{port}/tcp": [PortBinding("", "")] for port in range(1, 2501)}
    starts, ends = [], []
    async with Turns() as turns:
        for _ in range(3):
            sandbox = await host.sandbox("many", ports=ports)
            assert len(sandbox.record.published) == 5000
            starts.append(turns.longest())
            host.service.sandbox_release("many")
            await host.service.sandbox_is_released()
            await asyncio.sleep(0.01)
            ends.append(turns.longest())
    print(f"longest turns at a start: {starts}, and at an end: {ends}, in seconds")
    assert min(starts) <= LONGEST_TURN_SECONDS
    assert min(ends) <= LONGEST_TURN_SECONDS
    number = sandbox.record.published[0].host_port
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.create_server(("", number), family=family):
            pass


async def test_a_start_with_thousands_of_ports_that_is_given_up_leaves_none(host: Host) -> None:
    ports = {f"{port}/tcp": [PortBinding("", "")] for port in range(1, 2501)}
    opened = len(os.listdir("/proc/self/fd"))
    for turns in (1, 10, 40, 160):
        starting = asyncio.create_task(host.sandbox("many", ports=ports))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
            host.service.sandbox_release("many")
        await host.service.sandbox_is_released()
        await asyncio.sleep(0.5)
        assert len(os.listdir("/proc/self/fd")) < opened + 100
        assert host.service.store.sandbox_of("many") is None
