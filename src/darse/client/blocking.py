"""The blocking client: one connection is kept for requests, each stream has a connection of its own."""

from __future__ import annotations

import os
import sys
import time

from darse.client import API_VERSION, EngineEndpoint
from darse.client.connection import connect, no_answer, not_let_in, peer, tls_alert
from darse.client.errors import ApiError, ClientError, ConnectionFailed, ConnectionLost
from darse.client.http import (
    PIECE,
    ConnectionEnded,
    Documents,
    Parser,
    chunk,
    decode,
    encode_query,
    no_http,
    refused,
    request_head,
    require_name,
)
from darse.client.requests import ApiRequest, Generic, nothing
from darse.client.stdlib import dumps, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from darse.client.http import Reading, ResponseHead
    from darse.client.requests import AttachRequest, D_co, T
else:
    D_co = T = None
PING: ApiRequest[None, None] = ApiRequest("GET", "/_ping", nothing)
_TOO_NEW = "Maximum supported API version is "
# How long a command that follows something waits for an engine that went away, in seconds; and how often it looks.
_TIMEOUT_SECONDS = 10.0
_INTERVAL = 0.05
_ASK_AGAIN = "containers run on; ask again when it is back"
_LOOK_FIRST = "containers run on; what was asked for may have been done or not, so look before you ask again"


class Response(Generic[D_co]):
    """A response whose body is read as it is asked for."""

    def __init__(self, connection: Connection, head: ResponseHead) -> None:
        self.status = head.status
        self.headers = head.headers
        self.closes = head.closes
        self._connection = connection

    def pieces(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises ConnectionLost when the connection ends before the body does."""
        while piece := self._connection.piece():
            yield piece

    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces())

    def json(self) -> D_co:
        """The body as JSON; None when it is empty. Raises ClientError for what is no JSON."""
        body = self.body()
        document: Any = decode(body) if body.strip() else None
        return document  # type: ignore[no-any-return]

    def messages(self) -> Iterator[D_co]:
        """Yield the JSON documents of a stream, as they come."""
        documents = Documents()
        for piece in self.pieces():
            yield from map(decode, documents.feed(piece))
        yield from map(decode, documents.end())

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


class Connection:
    """One connection to the engine."""

    def __init__(self, endpoint: EngineEndpoint, *, may_start: bool = True) -> None:
        """Connect. Raises ConnectionFailed. `may_start`: an engine may be started when none answers."""
        self._endpoint = endpoint
        self.socket = connect(endpoint, may_start=may_start)
        self.peer = peer(self.socket)
        self._parser = Parser()
        self._after_loss = _ASK_AGAIN

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
    ) -> Response[Any]:
        """Send a request and read the head of its response. Raises ConnectionFailed when none comes."""
        self._after_loss = _ASK_AGAIN if method in ("GET", "HEAD") else _LOOK_FIRST
        head = request_head(method, path, headers, body)
        if body is None or isinstance(body, bytes):
            self.socket.sendall(head + (body or b""))
        else:
            self.socket.sendall(head)
            self._send_chunks(body)
        try:
            return Response(self, self._read(self._parser.head(has_body=method != "HEAD")))
        except ConnectionEnded as error:
            raise (self.lost() if self._parser.buffer else no_answer(self._endpoint.host, self._after_loss)) from error

    def _send_chunks(self, pieces: Iterable[bytes]) -> None:
        try:
            for piece in pieces:
                if piece:
                    self.socket.sendall(chunk(piece))
            self.socket.sendall(chunk(b""))
        except ConnectionError:
            return  # the engine has answered already, and its answer says why; or it is gone, and there is none

    def piece(self) -> bytes:
        """Read what comes next of the body; empty at its end. Raises ConnectionLost when the connection ends first."""
        try:
            return self._read(self._parser.piece())
        except ConnectionEnded as error:
            raise self.lost() from error

    def _read(self, reading: Reading[T]) -> T:
        """Give the parser what it asks for."""
        try:
            next(reading)
            while True:
                try:
                    piece = self.socket.recv(PIECE)
                except OSError as error:
                    if alert := tls_alert(error):
                        raise not_let_in(self._endpoint.host, alert) from error
                    piece = b""  # the connection's end, however it ended
                reading.send(piece)
        except StopIteration as end:
            answer: T = end.value
            return answer
        except ValueError as error:
            no_http(self._endpoint.host, error)

    def lost(self) -> ConnectionLost:
        """The error of a connection that ended in the middle of an answer."""
        return ConnectionLost("the engine went away before its answer was complete", self._after_loss)

    def has_ended(self) -> bool:
        """Whether the engine has closed this connection, on which no answer is due."""
        try:
            return not self.socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except (OSError, ValueError):
            # TLS takes no flags; a write will tell.
            return not hasattr(self.socket, "pending")

    def early(self) -> bytes:
        """What of a hijacked stream came with the head of the response."""
        data, self._parser.buffer = self._parser.buffer, b""
        return data

    def end(self) -> None:
        """End both directions, so that whoever reads from it, in another thread say, reads its end."""
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it has ended

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self.socket.fileno() < 0

    def close(self) -> None:
        """Close."""
        self.socket.close()


class Client:
    """The engine, as commands see it."""

    def __init__(
        self, endpoint: EngineEndpoint, headers: Mapping[str, str] | None = None, *, debug: bool = False
    ) -> None:
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
        response = self.open(PING)
        response.body()
        response.close()

    def do(self, request: ApiRequest[Any, D_co]) -> D_co:
        """Do a request and return the document that is its answer; None for one without a body.

        Raises ApiError when the engine refuses it, ConnectionFailed when none answers.
        """
        connection = self._connection()
        response = self._send(connection, request)
        answer = response.json()
        if response.closes:
            connection.close()
        else:
            self._kept = connection
        return answer

    def open(self, request: ApiRequest[Any, D_co]) -> Response[D_co]:
        """Do a request on a connection of its own and return the response, to be read as it comes."""
        return self._send(self._connect(), request)

    def attach(self, request: AttachRequest) -> tuple[Connection, Response[bytes]]:
        """Do a request whose connection becomes a stream, and return both."""
        connection = self._connect()
        return connection, self._send(connection, request)

    def _send(self, connection: Connection, request: ApiRequest[Any, D_co]) -> Response[D_co]:
        for collection, kind in _NAMED:
            if request.path.startswith(collection) and request.path[len(collection) :][:1] in ("", "/"):
                require_name("", kind)
        headers = {**self._headers, **request.headers}
        if request.upgrade:
            headers |= {"Connection": "Upgrade", "Upgrade": "tcp"}
        body = request.content
        if request.body is not None:
            body = _encoded(request.body)
            headers["Content-Type"] = "application/json"
        elif body is not None and not self._agreed:
            self._ping()  # what is read as it is sent cannot be sent again
        target, begin = request.path + encode_query(request.query), time.perf_counter()
        version = request.version or self._version
        try:
            response: Response[D_co] = connection.send(request.method, f"/v{version}{target}", headers, body)
            if response.status == 400 and not self._agreed:
                response = self._again_in_its_version(response, connection, request.method, target, headers, body)
        except ConnectionError as error:
            raise no_answer(self.endpoint.host, _ASK_AGAIN) from error
        if self._debug:
            took = (time.perf_counter() - begin) * 1000
            asked = f"{request.method} {self.endpoint.host} /v{request.version or self._version}{target}"
            sys.stderr.write(f"debug: {asked}: {response.status} in {took:.1f} ms\n")
        if response.status >= 400:
            raise refused(response.status, response.body())
        self._agreed = True
        return response

    def _again_in_its_version(
        self,
        response: Response[D_co],
        connection: Connection,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes] | None,
    ) -> Response[D_co]:
        """Send a request again that an older engine refused for its version. Raises ApiError for other refusals."""
        error = refused(response.status, response.body())
        _, too_new, newest = error.reason.partition(_TOO_NEW)
        if not too_new or newest == self._version or response.closes:
            raise error
        self._version = newest
        return connection.send(method, f"/v{newest}{target}", headers, body)


# Whose paths have a name: without one, as of an unset variable of a shell, another path would be asked for.
_NAMED = (("/containers/", "container"), ("/networks/", "network"), ("/volumes/", "volume"))


class Reconnection:
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
            self._deadline = now + reconnect_seconds()
        elif now >= self._deadline:
            raise error from lost
        else:
            time.sleep(_INTERVAL)
        if not self._client.comes_back(max(0.0, self._deadline - time.monotonic())):
            raise error from lost


def _encoded(body: Any) -> bytes:
    """A body as JSON: a document, or a struct of the API's types."""
    if isinstance(body, (dict, list)):
        return dumps(body).encode()
    import msgspec

    return msgspec.json.encode(body)


def reconnect_seconds() -> float:
    """Seconds for which an engine is waited for."""
    text = os.environ.get("DARSE_RECONNECT", "")
    try:
        return float(text) if text else _TIMEOUT_SECONDS
    except ValueError:
        raise ClientError(f"DARSE_RECONNECT is a number of seconds, not {text!r}") from None
