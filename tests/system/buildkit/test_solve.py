"""Graphs of clients, solved on the socket itself: what no Dockerfile gives, and what is no graph."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import secrets
import tarfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream
from tests.support.buildkit import ControlStub, asked, connected
from tests.support.engine import Engine

from darse.buildkit.transport import TransportChannel
from darse.buildkit.wire import control_pb2, gateway_pb2, ops_pb2, policy_pb2
from darse.buildkit.wire.filesync_grpc import FileSendBase
from darse.buildkit.wire.gateway_grpc import LLBBridgeStub

BASE = "docker-image://docker.io/builtin/busybox:latest"


class Graph:
    """A definition that grows."""

    def __init__(self) -> None:
        self.message = ops_pb2.Definition()

    def add(self, operation: ops_pb2.Op, inputs: Sequence[tuple[str, int]] = ()) -> str:
        for digest, index in inputs:
            operation.inputs.add(digest=digest, index=index)
        content = operation.SerializeToString()
        getattr(self.message, "def").append(content)
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def file(self, path: str, data: bytes = b"", *, below: str = "", mode: int = 0o644) -> str:
        made = ops_pb2.FileActionMkFile(path=path, data=data, mode=mode, timestamp=-1)
        action = ops_pb2.FileAction(input=0 if below else -1, secondaryInput=-1, output=0, mkfile=made)
        return self.add(ops_pb2.Op(file=ops_pb2.FileOp(actions=[action])), [(below, 0)] if below else ())

    def directory(self, path: str) -> str:
        made = ops_pb2.FileActionMkDir(path=path, mode=0o755, makeParents=True, timestamp=-1)
        action = ops_pb2.FileAction(input=-1, secondaryInput=-1, output=0, mkdir=made)
        return self.add(ops_pb2.Op(file=ops_pb2.FileOp(actions=[action])))

    def merge(self, *inputs: str) -> str:
        merged = ops_pb2.MergeOp(inputs=[ops_pb2.MergeInput(input=number) for number in range(len(inputs))])
        return self.add(ops_pb2.Op(merge=merged), [(one, 0) for one in inputs])

    def diff(self, lower: str, upper: str) -> str:
        both = ops_pb2.DiffOp(lower=ops_pb2.LowerDiffInput(input=0), upper=ops_pb2.UpperDiffInput(input=1))
        return self.add(ops_pb2.Op(diff=both), [(lower, 0), (upper, 0)])

    def image(self) -> str:
        return self.add(ops_pb2.Op(source=ops_pb2.SourceOp(identifier=BASE)))

    def result(self, digest: str, index: int = 0) -> ops_pb2.Definition:
        self.add(ops_pb2.Op(), [(digest, index)])
        return self.message


class Taker(FileSendBase):
    """Takes an archive."""

    def __init__(self) -> None:
        self.data = b""

    async def DiffCopy(self, stream: Stream[Any, Any]) -> None:  # noqa: N802
        async for message in stream:
            self.data += message.data

    def files(self) -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(self.data)) as opened:
            return {one.name: opened.extractfile(one).read() for one in opened if one.isreg()}  # type: ignore[union-attr]


class Client:
    """A connection and a session."""

    def __init__(self, channel: TransportChannel, session: str, taker: Taker) -> None:
        self.channel = channel
        self.session = session
        self.taker = taker

    def request(self, **fields: Any) -> control_pb2.SolveRequest:
        return control_pb2.SolveRequest(Ref=secrets.token_hex(12), Session=self.session, **fields)

    async def files(self, graph: ops_pb2.Definition) -> dict[str, bytes]:
        request = self.request(Definition=graph, Exporters=[control_pb2.Exporter(Type="tar")])
        await ControlStub(self.channel).Solve(request)
        return self.taker.files()


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[Client]:
    path, session, taker = Path(engine.host.removeprefix("unix://")), secrets.token_hex(12), Taker()
    async with connected(path, "") as channel, asked(path, session, [taker]):
        yield Client(channel, session, taker)


async def test_trees_are_merged_and_subtracted(client: Client) -> None:
    graph = Graph()
    one, two = graph.file("/one", b"1"), graph.file("/two", b"2")
    assert await client.files(graph.result(graph.merge(one, two))) == {"one": b"1", "two": b"2"}
    client.taker.data = b""
    graph = Graph()
    one, two = graph.file("/one", b"1"), graph.file("/two", b"2")
    assert await client.files(graph.result(graph.diff(one, graph.merge(one, two)))) == {"two": b"2"}


async def test_a_policy_for_sources_is_not_passed_over(client: Client) -> None:
    graph = Graph()
    definition = graph.result(graph.file("/one", b"1"))
    policy = policy_pb2.Policy(version=1, rules=[policy_pb2.Rule(action=policy_pb2.DENY)])
    with pytest.raises(GRPCError) as caught:
        await ControlStub(client.channel).Solve(client.request(Definition=definition, SourcePolicy=policy))
    assert caught.value.status is Status.UNIMPLEMENTED
    assert "source policy" in str(caught.value.message)


async def test_a_process_has_a_part_of_a_tree_mounted(client: Client) -> None:
    graph = Graph()
    tree = graph.file("/sub/x", b"content", below=graph.directory("/sub"))
    meta = ops_pb2.Meta(args=["/bin/sh", "-c", "cat /m/x > /out/y; ! touch /m/z"], cwd="/")
    mounts = [
        ops_pb2.Mount(input=0, dest="/", output=-1),
        ops_pb2.Mount(input=1, selector="/sub", dest="/m", output=-1, readonly=True),
        ops_pb2.Mount(input=-1, dest="/out", output=0),
    ]
    run = graph.add(ops_pb2.Op(exec=ops_pb2.ExecOp(meta=meta, mounts=mounts)), [(graph.image(), 0), (tree, 0)])
    assert await client.files(graph.result(run)) == {"y": b"content"}


async def test_the_progress_names_what_is_done(client: Client) -> None:
    graph = Graph()
    request = client.request(Definition=graph.result(graph.file(f"/{secrets.token_hex(4)}")))
    solving = asyncio.create_task(ControlStub(client.channel).Solve(request))
    names = {}
    async with ControlStub(client.channel).Status.open() as stream:
        await stream.send_message(control_pb2.StatusRequest(Ref=request.Ref))
        async for message in stream:
            names |= {one.name: one.HasField("completed") for one in message.vertexes}
    await solving
    assert names == {"mkfile": True}


@pytest.mark.parametrize(
    "content",
    [b"\xff" * 100, ops_pb2.Op(inputs=[ops_pb2.Input(digest="sha256:none")]).SerializeToString()],
    ids=["garbage", "missing input"],
)
async def test_what_is_no_graph_is_refused(client: Client, content: bytes) -> None:
    definition = ops_pb2.Definition()
    getattr(definition, "def").append(content)
    with pytest.raises(GRPCError):
        await ControlStub(client.channel).Solve(client.request(Definition=definition))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"Frontend": "other.v0"}, "frontend other.v0 not found"),
        ({"Frontend": "dockerfile.v0", "FrontendAttrs": {"attest:sbom": "WORD=up"}}, "name a generator"),
        ({"Exporters": [control_pb2.Exporter(Type="moby", Attrs={"name": "UPPER"})]}, "invalid tag"),
        ({"Cache": {"Exports": [{"Type": "gha"}]}}, "unsupported cache type 'gha'"),
    ],
    ids=["front end", "sbom", "name", "cache"],
)
async def test_what_is_not_supported_is_named(client: Client, fields: dict[str, Any], text: str) -> None:
    with pytest.raises(GRPCError, match=text) as raised:
        await ControlStub(client.channel).Solve(client.request(**fields))
    assert text in str(raised.value.message)


async def test_a_front_end_in_the_client_looks_at_files_and_returns(client: Client) -> None:
    """As buildx and other clients of the gateway do it, with a graph of their own."""
    graph, request = Graph(), client.request(Exporters=[control_pb2.Exporter(Type="tar")])
    definition = graph.result(graph.file("/deep/file", b"0123456789", below=graph.directory("/deep")))
    bridge, metadata = LLBBridgeStub(client.channel), {"buildkit-controlapi-buildid": request.Ref}
    solving = asyncio.create_task(ControlStub(client.channel).Solve(request))
    pong = await bridge.Ping(gateway_pb2.PingRequest(), metadata=metadata)
    assert "readfile" in {one.ID for one in pong.FrontendAPICaps}
    made = await bridge.Solve(gateway_pb2.SolveRequest(Definition=definition), metadata=metadata)
    name = made.result.ref.id
    part = gateway_pb2.ReadFileRequest(Ref=name, FilePath="/deep/file", Range=gateway_pb2.FileRange(Offset=2, Length=3))
    assert (await bridge.ReadFile(part, metadata=metadata)).Data == b"234"
    (entry,) = (await bridge.ReadDir(gateway_pb2.ReadDirRequest(Ref=name, DirPath="/deep"), metadata=metadata)).entries
    assert (entry.path, entry.size) == ("file", 10)
    found = await bridge.StatFile(gateway_pb2.StatFileRequest(Ref=name, Path="/deep"), metadata=metadata)
    assert found.stat.mode & (1 << 31)
    with pytest.raises(GRPCError, match="no such ref"):
        await bridge.Evaluate(gateway_pb2.EvaluateRequest(Ref="none"), metadata=metadata)
    image = gateway_pb2.ResolveImageConfigRequest(Ref="builtin/busybox")
    assert b"config" in (await bridge.ResolveImageConfig(image, metadata=metadata)).Config
    result = gateway_pb2.Result(ref=gateway_pb2.Ref(id=name))
    await bridge.Return(gateway_pb2.ReturnRequest(result=result), metadata=metadata)
    await solving
    assert client.taker.files() == {"deep/file": b"0123456789"}


async def test_a_build_that_has_ended_answers_nothing(client: Client) -> None:
    request = client.request(Frontend="other.v0")
    metadata = {"buildkit-controlapi-buildid": request.Ref}
    with pytest.raises(GRPCError):
        await ControlStub(client.channel).Solve(request)
    with pytest.raises(GRPCError, match="has ended"):
        await LLBBridgeStub(client.channel).Ping(gateway_pb2.PingRequest(), metadata=metadata)


async def test_a_build_ends_with_its_call(client: Client) -> None:
    """Whatever it waits for: here for what its client's front end returns."""
    for _ in range(20):
        solving = asyncio.create_task(ControlStub(client.channel).Solve(client.request()))
        await asyncio.sleep(0)
        solving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await solving
    found = await ControlStub(client.channel).DiskUsage(control_pb2.DiskUsageRequest())
    assert not [one for one in found.record if one.InUse]
