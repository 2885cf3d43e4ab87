"""The asyncio client against an engine of canned answers."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from darse.client import EngineEndpoint
from darse.client.asynchronous import AsyncClient
from darse.client.errors import ApiError, ClientError, ConnectionFailed, ConnectionLost
from darse.client.requests import containers, images, system, volumes
from tests.support.fake_engine import Answer, Death, FakeEngine

_VOLUME = {
    "CreatedAt": "2026-01-01T00:00:00Z",
    "Driver": "local",
    "Labels": None,
    "Mountpoint": "/x",
    "Name": "v",
    "Options": None,
}


async def test_answers_are_typed(tmp_path: Path) -> None:
    with FakeEngine(tmp_path) as engine:
        engine.answers["GET", "/volumes/v"] = _VOLUME
        async with AsyncClient(EngineEndpoint(engine.host)) as client:
            found = await client.do(volumes.inspect("v"))
    assert (found.Name, found.Mountpoint) == ("v", "/x")


async def test_a_refusal_has_the_engine_s_words_and_status(tmp_path: Path) -> None:
    with FakeEngine(tmp_path) as engine:
        engine.answers["GET", "/volumes/v"] = Answer({"message": "get v: no such volume"}, 404)
        async with AsyncClient(EngineEndpoint(engine.host)) as client:
            with pytest.raises(ApiError, match="no such volume") as caught:
                await client.do(volumes.inspect("v"))
    assert caught.value.http_status == 404


async def test_an_answer_of_another_type_is_an_error(tmp_path: Path) -> None:
    with FakeEngine(tmp_path) as engine:
        engine.answers["GET", "/volumes/v"] = {"Name": 1}
        async with AsyncClient(EngineEndpoint(engine.host)) as client:
            with pytest.raises(ClientError, match="is not what its API says"):
                await client.do(volumes.inspect("v"))


async def test_progress_comes_as_typed_messages(tmp_path: Path) -> None:
    with FakeEngine(tmp_path) as engine:
        engine.answers["POST", "/images/create"] = [
            {"id": "abc", "status": "Downloading", "progressDetail": {"current": 1, "total": 2}},
            {"error": "no"},
        ]
        async with AsyncClient(EngineEndpoint(engine.host)) as client:
            messages = [message async for message in client.follow(images.pull("x", tag="1"))]
    assert engine.asked[-1].query == {"fromImage": "x", "tag": "1"}
    assert (messages[0].id, messages[0].progressDetail.total if messages[0].progressDetail else 0) == ("abc", 2)
    assert messages[1].error == "no"


async def test_an_engine_that_dies_in_an_answer_is_an_error(tmp_path: Path) -> None:
    with FakeEngine(tmp_path) as engine:
        engine.answers["GET", "/events"] = [
            {"Type": "container", "Action": "start", "Actor": {"ID": "1", "Attributes": {}}, "timeNano": 1}
        ]
        engine.dies = Death("GET", "/events", after=10)
        async with AsyncClient(EngineEndpoint(engine.host)) as client:
            with pytest.raises(ConnectionLost):
                _ = [event async for event in client.follow(system.events())]


async def test_nobody_answers(tmp_path: Path) -> None:
    async with AsyncClient(EngineEndpoint(f"unix://{tmp_path}/none")) as client:
        with pytest.raises(ConnectionFailed, match="Is darsed running"):
            await client.do(system.info())
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    async with AsyncClient(EngineEndpoint(f"tcp://127.0.0.1:{port}")) as client:
        with pytest.raises(ConnectionFailed, match="Is darsed running"):
            await client.do(containers.list_containers())
