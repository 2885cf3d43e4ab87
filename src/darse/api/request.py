"""A request as the routes see it: decoded path and query, negotiated version, and readers for both kinds of body.

The query is read as moby reads it: booleans are everything but `""`, `0`, `no`, `false` and `none`; a number that is
none is the client's mistake. Bodies that are documents are bounded in size and time; bodies that are streams are not.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote_to_bytes

from darse.api.body import decode
from darse.api.times import parse_time
from darse.engine.errors import EngineError, InvalidParameter
from darse.engine.filters import Filters

if TYPE_CHECKING:
    from darse.api.aiohttp_server import BaseRequest
    from darse.api.server import Connection
    from darse.engine.engine import Engine

T = TypeVar("T")

DOCUMENT_LIMIT = 4 * 1024 * 1024
_DOCUMENT_SECONDS = 30
_QUERY_FIELDS = 256
_PIECE = 1024 * 1024
_FALSE = frozenset({"", "0", "no", "false", "none"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")


class TooLarge(EngineError):
    """The body is larger than any document of the API."""

    status = 413


class Request:
    """One request."""

    __slots__ = ("_query", "engine", "http", "parameters", "path", "version")

    def __init__(self, http: BaseRequest, engine: Engine) -> None:
        """Take the request line apart. Raises InvalidParameter."""
        self.http = http
        self.engine = engine
        raw_path, _, raw_query = http.raw_path.partition("?")
        if raw_path.startswith(("http://", "https://")):  # absolute form, as proxies send it
            raw_path = "/" + raw_path.split("/", 3)[3] if raw_path.count("/") > 2 else "/"
        self.path = _unescape(raw_path.partition("#")[0], "path")
        self._query = _parse_query(raw_query.partition("#")[0])
        self.version = (0, 0)
        self.parameters: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """A parameter of the path."""
        return self.parameters[name]

    @property
    def connection(self) -> Connection:
        """The connection that the request came on."""
        connection: Connection = self.http.protocol  # type: ignore[assignment]
        return connection

    # Query

    def text(self, name: str, default: str = "") -> str:
        """The first value of a query field."""
        values = self._query.get(name)
        return values[0] if values else default

    def texts(self, name: str) -> list[str]:
        """Every value of a query field."""
        return self._query.get(name, [])

    def has(self, name: str) -> bool:
        """Whether the query has the field."""
        return name in self._query

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean query field."""
        values = self._query.get(name)
        return default if not values else values[0].strip().lower() not in _FALSE

    def number(self, name: str, default: int | None = None) -> int | None:
        """A whole number, `default` when absent. Raises InvalidParameter."""
        text = self.text(name)
        if not text:
            return default
        if _INTEGER.match(text) is None:
            raise InvalidParameter(f'invalid value for "{name}": {_shown(text)} is not a whole number')
        return int(text)

    def size(self, name: str) -> int:
        """A terminal's height or width. Raises InvalidParameter."""
        text = self.text(name)
        if not text.isascii() or not text.isdecimal() or int(text[:6]) > 0xFFFF or len(text) > 5:
            raise InvalidParameter(f'invalid resize {"height" if name == "h" else "width"} "{_shown(text)}"')
        return int(text)

    def time(self, name: str) -> int:
        """A time in nanoseconds since the epoch, 0 when absent. Raises InvalidParameter."""
        text = self.text(name)
        return parse_time(text, name) if text else 0

    def filters(self, accepted: Iterable[str]) -> Filters:
        """The `filters` field. Raises InvalidParameter."""
        return Filters.parse(self.text("filters"), accepted)

    # Body

    async def document(self, type_: type[T], *, optional: bool = False) -> T:
        """Read a JSON body. Raises InvalidParameter and TooLarge; an absent one is all defaults with `optional`."""
        data = await self.read()
        if not data.strip():
            if optional:
                return type_()
            raise InvalidParameter("invalid JSON: got EOF while reading request body")
        content_type = self.http.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if content_type != "application/json":
            shown = _shown(content_type)
            raise InvalidParameter(f"unsupported Content-Type header ({shown}): must be 'application/json'")
        return decode(data, type_)

    async def read(self) -> bytes:
        """Read a whole body of bounded size. Raises TooLarge and InvalidParameter."""
        length = self.http.content_length
        if length is not None and length > DOCUMENT_LIMIT:
            self.http.protocol.close()  # what follows is not read, so the connection cannot go on
            raise TooLarge(f"request body of {length} bytes is larger than {DOCUMENT_LIMIT}")
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(_DOCUMENT_SECONDS):
                async for piece in self.http.content.iter_any():
                    size += len(piece)
                    if size > DOCUMENT_LIMIT:
                        self.http.protocol.close()
                        raise TooLarge(f"request body is larger than {DOCUMENT_LIMIT} bytes")
                    pieces.append(piece)
        except TimeoutError:
            self.http.protocol.close()
            raise InvalidParameter(f"request body was not complete after {_DOCUMENT_SECONDS} seconds") from None
        return b"".join(pieces)

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield a body of any size."""
        async for piece in self.http.content.iter_chunked(_PIECE):
            yield piece


def _unescape(text: str, what: str) -> str:
    if "%" not in text:
        return text
    if _BAD_ESCAPE.search(text):
        raise InvalidParameter(f"invalid URL escape in the {what}")
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise InvalidParameter(f"the {what} is not UTF-8") from None
    if "\0" in decoded:
        raise InvalidParameter(f"the {what} holds a NUL")
    return decoded


def _parse_query(text: str) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    if not text:
        return fields
    pieces = text.split("&")
    if len(pieces) > _QUERY_FIELDS:
        raise InvalidParameter(f"more than {_QUERY_FIELDS} fields in the query")
    for piece in pieces:
        if piece:
            name, _, value = piece.replace("+", " ").partition("=")
            fields.setdefault(_unescape(name, "query"), []).append(_unescape(value, "query"))
    return fields


def _shown(text: str) -> str:
    return text if len(text) <= 64 else text[:64] + "…"
