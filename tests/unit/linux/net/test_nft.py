"""nftables' own sockets, found among the engine's descriptors while these change hands."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from darse.linux.net import nft


@pytest.fixture
def somebody_elses() -> Iterator[int]:
    """A descriptor that is no socket."""
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


def test_only_a_socket_of_netfilter_is_taken_for_the_librarys(somebody_elses: int) -> None:
    route, netfilter = 0, 12
    with (
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, route) as other,
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, netfilter) as wanted,
    ):
        before = len(os.listdir("/proc/self/fd"))
        numbers = (wanted.fileno(), other.fileno(), somebody_elses, 1 << 20)
        assert [nft._is_netfilter_socket(number) for number in numbers] == [True, False, False, False]
        assert len(os.listdir("/proc/self/fd")) == before


def test_elements_of_one_map_are_one_command() -> None:
    commands = [
        "delete element ip t tcp_any { 80 }",
        "add element ip t tcp_any { 80 : 172.17.0.2 . 80 }",
        "add element ip t udp_at { 127.0.0.1 . 53 : 172.17.0.2 . 53 }",
        "add element ip t tcp_any { 81 : 172.17.0.2 . 81 }",
    ]
    assert nft.grouped(commands).splitlines() == [
        "delete element ip t tcp_any { 80 }",
        "add element ip t tcp_any { 80 : 172.17.0.2 . 80, 81 : 172.17.0.2 . 81 }",
        "add element ip t udp_at { 127.0.0.1 . 53 : 172.17.0.2 . 53 }",
    ]
    assert nft.grouped([]) == ""
