"""Directories of clients on their sessions: what was sent before is not sent again, and nobody gets at another's."""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpclib.exceptions import GRPCError
from grpclib.server import Stream
from tests.support.buildkit import ControlStub, asked, connected
from tests.support.engine import Engine

from darse.buildkit.wire import control_pb2, ops_pb2
from darse.buildkit.wire.filesync_grpc import FileSendBase, FileSyncBase
from darse.buildkit.wire.packet_pb2 import Packet
from darse.buildkit.wire.stat_pb2 import Stat

DIRECTORY = 1 << 31
LONG_AGO = 1_600_000_000_000_000_000


class Sender(FileSyncBase):
    """A client's directory, which counts what it is asked for."""

    def __init__(self, files: Mapping[str, bytes], times: Mapping[str, int], owner: int) -> None:
        self.files = files
        self.times = times
        self.owner = owner
        self.asked: list[str] = []
        self.sent_bytes = 0

    def entries(self) -> list[Stat]:
        directories = {name.rpartition("/")[0] for name in self.files if "/" in name}
        names = sorted([*directories, *self.files], key=lambda name: name.split("/"))
        return [
            Stat(path=name, mode=DIRECTORY | 0o755, modTime=LONG_AGO)
            if name in directories
            else Stat(
                path=name,
                mode=0o644,
                size=len(self.files[name]),
                modTime=self.times.get(name, LONG_AGO),
                uid=self.owner,
            )
            for name in names
        ]

    async def DiffCopy(self, stream: Stream[Any, Any]) -> None:  # noqa: N802
        entries = self.entries()
        for one in entries:
            await stream.send_message(Packet(type=Packet.PACKET_STAT, stat=one))
        await stream.send_message(Packet(type=Packet.PACKET_STAT))
        while (packet := await stream.recv_message()) is not None:
            if packet.type == Packet.PACKET_FIN:
                await stream.send_message(packet)
                return
            path = entries[packet.ID].path
            self.asked.append(path)
            self.sent_bytes += len(self.files[path])
            await stream.send_message(Packet(type=Packet.PACKET_DATA, ID=packet.ID, data=self.files[path]))
            await stream.send_message(Packet(type=Packet.PACKET_DATA, ID=packet.ID))

    async def TarStream(self, stream: Stream[Any, Any]) -> None:  # noqa: N802
        raise NotImplementedError


class Taker(FileSendBase):
    """Takes an archive."""

    def __init__(self) -> None:
        self.data = bytearray()

    async def DiffCopy(self, stream: Stream[Any, Any]) -> None:  # noqa: N802
        async for message in stream:
            self.data += message.data


def local(attributes: Mapping[str, str]) -> ops_pb2.Definition:
    source = ops_pb2.Op(source=ops_pb2.SourceOp(identifier="local://context", attrs=attributes)).SerializeToString()
    made = ops_pb2.Definition()
    result = ops_pb2.Op(inputs=[ops_pb2.Input(digest=f"sha256:{hashlib.sha256(source).hexdigest()}")])
    getattr(made, "def").extend([source, result.SerializeToString()])
    return made


class Directory:
    """A client's directory from one build to the next."""

    def __init__(self, engine: Engine, files: Mapping[str, bytes], key: str | None = None) -> None:
        self.path = Path(engine.host.removeprefix("unix://"))
        self.files = dict(files)
        self.times: dict[str, int] = {}
        self.owner = 0
        self.key = secrets.token_hex(8) if key is None else key

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[tuple[Any, str, Sender, Taker]]:
        sender, taker, session = Sender(self.files, self.times, self.owner), Taker(), secrets.token_hex(12)
        async with connected(self.path, "") as channel, asked(self.path, session, [sender, taker], self.key):
            yield ControlStub(channel), session, sender, taker

    async def build(self, **attributes: str) -> Sender:
        """Send it; what comes of it is what it has. Return the client that has counted."""
        async with self._client() as (control, session, sender, taker):
            request = control_pb2.SolveRequest(
                Ref=secrets.token_hex(12),
                Session=session,
                Definition=local(attributes),
                Exporters=[control_pb2.Exporter(Type="tar")],
            )
            await control.Solve(request)
        with tarfile.open(fileobj=io.BytesIO(bytes(taker.data))) as opened:
            found = {one.name: opened.extractfile(one).read() for one in opened if one.isreg()}  # type: ignore[union-attr]
        assert found == self.files
        return sender


@pytest.mark.parametrize("count", [500, pytest.param(20_000, marks=pytest.mark.heavy)])
async def test_one_changed_file_moves_one_file(engine: Engine, count: int, tell: Callable[[str], None]) -> None:
    files = {f"d{number // 100:03}/f{number:05}": b"%d" % number * 20 for number in range(count)}
    context = Directory(engine, files)
    assert sorted((await context.build()).asked) == sorted(files)
    begun = time.monotonic()
    assert (await context.build()).asked == []
    unchanged = time.monotonic() - begun
    context.files["d001/f00150"] = b"another"
    begun = time.monotonic()
    again = await context.build()
    assert (again.asked, again.sent_bytes) == (["d001/f00150"], 7)
    tell(f"{count} files: unchanged {unchanged:.2f} s, one changed {time.monotonic() - begun:.2f} s, 7 bytes sent")


async def test_what_is_removed_is_gone_and_a_touched_file_is_asked_for(engine: Engine) -> None:
    context = Directory(engine, {"a": b"1", "b/c": b"2", "b/d": b"3"})
    await context.build()
    del context.files["b/c"]
    context.times["a"] = LONG_AGO + 1
    assert (await context.build()).asked == ["a"]


async def test_a_file_as_new_as_its_transfer_is_asked_for_again(engine: Engine) -> None:
    """It may have changed since, with the same time."""
    context = Directory(engine, {"a": b"1", "b": b"2"})
    context.times["a"] = time.time_ns() + 5_000_000
    await context.build()
    assert (await context.build()).asked in (["a"], [])  # none where the first build took longer than that
    context.times["b"] = time.time_ns() + 60_000_000_000
    await context.build()
    assert (await context.build()).asked == []  # a clock that is wrong is not new


async def test_other_patterns_begin_with_what_the_others_have(engine: Engine) -> None:
    """A Dockerfile that copies something else lets the client leave out something else."""
    context = Directory(engine, {"a": b"1", "b": b"2"})
    await context.build(**{"local.followpaths": json.dumps(["a", "b"])})
    context.files["c"] = b"3"
    assert (await context.build(**{"local.followpaths": json.dumps(["a", "b", "c"])})).asked == ["c"]
    # That of the first patterns is as it was.
    del context.files["c"]
    assert (await context.build(**{"local.followpaths": json.dumps(["a", "b"])})).asked == []


async def test_a_list_is_believed_of_its_own_key_only(engine: Engine) -> None:
    files = {"secret": b"confidential"}
    await Directory(engine, files).build()
    assert (await Directory(engine, files).build()).asked == ["secret"]


@pytest.mark.parametrize("fields", [{"key": ""}, {"owner": 7}, {"differ": "none"}], ids=str)
async def test_what_cannot_be_sent_in_part_is_sent_whole(engine: Engine, fields: dict[str, Any]) -> None:
    context = Directory(engine, {"a": b"1"}, fields.get("key"))
    context.owner = fields.get("owner", 0)
    attributes = {"local.differ": fields["differ"]} if "differ" in fields else {}
    for _ in range(2):
        assert "a" in (await context.build(**attributes)).asked


async def test_a_large_directory_without_a_key_is_sent_again_where_anything_has_changed(engine: Engine) -> None:
    """Its client does not say which directory it is: what is believed is the whole list, and some files are shown."""
    context = Directory(engine, {f"d/f{number:03}": b"%d" % number for number in range(600)}, key="")
    context.times = {name: LONG_AGO + 1 + number for number, name in enumerate(context.files)}
    everything = sorted(context.files)
    assert sorted((await context.build()).asked) == everything
    assert len((await context.build()).asked) == 16
    context.times["d/f007"] += 1
    context.files["d/f007"] = b"8"
    assert sorted((await context.build()).asked) == everything
    assert len((await context.build()).asked) == 16


async def test_a_time_of_whole_seconds_may_have_been_set(engine: Engine) -> None:
    context = Directory(engine, {f"f{number:03}": b"%d" % number for number in range(600)}, key="")
    context.times = {name: LONG_AGO + 1 + number for number, name in enumerate(context.files)}
    context.times["f300"] = LONG_AGO
    await context.build()
    assert "f300" in (await context.build()).asked
    context.files["f300"] = b"new"
    assert set((await context.build()).asked) == set(context.files)  # in a second transfer
    assert "f300" in (await context.build()).asked
    context.times = {}
    for content in (b"1", b"2"):
        context.files["f100"] = content * 3
        assert sorted((await context.build()).asked) == sorted(context.files)


async def test_a_directory_that_comes_whole_is_unpacked_once(engine: Engine) -> None:
    def trees() -> set[str]:
        return {path.name for path in (engine.data_root / "build" / "trees").glob("archive.*")}

    before, context = trees(), Directory(engine, {"a": b"1", "b/c": secrets.token_bytes(20)}, key="")
    await context.build()
    made = trees() - before
    assert len(made) == 1
    await context.build()
    assert trees() - before == made
    context.files["a"] = b"2"
    await context.build()
    assert len(trees() - before) == 2


async def test_a_client_that_offers_no_directories_is_not_asked(engine: Engine) -> None:
    path, session = Path(engine.host.removeprefix("unix://")), secrets.token_hex(12)
    async with connected(path, "") as channel, asked(path, session, [Taker()]):
        request = control_pb2.SolveRequest(Ref=secrets.token_hex(12), Session=session, Definition=local({}))
        with pytest.raises(GRPCError, match="FileSync/DiffCopy in its session: it is needed for the local context"):
            await ControlStub(channel).Solve(request)
