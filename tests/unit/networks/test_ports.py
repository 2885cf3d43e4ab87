"""Published ports: syntax, choice, conflicts with containers and with the host's own programs."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darse.core.cooperative import at_once
from darse.core.errors import InvalidParameter, SystemFault
from darse.linux.net import socket_owners
from darse.networks.model import PublishedPort
from darse.networks.ports import PortAllocator, check_ports, split_key
from darse.wire.host_config import PortBinding, PortMap
from tests.support.ports import free_port

IP, IP6 = "172.17.0.2", "fd00:1::2"
TARGET = {4: IP, 6: ""}
BOTH = {4: IP, 6: IP6}


@pytest.fixture
def allocator() -> Iterator[PortAllocator]:
    allocator = PortAllocator("0.0.0.0")
    yield allocator
    allocator.close()


@pytest.fixture
def free() -> int:
    """A port that nobody has."""
    return free_port()


def allocate(allocator: PortAllocator, *wanted: Any, **options: Any) -> tuple[list[PublishedPort], PortMap]:
    """Take ports, all in one turn."""
    return at_once(allocator.allocate(*wanted, **options))


def publish(allocator: PortAllocator, host_port: int | str, host_ip: str = "", key: str = "80/tcp") -> str:
    """Publish one port; return host address and port."""
    published, _ = allocate(allocator, {key: [PortBinding(host_ip, str(host_port))]}, (), TARGET, publish_all=False)
    return f"{published[0].host_ip}:{published[0].host_port}"


@pytest.mark.parametrize(("key", "value"), [("80/tcp", (80, "tcp")), ("53/udp", (53, "udp")), ("9", (9, "tcp"))])
def test_container_ports(key: str, value: tuple[int, str]) -> None:
    assert split_key(key) == value


@pytest.mark.parametrize(
    "key", ["", "0/tcp", "65536", "80/icmp", "a/tcp", "80/", "-1", "80-90/tcp", "٨٠/tcp", "80/tcp\n"]
)
def test_container_ports_that_are_none(key: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid port specification"):
        check_ports({key: None}, ())


@pytest.mark.parametrize("port", ["x", "0x50", "65536", "90-80", "80-", "-80", "1-99999", " 80", "8" * 40])
def test_host_ports_that_are_none(port: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid port specification"):
        check_ports({"80/tcp": [PortBinding("", port)]}, ())


@pytest.mark.parametrize("address", ["300.1.1.1", "localhost", "1.2.3", "::g"])
def test_host_addresses_that_are_none(address: str) -> None:
    with pytest.raises(InvalidParameter):
        check_ports({"80/tcp": [PortBinding(address, "80")]}, ())


def test_a_port_that_was_asked_for(allocator: PortAllocator, free: int) -> None:
    published, shown = allocate(allocator, {"80": [PortBinding("", str(free))]}, ["443/tcp"], TARGET, publish_all=False)
    assert [
        (port.protocol, port.host_ip, port.host_port, port.container_ip, port.container_port) for port in published
    ] == [("tcp", "0.0.0.0", free, IP, 80)]
    assert shown == {"80/tcp": [PortBinding("0.0.0.0", str(free))], "443/tcp": None}


def test_both_families_asked_for_are_one_port(allocator: PortAllocator, free: int) -> None:
    both = [PortBinding("0.0.0.0", str(free)), PortBinding("::", str(free))]
    published, shown = allocate(allocator, {"80/tcp": both}, (), TARGET, publish_all=False)
    assert len(published) == 1
    assert shown == {"80/tcp": [PortBinding("0.0.0.0", str(free))]}


def test_many_ports_take_no_longer_than_as_many_times_one(allocator: PortAllocator) -> None:
    def seconds(count: int) -> float:
        wanted = {f"{number}/sctp": [PortBinding("", str(number))] for number in range(20000, 20000 + count)}
        begun = time.thread_time()
        published, _ = allocate(allocator, wanted, (), TARGET, publish_all=False)
        taken = time.thread_time() - begun
        assert len(published) == count
        for port in published:
            allocator.release(port)
        return taken

    few = min(seconds(500) for _ in range(3))
    assert seconds(16_000) < 10 * 32 * few


def test_a_range_that_is_asked_for_again_and_again_is_gone_through_once(allocator: PortAllocator) -> None:
    wanted = {"80/sctp": [PortBinding("", "20000-29999")] * 6000, "81/sctp": [PortBinding("", "20003")]}
    begun = time.thread_time()
    published, _ = allocate(allocator, wanted, (), TARGET, publish_all=False)
    assert time.thread_time() - begun < 3
    numbers = [port.host_port for port in published]
    assert sorted(numbers) == list(range(20000, 26001))
    assert numbers[-1] == 20003
    with pytest.raises(SystemFault, match="port is already allocated"):
        publish(allocator, "20000-20100", key="80/sctp")


def test_one_port_of_a_container_may_have_many_of_the_host(allocator: PortAllocator) -> None:
    bindings = [PortBinding("", str(number)) for number in range(20000, 20100)]
    published, shown = allocate(allocator, {"80/sctp": bindings}, (), TARGET, publish_all=False)
    assert [port.host_port for port in published] == list(range(20000, 20100))
    assert shown == {"80/sctp": [PortBinding("0.0.0.0", str(number)) for number in range(20000, 20100)]}


def test_the_request_is_left_as_it_was(allocator: PortAllocator, free: int) -> None:
    wanted: PortMap = {"80/tcp": [PortBinding("", str(free))]}
    allocate(allocator, wanted, (), TARGET, publish_all=False, default_ip="127.0.0.1")
    assert wanted == {"80/tcp": [PortBinding("", str(free))]}


def test_a_chosen_port_is_ephemeral_and_never_the_same_twice(allocator: PortAllocator) -> None:
    chosen = [publish(allocator, port).rpartition(":")[2] for port in ("", "0", "", "")]
    assert len(set(chosen)) == 4
    assert all(32768 <= int(port) < 61000 for port in chosen)


def test_ports_that_are_not_asked_for_begin_at_32768_and_elsewhere_for_other_engines() -> None:
    first, other = PortAllocator("127.0.0.9"), PortAllocator("127.0.0.9", "00001000")
    assert publish(first, "") == "127.0.0.9:32768"
    assert publish(other, "") == f"127.0.0.9:{32768 + 0x1000}"
    first.close()
    other.close()


def test_a_published_port_is_in_use_for_programs_of_the_host(allocator: PortAllocator, free: int) -> None:
    published, _ = allocate(allocator, {"80": [PortBinding("", str(free))]}, (), TARGET, publish_all=False)
    with socket.socket() as program:
        program.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="Address already in use"):
            program.bind(("127.0.0.1", free))
    with pytest.raises(SystemFault, match="address already in use"):
        publish(PortAllocator("0.0.0.0"), free)
    allocator.release(published[0])
    with socket.socket() as program:
        program.bind(("127.0.0.1", free))


def test_a_restored_port_that_a_program_took_meanwhile_is_told(
    allocator: PortAllocator, free: int, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as program:
        program.bind(("127.0.0.1", free))
        program.listen()
        allocator.restore(PublishedPort("tcp", "0.0.0.0", free, IP, 80))
    assert f"tcp port {free} of 0.0.0.0 leads to a container, and a program of the host wants it, too" in caplog.text
    with pytest.raises(SystemFault, match="port is already allocated"):
        publish(allocator, free)


def test_publish_all(allocator: PortAllocator) -> None:
    published, shown = allocate(allocator, {}, ["80/tcp", "53/udp"], TARGET, publish_all=True)
    assert {(port.protocol, port.container_port) for port in published} == {("tcp", 80), ("udp", 53)}
    assert all(shown.values())


def test_a_range_gives_its_first_free_port(allocator: PortAllocator) -> None:
    assert [publish(allocator, "42100-42102", "127.0.0.1") for _ in range(3)] == [
        "127.0.0.1:42100",
        "127.0.0.1:42101",
        "127.0.0.1:42102",
    ]
    with pytest.raises(SystemFault, match=r"Bind for 127\.0\.0\.1:42100-42102 failed: port is already allocated"):
        publish(allocator, "42100-42102", "127.0.0.1")


@pytest.mark.parametrize(
    ("first", "second", "conflict"),
    [
        ("0.0.0.0", "0.0.0.0", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("", "::", True),
    ],
)
def test_two_containers_on_one_port(
    allocator: PortAllocator, free: int, first: str, second: str, conflict: bool
) -> None:
    publish(allocator, free, first)
    publish(allocator, free, first, "80/udp")
    if not conflict:
        publish(allocator, free, second)
        return
    with pytest.raises(SystemFault, match=f":{free} failed: port is already allocated"):
        publish(allocator, free, second)


def test_a_released_port_can_be_had_again(allocator: PortAllocator, free: int) -> None:
    published, _ = allocate(allocator, {"80": [PortBinding("", str(free))]}, (), TARGET, publish_all=False)
    with pytest.raises(SystemFault, match="port is already allocated"):
        publish(allocator, free)
    allocator.release(published[0])
    publish(allocator, free)


def test_all_or_none(allocator: PortAllocator, free: int) -> None:
    publish(allocator, free)
    wanted: PortMap = {"1/tcp": [PortBinding("127.0.0.2", "42200")], "2/tcp": [PortBinding("", str(free))]}
    with pytest.raises(SystemFault):
        allocate(allocator, wanted, (), TARGET, publish_all=False)
    assert publish(allocator, 42200, "127.0.0.2") == "127.0.0.2:42200"


@pytest.mark.parametrize(("kind", "protocol"), [(socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")])
def test_a_program_of_the_host_has_the_port(allocator: PortAllocator, kind: int, protocol: str) -> None:
    with socket.socket(socket.AF_INET, kind) as program:
        program.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            program.listen()
        number = program.getsockname()[1]
        with pytest.raises(
            SystemFault, match=f"failed to bind host port .*:{number}/{protocol} .*: address already in use"
        ):
            publish(allocator, number, key=f"80/{protocol}")
        other = "udp" if protocol == "tcp" else "tcp"
        publish(allocator, number, key=f"80/{other}")
    publish(allocator, number, key=f"80/{protocol}")


def test_an_address_that_the_host_has_not(allocator: PortAllocator, free: int) -> None:
    with pytest.raises(SystemFault, match="cannot assign requested address"):
        publish(allocator, free, "192.0.2.1")


WORDS = st.one_of(st.text(max_size=12), st.from_regex(r"[0-9]{0,6}(-[0-9]{0,6})?(/[a-z]{0,4})?", fullmatch=True))


@given(WORDS, WORDS, WORDS)
def test_any_text_is_a_port_or_refused(key: str, host_ip: str, port: str) -> None:
    with contextlib.suppress(InvalidParameter):
        check_ports({key: [PortBinding(host_ip, port)]}, [key])


def test_certain_ports_are_taken_before_those_that_are_chosen_freely(allocator: PortAllocator) -> None:
    """As in `-p 80 -p 40001:8080` when 40001 would be the next free one."""
    first, _ = allocate(allocator, {"80/tcp": [PortBinding()]}, (), TARGET, publish_all=False)
    following = first[0].host_port + 1
    wanted: PortMap = {
        "80/tcp": [PortBinding()],
        "81/tcp": [PortBinding("", f"{following}-{following + 5}")],
        "8080/tcp": [PortBinding("", str(following))],
    }
    published, shown = allocate(allocator, wanted, ("90/tcp",), TARGET, publish_all=True)
    ports = {port.container_port: port.host_port for port in published}
    assert ports[8080] == following
    assert ports[81] == following + 1
    assert len(set(ports.values())) == 4
    assert [port.container_port for port in published] == [90, 80, 81, 8080]
    assert list(shown) == ["90/tcp", "80/tcp", "81/tcp", "8080/tcp"]


def test_the_container_that_has_a_port_is_named(free: int) -> None:
    allocator = PortAllocator("0.0.0.0", "", lambda *key: "web" if key == ("tcp", "0.0.0.0", free) else "")
    publish(allocator, free)
    with pytest.raises(SystemFault, match=r"port is already allocated \(container web has it\)"):
        publish(allocator, free)
    allocator.close()


@pytest.mark.parametrize(
    ("owners", "named"),
    [
        ({42200: "web"}, r" \(container web has it\)"),
        ({42200: "web", 42201: "web"}, r" \(container web has it\)"),
        ({42200: "web", 42201: "db"}, r" \(containers web, db have them\)"),
        ({}, ""),
    ],
)
def test_the_containers_that_have_a_range_are_named(owners: dict[int, str], named: str) -> None:
    allocator = PortAllocator("0.0.0.0", "", lambda protocol, ip, number: owners.get(number, ""))
    for _ in range(2):
        publish(allocator, "42200-42201", key="80/sctp")
    with pytest.raises(SystemFault, match=f"failed: port is already allocated{named}$"):
        publish(allocator, "42200-42201", key="80/sctp")
    allocator.close()


def test_an_address_of_ipv4_written_as_one_of_ipv6_is_that_of_ipv4(allocator: PortAllocator, free: int) -> None:
    assert publish(allocator, free, "::ffff:127.0.0.1") == f"127.0.0.1:{free}"
    with pytest.raises(SystemFault, match=f"127.0.0.1:{free} failed: port is already allocated"):
        publish(allocator, free, "127.0.0.1")


def test_who_has_a_port_of_one_family_is_not_who_has_that_of_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine has the port's IPv4 half itself when the other one is refused."""
    monkeypatch.setattr(socket_owners, "_SECONDS", 30)
    with socket.create_server(("0.0.0.0", 0)) as four:
        port = four.getsockname()[1]
        assert socket_owners.who_has("tcp", "::", port) is None
        with socket.create_server(("::1", port), family=socket.AF_INET6):
            found = socket_owners.who_has("tcp", "::", port)
            assert found is not None
            assert found.pid == os.getpid()


@pytest.mark.parametrize("ip", ["127.0.0.1", "0.0.0.0", "::"])
def test_the_process_that_has_a_port_is_named(
    allocator: PortAllocator, ip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_owners, "_SECONDS", 30)
    six = ":" in ip
    with socket.create_server((ip, 0), family=socket.AF_INET6 if six else socket.AF_INET, dualstack_ipv6=six) as server:
        port = server.getsockname()[1]
        with pytest.raises(SystemFault, match=rf"address already in use \(\S+, process {os.getpid()}, has it\)"):
            publish(allocator, port)


@pytest.mark.parametrize("ip", ["::", "::1"])
def test_a_program_with_ipv6_alone_is_named_and_not_who_has_the_port_of_ipv4(
    allocator: PortAllocator, ip: str, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_owners, "_SECONDS", 30)
    listen = "import os, socket, sys; s = socket.create_server((sys.argv[1], int(sys.argv[2])), family=socket.AF_INET6)"
    program = [sys.executable, "-c", f"{listen}; os.write(1, b'!'); os.read(0, 1)", ip, str(free)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"!"
        with pytest.raises(SystemFault, match=rf"address already in use \(\S+, process {process.pid}, has it\)"):
            allocate(allocator, {"80": [PortBinding("", str(free))]}, (), BOTH, publish_all=False)
        process.communicate(b"!")


def test_a_container_of_both_families_gets_one_port_of_both(allocator: PortAllocator, free: int) -> None:
    published, shown = allocate(allocator, {"80": [PortBinding("", str(free))]}, (), BOTH, publish_all=False)
    assert [(port.host_ip, port.host_port, port.container_ip) for port in published] == [
        ("0.0.0.0", free, IP),
        ("::", free, IP6),
    ]
    assert shown == {"80/tcp": [PortBinding("0.0.0.0", str(free)), PortBinding("::", str(free))]}
    with pytest.raises(SystemFault, match="port is already allocated"):
        publish(allocator, free, "::")


def test_a_port_of_which_one_family_is_taken_is_not_had_at_all(allocator: PortAllocator, free: int) -> None:
    with socket.socket(socket.AF_INET6) as program:
        program.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        program.bind(("::", free))
        program.listen()
        with pytest.raises(SystemFault, match="address already in use"):
            allocate(allocator, {"80": [PortBinding("", str(free))]}, (), BOTH, publish_all=False)
    assert publish(allocator, free) == f"0.0.0.0:{free}"


def test_addresses_of_one_family(allocator: PortAllocator, free: int) -> None:
    (port,), _ = allocate(allocator, {"80": [PortBinding("127.0.0.1", str(free))]}, (), BOTH, publish_all=False)
    assert (port.host_ip, port.container_ip) == ("127.0.0.1", IP)
    with pytest.raises(SystemFault, match="cannot publish a port on ::1: the container has no IPv6 address"):
        publish(allocator, free, "::1")
    (port,), _ = allocate(allocator, {"80": [PortBinding("::1", str(free))]}, (), BOTH, publish_all=False)
    assert (port.host_ip, port.container_ip) == ("::1", IP6)
    (port,), _ = allocate(allocator, {"81": [PortBinding()]}, (), {4: "", 6: IP6}, publish_all=False)
    assert (port.host_ip, port.container_ip) == ("::", IP6)


def relay(
    allocator: PortAllocator, host_ip: str, port: int | str, key: str = "80/tcp", **options: str
) -> list[tuple[str, str, bool]]:
    """Publish a port of a container with IPv4 only, by the relay where that takes one."""
    wanted: PortMap = {key: [PortBinding(host_ip, str(port))]}
    published, _ = allocate(allocator, wanted, (), TARGET, publish_all=False, relayed=IP, **options)
    assert len({port.host_port for port in published}) == 1
    return [(port.host_ip, port.container_ip, port.relayed) for port in published]


@pytest.mark.parametrize(
    ("host_ip", "options", "expected"),
    [
        ("", {}, [("0.0.0.0", False), ("::", True)]),
        ("", {"default_ip": "127.0.0.1"}, [("127.0.0.1", False)]),
        ("", {"default_ip": "::1"}, [("::1", True)]),
        ("0.0.0.0", {}, [("0.0.0.0", False)]),
        ("127.0.0.1", {}, [("127.0.0.1", False)]),
        ("::", {}, [("::", True)]),
        ("::1", {}, [("::1", True)]),
    ],
)
@pytest.mark.parametrize("asked", [True, False])
def test_what_the_relay_leads_to_a_container_of_ipv4(
    allocator: PortAllocator,
    free: int,
    host_ip: str,
    options: dict[str, str],
    expected: list[tuple[str, bool]],
    asked: bool,
) -> None:
    for protocol in ("tcp", "udp"):
        found = relay(allocator, host_ip, free if asked else "", f"80/{protocol}", **options)
        assert found == [(ip, IP, relayed) for ip, relayed in expected]


def test_the_relay_leads_no_sctp(allocator: PortAllocator, free: int) -> None:
    assert relay(allocator, "", free, "80/sctp") == [("0.0.0.0", IP, False)]


def test_both_families_said_twice_are_two_ports(allocator: PortAllocator, free: int) -> None:
    for said in (["", "::"], ["::", ""], ["0.0.0.0", "::"], ["", "0.0.0.0", "::"]):
        wanted: PortMap = {"80/tcp": [PortBinding(ip, str(free)) for ip in said]}
        published, _ = allocate(allocator, wanted, (), TARGET, publish_all=False, relayed=IP)
        assert sorted(port.host_ip for port in published) == ["0.0.0.0", "::"]
        for port in published:
            allocator.release(port)


def test_the_socket_of_a_relayed_port_is_shut_down_and_stays_with_who_has_a_copy(
    allocator: PortAllocator, free: int
) -> None:
    for protocol in ("tcp", "udp"):
        port = PublishedPort(protocol, "::", free, IP, 80)
        for _ in range(2):
            published, _shown = allocate(
                allocator, {f"80/{protocol}": [PortBinding("::", str(free))]}, (), TARGET, publish_all=False, relayed=IP
            )
            assert published == [port]
            copy = os.dup(allocator.socket_of(port))
            allocator.release(port, serves=True)
            if protocol == "tcp":
                with socket.socket(socket.AF_INET6) as client, pytest.raises(ConnectionRefusedError):
                    client.connect(("::1", free))
            # Taken again before the relay has closed its copy.
            allocate(
                allocator, {f"80/{protocol}": [PortBinding("::", str(free))]}, (), TARGET, publish_all=False, relayed=IP
            )
            allocator.release(port, serves=True)
            os.close(copy)
            allocator.drop_copy(port)
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as program:
        program.bind(("::", free))
