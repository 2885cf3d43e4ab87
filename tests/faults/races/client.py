"""The API by raw HTTP, as small as a race needs it: an answer in time, or none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass
from typing import Any

# An operation answers within this time, or hangs; longer than a busy machine needs.
ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the body as far as it was read, and how long that took."""

    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def __str__(self) -> str:
        return f"{self.status} {self.body[:300]!r}"


class Hangs(Exception):
    """No answer in time."""


class Api:
    """Raw HTTP over the engine's socket, a connection for each request."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def __call__(
        self, method: str, path: str, body: object = None, *, follow: float | None = None, upgrade: bool = False
    ) -> Answer:
        """One request. With `follow` the client leaves so many seconds after the answer's head.

        Raises Hangs when the answer (its head, with `follow`) is not whole in time.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._path)
                try:
                    writer.write(_request(method, path, body, upgrade=upgrade))
                    status, length = await _head(reader)
                    if upgrade and status != 101:
                        return Answer(status, await reader.readexactly(length))
                    if follow is None:
                        return Answer(status, await _rest(reader))
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(follow):
                            return Answer(status, await _rest(reader))
                    return Answer(status, b"")
                finally:
                    writer.close()
        except TimeoutError:
            raise Hangs(f"{method} {path}: no answer within {ANSWER_SECONDS:.0f} s") from None


def _request(method: str, path: str, body: object, *, upgrade: bool) -> bytes:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    head = [
        # Of version 1.0 no answer comes in chunks.
        f"{method} {path} HTTP/{'1.1' if upgrade else '1.0'}",
        "Host: engine",
        f"Content-Type: application/{'x-tar' if isinstance(body, bytes) else 'json'}",
        f"Content-Length: {len(data)}",
        *(("Connection: Upgrade", "Upgrade: tcp") if upgrade else ("Connection: close",)),
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


async def _head(reader: asyncio.StreamReader) -> tuple[int, int]:
    """The status, and the length of the body where it is told."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise AssertionError(f"the connection ended without an answer: {error!r}") from error
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return int(head.split(b" ", 2)[1]), int(length[1]) if length else 0


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """The body; what is cut off in the middle of it is a way to say that it failed."""
    pieces: list[bytes] = []
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(1 << 18):
            if len(pieces) < 4:
                pieces.append(piece)
    return b"".join(pieces)
