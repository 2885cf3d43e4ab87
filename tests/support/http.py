"""A small synchronous client of the API: any method, any path, unix sockets; and bare connections for abuse."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

_VERSIONED = re.compile(r"/v\d")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("engine", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = connect(self._path, self.timeout)


def connect(path: str, timeout: float | None = 30) -> socket.socket:
    """A connection to the engine's socket, nothing sent yet."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    connection.connect(path)
    return connection


@dataclass(frozen=True)
class Response:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """What an error says."""
        return str(self.json()["message"])


class ApiClient:
    """Speaks to one engine. A new connection for each request, so that it can be shared."""

    def __init__(self, socket_path: str, version: str | None = "1.51") -> None:
        """`version`: of the API, for paths that name none; None leaves it to the engine, which takes its newest."""
        self.socket_path = socket_path
        self._prefix = "" if version is None else f"/v{version}"

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> Response:
        """One request; `body` is sent as it is when it is bytes, as JSON otherwise; `query` values that are no
        strings (filters) as JSON.
        """
        connection = _UnixConnection(self.socket_path, timeout)
        try:
            answer = self._send(connection, method, path, body, query, headers)
            return Response(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def stream(self, method: str, path: str, body: object = None, *, timeout: float = 30) -> Iterator[Any]:
        """The JSON documents of an endless answer (events, progress), as they come."""
        with self.begun(method, path, body, timeout=timeout) as answer:
            for line in answer:
                if line.strip():
                    yield json.loads(line)

    @contextlib.contextmanager
    def begun(
        self, method: str, path: str, body: object = None, *, timeout: float = 30
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer whose head is there, and whose body the caller reads."""
        connection = _UnixConnection(self.socket_path, timeout)
        try:
            answer = self._send(connection, method, path, body, None, None)
            if answer.status >= http.client.BAD_REQUEST:
                raise AssertionError(f"{method} {path}: {answer.status} {answer.read()!r}")
            yield answer
        finally:
            connection.close()

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: object,
        query: Mapping[str, Any] | None,
        headers: Mapping[str, str] | None,
    ) -> http.client.HTTPResponse:
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        if query:
            values = {key: value if isinstance(value, str) else json.dumps(value) for key, value in query.items()}
            path = f"{path}?{urlencode(values)}"
        if path.startswith("/") and not _VERSIONED.match(path):
            path = self._prefix + path
        connection.request(method, path, body, sent)  # type: ignore[arg-type]
        return connection.getresponse()
