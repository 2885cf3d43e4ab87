"""Server-sent events (HTML standard, 9.2): what happens, as a stream that a page follows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import NamedTuple

import msgspec

from darse.aiohttp_server import StreamResponse
from darse.client.errors import ClientError
from darse.web.visit import Visit

# A browser that has gone is noticed by writing to it.
_ALIVE_SECONDS = 10.0
_MOST_WAITING = 256


class ServerEvent(NamedTuple):
    """What a page gets: the event's name, a document, and an id from which the browser goes on after a break."""

    name: str
    document: object
    id: str = ""

    def encode(self) -> bytes:
        """The lines; JSON has no line breaks of its own."""
        head = f"id: {self.id}\n" if self.id else ""
        return f"{head}event: {self.name}\ndata: ".encode() + msgspec.json.encode(self.document) + b"\n\n"


async def send_events(visit: Visit, source: AsyncGenerator[ServerEvent]) -> StreamResponse:
    """Send events until the source or the browser ends; the last one is `end`, with an error if there is one."""
    response = StreamResponse(headers=visit.stream_headers(**{"Content-Type": "text/event-stream; charset=utf-8"}))
    await response.prepare(visit.request)
    queue: asyncio.Queue[ServerEvent | None] = asyncio.Queue(_MOST_WAITING)

    async def fill() -> None:
        try:
            async with contextlib.aclosing(source):
                async for event in source:
                    await queue.put(event)
            await queue.put(ServerEvent("end", ""))
        except ClientError as error:
            await queue.put(ServerEvent("end", str(error)))
        await queue.put(None)

    filling = asyncio.create_task(fill())
    try:
        while True:
            event = None
            try:
                async with asyncio.timeout(_ALIVE_SECONDS):
                    event = await queue.get()
            except TimeoutError:
                await response.write(b": alive\n\n")
                continue
            if event is None:
                break
            await response.write(event.encode())
    except ConnectionError:
        pass  # the browser has left
    finally:
        filling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await filling
    return response
