"""Files of references, for front ends: read below the tree's root, whatever links say."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Protocol, TypeVar

from darse.build.errors import BuildError
from darse.build.ignore import PathMatcher, clean
from darse.buildkit.solving.client_build import ClientBuild
from darse.buildkit.solving.lazy_references import LazyReference
from darse.buildkit.transport.stream_buffer import MESSAGE_LIMIT
from darse.buildkit.wire.stat_pb2 import Stat
from darse.go_modes import GO_KINDS, go_mode
from darse.linux.fs.openat2 import open_in_root

_T = TypeVar("_T")
_MOST_ENTRIES = 50_000


class ReadTree(Protocol):
    """Calls a function with a descriptor of a tree's root."""

    async def __call__(self, work: Callable[[int], _T], /) -> _T:
        """Raises what it raises, BuildError and OSError."""
        ...


def tree_of(build: ClientBuild, reference: LazyReference) -> ReadTree:
    """The tree of a reference, which is solved when it is read."""

    async def read(work: Callable[[int], _T], /) -> _T:
        solution = await reference.solution()
        executor = build.service.executor
        layers = executor.layers_of(solution.snapshot) if solution.snapshot is not None else ()
        return await executor.trees.read(layers, work)

    return read


async def _in_tree(read: ReadTree, path: str, work: Callable[[int], _T]) -> _T:
    try:
        return await read(work)
    except OSError as error:
        raise BuildError(f"{path}: {(error.strerror or str(error)).lower()}") from error


async def read_file(read: ReadTree, path: str, offset: int, length: int) -> bytes:
    """Bytes of a regular file, so many at most; length 0 is all of it. Raises BuildError."""

    def work(root: int) -> bytes:
        descriptor = open_in_root(root, clean(path.lstrip("/")), os.O_RDONLY | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BuildError(f"{path}: not a regular file")
            left = max(0, status.st_size - offset)
            size = min(length, left) if length else left
            if size > MESSAGE_LIMIT // 2:
                raise BuildError(f"{path}: {size} bytes are more than one answer has: read it in ranges")
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)

    return await _in_tree(read, path, work)


async def list_directory(read: ReadTree, path: str, pattern: str) -> list[Stat]:
    """What is in a directory, in order of the names. Raises BuildError."""
    matcher = PathMatcher([pattern]) if pattern else None

    def work(root: int) -> list[Stat]:
        descriptor = open_in_root(root, clean(path.lstrip("/")) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            names = sorted(os.listdir(descriptor))
            if len(names) > _MOST_ENTRIES:
                raise BuildError(f"{path}: {len(names)} entries are more than one answer has")
            return [_stat(descriptor, name) for name in names if matcher is None or matcher.matches(name)]
        finally:
            os.close(descriptor)

    return await _in_tree(read, path, work)


async def stat_file(read: ReadTree, path: str) -> Stat:
    """The attributes of a file; of a symbolic link those of what it leads to, as BuildKit has it. Raises BuildError."""

    def work(root: int) -> Stat:
        requested = clean(path.lstrip("/")) or "."
        descriptor = open_in_root(root, requested, os.O_PATH)
        try:
            return _described(requested.rpartition("/")[2], os.fstat(descriptor))
        finally:
            os.close(descriptor)

    return await _in_tree(read, path, work)


def _stat(directory: int, name: str) -> Stat:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    found = _described(name, status)
    if stat.S_ISLNK(status.st_mode):
        found.linkname = os.readlink(name, dir_fd=directory)
    return found


def _described(name: str, status: os.stat_result) -> Stat:
    return Stat(
        path=name,
        mode=go_mode(status.st_mode, GO_KINDS.get(stat.S_IFMT(status.st_mode), 0)),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size,
        modTime=status.st_mtime_ns,
    )
