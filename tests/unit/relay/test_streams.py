"""Connections of TCP: bytes, ends, resets, peers that do not read, and limits."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from darse.relay.streams import ConnectionLimits, Pipes, StreamPort
from tests.support.waiting import wait_until
from tests.unit.relay.conftest import Running


class Led:
    """A port that leads to a server of the test."""

    def __init__(self, running: Running, descriptors: int = 600) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.address = listener.getsockname()[:2]
        self.limits = ConnectionLimits(descriptors)
        self.running = running
        target = self.server.getsockname()
        self.port = running.call(lambda: StreamPort(running.loop, listener, target, self.limits, Pipes()))
        self._opened: list[socket.socket] = []

    def client(self) -> socket.socket:
        client = socket.create_connection(self.address, timeout=20)
        self._opened.append(client)
        return client

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A client's connection and what the server has of it."""
        client = self.client()
        served, _ = self.server.accept()
        served.settimeout(20)
        self._opened.append(served)
        return client, served

    def close(self) -> None:
        self.running.call(self.port.close)
        for one in (self.server, *self._opened):
            one.close()


@pytest.fixture
def led(running: Running) -> Iterator[Led]:
    made = Led(running)
    yield made
    made.close()


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(1 << 16), b""))


def test_bytes_both_ways_and_the_end_of_one_way(led: Led) -> None:
    client, served = led.pair()
    data = os.urandom(3_000_000)
    sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
    sender.start()
    assert read_all(served) == data
    sender.join()
    # The other way is still open.
    served.sendall(b"after the end")
    assert client.recv(100) == b"after the end"
    served.close()
    assert client.recv(100) == b""
    wait_until(lambda: led.limits.count == 0, what="the end of the connection")


def test_the_server_may_end_its_way_first(led: Led) -> None:
    client, served = led.pair()
    served.sendall(b"all")
    served.shutdown(socket.SHUT_WR)
    assert read_all(client) == b"all"
    client.sendall(b"more")
    client.close()
    assert read_all(served) == b"more"
    wait_until(lambda: led.limits.count == 0, what="the end of the connection")


@pytest.mark.parametrize("of_client", [True, False])
def test_a_reset_is_passed_on(led: Led, of_client: bool) -> None:
    first, second = led.pair() if of_client else led.pair()[::-1]
    first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    first.close()
    with pytest.raises(ConnectionResetError):
        second.recv(1)
    wait_until(lambda: led.limits.count == 0, what="the end of the connection")


def test_without_a_server_the_client_is_reset(led: Led) -> None:
    led.server.close()
    with pytest.raises(ConnectionResetError):
        led.client().recv(1)


def test_a_peer_that_does_not_read_gets_everything_later_and_disturbs_nobody(led: Led) -> None:
    client, served = led.pair()
    client.setblocking(False)
    sent = 0
    # The relay goes on taking for a moment after the kernel took no more.
    for _ in range(20):
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += client.send(bytes(1 << 16))
        other, other_served = led.pair()
        other.sendall(b"hello")
        assert other_served.recv(10) == b"hello"
        for one in (other, other_served):
            one.close()
    client.setblocking(True)
    client.shutdown(socket.SHUT_WR)
    assert len(read_all(served)) == sent


def test_more_connections_than_there_may_be_wait(running: Running) -> None:
    led = Led(running, descriptors=0)  # 16 at most, 8 of one port
    try:
        pairs = [led.pair() for _ in range(8)]
        ninth = led.client()
        ninth.sendall(b"patient")
        led.server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            led.server.accept()
        for one in pairs[0]:
            one.close()
        led.server.settimeout(20)
        served, _ = led.server.accept()
        assert served.recv(10) == b"patient"
        served.close()
    finally:
        led.close()


def test_nothing_is_left_open(running: Running) -> None:
    before = set(os.listdir("/proc/self/fd"))
    led = Led(running)
    pairs = [led.pair() for _ in range(20)]
    for client, served in pairs:
        client.sendall(b"x")
        assert served.recv(1) == b"x"
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                client.send(bytes(1 << 20))
    led.close()
    pipes = led.port.pipes
    for pipe in iter(lambda: pipes._spare and pipes._spare.pop(), []):
        pipes.drop(pipe)
    assert set(os.listdir("/proc/self/fd")) == before
