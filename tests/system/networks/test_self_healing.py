"""What others take away from networks comes back by itself, within a second; and what holds until then.

Rulesets are only ever flushed in a network namespace of the test's own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.island import Island
from tests.support.waiting import wait_until
from tests.system.networks.support import Echo, Host, Outside, ask, host_port, inside, is_shut, run_inside

from darse.linux import sysctl
from darse.linux.net.nft import Nftables
from darse.networks.pool import READY
from darse.networks.sandboxes import Sandbox
from darse.wire.host_config import PortBinding

SECOND = 1.0


def sh(*command: str) -> None:
    """Run a program of the host."""
    subprocess.run(command, check=True, timeout=10, capture_output=True)


async def comes_back(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition; the service's repairs run meanwhile."""
    await asyncio.to_thread(wait_until, condition, SECOND, what)


def answers(path: str | None, ip: str, port: int, name: str, seconds: float = 3) -> bool:
    """Whether the server of that name answers there."""
    try:
        return ask(path, ip, port, seconds=seconds).startswith(f"{name} ")
    except OSError:
        return False


def rules(host: Host) -> str:
    """The engine's table, without the counters of handles; empty when there is none."""
    table = host.config.nft_table
    return subprocess.run(["nft", "list", "table", "ip", table], capture_output=True, text=True, check=False).stdout


async def two_networks(host: Host) -> tuple[Sandbox, Sandbox]:
    """A container with a port on one network, one on another."""
    await host.network("net")
    one, two = await host.sandbox("one", ports=host_port(0)), await host.sandbox("two", "net")
    host.serve(one)
    host.serve(two)
    return one, two


DAMAGE = {
    "the table": "delete table ip {table}",
    "all rules and maps of it": "flush table ip {table}",
    "a rule": "flush chain ip {table} forward",
    "a published port": "delete element ip {table} tcp_any {{ {port} }}",
    "a bridge among the isolated": 'delete element ip {table} to_bridge {{ "{bridge}" }}',
    "a rule that opens everything": "add rule ip {table} forward accept",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_the_firewalls_table_comes_back(host: Host, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    one, two = await two_networks(host)
    port = one.record.published[0].host_port
    before = rules(host)
    assert answers(None, "127.0.0.1", port, "one")
    bridge = host.service.store.get("bridge").bridge
    sh("nft", damage.format(table=host.config.nft_table, port=port, bridge=bridge))
    assert rules(host) != before
    await comes_back(lambda: rules(host) == before, "the table")
    assert answers(None, "127.0.0.1", port, "one")
    assert is_shut(two.path, one.addresses[0], 80)
    assert caplog.text.count("the firewall's table made anew: nft (process ") == 1


async def test_own_changes_are_no_damage(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        await host.network(f"net{number}")
        await host.sandbox(f"c{number}", f"net{number}", ports=host_port(0))
        host.service.sandbox_release(f"c{number}")
        await host.service.remove_network(f"net{number}")
    sh("nft", "add", "table", "ip", f"other_{host.instance}")
    sh("nft", "delete", "table", "ip", f"other_{host.instance}")
    # What was told before this is heard before this.
    sh("nft", "delete", "table", "ip", host.config.nft_table)
    await comes_back(lambda: bool(rules(host)), "the table")
    assert caplog.text.count("made anew") == 1


async def test_own_changes_are_no_damage_however_many_notices_the_kernel_sends(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    await host.sandbox("wide", ports={f"{number}/tcp": [PortBinding("127.0.0.1", "")] for number in range(1, 8001)})
    # What was told before a deletion is heard before it: of the ports, and then of the repair.
    for number in (1, 2):
        sh("nft", "delete", "table", "ip", host.config.nft_table)
        said = "made anew: nft (process "
        await asyncio.to_thread(wait_until, lambda: caplog.text.count(said) == number, 10, "the table")  # noqa: B023
        assert caplog.text.count("made anew") == number


async def test_changes_of_others_are_followed_while_the_engine_is_busy(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    other, table = Nftables(), f"ip other_{host.instance}"
    try:
        for _ in range(200):
            other.run(f"add table {table}\ndelete table {table}")
    finally:
        other.close()
    sh("nft", "delete", "table", "ip", host.config.nft_table)
    await comes_back(lambda: bool(rules(host)), "the table")
    assert caplog.text.count("made anew: nft (process ") == caplog.text.count("made anew") == 1


async def test_who_deletes_for_ever_is_answered_more_and_more_seldom(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    async def until_left_alone() -> None:
        while "taken away again and again" not in caplog.text:
            if rules(host):
                sh("nft", "delete", "table", "ip", host.config.nft_table)
            await asyncio.sleep(0)

    await asyncio.wait_for(until_left_alone(), 10)
    assert caplog.text.count("made anew") == 8
    await asyncio.to_thread(wait_until, lambda: bool(rules(host)), 3, "the table, later")


# Subnets of their own below: one that is without a bridge for a moment is free for other engines of this machine.


async def test_a_deleted_bridge_comes_back_with_its_containers(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    await host.network("net", "10.213.81.0/24")
    one, two = await host.sandbox("one", "net", ports=host_port(0)), await host.sandbox("two", "net")
    host.serve(one)
    bridge = host.service.store.get("net").bridge
    assert answers(two.path, one.addresses[0], 80, "one")
    sh("ip", "link", "delete", bridge)
    await comes_back(lambda: answers(two.path, one.addresses[0], 80, "one", 0.3), "the bridge")
    assert answers(None, "127.0.0.1", one.record.published[0].host_port, "one")
    assert caplog.text.count(f"bridge {bridge} of network net was removed: put right, with 2 containers") == 1
    assert answers((await host.sandbox("three", "net")).path, one.addresses[0], 80, "one")


@pytest.mark.parametrize(
    ("damage", "subnet"),
    [("address flush dev {bridge}", "10.213.82.0/24"), ("link set {bridge} down", "10.213.83.0/24")],
)
async def test_a_bridge_without_its_address_or_down_is_put_right(host: Host, damage: str, subnet: str) -> None:
    await host.network("net", subnet)
    one = await host.sandbox("one", "net")
    host.serve(one)
    record = host.service.store.get("net")
    assert answers(None, one.addresses[0], 80, "one")
    sh("ip", *damage.format(bridge=record.bridge).split())
    assert is_shut(None, one.addresses[0], 80)
    await comes_back(lambda: not host.service._bridges.what_is_wrong(record), "the bridge")
    # The kernel itself may take a second to use a link that is up again (linkwatch).
    assert ask(None, one.addresses[0], 80).startswith("one ")


@pytest.mark.parametrize("damage", ["set {link} nomaster", "set {link} down"])
async def test_a_link_that_was_unplugged_is_plugged_in(host: Host, holder: Callable[[str], int], damage: str) -> None:
    one = await host.sandbox("one")
    host.serve(one)
    host.running["one"] = holder(one.path)
    sh("ip", "link", *damage.format(link=one.record.endpoints[0].link).split())
    await comes_back(lambda: answers(None, one.addresses[0], 80, "one", 0.3), "the link")
    assert ask(None, one.addresses[0], 80).startswith("one ")


async def test_a_deleted_link_comes_back_as_it_was(
    host: Host, holder: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    await host.network("net")
    one = await host.sandbox("one", "bridge", "net")
    host.serve(one)
    host.running["one"] = holder(one.path)

    def seen() -> str:
        brief = run_inside(one.path, "ip", "-brief", "address") + run_inside(one.path, "ip", "-brief", "link")
        # Without the numbers of the other ends.
        lines = [" ".join(word for word in line.split() if "@" not in word) for line in brief.splitlines()]
        names = "".join(sorted(line.partition("@")[0] + " " for line in brief.splitlines()))
        return "\n".join([names, *sorted(lines), run_inside(one.path, "ip", "route")])

    before = seen()
    for endpoint in one.record.endpoints:
        sh("ip", "link", "delete", endpoint.link)
        await comes_back(lambda: seen() == before, "the link")
    assert answers(None, one.addresses[0], 80, "one")
    assert answers(None, one.addresses[1], 80, "one")
    assert "container one had lost its link to network net: connected again" in caplog.text
    await host.service.disconnect("net", "one")
    assert "eth1" not in inside(one.path, lambda: Path("/proc/thread-self/net/dev").read_text())


async def test_the_links_of_a_container_that_ends_are_not_missed(
    host: Host, holder: Callable[[str], int], caplog: pytest.LogCaptureFixture
) -> None:
    one = await host.sandbox("one")
    pid = host.running["one"] = holder(one.path)
    link = one.record.endpoints[0].link
    host.service.sandbox_started("one")
    os.kill(pid, 9)
    await comes_back(lambda: not os.path.exists(f"/sys/class/net/{link}"), "the end of the link")
    await asyncio.sleep(0.3)  # Longer than a repair waits for the container's end.
    assert "connected again" not in caplog.text
    assert "cannot repair" not in caplog.text


async def test_a_prepared_namespace_whose_link_is_gone_is_not_used(host: Host) -> None:
    async def full() -> None:
        while len(host.service.pool) < READY:
            await asyncio.sleep(0.002)

    await asyncio.wait_for(full(), 5)
    bridge = host.service.store.get("bridge").bridge
    for link in os.listdir(f"/sys/class/net/{bridge}/brif"):
        sh("ip", "link", "delete", link)
    await asyncio.sleep(0.05)
    one = await host.sandbox("one")
    host.serve(one)
    assert answers(None, one.addresses[0], 80, "one")


# What holds when nobody repairs


@pytest.fixture
async def without_table(new_host: Callable[..., Awaitable[Host]]) -> Callable[[Host], Awaitable[None]]:
    """Ends a service as a crash would, and deletes its table."""

    async def end(host: Host) -> None:
        await host.stop()
        sh("nft", "delete", "table", "ip", host.config.nft_table)

    return end


async def test_without_table_and_engine_networks_stay_apart(
    host: Host, outside: Outside, without_table: Callable[[Host], Awaitable[None]]
) -> None:
    one, two = await two_networks(host)
    neighbour = await host.sandbox("neighbour")
    host.serve(neighbour)
    outside.route(host.service.store.get("bridge").subnet)
    held = [os.open(sandbox.path, os.O_RDONLY) for sandbox in (one, two, neighbour)]
    path1, path2, path3 = (f"/proc/{os.getpid()}/fd/{descriptor}" for descriptor in held)
    try:
        await without_table(host)
        assert is_shut(path2, one.addresses[0], 80)
        assert is_shut(path1, two.addresses[0], 80)
        assert is_shut(outside.path, one.addresses[0], 80)
        assert answers(None, one.addresses[0], 80, "one")
        assert answers(path3, one.addresses[0], 80, "one")
    finally:
        for descriptor in held:
            os.close(descriptor)


async def test_without_table_and_engine_the_hosts_loopback_stays_its_own(
    host: Host, without_table: Callable[[Host], Awaitable[None]]
) -> None:
    """The bridge lets packets for 127.0.0.0/8 in, see `route_localnet`."""
    one = await host.sandbox("one")
    gateway = host.service.store.get("bridge").gateway
    held = os.open(one.path, os.O_RDONLY)
    path = f"/proc/{os.getpid()}/fd/{held}"
    run_inside(path, "sysctl", "-w", "net.ipv4.conf.all.route_localnet=1")
    run_inside(path, "ip", "address", "delete", "127.0.0.1/8", "dev", "lo")
    run_inside(path, "ip", "route", "add", "127.0.0.1", "via", gateway, "src", one.addresses[0])
    server = Echo(None, 0, "secret", ip="127.0.0.1")
    port = server.socket.getsockname()[1]
    try:
        await without_table(host)
        assert sysctl.enabled(f"net/ipv4/conf/{host.service.store.get('bridge').bridge}/route_localnet")
        assert is_shut(path, "127.0.0.1", port)
    finally:
        os.close(held)
        server.close()


async def test_without_table_and_engine_an_internal_network_leads_nowhere(
    host: Host, outside: Outside, without_table: Callable[[Host], Awaitable[None]]
) -> None:
    await host.network("inner", internal=True)
    one = await host.sandbox("one", "inner")
    record = host.service.store.get("inner")
    run_inside(one.path, "ip", "route", "add", "default", "via", record.gateway)
    outside.route(record.subnet)
    host.serve(one)
    held = os.open(one.path, os.O_RDONLY)
    try:
        server = Echo(outside.path, 80, "internet")
        await without_table(host)
        assert is_shut(f"/proc/{os.getpid()}/fd/{held}", outside.ip, 80)
        assert is_shut(outside.path, one.addresses[0], 80)
        server.close()
    finally:
        os.close(held)


async def test_where_others_have_flow_tables_only_new_connections_are_refused(
    host: Host, outside: Outside, without_table: Callable[[Host], Awaitable[None]]
) -> None:
    """Packets of a flow table pass no hook, so they bear no mark. (Not every kernel has them: it is only said so.)"""
    record = host.service.store.get("bridge")
    outside.route(record.subnet)
    host.service._bridges.programs.flow_tables = True
    host.service._bridges.restore(record)
    one = await host.sandbox("one")
    host.serve(one)
    host.serve(one, udp=True)
    held = os.open(one.path, os.O_RDONLY)
    try:
        await without_table(host)
        assert is_shut(outside.path, one.addresses[0], 80)
        assert ask(outside.path, one.addresses[0], 80, udp=True).startswith("one ")
    finally:
        os.close(held)


# The whole ruleset


def test_a_flushed_ruleset_comes_back(island: Island, new_engine: Callable[..., Engine]) -> None:
    within, host = island.within, island.path
    engine = new_engine(within=within)
    engine.docker("network", "create", "net").ok()
    server = ("nc", "-ll", "-p", "80", "-e", "echo", "web 80")
    engine.docker("run", "-d", "--name", "web", "-p", "127.0.0.1:8080:80", BUSYBOX, *server).ok()
    engine.docker("run", "-d", "--name", "other", "--network", "net", BUSYBOX, "sleep", "600").ok()
    address = engine.docker("inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web").ok().line
    other = f"/proc/{engine.docker('inspect', '-f', '{{.State.Pid}}', 'other').ok().line}/ns/net"

    def published() -> bool:
        return answers(host, "127.0.0.1", 8080, "web", 0.3)

    wait_until(published, what="the published port")
    assert is_shut(other, address, 80)
    sh(*within, "nft", "flush", "ruleset")
    wait_until(published, SECOND, "the published port")
    assert is_shut(other, address, 80)
    assert "the firewall's table made anew: nft (process " in engine.log()
    engine.kill9()
    sh(*within, "nft", "flush", "ruleset")
    assert answers(host, address, 80, "web")
    assert is_shut(other, address, 80)
    engine.up()
    wait_until(published, SECOND, "the published port")
    engine.docker("restart", "-t", "0", "web").ok()
    wait_until(published, SECOND, "the published port")


def test_forwarding_that_others_switch_off_is_told(island: Island, new_engine: Callable[..., Engine]) -> None:
    within = island.within
    engine = new_engine(within=within)
    engine.docker("network", "create", "--internal", "inner").ok()
    bridge = f"db{engine.docker('network', 'inspect', '-f', '{{.Id}}', 'inner').ok().line[:12]}"

    def told() -> bool:
        return "somebody switched off IPv4 forwarding" in engine.log()

    assert "IPv4 forwarding" not in engine.docker("info").ok().err
    sh(*within, "sysctl", "-w", "net.ipv4.ip_forward=0")
    wait_until(told, SECOND, "a warning")
    doctor = engine.darse("doctor")
    assert "off: containers reach this host only" in doctor.out
    sh(*within, "sysctl", "-w", "net.ipv4.ip_forward=1")

    def kept_in() -> bool:
        shown = subprocess.run(
            [*within, "sysctl", "-n", f"net.ipv4.conf.{bridge}.forwarding"], capture_output=True, check=True
        )
        return shown.stdout == b"0\n"

    wait_until(kept_in, SECOND, "the internal network's own switch")


async def test_doctor_tells_what_others_have_switched(host: Host) -> None:
    assert [finding.level for finding in await host.service.examine()] == ["ok"]
    bridge = host.service.store.get("bridge").bridge
    sysctl.write(f"net/ipv4/conf/{bridge}/route_localnet", "0")
    problem = next(one for one in await host.service.examine() if one.level == "problem")
    assert "sysctl -w" in problem.advice
    # Nobody repairs what doctor is to find.
    await host.service.repair.close()
    sh("nft", "delete", "table", "ip", host.config.nft_table)
    sh("ip", "link", "delete", bridge)
    found = " ".join(finding.found for finding in await host.service.examine())
    assert f"bridge {bridge} is removed" in found
    assert f"somebody deleted the table ip {host.config.nft_table}" in found
