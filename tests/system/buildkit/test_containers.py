"""Containers in which a client runs processes on results of its build: NewContainer and ExecProcess."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from grpclib.client import Stream
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from tests.support.buildkit import ControlStub, asked, connected
from tests.support.engine import Engine
from tests.support.leaks import find_orphans
from tests.support.waiting import wait_until
from tests.system.buildkit.test_solve import Graph

from darse.buildkit.transport import TransportChannel
from darse.buildkit.wire import control_pb2, gateway_pb2, ops_pb2
from darse.buildkit.wire.gateway_grpc import LLBBridgeStub

Message = gateway_pb2.ExecMessage


class Heard:
    """What was heard of one process."""

    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.ended: set[int] = set()
        self.code = -1
        self.error = ""
        self.kinds: list[str] = []


class Processes:
    """A call of ExecProcess."""

    def __init__(self, stream: Stream[Any, Any], container: str) -> None:
        self.stream = stream
        self.container = container
        self.heard: dict[str, Heard] = {}

    async def start(self, name: str, *command: str, fds: Sequence[int] = (0, 1, 2), **fields: Any) -> None:
        meta = ops_pb2.Meta(args=command, env=fields.pop("env", ()), user=fields.pop("user", ""), cwd="/")
        init = gateway_pb2.InitMessage(ContainerID=self.container, Meta=meta, Fds=fds, **fields)
        await self.stream.send_message(Message(ProcessID=name, Init=init))

    async def input(self, name: str, data: bytes = b"", *, end: bool = False) -> None:
        await self.stream.send_message(Message(ProcessID=name, File=gateway_pb2.FdMessage(Fd=0, Data=data, EOF=end)))

    async def signal(self, name: str, signal: str) -> None:
        await self.stream.send_message(Message(ProcessID=name, Signal=gateway_pb2.SignalMessage(Name=signal)))

    async def resize(self, name: str, rows: int, columns: int) -> None:
        size = gateway_pb2.ResizeMessage(Rows=rows, Cols=columns)
        await self.stream.send_message(Message(ProcessID=name, Resize=size))

    async def read(self) -> str:
        """Take one message; return whose it is."""
        message = await self.stream.recv_message()
        assert message is not None
        heard = self.heard.setdefault(message.ProcessID, Heard())
        kind = message.WhichOneof("Input")
        heard.kinds.append(kind)
        if kind == "File":
            file = message.File
            if file.EOF:
                heard.ended.add(file.Fd)
            elif file.Fd == 1:
                heard.out += file.Data
            else:
                heard.err += file.Data
        elif kind == "Exit":
            heard.code, heard.error = message.Exit.Code, message.Exit.Error.message
        return str(message.ProcessID)

    async def until(self, name: str, text: bytes) -> None:
        while name not in self.heard or text not in self.heard[name].out:
            await self.read()

    async def done(self, name: str) -> Heard:
        while name not in self.heard or "Done" not in self.heard[name].kinds:
            await self.read()
        found = self.heard[name]
        assert found.kinds[0] == "Started"
        assert found.kinds[-2:] == ["Exit", "Done"]
        return found


class Build:
    """A build of a front end in the client, while it goes on."""

    def __init__(self, channel: TransportChannel, name: str) -> None:
        self.bridge = LLBBridgeStub(channel)
        self.metadata = {"buildkit-controlapi-buildid": name}

    async def reference(self, graph: ops_pb2.Definition) -> str:
        found = await self.bridge.Solve(gateway_pb2.SolveRequest(Definition=graph), metadata=self.metadata)
        return str(found.result.ref.id)

    async def container(self, *mounts: ops_pb2.Mount, **fields: Any) -> str:
        name = secrets.token_hex(8)
        request = gateway_pb2.NewContainerRequest(ContainerID=name, Mounts=mounts, **fields)
        await self.bridge.NewContainer(request, metadata=self.metadata)
        return name

    async def release(self, name: str) -> None:
        await self.bridge.ReleaseContainer(
            gateway_pb2.ReleaseContainerRequest(ContainerID=name), metadata=self.metadata
        )

    @contextlib.asynccontextmanager
    async def processes(self, container: str) -> AsyncIterator[Processes]:
        async with asyncio.timeout(120), self.bridge.ExecProcess.open(metadata=self.metadata) as stream:
            yield Processes(stream, container)
            await stream.cancel()


@contextlib.asynccontextmanager
async def building(engine: Engine, *entitlements: str) -> AsyncIterator[Build]:
    path, session, name = Path(engine.host.removeprefix("unix://")), secrets.token_hex(12), secrets.token_hex(12)
    async with connected(path, "") as channel, asked(path, session, []):
        request = control_pb2.SolveRequest(Ref=name, Session=session, Entitlements=entitlements)
        solving = asyncio.ensure_future(ControlStub(channel).Solve(request))
        build = Build(channel, name)
        try:
            yield build
            result = gateway_pb2.ReturnRequest(result=gateway_pb2.Result(ref=gateway_pb2.Ref(id="")))
            await build.bridge.Return(result, metadata=build.metadata)
            await solving
        finally:
            solving.cancel()
            await asyncio.gather(solving, return_exceptions=True)


def root(reference: str, *, readonly: bool = False) -> ops_pb2.Mount:
    return ops_pb2.Mount(dest="/", resultID=reference, readonly=readonly)


def solve_of(failed: GRPCError) -> dict[str, Any]:
    """What debuggers are told of a step that failed."""
    (found,) = (one for one in failed.details if one.type_url.endswith("errdefs.Solve+json"))
    parsed: dict[str, Any] = json.loads(found.value)
    return parsed


def with_file() -> ops_pb2.Definition:
    graph = Graph()
    return graph.result(graph.file("/file", b"of the build\n", below=graph.image()))


@pytest.fixture
async def build(engine: Engine) -> AsyncIterator[Build]:
    async with building(engine) as made:
        yield made
    # What is thrown away is removed a little later.
    wait_until(lambda: not find_orphans(engine), what="nothing left of the build")


async def test_a_process_has_input_output_and_a_status(build: Build) -> None:
    container = await build.container(root(await build.reference(with_file())))
    async with build.processes(container) as processes:
        script = 'cat /file; read line; echo "got $line $WHO" >&2; cat >/made; exit 7'
        await processes.start("one", "sh", "-c", script, env=["WHO=me", "PATH=/bin"])
        await processes.input("one", b"a line\nthe rest")
        await processes.input("one", end=True)
        heard = await processes.done("one")
        assert (heard.out, heard.err, heard.ended) == (b"of the build\n", b"got a line me\n", {1, 2})
        assert (heard.code, heard.error) == (7, "exit code: 7")
    read = gateway_pb2.ReadFileRequest(Ref=container, FilePath="/made")
    assert (await build.bridge.ReadFileContainer(read, metadata=build.metadata)).Data == b"the rest"
    read = gateway_pb2.ReadFileRequest(Ref=container, FilePath="/none")
    with pytest.raises(GRPCError) as refused:
        await build.bridge.ReadFileContainer(read, metadata=build.metadata)
    assert "no such file" in str(refused.value.message)


async def test_what_processes_write_is_not_the_results(build: Build) -> None:
    reference = await build.reference(with_file())
    container = await build.container(root(reference))
    async with build.processes(container) as processes:
        await processes.start("one", "/bin/sh", "-c", "echo changed >/file; rm /bin/cat")
        assert (await processes.done("one")).code == 0
    await build.release(container)
    read = gateway_pb2.ReadFileRequest(Ref=reference, FilePath="/file")
    assert (await build.bridge.ReadFile(read, metadata=build.metadata)).Data == b"of the build\n"


async def test_processes_beside_the_first_share_its_container_and_end_with_it(build: Build) -> None:
    container = await build.container(root(await build.reference(with_file())), hostname="inside")
    async with build.processes(container) as processes:
        await processes.start("first", "/bin/sh", "-c", "echo up >/tmp/mark; echo ready; read line; echo bye")
        await processes.until("first", b"ready\n")
        await processes.start("second", "/bin/sh", "-c", "cat /tmp/mark; hostname; id -u; exit 3", user="1000")
        second = await processes.done("second")
        assert (second.out, second.code) == (b"up\ninside\n1000\n", 3)
        stat = gateway_pb2.StatFileRequest(Ref=container, Path="/tmp/mark")
        assert (await build.bridge.StatFileContainer(stat, metadata=build.metadata)).stat.size == 3
        await processes.start("third", "/bin/sh", "-c", "echo begun; sleep 1000")
        await processes.until("third", b"begun\n")
        await processes.input("first", b"\n")
        assert (await processes.done("first")).out.endswith(b"bye\n")
        assert (await processes.done("third")).code == 137


async def test_a_terminal_is_resized(build: Build) -> None:
    container = await build.container(root(await build.reference(with_file())))
    async with build.processes(container) as processes:
        await processes.start("one", "/bin/sh", fds=(0, 1), Tty=True)
        await processes.resize("one", 33, 77)
        await processes.input("one", b"stty size; tty; echo $((6 * 7))\n")
        await processes.until("one", b"42\r\n")
        assert b"33 77\r\n" in processes.heard["one"].out
        await processes.resize("one", 44, 88)
        await processes.input("one", b"stty size; exit 5\n")
        heard = await processes.done("one")
        assert b"44 88\r\n" in heard.out
        assert heard.code == 5
        await processes.start("more", "/bin/true")
        more = await processes.done("more")
        assert (more.code, more.error) == (255, "the container has ended")


async def test_signals_reach_each_process(build: Build) -> None:
    container = await build.container(root(await build.reference(with_file())))
    async with build.processes(container) as processes:
        script = "trap 'echo caught; exit 9' USR1; echo ready; while :; do sleep 0.05; done"
        await processes.start("first", "/bin/sh", "-c", script)
        await processes.until("first", b"ready\n")
        await processes.start("second", "/bin/sh", "-c", script)
        await processes.until("second", b"ready\n")
        await processes.signal("second", "SIGUSR1")
        assert (await processes.done("second")).code == 9
        await processes.signal("first", "SIGUSR1")
        assert (await processes.done("first")).code == 9


async def test_a_command_that_is_not_there_is_the_processs_error(build: Build) -> None:
    container = await build.container(root(await build.reference(with_file())))
    async with build.processes(container) as processes:
        await processes.start("one", "/no/such")
        heard = await processes.done("one")
        assert heard.code == 255
        assert "/no/such" in heard.error


async def test_input_of_a_process_that_does_not_start_holds_up_no_other(build: Build) -> None:
    container = await build.container(root(await build.reference(with_file())))
    async with build.processes(container) as processes:
        await processes.start("one", "/bin/sleep", "1000")
        await processes.start("none", "/no/such")
        for _ in range(100):
            await processes.input("none", bytes(100_000))
        await processes.start("other", "/bin/true")
        assert (await processes.done("other")).code == 0


async def test_output_that_nobody_reads_lets_the_process_wait(build: Build) -> None:
    container = await build.container(root(await build.reference(with_file())))
    async with build.processes(container) as processes:
        await processes.start("one", "/bin/sh", "-c", "head -c 3000000 /dev/zero; echo end >&2")
        heard = await processes.done("one")
        assert (len(heard.out), heard.err) == (3_000_000, b"end\n")


async def test_processes_end_with_their_call_and_their_container(build: Build) -> None:
    reference = await build.reference(with_file())
    container = await build.container(root(reference))
    async with build.processes(container) as processes:
        await processes.start("one", "/bin/sh", "-c", "echo ready; sleep 1000")
        await processes.until("one", b"ready\n")
    container = await build.container(root(reference))
    async with build.processes(container) as processes:
        await processes.start("one", "/bin/sh", "-c", "echo ready; sleep 1000")
        await processes.until("one", b"ready\n")
        await build.release(container)
        heard = await processes.done("one")
        assert (heard.code, heard.error) == (255, "the container is released")


async def test_mounts_are_results_caches_and_memory(build: Build) -> None:
    graph = Graph()
    other = await build.reference(graph.result(graph.file("/in", b"other")))
    mounts = [
        root(await build.reference(with_file()), readonly=True),
        ops_pb2.Mount(dest="/other", resultID=other, readonly=True),
        ops_pb2.Mount(dest="/scratch"),
        ops_pb2.Mount(dest="/memory", mountType=ops_pb2.TMPFS),
        ops_pb2.Mount(dest="/cache", mountType=ops_pb2.CACHE, cacheOpt=ops_pb2.CacheOpt(ID="of-containers")),
    ]
    script = (
        "cat /other/in; echo 1 >/scratch/a && echo 2 >/memory/a && echo 3 >>/cache/a; cat /cache/a; "
        "echo x 2>/dev/null >/file || echo kept"
    )
    said = []
    for _ in range(2):
        container = await build.container(*mounts)
        async with build.processes(container) as processes:
            await processes.start("one", "/bin/sh", "-c", script)
            said.append((await processes.done("one")).out)
        listed = gateway_pb2.ReadDirRequest(Ref=container, DirPath="/", MountIndex=2)
        assert [one.path for one in (await build.bridge.ReadDirContainer(listed, metadata=build.metadata)).entries] == [
            "a"
        ]
        await build.release(container)
    assert said == [b"other3\nkept\n", b"other3\n3\nkept\n"]


async def test_what_the_client_has_not_allowed_is_refused(engine: Engine) -> None:
    async with building(engine) as build:
        reference = await build.reference(with_file())
        with pytest.raises(GRPCError) as refused:
            await build.container(root(reference), Network=ops_pb2.HOST)
        assert "network.host" in str(refused.value.message)
        with pytest.raises(GRPCError) as refused:
            await build.container(ops_pb2.Mount(dest="/other", resultID=reference))
        assert refused.value.status is Status.INVALID_ARGUMENT
        async with build.processes(await build.container(root(reference))) as processes:
            await processes.start("one", "/bin/true", Security=ops_pb2.INSECURE)
            assert "security.insecure" in (await processes.done("one")).error
    async with building(engine, "network.host") as build:
        container = await build.container(root(await build.reference(with_file())), Network=ops_pb2.HOST)
        async with build.processes(container) as processes:
            await processes.start("one", "/bin/true")
            assert (await processes.done("one")).code == 0


async def without_process(build: Build, container: str, name: str) -> None:
    async with build.processes(container) as processes:
        await processes.input(name, b"x")
        await processes.read()


async def test_messages_of_no_process_end_the_call(build: Build) -> None:
    container = await build.container(root(await build.reference(with_file())))
    for name, status in (("", Status.INVALID_ARGUMENT), ("none", Status.NOT_FOUND)):
        with pytest.raises(GRPCError) as refused:
            await without_process(build, container, name)
        assert refused.value.status is status


async def test_a_step_that_fails_can_be_looked_into(build: Build) -> None:
    """Its error names the trees as the process has left them, and as it has found them."""
    graph = Graph()
    process = ops_pb2.ExecOp(
        meta=ops_pb2.Meta(args=["/bin/sh", "-c", "echo left >/left; exit 4"], cwd="/"),
        mounts=[ops_pb2.Mount(dest="/", input=0, output=0)],
    )
    definition = graph.result(graph.add(ops_pb2.Op(**{"exec": process}), [(graph.image(), 0)]))
    request = gateway_pb2.SolveRequest(Definition=definition, Evaluate=True)
    with pytest.raises(GRPCError) as failed:
        await build.bridge.Solve(request, metadata=build.metadata)
    solve = solve_of(failed.value)
    assert solve["op"]["exec"]["meta"]["args"][2].startswith("echo left")
    for tree, command, said in (
        (solve["mountIDs"][0], "cat /left", b"left\n"),
        (solve["inputIDs"][0], "ls /left", b""),
    ):
        async with build.processes(await build.container(root(tree))) as processes:
            await processes.start("one", "/bin/sh", "-c", f"{command} 2>/dev/null")
            assert (await processes.done("one")).out == said
