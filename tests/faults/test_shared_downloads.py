"""One download for each layer, however many clients wait; a client that leaves ends what nobody else waits for."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.hostile_registry import Answer, Handler, HostileRegistry
from tests.faults.puller import Puller
from tests.support.engine import Engine
from tests.support.small_images import Made, tar
from tests.support.waiting import wait_until

from darse.distribution import Limits

MADE = Made(tar({"etc/one": os.urandom(900_000)}), tar({"etc/two": os.urandom(1000)}))
FIRST, SECOND = MADE.layers
BLOB = MADE.blobs[FIRST]
# The tests let registries wait.
PATIENT = Limits(connect=5, silence=30, document=30, pause=0.01)


@pytest.fixture
async def puller(tmp_path: Path) -> AsyncIterator[Puller]:
    made = Puller(tmp_path, PATIENT)
    yield made
    await made.close()


class Gate:
    """The first layer comes to its half, and the rest when the gate opens; it knows when a client has gone."""

    def __init__(self, registry: HostileRegistry) -> None:
        self.opened = threading.Event()
        self.gone = threading.Event()
        self._registry = registry
        registry.replace("layer", self._answer)

    def _answer(self, handler: Handler) -> Answer | None:
        path = handler.path.partition("?")[0]
        if not path.endswith(FIRST):
            return self._registry.right("layer", path)
        begin = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        where = {"Content-Range": f"bytes {begin}-{len(BLOB) - 1}/{len(BLOB)}"} if begin else {}
        handler.send(
            Answer(
                206 if begin else 200,
                self._pieces(handler, BLOB[begin:]),
                {"Content-Length": str(len(BLOB) - begin), **where},
            )
        )
        return None

    def _pieces(self, handler: Handler, content: bytes) -> Iterator[bytes]:
        yield content[: len(content) // 2]
        handler.connection.settimeout(0.01)
        while not self.opened.is_set() and not self._registry.stopped.is_set():
            try:
                if not handler.connection.recv(1):
                    self.gone.set()
                    return
            except TimeoutError:
                continue
            except OSError:
                self.gone.set()
                return
        handler.connection.settimeout(None)
        yield content[len(content) // 2 :]


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry(MADE) as started:
        yield started


def asked_for(registry: HostileRegistry, digest: str) -> list[dict[str, str]]:
    return [headers for _, path, headers in registry.requests if path.endswith(digest)]


class Client:
    """Somebody who pulls."""

    def __init__(self, puller: Puller, name: str) -> None:
        self.said: list[Any] = []
        self.task = asyncio.create_task(self._run(puller.messages(name)))

    async def _run(self, messages: Any) -> None:
        try:
            async for message in messages:
                self.said.append(message)
        finally:
            await messages.aclose()

    def has(self, status: str, digest: str = FIRST) -> bool:
        return any(one["status"] == status and one.get("id") == digest[7:19] for one in self.said)

    async def leave(self) -> None:
        self.task.cancel()
        await asyncio.wait({self.task})


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, which other tasks and threads bring about."""
    try:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"{what} did not come") from None


async def test_many_clients_share_a_download(puller: Puller, registry: HostileRegistry) -> None:
    gate = Gate(registry)
    clients = [Client(puller, f"{registry.address}/some/image:{number % 2}") for number in range(8)]
    for client in clients:
        await until(lambda one=client: one.has("Downloading"), "the download")
    gate.opened.set()
    await asyncio.gather(*(client.task for client in clients))
    assert len(asked_for(registry, FIRST)) == 1
    for client in clients:
        assert client.has("Pull complete")
        assert client.said[-1]["status"].startswith("Status: ")


async def test_who_leaves_does_not_end_what_others_wait_for(puller: Puller, registry: HostileRegistry) -> None:
    gate = Gate(registry)
    first = Client(puller, f"{registry.address}/some/image:1")
    await until(lambda: first.has("Downloading"), "the download")
    second = Client(puller, f"{registry.address}/some/image:2")
    await until(lambda: second.has("Downloading"), "the second client")
    await first.leave()
    gate.opened.set()
    await second.task
    assert len(asked_for(registry, FIRST)) == 1
    assert not gate.gone.is_set()
    assert puller.images.get_image(f"{registry.address}/some/image:2").id == MADE.id


async def test_the_last_to_leave_ends_the_download_and_the_next_goes_on(
    puller: Puller, registry: HostileRegistry
) -> None:
    gate = Gate(registry)
    client = Client(puller, f"{registry.address}/some/image:1")
    await until(lambda: client.has("Downloading") and client.has("Download complete", SECOND), "the download")
    await until(lambda: any((one.get("progressDetail") or {}).get("current") for one in client.said), "some of it")
    await client.leave()
    await until(gate.gone.is_set, "the end of the connection")
    assert FIRST in await puller.partials()
    assert list(puller.images.stores.images) == []
    assert puller.images.stores.layers.sizes() == {}
    gate.opened.set()
    await puller.pull(f"{registry.address}/some/image:1")
    ranges = [headers.get("Range") for headers in asked_for(registry, FIRST)]
    assert ranges[0] is None
    assert int(str(ranges[1]).removeprefix("bytes=").removesuffix("-")) > 0
    # What had come whole was not asked for again.
    assert len(asked_for(registry, SECOND)) == 1
    assert await puller.partials() == []


async def test_a_client_that_comes_while_another_leaves(puller: Puller, registry: HostileRegistry) -> None:
    gate = Gate(registry)
    first = Client(puller, f"{registry.address}/some/image:1")
    await until(lambda: first.has("Downloading"), "the download")
    first.task.cancel()
    second = Client(puller, f"{registry.address}/some/image:1")
    gate.opened.set()
    await second.task
    assert puller.images.get_image(f"{registry.address}/some/image:1").id == MADE.id


async def test_the_end_of_the_engine_ends_downloads(puller: Puller, registry: HostileRegistry) -> None:
    Gate(registry)
    client = Client(puller, f"{registry.address}/some/image:1")
    await until(lambda: client.has("Downloading"), "the download")
    async with asyncio.timeout(5):
        await puller.service.close()
        await asyncio.wait({client.task})
    assert client.task.cancelled() or client.task.exception() is not None


async def test_so_many_at_once(tmp_path: Path, registry: HostileRegistry) -> None:
    puller = Puller(tmp_path, PATIENT, max_concurrent_downloads=1)
    gate = Gate(registry)
    client = Client(puller, f"{registry.address}/some/image:1")
    await until(lambda: client.has("Waiting", SECOND), "the second layer")
    assert asked_for(registry, SECOND) == []
    gate.opened.set()
    await client.task
    assert client.has("Pull complete", SECOND)
    await puller.close()


async def test_the_same_layer_twice_in_an_image(tmp_path: Path) -> None:
    layer = tar({"etc/again": b"again"})
    made = Made(layer, layer, layer)
    puller = Puller(tmp_path, PATIENT)
    with HostileRegistry(made) as registry:
        await puller.pull(f"{registry.address}/some/image:1")
        assert len(asked_for(registry, made.layers[0])) == 1
    assert len(puller.images.stores.layers.sizes()) == 3
    await puller.close()


def test_a_client_that_is_interrupted_ends_its_download(engine: Engine, registry: HostileRegistry) -> None:
    """The same through the API: docker's client gets Ctrl-C in the middle of a layer."""
    gate = Gate(registry)
    client = engine.docker.popen("pull", f"{registry.address}/some/image:1")
    wait_until(lambda: asked_for(registry, FIRST), what="the download")
    client.send_signal(signal.SIGINT)
    client.communicate(timeout=30)
    wait_until(gate.gone.is_set, 30, "the end of the connection to the registry")
    assert engine.docker("images", "-q", f"{registry.address}/some/image").ok().out == ""
    gate.opened.set()
    engine.docker("pull", f"{registry.address}/some/image:1").ok()
    engine.docker("rmi", f"{registry.address}/some/image:1").ok()
