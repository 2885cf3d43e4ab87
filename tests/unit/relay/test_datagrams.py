"""Flows of UDP: answers, addresses, ends and limits."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from darse.relay import datagrams
from darse.relay.datagrams import DatagramPort, FlowLimits
from tests.support.waiting import wait_until
from tests.unit.relay.conftest import Running


class Led:
    """A port that leads to a server of the test."""

    def __init__(self, running: Running, limits: FlowLimits | None = None) -> None:
        self.server = udp(socket.AF_INET, "127.0.0.1")
        sock = udp(socket.AF_INET6, "::")
        self.number = sock.getsockname()[1]
        self.running = running
        target = self.server.getsockname()
        self.port = running.call(lambda: DatagramPort(running.loop, sock, target, limits or FlowLimits(2000)))
        self._opened: list[socket.socket] = []

    def client(self) -> socket.socket:
        client = udp(socket.AF_INET6, "::1")
        client.connect(("::1", self.number))
        self._opened.append(client)
        return client

    def close(self) -> None:
        self.running.call(self.port.close)
        for one in (self.server, *self._opened):
            one.close()


def udp(family: int, ip: str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((ip, 0))
    sock.settimeout(20)
    return sock


@pytest.fixture
def led(running: Running) -> Iterator[Led]:
    made = Led(running)
    yield made
    made.close()


def test_each_client_gets_its_answers(led: Led) -> None:
    clients = [led.client() for _ in range(5)]
    for number, client in enumerate(clients):
        client.send(str(number).encode())
    for _ in clients:
        data, peer = led.server.recvfrom(100)
        led.server.sendto(b"to " + data, peer)
        led.server.sendto(b"again", peer)
    for number, client in enumerate(clients):
        assert client.recv(100) == f"to {number}".encode()
        assert client.recv(100) == b"again"
    assert led.port.active == 5


def test_empty_and_large_datagrams(led: Led) -> None:
    client = led.client()
    for size in (0, 1, 60_000):
        client.send(bytes(size))
        data, peer = led.server.recvfrom(65535)
        assert len(data) == size
        led.server.sendto(data, peer)
        assert len(client.recv(65535)) == size


def test_a_server_that_is_not_there_yet(led: Led) -> None:
    address = led.server.getsockname()
    led.server.close()
    client = led.client()
    for _ in range(3):
        client.send(b"lost")
    led.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    led.server.bind(address)
    led.server.settimeout(0.2)

    def arrives() -> bool:
        client.send(b"found")
        try:
            return led.server.recvfrom(100)[0] in (b"found", b"lost")
        except TimeoutError:
            return False

    wait_until(arrives, what="a datagram")


def test_the_flow_that_was_used_last_longest_ago_makes_room(led: Led, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "MOST", 2)
    first, second, third = (led.client() for _ in range(3))
    peers = []
    for client in (first, second, first, third):
        client.send(b"x")
        peers.append(led.server.recvfrom(10)[1])
    assert peers[0] == peers[2]
    assert led.port.active == 2
    led.server.sendto(b"still", peers[0])
    assert first.recv(10) == b"still"


def test_a_flow_ends_when_it_is_idle(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "IDLE_SECONDS", 0.1)
    led = Led(running)
    try:
        led.client().send(b"x")
        led.server.recvfrom(10)
        wait_until(lambda: led.port.active == 0, what="the end of the flow")
    finally:
        led.close()


def test_another_address_of_the_container_ends_its_flows(led: Led) -> None:
    client, other = led.client(), udp(socket.AF_INET, "127.0.0.1")
    client.send(b"x")
    led.server.recvfrom(10)
    led.running.call(lambda: led.port.lead_to(other.getsockname()))
    client.send(b"y")
    assert other.recvfrom(10)[0] == b"y"
    other.close()


def test_flows_of_all_ports_have_a_bound_and_a_flooded_port_pays_for_it(running: Running) -> None:
    """Each has a socket: the other ports, and connections, would have none left."""
    limits = FlowLimits(20)
    quiet, flooded = Led(running, limits), Led(running, limits)
    try:
        kept = quiet.client()
        kept.send(b"mine")
        assert quiet.server.recvfrom(10)[0] == b"mine"
        for number in range(60):
            flooded.client().send(b"%d" % number)
            flooded.server.recvfrom(10)
        assert limits.count == 20
        assert quiet.port.active == 1
        for _ in range(5):  # up to its share
            quiet.client().send(b"more")
            quiet.server.recvfrom(10)
        assert (quiet.port.active, flooded.port.active) == (6, 14)
        quiet.close()
        assert limits.count == 14
    finally:
        flooded.close()
    assert limits.count == 0
