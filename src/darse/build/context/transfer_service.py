"""Transfers of contexts: list, comparison, contents, the tree that comes of it; see `darse.build.context.transfer`."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from darse.archive import process
from darse.archive.pipe_source import PipeSource
from darse.archive.tree_changes import RESULT
from darse.build.context.context_trees import AboutTree, ContextTrees, StoredTree
from darse.build.context.list_changes import CONTENT, ListChanges, compare, with_unknown
from darse.build.context.reception import ContextStore
from darse.build.context.transfer import ContextSource, PieceKind
from darse.build.context_list import MOST_BYTES, InvalidList
from darse.core import executors
from darse.core.errors import InvalidParameter, SystemFault
from darse.core.exhaustion import exhausted, in_words
from darse.linux.fs.contained import remove_tree
from darse.linux.fs.linked_tree import NO_LINKS, link_tree

#: Contents of so many bytes are waited for before a tree is changed in place; for more, a copy by links is changed.
IN_PLACE_BYTES = 16 << 20


class Transfers:
    """Receives trees; an implementation of `ContextTransfers`."""

    def __init__(self, trees: ContextTrees, contexts: ContextStore) -> None:
        """contexts: where trees are made."""
        self.trees = trees
        self._contexts = contexts

    @asynccontextmanager
    async def received(
        self, key: str, source: ContextSource, digest: str = "", like: str = "", *, anew: bool = False
    ) -> AsyncIterator[StoredTree]:
        """See ContextTransfers."""
        kept = None if anew else self.trees.find(key) or (self.trees.latest(like) if like else None)
        if kept is None or not digest or kept.about.digest != digest:
            kept = await _Transfer(self.trees, self._contexts, key, kept, source).run()
        else:
            self.trees.hold(kept)
        kept.last_used, kept.uses = time.time(), kept.uses + 1
        try:
            yield kept
        finally:
            self.trees.release(kept)


class _Transfer:
    """From a client's list to a tree that is kept."""

    def __init__(
        self, trees: ContextTrees, contexts: ContextStore, key: str, kept: StoredTree | None, source: ContextSource
    ) -> None:
        self._trees = trees
        self._contexts = contexts
        self._key = key
        self._kept = kept
        self._source = source
        self._work = Path()
        self._digest = ""

    async def run(self) -> StoredTree:
        """Do it; return the tree, held. Raises InvalidParameter, SystemFault, and what the source does."""
        if self._kept is not None:
            self._trees.hold(self._kept)
        try:
            async with self._contexts.directory() as self._work:
                with in_words(self._work):
                    return await self._run()
        except InvalidList as error:
            raise InvalidParameter(f"the list of the context is refused: {error}") from None
        finally:
            if self._kept is not None:
                self._trees.release(self._kept)

    async def _run(self) -> StoredTree:
        (self._work / "made").mkdir(mode=0o700)
        await self._receive_list()
        if self._kept is not None and self._kept.about.digest == self._digest:
            self._trees.hold(self._kept)
            return self._kept
        found = await executors.storage.run(self._compare, self._kept)
        if not found.changes and self._kept is not None:
            self._trees.hold(self._kept)
            return self._kept
        tree = self._work / "made" / "files"
        if self._kept is not None and not self._may_take(self._kept, found):
            if not await executors.storage.run(_linked, self._kept.directory, tree):
                # On a file system on which it cannot be had twice, all of it is sent again.
                found = await executors.storage.run(self._compare, None)
                tree.mkdir(mode=0o755)
            await self._change(tree, found)
        elif self._kept is not None:
            await self._change_in_place(self._kept, tree, found)
        else:
            tree.mkdir(mode=0o755)
            await self._change(tree, found)
        is_known = await executors.storage.run(self._note_results)
        about = AboutTree(self._digest if is_known else "", found.size, time.time(), "")
        return self._trees.keep(self._key, self._work / "made", about)

    def _may_take(self, kept: StoredTree, found: ListChanges) -> bool:
        """Whether the tree before may be changed in place: it is of this key, and nobody waits for what is missing."""
        return kept.key == self._key and kept.holders == 1 and found.missing_bytes <= IN_PLACE_BYTES

    async def _receive_list(self) -> None:
        digest, size = sha256(), 0
        with (self._work / "made" / "list").open("wb") as file:
            async for piece in self._source.entries():
                size += len(piece)
                if size > MOST_BYTES:
                    raise InvalidList(f"it has more than {MOST_BYTES} bytes")
                digest.update(piece)
                file.write(piece)
        self._digest = digest.hexdigest()

    def _compare(self, kept: StoredTree | None) -> ListChanges:
        """Write the job. Blocks."""
        known = (kept.path / "contents").read_bytes() if kept is not None else b""
        made = self._work / "made"
        with (
            (made / "list").open("rb") as now,
            (self._work / "job").open("wb") as job,
            (made / "contents").open("wb") as contents,
        ):
            if kept is None:
                return compare(None, known, now, job, contents)
            with (kept.path / "list").open("rb") as before:
                return compare(before, known, now, job, contents)

    async def _change(self, tree: Path, found: ListChanges) -> None:
        """Change a tree that nobody else knows, while the contents come."""
        pipe = PipeSource(-1)

        async def work() -> None:
            contents = pipe.open()
            try:
                await self._worker(tree, contents)
            finally:
                os.close(contents)

        await pipe.fed_by(self._contents(found), work())

    async def _change_in_place(self, kept: StoredTree, tree: Path, found: ListChanges) -> None:
        """Take the tree that is kept, once all contents have come, and change it."""
        with (self._work / "pieces").open("w+b") as file:
            async for piece in self._contents(found):
                file.write(piece)
            file.seek(0)
            if not self._trees.take(kept, tree) and not await executors.storage.run(_linked, kept.directory, tree):
                raise SystemFault("the context is in use by too many builds; try again")
            await self._worker(tree, file.fileno())

    async def _contents(self, found: ListChanges) -> AsyncIterator[bytes]:
        if found.missing:
            async for piece in self._source.contents(found.missing):
                yield piece

    async def _worker(self, tree: Path, contents: int) -> None:
        job = os.open(self._work / "job", os.O_RDWR | os.O_CLOEXEC)
        try:
            answer = await process.change_tree(tree, job, contents)
        except process.WorkerFailed as error:
            raise SystemFault(str(error)) from error
        finally:
            os.close(job)
        if "fault" in answer:
            fault = exhausted(OSError(int(answer["errno"]), ""), tree)
            raise type(fault or SystemFault())(f"cannot unpack the build context: {fault or answer['fault']}")
        if "error" in answer:
            raise InvalidParameter(f"the build context is refused: {answer['error']}")

    def _note_results(self) -> bool:
        """Note what is known of the files that have come; whether all are as they were listed. Blocks."""
        made, unknown = self._work / "made", set()
        with (made / "contents").open("r+b") as contents:
            for number, kind, inode, digest in RESULT.iter_unpack((self._work / "job").read_bytes()):
                if kind != PieceKind.END:
                    unknown.add(number)
                if any(digest):
                    contents.seek(number * CONTENT.size)
                    contents.write(CONTENT.pack(inode, digest))
        if unknown:
            os.rename(made / "list", self._work / "list")
            with (self._work / "list").open("rb") as old, (made / "list").open("wb") as new:
                with_unknown(old, frozenset(unknown), new)
        return not unknown


def _linked(source: Path, target: Path) -> bool:
    """Copy a tree by links; False, and there is no target, where that cannot be done. Blocks. Raises OSError."""
    target.mkdir(mode=0o755)
    origin = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        made = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            link_tree(origin, made)
        finally:
            os.close(made)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        remove_tree(target)
        return False
    finally:
        os.close(origin)
    return True
