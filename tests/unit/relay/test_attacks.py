"""Peers that do what no well-meaning program does: urgent bytes, resets at every stage, servers that accept nothing."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator

import pytest

from darse.relay.streams import ConnectionLimits, Pipes, StreamPort
from tests.support.waiting import wait_until
from tests.unit.relay.conftest import Running
from tests.unit.relay.test_streams import Led, read_all

RESET = b"\1\0\0\0\0\0\0\0"


@pytest.fixture
def led(running: Running) -> Iterator[Led]:
    made = Led(running)
    yield made
    made.close()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


def fill(sock: socket.socket) -> None:
    """Send until nobody takes any more, the relay neither."""
    sock.setblocking(False)
    while select.select([], [sock], [], 0.05)[1]:
        sock.send(bytes(1 << 16))


def test_urgent_bytes_neither_stop_the_stream_nor_keep_the_relay_busy(running: Running, led: Led) -> None:
    client, served = led.pair()
    client.sendall(b"before")
    assert served.recv(6) == b"before"
    client.send(b"!", socket.MSG_OOB)
    assert running.comes_to_rest()
    client.sendall(b"after")
    got = b""
    while not got.endswith(b"after"):
        got += served.recv(10)
    served.send(b"!", socket.MSG_OOB)
    served.sendall(b"the end")
    served.close()
    assert read_all(client).endswith(b"the end")
    client.close()
    wait_until(lambda: led.limits.count == 0, what="the end of the connection")


def test_urgent_bytes_in_front_of_the_end(led: Led) -> None:
    client, served = led.pair()
    client.sendall(b"abc")
    client.send(b"!", socket.MSG_OOB)
    client.sendall(os.urandom(100_000) + b"last")
    client.close()
    assert read_all(served).endswith(b"last")


def test_a_client_that_resets_after_its_end_is_noticed(running: Running, led: Led) -> None:
    client, served = led.pair()
    client.shutdown(socket.SHUT_WR)
    assert served.recv(1) == b""
    reset(client)
    wait_until(lambda: led.limits.count == 0, 5, "the end of the connection")
    assert running.comes_to_rest()


@pytest.mark.parametrize("of_client", [True, False])
def test_a_sender_that_resets_while_nobody_reads_is_noticed(running: Running, led: Led, of_client: bool) -> None:
    first, second = led.pair() if of_client else led.pair()[::-1]
    fill(first)
    assert led.limits.count == 1
    reset(first)
    wait_until(lambda: led.limits.count == 0, 5, "the end of the connection")
    with pytest.raises(ConnectionResetError):
        read_all(second)


def test_ends_of_both_ways_that_nobody_reads_keep_nobody_busy(running: Running, led: Led) -> None:
    client, served = led.pair()
    fill(client)
    client.setblocking(True)
    served.shutdown(socket.SHUT_WR)
    assert client.recv(1) == b""
    client.close()
    assert running.comes_to_rest()
    assert read_all(served)
    wait_until(lambda: led.limits.count == 0, what="the end of the connection")


def test_a_client_that_leaves_a_server_that_accepts_nothing_is_forgotten(running: Running) -> None:
    """The kernel completes no connection to a server whose backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, contextlib.ExitStack() as stack:
        target = server.getsockname()
        for _ in range(3):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(target)
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        address, limits = listener.getsockname()[:2], ConnectionLimits(600)
        port = running.call(lambda: StreamPort(running.loop, listener, target, limits, Pipes()))
        try:
            clients = [socket.create_connection(address, timeout=20) for _ in range(5)]
            wait_until(lambda: limits.count == 5, 5, "connections")
            assert running.comes_to_rest()
            for client in clients:
                reset(client)
            wait_until(lambda: limits.count == 0, 5, "the end of connections whose clients have left")
        finally:
            running.call(port.close)
