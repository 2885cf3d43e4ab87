"""A small HTTP/1.1 client over unix sockets, tcp, TLS and ssh.

http.client takes 20 ms to import, a fifth of a container's life; what the API needs of HTTP is little: requests with
a body of known or unknown length, responses that are whole, chunked or until the end, and connections that become
streams.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from darse.cli.config import Endpoint
from darse.cli.connecting import connect, no_answer
from darse.cli.errors import ApiError, ConnectionFailed

_PIECE = 256 * 1024


class Response:
    """A response whose body is read as it is asked for."""

    def __init__(self, connection: Connection, status: int, headers: dict[str, str], *, has_body: bool = True) -> None:
        """`has_body` is false for the answer to a HEAD: its headers tell of a body that does not come."""
        self._has_body = has_body
        self.status = status
        self.headers = headers
        self._connection = connection

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes."""
        connection = self._connection
        if not self._has_body or self.status in (101, 204, 304) or self.headers.get("content-length") == "0":
            return
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(connection.line().split(b";")[0] or b"0", 16):
                left = size
                while left:
                    piece = connection.some(min(left, _PIECE))
                    left -= len(piece)
                    yield piece
                connection.line()
            connection.line()
        elif "content-length" in self.headers:
            left = int(self.headers["content-length"])
            while left:
                piece = connection.some(min(left, _PIECE))
                left -= len(piece)
                yield piece
        else:
            while piece := connection.some(_PIECE, end_ok=True):
                yield piece

    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces())

    def json(self) -> Any:
        """The body as JSON; None when it is empty."""
        body = self.body()
        return json.loads(body) if body.strip() else None

    def messages(self) -> Iterator[Any]:
        """Yield the JSON documents of a stream, as they come."""
        buffer = b""
        for piece in self.pieces():
            buffer += piece
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                if line.strip():
                    yield json.loads(line)
        if buffer.strip():
            yield json.loads(buffer)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class Connection:
    """One connection to the engine."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Connect. Raises ConnectionFailed."""
        self._endpoint = endpoint
        self.socket = connect(endpoint)
        self._buffer = b""

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
    ) -> Response:
        """Send a request and read the head of its response."""
        lines = [f"{method} {path} HTTP/1.1", "Host: darse", "User-Agent: darse"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is None:
            body = b""
            if method in ("POST", "PUT"):
                lines.append("Content-Length: 0")
        elif isinstance(body, bytes):
            lines.append(f"Content-Length: {len(body)}")
        else:
            lines.append("Transfer-Encoding: chunked")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode()
        if isinstance(body, bytes):
            self.socket.sendall(head + body)
        else:
            self.socket.sendall(head)
            self._send_chunks(body)
        return self._head(has_body=method != "HEAD")

    def _send_chunks(self, pieces: Iterable[bytes]) -> None:
        try:
            for piece in pieces:
                if piece:
                    self.socket.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.socket.sendall(b"0\r\n\r\n")
        except BrokenPipeError:
            return  # the engine has answered already; its answer says why

    def _head(self, *, has_body: bool) -> Response:
        status_line = self.line()
        if not status_line:
            raise ConnectionFailed(no_answer(self._endpoint.host))
        status = int(status_line.split(b" ", 2)[1])
        headers = {}
        while line := self.line():
            name, _, value = line.partition(b":")
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        return Response(self, status, headers, has_body=has_body)

    def line(self) -> bytes:
        """Read a line, without its end."""
        while b"\n" not in self._buffer:
            piece = self.socket.recv(_PIECE)
            if not piece:
                line, self._buffer = self._buffer, b""
                return line
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def some(self, most: int, *, end_ok: bool = False) -> bytes:
        """Read at most `most` bytes, at least one. Raises ConnectionFailed at the end unless `end_ok`."""
        if not self._buffer:
            self._buffer = self.socket.recv(_PIECE)
            if not self._buffer and not end_ok:
                raise ConnectionFailed("the engine closed the connection in the middle of an answer: see its log")
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        return piece

    def early(self) -> bytes:
        """What of a hijacked stream came with the head of the response."""
        data, self._buffer = self._buffer, b""
        return data

    def close(self) -> None:
        """Close."""
        self.socket.close()


class Client:
    """The engine, as commands see it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._kept: Connection | None = None

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        *,
        raw_body: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Do a request and return its JSON. Raises ApiError when the engine refuses it."""
        connection, self._kept = self._kept or Connection(self.endpoint), None
        response = self._send(connection, method, path, query, body, raw_body, headers)
        document = response.json()
        if response.headers.get("connection", "").lower() == "close":
            connection.close()
        else:
            self._kept = connection
        return document

    def stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        *,
        raw_body: Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Do a request on a connection of its own and return the response, to be read as it comes."""
        return self._send(Connection(self.endpoint), method, path, query, body, raw_body, headers)

    def hijack(
        self, path: str, query: Mapping[str, Any] | None = None, body: Any = None
    ) -> tuple[Connection, Response]:
        """Turn a connection into a stream."""
        connection = Connection(self.endpoint)
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        return connection, self._send(connection, "POST", path, query, body, None, headers)

    def _send(
        self,
        connection: Connection,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        raw_body: Iterable[bytes] | None,
        headers: Mapping[str, str] | None,
    ) -> Response:
        sent_headers = dict(headers or {})
        encoded: bytes | Iterable[bytes] | None = raw_body
        if body is not None:
            encoded = json.dumps(body).encode()
            sent_headers["Content-Type"] = "application/json"
        try:
            response = connection.send(method, path + encode_query(query), sent_headers, encoded)
        except (ConnectionResetError, BrokenPipeError) as error:
            raise ConnectionFailed(no_answer(self.endpoint.host, error.strerror or "")) from error
        if response.status >= 400:
            raise _api_error(response)
        return response


def _api_error(response: Response) -> ApiError:
    body = response.body()
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace").strip() or f"status {response.status}"
    return ApiError(message, response.status)


def encode_query(query: Mapping[str, Any] | None) -> str:
    """A query string; None values are left out, lists repeat their name, filters become JSON."""
    pairs = []
    for name, value in (query or {}).items():
        values = value if isinstance(value, list) else [value]
        for one in values:
            if one is None or one is False:
                continue
            text = "1" if one is True else json.dumps(one) if isinstance(one, dict) else str(one)
            pairs.append(f"{name}={quote(text)}")
    return "?" + "&".join(pairs) if pairs else ""


_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str, safe: str = "") -> str:
    """Percent-encode (RFC 3986); urllib.parse takes 5 ms to import."""
    allowed = _SAFE | set(safe.encode())
    return "".join(chr(byte) if byte in allowed else f"%{byte:02X}" for byte in text.encode())
