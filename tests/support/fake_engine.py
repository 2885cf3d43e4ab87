"""An engine of canned answers on a socket: what do clients ask, and what do they make of the answers?

with FakeEngine(directory) as engine:
    engine.answers["POST", "/images/create"] = [{"status": "Pulling"}]      # a list: a stream of messages
    done = Client(program, engine.host, config)("pull", "x")
    assert engine.asked[-1].query == {"fromImage": "x", "tag": "latest"}

    engine.dies = Death("GET", "/events", after=100)     # in the middle of this answer, as by kill -9

Versions in paths are dropped. What has no answer gets 404, as from an engine that does not know the object.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import socketserver
import threading
import urllib.parse
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_VERSION = re.compile(r"^/v1\.(\d+)(?=/)")


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def line(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Answer:
    """An answer with a status, headers or a body of its own."""

    body: Any = b""
    status: int = 200
    content_type: str = "application/json"
    chunked: bool = False
    # Its head is sent, and its body never: what waits for something waits until the engine dies.
    held: bool = False


@dataclass(frozen=True)
class Death:
    """When the engine goes away: `after` so many bytes of the answer to a request, its head included; less than 0 are
    counted from its end.

    An empty method or path is any but a ping's. `orderly` engines take their socket with them.
    """

    method: str = ""
    path: str = ""
    after: int = 0
    orderly: bool = False

    def is_of(self, asked: Asked) -> bool:
        """Whether this is the request."""
        if asked.path == "/_ping":
            return False
        return self.method in ("", asked.method) and self.path in ("", asked.path)


class FakeEngine:
    """The engine; `api` is the version that it says to be of."""

    def __init__(self, directory: Path, api: str = "1.51") -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.asked: list[Asked] = []
        self.api = api
        self.dies: Death | None = None
        self.dead = threading.Event()
        self._dying = threading.Lock()
        self.path = directory / "fake.sock"
        self.host = f"unix://{self.path}"
        self._server = _Server(str(self.path), _Handler)
        self._server.engine = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.die(orderly=True)
        self._thread.join()

    def die(self, *, orderly: bool) -> None:
        """Refuse connections from now on, and end those that are open."""
        with self._dying:
            if self.dead.is_set():
                return
            self._die(orderly=orderly)

    def _die(self, *, orderly: bool) -> None:
        self._server.shutdown()
        self._server.server_close()
        if orderly:
            self.path.unlink(missing_ok=True)
        for connection in self._server.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.dead.set()

    @property
    def is_dying(self) -> bool:
        """Whether its connections are being ended."""
        return self._dying.locked()

    def requests(self) -> list[Asked]:
        """What was asked since the last call, but for the questions about versions that each client begins with."""
        found = [one for one in self.asked if one.path not in ("/_ping", "/info", "/version")]
        self.asked.clear()
        return found


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 16
    engine: FakeEngine

    def __init__(self, *arguments: Any) -> None:
        self.connections: list[socket.socket] = []
        super().__init__(*arguments)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show what is wrong with this engine; clients whose connections ended with it are not that."""
        if not self.engine.dead.is_set() and not self.engine.is_dying:
            super().handle_error(request, client_address)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody reads it."""

    def _serve(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = {name: values[-1] for name, values in urllib.parse.parse_qs(url.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = urllib.parse.unquote(_VERSION.sub("", url.path))
        asked = Asked(self.command, path, query, headers, self._body())
        engine = self.server.engine
        engine.asked.append(asked)
        self.is_chunked = False
        version = _VERSION.match(url.path)
        if version is not None and int(version[1]) > int(engine.api.removeprefix("1.")):
            newest = f"client version 1.{version[1]} is too new. Maximum supported API version is {engine.api}"
            self._send(400, "application/json", json.dumps({"message": newest}).encode())
            return
        if path == "/_ping":
            self._send(200, "text/plain", b"" if self.command == "HEAD" else b"OK")
            return
        answer = engine.answers.get((self.command, path))
        if callable(answer):
            answer = answer(asked)
        if answer is None:
            answer = Answer({"message": f"No such object: {path}"}, 404)
        if not isinstance(answer, Answer):
            answer = Answer(answer)
        body = answer.body
        if isinstance(body, list) and (self.command == "POST" or answer.chunked):
            body = b"".join(json.dumps(one).encode() + b"\r\n" for one in body)
        elif not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.is_chunked = answer.chunked
        if answer.held:
            self.wfile.write(self._head(200, ["Transfer-Encoding: chunked"]))
            engine.dead.wait()
            self.close_connection = True
            return
        death = engine.dies if engine.dies is not None and engine.dies.is_of(asked) else None
        self._send(answer.status, answer.content_type, body, death)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _send(self, status: int, content_type: str, body: bytes, death: Death | None = None) -> None:
        head = [f"Content-Type: {content_type}"]
        if status == HTTPStatus.SWITCHING_PROTOCOLS:
            head += ["Connection: Upgrade", "Upgrade: tcp"]
            self.close_connection = True
        elif self.is_chunked:
            head.append("Transfer-Encoding: chunked")
            pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in body.splitlines(keepends=True)]
            body = b"".join([*pieces, b"0\r\n\r\n"])
        else:
            head.append(f"Content-Length: {len(body)}")
        answer = self._head(status, head) + body
        if death is None:
            self.wfile.write(answer)
            return
        self.wfile.write(answer[: death.after])
        self.close_connection = True
        self.server.engine.die(orderly=death.orderly)

    def _head(self, status: int, headers: list[str]) -> bytes:
        first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
        always = [f"Api-Version: {self.server.engine.api}", "Ostype: linux", "Docker-Experimental: false"]
        return "\r\n".join([first, *always, *headers, "", ""]).encode()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve
