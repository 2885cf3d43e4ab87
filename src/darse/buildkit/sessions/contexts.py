"""The local sources of a build, received from its client when they are needed.

A client with a shared key sends what has changed (`darse.buildkit.sessions.incremental`). All others send their
directories whole (`darse.buildkit.sessions.directory_archive`), unless these are large and have not changed at all
(`darse.buildkit.sessions.unchanged_directories`). The tree of the same archive as before is used again. What a front
end reads itself comes into memory (`darse.buildkit.sessions.documents`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from darse.build.context.archive_reuse import ArchiveReuse
from darse.build.context.content_digest import KnownContents
from darse.build.context.context_trees import SentAs
from darse.build.context.local import ReceivedContexts
from darse.build.context.transfer_service import Transfers
from darse.build.graph import LocalSource
from darse.build.ignore import clean
from darse.buildkit.sessions.directory_archive import MOST_ENTRIES, archived, listed
from darse.buildkit.sessions.documents import NotInMemory, received_documents
from darse.buildkit.sessions.incremental import IncrementalDirectory, NotIncremental, tree_keys
from darse.buildkit.sessions.lists import SentList, list_runs
from darse.buildkit.sessions.packets import DirectoryPatterns, opened_directory
from darse.buildkit.sessions.pool import ClientSession, SessionPool
from darse.buildkit.sessions.unchanged_directories import LEAST_ENTRIES, DirectoryChanged, received_whole
from darse.core import executors

_METHOD = "/moby.filesync.v1.FileSync/DiffCopy"
# Bytes of a list that is kept as it comes, to see whether it is the one before; of longer ones, entry by entry.
_MOST_KEPT_LIST = 16 << 20
# Directories whose documents are in memory for one build.
_MOST_DOCUMENTS = 8


class SessionContexts:
    """The directories of one client (`darse.build.executor.contexts.LocalContexts`).

    A directory comes filtered, at the client: each set of patterns of one name is a directory of its own here.
    """

    def __init__(
        self,
        session: ClientSession,
        received: ReceivedContexts,
        transfers: Transfers,
        archives: ArchiveReuse,
        sessions: SessionPool,
    ) -> None:
        """sessions: those that the sources of a graph may name."""
        self._session = session
        self._sessions = sessions
        self.received = received
        self._trees = transfers
        self._archives = archives
        self._held = AsyncExitStack()
        self._transfers: dict[str, asyncio.Task[None]] = {}
        self._documents: dict[str, asyncio.Task[dict[str, bytes]]] = {}
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

    async def read(self, operation: LocalSource, path: str) -> bytes | None:
        """A file of the few that a source asks for; None where there is none. Raises BuildError."""
        key = self._name(operation)
        if key not in self._here and key not in self._transfers:
            try:
                return (await self._small(key, operation)).get(clean(path))
            except NotInMemory:
                pass
        return await executors.storage.run(self.received.read, await self.transferred(operation), path)

    async def _small(self, key: str, operation: LocalSource) -> dict[str, bytes]:
        task = self._documents.get(key)
        if task is None:
            session = self._opened_session(operation)
            task = asyncio.create_task(received_documents(session, _patterns(operation)))
            self._documents[key] = task
            over = [name for name, one in self._documents.items() if one.done()]
            for name in over[: max(0, len(self._documents) - _MOST_DOCUMENTS)]:
                del self._documents[name]
        return await asyncio.shield(task)

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

    def _opened_session(self, operation: LocalSource) -> ClientSession:
        session = self._session_of(operation)
        session.require(_METHOD, f"the local context {operation.name}")
        return session

    async def _receive(self, name: str, operation: LocalSource) -> None:
        session, patterns = self._opened_session(operation), _patterns(operation)
        if session.shared_key and operation.differ != "none":
            try:
                await self._receive_part(session, name, operation, patterns)
            except NotIncremental:
                pass
            else:
                return
        try:
            await self._receive_all(session, name, operation, anew=False)
        except DirectoryChanged:
            await self._receive_all(session, name, operation, anew=True)

    async def _receive_all(self, session: ClientSession, name: str, operation: LocalSource, *, anew: bool) -> None:
        """Receive all, or find it among what is kept, unless anew. Raises BuildError, and DirectoryChanged."""
        async with opened_directory(session, _patterns(operation)) as stream:
            entries = await listed(stream)
            if session.user is not None and operation.differ != "none" and len(entries) >= LEAST_ENTRIES:
                key, _ = tree_keys(("user", session.user), operation)
                whole = received_whole(stream, entries, key, self._trees, anew=anew)
                try:
                    tree = await self._held.enter_async_context(whole)
                except NotIncremental:
                    pass
                else:
                    self.received.add_tree(name, tree)
                    return
            pieces = archived(stream, entries)
            try:
                tree = await self._held.enter_async_context(self._archives.directory(pieces, self.received))
            finally:
                await pieces.aclose()
        self.received.add_tree(name, tree)

    async def _receive_part(
        self, session: ClientSession, name: str, operation: LocalSource, patterns: DirectoryPatterns
    ) -> None:
        """Receive what was not sent before. Raises BuildError, and NotIncremental."""
        key, directory = tree_keys(session.shared_key, operation)
        async with opened_directory(session, patterns) as stream:
            listed = SentList()
            await listed.receive(list_runs(stream), MOST_ENTRIES, _MOST_KEPT_LIST)
            sent_as = SentAs(listed.digest()) if listed.is_complete else None
            kept = self._trees.trees.find(key)
            is_known = kept is not None and sent_as is not None and kept.sent_as == sent_as
            known = kept.about.digest if kept is not None and is_known else ""
            source = IncrementalDirectory(stream, listed)
            tree = await self._held.enter_async_context(self._trees.received(key, source, known, like=directory))
            tree.sent_as = sent_as
        self.received.add_tree(name, tree)

    async def close(self) -> None:
        """End what is being received."""
        await _ended([*self._transfers.values(), *self._documents.values()])
        await self._held.aclose()


def _patterns(operation: LocalSource) -> DirectoryPatterns:
    return DirectoryPatterns(
        operation.name, operation.include_patterns, operation.exclude_patterns, operation.follow_paths
    )


async def _ended(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
