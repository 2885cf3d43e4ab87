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


def test_a_number_that_is_no_socket_any_more_leaves_no_descriptor(
    monkeypatch: pytest.MonkeyPatch, somebody_elses: int
) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as netlink:
        # Each was a socket when it was looked at, and is something else when it is opened.
        monkeypatch.setattr(os, "readlink", lambda _: "socket:[1]")
        before = len(os.listdir("/proc/self/fd"))
        found = nft._netlink_sockets()
        assert netlink.fileno() in found
        assert somebody_elses not in found
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
