"""Whatever a client sends, the answer is one of the API's, soon, and the engine goes on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.parse
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from darse.api.app import Api, all_routes
from darse.api.body import decode
from darse.api.server import ApiServer
from darse.core import events
from darse.core.config import EngineConfig
from darse.core.errors import InvalidParameter
from darse.core.events import EventLog
from darse.core.state import State
from darse.plugins import PluginClient
from darse.wire.containers import CreateRequest
from darse.wire.execs import ExecConfig
from darse.wire.networks import NetworkConnect, NetworkCreate
from darse.wire.volumes import VolumeCreate
from tests.unit.api.conftest import FakeContainers, Served

_TEMPLATES = sorted(set(all_routes().templates))
_NAMES = ("name", "limit", "filters", "since", "until", "tail", "h", "w", "t", "signal", "stdout", "condition", "type")
_names = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["box", "..", "../../etc/passwd", "%2e%2e", "\0", "a/b:c@sha256:d", "é", "-", "x" * 5000, ""]),
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
_members = st.sampled_from(
    sorted({name for type_ in (CreateRequest, ExecConfig, NetworkCreate) for name in type_.__struct_encode_fields__})
)
_documents = st.dictionaries(_members | st.text(max_size=10), _values, max_size=6)


class _Anything:
    """A service that has every part and every method, and every method fails as services do."""

    def __getattr__(self, name: str) -> Any:
        return _Anything()

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise InvalidParameter("a method was called")


class _Containers(FakeContainers):
    """Has streams, and refuses the rest."""

    def __getattr__(self, name: str) -> Any:
        return _Anything()


@st.composite
def _requests(draw: st.DrawFn) -> bytes:
    method, template = draw(st.sampled_from(_TEMPLATES))
    path = template
    while "{" in path:
        before, _, rest = path.partition("{")
        path = before + urllib.parse.quote(draw(_names), safe=draw(st.sampled_from(["", "/"]))) + rest.partition("}")[2]
    query = draw(st.dictionaries(st.sampled_from(_NAMES), _names | _documents.map(json.dumps), max_size=4))
    target = draw(st.sampled_from(["", "/v1.55", "/v1.51", "/v1.24", "/v9.9"])) + path
    target += f"?{urllib.parse.urlencode(query, errors='replace')}" if query else ""
    body = draw(st.binary(max_size=50) | _documents.map(lambda document: json.dumps(document).encode()))
    kind = draw(st.sampled_from(["application/json", "text/plain", "", "application/json; charset=utf-8"]))
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture(scope="module")
def anything(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Sends bytes to an API whose services refuse everything; returns the status, or None for a closed connection."""
    directory: Path = tmp_path_factory.mktemp("any")
    runner = asyncio.Runner()
    loop = runner.get_loop()
    state = runner.run(_state(directory))
    refusing = _Anything()
    engine = SimpleNamespace(
        plugins=PluginClient((), ()),
        config=EngineConfig(),
        builds=refusing,
        images=refusing,
        registries=refusing,
        networks=refusing,
        volumes=refusing,
        managed_plugins=refusing,
        execs=refusing,
        system=refusing,
        events=EventLog(state),
        state=state,
    )

    async def start() -> tuple[Served, asyncio.Server]:
        engine.containers = _Containers()
        engine.containers.ended.set_result({"StatusCode": 0})
        engine.containers.attachment.end()
        engine.containers.kill = refusing
        engine.events.close()
        api = Api(engine)  # type: ignore[arg-type]
        server = ApiServer(api.handle)
        listener = await loop.create_unix_server(server, str(directory / "socket"))
        return Served(directory / "socket", engine, api, server), listener

    served, listener = runner.run(start())

    async def exchange(data: bytes, *, end: bool) -> int | None:
        reader, writer = await served.connect()
        served.engine.containers.attachment.end()
        writer.write(data)
        if end:
            writer.write_eof()
        if b"/events" in data:
            await asyncio.sleep(0.02)
            engine.events.close()
        try:
            line = await asyncio.wait_for(reader.readline(), 60)
            served.engine.containers.attachment.end()
            engine.events.close()
            await asyncio.wait_for(reader.read(), 60)
        except ConnectionError:
            line = b""
        finally:
            writer.close()
        return int(line.split()[1]) if line else None

    yield lambda data, end=False: runner.run(exchange(data, end=end))
    listener.close()
    runner.run(served.server.shutdown(1))
    state.close()
    runner.close()


async def _state(directory: Path) -> State:
    return State(directory / "state.sqlite", [events.SCHEMA])


def _examples(number: int) -> settings:
    return settings(
        max_examples=number,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@_examples(400)
@given(_requests())
def test_any_request_to_a_route(anything: Any, data: bytes) -> None:
    status = anything(data)
    assert status is not None, "the connection was closed without an answer"
    assert status in (101, 200, 201, 204, 304, 400, 404, 409, 413, 431, 501, 503), data
    assert anything(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") == 200


@_examples(200)
@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: f"GET /{text} HTTP/1.1\r\n\r\n".encode()))
def test_any_bytes(anything: Any, data: bytes) -> None:
    status = anything(data + b"\r\n\r\n\r\n\r\n", end=True)
    assert status is None or 200 <= status < 500, data
    assert anything(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") == 200


@settings(max_examples=200, deadline=None)
@given(_documents, st.sampled_from([CreateRequest, ExecConfig, NetworkCreate, NetworkConnect, VolumeCreate]))
def test_any_document_is_decoded_or_refused(document: dict[str, Any], type_: type[Any]) -> None:
    with contextlib.suppress(InvalidParameter):
        assert isinstance(decode(json.dumps(document).encode(), type_), type_)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([CreateRequest, NetworkCreate]))
def test_any_bytes_are_decoded_or_refused(data: bytes, type_: type[Any]) -> None:
    with contextlib.suppress(InvalidParameter):
        assert isinstance(decode(data, type_), type_)
