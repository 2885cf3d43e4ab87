"""The engine's connection to the name server, where that reads slowly."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from darse.core.errors import SystemFault
from darse.linux import packets
from darse.networks.companions import connection as connections
from darse.networks.companions.connection import CompanionConnection, CompanionLost
from darse.networks.dns.client import NameServer
from darse.networks.dns.process import NameServerProcess
from darse.resolver import protocol


async def _busy() -> tuple[CompanionConnection, socket.socket]:
    """A connection whose other end, which does not read, takes no more."""
    ours, theirs = packets.pair()
    theirs.setblocking(False)
    connection = CompanionConnection(ours, "name server")
    while connection._sender is None:
        connection.call({"do": "fill", "more": "x" * 10_000})
    return connection, theirs


async def _give_up(call: Awaitable[object]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await call


async def test_a_late_packet_has_the_descriptors_of_its_caller_who_has_given_up_and_closed_them() -> None:
    connection, theirs = await _busy()
    reading, writing = os.pipe()
    meant = os.fstat(reading).st_ino
    try:
        await _give_up(connection.call({"do": "set"}, [reading]))
    finally:
        os.close(reading)
    # Another one's, which has the number now.
    other = os.pipe()
    try:
        assert reading in other
        asked, found = "", [-1]
        while asked != "set":
            try:
                packet, found = packets.receive(theirs)
                asked = packets.unpack(packet)[1]["do"]
            except BlockingIOError:
                await asyncio.sleep(0)
        assert [os.fstat(descriptor).st_ino for descriptor in found] == [meant]
        for descriptor in found:
            os.close(descriptor)
        assert not connection.lost.is_set()
    finally:
        connection.close()
        theirs.close()
        for descriptor in (writing, *other):
            os.close(descriptor)


async def test_a_connection_that_is_lost_keeps_no_descriptors() -> None:
    connection, theirs = await _busy()
    reading, writing = os.pipe()
    answer = connection.call({"do": "set"}, [reading])
    os.close(reading)
    theirs.close()
    try:
        with pytest.raises(CompanionLost):
            await answer
        with pytest.raises(BrokenPipeError):
            os.write(writing, b"x")
    finally:
        connection.close()
        os.close(writing)


async def test_without_room_for_copies_the_caller_hears_so(monkeypatch: pytest.MonkeyPatch) -> None:
    connection, theirs = await _busy()
    reading, writing = os.pipe()

    def refuse(_: int) -> int:
        raise OSError(24, os.strerror(24))

    monkeypatch.setattr(connections.os, "dup", refuse)
    try:
        with pytest.raises(SystemFault, match="busy"):
            await connection.call({"do": "set"}, [reading])
    finally:
        connection.close()
        theirs.close()
        os.close(reading)
        os.close(writing)


async def test_a_change_of_a_sandbox_that_has_just_ended_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = NameServer(NameServerProcess(tmp_path), lambda _: asyncio.sleep(0))
    for said in (protocol.NO_SOCKETS, "something else"):
        change: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        change.set_exception(SystemFault(f"the name server: KeyError: {said!r}"))
        server._changed(change)
    assert [record.getMessage() for record in caplog.records] == [
        "the name server has not taken a change: the name server: KeyError: 'something else'"
    ]
