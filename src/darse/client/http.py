"""HTTP/1.1 (RFC 9112) as far as the engine's API needs it, apart from any socket.

Responses that are whole, chunked or until the end of the connection, and connections that become streams. What reads
is written once, as generators that yield when they need more bytes and get them sent: the blocking and the asyncio
client each run them. http.client takes 20 ms to import, a fifth of a container's life.
"""

from __future__ import annotations

from darse.client.errors import ApiError, ClientError
from darse.client.stdlib import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from typing import Any, NoReturn, TypeVar

    T = TypeVar("T")
    # Yields to ask for more bytes; `b""` is the end of the connection.
    Reading = Generator[None, bytes, T]

PIECE = 256 * 1024
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class ConnectionEnded(Exception):
    """The connection ended where more was due."""


class ResponseHead:
    """The status and the headers of a response; names of headers are in lower case."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers

    @property
    def closes(self) -> bool:
        """Whether the connection cannot be used again."""
        return self.headers.get("connection", "").lower() == "close"


class Parser:
    """Reads the responses of one connection."""

    def __init__(self) -> None:
        self.buffer = b""
        # What is left of the body: bytes of its length or of a chunk; how the body ends.
        self._left = 0
        self._framing = "none"
        self._chunk_begun = False

    def head(self, *, has_body: bool = True) -> Reading[ResponseHead]:
        """Read a head. `has_body` is false for the answer to a HEAD: its headers describe a body that does not come.

        Raises ConnectionEnded, and ValueError for what is no HTTP.
        """
        fields = (yield from self._line()).split(b" ", 2)
        if len(fields) < 2 or not fields[0].startswith(b"HTTP/1.") or not fields[1].isdigit():
            raise ValueError("the answer does not begin as HTTP does")
        headers = {}
        while line := (yield from self._line()):
            name, _, value = line.partition(b":")
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        head = ResponseHead(int(fields[1]), headers)
        self._left, self._chunk_begun = 0, False
        if not has_body or head.status in (101, 204, 304):
            self._framing = "none"
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            self._framing = "chunks"
        elif "content-length" in headers:
            self._framing, self._left = "length", int(headers["content-length"])
        else:
            self._framing = "end"
        return head

    def piece(self) -> Reading[bytes]:
        """Read what comes next of the body; empty at its end. Raises ConnectionEnded and ValueError."""
        if self._framing == "end":  # no length: the end is the end
            return (yield from self._some(PIECE, end_ok=True))
        if self._framing == "chunks" and not self._left:
            yield from self._next_chunk()
        if self._framing == "none" or not self._left:
            self._framing = "none"
            return b""
        piece = yield from self._some(min(self._left, PIECE))
        self._left -= len(piece)
        return piece

    def _next_chunk(self) -> Reading[None]:
        if self._chunk_begun:
            yield from self._line()
        self._chunk_begun = True
        size = (yield from self._line()).split(b";")[0]
        try:
            self._left = int(size, 16)
        except ValueError:
            raise ValueError("a chunk has no size") from None
        if not self._left:
            self._framing = "none"
            while (yield from self._line()):
                pass  # trailers

    def _line(self) -> Reading[bytes]:
        while b"\n" not in self.buffer:
            yield from self._more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def _some(self, most: int, *, end_ok: bool = False) -> Reading[bytes]:
        if not self.buffer:
            try:
                yield from self._more()
            except ConnectionEnded:
                if not end_ok:
                    raise
        piece, self.buffer = self.buffer[:most], self.buffer[most:]
        return piece

    def _more(self) -> Reading[None]:
        piece = yield
        if not piece:
            raise ConnectionEnded
        self.buffer += piece


def request_head(method: str, target: str, headers: Mapping[str, str], body: bytes | Iterable[bytes] | None) -> bytes:
    """The head of a request; a body that is no bytes goes in chunks."""
    lines = [f"{method} {target} HTTP/1.1", "Host: darse", "User-Agent: darse"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if isinstance(body, bytes):
        lines.append(f"Content-Length: {len(body)}")
    elif body is not None:
        lines.append("Transfer-Encoding: chunked")
    elif method in ("POST", "PUT"):
        lines.append("Content-Length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(piece: bytes) -> bytes:
    """A piece of a body that goes in chunks; an empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class Documents:
    """Splits a stream into its JSON documents, a line each."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the documents that are complete with this piece."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return [line for line in lines if line.strip()]

    def end(self) -> list[bytes]:
        """Return what no end of a line follows."""
        return [self._rest] if self._rest.strip() else []


def decode(document: bytes) -> Any:
    """A JSON document. Raises ClientError for what is none."""
    try:
        return loads(document)
    except ValueError as error:
        raise ClientError(f"the engine's answer is no JSON: {error}") from error


def refused(status: int, body: bytes) -> ApiError:
    """The error of an answer that refuses a request."""
    try:
        message = loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace").strip() or f"status {status}"
    return ApiError(message, status)


def no_http(host: str, error: ValueError) -> NoReturn:
    """Raise ClientError: what answers speaks no HTTP."""
    raise ClientError(f"what answers at {host} is no engine: it does not speak HTTP ({error})") from error


def encode_query(query: Mapping[str, Any] | None) -> str:
    """A query string; None and False are left out, lists repeat their name, filters become JSON."""
    pairs = []
    for name, value in (query or {}).items():
        values = value if isinstance(value, list) else [value]
        for one in values:
            if one is None or one is False:
                continue
            text = "1" if one is True else dumps(one) if isinstance(one, dict) else str(one)
            pairs.append(f"{name}={quote(text)}")
    return "?" + "&".join(pairs) if pairs else ""


def require_name(name: str, kind: str) -> str:
    """The name, for a path. Raises ClientError for an empty one, with which another path would be asked for."""
    if not name:
        raise ClientError(f"invalid {kind} name or ID: value is empty")
    return name


def quote(text: str, safe: str = "") -> str:
    """Percent-encode (RFC 3986); urllib.parse takes 5 ms to import."""
    allowed = _SAFE | set(safe.encode())
    return "".join(chr(byte) if byte in allowed else f"%{byte:02X}" for byte in text.encode())
