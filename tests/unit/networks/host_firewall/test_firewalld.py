"""What firewalld is asked, over a bus that is a server of the test's."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from darse.networks.host_firewall.bus import Bus, BusError, decode, encode_call, length_of
from darse.networks.host_firewall.firewalld import Firewalld

NAME = "org.fedoraproject.FirewallD1"


def strings(*texts: str) -> bytes:
    """A body of strings."""
    body = bytearray()
    for text in texts:
        body += bytes(-len(body) % 4) + struct.pack("<I", len(text)) + text.encode() + b"\0"
    return bytes(body)


def message(kind: int, fields: list[tuple[int, str, bytes]], body: bytes) -> bytes:
    """A message as a bus sends it; `fields` with their values as they are packed."""
    header = bytearray()
    for code, type_, value in fields:
        header += bytes(-len(header) % 8) + bytes((code, 1)) + type_.encode() + b"\0" + value
    fixed = struct.pack("<4B3I", ord("l"), kind, 0, 1, len(body), 77, len(header))
    return fixed + bytes(header) + bytes(-len(header) % 8) + body


def signature(text: str) -> bytes:
    return bytes((len(text),)) + text.encode() + b"\0"


class FakeBus:
    """A message bus with firewalld on it, which knows zones and their interfaces."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.runs = True
        self.zones: dict[str, str] = {}
        self.calls: list[tuple[str, ...]] = []
        self.called = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        assert (await reader.readline()).startswith(b"\0AUTH EXTERNAL ")
        writer.write(b"OK 0123456789abcdef0123456789abcdef\r\n")
        assert await reader.readline() == b"BEGIN\r\n"
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                fixed = await reader.readexactly(16)
                call = decode(fixed + await reader.readexactly(length_of(fixed) - 16))
                serial = struct.pack("<I", struct.unpack_from("<I", fixed, 8)[0])
                self.calls.append((call.member, *map(str, call.arguments)))
                writer.write(self._answer(call.member, [str(one) for one in call.arguments], serial))
                self.called.set()

    def _answer(self, member: str, arguments: list[str], serial: bytes) -> bytes:
        reply = [(5, "u", serial)]
        if member == "NameHasOwner":
            return message(2, [*reply, (8, "g", signature("b"))], struct.pack("<I", self.runs))
        if member == "addInterface":
            zone, interface = arguments
            error = {None: "", zone: "ZONE_ALREADY_SET"}.get(self.zones.get(interface), "ZONE_CONFLICT")
            if error:
                name = [(4, "s", strings(f"{NAME}.Exception")), (8, "g", signature("s"))]
                return message(3, [*reply, *name], strings(f"{error}: {interface}"))
            self.zones[interface] = zone
        if member == "removeInterface":
            self.zones.pop(arguments[1], None)
        return message(2, [*reply, (8, "g", signature("s"))], strings("trusted"))

    def signal(self, interface: str, member: str, *arguments: str) -> None:
        fields = [(1, "o", strings("/x")), (2, "s", strings(interface)), (3, "s", strings(member))]
        fields += [(8, "g", signature("s" * len(arguments)))] if arguments else []
        for writer in self.writers:
            writer.write(message(4, fields, strings(*arguments)))

    def restart(self) -> None:
        """firewalld ends, and begins again with nothing in its zones."""
        self.zones = {}
        for old, new in ((":1.7", ""), ("", ":1.8")):
            self.signal("org.freedesktop.DBus", "NameOwnerChanged", NAME, old, new)

    async def wait(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.called.clear()
                await self.called.wait()


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[FakeBus]:
    fake = FakeBus(tmp_path / "bus")
    async with await asyncio.start_unix_server(fake.serve, fake.path):
        yield fake
        for writer in fake.writers:
            writer.close()
            await writer.wait_closed()


@pytest.fixture
async def new_firewalld(bus: FakeBus) -> AsyncIterator[Callable[..., Awaitable[Firewalld]]]:
    made: list[Firewalld] = []

    async def new(*bridges: str) -> Firewalld:
        made.append(Firewalld(lambda: bridges, bus.path))
        await made[-1].start()
        return made[-1]

    yield new
    for one in made:
        await one.close()


def test_a_call_is_packed_as_the_specification_says() -> None:
    target = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
    packed = encode_call(1, target, "Hello", ())
    assert packed[:4] == b"l\1\0\1"
    assert len(packed) % 8 == 0
    assert length_of(packed[:16]) == len(packed)
    assert decode(packed).member == "Hello"
    called = decode(encode_call(2, target, "AddMatch", ("type='signal'", "é")))
    assert called.arguments == ["type='signal'", "é"]


@pytest.mark.parametrize(
    "damage", [b"", b"\0" * 16, b"l\4\0\1" + b"\xff" * 12, b"l\4\0\1" + struct.pack("<3I", 4, 1, 40)]
)
def test_damaged_messages_are_refused(damage: bytes) -> None:
    with pytest.raises((ValueError, struct.error)):
        decode(damage + bytes(0 if len(damage) != 16 else length_of(damage)))


async def test_bridges_are_in_the_zone_from_the_start(
    bus: FakeBus, new_firewalld: Callable[..., Awaitable[Firewalld]]
) -> None:
    firewalld = await new_firewalld("br0", "br1")
    assert bus.zones == {"br0": "trusted", "br1": "trusted"}
    await firewalld.admit("br2")
    await firewalld.dismiss("br0")
    assert bus.zones == {"br1": "trusted", "br2": "trusted"}


async def test_they_are_there_again_when_firewalld_starts_or_reloads(
    bus: FakeBus, new_firewalld: Callable[..., Awaitable[Firewalld]]
) -> None:
    bus.runs = False
    await new_firewalld("br0")
    assert bus.zones == {}
    bus.restart()
    await bus.wait(lambda: "br0" in bus.zones)
    bus.zones = {}
    bus.signal(NAME, "Reloaded")
    await bus.wait(lambda: "br0" in bus.zones)


async def test_who_is_in_another_zone_stays_there(
    bus: FakeBus, new_firewalld: Callable[..., Awaitable[Firewalld]], caplog: pytest.LogCaptureFixture
) -> None:
    bus.zones["br0"] = "drop"
    await new_firewalld("br0")
    assert bus.zones == {"br0": "drop"}
    assert "bridge br0 is not in firewalld's zone trusted: ZONE_CONFLICT" in caplog.text


async def test_without_firewalld_nothing_is_asked(
    bus: FakeBus, new_firewalld: Callable[..., Awaitable[Firewalld]], tmp_path: Path
) -> None:
    bus.runs = False
    await (await new_firewalld("br0")).admit("br1")
    assert [call for call in bus.calls if call[0] == "addInterface"] == []
    without = Firewalld(lambda: ["br0"], str(tmp_path / "nothing"))
    await without.start()
    await without.admit("br0")
    await without.close()


async def test_a_bus_that_ends_fails_who_waits(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"OK x\r\n")
        await reader.readexactly(20)
        writer.close()
        await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    lost = asyncio.Event()
    async with await asyncio.start_unix_server(serve, tmp_path / "bus"):
        with pytest.raises(OSError, match="has ended"):
            await Bus.connect(lambda _: None, lost.set, str(tmp_path / "bus"))
        await ended.wait()
    assert lost.is_set()


async def test_a_bus_that_refuses_says_so(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"REJECTED\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    async with await asyncio.start_unix_server(serve, tmp_path / "bus"):
        with pytest.raises(BusError, match="refuses this user"):
            await Bus.connect(lambda _: None, lambda: None, str(tmp_path / "bus"))
        await ended.wait()
