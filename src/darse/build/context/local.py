"""The directories that a client sent for one build, by the names of its local sources."""

from __future__ import annotations

import contextlib
import os
from collections import ChainMap
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from darse.build.context.content_digest import NONE_KNOWN, KnownContents, content_digest
from darse.build.context.context_trees import StoredTree
from darse.build.context.reception import ContextStore
from darse.build.errors import BuildError
from darse.build.graph.selectors import Selector
from darse.build.graph.sources import LocalSource
from darse.build.ignore import PathMatcher, clean, read_ignore_file
from darse.core import executors
from darse.linux.fs.openat2 import open_in_root, read_regular

MAIN = "context"
"""The name of the build context."""
IGNORE_FILE = ".dockerignore"
DEFAULT_DOCKERFILE = "Dockerfile"
_DOCUMENT_LIMIT = 16 << 20


class ReceivedContexts:
    """The unpacked directories of one build; an implementation of `darse.build.executor.contexts.LocalContexts`."""

    def __init__(self, store: ContextStore, root: Path) -> None:
        """root: the build's own directory in the store."""
        self._store = store
        self._root = root
        self._directories: dict[str, Path] = {}
        self._trees: dict[str, StoredTree] = {}
        self._made = 0

    def new_directory(self) -> Path:
        """The path of another directory, which is gone with the build: several may be received at a time."""
        self._made += 1
        return self._root / str(self._made)

    async def receive(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        """Unpack an archive as the directory of a name. Raises InvalidParameter and SystemFault."""
        path = self.new_directory()
        await self._store.receive(pieces, path)
        self.add_directory(name, path)

    def add_directory(self, name: str, path: Path) -> None:
        """Let a directory be that of a name."""
        self._directories[name] = path

    def add_tree(self, name: str, tree: StoredTree) -> None:
        """Let a tree that is held for as long as the build runs be the directory of a name."""
        self._trees[name] = tree
        self._directories[name] = tree.directory

    def add_files(self, name: str, files: dict[str, bytes]) -> None:
        """Make a directory with some small files for a name. Blocks."""
        path = self.new_directory()
        path.mkdir(mode=0o755)
        for file, content in files.items():
            (path / file).write_bytes(content)
        self._directories[name] = path

    def directory(self, name: str, operation: LocalSource | None = None) -> Path:
        """The files of a local source. Raises BuildError where the client sent none of that name."""
        del operation
        found = self._directories.get(name)
        if found is None:
            raise BuildError(f"local context {name} was not sent by the client")
        return found

    async def digest(self, name: str, operation: LocalSource) -> str:
        """The digest of what a local source selects of its directory. Raises BuildError."""
        directory = self.directory(name)
        if (tree := self._trees.get(name)) is not None:
            return await tree.digest(operation)
        selector = Selector(
            "/", include_patterns=operation.include_patterns, exclude_patterns=operation.exclude_patterns
        )

        def computed() -> str:
            with _opened(directory) as root:
                return content_digest(root, (selector,))

        return await executors.storage.run(computed)

    def known(self) -> KnownContents:
        """What is known of the contents of the files of all trees. Blocks."""
        found = [tree.known() for tree in self._trees.values()]
        if len(found) == 1:
            return found[0]
        return KnownContents(found[0].device, ChainMap(*(dict(one.by_inode) for one in found))) if found else NONE_KNOWN

    def read(self, name: str, path: str) -> bytes | None:
        """A regular file of a directory; None where there is none. Blocks. Raises BuildError for one that is huge."""
        with _opened(self.directory(name)) as root:
            content = read_regular(root, path, _DOCUMENT_LIMIT + 1)
        if content is not None and len(content) > _DOCUMENT_LIMIT:
            raise BuildError(f"{path} is larger than {_DOCUMENT_LIMIT} bytes")
        return content

    def read_dockerfile(self, path: str) -> bytes | None:
        """The Dockerfile in the build context; None where there is none. Blocks. Raises BuildError as `read`."""
        content = self.read(MAIN, path)
        if content is None and path == DEFAULT_DOCKERFILE:
            content = self.read(MAIN, path.lower())
        return content

    def remove_builder_files(self, name: str, dockerfile: str) -> None:
        """Remove the Dockerfile and the `.dockerignore` where that excludes them: a client sends them all the same.

        Blocks. Raises InvalidPattern.
        """
        content = self.read(name, IGNORE_FILE)
        if content is None:
            return
        matcher = PathMatcher(read_ignore_file(content.decode("utf-8", "surrogateescape")))
        with _opened(self.directory(name)) as root:
            for path in (IGNORE_FILE, clean(dockerfile)):
                if matcher.matches(path):
                    _remove(root, path)


def _remove(root: int, path: str) -> None:
    parent, _, base = path.rpartition("/")
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        directory = open_in_root(root, parent or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.unlink(base, dir_fd=directory)
        finally:
            os.close(directory)


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
