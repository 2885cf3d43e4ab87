"""Archives of contexts that came before: the tree of the same archive is used again, and nothing is unpacked.

Clients that send all of their context send the same bytes when nothing in it has changed. Who has sent an archive
knows all that is in it, so its tree may be anybody's. A tree is kept by the digest of its archive and the Dockerfile's
path, since what the context's `.dockerignore` says of both is done to it (`ReceivedContexts.remove_builder_files`).

An archive is held while it begins as one of those before; from the first mebibyte on that does not, it is unpacked
while it comes.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO

from darse.build.context.context_trees import AboutTree, ContextTrees, StoredTree
from darse.build.context.local import MAIN, ReceivedContexts
from darse.build.context.reception import ContextStore
from darse.core import executors
from darse.core.exhaustion import in_words

#: Bytes between two places at which archives are compared.
MARK_BYTES = 1 << 20
_IN_MEMORY = 2 * MARK_BYTES
_PIECE = 256 << 10
# In the place of a Dockerfile's path; no path is so.
_NO_DOCKERFILE = "\0"


class _Read:
    """What is known of an archive as far as it has come."""

    def __init__(self) -> None:
        self._digest = sha256()
        self.length = 0
        self.marks = bytearray()
        """The digest of all that is before each whole mark."""

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        rest = memoryview(piece)
        while rest:
            room = MARK_BYTES - self.length % MARK_BYTES
            self._digest.update(rest[:room])
            self.length += len(rest[:room])
            if len(rest) >= room:
                self.marks += self._digest.digest()
            rest = rest[room:]

    def key(self, dockerfile: str) -> str:
        """By which the tree is kept."""
        whole = self._digest.copy()
        whole.update(f"\0{self.length}\0{dockerfile}".encode("utf-8", "surrogateescape"))
        return whole.hexdigest()


class ArchiveReuse:
    """Receives the archives of builds' own contexts."""

    def __init__(self, trees: ContextTrees, contexts: ContextStore) -> None:
        self._trees = trees
        self._contexts = contexts

    @asynccontextmanager
    async def received(
        self, pieces: AsyncIterator[bytes], contexts: ReceivedContexts, dockerfile: str
    ) -> AsyncIterator[bytes | None]:
        """Receive an archive as the build context; its tree is held, and the Dockerfile in it given, for the block.

        dockerfile: its path in the context. Raises InvalidParameter for what is no archive, and SystemFault.
        """
        kept = await self._receive(pieces, contexts, dockerfile, partial(_prepare, contexts, dockerfile))
        kept.last_used, kept.uses = time.time(), kept.uses + 1
        try:
            contexts.add_tree(MAIN, kept)
            yield await kept.dockerfile()
        finally:
            self._trees.release(kept)

    @asynccontextmanager
    async def directory(self, pieces: AsyncIterator[bytes], contexts: ReceivedContexts) -> AsyncIterator[StoredTree]:
        """Receive an archive as a directory, which is as it came; its tree is held for the block. Raises as above."""
        kept = await self._receive(pieces, contexts, _NO_DOCKERFILE, _complete)
        kept.last_used, kept.uses = time.time(), kept.uses + 1
        try:
            yield kept
        finally:
            self._trees.release(kept)

    async def _receive(
        self,
        pieces: AsyncIterator[bytes],
        contexts: ReceivedContexts,
        dockerfile: str,
        prepare: Callable[[Path], None],
    ) -> StoredTree:
        """The tree, held. prepare: what is done to one that is new."""
        read = _Read()
        with (
            in_words(self._contexts.root),
            tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(self._contexts.root)) as held,
        ):
            if await self._is_over(pieces, read, held):
                kept = self._trees.of_archive(read.key(dockerfile))
                if kept is not None:
                    self._trees.hold(kept)
                    return kept
            made = contexts.new_directory()
            made.mkdir(mode=0o700)
            size = await self._contexts.receive(_all(held, pieces, read), made / "files")
            await executors.storage.run(prepare, made)
            about = AboutTree("", size, time.time(), "", bytes(read.marks))
            return self._trees.keep_archive(read.key(dockerfile), made, about)

    async def _is_over(self, pieces: AsyncIterator[bytes], read: _Read, held: IO[bytes]) -> bool:
        """Hold an archive as long as it may be one of those before; whether all of it has come."""
        async for piece in pieces:
            read.add(piece)
            held.write(piece)
            if not self._trees.has_archive(bytes(read.marks)):
                return False
        return True


def _prepare(contexts: ReceivedContexts, dockerfile: str, made: Path) -> None:
    """Take the Dockerfile's text out of a new tree, and what its ignore file leaves out of it. Blocks."""
    contexts.add_directory(MAIN, made / "files")
    content = contexts.read_dockerfile(dockerfile)
    if content is not None:
        (made / "dockerfile").write_bytes(content)
    contexts.remove_builder_files(MAIN, dockerfile)
    _complete(made)


def _complete(made: Path) -> None:
    """Nothing is known of its files. Blocks."""
    (made / "contents").touch()


async def _all(held: IO[bytes], rest: AsyncIterator[bytes], read: _Read) -> AsyncIterator[bytes]:
    """What is held, and what is to come."""
    held.seek(0)
    while piece := held.read(_PIECE):
        yield piece
    async for piece in rest:
        read.add(piece)
        yield piece
