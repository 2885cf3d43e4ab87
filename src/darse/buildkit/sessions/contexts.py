"""The local sources of a build, received from its client when they are needed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from darse.build.context.content_digest import KnownContents
from darse.build.context.local import ReceivedContexts
from darse.build.graph import LocalSource
from darse.buildkit.sessions.packets import received_directory
from darse.buildkit.sessions.pool import ClientSession


class SessionContexts:
    """The directories of one client (`darse.build.executor.contexts.LocalContexts`).

    A directory comes filtered, at the client: each set of patterns of one name is a directory of its own here.
    """

    def __init__(self, session: ClientSession, received: ReceivedContexts) -> None:
        self._session = session
        self.received = received
        self._transfers: dict[str, asyncio.Task[None]] = {}
        self._here: set[str] = set()

    def have(self, name: str) -> None:
        """Take a directory that is in `received` already for the client's."""
        self._here.add(name)

    def has(self, name: str) -> bool:
        """Whether `have` was called for it."""
        return name in self._here

    async def digest(self, name: str, operation: LocalSource) -> str:
        """See LocalContexts."""
        del name
        return await self.received.digest(await self.transferred(operation), operation)

    def directory(self, name: str, operation: LocalSource | None = None) -> Path:
        """See LocalContexts."""
        return self.received.directory(name if operation is None else self._name(operation))

    def known(self) -> KnownContents:
        """See LocalContexts."""
        return self.received.known()

    async def transferred(self, operation: LocalSource) -> str:
        """Receive what a source asks for, unless it is here; return its name in `received`. Raises BuildError."""
        key = self._name(operation)
        if key in self._here:
            return key
        task = self._transfers.get(key)
        if task is None:
            task = self._transfers[key] = asyncio.create_task(self._receive(key, operation))
        await asyncio.shield(task)
        return key

    def _name(self, operation: LocalSource) -> str:
        if operation.name in self._here:
            return operation.name
        chosen = (operation.name, operation.include_patterns, operation.exclude_patterns, operation.follow_paths)
        return msgspec.json.encode(chosen).decode()

    async def _receive(self, key: str, operation: LocalSource) -> None:
        pieces = received_directory(
            self._session,
            operation.name,
            include_patterns=operation.include_patterns,
            exclude_patterns=operation.exclude_patterns,
            follow_paths=operation.follow_paths,
        )
        try:
            await self.received.receive(key, pieces)
        finally:
            await pieces.aclose()

    async def close(self) -> None:
        """End what is being received."""
        for task in self._transfers.values():
            task.cancel()
        await asyncio.gather(*self._transfers.values(), return_exceptions=True)
