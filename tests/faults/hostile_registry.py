"""A registry that lies: it serves one image rightly, but for what a test replaces.

with HostileRegistry(made) as registry:
    registry.replace("layer", Answer(body=b"something else"))
    pull(f"{registry.address}/some/image:1")          # on 127.0.0.1, so without TLS

Kinds of requests: `ping`, `manifest`, `child` (a manifest by digest), `config`, `layer`, `token`, `tags`, `elsewhere`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import TracebackType

from tests.support.serving import ThreadedServer
from tests.support.small_images import Made

CHUNK = b"x" * 65536


@dataclass
class Answer:
    """An answer: sent with its length, unless `headers` says otherwise; an iterator's pieces are sent as they come."""

    status: int = 200
    body: bytes | Iterable[bytes] = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: bool = True


Behaviour = Answer | Callable[["Handler"], Answer | None]


class HostileRegistry(ThreadedServer):
    """The server; it runs in threads of this process."""

    def __init__(self, made: Made) -> None:
        """Serve an image under every name and tag."""
        super().__init__(Handler)
        self.made = made
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.stopped = threading.Event()
        self._behaviours: dict[str, list[Behaviour]] = {}

    @property
    def url(self) -> str:
        """The same as a URL."""
        return f"http://{self.address}"

    def replace(self, kind: str, *behaviours: Behaviour) -> None:
        """Answer requests of a kind so, one after the other; the last one stays."""
        self._behaviours[kind] = list(behaviours)

    def behaviour(self, kind: str) -> Behaviour | None:
        """What is to be done with a request."""
        listed = self._behaviours.get(kind)
        if not listed:
            return None
        return listed.pop(0) if len(listed) > 1 else listed[0]

    def right(self, kind: str, path: str) -> Answer:
        """What an honest registry answers."""
        document = self.made.document
        if kind in ("manifest", "child"):
            return Answer(body=document.content, headers={"Content-Type": document.media_type})
        if kind == "config":
            return Answer(body=self.made.config)
        if kind == "layer":
            return Answer(body=self.made.blobs[path.rpartition("/")[2]])
        if kind == "token":
            return Answer(body=b'{"token": "good", "expires_in": 300}')
        return Answer(body=b"{}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End, with every answer that does not."""
        self.stopped.set()
        super().__exit__(kind, error, trace)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    @property
    def registry(self) -> HostileRegistry:
        """Whose it is."""
        found = self.server.owner  # type: ignore[attr-defined]
        assert isinstance(found, HostileRegistry)
        return found

    def kind(self) -> str:
        """What is asked for."""
        path = self.path.partition("?")[0]
        if path == "/v2/":
            return "ping"
        if "/manifests/" in path:
            return "child" if "/manifests/sha256:" in path else "manifest"
        if path.endswith(self.registry.made.id):
            return "config"
        if "/blobs/" in path:
            return "layer"
        if path.endswith("/tags/list"):
            return "tags"
        return "token" if path.startswith("/token") else "elsewhere"

    def do_GET(self) -> None:
        """Answer as the test wants."""
        kind = self.kind()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.registry.requests.append((self.command, self.path, dict(self.headers.items())))
        behaviour = self.registry.behaviour(kind)
        answer = behaviour(self) if callable(behaviour) else behaviour
        if behaviour is None:
            answer = self.registry.right(kind, self.path.partition("?")[0])
        if answer is not None:
            self.send(answer)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def send(self, answer: Answer) -> None:
        """Send an answer."""
        with contextlib.suppress(ConnectionError):
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            whole = isinstance(answer.body, bytes)
            if whole and answer.length and "Content-Length" not in answer.headers:
                self.send_header("Content-Length", str(len(answer.body)))  # type: ignore[arg-type]
            else:
                self.close_connection = True
            self.end_headers()
            if self.command != "HEAD":
                for piece in [answer.body] if isinstance(answer.body, bytes) else answer.body:
                    self.wfile.write(piece)

    def raw(self, data: bytes | Iterable[bytes]) -> None:
        """Send bytes that are no answer, and hang up."""
        self.close_connection = True
        with contextlib.suppress(ConnectionError):
            for piece in [data] if isinstance(data, bytes) else data:
                self.wfile.write(piece)

    def endless(self, piece: bytes = CHUNK, pause: float = 0) -> Iterator[bytes]:
        """The same bytes until the test is over."""
        while not self.registry.stopped.wait(pause):
            yield piece

    def break_off(self) -> None:
        """Reset the connection."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def refusal(status: int, code: str, message: str, **headers: str) -> Answer:
    """A refusal as the specification has it."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    return Answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()})
