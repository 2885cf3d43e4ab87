"""The relay's process by itself: what a new version takes over."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.waiting import wait_until

from darse.linux import packets
from darse.networks.companions.process import CompanionProcess

PARTS = ("relay/*.py", "linux/libc.py", "linux/loop.py", "linux/packets.py", "linux/proc/sandbox.py")
HOST = "::1"


class Target:
    """A server that a port leads to: it sends back what comes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._echo, args=(self._listener.accept()[0],), daemon=True).start()

    @staticmethod
    def _echo(client: socket.socket) -> None:
        with client:
            while data := client.recv(1 << 16):
                client.sendall(data)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Asker:
    """What an engine asks a relay."""

    def __init__(self, process: CompanionProcess) -> None:
        self._socket = process.connect()
        self._socket.settimeout(30)

    def ask(self, document: dict[str, Any], descriptors: tuple[int, ...] = ()) -> dict[str, Any]:
        packets.send(self._socket, packets.pack(1, document), descriptors)
        answer, received = packets.receive(self._socket)
        for descriptor in received:
            os.close(descriptor)
        found: dict[str, Any] = packets.unpack(answer)[1]
        assert "error" not in found, found
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[CompanionProcess]:
    made = CompanionProcess(tmp_path / "relay", "darse.relay.server", PARTS)
    yield made
    made.kill()


@pytest.fixture
def target() -> Iterator[Target]:
    made = Target()
    yield made
    made.close()


def exchange(client: socket.socket, data: bytes) -> bytes:
    """Send, and return what comes back."""
    client.sendall(data)
    return client.recv(1 << 16)


def test_a_new_version_takes_the_ports_and_leaves_the_connections(process: CompanionProcess, target: Target) -> None:
    """Nobody is refused meanwhile; the old process ends with its last connection."""
    old = process.start()
    engine = Asker(process)
    listener = socket.create_server((HOST, 0), family=socket.AF_INET6)
    port = listener.getsockname()[1]
    address, number = target.address
    view = {"id": "one", "protocol": "tcp", "container": "c", "address": address, "port": number}
    engine.ask({"do": "set", "view": view}, (listener.fileno(),))
    listener.close()
    kept = socket.create_connection((HOST, port), timeout=30)
    assert exchange(kept, b"before") == b"before"
    engine.close()

    process._version = "another"
    with process.connect() as predecessor:
        new = process.succeed(predecessor)
    for round_ in range(50):
        with socket.create_connection((HOST, port), timeout=30) as client:
            assert exchange(client, b"%d" % round_) == b"%d" % round_

    def has_taken_over() -> bool:
        asker = Asker(process)
        try:
            return asker.ask({"do": "hello"}) == {"version": "another", "pid": new}
        finally:
            asker.close()

    wait_until(has_taken_over, 30, "the new version")
    assert exchange(kept, b"after") == b"after"
    assert Path(f"/proc/{old}/cmdline").read_bytes()
    kept.close()
    wait_until(lambda: not _runs(old), 30, "the old process's end")
    with socket.create_connection((HOST, port), timeout=30) as client:
        assert exchange(client, b"on") == b"on"


def _runs(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_socket_that_was_shut_down_is_replaced(process: CompanionProcess, target: Target) -> None:
    """An engine was killed after it had shut a port's socket down, before it could say so; the next one has another."""
    process.start()
    engine = Asker(process)
    address, number = target.address
    view = {"id": "one", "protocol": "tcp", "container": "c", "address": address, "port": number}
    with socket.create_server((HOST, 0), family=socket.AF_INET6) as first:
        port = first.getsockname()[1]
        engine.ask({"do": "set", "view": view}, (first.fileno(),))
        with socket.create_connection((HOST, port), timeout=30) as client:
            assert exchange(client, b"first") == b"first"
        first.shutdown(socket.SHUT_RDWR)
    with socket.create_server((HOST, port), family=socket.AF_INET6) as second:
        engine.ask({"do": "set", "view": view}, (second.fileno(),))
    with socket.create_connection((HOST, port), timeout=30) as client:
        assert exchange(client, b"second") == b"second"
    engine.close()
