"""aiodocker, unmodified: websockets and asynchronous streams."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.engine import BUSYBOX, Engine

aiodocker = pytest.importorskip("aiodocker", reason="aiodocker is not installed")


@pytest_asyncio.fixture
async def client(engine: Engine) -> AsyncIterator[aiodocker.Docker]:
    engine.docker("run", "--rm", BUSYBOX, "true").ok()
    async with aiodocker.Docker(url=engine.host) as made:
        yield made


async def test_run_and_logs(client: aiodocker.Docker) -> None:
    container = await client.containers.run({"Image": BUSYBOX, "Cmd": ["echo", "hi"]})
    assert (await container.wait())["StatusCode"] == 0
    assert await container.log(stdout=True) == ["hi\n"]
    await container.delete()


async def test_exec(client: aiodocker.Docker) -> None:
    container = await client.containers.run({"Image": BUSYBOX, "Cmd": ["sleep", "100"]})
    made = await container.exec(["cat"], stdin=True)
    async with made.start(detach=False) as stream:
        await stream.write_in(b"through an exec\n")
        message = await stream.read_out()
        assert message is not None
        assert message.data == b"through an exec\n"
    await container.delete(force=True)


async def test_websocket_attach(client: aiodocker.Docker) -> None:
    config = {"Image": BUSYBOX, "Cmd": ["cat"], "OpenStdin": True, "Tty": True, "AttachStdin": True}
    container = await client.containers.create(config)
    socket = await container.websocket(stdin=True, stdout=True, stream=True)
    await container.start()
    await socket.send_str("over a websocket\n")
    received = b""
    while b"over a websocket" not in received:
        message = await socket.receive(timeout=10)
        received += message.data if isinstance(message.data, bytes) else str(message.data).encode()
    await socket.close()
    assert (await container.show())["State"]["Running"]
    await container.delete(force=True)
