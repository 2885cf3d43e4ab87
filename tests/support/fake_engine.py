"""An engine of canned answers on a socket: what do clients ask, and what do they make of the answers?

with FakeEngine(directory) as engine:
    engine.answers["POST", "/images/create"] = [{"status": "Pulling"}]      # a list: a stream of messages
    done = Client(program, engine.host, config)("pull", "x")
    assert engine.asked[-1].query == {"fromImage": "x", "tag": "latest"}

Versions in paths are dropped. What has no answer gets 404, as from an engine that does not know the object.
"""

from __future__ import annotations

import json
import re
import socketserver
import threading
import urllib.parse
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_VERSION = re.compile(r"^/v1\.\d+(?=/)")


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


class FakeEngine:
    """The engine; `api` is the version that it says to be of."""

    def __init__(self, directory: Path, api: str = "1.51") -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.asked: list[Asked] = []
        self.api = api
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
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def requests(self) -> list[Asked]:
        """What was asked since the last call, but for the questions about versions that each client begins with."""
        found = [one for one in self.asked if one.path not in ("/_ping", "/info", "/version")]
        self.asked.clear()
        return found


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 16
    engine: FakeEngine


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
        if isinstance(body, list) and self.command == "POST":
            body = b"".join(json.dumps(one).encode() + b"\r\n" for one in body)
        elif not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self._send(answer.status, answer.content_type, body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Api-Version", self.server.engine.api)
        self.send_header("Ostype", "linux")
        self.send_header("Docker-Experimental", "false")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve
