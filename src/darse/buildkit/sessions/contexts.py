"""The local sources of a build, received from its client when they are needed.

A client with a shared key sends in part what it has sent before (`darse.buildkit.sessions.parts`); all others send
their directories whole (`darse.buildkit.sessions.archived`).
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from darse.build.context.content_digest import KnownContents
from darse.build.context.local import ReceivedContexts
from darse.build.context.transferring import Transfers
from darse.build.graph import LocalSource
from darse.buildkit.sessions.archived import received_directory
from darse.buildkit.sessions.packets import DirectoryPatterns, opened_directory
from darse.buildkit.sessions.parts import NotInPart, PartialDirectory, tree_keys
from darse.buildkit.sessions.pool import ClientSession, SessionPool

_METHOD = "/moby.filesync.v1.FileSync/DiffCopy"


class SessionContexts:
    """The directories of one client (`darse.build.executor.contexts.LocalContexts`).

    A directory comes filtered, at the client: each set of patterns of one name is a directory of its own here.
    """

    def __init__(
        self, session: ClientSession, received: ReceivedContexts, transfers: Transfers, sessions: SessionPool
    ) -> None:
        """sessions: those that the sources of a graph may name."""
        self._session = session
        self._sessions = sessions
        self.received = received
        self._trees = transfers
        self._held = AsyncExitStack()
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
        session = self._session_of(operation).id
        chosen = (
            session,
            operation.name,
            operation.include_patterns,
            operation.exclude_patterns,
            operation.follow_paths,
        )
        return msgspec.json.encode(chosen).decode()

    def _session_of(self, operation: LocalSource) -> ClientSession:
        """The one that a source names, as graphs of other builds do, where it is open; otherwise the build's."""
        return self._sessions.find(operation.session) or self._session

    async def _receive(self, name: str, operation: LocalSource) -> None:
        session = self._session_of(operation)
        session.require(_METHOD, f"the local context {operation.name}")
        patterns = DirectoryPatterns(
            operation.name, operation.include_patterns, operation.exclude_patterns, operation.follow_paths
        )
        if session.shared_key and operation.differ != "none":
            try:
                await self._receive_part(session, name, operation, patterns)
            except NotInPart:
                pass
            else:
                return
        pieces = received_directory(session, patterns)
        try:
            await self.received.receive(name, pieces)
        finally:
            await pieces.aclose()

    async def _receive_part(
        self, session: ClientSession, name: str, operation: LocalSource, patterns: DirectoryPatterns
    ) -> None:
        """Receive what was not sent before. Raises BuildError, and NotInPart."""
        key, directory = tree_keys(session.shared_key, operation)
        async with opened_directory(session, patterns) as stream:
            source = PartialDirectory(stream)
            tree = await self._held.enter_async_context(self._trees.received(key, source, like=directory))
        self.received.add_tree(name, tree)

    async def close(self) -> None:
        """End what is being received."""
        for task in self._transfers.values():
            task.cancel()
        await asyncio.gather(*self._transfers.values(), return_exceptions=True)
        await self._held.aclose()
