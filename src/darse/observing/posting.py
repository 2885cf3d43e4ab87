"""POST of JSON documents to one URL of a receiver: of spans, or of alerts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import ClientSession

_SECONDS = 10.0
# Of an answer; the rest is of no interest.
_MOST_READ = 64 << 10


class ReceiverUnreachable(Exception):
    """The receiver does not answer."""


class Poster:
    """Sends documents, over a connection that is kept between them."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json", **headers}
        self._session: ClientSession | None = None

    async def post(self, body: bytes) -> int:
        """Return the status of the answer. Raises ReceiverUnreachable, after 10 s at the latest."""
        # Half of what the client is made of, the server has loaded.
        from aiohttp import ClientError, ClientSession, ClientTimeout  # noqa: PLC0415

        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(total=_SECONDS))
        try:
            async with self._session.post(self._url, data=body, headers=self._headers, allow_redirects=False) as answer:
                await answer.content.read(_MOST_READ)
                return answer.status
        except (TimeoutError, ClientError, OSError, ValueError) as error:
            raise ReceiverUnreachable(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Let go of the connection."""
        if self._session is not None:
            await self._session.close()
