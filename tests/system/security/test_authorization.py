"""Authorization plugins: they see every request and every answer, and may refuse both."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.engine import BUSYBOX, Engine
from tests.support.plugin_server import AuthorizationPlugin

REQUEST, ANSWER = "AuthZPlugin.AuthZReq", "AuthZPlugin.AuthZRes"


@pytest.fixture
def sockets() -> Iterator[Path]:
    """A directory with a short path, which is there before an engine is."""
    made = Path(tempfile.mkdtemp(prefix="dp-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def plugin(sockets: Path) -> Iterator[AuthorizationPlugin]:
    """A plugin; see `engine_with`."""
    made = AuthorizationPlugin(sockets / "gate.sock")
    yield made
    made.answers.clear()
    made.refuses = lambda *_: ""
    made.close()


@pytest.fixture
def guarded(sockets: Path, plugin: AuthorizationPlugin, new_engine: Callable[..., Engine]) -> Engine:
    """An engine whose requests the plugin sees."""
    engine = new_engine("--authorization-plugin", "gate")
    (engine.exec_root / "plugins").mkdir(exist_ok=True)
    (engine.exec_root / "plugins" / "gate.sock").symlink_to(plugin.path)
    return engine


def upgraded(engine: Engine, path: str) -> bytes:
    """The head of the answer to a request for gRPC."""
    headers = "Host: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nX-Docker-Expose-Session-Uuid: one\r\n"
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(engine.socket))
        connection.sendall(f"POST {path} HTTP/1.1\r\n{headers}\r\n".encode())
        return connection.recv(4096)


def test_requests_and_answers(guarded: Engine, plugin: AuthorizationPlugin) -> None:
    guarded.docker("volume", "create", "one").ok()
    asked = next(body for body in plugin.bodies(REQUEST) if body["RequestUri"].endswith("/volumes/create"))
    assert (asked["RequestMethod"], asked["User"], asked["UserAuthNMethod"]) == ("POST", "", "")
    assert json.loads(base64.b64decode(asked["RequestBody"]))["Name"] == "one"
    assert asked["RequestHeaders"]["Content-Type"] == "application/json"
    answer = next(body for body in plugin.bodies(ANSWER) if body["RequestUri"].endswith("/volumes/create"))
    assert answer["ResponseStatusCode"] == 201
    assert json.loads(base64.b64decode(answer["ResponseBody"]))["Name"] == "one"
    assert guarded.api("GET", "/volumes/none").status == 404
    assert plugin.bodies(ANSWER)[-1]["ResponseStatusCode"] == 404
    assert guarded.api("GET", "/info").json()["Plugins"]["Authorization"] == ["gate"]

    # Streams are asked about before their heads are sent, and work.
    assert guarded.docker("run", "--rm", "-i", BUSYBOX, "cat", input="through\n").ok().out == "through\n"
    seen = {
        (body["RequestUri"].partition("?")[0].rpartition("/")[2], body["ResponseStatusCode"])
        for body in plugin.bodies(ANSWER)
    }
    assert {("attach", 101), ("create", 201), ("start", 204), ("wait", 200)} <= seen

    # What is refused at the request changes nothing; other requests go on.
    plugin.refuses = lambda method, uri, status: "read only" if method != "GET" and status is None else ""
    failed = guarded.docker("volume", "create", "two")
    assert "authorization denied by plugin gate: read only" in failed.err
    assert guarded.api("POST", "/volumes/create", {"Name": "two"}).status == 403
    assert guarded.api("DELETE", "/volumes/one").status == 403
    assert guarded.api("POST", "/containers/create", {"Image": BUSYBOX}).status == 403
    assert guarded.docker("volume", "ls", "-q").ok().out == "one\n"
    assert guarded.api("GET", "/containers/json?all=1").json() == []

    # So is an answer, whole, and a stream before its first byte.
    plugin.refuses = lambda _, uri, status: "secret" if status and ("/volumes" in uri or "/events" in uri) else ""
    for path in ("/volumes", "/events?until=1"):
        refused = guarded.api("GET", path)
        assert (refused.status, refused.json()) == (403, {"message": "authorization denied by plugin gate: secret"})

    # Connections of build clients are let in by the request that begins them, and by its answer.
    for refuses in (
        lambda _, uri, status: "no builds" if status is None and uri.startswith(("/grpc", "/session")) else "",
        lambda _, uri, status: "no builds" if status == 101 else "",
    ):
        plugin.refuses = refuses
        for path in ("/grpc", "/session"):
            assert upgraded(guarded, path).startswith(b"HTTP/1.1 403 "), path
    plugin.refuses = lambda *_: ""
    for path in ("/grpc", "/session"):
        assert upgraded(guarded, path).startswith(b"HTTP/1.1 101 "), path

    # A plugin that fails, lies or ends refuses.
    plugin.refuses = lambda *_: ""
    for answer in ({"Err": "broken"}, {"Allow": "yes"}, {}, b"<html>"):
        plugin.answers[REQUEST] = answer
        assert guarded.api("POST", "/volumes/create", {"Name": "two"}).status in (403, 500), answer
    plugin.answers.clear()
    plugin.path.unlink()
    missing = guarded.api("POST", "/volumes/create", {"Name": "two"})
    assert (missing.status, missing.json()["message"]) == (
        500,
        'plugin gate failed with error: plugin "gate" not found',
    )
    plugin.stop()
    plugin.listen()
    assert guarded.docker("volume", "ls", "-q").ok().out == "one\n"
