"""POST of JSON documents to one URL of a receiver: of spans, or of alerts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from darse.aiohttp_server import http_client
from darse.core import executors

_SECONDS = 10.0
# Of an answer; the rest is of no interest.
_MOST_READ = 64 << 10


class ReceiverUnreachable(Exception):
    """The receiver does not answer."""


class JsonSender:
    """Sends documents, over a connection that is kept between them."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json", **headers}
        self._session: Any = None

    async def post(self, body: bytes) -> int:
        """Return the status of the answer. Raises ReceiverUnreachable, after 10 s at the latest."""
        # In a thread: the import makes two TLS contexts, which takes longer than the event loop may be held.
        aiohttp = await executors.storage.run(http_client)
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_SECONDS))
        try:
            async with self._session.post(self._url, data=body, headers=self._headers, allow_redirects=False) as answer:
                await answer.content.read(_MOST_READ)
                return int(answer.status)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise ReceiverUnreachable(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Let go of the connection."""
        if self._session is not None:
            await self._session.close()
