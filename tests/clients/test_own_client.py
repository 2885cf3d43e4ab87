"""Our own typed client, `darse.client`, against a real engine."""

from __future__ import annotations

import asyncio
import io
import tarfile
from collections.abc import Iterator

import pytest
from tests.support.engine import BUSYBOX, Engine

from darse.client import EngineEndpoint
from darse.client.asynchronous import AsyncClient
from darse.client.errors import ApiError
from darse.client.requests import archives, containers, execs, images, networks, system, volumes
from darse.wire.containers import CreateRequest
from darse.wire.execs import ExecConfig
from darse.wire.networks import NetworkCreate
from darse.wire.volumes import VolumeCreate


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine.start()
    yield engine
    engine.close()


@pytest.fixture
def endpoint(engine: Engine) -> EngineEndpoint:
    return EngineEndpoint(f"unix://{engine.socket}")


async def _run(client: AsyncClient, *command: str, terminal: bool = False, stdin: bool = False) -> str:
    created = await client.do(
        containers.create(
            CreateRequest(Image=BUSYBOX, Cmd=list(command), Tty=terminal, OpenStdin=stdin, StdinOnce=stdin)
        )
    )
    return created.Id


async def test_the_life_of_a_container(endpoint: EngineEndpoint) -> None:
    async with AsyncClient(endpoint) as client:
        container = await _run(client, "sh", "-c", "echo out; echo err >&2; exit 3")
        await client.do(containers.start(container))
        assert (await client.do(containers.wait(container))).StatusCode == 3
        assert (await client.do(containers.inspect(container))).State.ExitCode == 3
        printed = {frame async for frame in client.output(containers.logs(container))}
        assert printed == {(1, b"out\n"), (2, b"err\n")}
        assert [one.Id for one in await client.do(containers.list_containers(all=True))] == [container]
        await client.do(containers.remove(container))
        with pytest.raises(ApiError, match="No such container"):
            await client.do(containers.inspect(container))


async def test_streams_of_a_process(endpoint: EngineEndpoint) -> None:
    async with AsyncClient(endpoint) as client:
        container = await _run(client, "sh", "-c", "cat; echo over >&2", stdin=True)
        async with client.attach(containers.attach(container, stdin=True)) as streams:
            await client.do(containers.start(container))
            await streams.write(b"through\n")
            streams.end_input()
            found = [frame async for frame in streams.output()]
        assert found == [(1, b"through\n"), (2, b"over\n")]
        await client.do(containers.wait(container))
        await client.do(containers.remove(container))


async def test_an_exec_and_an_archive(endpoint: EngineEndpoint) -> None:
    async with AsyncClient(endpoint) as client:
        container = await _run(client, "sleep", "1000")
        await client.do(containers.start(container))
        config = ExecConfig(Cmd=["sh", "-c", "echo made > /made; exit 5"], AttachStdout=True)
        exec_id = (await client.do(execs.create(container, config)))["Id"]
        async with client.attach(execs.start(exec_id)) as streams:
            assert [frame async for frame in streams.output()] == []
        assert (await client.do(execs.inspect(exec_id))).ExitCode == 5
        content = b"".join([piece async for piece in client.read(archives.archive(container, "/made"))])
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            member = archive.extractfile("made")
            assert member is not None
            assert member.read() == b"made\n"
        changed = await client.do(archives.changes(container))
        assert changed is not None
        assert [(one.Path, one.Kind) for one in changed] == [("/made", 1)]
        sample = await anext(aiter(client.follow(containers.stats(container, one_shot=True))))
        assert sample.pids_stats.current == 1
        await client.do(containers.remove(container, force=True))


async def test_events_are_followed_while_others_are_asked(endpoint: EngineEndpoint) -> None:
    async with AsyncClient(endpoint) as client:
        begun = str((await client.do(system.info())).SystemTime)
        wanted = {"type": ["volume"]}

        async def first() -> tuple[str, str]:
            async for event in client.follow(system.events(since=begun, filters=wanted)):
                return event.Action, event.Actor.ID
            raise AssertionError("the stream of events ended")

        follower = asyncio.create_task(first())
        await client.do(volumes.create(VolumeCreate(Name="seen")))
        assert await asyncio.wait_for(follower, 10) == ("create", "seen")
        assert (await client.do(volumes.list_volumes(filters={"name": ["seen"]}))).Volumes[0].Name == "seen"
        await client.do(volumes.remove("seen"))


async def test_images_and_networks(endpoint: EngineEndpoint) -> None:
    async with AsyncClient(endpoint) as client:
        assert BUSYBOX in (await client.do(images.inspect(BUSYBOX))).RepoTags[0]
        created = await client.do(networks.create(NetworkCreate(Name="ours")))
        assert (await client.do(networks.inspect("ours"))).Id == created.Id
        await client.do(networks.remove("ours"))
