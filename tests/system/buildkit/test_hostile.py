"""Clients that mean harm: refused, within bounds, while the builds of others go on."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grpclib.exceptions import GRPCError
from grpclib.server import Stream
from tests.support.buildkit import ControlStub, asked, connected
from tests.support.engine import Engine
from tests.system.buildkit.test_contexts import Directory, Taker, local

from darse.buildkit.wire import control_pb2
from darse.buildkit.wire.filesync_grpc import FileSyncBase
from darse.buildkit.wire.health_grpc import HealthStub
from darse.buildkit.wire.health_pb2 import HealthCheckRequest
from darse.buildkit.wire.packet_pb2 import Packet
from darse.buildkit.wire.stat_pb2 import Stat


class Hostile(FileSyncBase):
    """Sends what it is made with, and takes no part in the rest."""

    def __init__(self, packets: Any) -> None:
        self._packets = packets
        self.sent = 0

    async def DiffCopy(self, stream: Stream[Any, Any]) -> None:  # noqa: N802
        for packet in self._packets():
            await stream.send_message(packet)
            self.sent += 1
        await stream.recv_message()

    async def TarStream(self, stream: Stream[Any, Any]) -> None:  # noqa: N802
        raise NotImplementedError


def named(*paths: str) -> Callable[[], list[Packet]]:
    return lambda: [
        *(Packet(type=Packet.PACKET_STAT, stat=Stat(path=path, mode=0o644)) for path in paths),
        Packet(type=Packet.PACKET_STAT),
    ]


def memory_of(engine: Engine) -> int:
    """Its share of memory, in bytes (proc_pid_smaps_rollup)."""
    lines = Path(f"/proc/{engine.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


async def refused(engine: Engine, files: Hostile) -> str:
    path, session = Path(engine.host.removeprefix("unix://")), secrets.token_hex(12)
    async with connected(path, "") as channel, asked(path, session, [files, Taker()], secrets.token_hex(8)):
        request = control_pb2.SolveRequest(Ref=secrets.token_hex(12), Session=session, Definition=local({}))
        with pytest.raises(GRPCError) as raised:
            await ControlStub(channel).Solve(request)
    return str(raised.value.message)


@pytest.mark.parametrize("paths", [["../x"], ["/etc/passwd"], ["a", "a"], ["b", "a"], ["a\0b"], ["none/a"]], ids=repr)
async def test_paths_that_no_tree_has(engine: Engine, paths: list[str]) -> None:
    message = await refused(engine, Hostile(named(*paths)))
    assert "the list of the context is refused" in message or "invalid path" in message
    await Directory(engine, {"a": b"1"}).build()


@pytest.mark.heavy
@pytest.mark.timeout(1800)
async def test_a_list_without_end(engine: Engine, tell: Callable[[str], None]) -> None:
    """Of what would be ten million entries; another client builds meanwhile."""

    def packets() -> Any:
        for number in range(10_000_000):
            yield Packet(type=Packet.PACKET_STAT, stat=Stat(path=f"f{number:08}" + "x" * 240, mode=0o644))

    await Directory(engine, {"a": b"0"}).build()  # loads the door
    before = memory_of(engine)
    hostile = Hostile(packets)
    attack = asyncio.create_task(refused(engine, hostile))
    builds = 0
    while not attack.done():
        await Directory(engine, {"a": b"%d" % builds}).build()
        builds += 1
    assert "more than" in await attack
    more = memory_of(engine) - before
    tell(f"refused after {hostile.sent} entries; {builds} other builds meanwhile; {more >> 20} MB more")
    assert more < 100 << 20


async def test_a_flood_of_calls_and_resets(engine: Engine, tell: Callable[[str], None]) -> None:
    path = Path(engine.host.removeprefix("unix://"))
    await Directory(engine, {"a": b"0"}).build()  # loads the door
    before = memory_of(engine)
    async with connected(path, "") as channel:
        for _ in range(50):
            calls = [asyncio.create_task(HealthStub(channel).Check(HealthCheckRequest())) for _ in range(90)]
            await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        assert (await HealthStub(channel).Check(HealthCheckRequest())).status == 1
    more = memory_of(engine) - before
    tell(f"4500 calls reset: {more >> 20} MB more")
    assert more < 50 << 20
    await Directory(engine, {"a": b"1"}).build()


def frame(kind: int, content: bytes, stream: int) -> bytes:
    return len(content).to_bytes(3, "big") + bytes([kind, 0]) + stream.to_bytes(4, "big") + content


async def test_metadata_of_megabytes(engine: Engine) -> None:
    path = Path(engine.host.removeprefix("unix://"))
    reader, writer = await asyncio.open_unix_connection(path)
    # One literal field (RFC 7541, 6.2.2) of four megabytes, in HEADERS and CONTINUATION.
    block = b"\0\1x\x7f\x81\xff\xff\1" + bytes(4 << 20)
    pieces = [block[start : start + 16384] for start in range(0, len(block), 16384)]
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, b"", 0) + frame(1, pieces[0], 1))
    with contextlib.suppress(ConnectionError):
        for piece in pieces[1:]:
            writer.write(frame(9, piece, 1))
            await writer.drain()
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
    writer.close()
    async with connected(path, "") as channel:
        assert (await HealthStub(channel).Check(HealthCheckRequest())).status == 1
