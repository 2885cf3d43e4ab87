"""A small HTTP/1.1 client over unix sockets, tcp, TLS and ssh.

http.client takes 20 ms to import, a fifth of a container's life; what the API needs of HTTP is little: requests with
a body of known or unknown length, responses that are whole, chunked or until the end, and connections that become
streams.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from socket import MSG_DONTWAIT, MSG_PEEK
from typing import Any

from darse.cli.engine.connection import connect, no_answer, peer
from darse.cli.errors import ApiError, CliError, ConnectionFailed, ConnectionLost
from darse.cli.settings.config import API_VERSION, Endpoint

_TOO_NEW = "Maximum supported API version is "
_PIECE = 256 * 1024
# How long a command that follows something waits for an engine that went away, in seconds; and how often it looks.
_PATIENCE = 10.0
_INTERVAL = 0.05
_ASK_AGAIN = "containers run on; ask again when it is back"
_LOOK_FIRST = "containers run on; what was asked for may have been done or not, so look before you ask again"


class Response:
    """A response whose body is read as it is asked for."""

    def __init__(self, connection: Connection, status: int, headers: dict[str, str], *, has_body: bool = True) -> None:
        """`has_body` is false for the answer to a HEAD: its headers describe a body that does not come."""
        self._has_body = has_body
        self.status = status
        self.headers = headers
        self._connection = connection

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises ConnectionLost when the connection ends before the body does."""
        connection = self._connection
        if not self._has_body or self.status in (101, 204, 304) or self.headers.get("content-length") == "0":
            return
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := _chunk_size(connection.line()):
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
            while piece := connection.some(_PIECE, end_ok=True):  # no length: the end is the end
                yield piece

    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces())

    def json(self) -> Any:
        """The body as JSON; None when it is empty. Raises CliError for what is no JSON."""
        body = self.body()
        return _decoded(body) if body.strip() else None

    def messages(self) -> Iterator[Any]:
        """Yield the JSON documents of a stream, as they come."""
        buffer = b""
        for piece in self.pieces():
            buffer += piece
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                if line.strip():
                    yield _decoded(line)
        if buffer.strip():
            yield _decoded(buffer)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class Connection:
    """One connection to the engine."""

    def __init__(self, endpoint: Endpoint, *, may_start: bool = True) -> None:
        """Connect. Raises ConnectionFailed. `may_start`: an engine may be started when none answers."""
        self._endpoint = endpoint
        self.socket = connect(endpoint, may_start=may_start)
        self.peer = peer(self.socket)
        self._buffer = b""
        self._after_loss = _ASK_AGAIN

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
    ) -> Response:
        """Send a request and read the head of its response. Raises ConnectionFailed when none comes."""
        self._after_loss = _ASK_AGAIN if method in ("GET", "HEAD") else _LOOK_FIRST
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
        except ConnectionError:
            return  # the engine has answered already, and its answer says why; or it is gone, and there is none

    def _head(self, *, has_body: bool) -> Response:
        if not self._buffer and not self._receive():
            raise no_answer(self._endpoint.host, self._after_loss)
        status_line = self.line()
        try:
            status = int(status_line.split(b" ", 2)[1])
        except (ValueError, IndexError):
            raise CliError(f"what answers at {self._endpoint.host} is no engine: it does not speak HTTP") from None
        headers = {}
        while line := self.line():
            name, _, value = line.partition(b":")
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        return Response(self, status, headers, has_body=has_body)

    def line(self) -> bytes:
        """Read a line, without its end. Raises ConnectionLost when the connection ends before it."""
        while b"\n" not in self._buffer:
            if not self._receive():
                raise self.lost()
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def some(self, most: int, *, end_ok: bool = False) -> bytes:
        """Read at most `most` bytes, at least one. Raises ConnectionLost at the end unless `end_ok`."""
        if not self._buffer and not self._receive() and not end_ok:
            raise self.lost()
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        return piece

    def _receive(self) -> bool:
        """Read what has come, at least one byte; False at the connection's end, however it ended."""
        try:
            piece = self.socket.recv(_PIECE)
        except OSError:
            return False
        self._buffer += piece
        return bool(piece)

    def lost(self) -> ConnectionLost:
        """The error of a connection that ended in the middle of an answer."""
        return ConnectionLost("the engine went away before its answer was complete", self._after_loss)

    def has_ended(self) -> bool:
        """Whether the engine has closed this connection, on which no answer is due."""
        try:
            return not self.socket.recv(1, MSG_PEEK | MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except (OSError, ValueError):
            # TLS takes no flags; a write will tell.
            return not hasattr(self.socket, "pending")

    def early(self) -> bytes:
        """What of a hijacked stream came with the head of the response."""
        data, self._buffer = self._buffer, b""
        return data

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self.socket.fileno() < 0

    def close(self) -> None:
        """Close."""
        self.socket.close()


class Client:
    """The engine, as commands see it."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str] | None = None, *, debug: bool = False) -> None:
        """`headers` go with every request, for what stands between here and the engine.

        debug: each request, its status and the milliseconds to the head of its answer are printed to standard error.
        """
        self.endpoint = endpoint
        self._debug = debug
        self._headers = dict(headers or {})
        self._kept: Connection | None = None
        self._opened: list[Connection] = []
        # Who answered first. An engine that went away is not started again by the way.
        self._met: int | None = None
        self.replaced = False
        # An engine that is older says so, and is spoken to in its version from then on.
        self._version = API_VERSION
        self._agreed = False

    @property
    def met(self) -> bool:
        """Whether an engine has been reached."""
        return self._met is not None

    def _connect(self) -> Connection:
        connection = Connection(self.endpoint, may_start=self._met is None)
        self._opened = [earlier for earlier in self._opened if not earlier.is_closed()]
        self._opened.append(connection)
        if self._met is None:
            self._met = connection.peer
        elif connection.peer != self._met:
            self.replaced = True
        return connection

    def _connection(self) -> Connection:
        """The connection that is open, unless the engine has closed it; else a new one."""
        kept, self._kept = self._kept, None
        if kept is not None:
            if not kept.has_ended():
                return kept
            kept.close()
        return self._connect()

    def close(self) -> None:
        """Close every connection, those of answers that were not read to their end included."""
        for connection in self._opened:
            connection.close()
        self._opened.clear()

    def comes_back(self, seconds: float) -> bool:
        """Wait until an engine answers at the address again; False when none does within `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self._ping()
            except (ConnectionFailed, ApiError):
                time.sleep(_INTERVAL)
            else:
                return True
        return False

    def _ping(self) -> None:
        response = self.stream("GET", "/_ping")
        response.body()
        response.close()

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
        connection = self._connection()
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
        return self._send(self._connect(), method, path, query, body, raw_body, headers)

    def hijack(
        self, path: str, query: Mapping[str, Any] | None = None, body: Any = None
    ) -> tuple[Connection, Response]:
        """Turn a connection into a stream."""
        connection = self._connect()
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
        for collection, kind in _NAMED:
            if path.startswith(collection) and path[len(collection) :][:1] in ("", "/"):
                require_name("", kind)
        sent_headers = {**self._headers, **(headers or {})}
        encoded: bytes | Iterable[bytes] | None = raw_body
        if body is not None:
            encoded = json.dumps(body).encode()
            sent_headers["Content-Type"] = "application/json"
        if raw_body is not None and not self._agreed:
            self._ping()  # what is read as it is sent cannot be sent again
        target, begin = path + encode_query(query), time.perf_counter()
        try:
            response = connection.send(method, f"/v{self._version}{target}", sent_headers, encoded)
            if response.status == 400 and not self._agreed:
                response = self._again_in_its_version(response, connection, method, target, sent_headers, encoded)
        except ConnectionError as error:
            raise no_answer(self.endpoint.host, _ASK_AGAIN) from error
        if self._debug:
            took = (time.perf_counter() - begin) * 1000
            sys.stderr.write(
                f"debug: {method} {self.endpoint.host} /v{self._version}{target}: {response.status} in {took:.1f} ms\n"
            )
        if response.status >= 400:
            raise _api_error(response)
        self._agreed = True
        return response

    def _again_in_its_version(
        self,
        refused: Response,
        connection: Connection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
    ) -> Response:
        """Send a request again that an older engine refused for its version. Raises ApiError for other refusals."""
        error = _api_error(refused)
        _, too_new, newest = error.reason.partition(_TOO_NEW)
        if not too_new or newest == self._version or refused.headers.get("connection", "").lower() == "close":
            raise error
        self._version = newest
        return connection.send(method, f"/v{newest}{target}", headers, body)


# Whose paths have a name: without one, as of an unset variable of a shell, another path would be asked for.
_NAMED = (("/containers/", "container"), ("/networks/", "network"), ("/volumes/", "volume"))


def require_name(name: str, kind: str) -> None:
    """Raise CliError for an empty name."""
    if not name:
        raise CliError(f"invalid {kind} name or ID: value is empty")


class Patience:
    """How long a command that follows something still waits for an engine that went away.

    An engine that comes back and goes away again, without a word in between, does not get more time for that.
    `DARSE_RECONNECT` has the seconds; 0 is not to wait.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._deadline = 0.0

    def progress(self) -> None:
        """Something was heard from the engine."""
        self._deadline = 0.0

    def wait(self, lost: ConnectionFailed, sentence: str) -> None:
        """Return when an engine answers again. Raises ConnectionLost with `sentence` when none does in time.

        `lost` is raised itself where no engine has answered at all yet.
        """
        if not self._client.met:
            raise lost
        error = ConnectionLost(sentence)

        now = time.monotonic()
        if not self._deadline:
            self._deadline = now + patience()
        elif now >= self._deadline:
            raise error from lost
        else:
            time.sleep(_INTERVAL)
        if not self._client.comes_back(max(0.0, self._deadline - time.monotonic())):
            raise error from lost


def patience() -> float:
    """Seconds for which an engine is waited for."""
    text = os.environ.get("DARSE_RECONNECT", "")
    try:
        return float(text) if text else _PATIENCE
    except ValueError:
        raise CliError(f"DARSE_RECONNECT is a number of seconds, not {text!r}") from None


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.split(b";")[0], 16)
    except ValueError:
        raise CliError("the engine's answer is no HTTP: a chunk has no size") from None


def _decoded(document: bytes) -> Any:
    try:
        return json.loads(document)
    except ValueError as error:
        raise CliError(f"the engine's answer is no JSON: {error}") from error


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
