"""What clients get of a process's output: the API's multiplexed stream, or with a terminal the bytes alone.

A frame of a multiplexed stream is an 8-byte header (the stream, three zeros, the length in big endian) and the data.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from darse.containers.streams.output import Batch

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
_header = struct.Struct(">BxxxI").pack


def frames(batch: Batch) -> bytes:
    """A frame for each piece."""
    parts: list[bytes] = []
    for stream, data in batch:
        parts += _header(stream, len(data)), data
    return b"".join(parts)


def contents(batch: Batch) -> bytes:
    """The bytes of all pieces, whatever their stream."""
    return b"".join([data for _, data in batch])


def encoding(*, multiplexed: bool) -> Callable[[Batch], bytes]:
    """The function that makes of a batch what clients get."""
    return frames if multiplexed else contents


async def encoded(batches: AsyncIterator[Batch], *, multiplexed: bool) -> AsyncGenerator[bytes]:
    """Yield the batches as clients get them; `batches` are closed with this."""
    encode = encoding(multiplexed=multiplexed)
    try:
        async for batch in batches:
            yield encode(batch)
    finally:
        if isinstance(batches, AsyncGenerator):
            await batches.aclose()
